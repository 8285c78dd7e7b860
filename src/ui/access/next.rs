//! Where a login leads to.

/// The first page, which is shown where nothing else, or nothing good, was asked for.
const FRONT: &str = "/ui";
/// Longest address that is kept, in bytes.
const LONGEST: usize = 4_000;

/// The address of a page of ours, as it stands in a header. Whatever it is made of, it leads nowhere else: a link to
/// the login must not take people to a page that looks like ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ui) struct Next(String);

impl Next {
    /// This address if it is one of ours, else that of the first page.
    pub(in crate::ui) fn of(address: &str) -> Self {
        let address = if is_ours(address) { address } else { FRONT };
        let mut encoded = String::with_capacity(address.len());
        for byte in address.bytes() {
            match byte.is_ascii_graphic() {
                true => encoded.push(byte.into()),
                false => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        Self(encoded)
    }

    pub(in crate::ui) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether an address is within /ui of the same host. Browsers take a backslash for a slash, drop some control
/// characters, resolve `..`, and take what follows `//` at the beginning for a host.
fn is_ours(address: &str) -> bool {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let leaves = |segment: &str| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(&*plain, "." | "..")
    };
    let is_within = path
        .strip_prefix(FRONT)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with('.'));
    let is_odd = |c: char| c.is_control() || c == '\\';
    is_within
        && address.len() <= LONGEST
        && !address.contains(is_odd)
        && !address.contains("//")
        && !path.split('/').any(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ours_is_kept() {
        for address in [
            "/ui",
            "/ui/",
            "/ui.json",
            "/ui?lang=en",
            "/ui/runs/0198?days=7&lang=en",
            "/ui/compare?a=2026-11-01..2026-11-07&b=D-2",
            "/ui/modules/a%2Fb",
            "/ui/modules/a..b",
            "/ui/runs/x#call-7",
        ] {
            assert_eq!(Next::of(address).as_str(), address);
        }
        assert_eq!(Next::of("/ui/modules/ä b").as_str(), "/ui/modules/%C3%A4%20b");
    }

    #[test]
    fn an_address_elsewhere_becomes_the_first_page() {
        let long = format!("/ui/{}", "x".repeat(4_000));
        for address in [
            "",
            "/",
            "ui",
            "/uix",
            "/UI",
            "/diag/login",
            "/control/status",
            "https://evil.example/",
            "https://evil.example/ui",
            "//evil.example",
            "//evil.example/ui",
            "/ui//evil.example",
            "/ui?x=//evil.example",
            "///ui",
            "/\\evil.example",
            "/ui\\..\\..\\evil",
            "\\/ui",
            "/ui/../..//evil.example",
            "/ui/../control/status",
            "/ui/..",
            "/ui/./x",
            "/ui/%2e%2E/x",
            "/ui/.%2e/x",
            "/ui/%2e.",
            "/ui\r\nSet-Cookie: a=b",
            "/ui/\tx",
            "/ui/\u{85}x",
            "\t/ui",
            " /ui",
            "javascript:alert(1)",
            "@evil.example",
            "/ui@evil.example",
            ".evil.example",
            &long,
        ] {
            assert_eq!(Next::of(address).as_str(), "/ui", "{address:?}");
        }
    }
}
