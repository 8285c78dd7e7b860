//! The policy of a stored report.
//!
//! A report may have been written by an earlier version, whose style sheet has another hash. The report itself says
//! which: in a meta tag of its head.

use base64::{Engine, prelude::BASE64_STANDARD};

/// What stands before the policy in a report.
const BEFORE: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"";
/// What every text of a peer in a report comes after.
const TITLE: &str = "<title>";
/// Length of a SHA-256 hash, in bytes.
const HASH: usize = 32;

/// The policy with which the browser may show this report: nothing but its own style sheet. If the report does not say
/// the hash of that, not even the style sheet.
pub(super) fn of_report(html: &str) -> String {
    let style = hash(html).map_or(String::new(), |hash| format!("; style-src 'sha256-{hash}'"));
    format!(
        "default-src 'none'{style}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The hash that the policy of a report names, if it is one.
fn hash(html: &str) -> Option<&str> {
    let (head, _) = html.split_once(TITLE)?;
    let (_, policy) = head.split_once(BEFORE)?;
    let (policy, _) = policy.split_once('"')?;
    let mut sources = policy.split(';').filter_map(|it| it.trim().strip_prefix("style-src "));
    let hash = sources.next()?.strip_prefix("'sha256-")?.strip_suffix('\'')?;
    let is_hash = BASE64_STANDARD.decode(hash).is_ok_and(|bytes| bytes.len() == HASH);
    is_hash.then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::policy;

    const NO_STYLE: &str =
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    fn report(policy: &str) -> String {
        format!(
            "<!DOCTYPE html><html><head><meta charset=\"utf-8\">{BEFORE}{policy}\">{TITLE}x</title>"
        )
    }

    #[test]
    fn the_policy_of_a_report_is_its_own_and_no_page_may_frame_it() {
        assert_eq!(of_report(&report(&policy())), policy() + "; frame-ancestors 'none'");
        // That of an earlier version, with the hash of another style sheet.
        let hash = BASE64_STANDARD.encode([7; HASH]);
        let earlier = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
        );
        assert_eq!(of_report(&report(&earlier)), earlier + "; frame-ancestors 'none'");
    }

    #[test]
    fn whatever_else_a_report_names_is_not_allowed() {
        for style in [
            "'unsafe-inline'",
            "*",
            "'sha256-short'",
            "'sha256-AAAA' 'unsafe-inline'",
            "'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' https://example.org",
            "'sha256-\r\nx-injected: 1'",
        ] {
            assert_eq!(
                of_report(&report(&format!("default-src 'none'; style-src {style}"))),
                NO_STYLE
            );
        }
        assert_eq!(of_report(&report("script-src 'unsafe-inline'")), NO_STYLE);
        assert_eq!(of_report(""), NO_STYLE);
    }

    #[test]
    fn a_text_of_a_peer_is_no_policy() {
        let hash = BASE64_STANDARD.encode([7; HASH]);
        let text = format!("{TITLE}{BEFORE}style-src 'sha256-{hash}'\">");
        assert_eq!(of_report(&text), NO_STYLE);
    }
}
