use std::ffi::OsString;

use super::*;
use crate::domain::Language;

fn read(vars: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    Config::from_vars(vars.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))))
}

fn problems(vars: &[(&str, &str)]) -> Vec<String> {
    read(vars).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn without_variables_the_defaults_hold() {
    let config = read(&[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:3070");
    assert_eq!(config.peers.auth.to_string(), "http://localhost:3001");
    let personas = "http://localhost:3001/api/v1/internal/personas (MANA_AUTH_URL)";
    assert_eq!(config.peers.personas.to_string(), personas);
    assert_eq!(config.peers.mcp.to_string(), "http://localhost:3069");
    assert_eq!(config.claude.base.to_string(), "https://api.anthropic.com");
    assert_eq!(config.claude.model, "claude-haiku-5-5");
    assert_eq!(config.claude.effort, Some(Effort::Low));
    assert_eq!(config.seed_secret.expose_secret(), DEV_SEED_SECRET);
    assert_eq!(config.tick.interval, Duration::from_secs(60));
    assert_eq!(config.tick.concurrency, 2);
    assert!(!config.tick.paused);
    assert_eq!(config.tick.run_backoff, Duration::from_secs(60));
    assert_eq!(config.run.max_turns, 15);
    assert_eq!(config.run.timeout, Duration::from_secs(600));
    assert_eq!(config.run.tool_timeout, Duration::from_secs(15));
    assert_eq!(config.run.max_cost, Usd::from_dollars(0.25).unwrap());
    assert_eq!(config.policy.mode, PolicyMode::Enforce);
    assert_eq!(config.policy.tool_rate, 30);
    assert_eq!(config.policy.hidden_tools, PAID_TOOLS);
    assert!(config.policy.allow_destructive.is_empty() && config.policy.read_tools.is_empty());
    assert_eq!(config.journal.retention, Duration::from_secs(30 * 86_400));
    assert_eq!(config.journal.facts_retention, Duration::from_secs(400 * 86_400));
    assert!(config.product.version.is_none() && config.product.version_url.is_none());
    assert_eq!(config.report.at, "mon 06:00".parse().ok());
    assert_eq!(config.report.language, Language::German);
    assert!(config.report.webhook.is_none());
    assert!(config.page.key.is_none() && config.page.base.is_none());
    assert_eq!(config.shutdown_grace, Duration::from_secs(8));
    assert_eq!(config.environment, Environment::Development);
    assert_eq!(config.time_zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.missing_keys(), ["MANA_SERVICE_KEY", "ANTHROPIC_API_KEY"]);
}

#[test]
fn the_personas_are_where_the_most_particular_variable_says() {
    let (auth, api, own) = (
        ("MANA_AUTH_URL", "http://auth:1"),
        ("MANA_API_URL", "http://api:2/x/"),
        ("MANA_PERSONAS_URL", "http://own:3/y"),
    );
    for (vars, at) in [
        (&[auth][..], "http://auth:1/api/v1/internal/personas (MANA_AUTH_URL)"),
        (&[auth, api], "http://api:2/x/api/v1/personas/internal (MANA_API_URL)"),
        (&[auth, api, own], "http://own:3/y (MANA_PERSONAS_URL)"),
        (&[own], "http://own:3/y (MANA_PERSONAS_URL)"),
    ] {
        let peers = read(vars).unwrap().peers;
        assert_eq!(peers.personas.to_string(), at);
        assert!(!peers.auth.to_string().contains("api"), "logins stay at mana-auth");
    }
}

#[test]
fn empty_means_unset() {
    let empty: Vec<_> = Config::variables().into_iter().map(|name| (name, "")).collect();
    let config = read(&empty).unwrap();
    assert_eq!(config.listen.port(), 3070);
    assert_eq!(config.missing_keys().len(), 2);
    assert_eq!(read(&[("MANA_SERVICE_KEY", "  ")]).unwrap().missing_keys().len(), 2);
}

#[test]
fn all_problems_are_reported_at_once_and_none_shows_a_value() {
    let bad = [
        ("PORT", "70000"),
        ("HOST", "s3cret.host"),
        ("MANA_AUTH_URL", "s3cret"),
        ("MANA_API_URL", "s3cret:1"),
        ("MANA_PERSONAS_URL", "ftp://s3cret"),
        ("MANA_MCP_URL", "http://user:s3cret@host"),
        ("MANA_SERVICE_KEY", "s3cret\nkey"),
        ("ANTHROPIC_API_KEY", "s3cret kéy"),
        ("ANTHROPIC_BASE_URL", "s3cret"),
        ("ANTHROPIC_EFFORT", "s3cret"),
        ("TICK_INTERVAL_MS", "0"),
        ("PERSONA_CONCURRENCY", "0"),
        ("PERSONA_MAX_TURNS", "-1"),
        ("PERSONA_TIMEOUT_MS", "1.5"),
        ("PERSONA_TOOL_TIMEOUT_MS", "+5"),
        ("RUN_BACKOFF_MS", "99999999999999999999999"),
        ("PERSONA_MAX_COST_USD", "-0.1"),
        ("POLICY_MODE", "s3cret"),
        ("POLICY_TOOL_RATE", "0"),
        ("SHUTDOWN_GRACE_MS", "s3cret"),
        ("RUNNER_PAUSED", "yes"),
        ("RUNNER_ENV", "s3cret"),
        ("NODE_ENV", "prod"),
        ("TZ", "Mars/s3cret"),
        ("DIAG_HOSTS", "http://s3cret"),
        ("LOG_FORMAT", "s3cret"),
        ("RUST_LOG", "a=s3cret=b"),
        ("FACTS_RETENTION_DAYS", "0"),
        ("PRODUCT_VERSION_URL", "http://h/s3cret#version"),
        ("PRODUCT_VERSION", "s3cret\u{202e}"),
        ("REPORT_AT", "s3cret 06:00"),
        ("REPORT_LANG", "s3cret"),
        ("REPORT_WEBHOOK_URL", "s3cret"),
        ("UI_KEY", "s3cret-of-fifte"),
        ("UI_BASE_URL", "http://s3cret/?key"),
    ];
    let problems = problems(&bad);
    for (variable, _) in bad {
        let named = problems.iter().filter(|p| p.starts_with(&format!("{variable}: "))).count();
        assert_eq!(named, 1, "{variable} in {problems:#?}");
    }
    assert_eq!(problems.len(), bad.len());
    assert!(!problems.concat().contains("s3cret"), "{problems:#?}");
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn text_that_is_not_utf8_is_a_problem_of_its_variable() {
    use std::os::unix::ffi::OsStringExt;
    let vars = [(OsString::from("TZ"), OsString::from_vec(vec![0xff, 0xfe]))];
    let problems = Config::from_vars(vars).unwrap_err();
    assert_eq!(problems[0].variable, "TZ");
    let other = [(OsString::from_vec(vec![0xff]), OsString::from_vec(vec![0xff]))];
    assert!(Config::from_vars(other).is_ok());
}

#[test]
fn production_is_what_either_variable_says() {
    let keys = [
        ("MANA_SERVICE_KEY", "key-of-it"),
        ("ANTHROPIC_API_KEY", "sk-ant"),
        ("PERSONA_SEED_SECRET", "rotated"),
    ];
    for vars in [
        &[("RUNNER_ENV", "production")][..],
        &[("NODE_ENV", "production")],
        &[("RUNNER_ENV", "staging"), ("NODE_ENV", "production")],
        &[("RUNNER_ENV", "production"), ("NODE_ENV", "development")],
    ] {
        let config = read(&[vars, &keys].concat()).unwrap();
        assert!(config.environment.is_production(), "{vars:?}");
        let named = problems(vars).join("\n");
        for variable in ["MANA_SERVICE_KEY", "ANTHROPIC_API_KEY", "PERSONA_SEED_SECRET"] {
            assert!(named.contains(variable), "{named}");
        }
    }
    let staging = read(&[("RUNNER_ENV", "staging"), ("NODE_ENV", "test")]).unwrap();
    assert_eq!(staging.environment, Environment::Staging);
    assert_eq!(read(&[("NODE_ENV", "test")]).unwrap().environment, Environment::Test);
    let dev_secret = [&keys[..2], &[("NODE_ENV", "production")]].concat();
    assert_eq!(read(&dev_secret).unwrap_err()[0].variable, "PERSONA_SEED_SECRET");
}

#[test]
fn the_seed_secret_keeps_its_white_space_and_other_values_lose_it() {
    let config = read(&[("PERSONA_SEED_SECRET", " s "), ("PORT", " 1 ")]).unwrap();
    assert_eq!(config.seed_secret.expose_secret(), " s ");
    assert_eq!(config.listen.port(), 1);
}

#[test]
fn effort_none_sends_no_effort_and_hosts_are_a_list() {
    let config =
        read(&[("ANTHROPIC_EFFORT", "none"), ("DIAG_HOSTS", "Runner, mana.local.,")]).unwrap();
    assert_eq!(config.claude.effort, None);
    assert_eq!(config.diag_hosts, ["runner", "mana.local"]);
    let addresses = "10.1.2.3, fd00:0::A, [::0001], 0.0.0.0";
    let config = read(&[("DIAG_HOSTS", addresses)]).unwrap();
    assert_eq!(config.diag_hosts, ["10.1.2.3", "fd00::a", "::1", "0.0.0.0"]);
    for bad in ["localhost:3070", "[::1]:3070", "[10.1.2.3]", "fe80::1%lo", "http://h", "a/b", "."]
    {
        assert_eq!(problems(&[("DIAG_HOSTS", bad)]).len(), 1, "{bad}");
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let config = read(&[
        ("MANA_SERVICE_KEY", "s3cret-1"),
        ("ANTHROPIC_API_KEY", "s3cret-2"),
        ("PERSONA_SEED_SECRET", "s3cret-3"),
        ("REPORT_WEBHOOK_URL", "http://s3cret-4/s3cret-5?s3cret-6"),
        ("UI_KEY", "s3cret-7-of-the-page"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let secrets: Vec<_> = config.secrets().collect();
    assert!((1..=7).all(|n| secrets.concat().contains(&format!("s3cret-{n}"))), "{secrets:?}");
}

#[test]
fn no_report_is_written_if_report_at_says_off() {
    for off in ["off", "OFF"] {
        assert_eq!(read(&[("REPORT_AT", off)]).unwrap().report.at, None);
    }
    let other = read(&[("REPORT_AT", "sun 23:00"), ("REPORT_LANG", "en")]).unwrap().report;
    assert_eq!((other.at, other.language), ("sun 23:00".parse().ok(), Language::English));
}

#[test]
fn a_plus_sign_adds_to_the_tools_that_are_hidden_by_default() {
    let hidden = |value| read(&[("POLICY_HIDDEN_TOOLS", value)]).unwrap().policy.hidden_tools;
    let with = |more: &[&'static str]| [&PAID_TOOLS, more].concat();
    assert_eq!(hidden("todo.odd, me.list"), ["todo.odd", "me.list"]);
    assert_eq!(hidden("+todo.odd"), with(&["todo.odd"]));
    assert_eq!(hidden(" + todo.odd , me.list"), with(&["todo.odd", "me.list"]));
    assert_eq!(hidden("todo.odd,+me.list,"), with(&["todo.odd", "me.list"]));
    assert_eq!(hidden("+"), PAID_TOOLS);
    assert_eq!(hidden(","), [""; 0]);
}

#[test]
fn the_tools_named_by_settings_are_known_by_variable_without_those_of_the_default() {
    let policy = read(&[
        ("POLICY_HIDDEN_TOOLS", "+todo.odd"),
        ("POLICY_ALLOW_DESTRUCTIVE", "todo.wipe,wardrobe.tryOn"),
        ("PERSONA_READ_TOOLS", "todo.peek"),
    ]);
    let policy = policy.unwrap().policy;
    assert_eq!(
        policy.named_tools().collect::<Vec<_>>(),
        [
            ("POLICY_HIDDEN_TOOLS", "todo.odd"),
            ("POLICY_ALLOW_DESTRUCTIVE", "todo.wipe"),
            ("POLICY_ALLOW_DESTRUCTIVE", "wardrobe.tryOn"),
            ("PERSONA_READ_TOOLS", "todo.peek"),
        ]
    );
    assert_eq!(read(&[]).unwrap().policy.named_tools().count(), 0);
}

#[test]
fn a_log_filter_that_would_silence_this_program_is_refused_unless_it_says_off() {
    for silent in [
        "warning",
        "WARNING",
        "verbose",
        "true",
        "all",
        "*",
        "mana-persona-runner=debug",
        "mana-persona-runner",
        "mana_persona_runners=info",
        "mana_persona_runner::htpp=debug",
        "mana_persona_runner::=debug",
        "persona_runner=info",
        "hyper=debug",
        "hyper=off",
        "warning,hyper=off",
        "0",
        "1",
        "3",
        "10",
        "info,3",
        "-1",
        "2.5",
        "info=debug",
        "hyper[tick]=info",
        ",",
    ] {
        let problems = problems(&[("RUST_LOG", silent)]);
        let [problem] = &problems[..] else { panic!("{silent}: {problems:?}") };
        assert!(problem.starts_with("RUST_LOG: expected off, error, warn, info"), "{problem}");
    }
    for fine in [
        "off",
        "OFF",
        "error",
        "Warn",
        "trace",
        "info,hyper",
        "info,warning",
        "warning,info",
        "off,mana_persona_runner=warn",
        "mana_persona_runner",
        "mana_persona_runner=off",
        "mana_persona_runner=off,hyper=warn",
        "mana_persona_runner=debug",
        "mana=info",
        "mana_persona_runner::http=debug",
        "mana_persona_runner::runner::delivery=debug",
        "mana_persona_runner[run]=debug",
        "[run{persona.id}]=debug",
        "info, mana_persona_runner=debug",
        "warning, info",
    ] {
        assert_eq!(
            read(&[("RUST_LOG", fine)]).map(|config| config.log.filter),
            Ok(fine.replace(' ', ""))
        );
    }
}

#[test]
fn a_value_in_quotes_is_refused_whatever_the_variable() {
    for name in Config::variables() {
        for value in ["\"s3cret-value\"", "'s3cret-value'", " 's3cret-value' ", "\"\"", "''"] {
            let problems = problems(&[(name, value)]);
            let [problem] = &problems[..] else { panic!("{name}: {problems:?}") };
            assert!(problem.starts_with(&format!("{name}: ")), "{problem}");
            assert!(problem.contains("quotes") && !problem.contains("s3cret"), "{problem}");
        }
    }
    for value in ["it's-a-key", "'key-of-it", "key-of-it\"", "\"key-of-it'", "`key-of-it`"] {
        assert!(read(&[("MANA_SERVICE_KEY", value), ("PERSONA_SEED_SECRET", value)]).is_ok());
    }
    assert!(read(&[("PERSONA_SEED_SECRET", "'")]).is_ok(), "one is around nothing");
}

#[test]
fn a_key_has_at_least_six_characters() {
    for name in ["MANA_SERVICE_KEY", "ANTHROPIC_API_KEY"] {
        for short in ["k", "12345", "  12345  "] {
            let problems = problems(&[(name, short)]);
            let expected = format!("{name}: expected at least 6 characters");
            assert!(problems.len() == 1 && problems[0].starts_with(&expected), "{problems:?}");
            assert!(!problems[0].contains("12345"));
        }
        assert!(read(&[(name, "123456")]).is_ok());
    }
}

#[test]
fn the_key_of_the_page_is_long_and_not_the_service_key() {
    const KEY: &str = "sixteen-letters!";
    for key in [KEY, "  sixteen-letters!  "] {
        assert_eq!(read(&[("UI_KEY", key)]).unwrap().page.key.unwrap().expose_secret(), KEY);
    }
    for bad in ["fifteen-letters", "fifteen-letters ", "sixteen letters!", "sixteen-léttérs!"] {
        let problems = problems(&[("UI_KEY", bad)]);
        let expected = "UI_KEY: expected at least 16 characters, visible ASCII only";
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
        assert!(!problems[0].contains(bad));
    }
    let service = |key| [("UI_KEY", KEY), ("MANA_SERVICE_KEY", key)];
    assert!(read(&service("sixteen-letters?")).is_ok());
    let problems = problems(&service(KEY));
    let expected = "UI_KEY: must be another key than MANA_SERVICE_KEY";
    assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
    assert!(!problems[0].contains(KEY));
}

#[test]
fn a_base_url_that_ends_in_what_is_appended_is_refused_and_what_to_write_is_said() {
    for (name, ends) in [
        ("ANTHROPIC_BASE_URL", &["v1", "v1/messages"][..]),
        ("MANA_MCP_URL", &["mcp"]),
        ("MANA_API_URL", &["api/v1", "api/v1/personas", "api/v1/personas/internal"]),
        ("MANA_PERSONAS_URL", &["due", "7/actions", "7/feedback"]),
        ("UI_BASE_URL", &["ui"]),
        (
            "MANA_AUTH_URL",
            &[
                "api/auth",
                "api/auth/token",
                "api/auth/sign-in",
                "api/auth/sign-in/email",
                "api/auth/organization",
                "api/auth/organization/list",
                "api/v1",
                "api/v1/auth",
                "api/v1/auth/login",
                "api/v1/me",
                "api/v1/me/encryption-vault",
                "api/v1/me/encryption-vault/init",
                "api/v1/internal",
                "api/v1/internal/personas",
            ],
        ),
    ] {
        for base in ["https://mana.example", "http://localhost:1/under/it"] {
            for end in ends {
                for slash in ["", "/", "//"] {
                    let problems = problems(&[(name, &format!("{base}/{end}{slash}"))]);
                    let [problem] = &problems[..] else { panic!("{end}: {problems:?}") };
                    assert!(problem.starts_with(&format!("{name}: ")), "{problem}");
                    assert!(problem.ends_with(&format!("; write {base}")), "{problem}");
                }
            }
            assert!(read(&[(name, base)]).is_ok());
        }
    }
    for (name, url) in [
        ("MANA_AUTH_URL", "https://mana.example/api"),
        ("MANA_AUTH_URL", "https://mana.example/auth/"),
        ("MANA_PERSONAS_URL", "https://mana.example/api/v1/internal/personas"),
        ("MANA_MCP_URL", "https://mcp.mana.example/v1"),
        ("ANTHROPIC_BASE_URL", "https://proxy.example/anthropic/"),
    ] {
        assert!(read(&[(name, url)]).is_ok(), "{url}");
    }
}
