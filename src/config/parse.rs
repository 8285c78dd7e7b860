//! Reads variables one by one and collects all problems instead of ending at the first.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fmt::Display,
    net::Ipv6Addr,
    ops::RangeInclusive,
    time::Duration,
};

use jiff::tz::TimeZone;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, Targets},
};

use super::{BaseUrl, Effort, Problem, host::host_name};
use crate::domain::{Label, Usd};

/// Longest duration that a variable may have: a year, in milliseconds. A much longer duration would overflow
/// the clocks.
const MAX_MILLIS: u64 = 365 * 24 * 60 * 60 * 1000;
/// Shortest key that is sent in a header, in characters. A shorter key is a mistake; and the redactor could
/// not tell a shorter key from ordinary words of a text.
pub(super) const MIN_KEY: usize = 6;

/// Reads variables one by one and collects their problems. A bad value is read as `None`. If there is any
/// problem, the whole configuration is dropped at the end.
#[derive(Default)]
pub(super) struct Parser {
    vars: HashMap<OsString, OsString>,
    /// The names of all variables that were asked for, set or not.
    pub(super) asked: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Parser {
    /// The result of `read` on these variables, or all problems that `read` has met.
    pub(super) fn read_with<T>(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Result<T, Vec<Problem>> {
        let mut parser = Self { vars: vars.into_iter().collect(), ..Self::default() };
        let value = read(&mut parser);
        if parser.problems.is_empty() { Ok(value) } else { Err(parser.problems) }
    }

    pub(super) fn problem(&mut self, name: &'static str, expected: impl Into<String>) {
        self.problems.push(Problem { variable: name, expected: expected.into() });
    }

    /// The value of a variable; `None` if it is unset, empty or blank. A value with quotes around it is a
    /// problem: no variable needs quotes, and a key or a name with quotes would be wrong without any message.
    pub(super) fn text_as_is(&mut self, name: &'static str) -> Option<String> {
        self.asked.push(name);
        let value = self.vars.remove(OsStr::new(name))?.into_string();
        let wrong = match value.as_deref().map(|value| value.trim().as_bytes()) {
            Ok([]) => return None,
            Ok([quote @ (b'"' | b'\''), .., end]) if quote == end => {
                "expected a value without quotes around it; docker's --env-file keeps them, where a shell \
                 takes them away"
            }
            Ok(_) => return value.ok(),
            Err(_) => "expected text in UTF-8",
        };
        self.problem(name, wrong);
        None
    }

    /// Like `text_as_is`, but without white space at both ends.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.text_as_is(name).map(|text| text.trim().to_owned())
    }

    /// The value of a variable, converted by `parse`. It is a problem if `parse` gives `None`; the message
    /// then says that `expected` was expected.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(&self.text(name)?);
        if value.is_none() {
            self.problem(name, format!("expected {expected}"));
        }
        value
    }

    pub(super) fn number<N: DeserializeOwned + PartialOrd + Display>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<N>,
    ) -> Option<N> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        // "+5" would parse, but it is more likely a typing mistake.
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        self.read(name, &expected, |text| {
            value(text).filter(|n| is_plain(text) && range.contains(n))
        })
    }

    pub(super) fn millis(&mut self, name: &'static str, default: u64) -> Duration {
        Duration::from_millis(self.number(name, 1..=MAX_MILLIS).unwrap_or(default))
    }

    /// A number of days from 1 to ten years.
    pub(super) fn days(&mut self, name: &'static str, default: u32) -> Duration {
        Duration::from_secs(86_400) * self.number(name, 1..=3_650).unwrap_or(default)
    }

    /// An amount of money in US dollars, > 0.
    pub(super) fn dollars(&mut self, name: &'static str) -> Option<Usd> {
        self.read(name, "an amount in US dollars above 0, such as 0.25", |text| {
            let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let amount = value(text).filter(|_| plain).and_then(Usd::from_dollars)?;
            (amount > Usd::ZERO).then_some(amount)
        })
    }

    /// A base URL, or its default. `appended` are the paths that requests append to it. It is a problem if
    /// the URL already ends in one of them.
    pub(super) fn url(&mut self, name: &'static str, default: &str, appended: &[&str]) -> BaseUrl {
        self.set_url(name, appended).unwrap_or_else(|| BaseUrl::of_constant(default))
    }

    /// Like `url`, for a variable without a default.
    pub(super) fn set_url(&mut self, name: &'static str, appended: &[&str]) -> Option<BaseUrl> {
        let expected = "an http:// or https:// URL without user, password, query or fragment";
        let url = self.read(name, expected, BaseUrl::parse)?;
        let base = url.without(appended);
        if base != url {
            let problem = "the end of its path is appended by the daemon itself; write";
            self.problem(name, format!("{problem} {base}"));
        }
        Some(url)
    }

    /// A secret that is sent as the value of a header: at least `shortest` visible ASCII characters.
    pub(super) fn header_secret(
        &mut self,
        name: &'static str,
        shortest: usize,
    ) -> Option<SecretString> {
        let expected = format!(
            "at least {shortest} characters, visible ASCII only, as it is sent in a header"
        );
        self.read(name, &expected, |text| {
            let fits = text.len() >= shortest && text.bytes().all(|b| b.is_ascii_graphic());
            fits.then(|| text.into())
        })
    }

    pub(super) fn choice<L: Label>(&mut self, name: &'static str) -> Option<L> {
        let words: Vec<_> = L::ALL.iter().map(|choice| choice.as_str()).collect();
        self.read(name, &format!("one of {}", words.join(", ")), L::parse)
    }

    /// The effort of requests: `Some(None)` for the value `none`, `None` if the variable is unset or bad.
    pub(super) fn effort(&mut self, name: &'static str) -> Option<Option<Effort>> {
        self.read(name, "one of none, low, medium, high, xhigh, max", |text| {
            if text == "none" { Some(None) } else { Effort::parse(text).map(Some) }
        })
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, "one of true, false, 1, 0", |text| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    pub(super) fn time_zone(&mut self, name: &'static str, default: &str) -> TimeZone {
        // POSIX allows a colon before the name.
        let zone = |text: &str| TimeZone::get(text.trim_start_matches(':')).ok();
        let set = self.read(name, "an IANA time zone such as Europe/Berlin or UTC", zone);
        set.or_else(|| zone(default)).unwrap_or(TimeZone::UTC)
    }

    /// The names in a comma-separated value.
    pub(super) fn names(&mut self, name: &'static str) -> Vec<String> {
        names(&self.text(name).unwrap_or_default()).map(str::to_owned).collect()
    }

    pub(super) fn host_names(&mut self, name: &'static str) -> Option<Vec<String>> {
        let expected = "host names or addresses separated by commas, without scheme and port";
        self.read(name, expected, |text| {
            let address = |name: &str| Some(name.parse::<Ipv6Addr>().ok()?.to_string());
            names(text).map(|name| address(name).or_else(|| host_name(name))).collect()
        })
    }

    pub(super) fn log_filter(&mut self, name: &'static str) -> Option<String> {
        let expected = "off, error, warn, info, debug or trace, or directives that let something of this \
                        program through, such as info,mana_persona_runner::http=debug; its name has \
                        underscores there";
        self.read(name, expected, |text| {
            // The filter would take white space as part of a name.
            let text = text.split(',').map(str::trim).collect::<Vec<_>>().join(",");
            let fits = EnvFilter::try_new(&text).is_ok() && is_meant(&text);
            fits.then_some(text)
        })
    }
}

/// Converts `text` as envy converts the value of a variable.
pub(super) fn value<T: DeserializeOwned>(text: &str) -> Option<T> {
    let variable = ("value".to_owned(), text.to_owned());
    let values: envy::Result<HashMap<String, T>> = envy::from_iter([variable]);
    values.ok()?.remove("value")
}

/// The names in a comma-separated text, without white space around them and without empty ones.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Whether a filter lets log records of this program through, or turns them off with `off`. `EnvFilter` takes
/// any other word, such as a misspelt level, as the name of a crate. Then only records of that crate would be
/// logged.
fn is_meant(filter: &str) -> bool {
    const PROGRAM: &str = env!("CARGO_CRATE_NAME");
    let is_module = |target: &str| {
        let module = target.strip_prefix(PROGRAM).and_then(|rest| rest.strip_prefix("::"));
        let module = module.and_then(|path| path.split("::").next()).unwrap_or_default();
        // The list of modules comes from lib.rs, so that a misspelt module is found. Some are private.
        include_str!("../lib.rs").lines().any(|line| line.ends_with(&format!("mod {module};")))
    };
    let mut lets_through = false;
    for directive in filter.split(',').filter(|directive| !directive.is_empty()) {
        if directive.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        // The part in brackets names a span and its fields. It is removed: records inside a span count like
        // records outside.
        let (target, rest) = directive.split_once('[').unwrap_or((directive, ""));
        let level = rest.split_once(']').map_or(rest, |(_, level)| level);
        let Ok(targets) = format!("{target}{level}").parse::<Targets>() else { continue };
        lets_through |= targets.would_enable(PROGRAM, &tracing::Level::ERROR)
            || targets.default_level() == Some(LevelFilter::OFF)
            || targets.iter().any(|(target, level)| match level {
                LevelFilter::OFF => PROGRAM.starts_with(target),
                _ => is_module(target),
            });
    }
    lets_through
}
