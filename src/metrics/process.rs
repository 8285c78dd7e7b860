//! The process and its async runtime.

use tokio::runtime::Handle;

use super::{
    Metrics,
    families::{Series, Values, families},
};
use crate::version::COMMIT;

const VERSIONS: Values = Values::Bounded("the version of this binary");
const COMMITS: Values = Values::Bounded("the commit it was built from, or `unknown`");

families! { Process {
    /// Always 1; the labels say what was built. They change with a deployment.
    build: gauge "build_info" { version: VERSIONS, commit: COMMITS };
    /// Time the runtime's workers spent on tasks, all workers together. Its rate divided by the workers is the
    /// busy ratio; near 1 everything is late, /health included.
    busy: counter "runtime_busy_seconds_total" {};
    /// Worker threads of the runtime: two, whatever the machine has.
    workers: gauge "runtime_workers" {};
    /// Tasks of the runtime that have not ended. It follows the runs in flight and the connections; growth
    /// between ticks is a leak.
    tasks: gauge "runtime_tasks" {};
    /// Log lines that were dropped because nobody read them in time, or that could not be written. Growth means
    /// that the log collector stalls or its disk is full.
    log_lines_dropped: counter "log_lines_dropped_total" {};
} }

impl Process {
    pub(super) fn set_build(&self, version: &str) {
        self.build.at([version, COMMIT]).set(1.0);
    }

    /// Reads the runtime's own numbers. A ratio computed here would depend on who scrapes how often; from a
    /// counter of busy time every reader computes its own.
    pub(super) fn refresh(&self) {
        let Ok(runtime) = Handle::try_current().map(|handle| handle.metrics()) else { return };
        let workers = runtime.num_workers();
        let busy = (0..workers).map(|n| runtime.worker_total_busy_duration(n).as_secs_f64());
        self.busy.at([]).reset();
        self.busy.at([]).inc_by(busy.sum());
        self.workers.at([]).set(workers as f64);
        self.tasks.at([]).set(runtime.num_alive_tasks() as f64);
    }
}

impl Metrics {
    /// So many further log lines were lost.
    pub fn record_dropped_log_lines(&self, lines: u64) {
        self.process.log_lines_dropped.at([]).inc_by(lines as f64);
    }
}
