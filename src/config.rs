//! Reads the environment once and turns it into typed settings.
//!
//! All problems are collected, so that one start shows all of them. A message never repeats the value of a
//! variable, so a message cannot show a secret. An empty variable counts as unset. docs/configuration.md
//! lists the variables.

mod base_url;
mod host;
mod page;
mod parse;
mod report;
mod version_url;

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
pub(crate) use host::{host_of_header, is_loopback};
pub use page::PageConfig;
use parse::{MIN_KEY, Parser, names, value};
pub use report::{NotAMinute, ReportAt, ReportConfig, WebhookUrl};
pub use version_url::VersionUrl;

use crate::domain::{Label, Language, ProductVersion, Usd, labels};

/// The default of PERSONA_SEED_SECRET, for development. A production start with this value fails.
pub const DEV_SEED_SECRET: &str = "dev-persona-seed-secret-rotate-in-prod";

/// The name of the variable that limits the cost of a run. Error messages name it too.
pub const PERSONA_MAX_COST_USD: &str = "PERSONA_MAX_COST_USD";

/// The name of the variable with the language of reports.
const REPORT_LANG: &str = "REPORT_LANG";

/// The default of RUNNER_DATA_DIR, relative to the working directory.
const DATA_DIR: &str = "data";

/// The path of due, actions and feedback below MANA_AUTH_URL and, in newer versions of the product, below
/// MANA_API_URL.
const PERSONAS_AT_AUTH: &str = "api/v1/internal/personas";
const PERSONAS_AT_API: &str = "api/v1/personas/internal";
/// All paths that the daemon requests below MANA_AUTH_URL.
const AUTH_PATHS: [&str; 6] = [
    "api/auth/sign-in/email",
    "api/auth/token",
    "api/auth/organization/list",
    "api/v1/auth/login",
    "api/v1/me/encryption-vault/init",
    PERSONAS_AT_AUTH,
];

/// Tools that cost the product money, although their listing does not say so (docs/contracts/mana-mcp.md).
const PAID_TOOLS: [&str; 4] =
    ["me.generateWithReference", "wardrobe.tryOn", "comic.generatePanel", "comic.generateVariant"];

const EXPECTED_VERSION: &str = "1 to 128 printable characters on one line";
const EXPECTED_VERSION_URL: &str = "an http:// or https:// URL without user and password, with a JSON pointer \
                                    to the version after a #, such as http://localhost:3060/health#/version";

/// All settings of the daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// HOST and PORT: the address to listen on. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Base URLs and the key of Mana's services.
    pub peers: PeersConfig,
    /// The API of Claude, the model and its effort.
    pub claude: ClaudeConfig,
    /// PERSONA_SEED_SECRET: the key from which the personas' passwords are derived.
    pub seed_secret: SecretString,
    /// When ticks happen and how many personas run at once.
    pub tick: TickConfig,
    /// Limits of one persona's run.
    pub run: RunLimits,
    /// Which tools a persona may call.
    pub policy: PolicyConfig,
    /// Caps on the cost of model replies.
    pub budget: BudgetConfig,
    /// Folder of the journal and how long its content is kept.
    pub journal: JournalConfig,
    /// How the runner learns which build of the product is deployed.
    pub product: ProductConfig,
    /// The report that the daemon writes every week.
    pub report: ReportConfig,
    /// The page under /ui.
    pub page: PageConfig,
    /// SHUTDOWN_GRACE_MS: the time between the first signal and the forced end.
    pub shutdown_grace: Duration,
    /// RUNNER_ENV and NODE_ENV together: production if either variable says so.
    pub environment: Environment,
    /// TZ: the time zone that decides what "today" is in the prompt.
    pub time_zone: TimeZone,
    /// DIAG_HOSTS: further hosts under which /diag may be called, in the spelling of `host::host_name`.
    pub diag_hosts: Vec<String>,
    /// Format and filter of the log.
    pub log: LogConfig,
}

/// Base URLs and the key of Mana's services.
#[derive(Clone, Debug)]
pub struct PeersConfig {
    /// MANA_AUTH_URL: the base URL of mana-auth.
    pub auth: BaseUrl,
    /// MANA_PERSONAS_URL, MANA_API_URL or MANA_AUTH_URL: the base URL of due, actions and feedback.
    pub personas: PersonasUrl,
    /// MANA_MCP_URL: the base URL of mana-mcp, without /mcp.
    pub mcp: BaseUrl,
    /// MANA_SERVICE_KEY: the key for the personas endpoint and for /control. `None`: no tick runs.
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
            service_key: p.header_secret("MANA_SERVICE_KEY", MIN_KEY),
        }
    }
}

/// The base URL of due, actions and feedback.
#[derive(Clone, Debug)]
pub struct PersonasUrl {
    /// The URL to which `due`, `{id}/actions` and `{id}/feedback` are appended.
    pub base: BaseUrl,
    /// The variable that the URL comes from. Messages name it where the service does not answer.
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
    /// ANTHROPIC_BASE_URL: the base URL of the API, without /v1/messages.
    pub base: BaseUrl,
    /// ANTHROPIC_API_KEY: the key of the API. `None`: no tick runs.
    pub api_key: Option<SecretString>,
    /// ANTHROPIC_MODEL: the id of the model that is asked.
    pub model: String,
    /// ANTHROPIC_EFFORT: the effort that requests ask for. `None`: requests have no effort, for older models.
    pub effort: Option<Effort>,
    /// PRICING_FILE: a file with a price table. `None`: the table in the binary is used.
    pub pricing_file: Option<PathBuf>,
}

labels! {
    /// How much the model thinks (docs/contracts/anthropic-messages.md, section 2).
    #[allow(missing_docs, reason = "the names are those of the API")]
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
    /// TICK_INTERVAL_MS: the time between two ticks.
    pub interval: Duration,
    /// PERSONA_CONCURRENCY: how many personas run at once, ≥ 1.
    pub concurrency: usize,
    /// RUNNER_PAUSED: the daemon stays up, but no tick runs.
    pub paused: bool,
    /// RUN_BACKOFF_MS: the first step of the back-off of a failed run.
    pub run_backoff: Duration,
}

/// Limits of one persona's run.
#[derive(Clone, Copy, Debug)]
pub struct RunLimits {
    /// PERSONA_MAX_TURNS: how many model replies a main turn has at most, ≥ 1.
    pub max_turns: u32,
    /// PERSONA_TIMEOUT_MS: how long the whole run takes at most.
    pub timeout: Duration,
    /// PERSONA_TOOL_TIMEOUT_MS: how long one tool call takes at most, with its repetitions.
    pub tool_timeout: Duration,
    /// PERSONA_MAX_COST_USD: how much a run costs at most, > 0.
    pub max_cost: Usd,
}

/// Which tools a persona may call, and how often.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// POLICY_MODE: whether the policy gate checks calls, and whether denied calls are made.
    pub mode: PolicyMode,
    /// POLICY_ALLOW_DESTRUCTIVE: names of destructive tools that a persona may call all the same.
    pub allow_destructive: Vec<String>,
    /// POLICY_TOOL_RATE: how many calls of one tool a persona may make in a rolling minute, ≥ 1.
    pub tool_rate: usize,
    /// POLICY_HIDDEN_TOOLS: names of tools that are not offered. Where the variable adds to the default, the
    /// default's tools are in this list too.
    pub hidden_tools: Vec<String>,
    /// PERSONA_READ_TOOLS: names of tools that only read, besides those whose name or annotation says so.
    pub read_tools: Vec<String>,
}

impl PolicyConfig {
    /// The tools that the settings name, each with its variable. The tools that are hidden by default are
    /// left out, because some versions of the product do not have them.
    pub(crate) fn named_tools(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let hidden = self.hidden_tools.iter().filter(|name| !PAID_TOOLS.contains(&name.as_str()));
        let tag = |variable| move |name| (variable, String::as_str(name));
        let hidden = hidden.map(tag("POLICY_HIDDEN_TOOLS"));
        let allowed = self.allow_destructive.iter().map(tag("POLICY_ALLOW_DESTRUCTIVE"));
        hidden.chain(allowed).chain(self.read_tools.iter().map(tag("PERSONA_READ_TOOLS")))
    }
}

/// Caps on the cost of model replies. `None` means no cap. Days and months begin at midnight UTC.
#[derive(Clone, Copy, Debug, Default)]
pub struct BudgetConfig {
    /// BUDGET_DAILY_USD: the cap for all personas together in a day.
    pub daily: Option<Usd>,
    /// BUDGET_MONTHLY_USD: the cap for all personas together in a month.
    pub monthly: Option<Usd>,
    /// PERSONA_DAILY_USD: the cap for one persona in a day.
    pub persona_daily: Option<Usd>,
}

/// Folder of the journal, and how long its content is used and kept.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// RUNNER_DATA_DIR: the folder of the journal. The daemon creates the folder if it does not exist.
    pub folder: PathBuf,
    /// JOURNAL_RESUME_MAX_AGE_MS: an unfinished run older than this is closed and not resumed.
    pub resume_max_age: Duration,
    /// JOURNAL_RETENTION_DAYS, ≥ 1: how long the steps of a run are kept, by the daemon's clock.
    pub retention: Duration,
    /// FACTS_RETENTION_DAYS, ≥ 1: how long the facts of a run are kept, by mana-auth's time.
    pub facts_retention: Duration,
}

/// How the runner learns which build of the product is deployed, where no deploy job tells it. Without any of these,
/// the build is what mana-mcp says about itself.
#[derive(Clone, Debug)]
pub struct ProductConfig {
    /// PRODUCT_VERSION_URL: where the product tells its version. Wins over `version` once it has answered.
    pub version_url: Option<VersionUrl>,
    /// PRODUCT_VERSION: the version of the product.
    pub version: Option<ProductVersion>,
}

labels! {
    /// What the policy gate does with a call that breaks a rule.
    pub PolicyMode {
        /// The gate checks no call.
        Off = "off",
        /// The gate logs and counts its decisions. Every call is made.
        LogOnly = "log-only",
        /// The gate logs and counts its decisions. A denied call is not made.
        Enforce = "enforce",
    }
}

labels! {
    /// The kind of deployment.
    #[allow(missing_docs, reason = "the names say it")]
    pub Environment {
        Development = "development",
        Test = "test",
        Staging = "staging",
        Production = "production",
    }
}

impl Environment {
    /// Production if either variable says so. Otherwise RUNNER_ENV wins over NODE_ENV.
    fn read(p: &mut Parser) -> Self {
        let values = ["RUNNER_ENV", "NODE_ENV"].map(|variable| p.choice(variable));
        let production = values.contains(&Some(Self::Production)).then_some(Self::Production);
        production.or(values[0]).or(values[1]).unwrap_or(Self::Development)
    }

    /// Whether /diag is closed and all keys and secrets must be set.
    pub(crate) fn is_production(self) -> bool {
        self == Self::Production
    }
}

/// How the daemon logs.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// LOG_FORMAT: one line of text or one JSON object for each record.
    pub format: LogFormat,
    /// RUST_LOG: directives of tracing-subscriber's `EnvFilter`, already checked.
    pub filter: String,
}

labels! {
    /// Format of a log line.
    #[allow(missing_docs, reason = "the names say it")]
    pub LogFormat {
        Text = "text",
        Json = "json",
    }
}

impl LogFormat {
    /// The format that LOG_FORMAT of the process's environment names, for the message that the environment
    /// has problems. Any value other than `text` counts as JSON, even a bad value: an operator who sets
    /// LOG_FORMAT to something else than `text` expects JSON records.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn from_env() -> Self {
        let format = std::env::var_os("LOG_FORMAT").unwrap_or_default();
        let is_text = format.to_str().is_some_and(|format| matches!(format.trim(), "" | "text"));
        if is_text { Self::Text } else { Self::Json }
    }
}

/// One problem of the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {expected}")]
pub struct Problem {
    /// The name of the variable that has the problem.
    pub variable: &'static str,
    /// The expected form of the value and, where it helps, what to do. It never contains the value.
    pub expected: String,
}

impl Config {
    /// RUNNER_DATA_DIR of the process's environment. The commands that read a journal need no other variable.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn data_dir_from_env() -> PathBuf {
        let folder = std::env::var("RUNNER_DATA_DIR").unwrap_or_default();
        Some(folder.trim()).filter(|folder| !folder.is_empty()).unwrap_or(DATA_DIR).into()
    }

    /// REPORT_LANG of the process's environment, for the command that prints a report; German if it has no value or
    /// one that is no language.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn language_from_env() -> Language {
        let word = std::env::var(REPORT_LANG).unwrap_or_default();
        Language::parse(&word.trim().to_ascii_lowercase()).unwrap_or(Language::German)
    }

    /// HOST and PORT of the process's environment. Problems of other variables do not matter here.
    ///
    /// # Errors
    /// The problems of HOST and PORT.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn listen_from_env() -> Result<SocketAddr, Vec<Problem>> {
        Parser::read_with(std::env::vars_os(), listen)
    }

    /// Reads all settings from the process's environment.
    ///
    /// # Errors
    /// All problems, in the order in which the variables are read.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn from_env() -> Result<Self, Vec<Problem>> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads all settings from `vars`. Unknown variables are ignored.
    ///
    /// # Errors
    /// All problems, in the order in which the variables are read.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        Parser::read_with(vars, Self::read)
    }

    /// Reads all settings for a plan from the process's environment.
    ///
    /// # Errors
    /// As [`Config::for_plan`].
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn for_plan_from_env() -> Result<Self, Vec<Problem>> {
        Self::for_plan(std::env::vars_os())
    }

    /// Reads all settings for a plan from `vars`. A plan always needs MANA_SERVICE_KEY, but neither ANTHROPIC_API_KEY
    /// nor PERSONA_SEED_SECRET.
    ///
    /// # Errors
    /// All problems, in the order in which the variables are read.
    pub fn for_plan(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        Parser::read_with(vars, |p| {
            let config = Self::settings(p);
            if config.peers.service_key.is_none() {
                p.problem("MANA_SERVICE_KEY", "must be set: a plan asks mana-auth who is due");
            }
            config
        })
    }

    /// Names of all variables that the daemon reads.
    pub fn variables() -> Vec<&'static str> {
        let mut parser = Parser::default();
        Self::read(&mut parser);
        parser.asked
    }

    /// Reads every variable, then checks rules that concern several variables. Where a value is bad, the
    /// parser notes the problem and the default is used instead; [`Config::from_vars`] then returns the
    /// problems and never this configuration.
    fn read(p: &mut Parser) -> Self {
        let config = Self::settings(p);
        config.check_production(p);
        config.page.check(config.peers.service_key.as_ref(), p);
        config
    }

    /// Reads every variable.
    fn settings(p: &mut Parser) -> Self {
        Self {
            listen: listen(p),
            peers: PeersConfig::read(p),
            claude: ClaudeConfig {
                api_key: p.header_secret("ANTHROPIC_API_KEY", MIN_KEY),
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
                retention: p.days("JOURNAL_RETENTION_DAYS", 30),
                facts_retention: p.days("FACTS_RETENTION_DAYS", 400),
                folder: p.text("RUNNER_DATA_DIR").unwrap_or_else(|| DATA_DIR.into()).into(),
                resume_max_age: p.millis("JOURNAL_RESUME_MAX_AGE_MS", 3_600_000),
            },
            product: ProductConfig {
                version_url: p.read("PRODUCT_VERSION_URL", EXPECTED_VERSION_URL, VersionUrl::parse),
                version: p.read("PRODUCT_VERSION", EXPECTED_VERSION, |text| {
                    ProductVersion::parse(text).ok()
                }),
            },
            report: ReportConfig::read(p),
            page: PageConfig::read(p),
            shutdown_grace: p.millis("SHUTDOWN_GRACE_MS", 8_000),
            environment: Environment::read(p),
            time_zone: p.time_zone("TZ", "Europe/Berlin"),
            diag_hosts: p.host_names("DIAG_HOSTS").unwrap_or_default(),
            log: LogConfig {
                format: p.choice("LOG_FORMAT").unwrap_or(LogFormat::Text),
                filter: p.log_filter("RUST_LOG").unwrap_or_else(|| "info".into()),
            },
        }
    }

    /// In production a missing key and the default seed secret are problems.
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

    /// The variables of keys that a tick needs and that are not set.
    pub(crate) fn missing_keys(&self) -> Vec<&'static str> {
        [("MANA_SERVICE_KEY", &self.peers.service_key), ("ANTHROPIC_API_KEY", &self.claude.api_key)]
            .into_iter()
            .filter_map(|(variable, key)| key.is_none().then_some(variable))
            .collect()
    }

    /// All secrets of this configuration, for the redactor.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let keys = [&self.peers.service_key, &self.claude.api_key, &self.page.key];
        let keys = keys.into_iter().flatten();
        let keys = keys.chain([&self.seed_secret]).map(ExposeSecret::expose_secret);
        keys.chain(self.report.webhook.iter().flat_map(WebhookUrl::secrets))
    }
}

/// HOST and PORT as one socket address.
fn listen(p: &mut Parser) -> SocketAddr {
    let port = p.number("PORT", 0..=65_535).unwrap_or(3070);
    let expected = "an IP address such as 127.0.0.1, 0.0.0.0 or ::1";
    let host = p.read("HOST", expected, value).unwrap_or(IpAddr::from([127, 0, 0, 1]));
    SocketAddr::new(host, port)
}

/// The value of POLICY_HIDDEN_TOOLS as a list. `None` gives the default. If one of the names has a plus sign
/// in front, the names are added to the default; otherwise they replace it.
fn hidden(text: Option<String>) -> Vec<String> {
    let adds = text.as_ref().is_none_or(|text| names(text).any(|name| name.starts_with('+')));
    let paid = PAID_TOOLS.into_iter().filter(|_| adds);
    let own = names(text.as_deref().unwrap_or_default());
    let own = own.map(|name| name.trim_start_matches(['+', ' '])).filter(|name| !name.is_empty());
    paid.chain(own).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
