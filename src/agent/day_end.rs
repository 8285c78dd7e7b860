//! How a main turn ended, as far as it decides what comes next, and the form it is stored in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The end of a main turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct DayEnd {
    /// What it means for the rest of the run.
    pub how: How,
    /// Why it ended, in words.
    pub reason: String,
}

/// What the end of a main turn means for the rest of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// The day was played: what was used is rated.
    #[default]
    Over,
    /// It was stopped from outside: by a shutdown, a pause or on request.
    Stopped,
    /// Money is short, so there will be no rating.
    Broke(Whose),
    /// The run has failed.
    Failed,
}

/// Whose money is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All personas'.
    Fleet,
    /// That of this persona alone.
    Persona {
        /// When it has money again; an earlier version did not say.
        until: Option<Timestamp>,
    },
}

impl DayEnd {
    /// One that means this.
    pub fn new(how: How, reason: impl Into<String>) -> Self {
        Self { how, reason: reason.into() }
    }
}

/// As it stands in the journal since the first version.
#[derive(Serialize, Deserialize)]
struct Stored {
    failure: Option<String>,
    stopped: bool,
    out_of_money: bool,
    #[serde(default)]
    persona_is_broke: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broke_until: Option<Timestamp>,
    reason: String,
}

impl From<Stored> for DayEnd {
    fn from(stored: Stored) -> Self {
        let how = match stored {
            Stored { failure: Some(_), .. } => How::Failed,
            Stored { stopped: true, .. } => How::Stopped,
            Stored { out_of_money: true, persona_is_broke: true, broke_until, .. } => {
                How::Broke(Whose::Persona { until: broke_until })
            }
            Stored { out_of_money: true, .. } => How::Broke(Whose::Fleet),
            _ => How::Over,
        };
        Self { how, reason: stored.failure.unwrap_or(stored.reason) }
    }
}

impl From<DayEnd> for Stored {
    fn from(DayEnd { how, reason }: DayEnd) -> Self {
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
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        // The first version told no money apart.
        let first = json!({"failure": null, "stopped": false, "out_of_money": true, "reason": ""});
        let read: DayEnd = serde_json::from_value(first).unwrap();
        assert_eq!(read.how, How::Broke(Whose::Fleet));
    }
}
