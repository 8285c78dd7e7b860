//! One tool call of a run, and its result.

use std::time::Duration;

use indexmap::IndexSet;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::catalog;
use crate::{
    clients::claude::{ResultBlock, ToolUse},
    domain::{Action, Cause, InputHash, ModuleName, ToolName, optional_word},
};

/// The result that the model gets for a call during which the process died.
pub(super) const UNKNOWN: &str = "The outcome of this call is unknown: the runner broke off while it was under \
     way. It may or may not have taken effect; check before you repeat it.";

/// The error of a call of a tool that the model invented.
pub(super) const NO_SUCH_TOOL: &str = "There is no such tool. Use only the tools that are offered.";
/// The error of a call whose input could not be read without losing a value.
pub(super) const UNREADABLE_INPUT: &str = "Not run: the input holds a number that is too large or \
     values nested too deep. Call the tool again with a simpler input.";
/// The error of a call whose input is JSON, but no object.
pub(super) const NO_OBJECT: &str = "Not run: the input must be a JSON object.";

/// The record of a tool call, for the audit row and the recap of the rating prompt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallRecord {
    /// The number of the call in the run, from 1.
    pub number: u32,
    /// The tool that was called.
    pub tool: CalledTool,
    /// Hash of the input as the model wrote it. `None` if the input is no JSON or nests too deep.
    pub input_hash: Option<InputHash>,
    /// The error message. `None` if the call succeeded.
    pub error: Option<String>,
    /// Whether it is unknown if the tool ran.
    pub outcome_unknown: bool,
    /// Whether the tool certainly did not run: the server refused the request, the policy gate denied the
    /// call, or the model invented the tool. An earlier version did not store this and asked for a rating in
    /// these cases too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_run: bool,
    /// The beginning of the result's text.
    pub excerpt: String,
    /// How long the call took, with all its tries and the pauses between them.
    pub latency: Duration,
    /// What the facts need beyond the audit row. Earlier versions did not store it.
    #[serde(default, skip_serializing_if = "CallDetail::is_missing")]
    pub detail: CallDetail,
    /// When the call began. For a call of an earlier process, this is computed from the times of its steps.
    #[serde(skip, default = "Instant::now")]
    pub started: Instant,
    /// Whether this process made the call and the product answered it or failed. False for a call that was
    /// denied, invented or cut off.
    #[serde(skip)]
    pub reached: bool,
    /// Decisions of the policy gate on the call and on its result. They are not stored: only the process that
    /// made the call counts them.
    #[serde(skip)]
    pub policy: Vec<PolicyNote>,
}

/// What the facts need to know of a call beyond its audit row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallDetail {
    /// Why the call failed.
    #[serde(with = "optional_word")]
    pub cause: Option<Cause>,
    /// How often the call was tried; 0 if it was refused before.
    pub tries: u32,
    /// How long the last try took.
    pub last_try: Duration,
    /// The size of the result's text before it was cut, in characters.
    pub chars: u64,
    /// Whether the result's text was cut.
    pub cut: bool,
    /// Whether the tool only reads.
    pub reads: bool,
    /// Whether the tool offers a parameter that limits the size of its result.
    pub limit_offered: bool,
}

impl CallDetail {
    /// Whether an earlier version stored the call: this version stores a cause or a try with each call.
    pub(super) fn is_missing(&self) -> bool {
        *self == Self::default()
    }
}

/// A decision of the policy gate, as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyNote {
    /// `deny`, `would-deny`, `flag` or `flag-result`.
    pub decision: &'static str,
    /// The broken rule, as [`super::policy::Objection`] names it.
    pub reason: &'static str,
}

/// The tool that the model asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalledTool {
    /// A tool that the server lists.
    Listed(ToolName),
    /// A name that the model invented; no offered tool has it.
    Invented(String),
}

/// A tool call and its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Called {
    /// The id of the model's `tool_use` block.
    pub id: String,
    /// The record of the call.
    pub record: CallRecord,
    /// The result as the model gets it.
    pub content: Vec<ResultBlock>,
    /// Reminders of the policy gate for the model.
    pub hints: Vec<String>,
}

impl CallRecord {
    /// The MCP name of the tool, or the name that the model invented.
    pub fn tool_name(&self) -> &str {
        match &self.tool {
            CalledTool::Listed(name) => name.as_str(),
            CalledTool::Invented(name) => name,
        }
    }

    /// The tool; `None` if the model invented it.
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
    /// The record of a call that is about to be made. `calls` is the number of earlier calls in the run.
    pub(super) fn after(calls: usize, call: &ToolUse, tool: CalledTool) -> Self {
        let number = u32::try_from(calls + 1).unwrap_or(u32::MAX);
        Self::new(number, &call.id, call.input_hash(), tool)
    }

    fn new(number: u32, id: &str, input_hash: Option<InputHash>, tool: CalledTool) -> Self {
        let record = CallRecord {
            number,
            tool,
            input_hash,
            error: None,
            outcome_unknown: false,
            not_run: false,
            excerpt: String::new(),
            latency: Duration::ZERO,
            detail: CallDetail::default(),
            started: Instant::now(),
            reached: false,
            policy: Vec::new(),
        };
        Self { id: id.to_owned(), record, content: Vec::new(), hints: Vec::new() }
    }

    /// Turns the call into a failed one. The model gets `why` as the result.
    pub(super) fn fail(&mut self, cause: Cause, why: String) {
        self.content = vec![ResultBlock::Text(why.clone())];
        self.record.error = Some(why);
        self.record.detail.cause = Some(cause);
    }

    /// A call whose outcome is unknown: the process died when it was about to make the call. The call is not
    /// repeated, not even if the tool only reads.
    pub(super) fn broken_off(
        number: u32,
        id: &str,
        input_hash: Option<InputHash>,
        tool: CalledTool,
    ) -> Self {
        let mut called = Self::new(number, id, input_hash, tool);
        called.fail(Cause::Stopped, UNKNOWN.into());
        let CallRecord { outcome_unknown, excerpt, detail, tool, .. } = &mut called.record;
        (*outcome_unknown, *excerpt) = (true, UNKNOWN.into());
        if let CalledTool::Listed(name) = tool {
            detail.reads = catalog::reads_by_name(name);
        }
        called
    }
}

/// The modules of the listed tools that these calls have reached or may have reached, in the order of first
/// use.
pub(super) fn used_modules(calls: &[CallRecord]) -> Vec<ModuleName> {
    let tools = calls.iter().filter(|call| !call.not_run).filter_map(CallRecord::listed);
    let used: IndexSet<_> = tools.map(ToolName::module).collect();
    used.into_iter().collect()
}
