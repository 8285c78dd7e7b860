//! Lets requests to Claude through, one gate for the whole process: a limit or refusal that one persona meets
//! applies to all of them.
//!
//! - After a 429 all requests wait. The `remaining` and `reset` headers slow the fleet down before that.
//! - The number of requests at once is halved on 429 and 529, and recovers step by step.
//! - A failure that does not pass with time stops all use of the model, until a probe succeeds.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::{ClaudeError, Result};
use crate::{
    clock::Clock,
    http::{Gate as LimitGate, Pass, retry_after, text_of},
};

/// The longest pause because of `reset` headers: the limits are per minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Pause after a 429 that does not name one.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// If the first requests of this many runs in a row are refused with 400, the fault is taken to be this
/// program's.
const REFUSED_RUNS: u32 = 3;
/// Time until the first probe. It is doubled after each probe that fails.
const FIRST_WAIT: Duration = Duration::from_secs(600);
/// Longest time between probes.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Lets requests to Claude through, or holds them back.
#[derive(Debug)]
pub(super) struct Gate {
    clock: Clock,
    limits: LimitGate,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    halt: Option<Halt>,
    refused_runs: u32,
    /// Uncached prompt tokens of the largest recent request, as an estimate for the next one.
    estimate: u64,
}

/// Which requests may be sent to the model now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// All requests may be sent.
    Open,
    /// The requests of one run may be sent, to find out whether the model can be used again.
    Probe,
    /// No request may be sent, for this reason.
    Stopped(String),
}

impl Gate {
    /// A gate for at most `most` requests at once.
    pub(super) fn new(clock: Clock, most: usize) -> Self {
        Self { clock, limits: LimitGate::new(most, Duration::ZERO), state: Mutex::default() }
    }

    /// Waits until a request may be sent, but not past `deadline`.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Pass<'_>> {
        let closed = || {
            let state = self.state.lock();
            let halt = state.halt.as_ref().filter(|halt| !halt.probing)?;
            Some(ClaudeError::Stopped(halt.reason.clone()))
        };
        self.limits.enter(deadline, closed, |_| ClaudeError::WaitedEnough).await
    }

    /// Notes an answer that is a reply. `uncached` is the part of its prompt that counts towards the limits,
    /// in tokens.
    pub(super) fn note_reply(&self, headers: &HeaderMap, uncached: u64) {
        self.limits.widen();
        let mut state = self.state.lock();
        state.estimate = (state.estimate / 2).max(uncached);
        state.refused_runs = 0;
        if state.halt.take().is_some() {
            tracing::info!("Claude answers again; runs go on");
        }
        if let Some(pause) = exhausted(headers, state.estimate, self.clock.now()) {
            self.limits.hold(pause);
        }
    }

    /// Notes a request that failed, and the headers of its answer.
    pub(super) fn note_refusal(&self, error: &ClaudeError, headers: &HeaderMap) {
        if let Some(reason) = error.lasting() {
            return self.halt(reason, false);
        }
        let status = error.status().map(|status| status.as_u16());
        if matches!(status, Some(429 | 529)) {
            self.limits.narrow(2.0);
        }
        if status == Some(429) {
            self.limits.hold(retry_after(headers).unwrap_or(SHORT_PAUSE));
        }
    }

    /// Notes that the first request of a run was refused with 400. A single such refusal is enough if refused
    /// runs are what has stopped the model.
    pub(super) fn note_run(&self, error: &ClaudeError) {
        let mut state = self.state.lock();
        state.refused_runs += 1;
        let again = state.halt.as_ref().is_some_and(|halt| halt.by_runs);
        let is_enough = again || state.refused_runs >= REFUSED_RUNS;
        drop(state);
        if is_enough {
            self.halt(format!("{REFUSED_RUNS} runs in a row were refused at once: {error}"), true);
        }
    }

    /// What may be asked now. Only one probe is given out at a time.
    pub(super) fn admit(&self) -> Admission {
        let halt = &mut self.state.lock().halt;
        halt.as_mut().map_or(Admission::Open, |halt| halt.admit(self.clock.now()))
    }

    /// Notes that the tick with the probe has ended, whether or not it has sent a request.
    pub(super) fn end_probe(&self) {
        self.state.lock().halt.iter_mut().for_each(|halt| halt.probing = false);
    }

    /// Why all use of the model has stopped; `None` if it has not.
    pub(super) fn stopped(&self) -> Option<String> {
        self.state.lock().halt.as_ref().map(|halt| halt.reason.clone())
    }

    fn halt(&self, reason: String, by_runs: bool) {
        let mut state = self.state.lock();
        state.refused_runs = 0;
        let by_runs = by_runs || state.halt.as_ref().is_some_and(|halt| halt.by_runs);
        let wait = match &mut state.halt {
            None => {
                tracing::error!("all use of the model stops: {reason}");
                FIRST_WAIT
            }
            Some(halt) if halt.probing => {
                let wait = (halt.wait * 2).min(LONGEST_WAIT);
                tracing::warn!(
                    next_probe_s = wait.as_secs(),
                    "the probe was refused too, the model stays unused: {reason}"
                );
                wait
            }
            // Only a probe shows anything new. Other requests were already in flight at the stop.
            Some(halt) => return halt.by_runs = by_runs,
        };
        let since = self.clock.now();
        state.halt = Some(Halt { reason, wait, since, probing: false, by_runs });
        // Wakes the waiting requests, so that they fail at once.
        self.limits.hold(Duration::ZERO);
    }
}

/// All use of the model has stopped: the reason, and when the next probe is due.
#[derive(Debug)]
struct Halt {
    reason: String,
    wait: Duration,
    /// When the wait for the next probe began.
    since: Timestamp,
    /// Whether a run is probing now.
    probing: bool,
    /// Whether runs that were refused one after the other caused the stop, and not the account or the key.
    /// Then one more refused run shows that nothing has changed.
    by_runs: bool,
}

impl Halt {
    fn admit(&mut self, now: Timestamp) -> Admission {
        // If the clock was set back to before `since`, it no longer shows how long the wait was.
        let waited = Duration::try_from(now.duration_since(self.since));
        if self.probing || waited.is_ok_and(|waited| waited < self.wait) {
            return Admission::Stopped(self.reason.clone());
        }
        self.probing = true;
        Admission::Probe
    }
}

/// How long until a limit is reset that the headers report as used up (docs/contracts/anthropic-messages.md,
/// section 7). `None` if there is room for another request with `estimate` uncached tokens.
fn exhausted(headers: &HeaderMap, estimate: u64, now: Timestamp) -> Option<Duration> {
    let text =
        |kind: &str, what: &str| text_of(headers, &format!("anthropic-ratelimit-{kind}-{what}"));
    let until_reset = |(kind, needed): (&str, u64)| {
        let remaining: u64 = text(kind, "remaining")?.parse().ok()?;
        let reset: Timestamp = text(kind, "reset")?.parse().ok()?;
        // A reset in the past needs no wait.
        let wait = Duration::try_from(reset.duration_since(now)).ok()?;
        (remaining < needed && !wait.is_zero()).then_some(wait.min(LONGEST_PAUSE))
    };
    let limits = [("requests", 1), ("input-tokens", estimate), ("output-tokens", 1)];
    limits.into_iter().filter_map(until_reset).max()
}

#[cfg(test)]
mod tests;
