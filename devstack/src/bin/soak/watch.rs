//! Measures the daemon's memory during the soak.

use std::time::{Duration, Instant};

use devstack::daemon::Daemon;
use tokio::time::{MissedTickBehavior, interval};

use crate::Problem;

/// Interval between two measurements.
const PERIOD: Duration = Duration::from_secs(1);
/// When memory is first compared, in a long soak.
const SETTLED: Duration = Duration::from_secs(300);
/// Highest growth factor of the memory from that time on.
const GROWTH: f64 = 1.1;
/// Additional growth that a short soak may have, in MB. A short soak is first compared after a third of its
/// time, and SQLite's page cache (2 MB per connection) and the allocator's arenas fill up only in the first
/// minutes.
const FILLING: f64 = 3.0;
/// Number of progress lines that are printed during the soak.
const LINES: u32 = 6;

/// The measured memory in MB over time.
pub(crate) struct Watch {
    memory: Vec<(Duration, f64)>,
    lasts: Duration,
}

impl Watch {
    /// Measures for as long as the soak lasts.
    ///
    /// # Errors
    /// When the daemon has ended.
    pub(crate) async fn over(daemon: &Daemon, lasts: Duration) -> Result<Self, Problem> {
        let process = daemon.process()?;
        let (started, mut memory, mut printed) = (Instant::now(), Vec::new(), 0);
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while started.elapsed() < lasts {
            ticks.tick().await;
            let elapsed = started.elapsed();
            memory.push((elapsed, process.memory()?));
            if elapsed >= lasts / LINES * printed {
                printed += 1;
                let tasks = daemon.metric("mana_persona_runner_runtime_tasks").await?;
                println!(
                    "  after {:4} s: RSS {:.1} MB, {} descriptors, {} tasks",
                    elapsed.as_secs(),
                    process.memory()?,
                    process.descriptors()?,
                    tasks.unwrap_or(f64::NAN),
                );
            }
        }
        Ok(Self { memory, lasts })
    }

    /// The errors found in the measurements.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let is_long = self.lasts / 3 >= SETTLED;
        let settled = if is_long { SETTLED } else { self.lasts / 3 };
        let most = |settled: f64| settled * GROWTH + if is_long { 0.0 } else { FILLING };
        // Single values vary with the runs in flight, so each compared value is a median of several.
        let some = self.lasts / 10;
        let then = self.median(settled - some / 2, settled + some / 2);
        let end = self.median(self.lasts - some, Duration::MAX);
        println!(
            "  RSS: {then:.1} MB around {} s, {end:.1} MB at the end, at most {:.1} MB",
            settled.as_secs(),
            most(then)
        );
        if end <= most(then) {
            Vec::new()
        } else {
            vec![format!("memory grows: {then:.1} MB to {end:.1} MB")]
        }
    }

    fn median(&self, from: Duration, to: Duration) -> f64 {
        let within = self.memory.iter().filter(|(at, _)| (from..to).contains(at));
        let mut within: Vec<_> = within.map(|(_, memory)| *memory).collect();
        within.sort_by(f64::total_cmp);
        within.get(within.len() / 2).copied().unwrap_or(f64::NAN)
    }
}
