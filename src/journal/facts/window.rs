//! The facts of a journal as a window.

use jiff::{ToSpan, civil::Date};

use super::History;
use crate::{
    domain::Week,
    facts::window::{Builder, Days},
    journal::{Journal, JournalError, Result},
};

impl Journal {
    /// The facts of all days.
    ///
    /// # Errors
    /// If the journal cannot be read, or its facts contradict each other.
    pub async fn facts(&self, history: History) -> Result<Builder> {
        let mut builder = Builder::default();
        let mut taken = Ok(());
        let each = |line| {
            if taken.is_ok() {
                taken = builder.take(line);
            }
        };
        self.facts_lines(None, history, each).await?;
        taken.map(|()| builder).map_err(|problem| JournalError::Row("the facts", problem))
    }

    /// The facts for a window of these days: all of them, but for the calls of other days. The states of issues need
    /// older runs, but not their calls.
    ///
    /// # Errors
    /// As [`Journal::facts`].
    pub async fn facts_for(&self, days: Days) -> Result<Builder> {
        let calls = self.days_with_calls(days).await?;
        self.facts(History::CallsIn(calls)).await
    }

    /// Days of which the calls are needed: at least those of the window.
    async fn days_with_calls(&self, days: Days) -> Result<(Date, Date)> {
        Ok(match days {
            Days::Between(from, to) => (from, to),
            Days::All => (Date::MIN, Date::MAX),
            // Absences that follow from a pause may be a day newer.
            Days::Last(count) => {
                (self.newest_day().await?.saturating_sub(i64::from(count).days()), Date::MAX)
            }
            Days::LastWeek => (Week::of(self.newest_day().await?).before().monday(), Date::MAX),
        })
    }

    async fn newest_day(&self) -> Result<Date> {
        let newest = self.newest_fact().await?.unwrap_or_default();
        Ok(self.time_zone().await?.to_datetime(newest).date())
    }
}
