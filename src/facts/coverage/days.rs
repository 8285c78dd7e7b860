//! What a day of a persona came to.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Weekday},
    tz::TimeZone,
};

use crate::domain::{Cadence, Outcome, WhyNotRun, labels};

labels! {
    /// What a day of a persona came to. Of several runs on a day, the one declared first counts.
    pub DayStatus {
        /// A run called tools.
        Ran = "ran",
        /// The product kept a run from its work: no login, no space or no session.
        FailedProduct = "failed-product",
        /// A run failed for any other reason, such as an error of the model.
        FailedRunner = "failed-runner",
        /// A run called no tool.
        Idle = "idle",
        /// The persona was due while an operator had paused the runner.
        Paused = "paused",
        /// The persona was due, and a budget was used up.
        Budget = "budget",
        /// The persona was due, and was held back because its last runs failed.
        HeldBack = "held-back",
        /// The runner was stopping, or did not run at all.
        RunnerDown = "runner-down",
        /// The persona was due while all use of the model had stopped.
        ModelStopped = "model-stopped",
        /// The persona was due and did not run for another reason.
        Other = "other",
        /// The persona was not due.
        NotDue = "not-due",
    }
}

impl DayStatus {
    /// What a day with a run of this outcome came to. `has_calls`: the run called tools.
    pub(super) fn of_run(outcome: Outcome, has_calls: bool) -> Self {
        match outcome {
            Outcome::Login | Outcome::Space | Outcome::Session => Self::FailedProduct,
            Outcome::Failed => Self::FailedRunner,
            _ if has_calls => Self::Ran,
            Outcome::Done | Outcome::Turns => Self::Idle,
            Outcome::Cost => Self::Budget,
            Outcome::Stopped => Self::Other,
        }
    }

    /// What a day with this absence came to; `None` for a persona that had its run.
    pub(super) fn of_absence(why: WhyNotRun) -> Option<Self> {
        Some(match why {
            WhyNotRun::SlotUsed => return None,
            WhyNotRun::HeldBack => Self::HeldBack,
            WhyNotRun::Paused => Self::Paused,
            WhyNotRun::Budget | WhyNotRun::PersonaBudget => Self::Budget,
            WhyNotRun::ModelStopped => Self::ModelStopped,
            WhyNotRun::RunnerDown => Self::RunnerDown,
            WhyNotRun::Unfinished | WhyNotRun::Other => Self::Other,
        })
    }
}

/// The day that a slot belongs to: its own date, or for an hour the date in `zone` when the hour begins. `None`
/// if the text is no slot.
pub(in crate::facts) fn of_slot(slot: &str, zone: &TimeZone) -> Option<Date> {
    if let Ok(hour) = DateTime::strptime("%Y-%m-%dT%H:%M", format!("{slot}:00")) {
        return Some(date(hour.to_zoned(TimeZone::UTC).ok()?.timestamp(), zone));
    }
    Date::strptime("%Y-%m-%d", slot).ok()
}

/// The date of `at` in `zone`.
pub(in crate::facts) fn date(at: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(at).date()
}

/// Whether mana-auth lets a persona of this cadence be due on this date of UTC.
pub(super) fn may_be_due(cadence: Cadence, date: Date) -> bool {
    let is_weekend = matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
    cadence != Cadence::Weekdays || !is_weekend
}
