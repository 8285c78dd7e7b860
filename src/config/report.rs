//! When the report of a week is written, in which language, and where it is posted.

use std::{fmt, str::FromStr};

use jiff::civil::{Time, Weekday};
use secrecy::{ExposeSecret, SecretString};
use url::{Position, Url};

use super::parse::Parser;
use crate::domain::Language;

/// From this length on, in bytes, the path of the webhook is kept out of all texts, even without the host. A shorter one
/// may be an ordinary word.
const SHORTEST_PATH: usize = 16;

/// The report that the daemon writes every week.
#[derive(Clone, Debug)]
pub struct ReportConfig {
    /// REPORT_AT: when the report of the week before is written. `None`: the daemon writes none.
    pub at: Option<ReportAt>,
    /// REPORT_LANG: its language.
    pub language: Language,
    /// REPORT_WEBHOOK_URL: where it is posted. `None`: nowhere.
    pub webhook: Option<WebhookUrl>,
}

impl ReportConfig {
    pub(super) fn read(p: &mut Parser) -> Self {
        let at = p.read("REPORT_AT", "a weekday and a time, such as mon 06:00, or off", |text| {
            if text.eq_ignore_ascii_case("off") { Some(None) } else { text.parse().ok().map(Some) }
        });
        Self {
            at: at.unwrap_or(Some(ReportAt::DEFAULT)),
            language: p.choice("REPORT_LANG").unwrap_or(Language::German),
            webhook: p.read("REPORT_WEBHOOK_URL", "an http:// or https:// URL", WebhookUrl::parse),
        }
    }
}

/// A minute of the week, in the journal's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportAt {
    /// The day.
    pub weekday: Weekday,
    /// The time of the day.
    pub time: Time,
}

impl ReportAt {
    const DEFAULT: Self = Self { weekday: Weekday::Monday, time: Time::constant(6, 0, 0, 0) };
}

/// The text is no minute of a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a weekday and a time, such as mon 06:00")]
pub struct NotAMinute;

/// Reads `mon 06:00` or `Monday 06:00`.
impl FromStr for ReportAt {
    type Err = NotAMinute;

    fn from_str(text: &str) -> Result<Self, NotAMinute> {
        let mut words = text.split_ascii_whitespace();
        let (Some(day), Some(time), None) = (words.next(), words.next(), words.next()) else {
            return Err(NotAMinute);
        };
        let weekday = weekday(day).ok_or(NotAMinute)?;
        let (hour, minute) = time.split_once(':').ok_or(NotAMinute)?;
        let number = |digits: &str| {
            let are_two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            are_two.then(|| digits.parse::<i8>().ok()).flatten().ok_or(NotAMinute)
        };
        let time = Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| NotAMinute)?;
        Ok(Self { weekday, time })
    }
}

/// The weekday with this English name, or with these first three letters of it.
fn weekday(text: &str) -> Option<Weekday> {
    const NAMES: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let text = text.to_ascii_lowercase();
    let of = |name: &str| name == text || name.get(..3) == Some(&*text);
    let days = Weekday::Monday.cycle_forward().zip(NAMES);
    days.into_iter().find_map(|(day, name)| of(name).then_some(day))
}

/// Where reports are posted. Whoever knows the URL can post there, so it is a secret as a whole.
#[derive(Clone)]
pub struct WebhookUrl {
    url: SecretString,
    /// The path and the query, if they are long enough to be known again in a text.
    path: Option<SecretString>,
}

impl WebhookUrl {
    /// Parses an http or https URL. `None` if there is no host.
    pub fn parse(text: &str) -> Option<Self> {
        let mut url = Url::parse(text).ok()?;
        let fits = matches!(url.scheme(), "http" | "https") && url.has_host();
        // A fragment is never sent.
        url.set_fragment(None);
        let path = &url[Position::BeforePath..];
        let path = (path.len() >= SHORTEST_PATH).then(|| path.into());
        fits.then(|| Self { path, url: url.as_str().into() })
    }

    /// The URL, for building a request.
    pub(crate) fn expose(&self) -> &str {
        self.url.expose_secret()
    }

    /// The texts that must not be shown.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        [Some(&self.url), self.path.as_ref()].into_iter().flatten().map(ExposeSecret::expose_secret)
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_the_week_is_a_weekday_in_any_case_and_a_time_of_24_hours() {
        for (text, weekday, hour, minute) in [
            ("mon 06:00", Weekday::Monday, 6, 0),
            ("SUN  23:59", Weekday::Sunday, 23, 59),
            ("Wednesday 00:00", Weekday::Wednesday, 0, 0),
        ] {
            let at: ReportAt = text.parse().unwrap();
            assert_eq!(at, ReportAt { weekday, time: Time::constant(hour, minute, 0, 0) });
        }
        for bad in [
            "",
            "mon",
            "06:00",
            "mo 06:00",
            "mond 06:00",
            "mon 6:00",
            "mon 24:00",
            "mon 06:60",
            "mon 06:00:00",
            "mon +6:00",
            "mon 06:00 utc",
            "on",
        ] {
            assert_eq!(bad.parse::<ReportAt>(), Err(NotAMinute), "{bad:?}");
        }
    }

    #[test]
    fn a_webhook_is_any_http_url_with_a_host_and_shows_nothing_of_itself() {
        let url = "https://Hooks.example/services/T0/B0/s3cret?key=s3cret#part";
        let webhook = WebhookUrl::parse(url).unwrap();
        assert_eq!(webhook.expose(), "https://hooks.example/services/T0/B0/s3cret?key=s3cret");
        assert_eq!(
            webhook.secrets().collect::<Vec<_>>(),
            [webhook.expose(), "/services/T0/B0/s3cret?key=s3cret"]
        );
        assert!(!format!("{webhook:?}").contains("hooks"), "{webhook:?}");
        assert_eq!(WebhookUrl::parse("http://h/report").unwrap().secrets().count(), 1);
        for bad in ["", "hooks.example/x", "ftp://h/x", "http://", "mailto:a@b"] {
            assert!(WebhookUrl::parse(bad).is_none(), "{bad:?}");
        }
    }
}
