//! The command line while a daemon is running: its output matches what happened.

use std::{ffi::OsString, process::Stdio};

use devstack::{Devstack, fault::Fault, recorder::Recorded};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    daemon::{Daemon, Finished, finish},
    shows_results,
};
use crate::support::{Setup, patiently, persona, start_peers, variables};

const BINARY: &str = env!("CARGO_BIN_EXE_mana-persona-runner");

/// The only environment variable that the command line needs.
fn data_dir(peers: &Devstack) -> (OsString, OsString) {
    ("RUNNER_DATA_DIR".into(), peers.data_folder().into())
}

async fn ask(peers: &Devstack, arguments: &[&str]) -> String {
    let Finished { code, stdout, stderr } = finish([data_dir(peers)], arguments).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    for secret in ["eyJhbGciOi", "MANA_SERVICE_KEY", "ANTHROPIC_API_KEY"] {
        let value = peers.environment().iter().find(|(name, _)| *name == secret);
        let value = value.map_or(secret, |(_, value)| value);
        assert!(!stdout.contains(value), "{secret} in: {stdout}");
    }
    stdout
}

/// The rows of a table, split into words.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().skip(1).take_while(|line| !line.is_empty());
    lines.map(|line| line.split_whitespace().collect()).collect()
}

async fn tick(daemon: &Daemon) -> serde_json::Value {
    let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["result"].clone()
}

#[tokio::test]
async fn runs_and_show_match_what_the_peers_received_while_the_daemon_runs_and_later() {
    let setup = Setup::many(&["anna", "ben"]).short_days();
    let (peers, users) = start_peers(setup.peers, &setup.personas).await;
    let daemon = Daemon::start(&peers, &[]).await;
    assert!(ask(&peers, &["runs"]).await.starts_with("There are no runs yet"));
    let result = tick(&daemon).await;

    let table = ask(&peers, &["runs"]).await;
    let listed = rows(&table);
    assert_eq!(listed.len(), 2, "{table}");
    let cost = format!("${:.4}", result["costUsd"].as_f64().unwrap());
    assert!(table.contains(&format!("\n2 runs, {cost}.")), "{cost}: {table}");
    let (calls, actions, ratings) =
        (peers.mcp.calls(), peers.auth.actions().await, peers.auth.feedback().await);
    for (user, name) in users.iter().zip(["anna", "ben"]) {
        let email = format!("persona.{name}@mana.test");
        let row = listed.iter().find(|row| row[0] == email).unwrap_or_else(|| panic!("{table}"));
        let calls: Vec<_> = calls.iter().filter(|call| call.user_id == *user).collect();
        assert!(!calls.is_empty());
        let count = calls.len().to_string();
        assert_eq!(row[2..6], ["finished", "2", &count, "0"], "{table}");
        assert_eq!(row[10], "done", "{table}");

        let text = ask(&peers, &["show", row[9]]).await;
        assert_eq!(ask(&peers, &["runs", "show", row[9]]).await, text);
        let action = actions.iter().find(|action| action.persona_id == *user).unwrap();
        assert!(text.starts_with(&format!("Run {}\n", action.tick_id)), "{text}");
        assert!(text.contains(&email) && text.contains(&persona(name, &[]).system_prompt));
        assert!(text.contains(&format!("cost      {}\n", row[6])), "{text}");
        let named: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  → ")).collect();
        let called: Vec<_> = calls.iter().map(|call| call.tool.as_str()).collect();
        assert_eq!(named, called, "{text}");
        assert_eq!(text.matches(": ok, ").count(), calls.len(), "{text}");
        for call in calls {
            for value in call.arguments.values().filter_map(|value| value.as_str()) {
                assert!(text.contains(value), "{value:?} in: {text}");
            }
        }
        let ratings: Vec<_> = ratings.iter().filter(|row| row.persona_id == *user).collect();
        assert!(!ratings.is_empty());
        for rating in ratings {
            let line = format!("\n  {}: {} of 5", rating.module, rating.rating);
            assert!(text.contains(&line), "{line:?} in: {text}");
            assert!(text.contains(rating.notes.as_deref().unwrap().trim()), "{text}");
        }
    }
    let latest = ask(&peers, &["runs", "--limit", "1"]).await;
    assert_eq!(rows(&latest)[0][0], listed[0][0], "newest first: {latest}");

    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code, Some(0));
    assert_eq!(ask(&peers, &["runs"]).await, table, "the daemon is not needed");
}

#[tokio::test]
async fn a_run_is_shown_up_to_its_last_step_even_if_the_daemon_was_killed() {
    let setup = Setup::many(&["anna"]).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    peers.claude.served.faults.inject(9, Fault::Hang, shows_results);
    let daemon = Daemon::start(&peers, &[("TICK_INTERVAL_MS", "50".into())]).await;
    let recorder = &peers.claude.served.recorder;
    patiently("mid-run", recorder.wait_for(1, shows_results)).await;
    let table = ask(&peers, &["runs"]).await;
    let calls = peers.mcp.calls().len().to_string();
    assert_eq!(rows(&table)[0][2..6], ["running", "1", &calls, "0"], "{table}");
    let text = ask(&peers, &["show", "0"]).await;
    assert!(text.contains("\nTurn 1: ") && !text.contains("\nTurn 2: "), "{text}");
    assert!(text.lines().last().unwrap().contains("has not answered yet"), "{text}");
    daemon.signal("KILL").await;
    assert_eq!(daemon.ended().await.code, None);
    assert_eq!(ask(&peers, &["runs"]).await, table);
    assert_eq!(ask(&peers, &["show", "0"]).await, text);
}

#[tokio::test]
async fn posts_refused_for_good_are_listed_and_sent_again_by_command_byte_for_byte() {
    let setup = Setup::many(&["anna"]).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let daemon = Daemon::start(&peers, &[]).await;
    assert!(ask(&peers, &["outbox"]).await.starts_with("The outbox is empty"));
    assert!(ask(&peers, &["outbox", "retry"]).await.starts_with("The outbox is empty"));
    let refusal = Fault::status(404, r#"{"statusCode":404,"message":"Persona not found"}"#);
    peers.auth.served.faults.on(1, Method::POST, "/actions", refusal);
    tick(&daemon).await;
    assert!(peers.auth.actions().await.is_empty());

    let table = ask(&peers, &["outbox"]).await;
    let listed = rows(&table);
    assert_eq!(listed.len(), 1, "{table}");
    assert_eq!(listed[0][1..3], ["persona.anna@mana.test", "actions"], "{table}");
    assert_eq!(listed[0][4..6], ["1", "never"], "{table}");
    assert!(table.contains("404") && table.contains("1 refused for good"), "{table}");
    let shown = ask(&peers, &["show", listed[0][0]]).await;
    assert!(shown.contains("outbox    0 posts on the way, 1 refused for good"), "{shown}");
    assert!(shown.contains("\nmana-auth refused rows of this run for good:\n"), "{shown}");
    assert_eq!(rows(&ask(&peers, &["runs"]).await)[0][2], "refused");

    assert!(ask(&peers, &["outbox", "retry"]).await.starts_with("1 post marked"));
    let answered = |r: &Recorded| {
        r.method == Method::POST && r.path().ends_with("/actions") && r.status.is_some()
    };
    let recorder = &peers.auth.served.recorder;
    let posts = patiently("the second post", recorder.wait_for(2, answered)).await;
    assert_eq!(posts[0].body, posts[1].body);
    assert_eq!(peers.auth.actions().await.len().to_string(), listed[0][3], "{table}");
    patiently("the confirmation", async {
        while !ask(&peers, &["outbox"]).await.starts_with("The outbox is empty") {}
    })
    .await;
}

#[tokio::test]
async fn only_posts_refused_for_good_can_be_discarded_and_by_run() {
    let setup = Setup::many(&["anna", "ben"]).short_days();
    let (peers, users) = start_peers(setup.peers, &setup.personas).await;
    let daemon = Daemon::start(&peers, &[]).await;
    let (gone, away) = (
        Fault::status(404, r#"{"statusCode":404,"message":"Persona not found"}"#),
        Fault::status(503, "away"),
    );
    let faults = &peers.auth.served.faults;
    faults.on(usize::MAX, Method::POST, &format!("/{}/actions", users[0]), gone);
    faults.on(usize::MAX, Method::POST, &format!("/{}/actions", users[1]), away);
    tick(&daemon).await;
    let table = ask(&peers, &["outbox"]).await;
    assert!(table.contains("2 posts on the way, 1 refused for good."), "{table}");
    let of =
        |email: &str| rows(&table).into_iter().find(|row| row[1] == email).unwrap()[0].to_owned();
    let (refused, waiting) = (of("persona.anna@mana.test"), of("persona.ben@mana.test"));

    let output = ask(&peers, &["outbox", "discard", &waiting]).await;
    assert!(output.contains("nothing is thrown away"), "{output}");
    let output = ask(&peers, &["outbox", "discard", &refused]).await;
    assert!(output.starts_with("1 post of run"), "{output}");
    assert!(ask(&peers, &["outbox"]).await.contains("2 posts on the way, 0 refused for good."));
    let output = ask(&peers, &["outbox", "discard", &refused]).await;
    assert!(output.contains("nothing is thrown away"), "{output}");

    // The rows in the outbox are delivered, and the events of both runs can still be read.
    faults.clear();
    ask(&peers, &["outbox", "retry"]).await;
    patiently("the confirmation", async {
        while !ask(&peers, &["outbox"]).await.starts_with("The outbox is empty") {}
    })
    .await;
    assert!(peers.auth.actions().await.iter().all(|row| row.persona_id == users[1]));
    assert_eq!(rows(&ask(&peers, &["runs"]).await).len(), 2);
    patiently("the gauge", async {
        while !daemon.metrics().await.contains("outbox_dead_letters 0") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_that_the_tick_calls_failed_is_called_so_by_runs_too() {
    let setup = Setup::many(&["anna"]).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let refusal =
        Fault::status(400, r#"{"type":"error","error":{"type":"invalid_request_error"}}"#);
    peers.claude.served.faults.inject(9, refusal, shows_results);
    let daemon = Daemon::start(&peers, &[]).await;
    let result = tick(&daemon).await;
    assert_eq!(result["failed"].as_array().map(Vec::len), Some(1), "{result}");
    assert!(!peers.auth.actions().await.is_empty(), "its slot is used up");
    assert_eq!(rows(&ask(&peers, &["runs"]).await)[0][2], "failed");
    assert!(ask(&peers, &["show", "0"]).await.contains("state     failed, stage main_turn"));
}

#[tokio::test]
async fn an_error_of_the_command_line_is_one_clear_line_and_exit_code_1() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    let folder = peers.data_folder().to_string_lossy().into_owned();
    let fails = |arguments: &'static [&str]| {
        let var = data_dir(&peers);
        async move {
            // A container's LOG_FORMAT applies to its log, not to the output for a user.
            let ended = finish([var, ("LOG_FORMAT".into(), "json".into())], arguments).await;
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{arguments:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            ended.stderr
        }
    };
    for arguments in [&["runs"][..], &["show", "019a"], &["outbox"], &["outbox", "retry"]] {
        let error = fails(arguments).await;
        assert!(error.contains("no journal") && error.contains(&folder), "{error}");
    }
    assert!(!peers.data_folder().exists(), "reading makes nothing");
    let _daemon = Daemon::start(&peers, &[]).await;
    let error = fails(&["show", "019a"]).await;
    assert!(error.contains("no run 019a"), "{error}");
}

#[tokio::test]
async fn output_may_be_cut_off_by_its_reader() {
    let setup = Setup::many(&["anna"]).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let daemon = Daemon::start(&peers, &[]).await;
    tick(&daemon).await;
    for arguments in [&["runs"][..], &["show", "0"], &["outbox"], &["--help"], &["--version"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(BINARY);
        command.args(arguments).env_clear().envs([data_dir(&peers)]);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).kill_on_drop(true);
        let output = patiently("the process", command.output()).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

/// The command `plan` with the variables of a daemon that uses these peers, changed like this.
async fn plan(
    peers: &Devstack,
    changed: &[(&'static str, String)],
    arguments: &[&str],
) -> Finished {
    finish(variables(peers, changed), &[&["plan"], arguments].concat()).await
}

#[tokio::test]
async fn a_plan_is_printed_for_people_and_programs_beside_the_daemon_and_its_tick_costs_no_more() {
    let setup = Setup::many(&["anna", "ben"]).short_days();
    let (peers, users) = start_peers(setup.peers, &setup.personas).await;
    let no_claude = ("ANTHROPIC_API_KEY", String::new());
    let first = plan(&peers, &[no_claude], &["--format", "json"]).await;
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    let first: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(first["due"], json!(["persona.anna", "persona.ben"]));
    assert_eq!((&first["expectedUsd"], &first["ceilingUsd"]), (&Value::Null, &json!(0.5)));
    assert!(!peers.data_folder().exists(), "a plan makes nothing");

    let daemon = Daemon::start(&peers, &[]).await;
    let cost = tick(&daemon).await["costUsd"].as_f64().unwrap();
    assert!(cost > 0.0 && cost <= 0.5, "{cost}");
    for user in &users {
        peers.auth.set_last_active_at(user, None).await;
    }
    let text = plan(&peers, &[("LOG_FORMAT", "json".into())], &[]).await;
    assert_eq!((text.code, text.stderr.as_str()), (Some(0), ""));
    let slot = "  2 would not run (slot-used): persona.anna, persona.ben\n";
    assert!(text.stdout.starts_with(&format!("2 personas are due.\n{slot}\n")), "{}", text.stdout);
    assert!(text.stdout.contains(" of BUDGET_DAILY_USD until "), "{}", text.stdout);

    let small = |cap: &'static str| [("BUDGET_DAILY_USD", cap.to_owned())];
    let used_up = plan(&peers, &small("0.0000001"), &[]).await;
    assert_eq!((used_up.code, used_up.stderr.as_str()), (Some(5), ""));
    assert!(used_up.stdout.contains("it is reached"), "{}", used_up.stdout);
}

#[tokio::test]
async fn a_plan_without_an_answer_is_one_clear_line() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    for (changed, code, expected) in [
        (("MANA_SERVICE_KEY", String::new()), 78, "MANA_SERVICE_KEY: must be set"),
        (("PORT", "none".into()), 78, "PORT: "),
        (
            ("MANA_SERVICE_KEY", "another-key-of-a-service".into()),
            1,
            "is MANA_SERVICE_KEY the service's",
        ),
        (("MANA_AUTH_URL", format!("http://{closed}")), 1, "who is due is not known: "),
    ] {
        let name = changed.0;
        let ended = plan(&peers, &[changed], &[]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{name}");
        assert!(
            ended.stderr.contains(expected) && !ended.stderr.contains("another-key"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(plan(&peers, &[], &["now"]).await.code, Some(64));
}
