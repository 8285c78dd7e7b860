//! What is written down of a run, step by step, so that one that was killed goes on where it was.
//!
//! A step is written before it is acted on. From its steps the conversation is rebuilt byte for byte
//! ([`super::replay`]).

use serde::{Deserialize, Serialize};

use super::{Called, CalledTool, DayEnd};
use crate::{
    clients::claude::{Meter, Reply},
    domain::{ModuleRating, ToolName, Usd},
};

/// One step of a run. Adding a kind is fine, changing one is not: runs of the version before this one
/// may be resumed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The main turn begins.
    Opened(TurnOpening),
    /// The model is about to be asked.
    Asking {
        /// What the request may cost.
        reserved: Usd,
    },
    /// It replied.
    Replied(Reply),
    /// It did not.
    Unanswered {
        /// Whether the request may have been billed all the same.
        lost: bool,
    },
    /// All thinking was taken out of the history.
    ThinkingStripped,
    /// A tool was taken out of those on offer, for which a request was refused, and all thinking with it.
    ToolLeftOut {
        /// Which.
        tool: ToolName,
    },
    /// Notes were put in the place of all images and PDFs in the history, and all thinking was taken out.
    AttachmentsReplaced,
    /// A tool is about to be called.
    Calling {
        /// The id of the model's `tool_use` block.
        id: String,
        /// What is called.
        tool: CalledTool,
    },
    /// It was not: the server was away. Until it is about to be called again, the call is as if not begun.
    NotCalled {
        /// The id of the model's `tool_use` block.
        id: String,
    },
    /// It answered, or was not called for a reason.
    Called(Called),
    /// The results of a turn's calls went into the history.
    Told {
        /// And this with them.
        reminder: Option<String>,
        /// Whether as a system message.
        as_system: bool,
        /// The places of results that there was no money to send whole.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cut: Vec<usize>,
    },
    /// The main turn is over.
    DayEnded(DayEnd),
    /// mana-mcp has opened a session, which is to be ended whatever becomes of this process.
    SessionOpened {
        /// Its id there.
        session: String,
    },
    /// All of them so far are ended.
    SessionsEnded,
    /// The persona has rated what it used.
    Rated {
        /// What is handed in.
        rows: Vec<ModuleRating>,
    },
}

/// How a main turn began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnOpening {
    /// What the persona was asked to do.
    pub opening: String,
    /// Hash of the tools on offer.
    pub catalog: String,
}

/// Writes steps down, and keeps the account.
pub trait Recorder: Meter {
    /// Writes down what is about to be done. Waits while that is not possible, as long as the run may.
    ///
    /// # Errors
    /// When it could not be written down: then it must not be done.
    fn intend(&self, step: &Step) -> impl Future<Output = Result<(), Unrecorded>> + Send;

    /// Writes down what has happened; kept in memory where that is not possible at present.
    fn note(&self, step: &Step) -> impl Future<Output = ()> + Send;

    /// Writes down what has happened together with the step that follows at once: for a transaction less. Between
    /// the two nothing may be waited for that a kill could come into.
    fn defer(&self, step: &Step) -> impl Future<Output = ()> + Send;

    /// What requests without an answer may have cost so far.
    fn lost(&self) -> Usd;

    /// Resolves when the run is to end after its current turn and no model request is under way.
    fn paused(&self) -> impl Future<Output = ()> + Send;
}

/// A step could not be written down, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is done without a record of it: {0}")]
pub struct Unrecorded(pub String);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// A step of each kind, and of each form it has, as the daemon of commit cabd9f6 wrote it.
    const OF_CABD9F6: &str = include_str!("../../tests/fixtures/steps-cabd9f6.jsonl");

    #[test]
    fn every_kind_of_step_of_an_earlier_version_is_read_and_would_be_written_the_same() {
        let mut kinds = std::collections::BTreeSet::new();
        for line in OF_CABD9F6.lines() {
            let written: Value = serde_json::from_str(line).unwrap();
            let step: Step = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_value(&step).unwrap(), written, "{line}");
            let name =
                written.as_str().or_else(|| written.as_object()?.keys().next().map(|k| &**k));
            kinds.insert(name.unwrap().to_owned());
            if let (Step::Replied(reply), Value::Object(parts)) = (step, written) {
                let content = parts["replied"]["content"].to_string();
                let read: Value = serde_json::from_str(reply.content.get()).unwrap();
                assert_eq!(read.to_string(), content);
                assert!(line.contains(reply.content.get()), "byte for byte: {line}");
            }
        }
        let all = [
            "asking",
            "called",
            "calling",
            "day_ended",
            "opened",
            "rated",
            "replied",
            "thinking_stripped",
            "told",
            "unanswered",
        ];
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    }
}
