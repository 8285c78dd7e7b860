//! The way to a peer that has limits, one for the whole process: what one caller hears of them, all heed.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// Lets requests through: so many at once, and none while the end of a rate limit is waited for.
#[derive(Debug)]
pub struct Gate {
    /// Most requests at once, ever.
    most: f64,
    /// Between those who waited for the end of a rate limit.
    spacing: Duration,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// Requests at once for now, ≥ 1; its fraction is progress towards one more.
    limit: f64,
    opens: Instant,
    /// The next free place of those who waited for that.
    next: Instant,
}

/// A request on its way. Dropped, it makes room for another.
#[derive(Debug)]
pub struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.in_flight -= 1);
    }
}

impl Gate {
    /// A gate for at most `most` requests at once. Those who waited for the end of a rate limit go at least
    /// `spacing` apart.
    pub fn new(most: usize, spacing: Duration) -> Self {
        let (most, now) = (most.max(1) as f64, Instant::now());
        let state = State { in_flight: 0, limit: most, opens: now, next: now };
        Self { most, spacing, state: watch::Sender::new(state) }
    }

    /// Waits for a turn, but not past `deadline`, and only until `closed` says why nobody may go. Who is only
    /// kept apart from others goes at `deadline`.
    ///
    /// # Errors
    /// That, or what `late` makes of the time when the gate opens, at once if that is after `deadline`.
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
            let (mut opens, mut turn, mut is_in) = (now, now, false);
            self.state.send_if_modified(|state| {
                opens = opens.max(state.opens);
                turn = opens.max(state.next.min(deadline));
                is_in = turn == now && (state.in_flight as f64) < state.limit.floor();
                state.in_flight += usize::from(is_in);
                if is_in && has_waited {
                    state.next = now + self.spacing;
                }
                // It makes room for nobody.
                false
            });
            if is_in {
                return Ok(Pass(self));
            }
            if opens > deadline || now >= deadline {
                return Err(late(opens));
            }
            has_waited |= turn > now;
            // Either way, the next look decides.
            let end = if turn > now { turn } else { deadline };
            let _ = timeout_at(end, changes.changed()).await;
        }
    }

    /// Nobody goes through before `pause` has passed. Who waits looks again.
    pub fn hold(&self, pause: Duration) {
        let opens = Instant::now() + pause;
        self.state.send_modify(|state| state.opens = state.opens.max(opens));
    }

    /// When it opens, while nobody goes through.
    pub fn opens(&self) -> Option<Instant> {
        Some(self.state.borrow().opens).filter(|opens| *opens > Instant::now())
    }

    /// From now on only this part of the requests at once, but always one.
    pub(crate) fn narrow(&self, by: f64) {
        self.state.send_modify(|state| state.limit = (state.limit / by).max(1.0));
    }

    /// A step back towards the most requests at once.
    pub(crate) fn widen(&self) {
        self.state.send_modify(|state| {
            state.limit = (state.limit + 1.0 / state.limit).min(self.most);
        });
    }
}
