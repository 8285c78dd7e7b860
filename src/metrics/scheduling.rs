//! Metrics of ticks and of the runs of personas.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::Gauge;

use super::{
    Metrics, TickOutcome,
    families::{Values, closed, families},
};
use crate::domain::{Cadence, Label, RunOutcome, Stage, WhyNotRun};

/// Buckets in seconds, for ticks and runs.
const BUCKETS: &[f64] = &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// Buckets in seconds, for the time that a run waits for Claude's limits. A run waits three minutes at most.
const WAIT_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0];

/// The cadence label of a row of /due that cannot be read.
const UNKNOWN: &str = "unknown";
const CADENCES: Values = Values::Closed(|| {
    Cadence::ALL.iter().map(|cadence| cadence.as_str()).chain([UNKNOWN]).collect()
});

families! { Scheduling {
    /// Ticks by how they ended. Growth of failed means that nobody can say who is due, of overlap that ticks
    /// take longer than their interval.
    ticks: counter "ticks_total" { outcome: closed::<TickOutcome>() };
    /// Duration of a tick. It grows with the number of due personas and with what slows their runs down.
    tick_duration: histogram "tick_duration_seconds" {} BUCKETS;
    /// TICK_INTERVAL_MS. It changes with a restart only.
    pub tick_interval: gauge "tick_interval_seconds" {};
    /// 1 while the runner is paused and starts no tick, else 0. Somebody has to resume it.
    pub paused: gauge "paused" {};
    /// Personas the last tick found due, by their cadence; unknown is a row of /due that cannot be read.
    /// Where it does not fall, runs fail or personas are held back.
    due: gauge "due_personas" { cadence: CADENCES };
    /// Due personas that a tick did not run, by the reason, at each tick anew. Growth of held-back means that
    /// runs fail, of budget and model-stopped that nobody runs.
    skipped: counter "personas_skipped_total" { why: closed::<WhyNotRun>() };
    /// Runs of personas by outcome and the stage they ended in. Growth of failed at one stage points to the
    /// peer that this stage needs; put_off waits for mana-mcp and is counted at each tick.
    runs: counter "runs_total" { outcome: closed::<RunOutcome>(), stage: closed::<Stage>() };
    /// Duration of a run. It grows with slow replies, slow tools and waiting for Claude's limits.
    run_duration: histogram "run_duration_seconds" {} BUCKETS;
    /// How long a run waited for Claude's limits in all, retries included. It grows when the fleet is larger
    /// than the account's limits.
    model_wait: histogram "run_claude_wait_seconds" {} WAIT_BUCKETS;
    /// Runs under way. At PERSONA_CONCURRENCY all the time, the fleet waits for its turn.
    runs_in_flight: gauge "runs_in_flight" {};
    /// Times an unfinished run was gone on with from the journal. It grows when the process was killed or
    /// stopped in the middle of runs.
    pub runs_resumed: counter "runs_resumed_total" {};
    /// When the last run ended well, in Unix time, also before a restart; 0 if none ever did. Standing still
    /// while personas are due, nothing gets done.
    last_finished_run: gauge "last_finished_run_timestamp_seconds" {};
    /// Times a persona was held back after a failed run. It grows while the same personas fail again and
    /// again.
    pub backoffs: counter "run_backoffs_total" {};
} }

impl Metrics {
    /// Records the end of a tick and its duration.
    pub(crate) fn record_tick(&self, outcome: TickOutcome, took: Duration) {
        self.record_skipped_tick(outcome);
        self.scheduling.tick_duration.observe(took.as_secs_f64());
    }

    /// Records a tick that did not take place.
    pub(crate) fn record_skipped_tick(&self, outcome: TickOutcome) {
        self.scheduling.ticks.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Sets the number of due personas by their cadences. `None` is a row of /due that cannot be read.
    pub(crate) fn set_due(&self, cadences: impl Iterator<Item = Option<Cadence>> + Clone) {
        for cadence in Cadence::ALL.iter().copied().map(Some).chain([None]) {
            let due = cadences.clone().filter(|due_by| *due_by == cadence).count();
            let label = cadence.map_or(UNKNOWN, Cadence::as_str);
            self.scheduling.due.with_label_values(&[label]).set(due as f64);
        }
    }

    /// Records that a tick did not run `personas` due personas, for this reason.
    pub(crate) fn record_skipped(&self, why: WhyNotRun, personas: usize) {
        self.scheduling.skipped.with_label_values(&[why.as_str()]).inc_by(personas as f64);
    }

    /// Records the start of a run. The run counts as in flight until the guard is dropped.
    pub(crate) fn start_run(&self) -> InFlight {
        self.scheduling.runs_in_flight.inc();
        InFlight(self.scheduling.runs_in_flight.clone())
    }

    /// Records the end of a run. `waited` is the time that the run waited for Claude's limits.
    pub(crate) fn record_run(
        &self,
        outcome: RunOutcome,
        stage: Stage,
        took: Duration,
        waited: Duration,
    ) {
        self.scheduling.runs.with_label_values(&[outcome.as_str(), stage.as_str()]).inc();
        self.scheduling.run_duration.observe(took.as_secs_f64());
        self.scheduling.model_wait.observe(waited.as_secs_f64());
    }

    /// Records that a run ended successfully at this time.
    pub(crate) fn record_finished_run(&self, at: Timestamp) {
        self.scheduling.last_finished_run.set(at.as_millisecond() as f64 / 1_000.0);
    }

    /// Records a due persona that was not run, or whose run left no trace.
    pub(crate) fn record_no_run(&self, outcome: RunOutcome) {
        self.scheduling.runs.with_label_values(&[outcome.as_str(), Stage::Due.as_str()]).inc();
    }
}

/// A guard that counts a run as in flight until it is dropped, also if the run is aborted.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
