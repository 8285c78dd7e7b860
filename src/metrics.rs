//! Every metric of the daemon, declared in one place.
//!
//! Names start with `mana_persona_runner_`, units are base units. Label values come from enums and
//! constants in this code; the one exception, tool names, is bounded by [`ToolLabels`]. Never a
//! persona, e-mail, run id, space, URL or error text.

mod labels;

use std::time::Duration;

use prometheus::{
    CounterVec, Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector, process_collector::ProcessCollector,
};

use crate::{
    domain::{Cost, Tokens},
    version::COMMIT,
};

pub use labels::{Label, RunOutcome, SessionRenewal, Stage, TickOutcome, ToolLabels, ToolOutcome};

const NAMESPACE: &str = "mana_persona_runner";

/// Seconds: HTTP requests to Mana's services and from our clients.
const REQUEST_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds: model replies.
const MODEL_BUCKETS: &[f64] = &[0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0];
/// Seconds: runs and ticks.
const RUN_BUCKETS: &[f64] = &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];

/// Seconds: what a run waits for Claude's limits, three minutes at most.
const WAIT_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0];

/// The metrics and their registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    ticks: IntCounterVec,
    tick_duration: HistogramVec,
    due: IntGauge,
    runs: IntCounterVec,
    run_duration: HistogramVec,
    runs_in_flight: IntGauge,
    backoffs: IntCounter,
    client_requests: IntCounterVec,
    client_duration: HistogramVec,
    client_retries: IntCounterVec,
    session_renewals: IntCounterVec,
    tool_calls: IntCounterVec,
    tool_duration: HistogramVec,
    tool_labels: ToolLabels,
    stop_reasons: IntCounterVec,
    tokens: IntCounterVec,
    cost: CounterVec,
    policy_decisions: IntCounterVec,
    reminders: IntCounterVec,
    model_duration: HistogramVec,
    model_wait: HistogramVec,
    rows: IntCounterVec,
    unrated_modules: IntCounter,
    server_requests: IntCounterVec,
    server_duration: HistogramVec,
}

impl Metrics {
    /// Registers every family in a registry of its own.
    ///
    /// # Errors
    /// When two families share a name, which the first test would show.
    pub fn new(version: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let r = Families(&registry);
        let metrics = Self {
            ticks: r.counters("ticks_total", "Ticks by how they ended.", &["outcome"])?,
            tick_duration: r.histogram("tick_duration_seconds", "Duration of a tick.", &[], RUN_BUCKETS)?,
            due: r.gauge("due_personas", "Personas the last tick found due.")?,
            runs: r.counters(
                "runs_total",
                "Runs of personas by outcome and the stage they ended in.",
                &["outcome", "stage"],
            )?,
            run_duration: r.histogram("run_duration_seconds", "Duration of a run.", &[], RUN_BUCKETS)?,
            runs_in_flight: r.gauge("runs_in_flight", "Runs under way.")?,
            backoffs: r.counter("run_backoffs_total", "Times a persona was held back after a failed run.")?,
            client_requests: r.counters(
                "http_client_requests_total",
                "Requests sent, by peer, operation and outcome (a status class or a kind of failure).",
                &["peer", "operation", "outcome"],
            )?,
            client_duration: r.histogram(
                "http_client_request_duration_seconds",
                "Duration of a request, answer included.",
                &["peer", "operation"],
                REQUEST_BUCKETS,
            )?,
            client_retries: r.counters(
                "http_client_retries_total",
                "Requests that were sent again.",
                &["peer", "operation"],
            )?,
            session_renewals: r.counters(
                "mcp_sessions_renewed_total",
                "MCP sessions opened in place of another one of the same run, by reason.",
                &["reason"],
            )?,
            tool_calls: r.counters(
                "tool_calls_total",
                "Tool calls the model asked for; a tool no server listed counts as unknown.",
                &["tool", "outcome"],
            )?,
            tool_duration: r.histogram(
                "tool_call_duration_seconds",
                "Duration of a tool call.",
                &[],
                REQUEST_BUCKETS,
            )?,
            tool_labels: ToolLabels::default(),
            stop_reasons: r.counters(
                "claude_stop_reasons_total",
                "Model replies by why they ended.",
                &["stop_reason"],
            )?,
            tokens: r.counters("claude_tokens_total", "Tokens billed, by kind.", &["kind"])?,
            cost: r.amounts("cost_usd_total", "What model replies cost, in USD.", &["kind"])?,
            policy_decisions: r.counters(
                "policy_decisions_total",
                "Tool calls the policy gate denied or flagged, and tool results it flagged.",
                &["decision", "reason", "mode"],
            )?,
            reminders: r.counters(
                "reminders_total",
                "Reminders given to the model, by what gave cause.",
                &["producer"],
            )?,
            model_duration: r.histogram(
                "claude_request_duration_seconds",
                "Duration of a model request that was answered.",
                &[],
                MODEL_BUCKETS,
            )?,
            model_wait: r.histogram(
                "run_claude_wait_seconds",
                "How long a run waited for Claude's limits in all, retries included.",
                &[],
                WAIT_BUCKETS,
            )?,
            rows: r.counters("rows_posted_total", "Rows mana-auth confirmed.", &["kind"])?,
            unrated_modules: r.counter(
                "unrated_modules_total",
                "Modules a persona used but did not rate, even when asked again.",
            )?,
            server_requests: r.counters(
                "http_server_requests_total",
                "Requests answered.",
                &["method", "route", "status"],
            )?,
            server_duration: r.histogram(
                "http_server_request_duration_seconds",
                "Duration of an answered request.",
                &["method", "route"],
                REQUEST_BUCKETS,
            )?,
            registry: registry.clone(),
        };
        let build = IntGaugeVec::new(
            Opts::new(full_name("build_info"), "Always 1; the labels say what was built."),
            &["version", "commit"],
        )?;
        build.with_label_values(&[version, COMMIT]).set(1);
        registry.register(Box::new(build))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        metrics.create_children();
        Ok(metrics)
    }

    /// Makes the children of closed label sets, so that zero is visible.
    fn create_children(&self) {
        for outcome in TickOutcome::ALL {
            self.ticks.with_label_values(&[outcome.as_str()]);
        }
        for outcome in RunOutcome::ALL {
            for stage in Stage::ALL {
                self.runs.with_label_values(&[outcome.as_str(), stage.as_str()]);
            }
        }
        for reason in SessionRenewal::ALL {
            self.session_renewals.with_label_values(&[reason.as_str()]);
        }
        for kind in ["input", "output", "cache_read", "cache_write"] {
            self.tokens.with_label_values(&[kind]);
            self.cost.with_label_values(&[kind]);
        }
        for kind in ["actions", "feedback"] {
            self.rows.with_label_values(&[kind]);
        }
    }

    /// The exposition in Prometheus text format.
    ///
    /// # Errors
    /// When a family cannot be encoded.
    pub fn render(&self) -> prometheus::Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// A tick ended.
    pub fn record_tick(&self, outcome: TickOutcome, took: Duration) {
        self.ticks.with_label_values(&[outcome.as_str()]).inc();
        self.tick_duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// A tick did not take place.
    pub fn record_skipped_tick(&self, outcome: TickOutcome) {
        self.ticks.with_label_values(&[outcome.as_str()]).inc();
    }

    /// /due listed this many personas.
    pub fn set_due(&self, personas: usize) {
        self.due.set(i64::try_from(personas).unwrap_or(i64::MAX));
    }

    /// A run began; it counts as in flight until the guard is dropped.
    pub fn start_run(&self) -> InFlight {
        self.runs_in_flight.inc();
        InFlight(self.runs_in_flight.clone())
    }

    /// A run ended; `waited` is what it spent on Claude's limits.
    pub fn record_run(&self, outcome: RunOutcome, stage: Stage, took: Duration, waited: Duration) {
        self.runs.with_label_values(&[outcome.as_str(), stage.as_str()]).inc();
        self.run_duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
        self.model_wait.with_label_values::<&str>(&[]).observe(waited.as_secs_f64());
    }

    /// A due persona was not run, or its run left no trace.
    pub fn record_no_run(&self, outcome: RunOutcome) {
        self.runs.with_label_values(&[outcome.as_str(), Stage::Due.as_str()]).inc();
    }

    /// A persona is held back after a failed run.
    pub fn record_backoff(&self) {
        self.backoffs.inc();
    }

    /// A request to a peer ended with `outcome`.
    pub fn record_client_request(
        &self,
        peer: &'static str,
        operation: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        self.client_requests.with_label_values(&[peer, operation, outcome]).inc();
        self.client_duration.with_label_values(&[peer, operation]).observe(took.as_secs_f64());
    }

    /// A request to a peer is sent again.
    pub fn record_client_retry(&self, peer: &'static str, operation: &'static str) {
        self.client_retries.with_label_values(&[peer, operation]).inc();
    }

    /// A run opened another MCP session.
    pub fn record_session_renewal(&self, reason: SessionRenewal) {
        self.session_renewals.with_label_values(&[reason.as_str()]).inc();
    }

    /// The model asked for a tool that some server lists; `None` for an invented one.
    pub fn record_tool_call(&self, listed: Option<&str>, outcome: ToolOutcome, took: Duration) {
        let tool = self.tool_labels.label(listed);
        self.tool_calls.with_label_values(&[&*tool, outcome.as_str()]).inc();
        self.tool_duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// The model replied.
    pub fn record_reply(
        &self,
        stop_reason: &'static str,
        tokens: &Tokens,
        cost: &Cost,
        took: Duration,
    ) {
        self.stop_reasons.with_label_values(&[stop_reason]).inc();
        let written = tokens.cache_write_5m.saturating_add(tokens.cache_write_1h);
        for (kind, count, cost) in [
            ("input", tokens.input, cost.input),
            ("output", tokens.output, cost.output),
            ("cache_read", tokens.cache_read, cost.cache_read),
            ("cache_write", written, cost.cache_write),
        ] {
            self.tokens.with_label_values(&[kind]).inc_by(count);
            self.cost.with_label_values(&[kind]).inc_by(cost.dollars());
        }
        self.model_duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// The policy gate denied or flagged a call, or flagged a result.
    pub fn record_policy(&self, decision: &'static str, reason: &'static str, mode: &'static str) {
        self.policy_decisions.with_label_values(&[decision, reason, mode]).inc();
    }

    /// A reminder was given.
    pub fn record_reminder(&self, producer: &'static str) {
        self.reminders.with_label_values(&[producer]).inc();
    }

    /// mana-auth confirmed rows of this kind (`actions` or `feedback`).
    pub fn record_rows(&self, kind: &'static str, rows: usize) {
        self.rows.with_label_values(&[kind]).inc_by(rows as u64);
    }

    /// Modules stayed without a rating.
    pub fn record_unrated(&self, modules: usize) {
        self.unrated_modules.inc_by(modules as u64);
    }

    /// A request to this daemon was answered.
    pub fn record_server_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.server_requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.server_duration.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }
}

/// Counts a run as in flight until dropped, however the run ends.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn full_name(name: &str) -> String {
    format!("{NAMESPACE}_{name}")
}

/// Makes and registers families.
struct Families<'a>(&'a Registry);

impl Families<'_> {
    fn add<C: Collector + Clone + 'static>(&self, family: C) -> prometheus::Result<C> {
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(full_name(name), help)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(full_name(name), help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(full_name(name), help), labels)?)
    }

    fn amounts(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<CounterVec> {
        self.add(CounterVec::new(Opts::new(full_name(name), help), labels)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(full_name(name), help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_there_from_the_start_with_closed_label_sets_at_zero() {
        let text = Metrics::new("1.2.3").unwrap().render().unwrap();
        let build =
            format!("mana_persona_runner_build_info{{commit=\"{COMMIT}\",version=\"1.2.3\"}} 1");
        for line in [
            "mana_persona_runner_ticks_total{outcome=\"completed\"} 0",
            "mana_persona_runner_runs_total{outcome=\"failed\",stage=\"login\"} 0",
            "mana_persona_runner_claude_tokens_total{kind=\"cache_read\"} 0",
            "mana_persona_runner_rows_posted_total{kind=\"feedback\"} 0",
            "mana_persona_runner_runs_in_flight 0",
            &build,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "));
    }

    #[test]
    fn a_run_is_in_flight_until_its_guard_is_dropped() {
        let metrics = Metrics::new("0").unwrap();
        let guard = metrics.start_run();
        assert!(metrics.render().unwrap().contains("runs_in_flight 1"));
        drop(guard);
        assert!(metrics.render().unwrap().contains("runs_in_flight 0"));
    }

    #[test]
    fn invented_tools_share_one_label_and_listed_ones_are_bounded() {
        let metrics = Metrics::new("0").unwrap();
        let took = Duration::from_millis(1);
        metrics.record_tool_call(None, ToolOutcome::Error, took);
        for n in 0..5_000 {
            metrics.record_tool_call(Some(&format!("m.t{n}")), ToolOutcome::Ok, took);
        }
        let text = metrics.render().unwrap();
        assert!(text.contains("tool_calls_total{outcome=\"error\",tool=\"unknown\"} 1"));
        let lines = text.lines().filter(|line| line.contains("tool_calls_total{")).count();
        assert!(lines <= 500, "{lines} label sets");
    }
}
