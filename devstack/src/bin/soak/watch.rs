//! Looks at the daemon's memory while the soak goes on.

use std::time::{Duration, Instant};

use devstack::daemon::Daemon;
use tokio::time::{MissedTickBehavior, interval};

use crate::Problem;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// When memory is looked at first in a long soak.
const SETTLED: Duration = Duration::from_secs(300);
/// Most the memory may grow by from then on.
const GROWTH: f64 = 1.1;
/// What is beyond that in a short soak, which is looked at after a third of its time: SQLite's page cache
/// (2 MB a connection) and the allocator's arenas fill up in the first minutes and then stay. In MB.
const FILLING: f64 = 3.0;
/// Lines about it.
const LINES: u32 = 6;

/// Memory in MB over time.
pub(crate) struct Watch {
    memory: Vec<(Duration, f64)>,
    lasts: Duration,
}

impl Watch {
    /// Looks for as long as the soak lasts.
    ///
    /// # Errors
    /// When the daemon has ended.
    pub(crate) async fn over(daemon: &Daemon, lasts: Duration) -> Result<Self, Problem> {
        let process = daemon.process()?;
        let (started, mut memory, mut told) = (Instant::now(), Vec::new(), 0);
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while started.elapsed() < lasts {
            ticks.tick().await;
            let elapsed = started.elapsed();
            memory.push((elapsed, process.memory()?));
            if elapsed >= lasts / LINES * told {
                told += 1;
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

    /// What is wrong with it.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let is_long = self.lasts / 3 >= SETTLED;
        let settled = if is_long { SETTLED } else { self.lasts / 3 };
        let most = |settled: f64| settled * GROWTH + if is_long { 0.0 } else { FILLING };
        // Single looks go up and down with the runs in flight, so that each is a median of some.
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
