//! The process and its async runtime.

use prometheus::{
    Counter, IntCounter, IntGauge, IntGaugeVec, Opts,
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::MetricFamily,
};
use tokio::runtime::{Handle, RuntimeMetrics};

use super::{
    Metrics,
    families::{Families, Values, full_name},
};
use crate::version::COMMIT;

const BUSY: &str = "runtime_busy_seconds_total";
const BUSY_HELP: &str = "Time the runtime's workers spent on tasks, all workers together. Its rate divided \
                         by the workers is the busy ratio; near 1 everything is late, /health included.";
const WORKERS: &str = "runtime_workers";
const WORKERS_HELP: &str = "Worker threads of the runtime: two, whatever the machine has.";
const TASKS: &str = "runtime_tasks";
const TASKS_HELP: &str = "Tasks of the runtime that have not ended. It follows the runs in flight and the \
                          connections; growth between ticks is a leak.";

const LOST_LINES_HELP: &str = "Log lines that were dropped because nobody read them in time, or that could not be \
                               written. Growth means that the log collector stalls or its disk is full.";

/// Registers what is read by itself, and returns the counter of log lines that were lost.
pub(super) fn register(r: &mut Families, version: &str) -> prometheus::Result<IntCounter> {
    const HELP: &str = "Always 1; the labels say what was built. They change with a deployment.";
    let build = IntGaugeVec::new(Opts::new(full_name("build_info"), HELP), &["version", "commit"])?;
    build.with_label_values(&[version, COMMIT]).set(1);
    let labels = &[
        ("version", Values::Bounded("the version of this binary")),
        ("commit", Values::Bounded("the commit it was built from, or `unknown`")),
    ];
    r.add(("build_info", "gauge", HELP, labels), build)?;
    r.add((BUSY, "counter", BUSY_HELP, &[]), BusyTime::new()?)?;
    let workers = Reading::new(WORKERS, WORKERS_HELP, RuntimeMetrics::num_workers)?;
    r.add((WORKERS, "gauge", WORKERS_HELP, &[]), workers)?;
    let tasks = Reading::new(TASKS, TASKS_HELP, RuntimeMetrics::num_alive_tasks)?;
    r.add((TASKS, "gauge", TASKS_HELP, &[]), tasks)?;
    r.registry.register(Box::new(ProcessCollector::for_self()))?;
    r.counter("log_lines_dropped_total", LOST_LINES_HELP)
}

impl Metrics {
    /// So many further log lines were lost.
    pub fn record_dropped_log_lines(&self, lines: u64) {
        self.log_lines_dropped.inc_by(lines);
    }
}

/// The runtime's own counter of busy time, read when it is asked for. A ratio computed here would
/// depend on who scrapes how often; from a counter every reader computes its own.
#[derive(Clone)]
struct BusyTime(Counter);

impl BusyTime {
    fn new() -> prometheus::Result<Self> {
        Ok(Self(Counter::new(full_name(BUSY), BUSY_HELP)?))
    }
}

impl Collector for BusyTime {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let busy = Handle::try_current().map_or(0.0, |handle| {
            let metrics = handle.metrics();
            let workers = 0..metrics.num_workers();
            workers.map(|n| metrics.worker_total_busy_duration(n).as_secs_f64()).sum()
        });
        // A fresh counter each time: two scrapes at once must not add to the same one.
        let Ok(reading) = Self::new() else { return Vec::new() };
        reading.0.inc_by(busy);
        reading.0.collect()
    }
}

/// A number of the runtime's, read when it is asked for.
#[derive(Clone)]
struct Reading {
    gauge: IntGauge,
    read: fn(&RuntimeMetrics) -> usize,
}

impl Reading {
    fn new(name: &str, help: &str, read: fn(&RuntimeMetrics) -> usize) -> prometheus::Result<Self> {
        Ok(Self { gauge: IntGauge::new(full_name(name), help)?, read })
    }
}

impl Collector for Reading {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let number = Handle::try_current().map_or(0, |handle| (self.read)(&handle.metrics()));
        self.gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        self.gauge.collect()
    }
}
