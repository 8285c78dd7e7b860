//! The end of a main turn, as far as the rest of the run depends on it, and its stored form.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{Outcome, optional_word};

/// The end of a main turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct DayEnd {
    /// The effect of the end on the rest of the run.
    pub how: How,
    /// Why the turn ended, as text for people.
    pub reason: String,
    /// What the day came to. `None` in steps of an earlier version: see [`DayEnd::outcome`].
    pub outcome: Option<Outcome>,
}

/// The effect of a main turn's end on the rest of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// The day was played to its end. The used modules are rated next.
    #[default]
    Over,
    /// The day was stopped from outside: by a shutdown, by a pause or on request.
    Stopped,
    /// A budget is used up, so there is no rating turn.
    Broke(Whose),
    /// The run has failed.
    Failed,
}

/// The owner of the budget that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All personas together (BUDGET_DAILY_USD, BUDGET_MONTHLY_USD).
    Fleet,
    /// This persona alone (PERSONA_DAILY_USD).
    Persona {
        /// The time from which the persona has money again. `None` in steps of an earlier version, which did
        /// not store the time.
        until: Option<Timestamp>,
    },
}

impl DayEnd {
    /// An end with this effect and this reason.
    pub fn new(how: How, reason: impl Into<String>) -> Self {
        Self { how, reason: reason.into(), outcome: None }
    }

    /// What the day came to. If an earlier version stored the end, this follows from its reason.
    pub fn outcome(&self) -> Outcome {
        let Self { how, reason, outcome } = self;
        outcome.unwrap_or_else(|| match how {
            How::Stopped => Outcome::Stopped,
            How::Broke(_) => Outcome::Cost,
            How::Over | How::Failed => of_reason(*how, reason),
        })
    }
}

/// What a day came to that a version before ended for this reason.
fn of_reason(how: How, reason: &str) -> Outcome {
    match reason {
        "PERSONA_MAX_TURNS reached"
        | "the context window is full"
        | "the context passes 100,000 tokens" => Outcome::Turns,
        "the run's time (PERSONA_TIMEOUT_MS) was up" => Outcome::Stopped,
        "mana-mcp lost three sessions of this run" => Outcome::Session,
        "PERSONA_MAX_COST_USD reached" => Outcome::Cost,
        reason if reason.starts_with("a model request of this run may cost ") => Outcome::Cost,
        "done" if how == How::Over => Outcome::Done,
        _ => Outcome::Failed,
    }
}

/// The form in which the journal has stored a [`DayEnd`] since the first version.
#[derive(Serialize, Deserialize)]
struct Stored {
    failure: Option<String>,
    stopped: bool,
    out_of_money: bool,
    #[serde(default)]
    persona_is_broke: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broke_until: Option<Timestamp>,
    #[serde(default, with = "optional_word", skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    reason: String,
}

impl From<Stored> for DayEnd {
    fn from(stored: Stored) -> Self {
        let outcome = stored.outcome;
        let how = match stored {
            Stored { failure: Some(_), .. } => How::Failed,
            Stored { stopped: true, .. } => How::Stopped,
            Stored { out_of_money: true, persona_is_broke: true, broke_until, .. } => {
                How::Broke(Whose::Persona { until: broke_until })
            }
            Stored { out_of_money: true, .. } => How::Broke(Whose::Fleet),
            _ => How::Over,
        };
        Self { how, reason: stored.failure.unwrap_or(stored.reason), outcome }
    }
}

impl From<DayEnd> for Stored {
    fn from(DayEnd { how, reason, outcome }: DayEnd) -> Self {
        let persona = match how {
            How::Broke(Whose::Persona { until }) => Some(until),
            _ => None,
        };
        Self {
            failure: (how == How::Failed).then(|| reason.clone()),
            stopped: how == How::Stopped,
            out_of_money: matches!(how, How::Broke(_)),
            persona_is_broke: persona.is_some(),
            broke_until: persona.flatten(),
            outcome,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Label;

    #[test]
    fn each_end_is_stored_as_the_versions_before_have_stored_it() {
        let until = Timestamp::constant(1_795_262_400, 0);
        let stored = |changed: serde_json::Value| {
            let mut all = json!({"failure": null, "stopped": false, "out_of_money": false,
                "persona_is_broke": false, "reason": "why"});
            all.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
            all
        };
        let persona = |until| How::Broke(Whose::Persona { until });
        let broke = json!({"out_of_money": true, "persona_is_broke": true});
        let until_then =
            json!({"out_of_money": true, "persona_is_broke": true, "broke_until": until});
        for (how, changed) in [
            (How::Over, json!({})),
            (How::Stopped, json!({"stopped": true})),
            (How::Broke(Whose::Fleet), json!({"out_of_money": true})),
            (persona(None), broke),
            (persona(Some(until)), until_then),
            (How::Failed, json!({"failure": "why"})),
        ] {
            let (end, stored) = (DayEnd::new(how, "why"), stored(changed));
            let read: DayEnd = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!((serde_json::to_value(&end).unwrap(), read), (stored, end));
        }
        // A version before did not store what the day came to.
        for outcome in Outcome::ALL {
            let end = DayEnd { outcome: Some(*outcome), ..DayEnd::new(How::Over, "why") };
            let stored = stored(json!({"outcome": outcome.as_str()}));
            assert_eq!(serde_json::to_value(&end).unwrap(), stored);
            let read: DayEnd = serde_json::from_value(stored).unwrap();
            assert_eq!((read.outcome(), &read), (*outcome, &end));
        }
        // The first version did not store whose budget was used up.
        let first = json!({"failure": null, "stopped": false, "out_of_money": true, "reason": ""});
        let read: DayEnd = serde_json::from_value(first).unwrap();
        assert_eq!(read.how, How::Broke(Whose::Fleet));
    }
}
