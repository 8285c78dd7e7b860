//! What the page shows: lists of runs, what failed and how often, ratings, personas, and calls as they end.
//!
//! Ids and names come from URLs: they are bound, and an unknown one has no rows. Every list has a limit. Lists are in
//! the order of the runs' ids, which sort by the time at which the runs began, newest first.

mod choices;
mod issues;
mod live;
mod personas;
mod ratings;
mod revision;
mod runs;
mod samples;
#[cfg(test)]
mod tests;

use jiff::{civil::Date, tz::TimeZone};

pub use choices::Choices;
pub use issues::{DayHits, PersonaHits};
pub use live::{LiveCall, LiveCalls, Position};
pub use personas::{KnownPersona, OwnRating, PersonaRun, RunRating};
pub use ratings::{Rated, RatingFilter, StoredRating};
pub use revision::Revision;
pub(super) use revision::change;
pub use runs::{FoundRun, RunFilter};
pub use samples::{Sample, ToolSample};

use super::{Journal, Result, Value, backend::counted_on, facts, text};
use crate::{domain::RunId, facts::window::Days};

/// How many rows a list has at most.
const MOST: u32 = 1_000;

/// The condition that a run is one of certain days, given as [`days`].
const OF_DAYS: &str = "COALESCE(runs.server_time, runs.server_at) >= $1 AND COALESCE(runs.server_time, runs.server_at) < $2";

/// Which part of a list of runs is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The begin: the newest runs.
    #[default]
    Newest,
    /// The runs that began before this one.
    Before(RunId),
    /// The runs that began after this one, next to it.
    After(RunId),
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// Whether there may be newer ones.
    pub has_newer: bool,
    /// Whether there may be older ones.
    pub has_older: bool,
}

impl Journal {
    /// The first and the last of these days, in the time zone of the journal; `None` if they are counted back from the
    /// newest fact, and there is none. Of the runs, only the thousand that began last
    /// are looked at for that.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn dates_of(&self, days: Days) -> Result<Option<(Date, Date)>> {
        let zone = self.time_zone().await?;
        let newest = self.newest_of_latest().await?.map(|newest| zone.to_datetime(newest).date());
        Ok(days.resolve(newest).ok().filter(|(from, to)| from <= to))
    }
}

/// When these days begin and end, for [`OF_DAYS`].
fn days(days: (Date, Date), zone: &TimeZone) -> Vec<Value> {
    facts::days(Some(days), zone)
}

/// Conditions of a query, of which all must hold, with their values.
#[derive(Debug, Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition. Its placeholders are counted from `$1`.
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        counted_on(condition, self.values.len(), &mut self.sql);
        self.values.extend(values);
    }

    fn and_of_days(&mut self, of: (Date, Date), zone: &TimeZone) {
        self.and(OF_DAYS, days(of, zone));
    }

    /// The query `head` with the conditions, for a part of a list in the order of `column`, the id of a run.
    fn part(mut self, head: &str, column: &str, part: Part, limit: u32) -> (String, Vec<Value>) {
        let order = match part {
            Part::Newest => "DESC",
            Part::Before(run) => {
                self.and(&format!("{column} < $1"), [text(run)]);
                "DESC"
            }
            Part::After(run) => {
                self.and(&format!("{column} > $1"), [text(run)]);
                "ASC"
            }
        };
        // One row more shows whether the list goes on.
        let limit = limit.clamp(1, MOST) + 1;
        let sql = format!("{head}{} ORDER BY {column} {order} LIMIT {limit}", self.sql);
        (sql, self.values)
    }
}

/// The page of these rows, as [`Conditions::part`] has ordered them.
fn page<T>(mut items: Vec<T>, part: Part, limit: u32) -> Page<T> {
    let limit = limit.clamp(1, MOST) as usize;
    let goes_on = items.len() > limit;
    items.truncate(limit);
    let (has_newer, has_older) = match part {
        Part::Newest => (false, goes_on),
        Part::Before(_) => (true, goes_on),
        Part::After(_) => {
            items.reverse();
            (goes_on, true)
        }
    };
    Page { items, has_newer, has_older }
}
