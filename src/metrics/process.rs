//! The process and its async runtime.

use prometheus::{
    Counter, IntGauge, IntGaugeVec, Opts,
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::MetricFamily,
};
use tokio::runtime::Handle;

use super::families::{Families, Values, full_name};
use crate::version::COMMIT;

const BUSY: &str = "runtime_busy_seconds_total";
const BUSY_HELP: &str = "Time the runtime's workers spent on tasks, all workers together. Its rate divided \
                         by the workers is the busy ratio; near 1 everything is late, /health included.";
const WORKERS: &str = "runtime_workers";
const WORKERS_HELP: &str = "Worker threads of the runtime. It follows the cores at the start.";

pub(super) fn register(r: &mut Families, version: &str) -> prometheus::Result<()> {
    const HELP: &str = "Always 1; the labels say what was built. They change with a deployment.";
    let build = IntGaugeVec::new(Opts::new(full_name("build_info"), HELP), &["version", "commit"])?;
    build.with_label_values(&[version, COMMIT]).set(1);
    let labels = &[
        ("version", Values::Bounded("the version of this binary")),
        ("commit", Values::Bounded("the commit it was built from, or `unknown`")),
    ];
    r.add(("build_info", "gauge", HELP, labels), build)?;
    r.add((BUSY, "counter", BUSY_HELP, &[]), BusyTime::new()?)?;
    r.add((WORKERS, "gauge", WORKERS_HELP, &[]), Workers::new()?)?;
    r.registry.register(Box::new(ProcessCollector::for_self()))
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

/// How many workers the runtime has.
#[derive(Clone)]
struct Workers(IntGauge);

impl Workers {
    fn new() -> prometheus::Result<Self> {
        Ok(Self(IntGauge::new(full_name(WORKERS), WORKERS_HELP)?))
    }
}

impl Collector for Workers {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let workers = Handle::try_current().map_or(0, |handle| handle.metrics().num_workers());
        self.0.set(i64::try_from(workers).unwrap_or(i64::MAX));
        self.0.collect()
    }
}
