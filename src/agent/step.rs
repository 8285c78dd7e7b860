//! The steps of a run, as the journal stores them. With them a run that was killed goes on at its next step.
//!
//! A step is written before it is acted on. [`super::replay`] rebuilds the conversation from its steps, byte
//! for byte.

use serde::{Deserialize, Serialize};

use super::{Called, CalledTool, DayEnd};
use crate::{
    clients::claude::{Meter, Reply},
    domain::{ModuleName, ModuleRating, ToolName, UnratedWhy, Usd, word},
};

/// One step of a run. New kinds may be added, but an existing kind must not be changed: this version may
/// resume runs of the version before.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The main turn begins.
    Opened(TurnOpening),
    /// A model request is about to be sent.
    Asking {
        /// The reserved money: the most that the request may cost.
        reserved: Usd,
    },
    /// The model replied to the request.
    Replied(Reply),
    /// The request ended without a reply.
    Unanswered {
        /// Whether the request may have been billed although no reply arrived.
        lost: bool,
    },
    /// All thinking was removed from the history.
    ThinkingStripped,
    /// Claude refused a request because of a tool. The tool is no longer offered, and all thinking was
    /// removed from the history.
    ToolLeftOut {
        /// The name of the refused tool.
        tool: ToolName,
    },
    /// All images and PDFs in the history were replaced by notes, and all thinking was removed.
    AttachmentsReplaced,
    /// A tool is about to be called.
    Calling {
        /// The id of the model's `tool_use` block.
        id: String,
        /// The name of the tool.
        tool: CalledTool,
    },
    /// The call of the preceding `Calling` was not made, because the server was away. The call counts as not
    /// begun until the next `Calling` with its id.
    NotCalled {
        /// The id of the model's `tool_use` block.
        id: String,
    },
    /// A call has a result: an answer of the tool, or the reason why the call was not made.
    Called(Called),
    /// The results of a turn's calls were added to the history.
    Told {
        /// The reminder that was added with the results.
        reminder: Option<String>,
        /// Whether the reminder is a system message.
        as_system: bool,
        /// Indices of results that were cut, because the run had no money to send them whole.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cut: Vec<usize>,
    },
    /// The main turn is over.
    DayEnded(DayEnd),
    /// mana-mcp has opened a session. The session must be deleted even if this process dies.
    SessionOpened {
        /// The session's id at mana-mcp.
        session: String,
    },
    /// All sessions opened so far are deleted.
    SessionsEnded,
    /// The persona has rated the modules it used.
    Rated {
        /// The rows to hand in.
        rows: Vec<ModuleRating>,
    },
    /// Modules that the persona used stay without a rating. Written in one transaction with the `Rated` that
    /// follows.
    Unrated {
        /// The modules, each with the reason.
        modules: Vec<UnratedModule>,
    },
}

/// A module that the persona used and did not rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnratedModule {
    /// The name of the module.
    pub module: ModuleName,
    /// Why there is no rating.
    #[serde(with = "word")]
    pub why: UnratedWhy,
}

/// The beginning of a main turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnOpening {
    /// The first user message, which asks the persona to spend its day.
    pub opening: String,
    /// Hash of the tool definitions that are offered.
    pub catalog: String,
}

/// Writes the steps of a run to the journal and accounts for the run's money.
pub trait Recorder: Meter {
    /// Writes a step before its side effect. While the journal cannot be written, waits as long as the run's
    /// limits allow.
    ///
    /// # Errors
    /// If the step could not be written. Then the side effect must not be caused.
    fn intend(&self, step: &Step) -> impl Future<Output = Result<(), Unrecorded>> + Send;

    /// Writes a step that has already happened. While the journal cannot be written, the step is kept in
    /// memory.
    fn note(&self, step: &Step) -> impl Future<Output = ()> + Send;

    /// Keeps a step that has already happened in memory, to be written in one transaction with the step that
    /// follows immediately. The caller must not wait for anything between the two steps: a process that is
    /// killed in between loses the deferred step.
    fn defer(&self, step: &Step) -> impl Future<Output = ()> + Send;

    /// Writes the reply to the request before, where no step has followed that reply yet: the next request may
    /// wait for minutes.
    fn write_reply(&self) -> impl Future<Output = ()> + Send;

    /// The most that requests without an answer may have cost so far.
    fn lost(&self) -> Usd;

    /// Resolves when the run must end after its current turn and no model request is under way.
    fn paused(&self) -> impl Future<Output = ()> + Send;
}

/// A step could not be written to the journal. The field is the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is done without a record of it: {0}")]
pub struct Unrecorded(pub String);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// A step of each kind and of each of its forms, as the daemon of commit cabd9f6 wrote them.
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
