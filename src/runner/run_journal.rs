//! One run's part of the journal: its steps and its account, written before anything is done.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    budget::{Reserved, next_day},
    fleet::Fleet,
};
use crate::{
    agent::step::{Recorder, Step, Unrecorded},
    clients::claude::{Bill, Meter, NotPaid, Price, Reservation},
    config::PERSONA_MAX_COST_USD,
    domain::{Persona, Redactor, RunId, Usd},
    journal::{Booking, JournalError, NewStep, NoRoom, Spending},
};

/// Between attempts to write while the journal cannot be written to.
const PAUSE: Duration = Duration::from_millis(500);
/// Most steps of the backlog in one transaction.
const AT_ONCE: usize = 8;

/// Writes one run down.
#[derive(Debug)]
pub(super) struct RunJournal {
    pub id: RunId,
    pub fleet: Arc<Fleet>,
    pub persona: Persona,
    /// Keeps secrets out of the file, and of what is said of its rows.
    pub redactor: Redactor,
    /// Asks the run to end after its current turn.
    pub pause: CancellationToken,
    /// Until when it waits for a journal that cannot be written to.
    pub give_up_at: Instant,
    pub books: Books,
}

/// How far a run's journal has come.
#[derive(Debug)]
pub(super) struct Books {
    state: Mutex<State>,
    account: parking_lot::Mutex<Account>,
    /// Held while a model request is under way.
    asking: Mutex<()>,
}

/// What a run has cost.
#[derive(Debug, Default)]
struct Account {
    /// What the ledger held of it before this process.
    booked_before: Usd,
    /// What the ledger holds of it.
    booked: Usd,
    /// What requests without an answer may have cost.
    lost: Usd,
    /// Requests of this process that may have been billed.
    billed: u64,
    /// Whether the last request that money was reserved for was sent.
    is_sent: bool,
}

#[derive(Debug, Default)]
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

/// A step that is not in the journal yet.
#[derive(Debug)]
struct Entry {
    step: NewStep,
    /// Of the end of a request: what it reserved is somebody else's once this is written.
    _guard: Option<Reserved>,
}

/// Money for the request under way. What is left of it when it is dropped is settled with the next step.
struct Paid<'a> {
    journal: &'a RunJournal,
    _under_way: MutexGuard<'a, ()>,
}

impl Books {
    /// Those of a run whose next step has this number, which has cost so much, and may have lost so much of it
    /// to requests without an answer.
    pub(super) fn new(next_number: u32, booked: Usd, lost: Usd) -> Self {
        let account = Account { booked_before: booked, booked, lost, ..Account::default() };
        Self {
            state: Mutex::new(State { next_number, ..State::default() }),
            account: parking_lot::Mutex::new(account),
            asking: Mutex::default(),
        }
    }
}

impl RunJournal {
    /// Whether a request of this process may have been billed.
    pub(super) fn has_paid(&self) -> bool {
        self.books.account.lock().billed > 0
    }

    /// What requests of this process have cost.
    pub(super) fn spent(&self) -> Usd {
        let account = self.books.account.lock();
        account.booked.saturating_sub(account.booked_before)
    }

    /// Writes down a session of mana-mcp before it is used, so that the next process ends it if this one does
    /// not.
    pub(super) async fn note_session(&self, session: String) -> Result<(), String> {
        // One that tells a secret is not kept: changed, it would be none.
        if self.redactor.redact(&session) != session {
            return Ok(());
        }
        let written = self.intend(&Step::SessionOpened { session }).await;
        written.map_err(|error| error.to_string())
    }

    /// Writes what could not be written before. No request is under way any more: one that was dropped, by a stop
    /// for example, is settled.
    ///
    /// # Errors
    /// When it still cannot be.
    pub(super) async fn flush(&self) -> Result<(), JournalError> {
        let mut state = self.books.state.lock().await;
        self.settle_dropped(&mut state);
        self.write(&mut state, None).await.map(drop)
    }

    /// The number of the next step. A request that was dropped before is settled first.
    fn next_number(&self, state: &mut State) -> u32 {
        self.settle_dropped(state);
        let number = state.next_number;
        state.next_number = state.next_number.saturating_add(1);
        number
    }

    fn next_step(&self, state: &mut State, step: &Step) -> NewStep {
        NewStep { number: self.next_number(state), body: encode(step), booking: None }
    }

    /// The journal says itself what is wrong with it; what cannot be written stays in memory.
    async fn flush_or_keep(&self, state: &mut State) {
        let _ = self.write(state, None).await;
    }

    fn settle_dropped(&self, state: &mut State) {
        if let Some(asking) = state.asking.take() {
            let bill = if self.books.account.lock().is_sent { Bill::Lost } else { Bill::Free };
            self.end_request(state, asking, bill);
        }
    }

    /// What came of a request goes behind what could not be written before.
    fn end_request(&self, state: &mut State, asking: Asking, bill: Bill<'_>) {
        let (step, cost) = match bill {
            Bill::Replied(reply) => {
                // Its e-mail is no secret in its own words.
                let redactor = self.redactor.without(&self.persona.email);
                (Step::Replied(reply.redacted(&redactor)), reply.cost.total())
            }
            Bill::Free => (Step::Unanswered { lost: false }, Usd::ZERO),
            Bill::Lost => (Step::Unanswered { lost: true }, asking.most),
        };
        if asking.is_granted {
            let mut account = self.books.account.lock();
            account.booked = (account.booked + cost).saturating_sub(asking.most);
            if !matches!(bill, Bill::Lost) {
                account.lost = account.lost.saturating_sub(asking.most);
            }
            account.billed -= u64::from(matches!(bill, Bill::Free));
        }
        let Asking { number: asking, spending, most: reserved, guard, .. } = asking;
        let booking = Some(Booking::Settle { spending, asking, reserved, cost });
        let step = NewStep { number: self.next_number(state), body: encode(&step), booking };
        state.backlog.push_back(Entry { step, _guard: guard });
    }

    /// Writes the backlog, and behind it a last step that is not kept in it, in as few transactions as may be.
    async fn write(
        &self,
        state: &mut State,
        last: Option<&NewStep>,
    ) -> Result<Result<(), NoRoom>, JournalError> {
        let mut at_once = AT_ONCE;
        loop {
            let waiting = state.backlog.len().min(at_once);
            let is_all = waiting == state.backlog.len() && (waiting == 0 || at_once > 1);
            let backlog = state.backlog.iter().take(waiting).map(|entry| &entry.step);
            let steps: Vec<_> = backlog.chain(last.filter(|_| is_all)).collect();
            let now = self.fleet.clock.now();
            match self.fleet.journal.record(self.id, &steps, now).await {
                Ok(Ok(())) => {
                    drop(state.backlog.drain(..waiting));
                    if is_all {
                        return Ok(Ok(()));
                    }
                }
                // One of several is in the way of the others: each is written for itself.
                Ok(Err(_)) if steps.len() > 1 => at_once = 1,
                Err(error) if error.is_of_a_row() && steps.len() > 1 => at_once = 1,
                // Its number is taken: what comes after it, and the run's end, are written all the same.
                Err(error) if error.is_of_a_row() && waiting == 1 => {
                    tracing::error!(run.id = %self.id, "a step is not kept: {error}");
                    state.backlog.pop_front();
                }
                refused => return refused,
            }
        }
    }

    /// What is done about a request that did not fit under a cap at this time: another attempt, when others
    /// have given back what they do not need, or nothing.
    async fn make_room(
        &self,
        NoRoom { cap, left }: NoRoom,
        price: &Price,
        at: Timestamp,
        guard: Option<Reserved>,
    ) -> Result<(), NotPaid> {
        let (variable, budget) = (cap.variable(), &self.fleet.budget);
        if !cap.is_of_fleet() {
            let persona_broke_until = Some(next_day(at));
            return Err(NotPaid::Budget { variable, persona_broke_until });
        }
        let refusal = NotPaid::Budget { variable, persona_broke_until: None };
        // Others may have reserved more than they will need.
        let may_fit = budget.caps().of(cap) >= Some(price.most);
        if let Some(others) = guard.filter(|_| may_fit).and_then(Reserved::make_way) {
            // Before the run's time is up: this end is one of money.
            let give_up_at = self.give_up_at - PAUSE;
            return timeout_at(give_up_at, others).await.map_err(|_| refusal);
        }
        // Nobody else gives money back: what is not left is spent. It stops the others only where they would
        // find no more room than this run did.
        if price.ordinary <= left {
            return Err(NotPaid::TooDear { variable, most: price.most });
        }
        budget.reach(cap, at, &self.fleet.journal).await;
        Err(refusal)
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
        self.fleet.config.run.max_cost.saturating_sub(self.books.account.lock().booked)
    }

    async fn reserve(&self, price: Price) -> Result<impl Reservation, NotPaid> {
        let Price { most, spare, .. } = price;
        let mut state = self.books.state.lock().await;
        self.settle_dropped(&mut state);
        if most + spare > self.left() {
            return Err(NotPaid::TooDear { variable: PERSONA_MAX_COST_USD, most });
        }
        let body = encode(&Step::Asking { reserved: most });
        let number = self.next_number(&mut state);
        self.books.account.lock().is_sent = false;
        // Of an attempt that may have been written although it seemed to fail: the accounts stay those,
        // whatever day it is by now.
        let mut first = None;
        loop {
            if self.pause.is_cancelled() {
                return Err(NotPaid::Paused);
            }
            let now = self.fleet.clock.now();
            let (at, spending) =
                first.take().unwrap_or_else(|| (now, Spending::of(&self.persona.user_id, now)));
            // Before it is written: a pause must not come between the record and the request.
            let under_way = self.books.asking.lock().await;
            let guard = Some(self.fleet.budget.reserving());
            let (caps, accounts) = (*self.fleet.budget.caps(), spending.clone());
            let booking = Booking::Reserve { spending: accounts, amount: most, caps };
            let step = NewStep { number, body: body.clone(), booking: Some(booking) };
            // Dropped from here on, it may be in the journal all the same.
            state.asking = Some(Asking { number, spending, most, is_granted: false, guard });
            let attempt = self.write(&mut state, Some(&step)).await;
            let refused = matches!(attempt, Ok(Err(_))).then(|| state.asking.take()).flatten();
            match attempt {
                Ok(Ok(())) => {
                    if let Some(asking) = &mut state.asking {
                        asking.is_granted = true;
                        asking.guard.iter_mut().for_each(Reserved::grant);
                    }
                    // Until an answer says otherwise.
                    let mut account = self.books.account.lock();
                    account.lost += most;
                    account.booked += most;
                    account.billed += 1;
                    return Ok(Paid { journal: self, _under_way: under_way });
                }
                // Another day has begun meanwhile, with accounts of its own.
                Ok(Err(_)) if next_day(at) <= self.fleet.clock.now() => {}
                Ok(Err(no_room)) => {
                    drop(under_way);
                    let guard = refused.and_then(|asking| asking.guard);
                    self.make_room(no_room, &price, at, guard).await?;
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
                        return Err(NotPaid::Unrecorded(error.to_string()));
                    }
                }
            }
        }
    }
}

impl Reservation for Paid<'_> {
    fn send(&self) {
        self.journal.books.account.lock().is_sent = true;
    }

    async fn settle(self, bill: Bill<'_>) {
        let mut state = self.journal.books.state.lock().await;
        if let Some(asking) = state.asking.take() {
            // A reply is acted on at once: the step of that takes the reply along.
            let is_followed = matches!(bill, Bill::Replied(_));
            self.journal.end_request(&mut state, asking, bill);
            if !is_followed {
                self.journal.flush_or_keep(&mut state).await;
            }
        }
    }
}

/// A step as it is stored. All its texts were redacted when they came up, but for what the model wrote:
/// redacted here, a secret that is a word could hit the structure.
fn encode(step: &Step) -> String {
    // Names, texts, numbers and JSON that was read before: it encodes.
    serde_json::to_string(step).unwrap_or_default()
}

impl Recorder for RunJournal {
    async fn intend(&self, step: &Step) -> Result<(), Unrecorded> {
        let mut state = self.books.state.lock().await;
        let step = self.next_step(&mut state, step);
        loop {
            match self.write(&mut state, Some(&step)).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_of_a_row() || !self.wait().await => {
                    return Err(Unrecorded(error.to_string()));
                }
                Err(_) => {}
            }
        }
    }

    async fn note(&self, step: &Step) {
        let mut state = self.books.state.lock().await;
        let step = self.next_step(&mut state, step);
        state.backlog.push_back(Entry { step, _guard: None });
        self.flush_or_keep(&mut state).await;
    }

    async fn defer(&self, step: &Step) {
        let mut state = self.books.state.lock().await;
        let step = self.next_step(&mut state, step);
        state.backlog.push_back(Entry { step, _guard: None });
    }

    fn lost(&self) -> Usd {
        self.books.account.lock().lost
    }

    async fn paused(&self) {
        self.pause.cancelled().await;
        drop(self.books.asking.lock().await);
    }
}

#[cfg(test)]
mod tests;
