//! The base URL of a peer, to which the paths of requests are appended.

use std::fmt;

use url::{Position, Url};

/// An http or https URL to which path segments are appended. It never ends in a slash. It has no credentials,
/// query or fragment, so it can be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Parses a base URL. `None` if the scheme is not http or https, if there is no host, or if the URL has
    /// credentials, a query or a fragment.
    pub fn parse(text: &str) -> Option<Self> {
        let mut url = Url::parse(text).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url[Position::BeforeUsername..Position::BeforeHost].is_empty()
            && url[Position::AfterPath..].is_empty();
        if !is_plain {
            return None;
        }
        url.path_segments_mut().ok()?.pop_if_empty();
        Some(Self(url))
    }

    /// Parses a URL that is a constant of this program. Panics if the constant is no base URL.
    pub(super) fn of_constant(text: &str) -> Self {
        #[allow(clippy::expect_used, reason = "a constant URL")]
        Self::parse(text).expect("a constant URL")
    }

    /// This URL with `segments` appended to its path. Each item is percent-encoded as one segment.
    pub fn join<'s>(&self, segments: impl IntoIterator<Item = &'s str>) -> Self {
        let mut url = self.0.clone();
        // Every http(s) URL has a path to append to.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        Self(url)
    }

    /// This URL without the end of its path that equals one of `paths` or the beginning of one of them. With
    /// such an end, every request would have that part of the path twice. A `*` in `paths` matches any
    /// segment, such as an id. A final `api` alone is kept, because proxies have services below `/api`.
    pub(super) fn without(&self, paths: &[&str]) -> Self {
        let segments = self.0.path_segments().into_iter().flatten();
        let mut own: Vec<_> = segments.filter(|segment| !segment.is_empty()).collect();
        let given = own.len();
        while let Some(end) = paths.iter().filter_map(|path| end_of(&own, path)).max() {
            own.truncate(own.len() - end);
        }
        let mut url = self.0.clone();
        if own.len() < given {
            url.set_path(&own.join("/"));
        }
        Self(url)
    }

    /// The URL as the type of the `url` crate, for building requests.
    pub(crate) fn as_url(&self) -> &Url {
        &self.0
    }
}

/// How many segments at the end of `own` equal the whole `path` or its beginning; the longest match counts.
fn end_of(own: &[&str], path: &str) -> Option<usize> {
    let path: Vec<_> = path.split('/').collect();
    (1..=path.len().min(own.len())).rev().find(|&length| {
        let beginning = &path[..length];
        let mut pairs = beginning.iter().zip(&own[own.len() - length..]);
        let is_end = pairs.all(|(part, segment)| *part == "*" || part == segment);
        is_end && beginning != ["*"] && beginning != ["api"]
    })
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_appended_whether_or_not_the_base_ends_in_a_slash() {
        for base in ["http://h:1/x", "http://h:1/x/"] {
            let url = BaseUrl::parse(base).unwrap().join(["v1", "a/b ?"]);
            assert_eq!(url.to_string(), "http://h:1/x/v1/a%2Fb%20%3F");
        }
        assert_eq!(BaseUrl::parse("http://h").unwrap().join(["mcp"]).to_string(), "http://h/mcp");
    }

    #[test]
    fn the_end_of_a_path_is_taken_off_as_far_as_it_is_appended_anyway() {
        let appended = ["api/v1/x", "mcp", "*/actions"];
        for (url, base) in [
            ("http://h/api/v1/x", "http://h"),
            ("http://h/api/v1/x//", "http://h"),
            ("http://h/a/api/v1/", "http://h/a"),
            ("http://h/mcp/mcp", "http://h"),
            ("http://h/a/7/actions", "http://h/a"),
            ("http://h/api", "http://h/api"),
            ("http://h/api/", "http://h/api"),
            ("http://h/v1/x", "http://h/v1/x"),
            ("http://h/actions", "http://h/actions"),
            ("http://h/mcp/a", "http://h/mcp/a"),
            ("http://h/xmcp", "http://h/xmcp"),
            ("http://mcp", "http://mcp"),
        ] {
            let url = BaseUrl::parse(url).unwrap();
            assert_eq!(url.without(&appended).to_string(), base, "{url}");
            assert_eq!(url.without(&[]), url);
        }
    }

    #[test]
    fn only_plain_http_urls_are_taken() {
        for bad in [
            "",
            "h:1",
            "localhost:3001",
            "ftp://h",
            "http://",
            "http://u:p@h",
            "http://h/?q",
            "http://h/#f",
        ] {
            assert_eq!(BaseUrl::parse(bad), None, "{bad:?}");
        }
    }
}
