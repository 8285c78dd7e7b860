//! The report of the fourteen days.

use std::{ffi::OsString, path::Path};

use jiff::Timestamp;
use mana_persona_runner::journal::Journal;
use serde_json::{Value, json};

use super::{DAYS, Fortnight, STRUCK, TOOL, day};
use crate::{
    facts_files::schema::Schemas,
    process::daemon::{Finished, finish},
};

/// The forms of a report.
const FORMS: [&str; 3] = ["html", "md", "json"];

/// The report in all forms, from several places.
pub(super) struct Reports {
    /// Of the journal.
    first: [String; 3],
    /// Each with what is different.
    others: Vec<(&'static str, [String; 3])>,
    english: String,
}

impl Reports {
    /// Asks the command line about a journal that no daemon uses, and about its export. Deletes the steps of the journal.
    pub(super) async fn read(folder: &Path, export: &Path) -> Self {
        let data_dir = || [("RUNNER_DATA_DIR".into(), folder.into())];
        let abroad = [data_dir()[0].clone(), ("TZ".into(), "Asia/Tokyo".into())];
        let export = export.to_str().unwrap();
        let first = forms(&data_dir(), &[]).await;
        let mut others = vec![
            ("a second time", forms(&data_dir(), &[]).await),
            ("with another TZ", forms(&abroad, &[]).await),
            ("from an export", forms(&abroad, &["--facts", export]).await),
        ];
        let english = one(&data_dir(), &["--lang", "en", "--format", "md"]).await;
        delete_steps(folder).await;
        others.push(("without the steps", forms(&data_dir(), &[]).await));
        Self { first, others, english }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.first[2]).unwrap()
    }
}

async fn forms(vars: &[(OsString, OsString)], arguments: &[&str]) -> [String; 3] {
    let form = async |form| one(vars, &[&["--format", form], arguments].concat()).await;
    let [html, markdown, json] = FORMS;
    [form(html).await, form(markdown).await, form(json).await]
}

/// The report of all fourteen days.
async fn one(vars: &[(OsString, OsString)], arguments: &[&str]) -> String {
    let [from, to] = [day(1), day(DAYS)].map(|day| day.to_string());
    let days = ["report", "--from", &from, "--to", &to];
    let Finished { code, stdout, stderr } =
        finish(vars.iter().cloned(), &[&days[..], arguments].concat()).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

/// Deletes the steps of all runs but those that reports quote.
async fn delete_steps(folder: &Path) {
    let journal = Journal::open(folder).await.unwrap();
    let mut pruned = 0;
    loop {
        match journal.prune(Timestamp::MAX, Timestamp::UNIX_EPOCH).await.unwrap() {
            0 => break,
            more => pruned += more,
        }
    }
    journal.close().await;
    assert!(pruned > 50, "{pruned} runs");
}

pub(super) fn names_the_fault_first_with_the_counts_of_the_frictions(lived: &Fortnight) {
    let report = lived.reports.json();
    Schemas::read().report(&report);
    assert_eq!(report["window"], json!({"from": day(1), "to": day(DAYS)}));
    let raised = |it: &Value| it["detector"].is_string();
    let frictions: Vec<_> = lived.frictions().into_iter().filter(raised).collect();
    // Both windows have all days.
    assert_eq!(report["frictions"], json!(frictions));
    let fault = &report["frictions"][0];
    let number = |name: &str| fault[name].as_u64().unwrap();
    let personas = [fault["personas"].as_array().unwrap().len() as u64, number("personasExposed")];
    let runs = [number("runs"), number("runsExposed")];
    assert_eq!(personas[0] as usize, STRUCK.len());
    let german =
        format!("{} von {} Personas, {} von {} Läufen", personas[0], personas[1], runs[0], runs[1]);
    let english =
        format!("{} of {} personas, {} of {} runs", personas[0], personas[1], runs[0], runs[1]);
    let ids =
        || report["frictions"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap());
    let id = ids().next().unwrap();
    for (text, counts) in [
        (&lived.reports.first[0], &german),
        (&lived.reports.first[1], &german),
        (&lived.reports.english, &english),
    ] {
        let first = text.find(id).unwrap();
        for other in ids().skip(1).filter_map(|other| text.find(other)) {
            assert!(first < other, "{text}");
        }
        let all: Vec<_> = text.match_indices(counts.as_str()).collect();
        assert!(all.len() >= 2, "{counts}: once in the sentence, once below, in {text}");
    }
    let sentence = report["sentence"].as_str().unwrap();
    assert!(sentence.contains(TOOL) && sentence.contains(&german), "{sentence}");
    // While mana-mcp is away for a short time, runs wait for it, and their calls succeed later.
    let in_vain = lived.failed("unreachable");
    assert_eq!(report["unreachable"].as_array().unwrap().is_empty(), in_vain.is_empty());
}

pub(super) fn is_the_same_each_time_in_each_zone_from_an_export_and_without_steps(
    lived: &Fortnight,
) {
    let Reports { first, others, .. } = &lived.reports;
    for (how, forms) in others {
        for (form, (is, expected)) in FORMS.iter().zip(forms.iter().zip(first)) {
            assert!(is == expected, "{form} {how}:\n{is}\ninstead of\n{expected}");
        }
    }
    assert!(first[1].lines().count() <= 150 && first[0].len() <= 300_000);
}
