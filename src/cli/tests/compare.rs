//! Tests of `compare` with a journal and with what the journal exports.

use super::{
    facts::{exported, failure},
    *,
};
use crate::{
    cli::arguments::{Compare, Format},
    facts::line,
    journal::DeploymentSource,
};

const NAMES: [&str; 3] = ["anna", "ben", "cleo"];
const DAY: u64 = 24 * 60 * 60;

/// The facts of a run in which `todo.complete` worked, and was rated.
fn success() -> RunFacts {
    let tool = json!({"run": "", "tool": "todo.complete", "calls": 1});
    let module = json!({"run": "", "module": "todo", "rating": 4, "grounded": true, "calls": [1]});
    let (tool, module): (line::Tool, line::Module) =
        (serde_json::from_value(tool).unwrap(), serde_json::from_value(module).unwrap());
    RunFacts { tools: vec![tool], modules: vec![module], ..RunFacts::default() }
}

/// A journal with the runs of three personas on 21 days: `todo.complete` fails since the second deployment, which is
/// current on the last seven of them.
async fn journal_of_two_builds() -> Journal {
    let journal = Journal::in_memory().await.unwrap();
    for day in 0..21 {
        let begin = at(day * DAY);
        let version = if day < 14 { "2026.11.1" } else { "2026.11.2" };
        let build = journal.meet_deployment(version, DeploymentSource::Env, begin).await.unwrap();
        let build = build.unwrap().number;
        for (minute, name) in (1..).zip(NAMES) {
            let (run, now) = (RunId::new(), begin + Duration::from_secs(minute * 60));
            let (persona, slot) = (persona(name), Slot::of(Cadence::Daily, now));
            let begun = RunSettings { deployment: Some(build), ..RunSettings::unknown(now) };
            let model = "claude-haiku-5-5";
            let new = NewRun { id: run, persona: &persona, slot: &slot, attempt: 1, model, begun };
            journal.begin_run(new, now).await.unwrap();
            let facts = if day < 14 { success() } else { failure(now) };
            let end = EndedRun { facts, ..ended(RunState::Finished, "done") };
            journal.end_run(run, &end, &[], now + Duration::from_secs(30)).await.unwrap();
        }
    }
    journal
}

fn asked(format: Format, facts: Option<std::path::PathBuf>) -> Question {
    Question::Compare(Compare { a: None, b: None, strict: false, format, facts })
}

#[tokio::test]
async fn what_is_exported_has_the_same_comparison() {
    let journal = journal_of_two_builds().await;
    let file = std::env::temp_dir().join(format!("mana-facts-{}.jsonl", Uuid::now_v7()));
    std::fs::write(&file, exported(&journal).await).unwrap();
    for format in [Format::Json, Format::Text] {
        let here = render(&asked(format, None), &journal, NOON).await.unwrap();
        let there = of_export(&asked(format, Some(file.clone()))).unwrap().unwrap();
        assert_eq!(here.text, there.text);
        assert_eq!((here.ending.code, there.ending.code), (3, 3), "{}", here.text);
        assert!(here.text.contains("2026.11.2") && here.text.contains("todo.complete"));
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn the_schema_lists_every_word() {
    fn words<L: crate::domain::Label>() -> Vec<serde_json::Value> {
        L::ALL.iter().map(|label| label.as_str().into()).collect()
    }
    use crate::facts::compare::{Fact, Overall, Verdict};
    let schema = include_str!("../../../docs/schema/compare-v1.json");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let finding = &schema["$defs"]["finding"]["properties"];
    assert_eq!(schema["properties"]["verdict"]["enum"], json!(words::<Overall>()));
    assert_eq!(finding["verdict"]["enum"], json!(words::<Verdict>()));
    assert_eq!(finding["fact"]["enum"], json!(words::<Fact>()));
}
