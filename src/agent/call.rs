//! One tool call of a run, and what came of it.

use std::time::Duration;

use indexmap::IndexSet;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    clients::claude::{ResultBlock, ToolUse},
    domain::{Action, InputHash, ModuleName, ToolName},
};

/// What a call is told whose result died with the process that made it.
const UNKNOWN: &str = "The outcome of this call is unknown: the runner broke off while it was under \
     way. It may or may not have taken effect; check before you repeat it.";

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
    /// `deny`, `would-deny`, `flag` or `flag-result`.
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

/// A tool call and its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Called {
    /// The id of the model's `tool_use` block.
    pub id: String,
    /// What came of it.
    pub record: CallRecord,
    /// What the model gets to see.
    pub content: Vec<ResultBlock>,
    /// What the policy gate wants said.
    pub hints: Vec<String>,
}

impl CallRecord {
    /// The MCP name, or what the model wrote.
    pub fn tool_name(&self) -> &str {
        match &self.tool {
            CalledTool::Listed(name) => name.as_str(),
            CalledTool::Invented(name) => name,
        }
    }

    /// The tool, if the server lists it.
    pub fn listed(&self) -> Option<&ToolName> {
        let CalledTool::Listed(name) = &self.tool else { return None };
        Some(name)
    }

    /// The audit row of this call.
    pub(crate) fn to_action(&self) -> Action {
        let hash = self.input_hash.clone();
        Action::new(self.tool_name(), hash, self.error.as_deref(), self.latency)
    }
}

impl Called {
    /// A call that is about to be made, after so many others of the run.
    pub(super) fn after(calls: usize, call: &ToolUse, tool: CalledTool) -> Self {
        let record = CallRecord {
            number: u32::try_from(calls + 1).unwrap_or(u32::MAX),
            tool,
            input_hash: call.input_hash(),
            error: None,
            outcome_unknown: false,
            not_run: false,
            excerpt: String::new(),
            latency: Duration::ZERO,
            started: Instant::now(),
            reached: false,
            policy: Vec::new(),
        };
        Self { id: call.id.clone(), record, content: Vec::new(), hints: Vec::new() }
    }

    /// It came to nothing, and the model is told why.
    pub(super) fn fail(&mut self, why: String) {
        self.content = vec![ResultBlock::Text(why.clone())];
        self.record.error = Some(why);
    }

    /// The process died when it was about to be made, then. It is not made again, whatever it does.
    pub(super) fn broken_off(mut self, started: Instant) -> Self {
        self.fail(UNKNOWN.into());
        let excerpt = UNKNOWN.into();
        self.record = CallRecord { outcome_unknown: true, excerpt, started, ..self.record };
        self
    }
}

/// The modules of the listed tools that these calls reached, or may have, in order of first use.
pub(super) fn used_modules(calls: &[CallRecord]) -> Vec<ModuleName> {
    let tools = calls.iter().filter(|call| !call.not_run).filter_map(CallRecord::listed);
    let used: IndexSet<_> = tools.map(ToolName::module).collect();
    used.into_iter().collect()
}
