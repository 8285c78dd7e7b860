//! Mutes issues, and ends mutes.

use jiff::{ToSpan, civil::Date};

use super::{CliError, arguments::Mute, text::cell};
use crate::journal::Journal;

/// Longest mute, in days from the day of the newest fact.
const MOST_DAYS: i64 = 90;
/// Longest id in a text, in characters.
const ID: usize = 40;

/// A mute cannot end on this day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleEnd {
    /// The day has passed.
    #[error("a mute until {0} would have ended: the newest fact is of {1}")]
    Past(Date, Date),
    /// The day is too late.
    #[error("a mute ends at most 90 days after the newest fact, which is of {1}; {0} is later")]
    Late(Date, Date),
}

/// Mutes an issue from the time of the newest fact to the beginning of the day `until`.
pub(super) async fn mute(journal: &Journal, asked: &Mute) -> Result<String, CliError> {
    let unknown = || CliError::NoSuchIssue(cell(&asked.id, ID));
    // Without any fact there is no issue.
    let newest = journal.newest_fact().await?.ok_or_else(unknown)?;
    let zone = journal.time_zone().await?;
    let (today, until) = (zone.to_datetime(newest).date(), asked.until);
    if until <= today {
        return Err(ImpossibleEnd::Past(until, today).into());
    }
    if until > today.saturating_add(MOST_DAYS.days()) {
        return Err(ImpossibleEnd::Late(until, today).into());
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
