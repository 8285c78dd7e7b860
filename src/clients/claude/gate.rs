//! The way to Claude, one for the whole process: what one persona hears of limits and refusals, all of
//! them heed.
//!
//! - A 429 makes everybody wait; `remaining` and `reset` headers slow the fleet before that.
//! - The number of requests at once halves on 429 and 529, and recovers step by step.
//! - What waiting does not heal stops all use of the model, until a probe shows that it is over.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{ClaudeError, halt::Halt};
use crate::clock::Clock;

/// Longest pause that headers ask for and get: limits are by the minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Pause after a 429 that does not say how long.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// Runs in a row whose first request was refused with 400 until the fault is taken to be ours.
const REFUSED_RUNS: u32 = 3;

/// Lets requests through, or not.
#[derive(Debug)]
pub(super) struct Gate {
    clock: Clock,
    /// Most requests at once, ever.
    most: f64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// Requests at once for now, ≥ 1; its fraction is progress towards one more.
    limit: f64,
    pause_until: Option<Instant>,
    halt: Option<Halt>,
    refused_runs: u32,
    /// Uncached prompt tokens of the largest recent request: what the next one may need.
    estimate: u64,
}

/// A request on its way. Dropped, it makes room for another.
#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        drop(state);
        self.0.changed.notify_waiters();
    }
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
        let most = most.max(1) as f64;
        let state = State {
            in_flight: 0,
            limit: most,
            pause_until: None,
            halt: None,
            refused_runs: 0,
            estimate: 0,
        };
        Self { clock, most, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Waits for a turn, but not past `deadline`.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Pass<'_>, ClaudeError> {
        loop {
            // Registered before looking, so that no change is missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let wait_until = {
                let mut state = self.state();
                if let Some(reason) = state.halt.as_ref().and_then(Halt::closes) {
                    return Err(ClaudeError::Stopped { reason });
                }
                let paused = state.pause_until.filter(|until| *until > Instant::now());
                if paused.is_none() && (state.in_flight as f64) < state.limit.floor() {
                    state.in_flight += 1;
                    return Ok(Pass(self));
                }
                paused
            };
            let too_long = wait_until.is_some_and(|until| until >= deadline);
            if too_long || Instant::now() >= deadline {
                return Err(ClaudeError::WaitedEnough);
            }
            let end = wait_until.unwrap_or(deadline);
            // Either way, the next look decides.
            let _ = timeout_at(end, changed).await;
        }
    }

    /// Takes in an answer that is a reply; `uncached` is the part of its prompt that counts towards the
    /// limits.
    pub(super) fn note_reply(&self, headers: &HeaderMap, uncached: u64) {
        let now = self.clock.now();
        let mut state = self.state();
        state.limit = (state.limit + 1.0 / state.limit).min(self.most);
        state.estimate = (state.estimate / 2).max(uncached);
        state.refused_runs = 0;
        if state.halt.take().is_some() {
            tracing::info!("Claude answers again; runs go on");
        }
        if let Some(pause) = exhausted(headers, state.estimate, now) {
            state.pause(pause);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes in an answer that is none.
    pub(super) fn note_refusal(&self, error: &ClaudeError, headers: &HeaderMap) {
        let mut state = self.state();
        if let Some(reason) = error.lasting() {
            self.halt(&mut state, reason);
            drop(state);
            self.changed.notify_waiters();
            return;
        }
        let status = error.status().map(|status| status.as_u16());
        if matches!(status, Some(429 | 529)) {
            state.limit = (state.limit / 2.0).max(1.0);
        }
        if status == Some(StatusCode::TOO_MANY_REQUESTS.as_u16()) {
            state.pause(crate::http::retry_after(headers).unwrap_or(SHORT_PAUSE));
        }
    }

    /// Takes in that the first request of a run was refused with 400. A single one says enough where
    /// runs like it have stopped everything before.
    pub(super) fn note_run(&self, error: &ClaudeError) {
        let mut state = self.state();
        state.refused_runs += 1;
        let again = state.halt.as_ref().is_some_and(|halt| halt.of_runs);
        if again || state.refused_runs >= REFUSED_RUNS {
            let reason = format!("{REFUSED_RUNS} runs in a row were refused at once: {error}");
            self.halt(&mut state, reason);
            state.halt.iter_mut().for_each(|halt| halt.of_runs = true);
        }
    }

    /// What may be asked now. A probe is given out once at a time.
    pub(super) fn admit(&self) -> Admission {
        let now = self.clock.now();
        match &mut self.state().halt {
            None => Admission::Open,
            Some(halt) => halt.admit(now),
        }
    }

    /// The tick that was given the probe is over, whether or not it asked anything.
    pub(super) fn end_probe(&self) {
        if let Some(halt) = &mut self.state().halt {
            halt.end_probe();
        }
    }

    /// Why nothing may be asked, if so.
    pub(super) fn stopped(&self) -> Option<String> {
        self.state().halt.as_ref().map(|halt| halt.reason().to_owned())
    }

    fn halt(&self, state: &mut State, reason: String) {
        let now = self.clock.now();
        state.refused_runs = 0;
        match &mut state.halt {
            Some(halt) => halt.renew(reason, now),
            None => {
                tracing::error!("all use of the model stops: {reason}");
                state.halt = Some(Halt::new(reason, now));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        self.pause_until = Some(self.pause_until.map_or(until, |earlier| earlier.max(until)));
    }
}

/// How long until a limit that the headers say is used up is reset (contracts/anthropic-messages.md,
/// section 7); `None` if there is room for another request of this many uncached tokens.
fn exhausted(headers: &HeaderMap, estimate: u64, now: Timestamp) -> Option<Duration> {
    let text = |kind: &str, what: &str| {
        headers.get(format!("anthropic-ratelimit-{kind}-{what}"))?.to_str().ok()
    };
    let until_reset = |kind: &str, needed: u64| {
        let remaining: u64 = text(kind, "remaining")?.parse().ok()?;
        if remaining >= needed {
            return None;
        }
        let reset: Timestamp = text(kind, "reset")?.parse().ok()?;
        let wait = reset.duration_since(now).max(SignedDuration::ZERO);
        Some(Duration::try_from(wait).unwrap_or_default().min(LONGEST_PAUSE))
    };
    [("requests", 1), ("input-tokens", estimate), ("output-tokens", 1)]
        .into_iter()
        .filter_map(|(kind, needed)| until_reset(kind, needed))
        .max()
        .filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests;
