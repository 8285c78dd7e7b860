//! Prints what hurts in the product, from the facts of a journal or of an export.

mod page;

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use jiff::{ToSpan, civil::Date};

use super::{
    arguments::{Format, Frictions, Question},
    error::CliError,
};
use crate::{
    facts::{
        ReadError, export,
        frictions::frictions,
        window::{Builder, Days, Window},
    },
    journal::{History, Journal},
};

/// The answer to a question that an export answers; `None` if `question` is another one.
pub(super) fn of_export(question: &Question) -> Result<Option<String>, CliError> {
    let Question::Frictions { asked, command: None } = question else { return Ok(None) };
    let Some(file) = &asked.facts else { return Ok(None) };
    let days = asked.days()?;
    let mut builder = Builder::default();
    read(file, &mut builder).map_err(|error| CliError::Facts(file.clone(), error))?;
    Ok(Some(render(&builder.finish(days)?, asked.format)))
}

fn read(file: &Path, builder: &mut Builder) -> Result<(), ReadError> {
    let take = |line| builder.take(line);
    match file == Path::new("-") {
        true => export::read(io::stdin().lock(), take),
        false => export::read(BufReader::new(File::open(file)?), take),
    }
}

/// The frictions of a journal.
pub(super) async fn of_journal(journal: &Journal, asked: &Frictions) -> Result<String, CliError> {
    let days = asked.days()?;
    let mut builder = Builder::default();
    let mut taken = Ok(());
    let each = |line| {
        if taken.is_ok() {
            taken = builder.take(line);
        }
    };
    let history = History::CallsIn(days_with_calls(journal, days).await?);
    journal.facts_lines(None, history, each).await?;
    taken.map_err(CliError::Contradiction)?;
    Ok(render(&builder.finish(days)?, asked.format))
}

/// Days of which the calls are needed: at least those of the window. The states of issues need older runs, but not
/// their calls.
async fn days_with_calls(journal: &Journal, days: Days) -> Result<(Date, Date), CliError> {
    Ok(match days {
        Days::Between(from, to) => (from, to),
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
