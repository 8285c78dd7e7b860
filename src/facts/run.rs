//! The facts of one run, as they are stored when the run ends.

use jiff::Timestamp;

use super::{Fingerprint, line};
use crate::domain::Cause;

/// The facts of one run. The ids of issues are assigned when the facts are stored: [`line::Call::issue`] and
/// [`line::Hit::issue`] are empty here, and the fingerprints stand beside the lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFacts {
    /// The calls, by number, each with the fingerprint of its issue.
    pub calls: Vec<(line::Call, Option<Fingerprint>)>,
    /// The modules that the run used, by name.
    pub modules: Vec<line::Module>,
    /// The issues that the run hit, in the order of their first call.
    pub hits: Vec<(SeenIssue, line::Hit)>,
    /// The tools that the run used, by name.
    pub tools: Vec<line::Tool>,
}

/// An issue as one run saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenIssue {
    /// Identifies the issue.
    pub fingerprint: Fingerprint,
    /// The tool; `None` if the cause does not depend on the tool.
    pub tool: Option<String>,
    /// Why the calls failed.
    pub cause: Cause,
    /// The template of the error texts.
    pub template: String,
    /// When the first of the run's failures began.
    pub at: Timestamp,
    /// The number of that call.
    pub call: u32,
}
