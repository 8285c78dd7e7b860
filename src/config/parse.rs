//! Field parsers that note problems instead of stopping at the first.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use jiff::tz::TimeZone;
use secrecy::SecretString;
use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, Targets},
};

use super::{BaseUrl, Environment, Problem};
use crate::domain::Usd;

/// Longest duration a variable can ask for: a year, in milliseconds. Beyond it, clocks overflow.
const MAX_MILLIS: u64 = 365 * 24 * 60 * 60 * 1000;
/// Shortest key that is sent in a header. A shorter one is a slip, and could not be told from the words of a
/// text it is to be kept out of.
const MIN_KEY: usize = 6;

/// What is appended to each base URL; `*` is an id. A base that ends in one of them, or in its beginning, has
/// it twice in every request. `api` alone is not refused: proxies have services under it.
const APPENDED: [(&str, &[&[&str]]); 5] = [
    (
        "MANA_AUTH_URL",
        &[
            &["api", "auth", "sign-in", "email"],
            &["api", "auth", "token"],
            &["api", "auth", "organization", "list"],
            &["api", "v1", "auth", "login"],
            &["api", "v1", "me", "encryption-vault", "init"],
            &["api", "v1", "internal", "personas"],
        ],
    ),
    ("MANA_API_URL", &[&["api", "v1", "personas", "internal"]]),
    ("MANA_PERSONAS_URL", &[&["due"], &["*", "actions"], &["*", "feedback"]]),
    ("MANA_MCP_URL", &[&["mcp"]]),
    ("ANTHROPIC_BASE_URL", &[&["v1", "messages"]]),
];

/// Collects problems while fields are read. A bad value yields the default, which is thrown away with
/// the whole configuration at the end.
pub(super) struct Parser {
    problems: Vec<Problem>,
}

impl Parser {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        let mut seen = HashSet::new();
        Err(self.problems.into_iter().filter(|p| seen.insert(p.to_string())).collect())
    }

    pub(super) fn problem(&mut self, variable: &'static str, expected: impl Into<String>) {
        self.problems.push(Problem { variable, expected: expected.into() });
    }

    /// `text` read by `parse`, or the default if it is unset.
    fn read<T>(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: T,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        match text {
            None => default,
            Some(text) => parse(&text).unwrap_or_else(|| {
                self.problem(variable, format!("expected {expected}"));
                default
            }),
        }
    }

    pub(super) fn number<N>(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: N,
        min: N,
        max: N,
    ) -> N
    where
        N: FromStr + PartialOrd + std::fmt::Display,
    {
        let expected = format!("a whole number from {min} to {max}");
        self.read(variable, text, default, &expected, |text| {
            // "+5" parses, but nobody means it.
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|n| digits && *n >= min && *n <= max)
        })
    }

    pub(super) fn millis(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: u64,
    ) -> Duration {
        Duration::from_millis(self.number(variable, text, default, 1, MAX_MILLIS))
    }

    /// An amount of money greater than nothing.
    pub(super) fn dollars(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: f64,
    ) -> Usd {
        let default = Usd::from_dollars(default).unwrap_or_default();
        self.read(variable, text, default, EXPECTED_DOLLARS, read_dollars)
    }

    /// As `dollars`, where nothing is set by default.
    pub(super) fn optional_dollars(
        &mut self,
        variable: &'static str,
        text: Option<String>,
    ) -> Option<Usd> {
        self.read(variable, text, None, EXPECTED_DOLLARS, |text| read_dollars(text).map(Some))
    }

    pub(super) fn ip(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: IpAddr,
    ) -> IpAddr {
        let expected = "an IP address such as 127.0.0.1, 0.0.0.0 or ::1";
        self.read(variable, text, default, expected, |text| text.parse().ok())
    }

    pub(super) fn url(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: &str,
    ) -> BaseUrl {
        let text = text.unwrap_or_else(|| default.to_owned());
        let Some(url) = BaseUrl::parse(&text) else {
            self.problem(
                variable,
                "expected an http:// or https:// URL without user, password, query or fragment",
            );
            return stand_in_url();
        };
        let appended = APPENDED.iter().find(|(name, _)| *name == variable);
        let base = url.without(appended.map_or(&[], |(_, paths)| paths));
        if base != url {
            self.problem(
                variable,
                format!("the end of its path is appended by the daemon itself; write {base}"),
            );
        }
        url
    }

    /// A secret that is sent as a header value.
    pub(super) fn header_secret(
        &mut self,
        variable: &'static str,
        text: Option<String>,
    ) -> Option<SecretString> {
        let expected =
            format!("at least {MIN_KEY} characters, visible ASCII only, as it is sent in a header");
        self.read(variable, text, None, &expected, |text| {
            let fits = text.len() >= MIN_KEY && text.bytes().all(|b| b.is_ascii_graphic());
            fits.then(|| Some(text.into()))
        })
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {}", names.join(", "));
        self.read(variable, text, default, &expected, |text| {
            choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice)
        })
    }

    pub(super) fn boolean(&mut self, variable: &'static str, text: Option<String>) -> bool {
        let choices = [("true", true), ("false", false), ("1", true), ("0", false)];
        self.choice(variable, text, false, &choices)
    }

    /// Production if either variable says so; otherwise RUNNER_ENV goes first.
    pub(super) fn environment(
        &mut self,
        runner_env: Option<String>,
        node_env: Option<String>,
    ) -> Environment {
        let choices = [
            ("development", Some(Environment::Development)),
            ("test", Some(Environment::Test)),
            ("staging", Some(Environment::Staging)),
            ("production", Some(Environment::Production)),
        ];
        let runner = self.choice("RUNNER_ENV", runner_env, None, &choices);
        let node = self.choice("NODE_ENV", node_env, None, &choices);
        if [runner, node].contains(&Some(Environment::Production)) {
            return Environment::Production;
        }
        runner.or(node).unwrap_or(Environment::Development)
    }

    pub(super) fn time_zone(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: &str,
    ) -> TimeZone {
        // POSIX allows a colon before the name.
        let name = text.as_deref().unwrap_or(default).trim_start_matches(':');
        TimeZone::get(name).unwrap_or_else(|_| {
            self.problem(variable, "expected an IANA time zone such as Europe/Berlin or UTC");
            TimeZone::UTC
        })
    }

    pub(super) fn host_names(
        &mut self,
        variable: &'static str,
        text: Option<String>,
    ) -> Vec<String> {
        let expected = "host names or addresses separated by commas, without scheme and port";
        self.read(variable, text, Vec::new(), expected, |text| {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names
                .map(|name| match name.parse::<Ipv6Addr>() {
                    Ok(address) => Some(address.to_string()),
                    Err(_) => host_name(name),
                })
                .collect()
        })
    }

    pub(super) fn log_filter(
        &mut self,
        variable: &'static str,
        text: Option<String>,
        default: &str,
    ) -> String {
        let expected = "off, error, warn, info, debug or trace, or directives that let something of this \
                        program through, such as info,mana_persona_runner::http=debug; its name has \
                        underscores there";
        self.read(variable, text, default.to_owned(), expected, |text| {
            // White space would be part of a name to the filter.
            let text = text.split(',').map(str::trim).collect::<Vec<_>>().join(",");
            let fits = EnvFilter::try_new(&text).is_ok() && is_meant(&text);
            fits.then_some(text)
        })
    }
}

/// Whether a filter lets something of this program through, or says `off` of it. Every other word is taken for
/// the name of a crate that is to be logged, and nothing else is then.
fn is_meant(filter: &str) -> bool {
    const PROGRAM: &str = env!("CARGO_CRATE_NAME");
    let is_module = |target: &str| {
        let module = target.strip_prefix(PROGRAM).and_then(|rest| rest.strip_prefix("::"));
        let module = module.and_then(|path| path.split("::").next()).unwrap_or_default();
        // Its own list of modules, so that a misspelt one is found.
        include_str!("../lib.rs").lines().any(|line| line == format!("pub mod {module};"))
    };
    let mut lets_through = false;
    for directive in filter.split(',').filter(|directive| !directive.is_empty()) {
        if directive.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        // A span, with or without fields, is no target; what is in it counts like what is around it.
        let (target, rest) = directive.split_once('[').unwrap_or((directive, ""));
        let level = rest.split_once(']').map_or(rest, |(_, level)| level);
        let Ok(targets) = format!("{target}{level}").parse::<Targets>() else { continue };
        let says_off = |(target, level): (&str, LevelFilter)| {
            level == LevelFilter::OFF && PROGRAM.starts_with(target)
        };
        lets_through |= targets.would_enable(PROGRAM, &tracing::Level::ERROR)
            || targets.default_level() == Some(LevelFilter::OFF)
            || targets.iter().any(says_off)
            || targets.iter().any(|(target, level)| level != LevelFilter::OFF && is_module(target));
    }
    lets_through
}

/// A host as a Host header names it, in one spelling: in lower case, an IPv6 address without its brackets and
/// in its shortest form. `None` if it can be no host.
pub fn host_name(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        return Some(address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string());
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let name = text.strip_suffix('.').unwrap_or(text);
    (!name.is_empty() && name.bytes().all(fits)).then(|| name.to_ascii_lowercase())
}

/// Stands where a URL could not be read, until the problems are reported.
fn stand_in_url() -> BaseUrl {
    #[allow(clippy::expect_used, reason = "a constant URL")]
    BaseUrl::parse("http://localhost").expect("a constant URL")
}

const EXPECTED_DOLLARS: &str = "an amount in US dollars above 0, such as 0.25";

fn read_dollars(text: &str) -> Option<Usd> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let amount = text.parse().ok().filter(|_| plain).and_then(Usd::from_dollars)?;
    (amount > Usd::ZERO).then_some(amount)
}
