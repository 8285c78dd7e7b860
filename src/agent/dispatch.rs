//! Carrying out the tool calls of a turn: gate, order, concurrency, and what is recorded of each.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    Scope, ToolError, ToolHost,
    attachment::Attached,
    catalog::{Catalog, CatalogTool},
    day::{Earlier, number_after, unknown},
    main_turn::{CallRecord, CalledTool, Ended, PolicyNote},
    policy::{self, Decision, RecentCall},
    step::{self, Called, Recorder},
    tool_result,
};
use crate::{
    clients::{
        claude::{ResultBlock, ToolResult, ToolUse},
        mcp::{Fate, McpError, ToolOutput},
    },
    config::PolicyMode,
    domain::{clip, one_line},
};

/// Longest excerpt kept of a result, in characters; rows and recap cut it further.
const EXCERPT: usize = 500;
/// Most calls at once.
const CONCURRENT_READS: usize = 10;
/// Calls a reminder looks back on.
const LOOK_BACK: usize = 5;

/// Why a call is not made whose input could not be read whole.
const UNREADABLE_INPUT: &str = "Not run: the input holds a number that is too large or values nested \
                                too deep. Call the tool again with a simpler input.";

/// Carries out calls and keeps the record of all of them.
pub(super) struct Dispatcher<'a, H, R> {
    tools: &'a H,
    /// What is on offer.
    pub catalog: Catalog,
    scope: &'a Scope,
    recorder: &'a R,
    /// Every call so far, in the order asked.
    pub calls: Vec<CallRecord>,
    /// What an earlier process has left of the turn's calls.
    earlier: HashMap<String, Earlier>,
    /// Images and PDFs in the history.
    attached: Attached,
}

/// What came of a turn's calls.
pub(super) struct Turn {
    /// One result for each call, in the order asked.
    pub results: Vec<ToolResult>,
    /// What the policy gate wants said.
    pub hints: Vec<String>,
}

/// What is to be done with a call.
struct Plan {
    number: u32,
    call: ToolUse,
    tool: CalledTool,
    is_read_only: bool,
    step: Step,
    notes: Vec<PolicyNote>,
    hints: Vec<String>,
}

enum Step {
    Run(Arc<CatalogTool>, Map<String, Value>),
    /// Not run; the model is told why.
    Refuse(String),
}

/// A call of a turn.
enum Planned {
    /// It is to be made.
    Due(Plan),
    /// An earlier process has made it.
    Made(ToolUse, Box<Called>),
    /// An earlier process was about to make it.
    Uncertain(ToolUse, Box<Called>),
}

impl Planned {
    fn earlier(number: u32, call: &ToolUse, earlier: Earlier) -> Self {
        match earlier {
            Earlier::Called(called) => Self::Made(call.clone(), called),
            Earlier::Calling(tool, at) => {
                Self::Uncertain(call.clone(), Box::new(unknown((number, at), call, tool)))
            }
        }
    }

    fn is_read_only(&self) -> bool {
        match self {
            Self::Due(plan) => plan.is_read_only,
            Self::Made(..) | Self::Uncertain(..) => true,
        }
    }
}

/// What came of a call.
struct Answer {
    content: Vec<ResultBlock>,
    error: Option<String>,
    outcome_unknown: bool,
    not_run: bool,
    reached: bool,
    /// Set if the run has to end with it.
    ended: Option<Ended>,
}

/// Why no further call of a turn is begun.
enum NoMore {
    SessionsLost,
    Away(String),
}

impl NoMore {
    fn end(&self) -> Ended {
        match self {
            Self::SessionsLost => Ended::SessionsLost,
            Self::Away(reason) => Ended::Away { reason: reason.clone() },
        }
    }
}

struct Performed {
    record: CallRecord,
    result: ToolResult,
    hints: Vec<String>,
    ended: Option<Ended>,
}

impl<'a, H: ToolHost, R: Recorder> Dispatcher<'a, H, R> {
    pub(super) fn new(tools: &'a H, catalog: Catalog, scope: &'a Scope, recorder: &'a R) -> Self {
        let (earlier, attached) = (HashMap::new(), Attached::default());
        Self { tools, catalog, scope, recorder, calls: Vec::new(), earlier, attached }
    }

    /// Goes on after these calls, and with what is known of those of the turn that was under way.
    pub(super) fn after(
        self,
        calls: Vec<CallRecord>,
        earlier: HashMap<String, Earlier>,
        attached: Attached,
    ) -> Self {
        Self { calls, earlier, attached, ..self }
    }

    /// Takes out what this step says was taken out after a refusal.
    pub(super) fn take_out(&mut self, taken: &step::Step) {
        match taken {
            step::Step::ToolLeftOut { tool } => self.catalog.leave_out(tool),
            step::Step::AttachmentsReplaced => self.attached.refuse(),
            _ => {}
        }
    }

    /// Carries out the calls of one turn: concurrently if all of them only read, else one after the
    /// other. Results and records are in the order asked. On an end from outside, what has happened
    /// is recorded.
    pub(super) async fn carry_out(&mut self, asked: &[ToolUse]) -> Result<Turn, Ended> {
        let plans = self.plan(asked);
        let width = if plans.iter().all(Planned::is_read_only) { CONCURRENT_READS } else { 1 };
        let (tools, scope, recorder) = (self.tools, self.scope, self.recorder);
        let no_more = OnceLock::new();
        let perform = |plan| perform(tools, scope, recorder, plan, &no_more);
        let mut performed = stream::iter(plans).map(perform).buffered(width);
        let mut turn = Turn { results: Vec::with_capacity(asked.len()), hints: Vec::new() };
        let mut end = None;
        let mut attached = self.attached;
        // After an end no further call is begun, but those under way get their results too.
        while let Some(performed) = performed.next().await {
            match performed {
                Ok(mut call) => {
                    attached.ration(&mut call.result.content);
                    self.calls.push(call.record);
                    turn.results.push(call.result);
                    turn.hints.extend(call.hints);
                    end = end.or(call.ended);
                }
                Err(ended) => end = end.or(Some(ended)),
            }
        }
        drop(performed);
        self.attached = attached;
        match end {
            Some(ended) => Err(ended),
            None => Ok(turn),
        }
    }

    /// Whether each of the last calls failed, oldest first.
    pub(super) fn last_failed(&self) -> Vec<bool> {
        let from = self.calls.len().saturating_sub(LOOK_BACK);
        self.calls[from..].iter().map(|call| call.error.is_some()).collect()
    }

    fn plan(&mut self, asked: &[ToolUse]) -> Vec<Planned> {
        let now = Instant::now();
        let dispatched = |call: &&CallRecord| !call.not_run;
        let mut recent: Vec<_> = self
            .calls
            .iter()
            .filter(dispatched)
            .filter_map(|call| match &call.tool {
                CalledTool::Listed(tool) => {
                    let age = now.saturating_duration_since(call.started);
                    Some(RecentCall { tool: tool.clone(), age })
                }
                CalledTool::Invented(_) => None,
            })
            .collect();
        let mut plans = Vec::with_capacity(asked.len());
        for call in asked {
            let number = number_after(self.calls.len() + plans.len());
            if let Some(earlier) = self.earlier.remove(&call.id) {
                plans.push(Planned::earlier(number, call, earlier));
                continue;
            }
            let plan = self.plan_call(number, call, &recent);
            if let Step::Run(tool, _) = &plan.step {
                recent.push(RecentCall { tool: tool.name.clone(), age: Default::default() });
            }
            plans.push(Planned::Due(plan));
        }
        plans
    }

    fn plan_call(&self, number: u32, call: &ToolUse, recent: &[RecentCall]) -> Plan {
        let refuse = |tool, text: &str| Plan {
            number,
            call: call.clone(),
            tool,
            // It does not run, so it does not stand in the way of the others.
            is_read_only: true,
            step: Step::Refuse(text.to_owned()),
            notes: Vec::new(),
            hints: Vec::new(),
        };
        let Some(listed) = self.catalog.resolve(&call.name) else {
            let text = "There is no such tool. Use only the tools that are offered.";
            let name = self.scope.redactor.redact(&call.name).into_owned();
            return refuse(CalledTool::Invented(name), text);
        };
        let tool = CalledTool::Listed(listed.name.clone());
        if call.is_lossy() {
            return refuse(tool, UNREADABLE_INPUT);
        }
        let Some(arguments) = tool_result::as_arguments(call.input.get()) else {
            return refuse(tool, "Not run: the input must be a JSON object.");
        };
        let policy = &self.scope.policy;
        let input = Value::Object(arguments);
        let decision = match policy.mode {
            PolicyMode::Off => Decision::Allow,
            _ => policy::decide(listed, &input, recent, policy),
        };
        let Value::Object(arguments) = input else { return refuse(tool, "Not run.") };
        let (mut notes, mut hints) = (Vec::new(), Vec::new());
        match decision {
            Decision::Allow => {}
            Decision::Flag { reminder } => {
                notes.push(PolicyNote { decision: "flag", reason: policy::INJECTION_MARKER });
                hints.push(reminder);
            }
            Decision::Deny { reason, reminder } => {
                let note = PolicyNote { decision: "deny", reason: reason.as_str() };
                if policy.mode == PolicyMode::Enforce {
                    let text = format!("Not run: {}. {reminder}", reason.as_str());
                    return Plan {
                        notes: vec![note],
                        hints: vec![reminder],
                        ..refuse(tool, &text)
                    };
                }
                notes.push(PolicyNote { decision: "would-deny", ..note });
            }
        }
        if policy.mode == PolicyMode::LogOnly {
            // The soak shows what would happen; the model is not to notice.
            hints.clear();
        }
        let step = Step::Run(Arc::new(listed.clone()), arguments);
        Plan { is_read_only: listed.is_read_only, notes, hints, step, ..refuse(tool, "") }
    }
}

impl Performed {
    fn of(call: &ToolUse, called: Called) -> Self {
        let Called { record, content, hints, .. } = called;
        let result = ToolResult::of(call, content, record.error.is_some());
        Self { record, result, hints, ended: None }
    }
}

/// Carries out one call, unless the run has come to its end before it could begin.
async fn perform(
    tools: &impl ToolHost,
    scope: &Scope,
    recorder: &impl Recorder,
    planned: Planned,
    no_more: &OnceLock<NoMore>,
) -> Result<Performed, Ended> {
    // What an earlier process has done stands, whatever ends this one.
    let plan = match planned {
        Planned::Due(plan) => plan,
        Planned::Made(call, called) => return Ok(Performed::of(&call, *called)),
        Planned::Uncertain(call, called) => {
            recorder.note(&step::Step::Called((*called).clone())).await;
            return Ok(Performed::of(&call, *called));
        }
    };
    if let Some(why) = no_more.get() {
        return Err(why.end());
    }
    if scope.shutdown.is_stopping() {
        return Err(Ended::Stopped);
    }
    let started = Instant::now();
    if started >= scope.deadline {
        return Err(Ended::Deadline);
    }
    let Plan { number, call, tool, step, mut notes, mut hints, .. } = plan;
    let answer = match step {
        Step::Run(listed, arguments) => {
            let intent = step::Step::Calling { id: call.id.clone(), tool: tool.clone() };
            let answer = run(tools, scope, recorder, &intent, &listed, arguments).await;
            if let Err(Ended::Away { reason }) = &answer {
                no_more.get_or_init(|| NoMore::Away(reason.clone()));
            }
            answer?
        }
        Step::Refuse(text) => Answer { not_run: true, ..Answer::error(text) },
    };
    if matches!(answer.ended, Some(Ended::SessionsLost)) {
        no_more.get_or_init(|| NoMore::SessionsLost);
    }
    let excerpt = tool_result::text_of(&answer.content);
    if scope.policy.mode != PolicyMode::Off && policy::is_suspect(&excerpt) {
        notes.push(PolicyNote { decision: "flag-result", reason: policy::INJECTION_MARKER });
        if scope.policy.mode == PolicyMode::Enforce {
            hints.push(policy::SUSPECT_RESULT.to_owned());
        }
    }
    let record = CallRecord {
        number,
        tool,
        input_hash: call.input_hash(),
        error: answer.error,
        outcome_unknown: answer.outcome_unknown,
        not_run: answer.not_run,
        excerpt: clip(&excerpt, EXCERPT),
        latency: started.elapsed(),
        started,
        reached: answer.reached,
        policy: notes,
    };
    tracing::debug!(
        call.number = number,
        tool = one_line(record.tool_name()),
        call.ok = record.error.is_none(),
        took_ms = record.latency.as_millis() as u64,
        "tool call ended"
    );
    let called = Called { id: call.id.clone(), record, content: answer.content, hints };
    recorder.note(&step::Step::Called(called.clone())).await;
    Ok(Performed { ended: answer.ended, ..Performed::of(&call, called) })
}

/// Makes a call. Where the server is away, it is made once that is back, within the time of a tool call.
async fn run(
    tools: &impl ToolHost,
    scope: &Scope,
    recorder: &impl Recorder,
    intent: &step::Step,
    tool: &CatalogTool,
    arguments: Map<String, Value>,
) -> Result<Answer, Ended> {
    let mut give_up_at = None;
    loop {
        let written = tokio::select! {
            biased;
            written = recorder.intend(intent) => written.map_err(Ended::Unrecorded),
            (_, ended) = scope.cut_off() => Err(ended),
        };
        if let Err(ended) = written {
            // It may be written down all the same.
            not_called(recorder, intent).await;
            return Err(ended);
        }
        let left = scope.deadline.saturating_duration_since(Instant::now());
        let call = tools.call(tool, arguments.clone(), scope.tool_timeout.min(left));
        let result = tokio::select! {
            biased;
            result = call => result,
            (reason, ended) = scope.cut_off() => {
                let error = McpError::unknown(reason).into();
                let answer = Answer::of_error(&error, tool, scope);
                return Ok(Answer { ended: Some(ended), reached: false, ..answer });
            }
        };
        let reason = match result {
            Ok(output) => return Ok(Answer::of_output(&output, tool, scope)),
            Err(ToolError::Call(McpError { fate: Fate::Away, reason })) => reason,
            Err(error) => return Ok(Answer::of_error(&error, tool, scope)),
        };
        not_called(recorder, intent).await;
        let now = Instant::now();
        let give_up_at = *give_up_at.get_or_insert((now + scope.tool_timeout).min(scope.deadline));
        tokio::select! {
            biased;
            () = scope.shutdown.stopping() => return Err(Ended::Stopped),
            () = recorder.paused() => return Err(Ended::Stopped),
            is_back = tools.returns(now, give_up_at) => if !is_back {
                return Err(Ended::Away { reason });
            }
        }
    }
}

async fn not_called(recorder: &impl Recorder, intent: &step::Step) {
    if let step::Step::Calling { id, .. } = intent {
        recorder.note(&step::Step::NotCalled { id: id.clone() }).await;
    }
}

impl Answer {
    fn of_output(output: &ToolOutput, tool: &CatalogTool, scope: &Scope) -> Self {
        let note = |why| scope.left_out.note_attachment(&tool.name, why);
        let content = tool_result::to_blocks(output, &scope.redactor, note);
        let error = output.is_error.then(|| {
            let text = tool_result::text_of(&content);
            if text.trim().is_empty() {
                "the tool failed without saying why".to_owned()
            } else {
                text
            }
        });
        Self { error, reached: true, ..Self::of(content) }
    }

    fn of(content: Vec<ResultBlock>) -> Self {
        let (outcome_unknown, not_run, reached) = (false, false, false);
        Self { content, error: None, outcome_unknown, not_run, reached, ended: None }
    }

    fn error(text: String) -> Self {
        let content = vec![ResultBlock::Text(text.clone())];
        Self { error: Some(text), ..Self::of(content) }
    }

    fn of_error(error: &ToolError, tool: &CatalogTool, scope: &Scope) -> Self {
        let unknown = match error {
            ToolError::Call(McpError { fate: Fate::Unknown, .. }) => true,
            ToolError::Call(McpError { fate: Fate::Oversized, .. }) => !tool.is_read_only,
            _ => false,
        };
        let hint = match error {
            _ if unknown => {
                " The call may or may not have taken effect; check before you repeat it."
            }
            ToolError::Call(McpError { fate: Fate::Oversized, .. }) => " Ask for less.",
            ToolError::Vanished => " Go on without it.",
            _ => "",
        };
        let ended = matches!(error, ToolError::SessionsLost).then_some(Ended::SessionsLost);
        let text = scope.redactor.redact(&format!("{error}.{hint}")).into_owned();
        let not_run = error.was_not_run();
        let reached = matches!(error, ToolError::Call(_));
        Self { ended, outcome_unknown: unknown, not_run, reached, ..Self::error(text) }
    }
}

#[cfg(test)]
mod tests;
