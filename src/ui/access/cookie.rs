//! The cookie that a login gives. It is signed and nothing is stored, so it outlives a restart and holds at each daemon
//! with the same UI_KEY.

use std::str;

use axum::http::{HeaderMap, HeaderValue, header};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::config::{host_of_header, is_loopback};

/// The name of the cookie.
const NAME: &str = "mana_ui";
/// How long a login lasts, in seconds.
const LIFETIME: i64 = 12 * 60 * 60;
/// Separates the key of the signatures from UI_KEY and from other uses of it.
const LABEL: &[u8] = b"mana-persona-runner: login cookie of /ui";
/// Longest value that is looked at, in bytes: more than an expiry, a point and a signature need.
const LONGEST: usize = 128;

/// Signs and checks the values of cookies: `EXPIRY.SIGNATURE`, the time of its end in seconds since 1970 and an
/// HMAC-SHA256 of that number, in hex.
#[derive(Debug)]
pub(super) struct Cookies {
    /// The HMAC with the key of the signatures, to which nothing was added yet.
    mac: Hmac<Sha256>,
}

impl Cookies {
    pub(super) fn new(ui_key: &SecretString) -> Self {
        let derived = keyed(ui_key.expose_secret().as_bytes()).chain_update(LABEL).finalize();
        Self { mac: keyed(&derived.into_bytes()) }
    }

    /// The value of Set-Cookie for a login at `now`.
    pub(super) fn give(&self, now: Timestamp, is_secure: bool) -> HeaderValue {
        let expiry = now.as_second().saturating_add(LIFETIME).to_string();
        let signature = self.signature(&expiry);
        set_cookie(&format!("{expiry}.{signature}"), LIFETIME, is_secure)
    }

    /// Whether a request has a cookie of a login that has not ended.
    pub(super) fn admit(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        values(headers).any(|value| self.is_valid(value, now))
    }

    fn is_valid(&self, value: &[u8], now: Timestamp) -> bool {
        let Some(value) = str::from_utf8(value).ok().filter(|value| value.len() <= LONGEST) else {
            return false;
        };
        let Some((expiry, signature)) = value.split_once('.') else { return false };
        let is_ours = self.signature(expiry).as_bytes().ct_eq(signature.as_bytes());
        bool::from(is_ours) && expiry.parse().is_ok_and(|expiry: i64| now.as_second() < expiry)
    }

    fn signature(&self, expiry: &str) -> String {
        let signature = self.mac.clone().chain_update(expiry).finalize().into_bytes();
        signature.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The value of Set-Cookie that ends a login in this browser.
pub(super) fn take_away(is_secure: bool) -> HeaderValue {
    set_cookie("", 0, is_secure)
}

/// The path is `/`, because a browser sends a cookie of the path /ui to /ui and /ui/…, but not to /ui.json.
fn set_cookie(value: &str, seconds: i64, is_secure: bool) -> HeaderValue {
    let secure = if is_secure { "; Secure" } else { "" };
    let text =
        format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    // The value is a number and hex digits, which every header may have.
    HeaderValue::try_from(text).unwrap_or(const { HeaderValue::from_static("") })
}

/// Whether the cookie may be sent over https alone. A browser on this machine talks to the daemon without a proxy, so
/// without https.
pub(super) fn is_secure(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host_of_header(host.to_str().ok()?));
    hosts.next().is_some() || !host.is_some_and(|host| is_loopback(&host))
}

/// The values of all cookies with our name. There may be several: other programs on the same host can set one too.
pub(super) fn values(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(NAME.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a-key-of-the-page";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn cookies(key: &str) -> Cookies {
        Cookies::new(&key.into())
    }

    /// The value that a browser sends back.
    fn given(key: &str, second: i64) -> String {
        let set = cookies(key).give(at(second), true);
        let set = set.to_str().unwrap();
        set.strip_prefix("mana_ui=").unwrap().split_once(';').unwrap().0.to_owned()
    }

    fn with(name: header::HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn admits(lines: &[&[u8]], second: i64) -> bool {
        cookies(KEY).admit(&with(header::COOKIE, lines), at(second))
    }

    #[test]
    fn a_cookie_holds_for_twelve_hours_and_at_each_daemon_with_the_same_key() {
        let cookie = format!("mana_ui={}", given(KEY, 1_000));
        for (second, holds) in [(0, true), (1_000, true), (44_199, true), (44_200, false)] {
            assert_eq!(admits(&[cookie.as_bytes()], second), holds, "{second}");
        }
        let other = format!("mana_ui={}", given("another-key-of-the-page", 1_000));
        assert!(!admits(&[other.as_bytes()], 1_000));
    }

    #[test]
    fn what_was_changed_or_made_up_is_no_cookie() {
        let good = given(KEY, 1_000);
        let (expiry, signature) = good.split_once('.').unwrap();
        let signed_by_the_key_itself: String = {
            let mac = keyed(KEY.as_bytes()).chain_update(expiry).finalize().into_bytes();
            mac.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let other_label = keyed(KEY.as_bytes()).chain_update("another label").finalize();
        let of_other_label = Cookies { mac: keyed(&other_label.into_bytes()) }.signature(expiry);
        for bad in [
            String::new(),
            ".".into(),
            expiry.into(),
            format!("{expiry}."),
            format!(".{signature}"),
            format!("{expiry}.{}", signature.to_uppercase()),
            format!("{expiry}.{}", &signature[..63]),
            format!("{expiry}.{signature}0"),
            format!("{expiry}.{signature}."),
            format!("{}.{signature}", expiry.parse::<i64>().unwrap() + 1),
            format!("+{expiry}.{signature}"),
            format!("0{expiry}.{signature}"),
            format!("{expiry}.{}", "0".repeat(64)),
            format!("{expiry}.{signed_by_the_key_itself}"),
            format!("{expiry}.{of_other_label}"),
            format!("\"{good}\""),
        ] {
            assert!(!admits(&[format!("mana_ui={bad}").as_bytes()], 1_000), "{bad}");
        }
        // Signed by us, but no number.
        let word = format!("mana_ui=word.{}", cookies(KEY).signature("word"));
        assert!(!admits(&[word.as_bytes()], 1_000));
    }

    #[test]
    fn the_cookie_is_found_among_others_whatever_they_are() {
        let good = format!("mana_ui={}", given(KEY, 1_000));
        let good = good.as_bytes();
        for before in [
            &b""[..],
            b"a=b; ",
            b"mana_ui=; ",
            b"mana_ui=1.2;",
            b"\xff\xfe; =;;; ",
            b"a=mana_ui=1.2; ",
        ] {
            for after in [&b""[..], b";", b"; a=b", b"; mana_ui=\xff"] {
                assert!(admits(&[&[before, good, after].concat()], 1_000));
            }
        }
        assert!(admits(&[b"a=b", b"mana_ui=1.2", good], 1_000));
        let many = [b"mana_ui=1.2; ".repeat(1_000), good.to_vec()].concat();
        assert!(admits(&[&many], 1_000));
        for other in [&b"mana_uix="[..], b"xmana_ui=", b"Mana_ui=", b"mana_ui ="] {
            let renamed = [other, &good[b"mana_ui=".len()..]].concat();
            assert!(!admits(&[&renamed], 1_000));
        }
        let huge = [b"mana_ui=", &b"9".repeat(15_000)[..], b".", &b"a".repeat(64)].concat();
        assert!(!admits(&[&huge], 1_000));
        assert!(!admits(&[], 1_000));
    }

    #[test]
    fn a_cookie_is_for_https_unless_the_browser_is_on_this_machine() {
        for (hosts, secure) in [
            (&[&b"localhost"[..]][..], false),
            (&[b"LocalHost.:3070"], false),
            (&[b"127.0.0.1:3070"], false),
            (&[b"127.8.9.10"], false),
            (&[b"[::1]:3070"], false),
            (&[b"runner.example"], true),
            (&[b"localhost.example"], true),
            (&[b"10.0.0.7:3070"], true),
            (&[b"0.0.0.0:3070"], true),
            (&[b"localhost:port"], true),
            (&[b"localh\xf6st"], true),
            (&[b""], true),
            (&[], true),
            (&[b"localhost", b"runner.example"], true),
        ] {
            assert_eq!(is_secure(&with(header::HOST, hosts)), secure, "{hosts:?}");
        }
        let set = |is_secure| cookies(KEY).give(at(1_000), is_secure);
        let value = given(KEY, 1_000);
        let plain = format!("mana_ui={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
        assert_eq!(set(false), plain);
        assert_eq!(set(true), format!("{plain}; Secure"));
        let gone = "mana_ui=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
        assert_eq!(take_away(false), gone);
        assert_eq!(take_away(true), format!("{gone}; Secure"));
    }
}
