//! One run's part of the journal: its steps and its account, written before anything is done.

use std::{
    collections::VecDeque,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, Reserved, next_day};
use crate::{
    agent::step::{Recorder, Step, Unrecorded},
    clients::claude::{Bill, Meter, NotPaid, Price, Reservation},
    clock::Clock,
    config::PERSONA_MAX_COST_USD,
    domain::{Redactor, RunId, Usd, UserId},
    journal::{Cap, Journal, JournalError, NoRoom, Spending},
};

/// Between attempts to write while the journal cannot be written to.
const PAUSE: Duration = Duration::from_millis(500);

/// Writes one run down.
#[derive(Debug)]
pub(super) struct RunJournal {
    pub id: RunId,
    persona: UserId,
    journal: Journal,
    clock: Clock,
    budget: Arc<Budget>,
    /// Keeps secrets out of the file, and of what is said of its rows.
    redactor: RwLock<Redactor>,
    /// The persona's, which is no secret in its own words.
    email: String,
    /// Asks the run to end after its current turn.
    pause: CancellationToken,
    /// Until when it waits for a journal that cannot be written to.
    give_up_at: Instant,
    state: Mutex<State>,
    /// What the run may cost.
    max_cost: Usd,
    /// What the ledger holds of the run, in picodollars.
    booked: AtomicU64,
    /// What requests without an answer may have cost, in picodollars.
    lost: AtomicU64,
    /// Requests that may have been billed.
    billed: AtomicU64,
    /// Whether a model request is under way.
    is_asking: watch::Sender<bool>,
    /// Whether the last one that money was reserved for was sent.
    is_sent: AtomicBool,
}

#[derive(Debug)]
struct State {
    next_number: u32,
    /// What has happened and could not be written yet, in order.
    backlog: VecDeque<Entry>,
    /// The request that money was reserved for, or may have been, and that is not settled.
    asking: Option<Asking>,
}

#[derive(Debug)]
struct Asking {
    /// The number of its step.
    number: u32,
    spending: Spending,
    most: Usd,
    /// Whether it certainly is reserved; who waited for that may have been dropped.
    is_granted: bool,
    guard: Option<Reserved>,
}

#[derive(Debug)]
struct Entry {
    number: u32,
    body: String,
    /// Of the end of a request: that, and what it cost.
    bill: Option<(Asking, Usd)>,
}

/// Says that a request is under way, until dropped.
#[derive(Debug)]
struct UnderWay<'a>(&'a watch::Sender<bool>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// Money for the request under way. What is left of it when it is dropped is settled with the next step.
struct Paid<'a> {
    journal: &'a RunJournal,
    _under_way: UnderWay<'a>,
}

/// What a run's journal begins with.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The number of its next step.
    pub next_number: u32,
    /// What requests without an answer may have cost before.
    pub lost: Usd,
    /// What it has cost before, such requests included.
    pub booked: Usd,
    /// What it may cost.
    pub max_cost: Usd,
}

impl RunJournal {
    pub(super) fn new(
        (id, persona): (RunId, UserId),
        beginning: Beginning,
        (journal, clock, budget): (Journal, Clock, Arc<Budget>),
        (redactor, email): (Redactor, &str),
        pause: CancellationToken,
        give_up_at: Instant,
    ) -> Self {
        let Beginning { next_number, lost, booked, max_cost } = beginning;
        Self {
            id,
            persona,
            journal,
            clock,
            budget,
            redactor: RwLock::new(redactor),
            email: email.to_owned(),
            pause,
            give_up_at,
            state: Mutex::new(State { next_number, backlog: VecDeque::new(), asking: None }),
            max_cost,
            booked: AtomicU64::new(booked.picodollars()),
            lost: AtomicU64::new(lost.picodollars()),
            billed: AtomicU64::new(0),
            is_asking: watch::Sender::new(false),
            is_sent: AtomicBool::new(false),
        }
    }

    /// Keeps these secrets out of the file from now on.
    pub(super) fn redact_with(&self, redactor: Redactor) {
        *self.redactor.write().unwrap_or_else(PoisonError::into_inner) = redactor;
    }

    /// What knows the secrets of its persona.
    pub(super) fn redactor(&self) -> Redactor {
        self.redactor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a request of this process may have been billed.
    pub(super) fn has_paid(&self) -> bool {
        self.billed.load(SeqCst) > 0
    }

    /// Writes down a session of mana-mcp before it is used, so that the next process ends it if this one does
    /// not.
    pub(super) async fn note_session(&self, session: String) -> Result<(), String> {
        // One that tells a secret is not kept: changed, it would be none.
        if self.redactor().redact(&session) != session {
            return Ok(());
        }
        let written = self.intend(&Step::SessionOpened { session }).await;
        written.map_err(|error| error.to_string())
    }

    /// No request is under way any more: one that was dropped, by a stop for example, is settled.
    pub(super) async fn give_up_waiting(&self) {
        // What cannot be written stays in memory.
        let _ = self.flush().await;
    }

    /// Writes what could not be written before.
    ///
    /// # Errors
    /// When it still cannot be.
    pub(super) async fn flush(&self) -> Result<(), JournalError> {
        let mut state = self.state.lock().await;
        self.settle_dropped(&mut state);
        self.flush_backlog(&mut state).await
    }

    /// The number of the next step. A request that was dropped before is settled first.
    fn next_number(&self, state: &mut State) -> u32 {
        self.settle_dropped(state);
        let number = state.next_number;
        state.next_number = state.next_number.saturating_add(1);
        number
    }

    fn settle_dropped(&self, state: &mut State) {
        if let Some(asking) = state.asking.take() {
            let bill = if self.is_sent.load(SeqCst) { Bill::Lost } else { Bill::Free };
            self.end_request(state, asking, bill);
        }
    }

    /// What came of a request goes behind what could not be written before.
    fn end_request(&self, state: &mut State, asking: Asking, bill: Bill<'_>) {
        let (step, cost) = match bill {
            Bill::Replied(reply) => {
                let redactor = self.redactor().without(&self.email);
                (Step::Replied(reply.redacted(&redactor)), reply.cost.total())
            }
            Bill::Free => (Step::Unanswered { lost: false }, Usd::ZERO),
            Bill::Lost => (Step::Unanswered { lost: true }, asking.most),
        };
        if asking.is_granted {
            self.booked.fetch_add(cost.picodollars(), SeqCst);
            self.booked.fetch_sub(asking.most.picodollars(), SeqCst);
            if !matches!(bill, Bill::Lost) {
                self.lost.fetch_sub(asking.most.picodollars(), SeqCst);
            }
            if matches!(bill, Bill::Free) {
                self.billed.fetch_sub(1, SeqCst);
            }
        }
        let number = self.next_number(state);
        state.backlog.push_back(Entry { number, body: encode(&step), bill: Some((asking, cost)) });
    }

    async fn flush_backlog(&self, state: &mut State) -> Result<(), JournalError> {
        while let Some(Entry { number, body, bill }) = state.backlog.front() {
            let now = self.clock.now();
            let written = match bill {
                None => self.journal.append_step(self.id, *number, body, now).await,
                Some((Asking { number: asking, spending, most, .. }, cost)) => {
                    let step = (self.id, *number, body.as_str());
                    self.journal.settle(step, *asking, spending, (*most, *cost), now).await
                }
            };
            match written {
                // Its place is taken: what comes after it, and the run's end, are written all the same.
                Err(error) if error.is_of_a_row() => {
                    tracing::error!(run.id = %self.id, "a step is not kept: {error}");
                }
                written => written?,
            }
            state.backlog.pop_front();
        }
        Ok(())
    }

    /// Waits for another attempt at the journal; false if there is no time for one.
    async fn wait(&self) -> bool {
        let goes_on = Instant::now() + PAUSE < self.give_up_at;
        if goes_on {
            sleep(PAUSE).await;
        }
        goes_on
    }
}

impl Meter for RunJournal {
    fn left(&self) -> Usd {
        self.max_cost.saturating_sub(Usd::from_picodollars(self.booked.load(SeqCst)))
    }

    async fn reserve(&self, price: Price) -> Result<impl Reservation, NotPaid> {
        let Price { most, spare, ordinary } = price;
        let mut state = self.state.lock().await;
        self.settle_dropped(&mut state);
        if most + spare > self.left() {
            return Err(NotPaid::TooDear { variable: PERSONA_MAX_COST_USD, most });
        }
        let body = encode(&Step::Asking { reserved: most });
        let number = self.next_number(&mut state);
        self.is_sent.store(false, SeqCst);
        // Of an attempt that may have been written although it seemed to fail: the accounts stay those,
        // whatever day it is by now.
        let mut first = None;
        loop {
            if self.pause.is_cancelled() {
                return Err(NotPaid::Paused);
            }
            let now = self.clock.now();
            let (at, spending) =
                first.take().unwrap_or_else(|| (now, Spending::of(&self.persona, now)));
            // Before it is written: a pause must not come between the record and the request.
            self.is_asking.send_replace(true);
            let under_way = UnderWay(&self.is_asking);
            let guard = Some(self.budget.reserving());
            let attempt = match self.flush_backlog(&mut state).await {
                Ok(()) => {
                    // Dropped from here on, it may be in the journal all the same.
                    let asking = Asking { number, spending, most, is_granted: false, guard };
                    let asking = state.asking.insert(asking);
                    let step = (self.id, number, body.as_str());
                    let (journal, caps) = (&self.journal, self.budget.caps());
                    journal.reserve(step, &asking.spending, most, caps, now).await
                }
                Err(error) => Err(error),
            };
            let refused = matches!(attempt, Ok(Err(_))).then(|| state.asking.take()).flatten();
            match attempt {
                Ok(Ok(())) => {
                    if let Some(asking) = &mut state.asking {
                        asking.is_granted = true;
                        asking.guard.iter_mut().for_each(Reserved::grant);
                    }
                    // Until an answer says otherwise.
                    self.lost.fetch_add(most.picodollars(), SeqCst);
                    self.booked.fetch_add(most.picodollars(), SeqCst);
                    self.billed.fetch_add(1, SeqCst);
                    return Ok(Paid { journal: self, _under_way: under_way });
                }
                // Another day has begun meanwhile, with accounts of its own.
                Ok(Err(_)) if next_day(at) <= self.clock.now() => {}
                Ok(Err(NoRoom { cap, left })) => {
                    drop(under_way);
                    let may_fit = cap.is_of_fleet() && self.budget.caps().of(cap) >= Some(most);
                    // Others may have reserved more than they will need.
                    let others = refused.filter(|_| may_fit).and_then(|it| it.guard?.make_way());
                    if let Some(others) = others {
                        // Before the run's time is up: this end is one of money.
                        let give_up_at = self.give_up_at - PAUSE;
                        match timeout_at(give_up_at, others).await {
                            Ok(()) => continue,
                            Err(_) => return Err(refusal(cap, at)),
                        }
                    }
                    // Nobody else gives money back: what is not left is spent. It stops the others only where
                    // they would find no more room than this run did.
                    if cap.is_of_fleet() && ordinary <= left {
                        return Err(NotPaid::TooDear { variable: cap.variable(), most });
                    }
                    if cap.is_of_fleet() {
                        self.budget.reach(cap, at, &self.journal).await;
                    }
                    return Err(refusal(cap, at));
                }
                Err(error) => {
                    drop(under_way);
                    if error.is_of_a_row() {
                        state.asking = None;
                    }
                    first = state.asking.as_mut().map(|asking| {
                        asking.guard = None;
                        (at, asking.spending.clone())
                    });
                    if error.is_of_a_row() || !self.wait().await {
                        return Err(NotPaid::Unrecorded { reason: error.to_string() });
                    }
                }
            }
        }
    }
}

impl Reservation for Paid<'_> {
    fn send(&self) {
        self.journal.is_sent.store(true, SeqCst);
    }

    async fn settle(self, bill: Bill<'_>) {
        let mut state = self.journal.state.lock().await;
        if let Some(asking) = state.asking.take() {
            self.journal.end_request(&mut state, asking, bill);
            // The journal says itself what is wrong with it; the step stays in memory.
            let _ = self.journal.flush_backlog(&mut state).await;
        }
    }
}

/// A step as it is stored. All its texts were redacted when they came up, but for what the model wrote:
/// redacted here, a secret that is a word could hit the structure.
fn encode(step: &Step) -> String {
    // Names, texts, numbers and JSON that was read before: it encodes.
    serde_json::to_string(step).unwrap_or_default()
}

/// What it means that a request did not fit under a cap at this time.
fn refusal(cap: Cap, at: Timestamp) -> NotPaid {
    let persona_broke_until = (!cap.is_of_fleet()).then(|| next_day(at));
    NotPaid::Budget { variable: cap.variable(), persona_broke_until }
}

impl Recorder for RunJournal {
    async fn intend(&self, step: &Step) -> Result<(), Unrecorded> {
        let mut state = self.state.lock().await;
        let body = encode(step);
        let number = self.next_number(&mut state);
        loop {
            let attempt = async {
                self.flush_backlog(&mut state).await?;
                self.journal.append_step(self.id, number, &body, self.clock.now()).await
            };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_of_a_row() || !self.wait().await => {
                    return Err(Unrecorded { reason: error.to_string() });
                }
                Err(_) => {}
            }
        }
    }

    async fn note(&self, step: &Step) {
        let mut state = self.state.lock().await;
        let number = self.next_number(&mut state);
        state.backlog.push_back(Entry { number, body: encode(step), bill: None });
        // The journal says itself what is wrong with it; the step stays in memory.
        let _ = self.flush_backlog(&mut state).await;
    }

    fn lost(&self) -> Usd {
        Usd::from_picodollars(self.lost.load(SeqCst))
    }

    async fn paused(&self) {
        self.pause.cancelled().await;
        let mut is_asking = self.is_asking.subscribe();
        // The sender is this run's own, so it is there as long as the run.
        let _ = is_asking.wait_for(|is_asking| !is_asking).await;
    }
}

#[cfg(test)]
mod tests;
