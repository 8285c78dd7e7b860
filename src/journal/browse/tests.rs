//! Tests of what the page reads, on a journal in memory.

mod issues;
mod live;
mod personas;
mod revision;
mod runs;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::*;
use crate::{
    domain::RunState,
    journal::{
        TIME_ZONE,
        facts::tests::{end, facts},
        tests::{NOON, begin},
    },
};

/// The day of this time, in UTC.
fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The day of [`NOON`] as a window.
fn today() -> (Date, Date) {
    (day(NOON), day(NOON))
}

/// A finished run of this persona with `ok` calls that succeeded and then one call for each of the fingerprints, which
/// failed with it.
async fn run_of(journal: &Journal, name: &str, begun: Timestamp, ok: u32, failed: &[i64]) -> RunId {
    let run = begin(journal, name, "s", begun).await;
    end(journal, run, RunState::Finished, facts(run, begun, ok, failed)).await;
    run
}

/// The id of the only issue.
async fn only_issue(journal: &Journal) -> String {
    let rows = journal.rows("look up issues", "SELECT id FROM issues", vec![]).await.unwrap();
    assert_eq!(rows.len(), 1);
    rows[0].text("id").unwrap()
}
