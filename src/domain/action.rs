//! One tool call as the product's audit rows know it.

use std::time::Duration;

use super::{InputHash, clip, redact_emails};

/// The tool name of the mark a run leaves in which no listed tool was used.
pub const IDLE_TOOL: &str = "__idle";
/// The tool name of the mark a run leaves that failed after tool calls had happened.
pub(crate) const RUN_TOOL: &str = "__run";

/// Longest tool name in a row, in UTF-16 units: the length MCP allows.
const MAX_TOOL_NAME: usize = 128;
/// Longest error message in a row, in UTF-16 units.
const MAX_ERROR_MESSAGE: usize = 500;

/// A row of `persona_actions`, within the limits of the table (docs/contracts/mana-auth.md): one bad value
/// would lose the whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Name of the tool, ≤ 128 characters.
    pub tool_name: String,
    /// Hash of the input the model wrote.
    pub input_hash: Option<InputHash>,
    /// What went wrong, ≤ 500 characters; `None` if the tool did what it was asked.
    pub error_message: Option<String>,
    /// How long the call took, in milliseconds.
    pub latency_ms: Option<i32>,
}

impl Action {
    /// A call of `tool_name` with this input, that took `latency` and failed with `error`, if any.
    pub fn new(
        tool_name: &str,
        input_hash: Option<InputHash>,
        error: Option<&str>,
        latency: Duration,
    ) -> Self {
        // E-mails are shown in answers of /diag only, and models and peers quote them where they like. The
        // server refuses a row without a name, and with it the batch.
        let fit = |text: &str, most, if_empty: &str| match clip(&redact_emails(text), most) {
            text if text.is_empty() => if_empty.to_owned(),
            text => text,
        };
        Self {
            tool_name: fit(tool_name, MAX_TOOL_NAME, "unnamed"),
            input_hash,
            error_message: error.map(|it| fit(it, MAX_ERROR_MESSAGE, "failed without saying why")),
            latency_ms: Some(i32::try_from(latency.as_millis()).unwrap_or(i32::MAX)),
        }
    }

    /// The mark of a run in which no listed tool was used: without a row, the persona would be due,
    /// and paid for, again at once.
    pub fn idle() -> Self {
        Self::mark(IDLE_TOOL, None)
    }

    /// The mark of a run that failed after tool calls had happened.
    pub(crate) fn failed_run(reason: &str) -> Self {
        Self::mark(RUN_TOOL, Some(reason))
    }

    fn mark(tool_name: &str, error: Option<&str>) -> Self {
        Self { latency_ms: None, ..Self::new(tool_name, None, error, Duration::ZERO) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stays_within_the_limits_of_the_table() {
        let long = "x\0".repeat(2000);
        let action = Action::new(&long, None, Some(&long), Duration::from_secs(u64::MAX));
        assert_eq!(action.tool_name.len(), 128);
        assert_eq!(action.error_message.map(|it| it.len()), Some(500));
        assert!(!action.tool_name.contains('\0'));
        assert_eq!(action.latency_ms, Some(i32::MAX));
    }
}
