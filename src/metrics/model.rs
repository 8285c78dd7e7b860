//! Metrics of conversations with Claude: replies, tokens, money, tools, the policy gate, reminders.

use std::time::Duration;

use super::{
    BudgetScope, Metrics, REQUEST_BUCKETS, ToolFault, ToolOutcome,
    families::{Values, closed, families},
};
use crate::domain::{Cost, Label, Tokens, Usd};

/// How many tool names get a label value of their own. A server may list any names, and must not decide the
/// number of time series. mana-mcp lists about sixty tools.
const MAX_TOOLS: usize = 150;

/// Buckets in seconds, for model requests.
const REPLY_BUCKETS: &[f64] = &[0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0];

const STOP_REASONS: Values = Values::Closed(|| {
    let reasons = "end_turn tool_use max_tokens stop_sequence pause_turn refusal \
                   model_context_window_exceeded unknown";
    reasons.split(' ').collect()
});
const TOKEN_KINDS: Values = Values::Closed(|| vec!["input", "output", "cache_read", "cache_write"]);
const DECISIONS: Values = Values::Known(|| vec!["flag", "deny", "would-deny", "flag-result"]);
const DENIALS: &[&str] =
    &["admin-scope-not-invokable", "destructive-not-allowed", "rate-limit-exceeded"];
const MARKER: &str = "injection-marker";
const REASONS: Values = Values::Known(|| [DENIALS, &[MARKER]].concat());
const MODES: Values = Values::Known(|| vec!["off", "log-only", "enforce"]);
const PRODUCERS: Values =
    Values::Closed(|| vec!["turns", "long_day", "failures", "cost", "policy"]);
const SCOPES: Values = closed::<BudgetScope>();
const TOOLS: Values = Values::Bounded(
    "the first 150 names that mana-mcp lists, `other` beyond them, `unknown` for what it does not list",
);

families! { Model {
    /// 1 while all use of the model has stopped because of something that waiting does not heal (key,
    /// account, model, spend limit), else 0. /health has the reason.
    pub stopped: gauge "model_stopped" {};
    /// Model replies by why they ended. Growth of max_tokens or refusal means that replies are cut off or
    /// turned down.
    stop_reasons: counter "claude_stop_reasons_total" { stop_reason: STOP_REASONS };
    /// Duration of a model request that was answered. It grows with the length of the replies and with
    /// Claude's load.
    reply_duration: histogram "claude_request_duration_seconds" {} REPLY_BUCKETS;
    /// Model requests whose answer was lost, on its way or with the process; they count as spent and are
    /// asked again.
    pub answers_lost: counter "answers_lost_total" {};
    /// Tokens billed, by kind. Growth of input against cache_read means that the prompt cache is missed.
    tokens: counter "claude_tokens_total" { kind: TOKEN_KINDS };
    /// What model replies cost in USD, by kind of token. Its increase over a day is the day's bill.
    cost: counter "cost_usd_total" { kind: TOKEN_KINDS };
    /// Money the ledger holds as spent or reserved in the current UTC day or month. It falls to 0 when the
    /// next one begins.
    budget_used: gauge "budget_used_usd" { scope: SCOPES };
    /// BUDGET_DAILY_USD and BUDGET_MONTHLY_USD, 0 where no cap is set.
    budget_cap: gauge "budget_cap_usd" { scope: SCOPES };
    /// Used part of the cap. It rarely gets to 1: money is reserved before it is spent, and what does not fit
    /// any more is not asked (budget_cap_reached). 0 where no cap is set.
    budget_ratio: gauge "budget_used_ratio" { scope: SCOPES };
    /// 1 since a request did not fit under BUDGET_DAILY_USD or BUDGET_MONTHLY_USD any more: no run starts
    /// until the next UTC day or month begins or the cap is raised, which makes it 0 again.
    budget_reached: gauge "budget_cap_reached" { scope: SCOPES };
    /// Tool calls the model asked for. Growth of error for one tool points to a fault of the product, of the
    /// tool unknown to a model that invents tools.
    tool_calls: counter "tool_calls_total" { tool: TOOLS, outcome: closed::<ToolOutcome>() };
    /// Duration of a tool call. At 10 s mana-mcp cuts the call and its outcome is unknown.
    tool_duration: histogram "tool_call_duration_seconds" {} REQUEST_BUCKETS;
    /// Tools that mana-mcp lists and no persona is offered, by why Claude does not take them, each counted
    /// once. The log names each in a warning.
    tools_left_out: counter "tools_left_out_total" { reason: closed::<ToolFault>() };
    /// Tool calls the policy gate denied or flagged, and tool results it flagged. It grows when the model
    /// leaves its bounds or somebody plants instructions in the product.
    policy_decisions: counter "policy_decisions_total" { decision: DECISIONS, reason: REASONS, mode: MODES };
    /// Reminders given to the model, by what gave cause. An ordinary run has none.
    reminders: counter "reminders_total" { producer: PRODUCERS };
    /// Modules a persona used but did not rate, even when asked again. Growth means that Monday's insight is
    /// thin.
    unrated_modules: counter "unrated_modules_total" {};
} }

impl Model {
    /// Creates the series of the policy gate with the value 0. Without them the first denial would be a new
    /// series and no increase.
    pub(super) fn create_decisions(&self) {
        for (mode, denied) in [("enforce", "deny"), ("log-only", "would-deny")] {
            for reason in DENIALS {
                self.policy_decisions.with_label_values(&[denied, reason, mode]);
            }
            for flagged in ["flag", "flag-result"] {
                self.policy_decisions.with_label_values(&[flagged, MARKER, mode]);
            }
        }
    }
}

impl Metrics {
    /// Records a reply of the model: its stop reason, its billed tokens, their cost and the duration of the
    /// request.
    pub fn record_reply(
        &self,
        stop_reason: &'static str,
        tokens: &Tokens,
        cost: &Cost,
        took: Duration,
    ) {
        self.model.stop_reasons.with_label_values(&[stop_reason]).inc();
        let written = tokens.cache_write_5m.saturating_add(tokens.cache_write_1h);
        for (kind, count, cost) in [
            ("input", tokens.input, cost.input),
            ("output", tokens.output, cost.output),
            ("cache_read", tokens.cache_read, cost.cache_read),
            ("cache_write", written, cost.cache_write),
        ] {
            self.model.tokens.with_label_values(&[kind]).inc_by(count as f64);
            self.model.cost.with_label_values(&[kind]).inc_by(cost.dollars());
        }
        self.model.reply_duration.observe(took.as_secs_f64());
    }

    /// Sets the spent and reserved money of the current day or month, and the cap. `None` means no cap.
    pub(crate) fn set_budget(&self, scope: BudgetScope, used: Usd, cap: Option<Usd>) {
        let (used, cap) = (used.dollars(), cap.map(Usd::dollars));
        // A cap of 0 counts as fully used.
        let ratio = cap.map_or(0.0, |cap| if cap > 0.0 { used / cap } else { 1.0 });
        let labels = [scope.as_str()];
        self.model.budget_used.with_label_values(&labels).set(used);
        self.model.budget_cap.with_label_values(&labels).set(cap.unwrap_or_default());
        self.model.budget_ratio.with_label_values(&labels).set(ratio);
    }

    /// Sets whether the fleet has reached the cap of a period. Then no run starts.
    pub(crate) fn set_budget_reached(&self, period: BudgetScope, reached: bool) {
        let labels = [period.as_str()];
        self.model.budget_reached.with_label_values(&labels).set(reached.into());
    }

    /// Records a tool call. `listed` is the name of the tool, and `None` for a tool that the model invented.
    pub(crate) fn record_tool_call(
        &self,
        listed: Option<&str>,
        outcome: ToolOutcome,
        took: Duration,
    ) {
        let tool = listed.map_or("unknown", |name| self.tool_label(name));
        // The first call of a tool creates all series of the tool, so that the first error is an increase
        // from 0.
        for known in ToolOutcome::ALL {
            let calls = self.model.tool_calls.with_label_values(&[tool, known.as_str()]);
            calls.inc_by((*known == outcome).into());
        }
        self.model.tool_duration.observe(took.as_secs_f64());
    }

    /// The label value of a listed tool: its name for the first [`MAX_TOOLS`] tools, `other` for later ones.
    fn tool_label<'n>(&self, name: &'n str) -> &'n str {
        let mut known = self.known_tools.lock();
        if !known.contains(name) {
            if known.len() >= MAX_TOOLS {
                return "other";
            }
            known.insert(name.to_owned());
        }
        name
    }

    /// Records that `tools` further tools are no longer offered to any persona.
    pub(crate) fn record_tools_left_out(&self, why: ToolFault, tools: u64) {
        self.model.tools_left_out.with_label_values(&[why.as_str()]).inc_by(tools as f64);
    }

    /// Records that the policy gate denied or flagged a call, or flagged a result.
    pub(crate) fn record_policy(
        &self,
        decision: &'static str,
        reason: &'static str,
        mode: &'static str,
    ) {
        self.model.policy_decisions.with_label_values(&[decision, reason, mode]).inc();
    }

    /// Records a reminder to the model, by its cause.
    pub(crate) fn record_reminder(&self, producer: &'static str) {
        self.model.reminders.with_label_values(&[producer]).inc();
    }

    /// Records that `modules` used modules have no rating.
    pub(crate) fn record_unrated(&self, modules: usize) {
        self.model.unrated_modules.inc_by(modules as f64);
    }
}
