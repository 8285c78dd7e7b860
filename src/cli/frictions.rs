//! Prints what hurts in the product, from the facts of a journal or of an export.

mod page;

use std::path::Path;

use jiff::{ToSpan, civil::Date};

use super::{
    arguments::{Format, Frictions},
    error::CliError,
    facts,
};
use crate::{
    facts::{
        frictions::frictions,
        window::{Days, Window},
    },
    journal::{History, Journal},
};

/// The frictions of an export.
pub(super) fn of_export(file: &Path, asked: &Frictions) -> Result<String, CliError> {
    let window = facts::of_export(file)?.finish(asked.days()?)?;
    Ok(render(&window, asked.format))
}

/// The frictions of a journal.
pub(super) async fn of_journal(journal: &Journal, asked: &Frictions) -> Result<String, CliError> {
    let days = asked.days()?;
    let history = History::CallsIn(days_with_calls(journal, days).await?);
    let window = facts::of_journal(journal, history).await?.finish(days)?;
    Ok(render(&window, asked.format))
}

/// Days of which the calls are needed: at least those of the window. The states of issues need older runs, but not
/// their calls.
async fn days_with_calls(journal: &Journal, days: Days) -> Result<(Date, Date), CliError> {
    Ok(match days {
        Days::Between(from, to) => (from, to),
        Days::All => (Date::MIN, Date::MAX),
        Days::Last(count) => {
            let zone = journal.time_zone().await?;
            let newest = journal.newest_fact().await?.unwrap_or_default();
            let newest = zone.to_datetime(newest).date();
            // Absences that follow from a pause may be a day newer.
            (newest.saturating_sub(i64::from(count).days()), Date::MAX)
        }
    })
}

fn render(window: &Window, format: Format) -> String {
    let frictions = frictions(window);
    match format {
        Format::Text => page::render(window, &frictions),
        Format::Json => format!("{}\n", serde_json::json!(frictions)),
    }
}
