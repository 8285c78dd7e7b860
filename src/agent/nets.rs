//! What is tried after Claude refused a request itself (400): what it may have been refused for is taken out,
//! all of it, and the request is sent again.
//!
//! First the tool that the refusal names, then thinking, then attachments. Thinking is bound to everything
//! before it, the tools included (docs/contracts/anthropic-messages.md, section 5.4), so it goes with either.

use super::{catalog::Catalog, ended::Ended, step::Step};
use crate::clients::claude::Message;

/// Takes out of `messages` what the request may have been refused for, and says what; `None` if it was not
/// refused, or asking again makes no sense. `tools` are those on offer, where one of them may go.
pub(super) fn mend(
    refused: &Ended,
    tools: Option<&Catalog>,
    messages: &mut Vec<Message>,
) -> Option<Step> {
    let Ended::Model(error) = refused else { return None };
    if !error.is_bad_request() {
        return None;
    }
    let named = tools.and_then(|catalog| catalog.nth(error.named_tool()?));
    let tool = named.map(|tool| Step::ToolLeftOut { tool: tool.clone() });
    let all = tool.into_iter().chain([Step::ThinkingStripped, Step::AttachmentsReplaced]);
    let tried = all.into_iter().find(|step| take_out(step, messages))?;
    let without = match &tried {
        Step::ToolLeftOut { .. } => "the tool that the refusal names",
        Step::ThinkingStripped => "thinking blocks",
        _ => "attachments",
    };
    tracing::warn!("the request is sent once more without {without}: {error}");
    Some(tried)
}

/// Takes out of `messages` what this step says. Whether anything has changed: what is taken out once is gone, so
/// that each is tried once for a request.
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
