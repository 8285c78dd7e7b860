//! Tests of `report`, with the journal of the tests of facts, whose runs are of 2026-W47.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use super::{
    facts::{exported, fill, journal_with_facts},
    *,
};
use crate::{
    cli::arguments::Report,
    domain::{Label, Language},
    report::Form,
};

fn asked(form: Form) -> Report {
    let week = "2026-W47".parse().ok();
    Report { week, format: Some(form), lang: Some(Language::German), ..Report::default() }
}

/// A folder of its own.
fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mana-report-{}", Uuid::now_v7()));
    fs::create_dir(&folder).unwrap();
    folder
}

#[tokio::test]
async fn a_journal_and_its_export_have_the_same_report_in_all_forms_and_languages() {
    let (journal, issue) = journal_with_facts().await;
    let folder = folder();
    let facts = folder.join("facts.jsonl");
    fs::write(&facts, exported(&journal).await).unwrap();
    for form in Form::ALL {
        for language in Language::ALL {
            let here = Report { lang: Some(*language), ..asked(*form) };
            let there = Report { facts: Some(facts.clone()), ..here.clone() };
            let here = render(&Question::Report(here), &journal, NOON).await.unwrap().text;
            let there = of_export(&Question::Report(there)).unwrap().unwrap().text;
            assert_eq!(here, there);
            assert!(*form == Form::Html || here.contains(&issue), "{here}");
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_report_is_written_to_a_file_as_a_whole_in_the_form_of_its_ending() {
    let (journal, _) = journal_with_facts().await;
    let folder = folder();
    let out = folder.join("week.md");
    let (target, other) = (folder.join("target.md"), folder.join("other"));
    fs::write(&target, "of last week").unwrap();
    symlink(&target, &out).unwrap();
    // A link that somebody has put in the place of the temporary file.
    fs::write(&other, "kept").unwrap();
    symlink(&other, folder.join(format!("target.md.{}.tmp", std::process::id()))).unwrap();
    let to_file = Report { out: Some(out.clone()), format: None, ..asked(Form::Html) };
    let answer = render(&Question::Report(to_file), &journal, NOON).await.unwrap();
    assert_eq!(answer.text, "");
    let printed = render(&Question::Report(asked(Form::Markdown)), &journal, NOON).await.unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), printed.text);
    assert_eq!(fs::read_to_string(&target).unwrap(), printed.text, "the link stays");
    assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "nothing else is left");
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_an_error_that_names_it() {
    let (journal, _) = journal_with_facts().await;
    let folder = folder();
    let out = Some(folder.join("missing").join("week.json"));
    let to_file = Report { out, ..asked(Form::Json) };
    let error = render(&Question::Report(to_file), &journal, NOON).await.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("missing/week.json"), "{error}");
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_report_never_replaces_a_journal_or_the_export_that_it_is_made_of() {
    let (journal, _) = journal_with_facts().await;
    let export = exported(&journal).await;
    let folder = folder();
    let (facts, other) = (folder.join("facts.jsonl"), folder.join("journal.db"));
    fs::write(&facts, export).unwrap();
    fs::write(&other, "SQLite format 3\0 and pages").unwrap();
    let asked_of_export = Report {
        out: Some(folder.join(".").join("facts.jsonl")),
        facts: Some(facts.clone()),
        ..asked(Form::Json)
    };
    let of_export = of_export(&Question::Report(asked_of_export)).map(drop);
    let asked_of_journal = Report { out: Some(other.clone()), ..asked(Form::Json) };
    let of_journal = render(&Question::Report(asked_of_journal), &journal, NOON).await.map(drop);
    for (refused, file) in [(of_export, facts), (of_journal, other)] {
        let error = refused.unwrap_err();
        assert_eq!(error.exit_code(), 64, "{error}");
        assert!(!fs::read_to_string(file).unwrap().contains("report/v1"));
    }
    let to_standard_output = Report { out: Some("-".into()), ..asked(Form::Json) };
    let printed = render(&Question::Report(to_standard_output), &journal, NOON).await.unwrap();
    assert!(printed.text.contains("report/v1"));
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_week_without_facts_has_an_honest_report() {
    let journal = Journal::in_memory().await.unwrap();
    let question = Question::Report(asked(Form::Markdown));
    let text = render(&question, &journal, NOON).await.unwrap().text;
    assert!(text.starts_with("# Es ist noch nichts aufgezeichnet"), "{text}");
}

#[tokio::test]
async fn the_steps_of_the_quoted_runs_of_a_journal_are_kept_and_an_export_pins_nothing() {
    for is_export in [false, true] {
        let folder = folder();
        let journal = Journal::open(&folder).await.unwrap();
        fill(&journal).await;
        let steps = async || {
            let mut kept = Vec::new();
            for n in 1..=4 {
                kept.push(journal.steps(id(n)).await.unwrap().len());
            }
            kept
        };
        for n in 1..=4 {
            journal.append_step(id(n), 0, "{}", NOON).await.unwrap();
        }
        let facts = is_export.then(|| folder.join("facts.jsonl"));
        if let Some(facts) = &facts {
            fs::write(facts, exported(&journal).await).unwrap();
        }
        let question = Question::Report(Report { facts, ..asked(Form::Json) });
        let mut output = Vec::new();
        answer(&question, &folder, &mut output).await.unwrap();
        assert!(output.starts_with(b"{"));
        // All runs are old, and the pins are as old as this test.
        while journal.prune(at(10 * 24 * 60 * 60), Timestamp::now()).await.unwrap() > 0 {}
        assert_eq!(steps().await.iter().sum::<usize>(), usize::from(!is_export));
        journal.close().await;
        fs::remove_dir_all(&folder).unwrap();
    }
}
