//! The faults that the peers show from time to time.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use devstack::{Devstack, chance::Chance, fault::Fault, recorder::Recorded, wire::Served};
use tokio::time::sleep;

/// Time between two losses of all sessions, in milliseconds.
const SESSION_LOSS: (u64, u64) = (3_000, 9_000);
/// If a fault has not occurred before, it is applied to the request with this number, so that a soak of one
/// minute sees every fault.
const LATEST_REQUEST: u64 = 30;
/// Latency of a slow tool call.
const SLOW: Duration = Duration::from_millis(800);

/// How many times each fault occurred.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met(Arc<Mutex<Vec<(&'static str, Count)>>>);

type Count = Arc<AtomicUsize>;

/// Faults that stay active until they are ended.
pub(crate) struct Faults<'a> {
    peers: &'a Devstack,
    met: Met,
    lost: Count,
    chance: Mutex<Chance>,
}

impl<'a> Faults<'a> {
    /// Plans the faults at these peers; `seed` selects the random numbers.
    pub(crate) fn over(peers: &'a Devstack, seed: u64) -> Self {
        let met = Met::default();
        let overloaded =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        let limited =
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
        let busy = Fault::HandledThenRespond { status: 503, body: r#"{"error":"busy"}"#.into() };
        let down = Fault::status(503, r#"{"error":"unavailable"}"#);
        let is_post = |request: &Recorded| {
            request.path().ends_with("/actions") || request.path().ends_with("/feedback")
        };
        let is_message = |request: &Recorded| request.path() == "/v1/messages";
        let is_call =
            |request: &Recorded| request.body.windows(10).any(|part| part == b"tools/call");
        let (auth, mcp, claude) = (&peers.auth.served, &peers.mcp.served, &peers.claude.served);
        let mut plan = FaultPlan { met: met.clone(), seed };
        // The numbers are thousandths of the requests that the fault may be applied to.
        plan.on(claude, "529", 15, Fault::status(529, overloaded), is_message);
        plan.on(claude, "429", 3, Fault::retry_after(429, 1, limited), is_message);
        plan.on(auth, "503 of a post", 50, down, is_post);
        plan.on(auth, "503 of a post that was taken", 20, busy, is_post);
        plan.on(mcp, "slow tool", 20, Fault::Delay(SLOW), is_call);
        let lost = met.add("loss of all sessions");
        let chance = Mutex::new(Chance::new(seed, 50));
        Self { peers, met, lost, chance }
    }

    /// Makes mana-mcp lose all sessions from time to time, as a restart does, for as long as the future is
    /// polled.
    pub(crate) async fn lose_sessions(&self) -> Infallible {
        loop {
            let (least, most) = SESSION_LOSS;
            let pause = {
                let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
                chance.millis(least, most)
            };
            sleep(pause).await;
            self.peers.mcp.forget_sessions().await;
            self.lost.fetch_add(1, SeqCst);
        }
    }

    /// Ends all faults and returns how many times each occurred.
    pub(crate) fn end(self) -> Met {
        for served in [&self.peers.auth.served, &self.peers.mcp.served, &self.peers.claude.served] {
            served.faults.clear();
        }
        self.met
    }
}

struct FaultPlan {
    met: Met,
    seed: u64,
}

impl FaultPlan {
    fn on(
        &mut self,
        served: &Served,
        name: &'static str,
        thousandths: u64,
        fault: Fault,
        matches: impl Fn(&Recorded) -> bool + Send + Sync + 'static,
    ) {
        let count = self.met.add(name);
        // Each fault has its own sequence of random numbers.
        self.seed += 1;
        let state = Mutex::new((Chance::new(self.seed, thousandths), 0));
        served.faults.inject(usize::MAX, fault, move |request| {
            if !matches(request) {
                return false;
            }
            let (chance, seen) = &mut *state.lock().unwrap_or_else(PoisonError::into_inner);
            *seen += 1;
            let is_due = *seen == LATEST_REQUEST && count.load(SeqCst) == 0;
            let applies = chance.between(0, 1_000) < thousandths || is_due;
            count.fetch_add(usize::from(applies), SeqCst);
            applies
        });
    }
}

impl Met {
    fn add(&self, name: &'static str) -> Count {
        let count = Count::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((name, count.clone()));
        count
    }

    fn counts(&self) -> Vec<(&'static str, usize)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, count)| (*name, count.load(SeqCst))).collect()
    }

    /// Names of the faults that never occurred: without them the soak proves nothing.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.counts().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        let texts: Vec<_> =
            counts.iter().map(|(name, count)| format!("{count} x {name}")).collect();
        f.write_str(&texts.join(", "))
    }
}
