//! Repairs a request that Claude refused as invalid (400): a possible cause of the refusal is removed
//! completely, and the request is sent again.
//!
//! Removed are first the tool that the refusal names, then thinking, then attachments. Thinking is bound to
//! everything before it, the tools included (docs/contracts/anthropic-messages.md, section 5.4), so it is
//! removed together with a tool or with attachments.

use super::{catalog::Catalog, ended::Ended, step::Step};
use crate::clients::claude::Message;

/// Removes a possible cause of the refusal from `messages`, and returns the removal as a step. `None` if the
/// request was not refused as invalid, or if there is nothing left to remove. `tools` are the offered tools,
/// if one of them may be removed.
pub(super) fn mend(
    refused: &Ended,
    tools: Option<&Catalog>,
    messages: &mut Vec<Message>,
) -> Option<Step> {
    let Ended::Model(error) = refused else { return None };
    if !error.is_bad_request() {
        return None;
    }
    let named = tools.and_then(|catalog| catalog.removable(error.named_tool()?));
    let tool = named.map(|tool| Step::ToolLeftOut { tool: tool.clone() });
    let all = tool.into_iter().chain([Step::ThinkingStripped, Step::AttachmentsReplaced]);
    let removal = all.into_iter().find(|step| take_out(step, messages))?;
    let without = match &removal {
        Step::ToolLeftOut { .. } => "the tool that the refusal names",
        Step::ThinkingStripped => "thinking blocks",
        _ => "attachments",
    };
    tracing::warn!("the request is sent once more without {without}: {error}");
    Some(removal)
}

/// Applies the removal `step` to `messages`. Returns whether anything has changed. The second removal of the
/// same kind changes nothing, so each kind is tried once for a request.
pub(super) fn take_out(step: &Step, messages: &mut Vec<Message>) -> bool {
    match step {
        Step::ThinkingStripped => Message::strip_thinking(messages),
        Step::AttachmentsReplaced if !Message::replace_attachments(messages) => false,
        Step::ToolLeftOut { .. } | Step::AttachmentsReplaced => {
            Message::strip_thinking(messages);
            true
        }
        _ => false,
    }
}
