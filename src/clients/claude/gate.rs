//! The way to Claude, one for the whole process: what one persona hears of limits and refusals, all of
//! them heed.
//!
//! - A 429 makes everybody wait; `remaining` and `reset` headers slow the fleet before that.
//! - The number of requests at once halves on 429 and 529, and recovers step by step.
//! - What waiting does not heal stops all use of the model, until a probe shows that it is over.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::{ClaudeError, Result};
use crate::{
    clock::Clock,
    http::{Gate as Door, Pass, retry_after, text_of},
};

/// Longest pause that headers ask for and get: limits are by the minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Pause after a 429 that does not say how long.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// Runs in a row whose first request was refused with 400 until the fault is taken to be ours.
const REFUSED_RUNS: u32 = 3;
/// Until the first probe; doubled after each one that finds nothing changed.
const FIRST_WAIT: Duration = Duration::from_secs(600);
/// Longest time between probes.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Lets requests through, or not.
#[derive(Debug)]
pub(super) struct Gate {
    clock: Clock,
    door: Door,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    halt: Option<Halt>,
    refused_runs: u32,
    /// Uncached prompt tokens of the largest recent request: what the next one may need.
    estimate: u64,
}

/// What may be asked of the model now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Anything.
    Open,
    /// One run, to see whether what stopped it is over.
    Probe,
    /// Nothing, for this reason.
    Stopped(String),
}

impl Gate {
    /// A gate for at most `most` requests at once.
    pub(super) fn new(clock: Clock, most: usize) -> Self {
        Self { clock, door: Door::new(most, Duration::ZERO), state: Mutex::default() }
    }

    /// Waits for a turn, but not past `deadline`.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Pass<'_>> {
        let closed = || {
            let state = self.state.lock();
            let halt = state.halt.as_ref().filter(|halt| !halt.probing)?;
            Some(ClaudeError::Stopped(halt.reason.clone()))
        };
        self.door.enter(deadline, closed, |_| ClaudeError::WaitedEnough).await
    }

    /// Takes in an answer that is a reply; `uncached` is the part of its prompt that counts towards the
    /// limits.
    pub(super) fn note_reply(&self, headers: &HeaderMap, uncached: u64) {
        self.door.widen();
        let mut state = self.state.lock();
        state.estimate = (state.estimate / 2).max(uncached);
        state.refused_runs = 0;
        if state.halt.take().is_some() {
            tracing::info!("Claude answers again; runs go on");
        }
        if let Some(pause) = exhausted(headers, state.estimate, self.clock.now()) {
            self.door.hold(pause);
        }
    }

    /// Takes in an answer that is none.
    pub(super) fn note_refusal(&self, error: &ClaudeError, headers: &HeaderMap) {
        if let Some(reason) = error.lasting() {
            return self.halt(reason, false);
        }
        let status = error.status().map(|status| status.as_u16());
        if matches!(status, Some(429 | 529)) {
            self.door.narrow(2.0);
        }
        if status == Some(429) {
            self.door.hold(retry_after(headers).unwrap_or(SHORT_PAUSE));
        }
    }

    /// Takes in that the first request of a run was refused with 400. A single one says enough where
    /// runs like it have stopped everything before.
    pub(super) fn note_run(&self, error: &ClaudeError) {
        let mut state = self.state.lock();
        state.refused_runs += 1;
        let again = state.halt.as_ref().is_some_and(|halt| halt.of_runs);
        let is_enough = again || state.refused_runs >= REFUSED_RUNS;
        drop(state);
        if is_enough {
            self.halt(format!("{REFUSED_RUNS} runs in a row were refused at once: {error}"), true);
        }
    }

    /// What may be asked now. A probe is given out once at a time.
    pub(super) fn admit(&self) -> Admission {
        let halt = &mut self.state.lock().halt;
        halt.as_mut().map_or(Admission::Open, |halt| halt.admit(self.clock.now()))
    }

    /// The tick that was given the probe is over, whether or not it asked anything.
    pub(super) fn end_probe(&self) {
        self.state.lock().halt.iter_mut().for_each(|halt| halt.probing = false);
    }

    /// Why nothing may be asked, if so.
    pub(super) fn stopped(&self) -> Option<String> {
        self.state.lock().halt.as_ref().map(|halt| halt.reason.clone())
    }

    fn halt(&self, reason: String, of_runs: bool) {
        let mut state = self.state.lock();
        state.refused_runs = 0;
        let of_runs = of_runs || state.halt.as_ref().is_some_and(|halt| halt.of_runs);
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
            // Only a probe learns something new; others were on their way already.
            Some(halt) => return halt.of_runs = of_runs,
        };
        let since = self.clock.now();
        state.halt = Some(Halt { reason, wait, since, probing: false, of_runs });
        // Who waits for a turn learns of it at once.
        self.door.hold(Duration::ZERO);
    }
}

/// All use of the model has stopped: why, and when to look again.
#[derive(Debug)]
struct Halt {
    reason: String,
    wait: Duration,
    /// When the wait began.
    since: Timestamp,
    /// Whether a run is to find out if it is over.
    probing: bool,
    /// Whether it is runs that were refused, one after the other, and not the account or the key: one more of
    /// them says that nothing has changed.
    of_runs: bool,
}

impl Halt {
    fn admit(&mut self, now: Timestamp) -> Admission {
        // Set back behind the beginning, the clock no longer says how long it has been.
        let waited = Duration::try_from(now.duration_since(self.since));
        if self.probing || waited.is_ok_and(|waited| waited < self.wait) {
            return Admission::Stopped(self.reason.clone());
        }
        self.probing = true;
        Admission::Probe
    }
}

/// How long until a limit that the headers say is used up is reset (docs/contracts/anthropic-messages.md,
/// section 7); `None` if there is room for another request of this many uncached tokens.
fn exhausted(headers: &HeaderMap, estimate: u64, now: Timestamp) -> Option<Duration> {
    let text =
        |kind: &str, what: &str| text_of(headers, &format!("anthropic-ratelimit-{kind}-{what}"));
    let until_reset = |(kind, needed): (&str, u64)| {
        let remaining: u64 = text(kind, "remaining")?.parse().ok()?;
        let reset: Timestamp = text(kind, "reset")?.parse().ok()?;
        // One that is past is no wait.
        let wait = Duration::try_from(reset.duration_since(now)).ok()?;
        (remaining < needed && !wait.is_zero()).then_some(wait.min(LONGEST_PAUSE))
    };
    let limits = [("requests", 1), ("input-tokens", estimate), ("output-tokens", 1)];
    limits.into_iter().filter_map(until_reset).max()
}

#[cfg(test)]
mod tests;
