//! The hour or day that a persona is due for.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};

use super::Cadence;

/// The hour or day that a run belongs to, in UTC: `2026-11-21T13` or `2026-11-21`. A persona has at most one
/// finished run in each slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(String);

impl Slot {
    /// The slot of a persona that is due at `server_time`. The time must come from the server that reports
    /// the persona as due, because two clocks would disagree about the day around midnight.
    pub fn of(cadence: Cadence, server_time: Timestamp) -> Self {
        let format = match cadence {
            Cadence::Hourly => "%Y-%m-%dT%H",
            Cadence::Daily | Cadence::Weekdays => "%Y-%m-%d",
        };
        Self(server_time.to_zoned(TimeZone::UTC).strftime(format).to_string())
    }

    /// A slot from the text that was stored.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The slot as it is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hourly_persona_has_a_slot_each_hour_and_the_others_one_each_day() {
        let at = |time: &str| time.parse().unwrap();
        let slot = |cadence, time| Slot::of(cadence, at(time)).to_string();
        assert_eq!(slot(Cadence::Hourly, "2026-11-21T13:59:59Z"), "2026-11-21T13");
        assert_eq!(slot(Cadence::Hourly, "2026-11-21T14:00:00Z"), "2026-11-21T14");
        assert_eq!(slot(Cadence::Daily, "2026-11-21T23:59:59Z"), "2026-11-21");
        assert_eq!(slot(Cadence::Weekdays, "2026-11-22T01:00:00+02:00"), "2026-11-21");
    }
}
