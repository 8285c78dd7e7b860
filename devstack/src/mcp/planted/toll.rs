//! What a planted fault did, counted so that a test can compare it with what the runner reports.

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;

/// A call that a planted fault struck; for a fault that makes the server unreachable, a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Strike {
    /// Name of the fault.
    pub fault: String,
    /// E-mail of the persona; empty for a request without a valid JWT.
    pub persona: String,
    /// Id of the MCP session; empty for a request without one.
    pub session: String,
    /// MCP name of the tool; empty for a request that a fault at the door struck.
    pub tool: String,
    /// Time of the calendar.
    pub at: Timestamp,
    /// Whether the caller got an answer that tells what happened.
    pub answered: bool,
}

impl Strike {
    /// The day of the calendar, in UTC.
    pub fn day(&self) -> Date {
        self.at.to_zoned(TimeZone::UTC).date()
    }
}

/// Everything that one fault, or several, did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Toll {
    /// E-mails of the personas.
    pub personas: BTreeSet<String>,
    /// E-mail and day: the runs of personas that run once a day.
    pub runs: BTreeSet<(String, Date)>,
    /// Ids of the MCP sessions. A run may open more than one.
    pub sessions: BTreeSet<String>,
    /// MCP names of the tools.
    pub tools: BTreeSet<String>,
    /// Number of calls that were struck.
    pub calls: usize,
    /// Number of these calls that were answered.
    pub answered: usize,
    /// Day of the first strike.
    pub first: Option<Date>,
    /// Day of the last strike.
    pub last: Option<Date>,
}

impl<'a> FromIterator<&'a Strike> for Toll {
    fn from_iter<I: IntoIterator<Item = &'a Strike>>(strikes: I) -> Self {
        strikes.into_iter().fold(Self::default(), |mut toll, strike| {
            let day = strike.day();
            toll.personas.insert(strike.persona.clone());
            toll.runs.insert((strike.persona.clone(), day));
            toll.sessions.insert(strike.session.clone());
            toll.tools.insert(strike.tool.clone());
            toll.calls += 1;
            toll.answered += usize::from(strike.answered);
            toll.first = Some(toll.first.map_or(day, |first| first.min(day)));
            toll.last = toll.last.max(Some(day));
            toll
        })
    }
}
