//! Lets requests to a peer with limits through, one gate for the whole process: a limit that one caller meets
//! applies to all callers.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// Limits the number of requests at once, and lets none through while a rate limit lasts.
#[derive(Debug)]
pub struct Gate {
    /// The largest number of requests at once that is ever allowed.
    most: f64,
    /// Time between the requests that waited for the end of a rate limit.
    spacing: Duration,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// The number of requests at once that is allowed now, at least 1. Its fraction is progress towards one
    /// more.
    limit: f64,
    opens: Instant,
    /// When the next of the requests that waited until `opens` may go.
    next: Instant,
}

/// The permit of a request in flight. When it is dropped, another request may go.
#[derive(Debug)]
pub struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.in_flight -= 1);
    }
}

impl Gate {
    /// A gate for at most `most` requests at once. Requests that waited for the end of a rate limit go at
    /// least `spacing` apart.
    pub fn new(most: usize, spacing: Duration) -> Self {
        let (most, now) = (most.max(1) as f64, Instant::now());
        let state = State { in_flight: 0, limit: most, opens: now, next: now };
        Self { most, spacing, state: watch::Sender::new(state) }
    }

    /// Waits for a permit, but not past `deadline`, and only until `closed` gives a reason why no request may
    /// go. A request that waits only because of `spacing` goes at `deadline`.
    ///
    /// # Errors
    /// The reason that `closed` gives. Or what `late` returns for the time when the gate opens: at once if
    /// that time is after `deadline`, else if there is no permit by `deadline`.
    pub async fn enter<E>(
        &self,
        deadline: Instant,
        closed: impl Fn() -> Option<E>,
        late: impl Fn(Instant) -> E,
    ) -> Result<Pass<'_>, E> {
        let mut changes = self.state.subscribe();
        let mut has_waited = false;
        loop {
            if let Some(why) = closed() {
                return Err(why);
            }
            let now = Instant::now();
            let (mut opens, mut earliest, mut is_admitted) = (now, now, false);
            self.state.send_if_modified(|state| {
                opens = opens.max(state.opens);
                earliest = opens.max(state.next.min(deadline));
                is_admitted = earliest == now && (state.in_flight as f64) < state.limit.floor();
                state.in_flight += usize::from(is_admitted);
                if is_admitted && has_waited {
                    state.next = now + self.spacing;
                }
                // No waiting request can go because of this change, so none is woken.
                false
            });
            if is_admitted {
                return Ok(Pass(self));
            }
            if opens > deadline || now >= deadline {
                return Err(late(opens));
            }
            has_waited |= earliest > now;
            // In either case, the next iteration decides.
            let end = if earliest > now { earliest } else { deadline };
            let _ = timeout_at(end, changes.changed()).await;
        }
    }

    /// Lets no request through before `pause` has passed. Waiting requests check the gate again.
    pub fn hold(&self, pause: Duration) {
        let opens = Instant::now() + pause;
        self.state.send_modify(|state| state.opens = state.opens.max(opens));
    }

    /// When the gate opens; `None` if it is open.
    pub fn opens(&self) -> Option<Instant> {
        Some(self.state.borrow().opens).filter(|opens| *opens > Instant::now())
    }

    /// Divides the number of requests at once by `by`; it never falls below one.
    pub(crate) fn narrow(&self, by: f64) {
        self.state.send_modify(|state| state.limit = (state.limit / by).max(1.0));
    }

    /// Raises the number of requests at once by a step, up to the largest number that is allowed.
    pub(crate) fn widen(&self) {
        self.state.send_modify(|state| {
            state.limit = (state.limit + 1.0 / state.limit).min(self.most);
        });
    }
}
