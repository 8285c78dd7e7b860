//! The environment, read once and turned into typed settings.
//!
//! Every problem is collected, so that one start shows all of them; no message repeats a value, so
//! none can show a secret. Empty means unset.

mod base_url;
mod parse;
mod raw;

use std::{ffi::OsString, fmt, net::IpAddr, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};

pub use base_url::BaseUrl;
use parse::Parser;
pub use parse::host_name;
pub use raw::Raw;

use crate::domain::Usd;

/// The seed secret of development; production refuses it.
pub const DEV_SEED_SECRET: &str = "dev-persona-seed-secret-rotate-in-prod";

/// The variable of what a run may cost.
pub const PERSONA_MAX_COST_USD: &str = "PERSONA_MAX_COST_USD";

/// Tools that cost the product money although nothing on the wire says so (contracts/mana-mcp.md).
const PAID_TOOLS: [&str; 4] =
    ["me.generateWithReference", "wardrobe.tryOn", "comic.generatePanel", "comic.generateVariant"];

/// Everything the daemon can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// PORT and HOST: where to listen. Port 0 takes any free one.
    pub listen: ListenConfig,
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

/// Where the daemon listens.
#[derive(Clone, Copy, Debug)]
pub struct ListenConfig {
    /// HOST.
    pub host: IpAddr,
    /// PORT.
    pub port: u16,
}

impl ListenConfig {
    /// Reads PORT and HOST of the process's environment, for which the rest of it does not matter.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_env() -> Result<Self, Vec<Problem>> {
        let own = std::env::vars_os().filter(|(name, _)| name == "PORT" || name == "HOST");
        let (raw, problems) = Raw::from_vars(own);
        let mut parser = Parser::new(problems);
        let listen = Self::parse(&mut parser, raw.port, raw.host);
        parser.finish(listen)
    }

    fn parse(p: &mut Parser, port: Option<String>, host: Option<String>) -> Self {
        Self {
            port: p.number("PORT", port, 3070, 0, 65_535),
            host: p.ip("HOST", host, IpAddr::from([127, 0, 0, 1])),
        }
    }
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

/// How hard the model thinks (contracts/anthropic-messages.md, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub enum Effort {
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl Effort {
    /// The API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
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
    pub fn named_tools(&self) -> impl Iterator<Item = (&'static str, &str)> {
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

/// What the policy gate does with its decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyMode {
    /// Makes none.
    Off,
    /// Logs and counts them; every call runs.
    LogOnly,
    /// Denied calls do not run.
    Enforce,
}

impl PolicyMode {
    /// Metric label, and the variable's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::LogOnly => "log-only",
            Self::Enforce => "enforce",
        }
    }
}

/// What kind of deployment this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Environment {
    Development,
    Test,
    Staging,
    Production,
}

impl Environment {
    /// Whether /diag is closed and every secret must be set.
    pub fn is_production(self) -> bool {
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

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    /// What LOG_FORMAT of the process says, for telling that the rest of it cannot be used. Who has set it
    /// to something else than `text` expects records, even where the value is one of the problems.
    pub fn from_env() -> Self {
        let format = std::env::var_os("LOG_FORMAT").unwrap_or_default();
        let is_text = format.to_str().is_some_and(|format| matches!(format.trim(), "" | "text"));
        if is_text { Self::Text } else { Self::Json }
    }
}

/// One thing that is wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub variable: &'static str,
    /// What was expected, and where it helps, what to do.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.expected)
    }
}

impl Config {
    /// RUNNER_DATA_DIR of the process's environment: all that the command line needs to read a journal.
    pub fn data_dir_from_env() -> PathBuf {
        folder(std::env::var("RUNNER_DATA_DIR").ok().filter(|folder| !folder.trim().is_empty()))
    }

    /// Reads the process's environment.
    ///
    /// # Errors
    /// Every problem found, in the order of the README's table.
    pub fn from_env() -> Result<Self, Vec<Problem>> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads these variables; unknown ones are ignored.
    ///
    /// # Errors
    /// Every problem found, in the order of the README's table.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        let (raw, problems) = Raw::from_vars(vars);
        let mut parser = Parser::new(problems);
        let config = Self::parse(&mut parser, raw);
        parser.finish(config)
    }

    /// Reads every variable, then looks at what they mean together. Where a value is bad the parser
    /// has noted it and a stand-in goes on, which never leaves [`Config::from_vars`].
    fn parse(p: &mut Parser, raw: Raw) -> Self {
        let listen = ListenConfig::parse(p, raw.port, raw.host);
        let auth = p.url("MANA_AUTH_URL", raw.mana_auth_url, "http://localhost:3001");
        let api = raw.mana_api_url.map(|url| p.url("MANA_API_URL", Some(url), ""));
        let (base, variable) = match (raw.mana_personas_url, api) {
            (Some(url), _) => (p.url("MANA_PERSONAS_URL", Some(url), ""), "MANA_PERSONAS_URL"),
            (None, Some(api)) => (api.join(["api", "v1", "personas", "internal"]), "MANA_API_URL"),
            (None, None) => (auth.join(["api", "v1", "internal", "personas"]), "MANA_AUTH_URL"),
        };
        let personas = PersonasUrl { base, variable };
        let peers = PeersConfig {
            auth,
            personas,
            mcp: p.url("MANA_MCP_URL", raw.mana_mcp_url, "http://localhost:3069"),
            service_key: p.header_secret("MANA_SERVICE_KEY", raw.mana_service_key),
        };
        let claude = ClaudeConfig {
            api_key: p.header_secret("ANTHROPIC_API_KEY", raw.anthropic_api_key),
            base: p.url("ANTHROPIC_BASE_URL", raw.anthropic_base_url, "https://api.anthropic.com"),
            pricing_file: raw.pricing_file.map(PathBuf::from),
            model: raw.anthropic_model.unwrap_or_else(|| "claude-haiku-5-5".into()),
            effort: p.choice(
                "ANTHROPIC_EFFORT",
                raw.anthropic_effort,
                Some(Effort::Low),
                &[
                    ("none", None),
                    ("low", Some(Effort::Low)),
                    ("medium", Some(Effort::Medium)),
                    ("high", Some(Effort::High)),
                    ("xhigh", Some(Effort::Xhigh)),
                    ("max", Some(Effort::Max)),
                ],
            ),
        };
        let seed_secret = raw.persona_seed_secret.unwrap_or_else(|| DEV_SEED_SECRET.into()).into();
        let tick = TickConfig {
            interval: p.millis("TICK_INTERVAL_MS", raw.tick_interval_ms, 60_000),
            concurrency: p.number("PERSONA_CONCURRENCY", raw.persona_concurrency, 2, 1, 10_000),
            run_backoff: p.millis("RUN_BACKOFF_MS", raw.run_backoff_ms, 60_000),
            paused: p.boolean("RUNNER_PAUSED", raw.runner_paused),
        };
        let run = RunLimits {
            max_turns: p.number("PERSONA_MAX_TURNS", raw.persona_max_turns, 15, 1, 1_000),
            timeout: p.millis("PERSONA_TIMEOUT_MS", raw.persona_timeout_ms, 600_000),
            tool_timeout: p.millis("PERSONA_TOOL_TIMEOUT_MS", raw.persona_tool_timeout_ms, 15_000),
            max_cost: p.dollars(PERSONA_MAX_COST_USD, raw.persona_max_cost_usd, 0.25),
        };
        let policy = PolicyConfig {
            mode: p.choice(
                "POLICY_MODE",
                raw.policy_mode,
                PolicyMode::Enforce,
                &[PolicyMode::Off, PolicyMode::LogOnly, PolicyMode::Enforce]
                    .map(|mode| (mode.as_str(), mode)),
            ),
            allow_destructive: list(raw.policy_allow_destructive),
            tool_rate: p.number("POLICY_TOOL_RATE", raw.policy_tool_rate, 30, 1, 10_000),
            hidden_tools: hidden(raw.policy_hidden_tools),
            read_tools: list(raw.persona_read_tools),
        };
        let budget = BudgetConfig {
            daily: Some(p.dollars("BUDGET_DAILY_USD", raw.budget_daily_usd, 5.0)),
            monthly: p.optional_dollars("BUDGET_MONTHLY_USD", raw.budget_monthly_usd),
            persona_daily: p.optional_dollars("PERSONA_DAILY_USD", raw.persona_daily_usd),
        };
        let days = p.number("JOURNAL_RETENTION_DAYS", raw.journal_retention_days, 30, 1, 3_650);
        let journal = JournalConfig {
            folder: folder(raw.runner_data_dir),
            resume_max_age: p.millis(
                "JOURNAL_RESUME_MAX_AGE_MS",
                raw.journal_resume_max_age_ms,
                3_600_000,
            ),
            retention: Duration::from_secs(86_400) * days,
        };
        let config = Self {
            listen,
            peers,
            claude,
            seed_secret,
            tick,
            run,
            policy,
            budget,
            journal,
            shutdown_grace: p.millis("SHUTDOWN_GRACE_MS", raw.shutdown_grace_ms, 8_000),
            environment: p.environment(raw.runner_env, raw.node_env),
            time_zone: p.time_zone("TZ", raw.tz, "Europe/Berlin"),
            diag_hosts: p.host_names("DIAG_HOSTS", raw.diag_hosts),
            log: LogConfig {
                format: p.choice(
                    "LOG_FORMAT",
                    raw.log_format,
                    LogFormat::Text,
                    &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                ),
                filter: p.log_filter("RUST_LOG", raw.rust_log, "info"),
            },
        };
        config.check_production(p);
        config
    }

    /// Production fails closed: no default secret, no missing key.
    fn check_production(&self, p: &mut Parser) {
        if !self.environment.is_production() {
            return;
        }
        for variable in self.missing_keys() {
            p.problem(variable, "must be set in production");
        }
        if self.seed_secret.expose_secret() == DEV_SEED_SECRET {
            p.problem(
                "PERSONA_SEED_SECRET",
                "must be set in production to the secret the personas were seeded with, \
                 not left at the development default",
            );
        }
    }

    /// The keys a tick needs and this configuration lacks, by the names of their variables.
    pub fn missing_keys(&self) -> Vec<&'static str> {
        [("MANA_SERVICE_KEY", &self.peers.service_key), ("ANTHROPIC_API_KEY", &self.claude.api_key)]
            .into_iter()
            .filter_map(|(variable, key)| key.is_none().then_some(variable))
            .collect()
    }

    /// The secrets this configuration holds, for the redactor.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        [&self.peers.service_key, &self.claude.api_key]
            .into_iter()
            .flatten()
            .chain([&self.seed_secret])
            .map(ExposeSecret::expose_secret)
    }
}

fn folder(raw: Option<String>) -> PathBuf {
    raw.map_or_else(|| "data".into(), |folder| folder.trim().into())
}

/// The tools that are hidden by default, or these; with a plus sign before one of them, both.
fn hidden(text: Option<String>) -> Vec<String> {
    let adds = text
        .as_ref()
        .is_none_or(|text| list(Some(text.clone())).iter().any(|name| name.starts_with('+')));
    let paid = PAID_TOOLS.map(str::to_owned).into_iter().filter(|_| adds);
    let names = list(text).into_iter().map(|name| name.trim_start_matches(['+', ' ']).to_owned());
    paid.chain(names.filter(|name| !name.is_empty())).collect()
}

/// Names separated by commas.
fn list(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
