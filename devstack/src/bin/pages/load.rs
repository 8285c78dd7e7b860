//! What readers of the page cost the runs: ticks without and with them, one after the other.

use std::{path::PathBuf, time::Duration};

use crate::{
    Problem,
    measured::{Measured, ms, target},
    phase::{self, Outcome},
};

/// Highest ratio of the p99 of a step's write with readers to that without.
const WRITES: f64 = 1.2;
/// Highest p99 of /health.
const HEALTH: Duration = Duration::from_millis(50);
/// Largest write-ahead log, in bytes.
const WAL: u64 = 16_000_000;

/// What is measured.
pub(crate) struct Options {
    /// The folder of the journal that is copied; `None` for an empty one.
    pub folder: Option<PathBuf>,
    /// Pause of each reader before its next page.
    pub pause: Duration,
    /// Number of ticks without and with readers.
    pub rounds: u64,
    /// How long the daemon rests before its memory is read again.
    pub rest: Duration,
}

/// Measures; returns whether all targets are met.
pub(crate) fn run(options: &Options) -> Result<bool, Problem> {
    let mut steps = [Measured::default(), Measured::default()];
    let mut is_met = true;
    for _ in 0..options.rounds {
        for has_readers in [false, true] {
            println!("{}:", if has_readers { "with readers" } else { "without readers" });
            let outcome = phase::run(options, has_readers)?;
            is_met &= told(&outcome, options);
            let all = &mut steps[usize::from(has_readers)];
            *all = std::mem::take(all).with(&outcome.steps);
        }
    }
    let [without, with] = steps.map(|steps| steps.percentile(99));
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!("all ticks:");
    let measured = format!("{ratio:.2} x ({:.2} ms, without {:.2} ms)", ms(with), ms(without));
    is_met &= target(
        "p99 of a step's write with readers",
        &measured,
        &format!("{WRITES} x"),
        ratio <= WRITES,
    );
    Ok(is_met)
}

/// Prints what a tick was like; returns whether it meets its targets.
fn told(outcome: &Outcome, options: &Options) -> bool {
    let Outcome { steps, health, wal, memory: [before, peak, after, rested], read } = outcome;
    let [p50, p99, longest] = [50, 99, 100].map(|percent| ms(steps.percentile(percent)));
    println!(
        "  a step's write: p50 {p50:.2} ms, p99 {p99:.2} ms, longest {longest:.1} ms ({} steps)",
        steps.count()
    );
    let p99 = health.percentile(99);
    let measured = format!(
        "{:.1} ms (longest {:.1}, {} probes, {} failed)",
        ms(p99),
        ms(health.percentile(100)),
        health.took.len(),
        health.failed
    );
    let most = format!("{} ms", HEALTH.as_millis());
    let mut is_met =
        target("p99 of /health", &measured, &most, p99 <= HEALTH && health.failed == 0);
    #[expect(clippy::cast_precision_loss, reason = "file sizes are far below 2^53")]
    let [measured, most] = [*wal, WAL].map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
    is_met &= target("write-ahead log", &measured, &most, *wal <= WAL);
    println!(
        "  RSS with probes and readers: {before:.1} MB before, {peak:.1} MB at most, {after:.1} MB at the end"
    );
    if let Some(read) = read {
        println!("  RSS after {} s of rest: {rested:.1} MB", options.rest.as_secs());
        println!(
            "  {} pages: p50 {:.1} ms, p95 {:.1} ms, longest {:.1} ms; statuses {:?}; {} events",
            read.took.count(),
            ms(read.took.percentile(50)),
            ms(read.took.percentile(95)),
            ms(read.took.percentile(100)),
            read.statuses,
            read.events
        );
    }
    is_met
}
