//! English: the terms.

use super::English;
use crate::{
    domain::{Next, UnratedWhy, WhyNotRun},
    facts::{
        coverage::{DayStatus, ModuleStatus},
        detect::Detector,
        state::State,
    },
    report::view::words::{Columns, Headings, Notes, Terms},
};

const HEADINGS: Headings = Headings {
    hurts: "What hurts",
    changes: "What changed",
    modules: "Modules",
    missing: "What they missed",
    slow: "Slow",
    not_tested: "Not tested",
    coverage: "Days",
    reliability: "How reliable this is",
    cost: "Cost",
};

const COLUMNS: Columns = Columns {
    modules: [
        "Module",
        "Rating, compared with their own eight weeks before",
        "Mean",
        "Runs with failures",
        "28 days",
        "Quote",
    ],
    missing: ["Looked for", "Personas", "Calls"],
    slow: ["Tool", "Half of the calls within", "95 % within", "Calls"],
    persona: "Persona",
    by_day: ["Day", "Personas"],
};

const NOTES: Notes = Notes {
    nobody_ran: "Nobody ran: nothing is known about this.",
    nothing_hurts: "No detector raised anything that is not muted. That is no all-clear: what nobody used is not checked.",
    all_resolved: "None of it is open. That is no all-clear: what nobody used is not checked.",
    no_change: "No friction is new, back again or resolved.",
    modules: "Compared with what the same personas gave in the eight weeks before; ratings without evidence do not count.",
    no_modules: "It is not known which modules there are.",
    nothing_missing: "No two personas looked for the same missing tool.",
    nothing_slow: "No tool was slow often enough to be listed.",
    all_tested: "Each module and each tool was used by several personas.",
    no_tools: "It is not known which tools there are.",
    no_days: "There is no day of which anything is known.",
    no_version: "Version of the product: not known.",
    no_past: "nothing to compare with yet",
    only_ungrounded: "only ratings without evidence",
    too_kind_unknown: "Too kind: not known, because no module that was a dead end has a rating with evidence.",
};

impl Terms for English {
    fn tag(&self) -> &'static str {
        "en"
    }

    fn marks(&self) -> [char; 2] {
        ['.', ',']
    }

    fn headings(&self) -> &'static Headings {
        &HEADINGS
    }

    fn columns(&self) -> &'static Columns {
        &COLUMNS
    }

    fn notes(&self) -> &'static Notes {
        &NOTES
    }

    fn state(&self, state: State) -> &'static str {
        match state {
            State::Muted => "muted",
            State::Resolved => "resolved",
            State::Untested => "no longer tested",
            State::Regressed => "back again",
            State::Rare => "seen once",
            State::New => "new",
            State::Open => "open",
        }
    }

    fn kind(&self, detector: Detector) -> &'static str {
        match detector {
            Detector::DeadEnd => "dead end: did not work later in the run either",
            Detector::LockedOut => "locked out: over before the first call",
            Detector::Fails => "fails again and again",
            Detector::Repeated => "the same call again, in spite of the failure",
            Detector::Fumbling => "fumbling: worked only with another input",
            Detector::FieldTrap => "field trap: the same field is rejected again and again",
            Detector::Slow => "slow answers",
            Detector::Unsure => "unsure: broke off without an answer",
            Detector::Flood => "flood: more than a persona can read",
            Detector::GaveUp => "given up: a favourite module, no longer used after a failure",
            Detector::SilentPain => "silent pain: a low rating although each call succeeded",
        }
    }

    fn absence(&self, status: ModuleStatus) -> &'static str {
        match status {
            ModuleStatus::Rated => "rated",
            ModuleStatus::Used => "used, not rated",
            ModuleStatus::Unused => "not used",
            ModuleStatus::NotOffered => "not offered",
            ModuleStatus::TooFew => "too little",
        }
    }

    fn day(&self, status: DayStatus) -> &'static str {
        match status {
            DayStatus::Ran => "ran",
            DayStatus::FailedProduct => "failed by the product",
            DayStatus::FailedRunner => "failed by us",
            DayStatus::Idle => "idle",
            DayStatus::Paused => "paused",
            DayStatus::Budget => "budget used up",
            DayStatus::HeldBack => "held back",
            DayStatus::RunnerDown => "runner down",
            DayStatus::ModelStopped => "model stopped",
            DayStatus::Other => "other",
            DayStatus::NotDue => "not due",
        }
    }

    fn not_run(&self, why: WhyNotRun) -> &'static str {
        match why {
            WhyNotRun::SlotUsed => "had run already",
            WhyNotRun::HeldBack => "held back after failures",
            WhyNotRun::Unfinished => "last run not finished",
            WhyNotRun::Paused => "runner paused",
            WhyNotRun::Budget => "budget used up",
            WhyNotRun::PersonaBudget => "persona's budget used up",
            WhyNotRun::ModelStopped => "model stopped",
            WhyNotRun::RunnerDown => "runner down",
            WhyNotRun::Other => "other",
        }
    }

    fn next(&self, next: Next) -> &'static str {
        match next {
            Next::AgainOk => "again, worked",
            Next::AgainFailed => "again, failed",
            Next::OtherOk => "another way, worked",
            Next::OtherFailed => "another way, failed",
            Next::OtherModule => "another module",
            Next::Ended => "ended",
        }
    }

    fn unrated(&self, why: UnratedWhy) -> &'static str {
        match why {
            UnratedWhy::Refused => "refused",
            UnratedWhy::Unreadable => "unreadable",
            UnratedWhy::Forgotten => "forgotten",
            UnratedWhy::NoMoney => "budget used up",
            UnratedWhy::Stopped => "run stopped",
            UnratedWhy::NotReached => "over before the question",
            UnratedWhy::ModelFailed => "model failed",
        }
    }

    fn setting<'s>(&self, what: &'s str) -> &'s str {
        what
    }
}
