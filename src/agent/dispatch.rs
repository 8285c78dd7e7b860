//! Carries out the tool calls of a turn: the policy gate, the order, the concurrency, and the record of each
//! call.

use std::sync::OnceLock;

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    CallRecord, Called, CalledTool, Catalog, CatalogTool, Day, Ended, PolicyNote, Recorder, Scope,
    Step, ToolError, ToolHost,
    call::{NO_OBJECT, NO_SUCH_TOOL, UNREADABLE_INPUT},
    cause, policy, tool_result,
};
use crate::{
    clients::{
        claude::ToolUse,
        mcp::{Fate, McpError, ToolOutput, Tries},
    },
    config::PolicyMode,
    domain::{Cause, clip, one_line},
};

/// Longest excerpt of a result, in characters. Rows and the recap cut it further.
const EXCERPT: usize = 500;
/// How many calls are made at once, if all calls of the turn only read.
const CONCURRENT_READS: usize = 10;

pub(super) struct Dispatcher<'a, H, R> {
    pub tools: &'a H,
    pub catalog: &'a Catalog,
    pub scope: &'a Scope,
    pub recorder: &'a R,
}

/// The decision about a call.
struct Plan {
    /// The record of the call before it is made, or of its refusal.
    called: Called,
    /// The tool and its arguments. `None` for a call that is refused.
    run: Option<(CatalogTool, Map<String, Value>)>,
    /// Whether the turn has a further call that is begun as soon as this one has ended.
    is_followed: bool,
}

impl Plan {
    fn refuse(mut called: Called, cause: Cause, why: impl Into<String>) -> Self {
        called.record.not_run = true;
        called.fail(cause, why.into());
        Self { called, run: None, is_followed: false }
    }
}

impl<H: ToolHost, R: Recorder> Dispatcher<'_, H, R> {
    /// Carries out the calls of the current turn that have no result yet. If all of them only read, they are
    /// made concurrently; otherwise one after the other, in the order in which the model asked for them. If
    /// the run ends meanwhile, the calls that have already happened are recorded all the same.
    ///
    /// # Errors
    /// If the run ends before all calls are made.
    pub(super) async fn carry_out(&self, day: &mut Day) -> Result<(), Ended> {
        // The results for calls of an earlier process are written first, so that an end of this run cannot
        // lose them.
        for called in day.give_up() {
            self.recorder.note(&Step::Called(called)).await;
        }
        let mut plans = Vec::new();
        for (index, call) in day.asked().iter().enumerate() {
            if !day.under_way.contains_key(&call.id) {
                plans.push(self.plan(day, index, call, &plans));
            }
        }
        let writes = |plan: &Plan| plan.run.as_ref().is_some_and(|(tool, _)| !tool.is_read_only);
        let width = if plans.iter().any(writes) { 1 } else { CONCURRENT_READS };
        if let (1, Some((_, all_but_last))) = (width, plans.split_last_mut()) {
            all_but_last.iter_mut().for_each(|plan| plan.is_followed = true);
        }
        // After the end of the run no further call is begun, but the calls under way still get their results.
        let end = OnceLock::new();
        let mut performed =
            stream::iter(plans).map(|plan| self.perform(plan, &end)).buffered(width);
        while let Some(called) = performed.next().await {
            called.into_iter().for_each(|called| day.record_call(called));
        }
        drop(performed);
        end.into_inner().map_or(Ok(()), Err)
    }

    /// Decides about the call at `index` of the turn. `others` are the decisions about earlier calls of the
    /// turn.
    fn plan(&self, day: &Day, index: usize, call: &ToolUse, others: &[Plan]) -> Plan {
        let calls = day.calls.len() + index;
        let Some(tool) = self.catalog.resolve(&call.name) else {
            let name = self.scope.redactor.redact(&call.name).into_owned();
            let called = Called::after(calls, call, CalledTool::Invented(name));
            return Plan::refuse(called, Cause::Invented, NO_SUCH_TOOL);
        };
        let mut called = Called::after(calls, call, CalledTool::Listed(tool.name.clone()));
        let detail = &mut called.record.detail;
        (detail.reads, detail.limit_offered) = (tool.is_read_only, tool.offers_limit);
        if call.is_lossy() {
            return Plan::refuse(called, Cause::BadJson, UNREADABLE_INPUT);
        }
        let Ok(arguments) = serde_json::from_str(call.input.get()) else {
            return Plan::refuse(called, Cause::BadJson, NO_OBJECT);
        };
        let is_recent = |call: &&CallRecord| {
            let is_dispatched = !call.not_run && call.listed() == Some(&tool.name);
            is_dispatched && call.started.elapsed() < policy::RATE_WINDOW
        };
        let earlier = day.calls.iter().chain(others.iter().map(|plan| &plan.called.record));
        let recent = earlier.filter(is_recent).count();
        let policy = &self.scope.policy;
        if policy.mode != PolicyMode::Off
            && let Some(objection) = policy::object(tool, &arguments, recent, policy)
        {
            let enforces = policy.mode == PolicyMode::Enforce;
            let denies = objection != policy::Objection::Injection;
            let decision = match (denies, enforces) {
                (true, true) => "deny",
                (true, false) => "would-deny",
                (false, _) => "flag",
            };
            called.record.policy.push(PolicyNote { decision, reason: objection.as_str() });
            // In the mode log-only the model must not notice the gate.
            if enforces {
                called.hints.push(objection.reminder().to_owned());
            }
            if enforces && denies {
                let why = format!("Not run: {}. {}", objection.as_str(), objection.reminder());
                return Plan::refuse(called, Cause::RunnerPolicy, why);
            }
        }
        Plan { called, run: Some((tool.clone(), arguments)), is_followed: false }
    }

    /// Carries out one call. `None` if the run ended before the call could begin.
    async fn perform(&self, plan: Plan, end: &OnceLock<Ended>) -> Option<Called> {
        let Self { scope, recorder, .. } = self;
        let started = Instant::now();
        if scope.shutdown.is_stopping() {
            end.get_or_init(|| Ended::Stopped);
        }
        if started >= scope.deadline {
            end.get_or_init(|| Ended::Deadline);
        }
        if end.get().is_some() {
            return None;
        }
        let Plan { mut called, run, is_followed } = plan;
        if let Some((tool, arguments)) = run {
            let tries = Tries::default();
            let ran = self.run(&mut called, &tool, arguments, &tries).await;
            let detail = &mut called.record.detail;
            (detail.tries, detail.last_try) = (tries.count().max(1), tries.last());
            let is_made = ran.is_ok();
            if let Ok(Some(ended)) | Err(ended) = ran {
                end.get_or_init(|| ended);
            }
            if !is_made {
                return None;
            }
        }
        let text = tool_result::text_of(&called.content);
        let Called { record, hints, .. } = &mut called;
        if scope.policy.mode != PolicyMode::Off && policy::is_suspect(&text) {
            let reason = policy::Objection::Injection.as_str();
            record.policy.push(PolicyNote { decision: "flag-result", reason });
            if scope.policy.mode == PolicyMode::Enforce {
                hints.push(policy::SUSPECT_RESULT.to_owned());
            }
        }
        record.excerpt = clip(&text, EXCERPT);
        (record.started, record.latency) = (started, started.elapsed());
        tracing::debug!(
            call.number = record.number,
            tool = one_line(record.tool_name()),
            call.ok = record.error.is_none(),
            took_ms = record.latency.as_millis() as u64,
            "tool call ended"
        );
        let step = Step::Called(called.clone());
        match is_followed {
            true => recorder.defer(&step).await,
            false => recorder.note(&step).await,
        }
        Some(called)
    }

    /// Makes a call and records its result. If the server is away, waits for the server and makes the call
    /// then, within the time of a tool call. The output is the end of the run, if this call ended the run.
    ///
    /// # Errors
    /// If the call was not made. It must still be made when the run is resumed.
    async fn run(
        &self,
        called: &mut Called,
        tool: &CatalogTool,
        arguments: Map<String, Value>,
        tries: &Tries,
    ) -> Result<Option<Ended>, Ended> {
        let Self { tools, scope, recorder, .. } = self;
        let intent = Step::Calling { id: called.id.clone(), tool: called.record.tool.clone() };
        let not_called = Step::NotCalled { id: called.id.clone() };
        let mut give_up_at = None;
        loop {
            let written = tokio::select! {
                biased;
                written = recorder.intend(&intent) => written.map_err(Ended::Unrecorded),
                (_, ended) = scope.cut_off() => Err(ended),
            };
            if let Err(ended) = written {
                // The `Calling` may be in the journal although the write failed or was given up.
                recorder.note(&not_called).await;
                return Err(ended);
            }
            let left = scope.deadline.saturating_duration_since(Instant::now());
            let limit = scope.tool_timeout.min(left);
            let call = tools.call(tool, arguments.clone(), limit, tries);
            let result = tokio::select! {
                biased;
                result = call => result,
                (reason, ended) = scope.cut_off() => {
                    called.take_error(&McpError::unknown(reason).into(), tool, scope);
                    called.record.detail.cause = Some(Cause::Stopped);
                    return Ok(Some(ended));
                }
            };
            let reason = match result {
                Ok(output) => {
                    called.take_output(&output, tool, scope);
                    return Ok(None);
                }
                Err(ToolError::Call(McpError { fate: Fate::Away, reason, .. })) => reason,
                Err(error) => {
                    called.take_error(&error, tool, scope);
                    called.record.reached = matches!(error, ToolError::Call(_));
                    // The call's own time limit ends at the deadline too, and comes first.
                    let cause = &mut called.record.detail.cause;
                    if *cause == Some(Cause::Cut) && Instant::now() >= scope.deadline {
                        *cause = Some(Cause::Stopped);
                    }
                    return Ok((error == ToolError::SessionsLost).then_some(Ended::SessionsLost));
                }
            };
            recorder.note(&not_called).await;
            let now = Instant::now();
            let longest = (now + scope.tool_timeout).min(scope.deadline);
            tokio::select! {
                biased;
                () = scope.shutdown.stopping() => return Err(Ended::Stopped),
                () = recorder.paused() => return Err(Ended::Stopped),
                is_back = tools.returns(now, *give_up_at.get_or_insert(longest)) => if !is_back {
                    return Err(Ended::Away(reason));
                }
            }
        }
    }
}

impl Called {
    fn take_output(&mut self, output: &ToolOutput, tool: &CatalogTool, scope: &Scope) {
        let note = |why| scope.left_out.note_attachment(&tool.name, why);
        let (content, chars) = tool_result::to_blocks(output, &scope.redactor, note);
        self.content = content;
        let CallRecord { reached, detail, .. } = &mut self.record;
        (*reached, detail.chars, detail.cut) = (true, chars, tool_result::is_cut(chars));
        self.record.error = output.is_error.then(|| match tool_result::text_of(&self.content) {
            text if text.trim().is_empty() => "the tool failed without saying why".to_owned(),
            text => text,
        });
        let name = tool.name.as_str();
        self.record.detail.cause =
            self.record.error.as_deref().map(|text| cause::of_output(text, name));
    }

    fn take_error(&mut self, error: &ToolError, tool: &CatalogTool, scope: &Scope) {
        let (is_unknown, hint) = match error {
            ToolError::Call(McpError { fate: Fate::Oversized, .. }) if tool.is_read_only => {
                (false, " Ask for less.")
            }
            ToolError::Call(McpError { fate: Fate::Unknown | Fate::Oversized, .. }) => {
                (true, " The call may or may not have taken effect; check before you repeat it.")
            }
            ToolError::Vanished => (false, " Go on without it."),
            _ => (false, ""),
        };
        self.record.outcome_unknown = is_unknown;
        self.record.not_run = !matches!(error, ToolError::Call(error) if !error.was_not_run());
        let cause = cause::of_error(error, tool.name.as_str());
        self.fail(cause, scope.redactor.redact(&format!("{error}.{hint}")).into_owned());
    }
}

#[cfg(test)]
mod tests;
