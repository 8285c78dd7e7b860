//! The variables as text.

use std::ffi::OsString;

use serde::Deserialize;

use super::Problem;

macro_rules! variables {
    ($($field:ident = $name:literal),* $(,)?) => {
        /// Every variable the daemon reads, as text; `None` where it is unset or empty.
        #[derive(Debug, Default, Deserialize)]
        #[allow(missing_docs, reason = "README.md describes each variable")]
        pub struct Raw {
            $(pub $field: Option<String>,)*
        }

        impl Raw {
            /// Names of all variables.
            pub const NAMES: &[&str] = &[$($name),*];
        }
    };
}

variables! {
    port = "PORT",
    host = "HOST",
    mana_auth_url = "MANA_AUTH_URL",
    mana_api_url = "MANA_API_URL",
    mana_personas_url = "MANA_PERSONAS_URL",
    mana_mcp_url = "MANA_MCP_URL",
    mana_service_key = "MANA_SERVICE_KEY",
    anthropic_api_key = "ANTHROPIC_API_KEY",
    anthropic_base_url = "ANTHROPIC_BASE_URL",
    anthropic_model = "ANTHROPIC_MODEL",
    anthropic_effort = "ANTHROPIC_EFFORT",
    pricing_file = "PRICING_FILE",
    persona_seed_secret = "PERSONA_SEED_SECRET",
    tick_interval_ms = "TICK_INTERVAL_MS",
    persona_concurrency = "PERSONA_CONCURRENCY",
    persona_max_turns = "PERSONA_MAX_TURNS",
    persona_timeout_ms = "PERSONA_TIMEOUT_MS",
    persona_tool_timeout_ms = "PERSONA_TOOL_TIMEOUT_MS",
    persona_max_cost_usd = "PERSONA_MAX_COST_USD",
    persona_read_tools = "PERSONA_READ_TOOLS",
    policy_mode = "POLICY_MODE",
    policy_allow_destructive = "POLICY_ALLOW_DESTRUCTIVE",
    policy_tool_rate = "POLICY_TOOL_RATE",
    policy_hidden_tools = "POLICY_HIDDEN_TOOLS",
    budget_daily_usd = "BUDGET_DAILY_USD",
    budget_monthly_usd = "BUDGET_MONTHLY_USD",
    persona_daily_usd = "PERSONA_DAILY_USD",
    run_backoff_ms = "RUN_BACKOFF_MS",
    runner_data_dir = "RUNNER_DATA_DIR",
    journal_resume_max_age_ms = "JOURNAL_RESUME_MAX_AGE_MS",
    journal_retention_days = "JOURNAL_RETENTION_DAYS",
    shutdown_grace_ms = "SHUTDOWN_GRACE_MS",
    runner_paused = "RUNNER_PAUSED",
    runner_env = "RUNNER_ENV",
    node_env = "NODE_ENV",
    tz = "TZ",
    diag_hosts = "DIAG_HOSTS",
    log_format = "LOG_FORMAT",
    rust_log = "RUST_LOG",
}

impl Raw {
    /// Picks the known variables out of `vars`. White space around a value is dropped, except of the
    /// seed secret, whose every byte counts; what is empty then is unset. Of no variable a value has quotes
    /// around it, and a key or a name with them would be wrong without a word.
    pub(super) fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let known = vars.into_iter().filter_map(|(name, value)| {
            let variable = *Self::NAMES.iter().find(|known| name == **known)?;
            let Ok(value) = value.into_string() else {
                let expected = "expected text in UTF-8".to_owned();
                problems.push(Problem { variable, expected });
                return None;
            };
            let trimmed = value.trim();
            if let [quote @ (b'"' | b'\''), .., end] = trimmed.as_bytes()
                && quote == end
            {
                let expected = "expected a value without quotes around it; docker's --env-file keeps \
                                them, where a shell takes them away";
                problems.push(Problem { variable, expected: expected.to_owned() });
                return None;
            }
            let kept = if variable == "PERSONA_SEED_SECRET" { &value } else { trimmed };
            (!trimmed.is_empty()).then(|| (variable.to_owned(), kept.to_owned()))
        });
        let known: Vec<_> = known.collect();
        // A struct of optional strings takes any set of strings; there is nothing left to fail.
        (envy::from_iter(known).unwrap_or_default(), problems)
    }
}
