//! Prints what hurts in the product, from the facts of a journal or of an export.

mod page;

use std::path::Path;

use super::{
    arguments::{Format, Frictions},
    error::CliError,
    facts,
};
use crate::{
    facts::{frictions::frictions, window::Window},
    journal::Journal,
};

/// The frictions of an export.
pub(super) fn of_export(file: &Path, asked: &Frictions) -> Result<String, CliError> {
    let window = facts::of_export(file)?.finish(asked.days()?)?;
    Ok(render(&window, asked.format))
}

/// The frictions of a journal.
pub(super) async fn of_journal(journal: &Journal, asked: &Frictions) -> Result<String, CliError> {
    let days = asked.days()?;
    let window = journal.facts_for(days).await?.finish(days)?;
    Ok(render(&window, asked.format))
}

fn render(window: &Window, format: Format) -> String {
    let frictions = frictions(window);
    match format {
        Format::Text => page::render(window, &frictions),
        Format::Json => format!("{}\n", serde_json::json!(frictions)),
    }
}
