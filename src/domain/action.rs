//! One tool call as the product's audit rows know it.

use std::time::Duration;

use super::{InputHash, clip, redact_emails};

/// The tool name of the mark a run leaves in which no listed tool was used.
pub const IDLE_TOOL: &str = "__idle";
/// The tool name of the mark a run leaves that failed after tool calls had happened.
pub const RUN_TOOL: &str = "__run";

/// Longest tool name in a row, in UTF-16 units: the length MCP allows.
const MAX_TOOL_NAME: usize = 128;
/// Longest error message in a row, in UTF-16 units.
const MAX_ERROR_MESSAGE: usize = 500;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// The tool did what it was asked.
    Ok,
    /// It did not, or nobody knows.
    Error,
}

/// A row of `persona_actions`, within the limits of the table (docs/contracts/mana-auth.md): one bad value
/// would lose the whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    tool_name: String,
    input_hash: Option<InputHash>,
    result: ActionResult,
    error_message: Option<String>,
    latency_ms: Option<i32>,
}

impl Action {
    /// A call of `tool_name` with this input, that took `latency` and failed with `error`, if any.
    pub fn new(
        tool_name: &str,
        input_hash: Option<InputHash>,
        error: Option<&str>,
        latency: Duration,
    ) -> Self {
        // E-mails are shown in answers of /diag only, and models and peers quote them where they like.
        let tool_name = clip(&redact_emails(tool_name), MAX_TOOL_NAME);
        Self {
            // The server refuses a row without a name, and with it the batch.
            tool_name: if tool_name.is_empty() { "unnamed".into() } else { tool_name },
            input_hash,
            result: if error.is_some() { ActionResult::Error } else { ActionResult::Ok },
            error_message: error.map(|error| clip(&redact_emails(error), MAX_ERROR_MESSAGE)).map(
                |error| {
                    if error.is_empty() { "failed without saying why".into() } else { error }
                },
            ),
            latency_ms: Some(i32::try_from(latency.as_millis()).unwrap_or(i32::MAX)),
        }
    }

    /// The mark of a run in which no listed tool was used: without a row, the persona would be due,
    /// and paid for, again at once.
    pub fn idle() -> Self {
        Self::mark(IDLE_TOOL, None)
    }

    /// The mark of a run that failed after tool calls had happened.
    pub fn failed_run(reason: &str) -> Self {
        Self::mark(RUN_TOOL, Some(reason))
    }

    fn mark(tool_name: &str, error: Option<&str>) -> Self {
        Self { latency_ms: None, ..Self::new(tool_name, None, error, Duration::ZERO) }
    }

    /// Name of the tool, ≤ 128 characters.
    pub fn tool_name(&self) -> &str {
        &self.tool_name
    }

    /// Hash of the input the model wrote.
    pub fn input_hash(&self) -> Option<&InputHash> {
        self.input_hash.as_ref()
    }

    /// How the call ended.
    pub fn result(&self) -> ActionResult {
        self.result
    }

    /// What went wrong, ≤ 500 characters.
    pub fn error_message(&self) -> Option<&str> {
        self.error_message.as_deref()
    }

    /// How long the call took, in milliseconds.
    pub fn latency_ms(&self) -> Option<i32> {
        self.latency_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stays_within_the_limits_of_the_table() {
        let long = "x\0".repeat(2000);
        let action = Action::new(&long, None, Some(&long), Duration::from_secs(u64::MAX));
        assert_eq!(action.tool_name().len(), 128);
        assert_eq!(action.error_message().map(str::len), Some(500));
        assert!(!action.tool_name().contains('\0'));
        assert_eq!(action.latency_ms(), Some(i32::MAX));
        assert_eq!(action.result(), ActionResult::Error);
    }
}
