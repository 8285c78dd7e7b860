//! Mutes issues, and ends mutes.

use jiff::ToSpan;

use super::{arguments::Mute, error::CliError, text::cell};
use crate::journal::Journal;

/// Longest mute, in days from the day of the newest fact.
const MOST_DAYS: i64 = 90;
/// Longest id in a text, in characters.
const ID: usize = 40;

/// Mutes an issue from the time of the newest fact to the beginning of the day `until`.
pub(super) async fn mute(journal: &Journal, asked: &Mute) -> Result<String, CliError> {
    let unknown = || CliError::NoSuchIssue(cell(&asked.id, ID));
    // Without any fact there is no issue.
    let newest = journal.newest_fact().await?.ok_or_else(unknown)?;
    let zone = journal.time_zone().await?;
    let (today, until) = (zone.to_datetime(newest).date(), asked.until);
    if until <= today {
        return Err(CliError::MuteEnded(until, today));
    }
    if until > today.saturating_add(MOST_DAYS.days()) {
        return Err(CliError::MuteTooLong(until, today));
    }
    // Only the last day of the calendar has no such time.
    let end = zone.to_timestamp(until.at(0, 0, 0, 0)).unwrap_or(newest);
    if !journal.mute(&asked.id, newest, end, &asked.reason).await? {
        return Err(unknown());
    }
    Ok(format!("{} is muted until {until}.\n", cell(&asked.id, ID)))
}

/// Ends the mute of an issue.
pub(super) async fn unmute(journal: &Journal, id: &str) -> Result<String, CliError> {
    match journal.unmute(id).await? {
        true => Ok(format!("{} is not muted.\n", cell(id, ID))),
        false => Err(CliError::NoSuchIssue(cell(id, ID))),
    }
}
