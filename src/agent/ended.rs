//! The reasons why a main turn or a rating turn ends.

use super::{DayEnd, How, Unrecorded, Whose};
use crate::{
    clients::claude::{ClaudeError, NotPaid},
    config::PERSONA_MAX_COST_USD,
    domain::{Outcome, Redactor, UnratedWhy},
};

/// The reasons why a conversation ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The model ended its turn without a further call.
    Finished,
    /// The conversation has as many replies as PERSONA_MAX_TURNS allows. This is an ordinary end.
    TurnLimit,
    /// A reply was cut off at its limit of output tokens: a text, or a call even at the higher limit.
    Truncated,
    /// The history fills the model's context window.
    ContextWindow,
    /// The run has cost as much as PERSONA_MAX_COST_USD allows.
    CostLimit,
    /// The context is longer than 100,000 tokens.
    ContextLimit,
    /// The model asked too often for a continuation (`pause_turn`).
    PauseLimit,
    /// A reply had a stop reason that this program does not know.
    UnknownStopReason,
    /// The model refused. The field is the API's category of the refusal, if there is one.
    Refused(Option<String>),
    /// A reply had the stop reason `tool_use`, but no call.
    NoCall {
        /// Whether the conversation had no call before either.
        idle: bool,
    },
}

/// The reasons why a main turn ends.
#[derive(Debug)]
pub enum Ended {
    /// The conversation ended by itself.
    Closed(Closed),
    /// A model request failed.
    Model(ClaudeError),
    /// mana-mcp lost so many sessions of the run that the run opens no further session.
    SessionsLost,
    /// mana-mcp was away for longer than a tool call may take. The call that did not reach mana-mcp must
    /// still be made when the run is resumed. The field is the error of the call.
    Away(String),
    /// The time of the run was over (PERSONA_TIMEOUT_MS).
    Deadline,
    /// The run was stopped from outside: by a shutdown, by a pause or on request.
    Stopped,
    /// A cap on the cost forbids the next request.
    NotPaid {
        /// The cap, and whether this request is too expensive or every request would be.
        why: NotPaid,
        /// Whether the run had not paid for any reply before.
        is_first: bool,
    },
    /// A step could not be written to the journal.
    Unrecorded(Unrecorded),
}

impl Ended {
    /// The effect of the end on the rest of the run, and the reason as text without secrets.
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
        let outcome = Some(self.outcome());
        DayEnd { outcome, ..DayEnd::new(how, redactor.redact(&reason)) }
    }

    /// What a day with this end came to.
    fn outcome(&self) -> Outcome {
        match self {
            Self::Closed(closed) => match closed {
                Closed::Finished => Outcome::Done,
                Closed::TurnLimit | Closed::ContextWindow | Closed::ContextLimit => Outcome::Turns,
                Closed::CostLimit => Outcome::Cost,
                Closed::Truncated | Closed::PauseLimit | Closed::UnknownStopReason => {
                    Outcome::Failed
                }
                Closed::Refused(_) | Closed::NoCall { .. } => Outcome::Failed,
            },
            Self::SessionsLost | Self::Away(_) => Outcome::Session,
            Self::Deadline | Self::Stopped => Outcome::Stopped,
            Self::NotPaid { .. } => Outcome::Cost,
            Self::Model(_) | Self::Unrecorded(_) => Outcome::Failed,
        }
    }

    /// Why modules stay unrated that a rating turn with this end did not get to.
    pub(super) fn why_unrated(&self) -> UnratedWhy {
        match self {
            Self::Model(_) => UnratedWhy::ModelFailed,
            Self::NotPaid { .. } | Self::Closed(Closed::CostLimit) => UnratedWhy::NoMoney,
            Self::Stopped | Self::Deadline => UnratedWhy::Stopped,
            Self::Closed(_) | Self::SessionsLost | Self::Away(_) | Self::Unrecorded(_) => {
                UnratedWhy::NotReached
            }
        }
    }

    /// The end that follows from the error of a model request. `has_paid` says whether the run has paid for a
    /// reply before.
    pub(super) fn of_asking(error: ClaudeError, has_paid: bool) -> Self {
        let ClaudeError::NotPaid(why) = error else { return Self::Model(error) };
        match why {
            NotPaid::TooDear { variable: PERSONA_MAX_COST_USD, .. } if has_paid => {
                Self::Closed(Closed::CostLimit)
            }
            NotPaid::Paused => Self::Stopped,
            NotPaid::Unrecorded(reason) => Self::Unrecorded(Unrecorded(reason)),
            why => Self::NotPaid { why, is_first: !has_paid },
        }
    }
}

impl Closed {
    /// The effect on the rest of the run, and the reason as text for a list of runs. A run fails if the day
    /// cannot count as a day in the product.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::PERSONA_MAX_COST_USD, domain::Usd};

    #[test]
    fn what_a_day_came_to_follows_from_its_end_and_shows_in_its_reason() {
        let too_dear = |variable| NotPaid::TooDear { variable, most: Usd::from_cents(3) };
        let broke = |persona_broke_until| NotPaid::Budget {
            variable: "BUDGET_DAILY_USD",
            persona_broke_until,
        };
        let not_paid = |why, is_first| Ended::NotPaid { why, is_first };
        let unrecorded = Unrecorded("disk full".into());
        for (ended, outcome) in [
            (Ended::Closed(Closed::Finished), Outcome::Done),
            (Ended::Closed(Closed::TurnLimit), Outcome::Turns),
            (Ended::Closed(Closed::ContextWindow), Outcome::Turns),
            (Ended::Closed(Closed::ContextLimit), Outcome::Turns),
            (Ended::Closed(Closed::CostLimit), Outcome::Cost),
            (not_paid(too_dear(PERSONA_MAX_COST_USD), true), Outcome::Cost),
            (not_paid(too_dear("BUDGET_DAILY_USD"), false), Outcome::Cost),
            (not_paid(broke(None), true), Outcome::Cost),
            (not_paid(broke(Some(jiff::Timestamp::UNIX_EPOCH)), false), Outcome::Cost),
            (Ended::Stopped, Outcome::Stopped),
            (Ended::Deadline, Outcome::Stopped),
            (Ended::SessionsLost, Outcome::Session),
            (Ended::Closed(Closed::Truncated), Outcome::Failed),
            (Ended::Closed(Closed::PauseLimit), Outcome::Failed),
            (Ended::Closed(Closed::UnknownStopReason), Outcome::Failed),
            (Ended::Closed(Closed::NoCall { idle: false }), Outcome::Failed),
            (Ended::Closed(Closed::NoCall { idle: true }), Outcome::Failed),
            (Ended::Closed(Closed::Refused(None)), Outcome::Failed),
            (Ended::Unrecorded(unrecorded), Outcome::Failed),
        ] {
            let end = ended.summary(&Redactor::default());
            assert_eq!(end.outcome, Some(outcome), "{ended:?}");
            // A version before has stored the same end without its outcome.
            let old = DayEnd { outcome: None, ..end };
            assert_eq!(old.outcome(), outcome, "{old:?}");
        }
    }
}
