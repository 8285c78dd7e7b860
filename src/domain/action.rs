//! One tool call, as a row of the product's audit table.

use std::time::Duration;

use super::{InputHash, clip, redact_emails};

/// The tool name in the row of a run in which no listed tool was used.
pub const IDLE_TOOL: &str = "__idle";
/// The tool name in the row of a run that failed after it had called tools.
pub const RUN_TOOL: &str = "__run";

/// Longest tool name in a row, in UTF-16 units: the length MCP allows.
const MAX_TOOL_NAME: usize = 128;
/// Longest error message in a row, in UTF-16 units.
const MAX_ERROR_MESSAGE: usize = 500;

/// A row of `persona_actions`, within the limits of the table (docs/contracts/mana-auth.md). One bad value
/// would lose the whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Name of the tool, at most 128 UTF-16 units.
    pub tool_name: String,
    /// Hash of the input that the model wrote.
    pub input_hash: Option<InputHash>,
    /// What went wrong, at most 500 UTF-16 units; `None` if the tool did what it was asked to do.
    pub error_message: Option<String>,
    /// How long the call took, in milliseconds; `None` for a row that is not a call.
    pub latency_ms: Option<i32>,
}

impl Action {
    /// A call of `tool_name` with this input. It took `latency`, and failed if there is an `error`.
    pub fn new(
        tool_name: &str,
        input_hash: Option<InputHash>,
        error: Option<&str>,
        latency: Duration,
    ) -> Self {
        // Only answers of /diag show e-mails, but models and peers may quote them anywhere. The server
        // refuses a row without a name, and with it the whole batch.
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

    /// The row of a run in which no listed tool was used. Without a row, the persona would be due again at
    /// once, and would cost money again.
    pub fn idle() -> Self {
        Self::mark(IDLE_TOOL, None)
    }

    /// The row of a run that failed after it had called tools.
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
