//! Why a main turn, or a rating turn, ended.

use super::{DayEnd, How, Unrecorded, Whose};
use crate::{
    clients::claude::{ClaudeError, NotPaid},
    config::PERSONA_MAX_COST_USD,
    domain::Redactor,
};

/// Why the conversation came to its end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The model said all it wanted to.
    Finished,
    /// It had as many replies as it may have. An ordinary end.
    TurnLimit,
    /// A reply was cut off, even with more room.
    Truncated,
    /// The history fills the context window.
    ContextWindow,
    /// It has cost as much as a run may (PERSONA_MAX_COST_USD).
    CostLimit,
    /// Its context passes 100,000 tokens.
    ContextLimit,
    /// It kept asking to be continued.
    PauseLimit,
    /// It stopped for a reason this program does not know.
    UnknownStopReason,
    /// It declined. The API's category, if it names one.
    Refused(Option<String>),
    /// A reply said that it calls tools, and called none.
    NoCall {
        /// Whether none was called before either.
        idle: bool,
    },
}

/// Why a main turn ended.
#[derive(Debug)]
pub enum Ended {
    /// The conversation came to its end.
    Closed(Closed),
    /// Claude could not be had.
    Model(ClaudeError),
    /// mana-mcp lost one session after the other.
    SessionsLost,
    /// mana-mcp was away for longer than a tool call may take. The call that did not reach it is still to be
    /// made, by whoever goes on with the run. What happened.
    Away(String),
    /// The run's time was up.
    Deadline,
    /// It was stopped from outside: by a shutdown, a pause or on request.
    Stopped,
    /// A cap leaves no room for the next request.
    NotPaid {
        /// Which, and whether that is too dear or any would be.
        why: NotPaid,
        /// Whether nothing was paid for before it.
        is_first: bool,
    },
    /// It could not be written down.
    Unrecorded(Unrecorded),
}

impl Ended {
    /// What it means for the rest of the run.
    pub fn summary(&self, redactor: &Redactor) -> DayEnd {
        let (how, reason) = match self {
            Self::Closed(closed) => closed.summary(),
            Self::Model(error) => (How::Failed, error.to_string()),
            Self::SessionsLost => (How::Failed, "mana-mcp lost three sessions of this run".into()),
            Self::Away(reason) => (How::Failed, reason.clone()),
            Self::Deadline => (How::Failed, "the run's time (PERSONA_TIMEOUT_MS) was up".into()),
            Self::Unrecorded(error) => (How::Failed, error.to_string()),
            Self::Stopped => (How::Stopped, "stopped from outside".into()),
            Self::NotPaid {
                why: NotPaid::Budget { variable, persona_broke_until: until }, ..
            } => {
                let whose = until.map_or(Whose::Fleet, |_| Whose::Persona { until: *until });
                (How::Broke(whose), format!("{variable} is used up"))
            }
            Self::NotPaid { why, is_first } => {
                (if *is_first { How::Failed } else { How::Over }, why.to_string())
            }
        };
        DayEnd::new(how, redactor.redact(&reason))
    }

    /// Why there is no reply, in a run that has paid for one before, or not.
    pub(super) fn of_asking(error: ClaudeError, has_paid: bool) -> Self {
        let ClaudeError::NotPaid(why) = error else { return Self::Model(error) };
        match why {
            NotPaid::TooDear { variable: PERSONA_MAX_COST_USD, .. } if has_paid => {
                Self::Closed(Closed::CostLimit)
            }
            NotPaid::Paused => Self::Stopped,
            NotPaid::Unrecorded { reason } => Self::Unrecorded(Unrecorded(reason)),
            why => Self::NotPaid { why, is_first: !has_paid },
        }
    }
}

impl Closed {
    /// What it means for the rest of the run: whether that cannot count as a day in the product, and why it
    /// ended, in words for a list of runs.
    pub(super) fn summary(&self) -> (How, String) {
        let reason = match self {
            Self::Finished => "done",
            Self::TurnLimit => "PERSONA_MAX_TURNS reached",
            Self::Truncated => "a reply was cut off",
            Self::ContextWindow => "the context window is full",
            Self::CostLimit => "PERSONA_MAX_COST_USD reached",
            Self::ContextLimit => "the context passes 100,000 tokens",
            Self::PauseLimit => "paused too often",
            Self::UnknownStopReason => "unknown stop reason",
            Self::NoCall { idle: false } => "a call was announced, and none came",
            Self::NoCall { idle: true } => "Claude announced a tool call (tool_use) and made none",
            Self::Refused(category) => {
                let category = category.as_deref().unwrap_or("no category");
                return (How::Failed, format!("Claude declined to go on (refusal, {category})"));
            }
        };
        let is_idle = matches!(self, Self::NoCall { idle: true });
        (if is_idle { How::Failed } else { How::Over }, reason.to_owned())
    }
}
