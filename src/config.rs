//! The environment, read once and turned into typed settings.
//!
//! Every problem is collected, so that one start shows all of them; no message repeats a value, so
//! none can show a secret. Empty means unset. docs/configuration.md lists the variables.

mod base_url;
mod parse;

use std::{
    ffi::OsString,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};

pub use base_url::BaseUrl;
pub(crate) use parse::host_name;
use parse::{Parser, names, value};

use crate::domain::{Usd, labels};

/// The seed secret of development; production refuses it.
pub const DEV_SEED_SECRET: &str = "dev-persona-seed-secret-rotate-in-prod";

/// The variable of what a run may cost.
pub const PERSONA_MAX_COST_USD: &str = "PERSONA_MAX_COST_USD";

/// The folder of the journal where RUNNER_DATA_DIR names none.
const DATA_DIR: &str = "data";

/// Where due, actions and feedback are at mana-auth, and at the newer MANA_API_URL.
const PERSONAS_AT_AUTH: &str = "api/v1/internal/personas";
const PERSONAS_AT_API: &str = "api/v1/personas/internal";
/// What mana-auth is asked for.
const AUTH_PATHS: [&str; 6] = [
    "api/auth/sign-in/email",
    "api/auth/token",
    "api/auth/organization/list",
    "api/v1/auth/login",
    "api/v1/me/encryption-vault/init",
    PERSONAS_AT_AUTH,
];

/// Tools that cost the product money although nothing on the wire says so (docs/contracts/mana-mcp.md).
const PAID_TOOLS: [&str; 4] =
    ["me.generateWithReference", "wardrobe.tryOn", "comic.generatePanel", "comic.generateVariant"];

/// Everything the daemon can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// PORT and HOST: where to listen. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The services the runner talks to.
    pub peers: PeersConfig,
    /// Claude.
    pub claude: ClaudeConfig,
    /// PERSONA_SEED_SECRET: key of the password derivation.
    pub seed_secret: SecretString,
    /// When and how many.
    pub tick: TickConfig,
    /// Bounds of one persona's run.
    pub run: RunLimits,
    /// What personas may do with tools.
    pub policy: PolicyConfig,
    /// What may be spent.
    pub budget: BudgetConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// SHUTDOWN_GRACE_MS: from the first signal to the forced end.
    pub shutdown_grace: Duration,
    /// RUNNER_ENV and NODE_ENV.
    pub environment: Environment,
    /// TZ: the zone of "today" in the prompt.
    pub time_zone: TimeZone,
    /// DIAG_HOSTS: further hosts under which /diag may be called, as [`host_name`] writes them.
    pub diag_hosts: Vec<String>,
    /// LOG_FORMAT and RUST_LOG.
    pub log: LogConfig,
}

/// Base URLs and the key of Mana's services.
#[derive(Clone, Debug)]
pub struct PeersConfig {
    /// MANA_AUTH_URL.
    pub auth: BaseUrl,
    /// MANA_PERSONAS_URL, MANA_API_URL: base of due, actions and feedback.
    pub personas: PersonasUrl,
    /// MANA_MCP_URL, without /mcp.
    pub mcp: BaseUrl,
    /// MANA_SERVICE_KEY.
    pub service_key: Option<SecretString>,
}

impl PeersConfig {
    fn read(p: &mut Parser) -> Self {
        let auth = p.url("MANA_AUTH_URL", "http://localhost:3001", &AUTH_PATHS);
        let api = p.set_url("MANA_API_URL", &[PERSONAS_AT_API]);
        let own = p.set_url("MANA_PERSONAS_URL", &["due", "*/actions", "*/feedback"]);
        let (base, variable) = match (own, api) {
            (Some(url), _) => (url, "MANA_PERSONAS_URL"),
            (None, Some(api)) => (api.join(PERSONAS_AT_API.split('/')), "MANA_API_URL"),
            (None, None) => (auth.join(PERSONAS_AT_AUTH.split('/')), "MANA_AUTH_URL"),
        };
        Self {
            auth,
            personas: PersonasUrl { base, variable },
            mcp: p.url("MANA_MCP_URL", "http://localhost:3069", &["mcp"]),
            service_key: p.header_secret("MANA_SERVICE_KEY"),
        }
    }
}

/// Where due, actions and feedback are.
#[derive(Clone, Debug)]
pub struct PersonasUrl {
    /// Their base.
    pub base: BaseUrl,
    /// The variable it comes from: what to look at where nobody answers there.
    pub variable: &'static str,
}

impl fmt::Display for PersonasUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.base, self.variable)
    }
}

/// How Claude is called.
#[derive(Clone, Debug)]
pub struct ClaudeConfig {
    /// ANTHROPIC_BASE_URL, without /v1/messages.
    pub base: BaseUrl,
    /// ANTHROPIC_API_KEY.
    pub api_key: Option<SecretString>,
    /// ANTHROPIC_MODEL.
    pub model: String,
    /// ANTHROPIC_EFFORT; `None` sends no effort.
    pub effort: Option<Effort>,
    /// PRICING_FILE: a price table instead of the one in the binary.
    pub pricing_file: Option<PathBuf>,
}

labels! {
    /// How hard the model thinks (docs/contracts/anthropic-messages.md, section 2).
    #[allow(missing_docs, reason = "the names are the API's own")]
    pub Effort {
        Low = "low",
        Medium = "medium",
        High = "high",
        Xhigh = "xhigh",
        Max = "max",
    }
}

/// When ticks happen and how many personas run at once.
#[derive(Clone, Copy, Debug)]
pub struct TickConfig {
    /// TICK_INTERVAL_MS.
    pub interval: Duration,
    /// PERSONA_CONCURRENCY, ≥ 1.
    pub concurrency: usize,
    /// RUNNER_PAUSED: stay up, tick never.
    pub paused: bool,
    /// RUN_BACKOFF_MS: first step of the back-off of a failed run.
    pub run_backoff: Duration,
}

/// Bounds of one persona's run.
#[derive(Clone, Copy, Debug)]
pub struct RunLimits {
    /// PERSONA_MAX_TURNS: model replies in a main turn, ≥ 1.
    pub max_turns: u32,
    /// PERSONA_TIMEOUT_MS: the whole run.
    pub timeout: Duration,
    /// PERSONA_TOOL_TIMEOUT_MS: one tool call.
    pub tool_timeout: Duration,
    /// PERSONA_MAX_COST_USD: what a run may cost, > 0.
    pub max_cost: Usd,
}

/// What personas may do with tools.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// POLICY_MODE.
    pub mode: PolicyMode,
    /// POLICY_ALLOW_DESTRUCTIVE: destructive tools that may be called all the same.
    pub allow_destructive: Vec<String>,
    /// POLICY_TOOL_RATE: calls of one tool by one persona in a rolling minute, ≥ 1.
    pub tool_rate: usize,
    /// POLICY_HIDDEN_TOOLS: tools that are not offered, the default's among them where it is added to.
    pub hidden_tools: Vec<String>,
    /// PERSONA_READ_TOOLS: tools that only read, besides those whose name says so.
    pub read_tools: Vec<String>,
}

impl PolicyConfig {
    /// The tools these settings name, each with its variable; but for those that are hidden by default,
    /// which not every version of the product has.
    pub(crate) fn named_tools(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let hidden = self.hidden_tools.iter().filter(|name| !PAID_TOOLS.contains(&name.as_str()));
        let of = |variable| move |name| (variable, String::as_str(name));
        let hidden = hidden.map(of("POLICY_HIDDEN_TOOLS"));
        let allowed = self.allow_destructive.iter().map(of("POLICY_ALLOW_DESTRUCTIVE"));
        hidden.chain(allowed).chain(self.read_tools.iter().map(of("PERSONA_READ_TOOLS")))
    }
}

/// What may be spent on model replies; `None` is no cap. Days and months are UTC's.
#[derive(Clone, Copy, Debug)]
pub struct BudgetConfig {
    /// BUDGET_DAILY_USD: by all personas in a day.
    pub daily: Option<Usd>,
    /// BUDGET_MONTHLY_USD: by all personas in a month.
    pub monthly: Option<Usd>,
    /// PERSONA_DAILY_USD: by one persona in a day.
    pub persona_daily: Option<Usd>,
}

/// Where runs are written down, and for how long.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// RUNNER_DATA_DIR: the folder of the journal; made if there is none.
    pub folder: PathBuf,
    /// JOURNAL_RESUME_MAX_AGE_MS: an unfinished run older than this is closed, not resumed.
    pub resume_max_age: Duration,
    /// JOURNAL_RETENTION_DAYS, ≥ 1: how long the steps of a run are kept.
    pub retention: Duration,
}

labels! {
    /// What the policy gate does with its decisions.
    pub PolicyMode {
        /// Makes none.
        Off = "off",
        /// Logs and counts them; every call runs.
        LogOnly = "log-only",
        /// Denied calls do not run.
        Enforce = "enforce",
    }
}

labels! {
    /// What kind of deployment this is.
    #[allow(missing_docs, reason = "the names say it")]
    pub Environment {
        Development = "development",
        Test = "test",
        Staging = "staging",
        Production = "production",
    }
}

impl Environment {
    /// Production if either variable says so; otherwise RUNNER_ENV goes first.
    fn read(p: &mut Parser) -> Self {
        let said = ["RUNNER_ENV", "NODE_ENV"].map(|variable| p.choice(variable));
        let production = said.contains(&Some(Self::Production)).then_some(Self::Production);
        production.or(said[0]).or(said[1]).unwrap_or(Self::Development)
    }

    /// Whether /diag is closed and every secret must be set.
    pub(crate) fn is_production(self) -> bool {
        self == Self::Production
    }
}

/// How the daemon logs.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// LOG_FORMAT.
    pub format: LogFormat,
    /// RUST_LOG: directives of tracing-subscriber's `EnvFilter`, checked.
    pub filter: String,
}

labels! {
    /// Shape of a log line.
    #[allow(missing_docs, reason = "the names say it")]
    pub LogFormat {
        Text = "text",
        Json = "json",
    }
}

impl LogFormat {
    /// What LOG_FORMAT of the process says, for telling that the rest of it cannot be used. Who has set it
    /// to something else than `text` expects records, even where the value is one of the problems.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn from_env() -> Self {
        let format = std::env::var_os("LOG_FORMAT").unwrap_or_default();
        let is_text = format.to_str().is_some_and(|format| matches!(format.trim(), "" | "text"));
        if is_text { Self::Text } else { Self::Json }
    }
}

/// One thing that is wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {expected}")]
pub struct Problem {
    /// The variable.
    pub variable: &'static str,
    /// What was expected, and where it helps, what to do.
    pub expected: String,
}

impl Config {
    /// RUNNER_DATA_DIR of the process's environment: all that the command line needs to read a journal.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn data_dir_from_env() -> PathBuf {
        let folder = std::env::var("RUNNER_DATA_DIR").unwrap_or_default();
        Some(folder.trim()).filter(|folder| !folder.is_empty()).unwrap_or(DATA_DIR).into()
    }

    /// PORT and HOST of the process's environment, for which the rest of it does not matter.
    ///
    /// # Errors
    /// What is wrong with them.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn listen_from_env() -> Result<SocketAddr, Vec<Problem>> {
        Parser::read_with(std::env::vars_os(), listen)
    }

    /// Reads the process's environment.
    ///
    /// # Errors
    /// Every problem found, in the order in which the variables are read.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn from_env() -> Result<Self, Vec<Problem>> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads these variables; unknown ones are ignored.
    ///
    /// # Errors
    /// Every problem found, in the order in which the variables are read.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        Parser::read_with(vars, Self::read)
    }

    /// Names of all variables that are read.
    pub fn variables() -> Vec<&'static str> {
        let mut parser = Parser::default();
        Self::read(&mut parser);
        parser.asked
    }

    /// Reads every variable, then looks at what they mean together. Where a value is bad the parser
    /// has noted it and the default goes on, which never leaves [`Config::from_vars`].
    fn read(p: &mut Parser) -> Self {
        let config = Self {
            listen: listen(p),
            peers: PeersConfig::read(p),
            claude: ClaudeConfig {
                api_key: p.header_secret("ANTHROPIC_API_KEY"),
                base: p.url("ANTHROPIC_BASE_URL", "https://api.anthropic.com", &["v1/messages"]),
                pricing_file: p.text("PRICING_FILE").map(PathBuf::from),
                model: p.text("ANTHROPIC_MODEL").unwrap_or_else(|| "claude-haiku-5-5".into()),
                effort: p.effort("ANTHROPIC_EFFORT").unwrap_or(Some(Effort::Low)),
            },
            seed_secret: p
                .text_as_is("PERSONA_SEED_SECRET")
                .map_or_else(|| DEV_SEED_SECRET.into(), SecretString::from),
            tick: TickConfig {
                interval: p.millis("TICK_INTERVAL_MS", 60_000),
                concurrency: p.number("PERSONA_CONCURRENCY", 1..=10_000).unwrap_or(2),
                run_backoff: p.millis("RUN_BACKOFF_MS", 60_000),
                paused: p.boolean("RUNNER_PAUSED").unwrap_or(false),
            },
            run: RunLimits {
                max_turns: p.number("PERSONA_MAX_TURNS", 1..=1_000).unwrap_or(15),
                timeout: p.millis("PERSONA_TIMEOUT_MS", 600_000),
                tool_timeout: p.millis("PERSONA_TOOL_TIMEOUT_MS", 15_000),
                max_cost: p.dollars(PERSONA_MAX_COST_USD).unwrap_or(Usd::from_cents(25)),
            },
            policy: PolicyConfig {
                mode: p.choice("POLICY_MODE").unwrap_or(PolicyMode::Enforce),
                allow_destructive: p.names("POLICY_ALLOW_DESTRUCTIVE"),
                tool_rate: p.number("POLICY_TOOL_RATE", 1..=10_000).unwrap_or(30),
                hidden_tools: hidden(p.text("POLICY_HIDDEN_TOOLS")),
                read_tools: p.names("PERSONA_READ_TOOLS"),
            },
            budget: BudgetConfig {
                daily: p.dollars("BUDGET_DAILY_USD").or(Some(Usd::from_cents(500))),
                monthly: p.dollars("BUDGET_MONTHLY_USD"),
                persona_daily: p.dollars("PERSONA_DAILY_USD"),
            },
            journal: JournalConfig {
                retention: Duration::from_secs(86_400)
                    * p.number("JOURNAL_RETENTION_DAYS", 1..=3_650).unwrap_or(30),
                folder: p.text("RUNNER_DATA_DIR").unwrap_or_else(|| DATA_DIR.into()).into(),
                resume_max_age: p.millis("JOURNAL_RESUME_MAX_AGE_MS", 3_600_000),
            },
            shutdown_grace: p.millis("SHUTDOWN_GRACE_MS", 8_000),
            environment: Environment::read(p),
            time_zone: p.time_zone("TZ", "Europe/Berlin"),
            diag_hosts: p.host_names("DIAG_HOSTS").unwrap_or_default(),
            log: LogConfig {
                format: p.choice("LOG_FORMAT").unwrap_or(LogFormat::Text),
                filter: p.log_filter("RUST_LOG").unwrap_or_else(|| "info".into()),
            },
        };
        config.check_production(p);
        config
    }

    /// Production fails closed: no default secret, no missing key.
    fn check_production(&self, p: &mut Parser) {
        let production = self.environment.is_production();
        for variable in self.missing_keys().into_iter().filter(|_| production) {
            p.problem(variable, "must be set in production");
        }
        if production && self.seed_secret.expose_secret() == DEV_SEED_SECRET {
            let expected = "must be set in production to the secret the personas were seeded with, \
                            not left at the development default";
            p.problem("PERSONA_SEED_SECRET", expected);
        }
    }

    /// The keys a tick needs and this configuration lacks, by the names of their variables.
    pub(crate) fn missing_keys(&self) -> Vec<&'static str> {
        [("MANA_SERVICE_KEY", &self.peers.service_key), ("ANTHROPIC_API_KEY", &self.claude.api_key)]
            .into_iter()
            .filter_map(|(variable, key)| key.is_none().then_some(variable))
            .collect()
    }

    /// The secrets this configuration holds, for the redactor.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let keys = [&self.peers.service_key, &self.claude.api_key].into_iter().flatten();
        keys.chain([&self.seed_secret]).map(ExposeSecret::expose_secret)
    }
}

/// Where to listen.
fn listen(p: &mut Parser) -> SocketAddr {
    let port = p.number("PORT", 0..=65_535).unwrap_or(3070);
    let expected = "an IP address such as 127.0.0.1, 0.0.0.0 or ::1";
    let host = p.read("HOST", expected, value).unwrap_or(IpAddr::from([127, 0, 0, 1]));
    SocketAddr::new(host, port)
}

/// The tools that are hidden by default, or these; with a plus sign before one of them, both.
fn hidden(text: Option<String>) -> Vec<String> {
    let adds = text.as_ref().is_none_or(|text| names(text).any(|name| name.starts_with('+')));
    let paid = PAID_TOOLS.into_iter().filter(|_| adds);
    let own = names(text.as_deref().unwrap_or_default());
    let own = own.map(|name| name.trim_start_matches(['+', ' '])).filter(|name| !name.is_empty());
    paid.chain(own).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
