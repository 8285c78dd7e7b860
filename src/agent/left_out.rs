//! Tools that this process no longer offers to the model, and warnings about tools that are logged only once.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::schema;
use crate::{
    clients::mcp::Tool,
    domain::{ToolName, one_line},
};

/// How many tool names each set holds at most. The server chooses the names, so their number needs a limit.
const MAX_KNOWN: usize = 1_000;

/// Tools with a problem. Each problem of a tool is logged once in a process.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// Tools because of which Claude refused a request.
    refused: Known,
    /// Tools with an input schema that Claude does not accept.
    unfit: Known,
    /// Tools that returned an attachment that cannot be shown. They are still offered.
    unshown: Known,
}

type Known = Mutex<HashSet<ToolName>>;

impl LeftOut {
    /// The number of tools that Claude has refused. While the number is the same, so are the tools.
    pub(crate) fn refused(&self) -> usize {
        self.refused.lock().len()
    }

    /// Selects the tools of a server that can be offered, changes their schemas to ones that Claude accepts, and
    /// removes from the schemas the keys that say nothing to the model. Returns these tools, and the number of
    /// tools that are left out because of their schemas for the first time. `hidden` tools are left out without
    /// a check of their schemas.
    pub(crate) fn sift(&self, tools: &[Tool], hidden: &[String]) -> (Vec<Tool>, u64) {
        let (mut offered, mut newly) = (Vec::with_capacity(tools.len()), 0);
        for mut tool in tools.iter().cloned() {
            let is_hidden = hidden.iter().any(|name| name == tool.name.as_str());
            if is_hidden || self.refused.lock().contains(&tool.name) {
                continue;
            }
            let misfit = tool.misfit.map(str::to_owned);
            if let Some(unfit) = misfit.or_else(|| schema::fit(&mut tool.input_schema).err()) {
                if remember(&self.unfit, &tool.name) {
                    newly += 1;
                    tracing::warn!(
                        tool = one_line(tool.name.as_str()),
                        "a tool's input schema is none that Claude takes, so no persona is offered it: {unfit}"
                    );
                }
                continue;
            }
            tool.description.truncate(tool.description.trim_end().len());
            schema::trim(&mut tool.input_schema);
            offered.push(tool);
        }
        (offered, newly)
    }

    /// Records that Claude refused a request because of this tool. Returns whether this is the first time.
    pub(crate) fn refuse(&self, tool: &ToolName) -> bool {
        let is_new = remember(&self.refused, tool);
        if is_new {
            let tool = one_line(tool.as_str());
            tracing::warn!(tool, "Claude refused a tool, so no persona is offered it any more");
        }
        is_new
    }

    /// Records that this tool returned an attachment that cannot be shown to the model. The first time is
    /// logged.
    pub(super) fn note_attachment(&self, tool: &ToolName, why: &'static str) {
        if remember(&self.unshown, tool) {
            let tool = one_line(tool.as_str());
            tracing::warn!(tool, "an image or PDF is not shown to the model: {why}");
        }
    }
}

/// Adds a tool to a set. Returns whether the tool is new; false too if the set is full.
fn remember(known: &Known, tool: &ToolName) -> bool {
    let mut known = known.lock();
    known.len() < MAX_KNOWN && known.insert(tool.clone())
}
