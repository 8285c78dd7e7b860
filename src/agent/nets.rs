//! What is tried after Claude refused a request itself (400): what it may have been refused for is taken out,
//! all of it, and the request is sent again.
//!
//! First the tool that the refusal names, then thinking, then attachments. Thinking is bound to everything
//! before it, the tools included (contracts/anthropic-messages.md, section 5.4), so it goes with either.

use super::{catalog::Catalog, step::Step};
use crate::clients::claude::{ClaudeError, Message};

/// Most tools that a run goes on without.
const MAX_TOOLS: u32 = 20;

/// What was tried since the last reply: each net once for a request, and so many tools in a conversation.
#[derive(Debug, Default)]
pub(super) struct Nets {
    tools: u32,
    thinking: bool,
    attachments: bool,
}

impl Nets {
    /// Takes out of `messages` what the request may have been refused for, and says what, a tool of those
    /// on offer included; `None` if asking again makes no sense.
    pub(super) fn mend(
        &mut self,
        error: &ClaudeError,
        tools: Option<&Catalog>,
        messages: &mut Vec<Message>,
    ) -> Option<Step> {
        let may_go = |catalog: &&Catalog| self.tools < MAX_TOOLS && !catalog.is_single();
        let named = tools.filter(may_go).and_then(|catalog| catalog.nth(error.named_tool()?));
        let tool = named.map(|tool| Step::ToolLeftOut { tool: tool.clone() });
        let all = tool.into_iter().chain([Step::ThinkingStripped, Step::AttachmentsReplaced]);
        let tried = all.into_iter().find(|step| self.take_out(step, messages))?;
        let without = match &tried {
            Step::ToolLeftOut { .. } => "the tool that the refusal names",
            Step::ThinkingStripped => "thinking blocks",
            _ => "attachments",
        };
        tracing::warn!("the request is sent once more without {without}: {error}");
        Some(tried)
    }

    /// The request was answered: the next one has all nets again.
    pub(super) fn answered(&mut self) {
        *self = Self { tools: self.tools, ..Self::default() };
    }

    /// Takes out of `messages` what this step says. Whether anything has changed.
    pub(super) fn take_out(&mut self, step: &Step, messages: &mut Vec<Message>) -> bool {
        match step {
            Step::ToolLeftOut { .. } => {
                self.tools += 1;
                Message::strip_thinking(messages);
                true
            }
            Step::ThinkingStripped if !self.thinking => {
                self.thinking = Message::strip_thinking(messages);
                self.thinking
            }
            Step::AttachmentsReplaced if !self.attachments => {
                self.attachments = Message::replace_attachments(messages);
                self.attachments && {
                    Message::strip_thinking(messages);
                    true
                }
            }
            _ => false,
        }
    }
}
