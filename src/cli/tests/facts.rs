//! Tests of the commands about facts, with a journal that two failing runs of each of two personas have ended in.

use std::path::PathBuf;

use jiff::civil::{Date, date};
use serde_json::Value;

use super::*;
use crate::{
    cli::arguments::{Export, Format, Frictions, FrictionsCommand, Mute, Release},
    domain::{Cause, Label, Next, ProductVersion},
    facts::{Fingerprint, RunFacts, SeenIssue, detect::Detector, line, line::Line, state::State},
};

const DAY: u64 = 24 * 60 * 60;

/// The facts of a run in which `todo.complete` failed.
pub(super) fn failure(at: Timestamp) -> RunFacts {
    let fingerprint = Fingerprint(0x0123_4567_89ab_cdef);
    let template = format!("Task ‹uuid› is locked{ESCAPE}");
    let call = json!({"run": "", "number": 1, "at": at, "tool": "todo.complete", "module": "todo",
        "ok": false, "cause": "handler", "template": template, "next": "ended"});
    let module = json!({"run": "", "module": "todo", "writes": 1, "failed": 1, "deadEnd": true});
    let tool =
        json!({"run": "", "tool": "todo.complete", "calls": 1, "failed": 1, "deadEnd": true});
    let hit = json!({"issue": "", "run": "", "tools": ["todo.complete"]});
    let issue = SeenIssue {
        fingerprint,
        tool: Some("todo.complete".into()),
        cause: Cause::Handler,
        template,
        at,
        call: 1,
    };
    RunFacts {
        calls: vec![(serde_json::from_value(call).unwrap(), Some(fingerprint))],
        modules: vec![serde_json::from_value(module).unwrap()],
        hits: vec![(issue, serde_json::from_value(hit).unwrap())],
        tools: vec![serde_json::from_value(tool).unwrap()],
    }
}

/// A journal with four runs on two days, and the id of their issue.
pub(super) async fn journal_with_facts() -> (Journal, String) {
    let journal = Journal::in_memory().await.unwrap();
    let issue = fill(&journal).await;
    (journal, issue)
}

/// Writes four runs on two days to a journal. Returns the id of their issue.
pub(super) async fn fill(journal: &Journal) -> String {
    for (n, name, day) in [(1, "anna", 0), (2, "ben", 0), (3, "anna", 1), (4, "ben", 1)] {
        let now = at(day * DAY + u64::from(n) * 60);
        let run = begin(journal, n, name, 1, now).await;
        let end = EndedRun { facts: failure(now), ..ended(RunState::Finished, "done") };
        journal.end_run(run, &end, &[], now + Duration::from_secs(30)).await.unwrap();
    }
    let issue = lines(journal).await.into_iter().find_map(|line| match line {
        Line::Issue(issue) => Some(issue.id),
        _ => None,
    });
    issue.unwrap()
}

pub(super) async fn exported(journal: &Journal) -> Vec<u8> {
    let mut output = Vec::new();
    export::print(journal, &Export { range: Default::default() }, &mut output).await.unwrap();
    output
}

async fn lines(journal: &Journal) -> Vec<Line> {
    let mut lines = Vec::new();
    crate::facts::export::read(&*exported(journal).await, |line| {
        lines.push(line);
        Ok(())
    })
    .unwrap();
    lines
}

fn asked(format: Format, facts: Option<PathBuf>) -> Question {
    let asked = Frictions { days: 28, range: Default::default(), format, facts };
    Question::Frictions { asked, command: None }
}

fn below(command: FrictionsCommand) -> Question {
    let Question::Frictions { asked, .. } = asked(Format::Text, None) else { unreachable!() };
    Question::Frictions { asked, command: Some(command) }
}

fn mute(id: &str, until: Date) -> Question {
    let (id, reason) = (id.to_owned(), "known, MANA-1".to_owned());
    below(FrictionsCommand::Mute(Mute { id, until, reason }))
}

fn unmute(id: &str) -> Question {
    below(FrictionsCommand::Unmute { id: id.to_owned() })
}

fn release(version: &str, format: Format) -> Question {
    let version = ProductVersion::parse(version).unwrap();
    Question::Release(Release { version, note: None, format })
}

async fn json(journal: &Journal) -> Value {
    let text = render(&asked(Format::Json, None), journal, NOON).await.unwrap().text;
    serde_json::from_str(&text).unwrap()
}

/// The exit code and the text of the error that the command ends with.
async fn refused(journal: &Journal, question: &Question) -> (u8, String) {
    let error = render(question, journal, NOON).await.unwrap_err();
    (error.exit_code(), error.with_folder(Path::new("/data")))
}

#[tokio::test]
async fn what_is_exported_has_the_same_frictions() {
    let (journal, issue) = journal_with_facts().await;
    let export = exported(&journal).await;
    let file = std::env::temp_dir().join(format!("mana-facts-{}.jsonl", Uuid::now_v7()));
    std::fs::write(&file, &export).unwrap();
    for format in [Format::Json, Format::Text] {
        let here = render(&asked(format, None), &journal, NOON).await.unwrap().text;
        let there = of_export(&asked(format, Some(file.clone()))).unwrap().unwrap().text;
        assert_eq!(here, there);
        assert!(here.contains(&issue), "{here}");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(exported(&journal).await, export, "the same bytes each time");
}

#[tokio::test]
async fn the_frictions_are_one_line_each() {
    let (journal, issue) = journal_with_facts().await;
    let text = rendered(&journal, asked(Format::Text, None)).await;
    assert!(text.contains("4 runs of 2 personas"), "{text}");
    let lines: Vec<_> = text.lines().filter(|line| line.contains(&issue)).collect();
    let [line] = lines[..] else { panic!("{text}") };
    for part in [
        "2 of 2 personas",
        "4 of 4 runs [",
        "2026-11-21",
        "2026-11-22",
        "ended 4",
        "todo.complete fails and does not work later: Task ‹uuid› is locked\\u{1b}",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[tokio::test]
async fn a_muted_issue_comes_last_until_it_is_unmuted() {
    let (journal, issue) = journal_with_facts().await;
    let until = date(2027, 2, 20);
    let text = rendered(&journal, mute(&issue, until)).await;
    assert_eq!(text, format!("{issue} is muted until 2027-02-20.\n"));
    let answer = json(&journal).await;
    assert_eq!((&answer["muted"], &answer["frictions"][0]["state"]), (&json!(1), &json!("muted")));
    let mutes = lines(&journal).await.into_iter().filter_map(|line| match line {
        Line::Mute(mute) => Some(mute),
        _ => None,
    });
    let [line::Mute { from, until, reason, .. }] = &mutes.collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!(*from, at(DAY + 4 * 60 + 30), "the time of the newest fact");
    assert_eq!(until.to_string(), "2027-02-20T00:00:00Z");
    assert_eq!(reason, "known, MANA-1");
    for _ in 0..2 {
        let text = rendered(&journal, unmute(&issue)).await;
        assert_eq!(text, format!("{issue} is not muted.\n"));
        assert_eq!(json(&journal).await["muted"], 0);
    }
}

#[tokio::test]
async fn a_mute_until_the_day_after_the_newest_fact_holds_on_the_day_of_the_newest_fact_only() {
    let (journal, issue) = journal_with_facts().await;
    rendered(&journal, mute(&issue, date(2026, 11, 23))).await;
    assert_eq!(json(&journal).await["muted"], 1);
    let now = at(2 * DAY);
    let run = begin(&journal, 5, "anna", 1, now).await;
    let end = EndedRun { facts: failure(now), ..ended(RunState::Finished, "done") };
    journal.end_run(run, &end, &[], now + Duration::from_secs(30)).await.unwrap();
    assert_eq!(json(&journal).await["muted"], 0);
}

#[tokio::test]
async fn a_mute_ends_within_90_days_of_the_newest_fact() {
    let (journal, issue) = journal_with_facts().await;
    for (until, expected) in [
        (date(2026, 11, 22), "would have ended: the newest fact is of 2026-11-22"),
        (date(2026, 1, 1), "would have ended"),
        (date(2027, 2, 21), "at most 90 days after the newest fact, which is of 2026-11-22"),
        (Date::MAX, "at most 90 days"),
    ] {
        let (code, text) = refused(&journal, &mute(&issue, until)).await;
        assert_eq!(code, 64, "{until}");
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(json(&journal).await["muted"], 0);
}

#[tokio::test]
async fn an_id_that_no_issue_has_is_refused_on_one_line() {
    let (journal, _) = journal_with_facts().await;
    let empty = Journal::in_memory().await.unwrap();
    let odd = format!("F-{ESCAPE}\n{}", "x".repeat(10_000));
    for (journal, id) in [(&journal, "F-ZZZZ"), (&journal, &odd), (&empty, "F-ZZZZ")] {
        for question in [mute(id, date(2026, 12, 1)), unmute(id)] {
            let (code, text) = refused(journal, &question).await;
            assert_eq!(code, 64);
            assert!(text.starts_with("the journal has no issue F-") && text.len() < 200, "{text}");
            assert!(text.chars().all(|c| !c.is_control()), "{text}");
        }
    }
}

#[tokio::test]
async fn a_journal_without_facts_has_an_empty_list() {
    let journal = Journal::in_memory().await.unwrap();
    let answer = json(&journal).await;
    assert_eq!(answer["window"], json!({"from": null, "to": null}));
    assert_eq!((&answer["frictions"], &answer["muted"]), (&json!([]), &json!(0)));
    let text = rendered(&journal, asked(Format::Text, None)).await;
    assert!(text.starts_with("There are no runs yet"), "{text}");
    assert!(matches!(lines(&journal).await[..], [Line::Meta(_)]));
}

#[tokio::test]
async fn a_release_is_left_for_the_daemon_once() {
    let journal = Journal::in_memory().await.unwrap();
    let version = "<b>1.2|`x`";
    let expected = format!("D-1: {version} is the current version from the next tick on.\n");
    for _ in 0..2 {
        assert_eq!(rendered(&journal, release(version, Format::Text)).await, expected);
    }
    journal.adopt_releases(NOON).await.unwrap();
    let text = rendered(&journal, release(version, Format::Text)).await;
    assert_eq!(text, format!("D-1: {version} is the current version already.\n"));
    let text = rendered(&journal, release("1.3", Format::Json)).await;
    assert_eq!(text, "{\"ok\":true,\"deployment\":{\"id\":\"D-2\",\"version\":\"1.3\"}}\n");
}

#[tokio::test]
async fn nobody_has_to_read_an_export_to_its_end() {
    let (journal, _) = journal_with_facts().await;
    let mut pipe = Pipe(Vec::new(), 30);
    let asked = Export { range: Default::default() };
    export::print(&journal, &asked, &mut pipe).await.unwrap();
    assert_eq!(pipe.0.len(), 30);
}

#[test]
fn the_schema_lists_every_word() {
    fn words<L: Label>() -> Vec<Value> {
        L::ALL.iter().map(|label| label.as_str().into()).collect()
    }
    let schema = include_str!("../../../docs/schema/frictions-v1.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let friction = &schema["$defs"]["friction"]["properties"];
    let sorted = |mut words: Vec<Value>| {
        words.sort_by_key(ToString::to_string);
        words
    };
    let listed = |property: &Value| {
        let words = property["enum"].as_array().unwrap();
        sorted(words.iter().filter(|word| !word.is_null()).cloned().collect())
    };
    assert_eq!(listed(&friction["state"]), sorted(words::<State>()));
    assert_eq!(listed(&friction["detector"]), sorted(words::<Detector>()));
    assert_eq!(listed(&friction["detectors"]["items"]), sorted(words::<Detector>()));
    assert_eq!(listed(&friction["next"]["propertyNames"]), sorted(words::<Next>()));
    let pain = Cause::ALL.iter().filter(|cause| cause.is_pain());
    let pain = pain.map(|cause| cause.as_str().into()).collect();
    assert_eq!(listed(&friction["cause"]), sorted(pain));
}
