//! One tool call of a run, and what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::domain::{Action, InputHash, ModuleName, ToolName};

/// One tool call and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallRecord {
    /// Its number in the run, from 1.
    pub number: u32,
    /// What was called.
    pub tool: CalledTool,
    /// Hash of the input as the model wrote it.
    pub input_hash: Option<InputHash>,
    /// What went wrong, if anything.
    pub error: Option<String>,
    /// Whether nobody knows if it ran.
    pub outcome_unknown: bool,
    /// Whether it certainly did nothing: refused at the door, denied or invented. An earlier version did not
    /// say, and asked for a rating all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_run: bool,
    /// The beginning of the result's text.
    pub excerpt: String,
    /// How long it took.
    pub latency: Duration,
    /// When it began; of a call of an earlier process, by the times of its steps.
    #[serde(skip, default = "Instant::now")]
    pub started: Instant,
    /// Whether this process made it and the product failed or did it: not denied, invented or cut off.
    #[serde(skip)]
    pub reached: bool,
    /// What the policy gate had to say of it and of its result. Counted by the process that made the
    /// call.
    #[serde(skip)]
    pub policy: Vec<PolicyNote>,
}

/// A decision of the policy gate, as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyNote {
    /// `deny`, `flag` or `flag-result`.
    pub decision: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The tool a call went to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalledTool {
    /// One the server lists.
    Listed(ToolName),
    /// A name the model made up.
    Invented(String),
}

impl CallRecord {
    /// The MCP name, or what the model wrote.
    pub fn tool_name(&self) -> &str {
        match &self.tool {
            CalledTool::Listed(name) => name.as_str(),
            CalledTool::Invented(name) => name,
        }
    }

    /// The audit row of this call.
    pub fn to_action(&self) -> Action {
        let hash = self.input_hash.clone();
        Action::new(self.tool_name(), hash, self.error.as_deref(), self.latency)
    }
}

/// The modules of the listed tools that these calls reached, or may have, in order of first use.
pub(super) fn used_modules(calls: &[CallRecord]) -> Vec<ModuleName> {
    let mut used = Vec::new();
    for call in calls.iter().filter(|call| !call.not_run) {
        if let CalledTool::Listed(name) = &call.tool {
            let module = name.module();
            if !used.contains(&module) {
                used.push(module);
            }
        }
    }
    used
}
