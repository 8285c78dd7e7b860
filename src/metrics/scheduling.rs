//! Ticks and the runs of personas.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    DueBy, Metrics, TickOutcome,
    families::{Families, Values, all},
};
use crate::domain::{Label, RunOutcome, Stage, WhyNotRun};

/// Seconds.
const BUCKETS: &[f64] = &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// Seconds: what a run waits for Claude's limits, three minutes at most.
const WAIT_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0];

#[derive(Debug)]
pub(super) struct Scheduling {
    ticks: IntCounterVec,
    tick_duration: HistogramVec,
    tick_interval: Gauge,
    paused: IntGauge,
    due: IntGaugeVec,
    skipped: IntCounterVec,
    runs: IntCounterVec,
    run_duration: HistogramVec,
    model_wait: HistogramVec,
    runs_in_flight: IntGauge,
    runs_resumed: IntCounter,
    last_finished_run: Gauge,
    backoffs: IntCounter,
}

impl Scheduling {
    pub(super) fn new(r: &mut Families) -> prometheus::Result<Self> {
        Ok(Self {
            ticks: r.counters(
                "ticks_total",
                "Ticks by how they ended. Growth of failed means that nobody can say who is due, of \
                 overlap that ticks take longer than their interval.",
                &[("outcome", Values::Closed(all::<TickOutcome>))],
            )?,
            tick_duration: r.histogram(
                "tick_duration_seconds",
                "Duration of a tick. It grows with the number of due personas and with what slows \
                 their runs down.",
                &[],
                BUCKETS,
            )?,
            tick_interval: r.measure(
                "tick_interval_seconds",
                "TICK_INTERVAL_MS. It changes with a restart only.",
            )?,
            paused: r.gauge(
                "paused",
                "1 while the runner is paused and starts no tick, else 0. Somebody has to resume it.",
            )?,
            due: r.gauges(
                "due_personas",
                "Personas the last tick found due, by their cadence; unknown is a row of /due that cannot \
                 be read. Where it does not fall, runs fail or personas are held back.",
                &[("cadence", Values::Closed(all::<DueBy>))],
            )?,
            skipped: r.counters(
                "personas_skipped_total",
                "Due personas that a tick did not run, by the reason, at each tick anew. Growth of held-back \
                 means that runs fail, of budget and model-stopped that nobody runs.",
                &[("why", Values::Closed(all::<WhyNotRun>))],
            )?,
            runs: r.counters(
                "runs_total",
                "Runs of personas by outcome and the stage they ended in. Growth of failed at one stage \
                 points to the peer that this stage needs; put_off waits for mana-mcp and is counted at each tick.",
                &[
                    ("outcome", Values::Closed(all::<RunOutcome>)),
                    ("stage", Values::Closed(all::<Stage>)),
                ],
            )?,
            run_duration: r.histogram(
                "run_duration_seconds",
                "Duration of a run. It grows with slow replies, slow tools and waiting for Claude's \
                 limits.",
                &[],
                BUCKETS,
            )?,
            model_wait: r.histogram(
                "run_claude_wait_seconds",
                "How long a run waited for Claude's limits in all, retries included. It grows when the \
                 fleet is larger than the account's limits.",
                &[],
                WAIT_BUCKETS,
            )?,
            runs_in_flight: r.gauge(
                "runs_in_flight",
                "Runs under way. At PERSONA_CONCURRENCY all the time, the fleet waits for its turn.",
            )?,
            runs_resumed: r.counter(
                "runs_resumed_total",
                "Times an unfinished run was gone on with from the journal. It grows when the process \
                 was killed or stopped in the middle of runs.",
            )?,
            last_finished_run: r.measure(
                "last_finished_run_timestamp_seconds",
                "When the last run ended well, in Unix time, also before a restart; 0 if none ever did. \
                 Standing still while personas are due, nothing gets done.",
            )?,
            backoffs: r.counter(
                "run_backoffs_total",
                "Times a persona was held back after a failed run. It grows while the same personas \
                 fail again and again.",
            )?,
        })
    }
}

impl Metrics {
    /// A tick ended.
    pub fn record_tick(&self, outcome: TickOutcome, took: Duration) {
        self.scheduling.ticks.with_label_values(&[outcome.as_str()]).inc();
        let duration = &self.scheduling.tick_duration;
        duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// A tick did not take place.
    pub fn record_skipped_tick(&self, outcome: TickOutcome) {
        self.scheduling.ticks.with_label_values(&[outcome.as_str()]).inc();
    }

    /// TICK_INTERVAL_MS.
    pub fn set_tick_interval(&self, interval: Duration) {
        self.scheduling.tick_interval.set(interval.as_secs_f64());
    }

    /// Whether the runner is paused, by its environment or on request.
    pub fn set_paused(&self, paused: bool) {
        self.scheduling.paused.set(paused.into());
    }

    /// /due listed these personas.
    pub fn set_due(&self, personas: impl Iterator<Item = DueBy> + Clone) {
        for cadence in DueBy::ALL {
            let due = personas.clone().filter(|persona| persona == cadence).count();
            let gauge = self.scheduling.due.with_label_values(&[cadence.as_str()]);
            gauge.set(i64::try_from(due).unwrap_or(i64::MAX));
        }
    }

    /// A tick did not run so many due personas, for this reason.
    pub fn record_skipped(&self, why: WhyNotRun, personas: usize) {
        let counter = self.scheduling.skipped.with_label_values(&[why.as_str()]);
        counter.inc_by(u64::try_from(personas).unwrap_or(u64::MAX));
    }

    /// A run began; it counts as in flight until the guard is dropped.
    pub fn start_run(&self) -> InFlight {
        self.scheduling.runs_in_flight.inc();
        InFlight(self.scheduling.runs_in_flight.clone())
    }

    /// A run ended; `waited` is what it spent on Claude's limits.
    pub fn record_run(&self, outcome: RunOutcome, stage: Stage, took: Duration, waited: Duration) {
        self.scheduling.runs.with_label_values(&[outcome.as_str(), stage.as_str()]).inc();
        let duration = &self.scheduling.run_duration;
        duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
        let wait = &self.scheduling.model_wait;
        wait.with_label_values::<&str>(&[]).observe(waited.as_secs_f64());
    }

    /// A run ended well, at this time.
    pub fn record_finished_run(&self, at: Timestamp) {
        self.scheduling.last_finished_run.set(at.as_millisecond() as f64 / 1_000.0);
    }

    /// A run is continued from the journal.
    pub fn record_resumed_run(&self) {
        self.scheduling.runs_resumed.inc();
    }

    /// A due persona was not run, or its run left no trace.
    pub fn record_no_run(&self, outcome: RunOutcome) {
        let labels = [outcome.as_str(), Stage::Due.as_str()];
        self.scheduling.runs.with_label_values(&labels).inc();
    }

    /// A persona is held back after a failed run.
    pub fn record_backoff(&self) {
        self.scheduling.backoffs.inc();
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
