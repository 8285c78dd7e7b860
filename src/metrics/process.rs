//! Metrics of the process and of its async runtime.

use tokio::runtime::Handle;

use super::families::{Values, families};

const VERSIONS: Values = Values::Bounded("the version of this binary");
const COMMITS: Values = Values::Bounded("the commit it was built from, or `unknown`");

families! { Process {
    /// Always 1; the labels say what was built. They change with a deployment.
    pub(super) build: gauge "build_info" { version: VERSIONS, commit: COMMITS };
    /// Time the runtime's workers spent on tasks, all workers together. Its rate divided by the workers is
    /// the busy ratio; near 1 everything is late, /health included.
    busy: counter "runtime_busy_seconds_total" {};
    /// Worker threads of the runtime: two, whatever the machine has.
    workers: gauge "runtime_workers" {};
    /// Tasks of the runtime that have not ended. It follows the runs in flight and the connections; growth
    /// between ticks is a leak.
    tasks: gauge "runtime_tasks" {};
    /// Log lines that were dropped because nobody read them in time, or that could not be written. Growth
    /// means that the log collector stalls or its disk is full.
    pub log_lines_dropped: counter "log_lines_dropped_total" {};
} }

impl Process {
    /// Reads the metrics of tokio's runtime. They contain a counter of busy time and no ratio: a ratio
    /// computed here would depend on how often the metrics are scraped, and each reader can compute its own
    /// ratio from the counter.
    pub(super) fn refresh(&self) {
        let Ok(runtime) = Handle::try_current().map(|handle| handle.metrics()) else { return };
        let workers = runtime.num_workers();
        let busy = (0..workers).map(|n| runtime.worker_total_busy_duration(n).as_secs_f64());
        self.busy.reset();
        self.busy.inc_by(busy.sum());
        self.workers.set(workers as f64);
        self.tasks.set(runtime.num_alive_tasks() as f64);
    }
}
