//! The command `compare`: its verdicts, exit codes, sides and texts.

use std::process::Stdio;

use jiff::{ToSpan, civil::date};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    facts_files::{FactsFile, HOSTILE, schema::Schemas, text},
    process::daemon::{Daemon, Finished, finish},
    support::{Setup, patiently, start_peers},
};

const BINARY: &str = env!("CARGO_BIN_EXE_mana-persona-runner");
const PERSONAS: [&str; 6] = ["anna", "ben", "cleo", "dora", "emil", "fee"];
/// A deployment on day 28, of 35.
const TWO_BUILDS: [(&str, i32); 2] = [("v1", 0), ("v2", 28)];
/// No day: nothing breaks.
const NEVER: i32 = 99;

/// The day with this number, from 0.
fn day(number: i32) -> String {
    date(2026, 10, 5).checked_add(number.days()).unwrap().to_string()
}

/// A fleet that runs once a day on `days`, while the builds are deployed on the days that they name. From the day
/// `breaks` on `todo.list` fails in every second run. `hostile` becomes part of each label, version and name of a tool.
fn world(
    builds: &[(&str, i32)],
    days: std::ops::Range<i32>,
    breaks: i32,
    hostile: &str,
) -> Vec<Value> {
    let mut lines = vec![json!({"kind": "meta", "schema": "facts/v1", "tz": "Europe/Berlin"})];
    lines.extend(builds.iter().zip(1..).map(|((version, from), number)| {
        json!({"kind": "deployment", "id": format!("D-{number}"), "source": "release",
            "version": format!("{version}{hostile}"), "at": format!("{}T00:00:00Z", day(*from))})
    }));
    lines.extend(PERSONAS.iter().map(|name| {
        json!({"kind": "persona", "id": name, "label": format!("{name}{hostile}"),
            "cadence": "daily", "mix": {"todo": 1.0}})
    }));
    // Ids are shorter than other texts.
    let of_id: String = hostile.chars().take(100).collect();
    let (mut calls, mut modules) = (Vec::new(), Vec::new());
    for (on, n) in days.flat_map(|day| (0..6).map(move |n| (day, n))) {
        let (id, at) = (format!("run-{on:02}-{n}{of_id}"), format!("{}T1{n}:00:00Z", day(on)));
        let build = builds.iter().rposition(|(_, from)| *from <= on);
        let build = build.map(|position| format!("D-{}", position + 1));
        lines.push(json!({"kind": "run", "id": id, "persona": PERSONAS[n as usize], "at": at,
            "model": if on < 30 { "old" } else { "new" }, "deployment": build,
            "deploymentEnd": build, "outcome": "done", "costUsd": 0.01}));
        for (number, module) in [(1, "todo"), (2, "notes")] {
            let ok = module != "todo" || on < breaks || (on + n) % 2 == 0;
            let mut call = json!({"kind": "call", "run": id, "number": number, "at": at,
                "tool": format!("{module}.list{hostile}"), "module": module, "ok": ok});
            if !ok {
                call["cause"] = json!("handler");
                call["issue"] = json!("F-AAAA");
                call["template"] = json!("Task ‹uuid› is locked");
                call["next"] = json!("ended");
            }
            calls.push(call);
            modules.push(json!({"kind": "module", "run": id, "module": module, "grounded": true,
                "rating": 3 + (on + n) % 3, "calls": [number], "reads": 1}));
        }
    }
    lines.into_iter().chain(calls).chain(modules).collect()
}

/// Two builds, the second of which is broken or not.
fn two_builds(breaks: i32) -> FactsFile {
    FactsFile::of_lines(&world(&TWO_BUILDS, 0..35, breaks, ""))
}

/// Runs `compare` on the file.
async fn compare(file: &FactsFile, arguments: &[&str]) -> Finished {
    let path = file.path().to_str().unwrap();
    // There is no journal: none is needed.
    finish([], &[&["compare", "--facts", path], arguments].concat()).await
}

/// The exit code and the JSON that `compare` prints for the file.
async fn answer(file: &FactsFile, arguments: &[&str]) -> (Option<i32>, Value) {
    let ended = compare(file, &[&["--format", "json"], arguments].concat()).await;
    let Ok(answer) = serde_json::from_str(&ended.stdout) else { panic!("{ended:?}") };
    Schemas::read().compare(&answer);
    (ended.code, answer)
}

/// The findings with this verdict.
fn findings<'a>(answer: &'a Value, verdict: &str) -> Vec<&'a Value> {
    let findings = answer["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["verdict"] == verdict).collect()
}

#[tokio::test]
async fn a_tool_that_broke_with_the_deployment_is_worse() {
    let file = two_builds(28);
    let (code, found) = answer(&file, &[]).await;
    assert_eq!((code, &found["verdict"]), (Some(3), &json!("worse")), "{found:#}");
    let build = |side: &str| found[side]["deployments"][0]["version"].clone();
    assert_eq!((build("a"), build("b")), (json!("v1"), json!("v2")));
    let numbers = |side: &str| [&found[side]["runs"], &found[side]["personas"]].map(Value::as_u64);
    assert_eq!((numbers("a"), numbers("b")), ([Some(168), Some(6)], [Some(42), Some(6)]));
    let worse = findings(&found, "worse");
    assert!(worse.iter().all(|finding| finding["module"] == "todo"), "{worse:#?}");
    let tool = worse.iter().find(|finding| finding["fact"] == "tool").unwrap();
    assert_eq!((&tool["id"], &tool["tool"]), (&json!("tool:todo.list"), &json!("todo.list")));
    assert_eq!((&tool["a"], &tool["b"]["value"]), (&json!({"value": 0.0, "n": 168}), &json!(0.5)));
    assert_eq!(tool["personas"], json!(PERSONAS));
    let run = |example: &str| tool[example]["run"].as_str().unwrap();
    assert!(run("before") < "run-28" && run("after") > "run-28", "{tool:#}");
    assert_eq!(findings(&found, "better"), [&Value::Null; 0]);

    let Finished { code, stdout, stderr } = compare(&file, &[]).await;
    assert_eq!((code, stderr.as_str()), (Some(3), ""));
    let first = format!("Worse since v2 (D-2): {} of ", worse.len());
    assert!(stdout.starts_with(&first), "{stdout}");
    for part in [
        "2026-10-05 to 2026-11-01",
        "model since 2026-11-04",
        "todo.list has F-AAAA, not hit on A",
        "0 % of 168",
        "50 % of 42",
        "for anna, ben, cleo, +3",
        &format!(" before: {}\n", run("before")),
        &format!(" after: {}\n", run("after")),
        "Noise floor: unknown (shares)",
        "points of runs of an ordinary tool, ",
    ] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    assert!(stdout.lines().all(|line| line.chars().count() <= 120), "{stdout}");
    assert_eq!(compare(&file, &[]).await.stdout, stdout, "the same facts have the same bytes");
    assert_eq!(compare(&file, &["--strict"]).await.code, Some(3));
}

#[tokio::test]
async fn nothing_that_changed_is_nothing_worse() {
    let file = two_builds(NEVER);
    for arguments in [&[][..], &["--strict"]] {
        let (code, found) = answer(&file, arguments).await;
        assert_eq!((code, &found["verdict"]), (Some(0), &json!("nothing-worse")), "{found:#}");
        let Finished { code, stdout, stderr } = compare(&file, arguments).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(stdout.starts_with("Nothing worse since v2 (D-2): 0 of "), "{stdout}");
    }
}

#[tokio::test]
async fn what_cannot_be_told_fails_only_where_that_was_asked_for() {
    let one_day = |on: i32| world(&TWO_BUILDS, on..on + 1, NEVER, "");
    let mut unrated = world(&TWO_BUILDS, 27..29, NEVER, "");
    unrated.retain(|line| line["kind"] != "module");
    for (lines, verdict, first) in [
        (one_day(0)[..1].to_vec(), "not-comparable", "Not comparable: no deployment is known"),
        (world(&[], 0..35, 28, ""), "not-comparable", "Not comparable: no deployment is known"),
        (world(&[("v1", 0)], 0..35, 28, ""), "not-comparable", "Not comparable: side A has no run"),
        (one_day(27), "not-comparable", "Not comparable: side B has no run"),
        (unrated, "nothing-testable", "Nothing testable since v2 (D-2): none of "),
    ] {
        let file = FactsFile::of_lines(&lines);
        for (arguments, expected) in [(&[][..], 0), (&["--strict"], 4)] {
            let (code, found) = answer(&file, arguments).await;
            assert_eq!((code, &found["verdict"]), (Some(expected), &json!(verdict)), "{found:#}");
            assert_eq!(found["detectable"], json!({"share": null, "rating": null}));
            let Finished { code, stdout, stderr } = compare(&file, arguments).await;
            assert_eq!(code, Some(expected), "{stdout}");
            assert!(stdout.starts_with(first), "{stdout}");
            let is_testable = stdout.contains("  no change of an ordinary tool, no change of");
            assert_eq!(is_testable, verdict == "nothing-testable", "{stdout}");
            let remark = format!("mana-persona-runner: {}\n", stdout.lines().next().unwrap());
            assert_eq!(stderr, remark);
        }
    }
}

#[tokio::test]
async fn personas_that_are_kept_out_of_the_product_are_told_of_in_the_first_line() {
    for kept_out in [4, 6] {
        let mut lines = world(&TWO_BUILDS, 0..35, NEVER, "");
        let is_out = |id: &Value| {
            let id = id.as_str().unwrap();
            id > "run-28" && PERSONAS.len() - 1 - (id.as_bytes()[7] - b'0') as usize >= 6 - kept_out
        };
        lines.retain(|line| !line["run"].is_string() || !is_out(&line["run"]));
        for run in lines.iter_mut().filter(|line| line["kind"] == "run" && is_out(&line["id"])) {
            run["outcome"] = json!("login");
        }
        let stdout = compare(&FactsFile::of_lines(&lines), &[]).await.stdout;
        let first = stdout.lines().next().unwrap();
        let told =
            format!("{} of 42 runs of side B ended at login, space or session", 7 * kept_out);
        assert!(first.contains(&told), "{first}");
        let head = if kept_out == 6 { "Nothing testable " } else { "Nothing worse " };
        assert!(first.starts_with(head), "{first}");
    }
}

#[tokio::test]
async fn runs_without_a_deployment_are_those_before_the_first_one() {
    let file = FactsFile::of_lines(&world(&[("v1", 28)], 0..35, 28, ""));
    let (code, found) = answer(&file, &[]).await;
    assert_eq!((code, &found["a"]["deployments"]), (Some(3), &json!([])), "{found:#}");
    assert_eq!((&found["a"]["runs"], &found["b"]["runs"]), (&json!(168), &json!(42)));
}

#[tokio::test]
async fn a_side_is_a_deployment_a_version_a_day_or_a_range_of_days() {
    let builds = [("v1", 0), ("v2", 14), ("v1", 28)];
    let file = FactsFile::of_lines(&world(&builds, 0..35, NEVER, ""));
    let range = |from: i32, to: i32| format!("{}..{}", day(from), day(to));
    let (week, first, last) = (range(7, 13), day(0), day(34));
    for (arguments, a, b) in [
        (&[][..], (0, 27), (28, 34)),
        (&["D-1"], (0, 13), (28, 34)),
        (&["v2"], (14, 27), (28, 34)),
        (&["v2", "v1"], (14, 27), (28, 34)),
        (&["D-1", "D-2"], (0, 13), (14, 27)),
        (&["D-2", "D-1"], (14, 27), (0, 13)),
        (&[&week], (7, 13), (28, 34)),
        (&[&week, "v2"], (7, 13), (14, 27)),
        (&[&first, &last], (0, 0), (34, 34)),
    ] {
        let (code, found) = answer(&file, arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}");
        for ((from, to), side) in [(a, &found["a"]), (b, &found["b"])] {
            let expected = (json!(day(from)), json!(day(to)), json!(6 * (to - from + 1)));
            assert_eq!(
                (&side["from"], &side["to"], &side["runs"]),
                (&expected.0, &expected.1, &expected.2),
                "{arguments:?}"
            );
        }
    }
    let text = compare(&file, &[&first, &last]).await.stdout;
    assert!(text.starts_with("Nothing worse since v1 (D-3)"), "{text}");
    let text = compare(&file, &[&day(28), &last]).await.stdout;
    assert!(text.starts_with("Nothing testable on side B"), "{text}");
}

#[tokio::test]
async fn a_side_that_nothing_is_called_exits_with_64_and_the_names_of_the_deployments() {
    let file = two_builds(28);
    let long = "x".repeat(10_000);
    for arguments in [
        &["v3"][..],
        &[""],
        &["D-1", "d-2"],
        &["2026-13-01"],
        &["2026-10-05..soon"],
        &["5.10.2026"],
        &["D-1\u{1b}[2J\n"],
        &[&long],
    ] {
        let Finished { code, stdout, stderr } = compare(&file, arguments).await;
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{arguments:?}: {stderr}");
        let is_line = stderr.lines().count() == 1 && stderr.len() < 1_000;
        assert!(is_line && !stderr.contains('\u{1b}'), "{stderr}");
        assert!(arguments[0] == long || stderr.contains("D-2 (v2), D-1 (v1)"), "{stderr}");
    }
    for (arguments, expected) in [
        (&["2026-11-08..2026-11-02"][..], "no day is in 2026-11-08..2026-11-02"),
        (&["D-2"], "both sides are the same"),
        (&["v2", "D-2"], "both sides are the same"),
        (&["D-1", "D-2", "D-3"], "unexpected argument"),
        (&["--format", "html"], "[possible values: text, json]"),
    ] {
        let Finished { code, stdout, stderr } = compare(&file, arguments).await;
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[tokio::test]
async fn a_bad_line_exits_with_65_and_a_missing_file_with_1() {
    let good = text(&world(&TWO_BUILDS, 0..35, 28, ""));
    let number = good.lines().count() + 1;
    let file = FactsFile::of(format!("{good}{{\"kind\":\"dream\"}}\n").as_bytes());
    let Finished { code, stdout, stderr } = compare(&file, &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(65), ""), "{stderr}");
    assert!(stderr.contains(&format!("line {number}: ")), "{stderr}");
    let missing = format!("{}.missing", file.path().display());
    let ended = finish([], &["compare", "--facts", &missing]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let ended = finish([], &["compare"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "there is no journal");
}

#[tokio::test]
async fn facts_may_come_from_standard_input_and_a_closed_pipe_changes_no_exit_code() {
    for (breaks, expected) in [(28, 3), (NEVER, 0)] {
        let file = two_builds(breaks);
        let command = |stdout: Stdio| {
            let mut command = Command::new(BINARY);
            command.args(["compare", "--facts", "-"]).env_clear().kill_on_drop(true);
            command.stdin(std::fs::File::open(file.path()).unwrap());
            command.stdout(stdout).stderr(Stdio::piped());
            command
        };
        let output = patiently("the process", command(Stdio::piped()).output()).await.unwrap();
        assert_eq!(output.status.code(), Some(expected));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), compare(&file, &[]).await.stdout);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = patiently("the process", command(writer.into()).output()).await.unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(expected), Vec::new()));
    }
}

#[tokio::test]
async fn hostile_and_long_texts_break_no_output() {
    let long = "ü".repeat(1_000);
    for hostile in [HOSTILE, &long] {
        let lines = world(&TWO_BUILDS, 0..35, 28, hostile);
        let file = FactsFile::of_lines(&lines);
        let (code, found) = answer(&file, &[]).await;
        assert_eq!((code, &found["verdict"]), (Some(3), &json!("worse")), "{found:#}");
        let text = compare(&file, &[]).await.stdout;
        let is_harmless = |c: char| c == '\n' || !c.is_control() && !"\u{202e}\u{2028}".contains(c);
        assert!(text.chars().all(is_harmless), "{text:?}");
        assert!(text.starts_with("Worse since v2"), "{text}");
        assert!(!text.lines().any(|line| line.starts_with('#')), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 200), "{text}");
    }
    // A version cannot make a terminal act in an error either.
    let file = FactsFile::of_lines(&world(&TWO_BUILDS, 0..1, 28, HOSTILE));
    let stderr = compare(&file, &["v3"]).await.stderr;
    assert!(stderr.lines().count() == 1 && !stderr.contains(['\0', '\u{1b}', '\u{202e}']));
}

#[tokio::test]
async fn what_a_journal_exports_has_the_comparison_of_the_journal_beside_the_daemon_and_after_it() {
    let setup = Setup::many(&["anna", "ben"]).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let data_dir = || ("RUNNER_DATA_DIR".into(), peers.data_folder().into());
    let daemon = Daemon::start(&peers, &[("PRODUCT_VERSION", "1.4.0".into())]).await;
    let tick = async || {
        let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        peers.clock.step_day();
    };
    tick().await;
    finish([data_dir()], &["release", "1.5.0"]).await;
    tick().await;
    let export = finish([data_dir()], &["export"]).await.stdout;
    let file = FactsFile::of(export.as_bytes());
    for arguments in [&["--format", "text"][..], &["--format", "json", "--strict"]] {
        let here = finish([data_dir()], &[&["compare"], arguments].concat()).await;
        let there = compare(&file, arguments).await;
        assert_eq!((here.code, &here.stdout), (there.code, &there.stdout));
        assert!(here.stdout.contains("1.4.0") && here.stdout.contains("1.5.0"), "{}", here.stdout);
    }
    let (code, found) = answer(&file, &[]).await;
    assert_eq!((code, &found["a"]["runs"], &found["b"]["runs"]), (Some(0), &json!(2), &json!(2)));
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code, Some(0));
    let text = finish([data_dir()], &["compare"]).await.stdout;
    assert_eq!(text, compare(&file, &[]).await.stdout, "the daemon is not needed");
}
