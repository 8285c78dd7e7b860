//! The command line and files of facts: what `frictions --facts` reads, prints and refuses.

pub(crate) mod schema;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    process::daemon::{Daemon, Finished, finish},
    support::{Setup, patiently, start_peers},
};
use schema::Schemas;

const BINARY: &str = env!("CARGO_BIN_EXE_mana-persona-runner");
/// Texts that would break an output that does not know them.
pub(crate) const HOSTILE: &str =
    "<script>alert(1)</script>|`x`\u{202e}\0\u{1b}[2J\n# Titel\r\u{2028}";

/// A file of a test, deleted at the end of the test.
pub(crate) struct FactsFile(PathBuf);

impl FactsFile {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let name = format!("facts-{}.jsonl", uuid::Uuid::now_v7());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(bytes).unwrap();
        Self(path)
    }

    pub(crate) fn of_lines(lines: &[Value]) -> Self {
        Self::of(text(lines).as_bytes())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Runs `frictions` on the file, with further arguments.
    async fn frictions(&self, arguments: &[&str]) -> Finished {
        let path = self.0.to_str().unwrap();
        // There is no journal: none is needed.
        finish([], &[&["frictions", "--facts", path], arguments].concat()).await
    }

    /// What `frictions` prints for the file.
    pub(crate) async fn answer(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = self.frictions(arguments).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        stdout
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.answer(&[&["--format", "json"], arguments].concat()).await;
        let answer = serde_json::from_str(&answer).unwrap();
        Schemas::read().frictions(&answer);
        answer
    }
}

impl Drop for FactsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn at(day: u32, persona: usize) -> String {
    format!("2026-11-{day:02}T1{persona}:00:00Z")
}

/// Four personas over these days of November; `todo.complete` fails in each run of two of them, with a message that
/// ends with `detail`. `hostile` becomes part of each label, version and name of a tool.
fn world(days: std::ops::RangeInclusive<u32>, detail: &str, hostile: &str) -> Vec<Value> {
    let complete = format!("todo.complete{hostile}");
    let template = format!("Task ‹uuid›: {detail}");
    let mut lines = vec![
        json!({"kind": "meta", "schema": "facts/v1", "tz": "Europe/Berlin"}),
        json!({"kind": "catalog", "id": "c", "tools": [{"name": "todo.list", "hash": "00"}]}),
        json!({"kind": "deployment", "id": "D-1", "version": format!("v1{hostile}"), "source": "release",
            "at": at(1, 0)}),
    ];
    let personas = ["anna", "ben", "cleo", "dora"];
    for name in personas {
        lines.push(json!({"kind": "persona", "id": name, "label": format!("{name}{hostile}"),
            "cadence": "daily", "mix": {"todo": 1.0}}));
    }
    let runs = || days.clone().flat_map(|day| (0..personas.len()).map(move |n| (day, n)));
    let id = |(day, n): (u32, usize)| format!("run-{day:02}-{n}");
    let fails = |n: usize| n < 2;
    for run in runs() {
        lines.push(json!({"kind": "run", "id": id(run), "persona": personas[run.1],
            "at": at(run.0, run.1), "slot": format!("2026-11-{:02}", run.0), "deployment": "D-1",
            "outcome": "done", "costUsd": 0.01}));
    }
    for run in runs() {
        let call = json!({"kind": "call", "run": id(run), "number": 1, "at": at(run.0, run.1),
            "tool": complete, "module": "todo", "ok": !fails(run.1)});
        let mut call = call.as_object().unwrap().clone();
        if fails(run.1) {
            call.extend([
                ("cause".into(), json!("handler")),
                ("issue".into(), json!("F-AAAA")),
                ("template".into(), json!(template)),
                ("next".into(), json!("ended")),
                ("quote".into(), json!(format!("Das geht nicht. {hostile}"))),
            ]);
        }
        lines.push(call.into());
    }
    lines
}

#[tokio::test]
async fn the_frictions_of_a_file_name_what_hurts_first() {
    let lines = world(10..=16, "locked", "");
    Schemas::read().facts(&lines);
    let file = FactsFile::of_lines(&lines);
    let answer = file.json(&[]).await;
    assert_eq!(answer["window"], json!({"from": "2026-10-20", "to": "2026-11-16"}));
    let friction = &answer["frictions"][0];
    assert_eq!(
        [&friction["id"], &friction["tool"], &friction["cause"], &friction["detector"]],
        ["F-AAAA", "todo.complete", "handler", "dead-end"]
    );
    assert_eq!(friction["personas"], json!(["anna", "ben"]));
    let numbers = ["personasExposed", "runs", "runsExposed", "calls"];
    assert_eq!(numbers.map(|name| friction[name].as_u64().unwrap()), [4, 14, 28, 14], "{friction}");
    assert_eq!(friction["next"]["ended"], 14);
    assert_eq!(friction["firstSeen"]["at"], at(10, 0));

    let text = file.answer(&[]).await;
    let line =
        text.lines().find(|line| line.contains("F-AAAA")).unwrap_or_else(|| panic!("{text}"));
    for part in ["2 of 4 personas", "14 of 28 runs", "todo.complete", "Task ‹uuid›: locked"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(file.answer(&[]).await, text, "the same facts have the same bytes");
}

#[tokio::test]
async fn the_window_is_the_days_that_were_asked_for() {
    let file = FactsFile::of_lines(&world(10..=16, "locked", ""));
    for (arguments, window, runs) in [
        (&["--days", "1"][..], ("2026-11-16", "2026-11-16"), 2),
        (&["--days", "3"], ("2026-11-14", "2026-11-16"), 6),
        (&["--from", "2026-11-11", "--to", "2026-11-12"], ("2026-11-11", "2026-11-12"), 4),
    ] {
        let answer = file.json(arguments).await;
        assert_eq!(answer["window"], json!({"from": window.0, "to": window.1}), "{arguments:?}");
        assert_eq!(answer["frictions"][0]["runs"], runs, "{arguments:?}");
    }
}

#[tokio::test]
async fn nothing_found_is_no_all_clear() {
    let file = FactsFile::of_lines(&world(10..=16, "locked", ""));
    let before = ["--from", "2026-10-01", "--to", "2026-10-02"];
    assert_eq!(file.json(&before).await["frictions"], json!([]));
    let text = file.answer(&before).await;
    assert!(text.contains("no run"), "{text}");
    let calm: Vec<_> =
        world(10..=10, "", "").into_iter().filter(|line| line["cause"].is_null()).collect();
    let text = FactsFile::of_lines(&calm).answer(&[]).await;
    assert!(text.contains("4 runs of 4 personas"), "{text}");
}

#[tokio::test]
async fn a_file_without_any_fact_has_an_empty_list() {
    let file = FactsFile::of_lines(&world(10..=16, "", "")[..1]);
    let answer = file.json(&[]).await;
    assert_eq!(answer["window"], json!({"from": null, "to": null}));
    assert_eq!((&answer["frictions"], &answer["muted"]), (&json!([]), &json!(0)));
    assert!(file.answer(&[]).await.contains("no runs yet"));
}

#[tokio::test]
async fn null_is_what_a_missing_field_is() {
    let lines = world(10..=16, "locked", "");
    let expected = FactsFile::of_lines(&lines).answer(&[]).await;
    let mut nulls = lines;
    for line in &mut nulls {
        let fields: &[&str] = match line["kind"].as_str().unwrap() {
            "catalog" => &["hidden"],
            "run" => &["endedAt", "serverTime", "model", "catalog"],
            "call" => &["latencyMs", "tries", "chars", "cut", "limitOffered", "inputHash"],
            _ => &[],
        };
        fields.iter().for_each(|field| line[field] = Value::Null);
    }
    Schemas::read().facts(&nulls);
    assert_eq!(FactsFile::of_lines(&nulls).answer(&[]).await, expected);
}

#[tokio::test]
async fn hostile_texts_break_no_output() {
    let lines = world(10..=16, HOSTILE, HOSTILE);
    Schemas::read().facts(&lines);
    let file = FactsFile::of_lines(&lines);
    let answer = file.json(&[]).await;
    assert_eq!(answer["frictions"][0]["runs"], 14, "{answer}");
    let text = file.answer(&[]).await;
    let is_harmless = |c: char| c == '\n' || !c.is_control() && !"\u{202e}\u{2028}".contains(c);
    assert!(text.chars().all(is_harmless), "{text:?}");
    assert_eq!(text.lines().filter(|line| line.contains("F-AAAA")).count(), 1, "{text}");
    assert!(!text.lines().any(|line| line.starts_with('#')), "{text}");
}

#[tokio::test]
async fn long_texts_make_no_long_output() {
    let long = "ü".repeat(200_000);
    let lines = world(10..=11, &long, &long[..1_000]);
    let file = FactsFile::of_lines(&lines);
    for arguments in [&["--format", "json"][..], &[]] {
        let answer = file.answer(arguments).await;
        assert!(answer.len() < 20_000, "{arguments:?}: {} bytes", answer.len());
    }
}

#[tokio::test]
async fn a_bad_line_is_named_and_nothing_is_printed() {
    let good = text(&world(10..=12, "locked", ""));
    let number = good.lines().count() + 1;
    let long = "x".repeat(17_000_000);
    for bad in [
        "no json".into(),
        "{\"kind\":".into(),
        json!({"kind": "dream"}).to_string(),
        json!({"kind": "tick"}).to_string(),
        json!({"kind": "tick", "at": "noon"}).to_string(),
        json!({"kind": "meta", "schema": "facts/v1", "tz": "UTC"}).to_string(),
        json!({"kind": "absence", "slot": "2026-11-10", "persona": "anna", "why": "lazy"})
            .to_string(),
        json!({"kind": "run", "id": "r", "persona": "anna", "at": at(1, 0), "outcome": "fun"})
            .to_string(),
        json!({"kind": "call", "run": "run-10-0", "number": 2, "at": at(10, 0), "tool": "t",
            "module": "m", "ok": false, "cause": "luck"})
        .to_string(),
        json!({"kind": "call", "run": "unknown", "number": 2, "at": at(10, 0), "tool": "t",
            "module": "m", "ok": true})
        .to_string(),
        json!({"kind": "tick", "at": at(10, 0), "x": long}).to_string(),
        json!({"kind": HOSTILE}).to_string(),
        json!({"kind": "persona", "id": "p".repeat(257), "label": "p"}).to_string(),
        json!({"kind": "tool", "run": "run-10-0", "tool": "t", "calls": 1.5}).to_string(),
    ] {
        let shown: String = bad.chars().take(80).collect();
        for end in ["", "\n", "\n{\"kind\":\"tick\",\"at\":\"2026-11-10T10:00:00Z\"}\n"] {
            let file = FactsFile::of(format!("{good}{bad}{end}").as_bytes());
            let Finished { code, stdout, stderr } = file.frictions(&[]).await;
            assert_eq!((code, stdout.as_str()), (Some(65), ""), "{shown}: {stderr}");
            assert!(stderr.contains(&format!("line {number}: ")), "{shown}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{shown}: {stderr}");
            assert!(
                stderr.len() < 1_000 && !stderr.contains(['\0', '\u{1b}']),
                "{shown}: {stderr}"
            );
        }
    }
    let tick = format!("{}\n", json!({"kind": "tick", "at": at(10, 0)}));
    for first in [&b""[..], b"\xff\n", tick.as_bytes()] {
        let Finished { code, stdout, stderr } = FactsFile::of(first).frictions(&[]).await;
        assert_eq!((code, stdout.as_str()), (Some(65), ""), "{stderr}");
        assert!(stderr.contains("line 1: expected"), "{stderr}");
    }
}

#[tokio::test]
async fn arguments_that_make_no_sense_exit_with_64_and_a_missing_file_with_1() {
    let file = FactsFile::of_lines(&world(10..=10, "locked", ""));
    let path = file.0.to_str().unwrap();
    for arguments in [
        &["--days", "0"][..],
        &["--days", "-1"],
        &["--days", "many"],
        &["--days", "7", "--from", "2026-11-10", "--to", "2026-11-11"],
        &["--from", "2026-11-10"],
        &["--to", "2026-11-10"],
        &["--from", "2026-11-10", "--to", "2026-11-31"],
        &["--from", "2026-11-11", "--to", "2026-11-10"],
        &["--format", "html"],
        &["--facts"],
        &["mute", "F-AAAA"],
    ] {
        let ended = file.frictions(arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    for arguments in [
        &["export", "--from", "2026-11-11", "--to", "2026-11-10"][..],
        &["export", "--facts", path],
        &["release"],
        &["release", ""],
        &["release", "a\u{202e}b"],
        &["release", &"x".repeat(10_000)],
        &["release", "1", "--note", "two\nlines"],
        &["frictions", "mute", "F-AAAA", "--until", "2026-12-01"],
        &["frictions", "mute", "F-AAAA", "--until", "soon", "--reason", "known"],
        &["frictions", "mute", "F-AAAA", "--until", "2026-12-01", "--reason", " "],
        &["frictions", "unmute"],
    ] {
        let ended = finish([], arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    let missing = format!("{path}.missing");
    let ended = finish([], &["frictions", "--facts", &missing]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains(&missing), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[tokio::test]
async fn facts_may_come_from_standard_input_and_their_frictions_be_cut_off() {
    let lines = text(&world(10..=16, "locked", ""));
    let file = FactsFile::of(lines.as_bytes());
    let command = |stdout: Stdio| {
        let mut command = Command::new(BINARY);
        command.args(["frictions", "--facts", "-"]).env_clear().kill_on_drop(true);
        command.stdin(std::fs::File::open(&file.0).unwrap());
        command.stdout(stdout).stderr(Stdio::piped());
        command
    };
    let output = patiently("the process", command(Stdio::piped()).output()).await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), file.answer(&[]).await);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = patiently("the process", command(writer.into()).output()).await.unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[tokio::test]
async fn what_a_journal_exports_has_the_frictions_of_the_journal_beside_the_daemon_and_after_it() {
    let setup = Setup::many(&["anna", "ben"]).short_days();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let daemon = Daemon::start(&peers, &[]).await;
    let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let ask = async |arguments: &[&str]| {
        let data_dir = ("RUNNER_DATA_DIR".into(), peers.data_folder().into());
        let Finished { code, stdout, stderr } = finish([data_dir], arguments).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        stdout
    };
    let export = ask(&["export"]).await;
    let lines: Vec<Value> =
        export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Schemas::read().facts(&lines);
    assert_eq!(lines.iter().filter(|line| line["kind"] == "run").count(), 2, "{export}");
    let file = FactsFile::of(export.as_bytes());
    for format in ["text", "json"] {
        let arguments = ["--format", format];
        let here = ask(&[&["frictions"][..], &arguments].concat()).await;
        assert_eq!(here, file.answer(&arguments).await);
    }
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code, Some(0));
    assert_eq!(ask(&["export"]).await, export, "the daemon is not needed");
}
