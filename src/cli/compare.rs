//! Says whether the product has become worse, from the facts of a journal or of an export.

mod page;

use std::path::Path;

use super::{
    Answer, Ending,
    arguments::{Compare, Format},
    error::CliError,
    facts,
};
use crate::{
    facts::{
        compare::{Overall, compare},
        window::{Builder, Days},
    },
    journal::{History, Journal},
};

/// Exit code if a fact is worse.
const WORSE: u8 = 3;
/// Exit code with `--strict` if there is no comparison.
const NO_COMPARISON: u8 = 4;

/// The comparison of two sides of an export.
pub(super) fn of_export(file: &Path, asked: &Compare) -> Result<Answer, CliError> {
    answer(facts::of_export(file)?, asked)
}

/// The comparison of two sides of a journal. No fact that is compared needs a single call.
pub(super) async fn of_journal(journal: &Journal, asked: &Compare) -> Result<Answer, CliError> {
    answer(journal.facts(History::NoCalls).await?, asked)
}

fn answer(facts: Builder, asked: &Compare) -> Result<Answer, CliError> {
    let window = facts.finish(Days::All)?;
    let comparison = compare(&window, asked.a.as_deref(), asked.b.as_deref())?;
    let text = match asked.format {
        Format::Text => page::render(&window, &comparison),
        Format::Json => format!("{}\n", serde_json::json!(comparison)),
    };
    let without = if asked.strict { NO_COMPARISON } else { 0 };
    let (code, has_answer) = match comparison.verdict {
        Overall::Worse => (WORSE, true),
        Overall::NothingWorse => (0, true),
        Overall::NotComparable | Overall::NothingTestable => (without, false),
    };
    let remark = (!has_answer).then(|| page::sentence(&comparison));
    Ok(Answer { text, ending: Ending { code, remark }, ..Answer::default() })
}
