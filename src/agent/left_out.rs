//! Tools that are not offered to the model, for as long as the process lives, and what was said of them.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::schema;
use crate::{
    clients::mcp::Tool,
    domain::{ToolName, one_line},
};

/// Most tools that are remembered, of each kind: names are the server's to choose.
const MAX_KNOWN: usize = 1_000;

/// The tools that cost other tools, or a request, their place; each is told of once.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// Claude refused a request for them.
    refused: Known,
    /// Their schemas were such as Claude does not take.
    unfit: Known,
    /// They answered with an attachment that cannot be shown.
    unshown: Known,
}

type Known = Mutex<HashSet<ToolName>>;

impl LeftOut {
    /// How many tools Claude refused: as long as the number is the same, so are the tools.
    pub(crate) fn refused(&self) -> usize {
        self.refused.lock().len()
    }

    /// Those of a server's tools that can be offered, with schemas that Claude takes, and how many are left out
    /// for their schemas for the first time. Hidden ones are not looked at.
    pub(crate) fn sift(&self, tools: &[Tool], hidden: &[String]) -> (Vec<Tool>, u64) {
        let (mut offered, mut newly) = (Vec::with_capacity(tools.len()), 0);
        for mut tool in tools.iter().cloned() {
            let is_hidden = hidden.iter().any(|name| name == tool.name.as_str());
            if !is_hidden && self.refused.lock().contains(&tool.name) {
                continue;
            }
            let unfit = match tool.misfit {
                Some(why) => Some(why.to_owned()),
                None if is_hidden => None,
                None => schema::fit(&mut tool.input_schema).err(),
            };
            match unfit {
                None => offered.push(tool),
                Some(unfit) if !is_hidden && remember(&self.unfit, &tool.name) => {
                    newly += 1;
                    tracing::warn!(
                        tool = one_line(tool.name.as_str()),
                        "a tool's input schema is none that Claude takes, so no persona is offered it: {unfit}"
                    );
                }
                Some(_) => {}
            }
        }
        (offered, newly)
    }

    /// Claude refused a request for this tool. Whether that is new.
    pub(crate) fn refuse(&self, tool: &ToolName) -> bool {
        let is_new = remember(&self.refused, tool);
        if is_new {
            let tool = one_line(tool.as_str());
            tracing::warn!(tool, "Claude refused a tool, so no persona is offered it any more");
        }
        is_new
    }

    /// This tool answered with an attachment that cannot be shown to the model.
    pub(super) fn note_attachment(&self, tool: &ToolName, why: &'static str) {
        if remember(&self.unshown, tool) {
            let tool = one_line(tool.as_str());
            tracing::warn!(tool, "an image or PDF is not shown to the model: {why}");
        }
    }
}

/// Whether it was not known before.
fn remember(known: &Known, tool: &ToolName) -> bool {
    let mut known = known.lock();
    known.len() < MAX_KNOWN && known.insert(tool.clone())
}
