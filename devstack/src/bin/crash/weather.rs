//! Faults of mana-auth during half of the time.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use devstack::{chance::Chance, fault::Fault, wire::Served};
use tokio::{task::JoinHandle, time::sleep};

/// Longest period with or without faults, in milliseconds.
const LONGEST: u64 = 1_200;

/// Switches the faults on and off until `end` is called; from then on they stay off.
pub(crate) struct Weather {
    is_bad: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Weather {
    /// Plans the faults at this peer.
    pub(crate) fn over(served: &Served, seed: u64) -> Self {
        let is_bad = Arc::new(AtomicBool::new(false));
        let faults = [
            (20, Fault::Reset),
            (25, Fault::HandledThenReset),
            (25, Fault::HandledThenRespond { status: 503, body: r#"{"error":"busy"}"#.into() }),
            (8, Fault::Hang),
            // All remaining requests.
            (100, Fault::status(503, r#"{"error":"unavailable"}"#)),
        ];
        for (purpose, (percent, fault)) in (100..).zip(faults) {
            let (is_bad, chance) = (is_bad.clone(), Mutex::new(Chance::new(seed, purpose)));
            served.faults.inject(usize::MAX, fault, move |_| {
                let mut chance = chance.lock().unwrap_or_else(PoisonError::into_inner);
                is_bad.load(SeqCst) && chance.percent(percent)
            });
        }
        let changing = is_bad.clone();
        let mut chance = Chance::new(seed, 2);
        let task = tokio::spawn(async move {
            loop {
                // Periods with and without faults have the same average length.
                sleep(chance.millis(100, LONGEST)).await;
                changing.fetch_xor(true, SeqCst);
            }
        });
        Self { is_bad, task }
    }

    /// Switches the faults off for good.
    pub(crate) async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
        self.is_bad.store(false, SeqCst);
    }
}
