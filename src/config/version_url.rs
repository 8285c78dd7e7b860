//! Where the product tells its version.

use std::fmt;

use url::{Position, Url};

/// The URL of a JSON document, and where in the document the product's version is.
#[derive(Clone, PartialEq, Eq)]
pub struct VersionUrl {
    url: Url,
    pointer: String,
}

impl VersionUrl {
    /// Parses an http or https URL whose fragment, the text after `#`, is a JSON pointer (RFC 6901), written as it is,
    /// without percent-encoding. Without a fragment the whole document is the version. `None` if there is no host, if
    /// the URL has credentials, or if the fragment is no pointer.
    pub fn parse(text: &str) -> Option<Self> {
        let (url, pointer) = text.split_once('#').unwrap_or((text, ""));
        let url = Url::parse(url).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url[Position::BeforeUsername..Position::BeforeHost].is_empty();
        let is_pointer = pointer.is_empty() || pointer.starts_with('/');
        (is_plain && is_pointer).then(|| Self { url, pointer: pointer.to_owned() })
    }

    /// The URL without its fragment.
    pub(crate) fn as_url(&self) -> &Url {
        &self.url
    }

    /// The JSON pointer to the version, such as `/version`.
    pub(crate) fn pointer(&self) -> &str {
        &self.pointer
    }
}

/// Without the query, which may contain a key.
impl fmt::Debug for VersionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", &self.url[..Position::AfterPath], self.pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_is_the_pointer_and_is_not_sent() {
        for (text, url, pointer) in [
            ("http://h:1/health#/version", "http://h:1/health", "/version"),
            ("https://h/health/?full=1#/build/0/a~1b", "https://h/health/?full=1", "/build/0/a~1b"),
            ("http://h/version", "http://h/version", ""),
            ("http://h#", "http://h/", ""),
        ] {
            let parsed = VersionUrl::parse(text).unwrap();
            assert_eq!((parsed.as_url().as_str(), parsed.pointer()), (url, pointer));
        }
        let shown = format!("{:?}", VersionUrl::parse("http://h/x?key=s3cret#/v").unwrap());
        assert_eq!(shown, "http://h/x#/v");
    }

    #[test]
    fn only_http_urls_without_credentials_and_with_a_pointer_are_taken() {
        for bad in
            ["", "h/health", "ftp://h", "http://", "http://u:p@h/x", "http://h/health#version"]
        {
            assert_eq!(VersionUrl::parse(bad), None, "{bad:?}");
        }
    }
}
