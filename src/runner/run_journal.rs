//! The journal of one run: its steps and its account, written before anything is done.

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

/// Pause between two attempts to write while the journal cannot be written.
const PAUSE: Duration = Duration::from_millis(500);
/// Largest number of backlog steps in one transaction.
const AT_ONCE: usize = 8;

/// Writes the steps of one run to the journal and accounts for the run's money.
#[derive(Debug)]
pub(super) struct RunJournal {
    pub id: RunId,
    pub fleet: Arc<Fleet>,
    pub persona: Persona,
    /// Removes the persona's secrets from the steps, and from errors about the run's rows.
    pub redactor: Redactor,
    /// The redactor for the model's replies, which may contain the persona's e-mail.
    pub words: Redactor,
    /// Cancelled when the run must end after its current turn.
    pub pause: CancellationToken,
    /// The time until which the run waits for a journal that cannot be written.
    pub give_up_at: Instant,
    pub books: Books,
}

/// The position in the run's journal, and the run's account.
#[derive(Debug)]
pub(super) struct Books {
    state: Mutex<State>,
    account: parking_lot::Mutex<Account>,
    /// Locked while a model request is under way.
    asking: Mutex<()>,
}

/// The money of a run.
#[derive(Debug, Default)]
struct Account {
    /// The run's amount in the ledger when this process took the run up.
    booked_before: Usd,
    /// The run's amount in the ledger now: spent and reserved.
    booked: Usd,
    /// The most that requests without an answer may have cost.
    lost: Usd,
    /// Number of this process's requests that may have been billed.
    billed: u64,
    /// Whether the request of the last reservation was sent.
    is_sent: bool,
}

#[derive(Debug, Default)]
struct State {
    next_number: u32,
    /// The steps that are not in the journal yet, in order. A step that settles a request comes with the
    /// request's guard: other runs can use the difference once the step is written.
    backlog: VecDeque<(NewStep, Option<Reserved>)>,
    /// The request that money is reserved for, or may be reserved for, and that is not settled.
    asking: Option<Asking>,
}

#[derive(Debug)]
struct Asking {
    /// The number of the step that announces the request.
    number: u32,
    spending: Spending,
    most: Usd,
    /// The registration at the budget. It also says whether the ledger certainly holds the reservation: the
    /// future that waited for the answer of the journal may have been dropped.
    guard: Option<Reserved>,
}

/// The money for the request under way. If this is dropped, the request is settled with the next step.
struct Paid<'a> {
    journal: &'a RunJournal,
    _under_way: MutexGuard<'a, ()>,
}

impl Books {
    /// The books of a run whose next step has this number. `booked` is the run's amount in the ledger, of which
    /// `lost` belongs to requests without an answer.
    pub(super) fn new(next_number: u32, booked: Usd, lost: Usd) -> Self {
        let state = State { next_number, ..State::default() };
        let account = Account { booked_before: booked, booked, lost, ..Account::default() };
        Self { state: state.into(), account: account.into(), asking: Mutex::default() }
    }
}

impl RunJournal {
    /// Whether a request of this process may have been billed.
    pub(super) fn has_paid(&self) -> bool {
        self.books.account.lock().billed > 0
    }

    /// The cost of this process's requests.
    pub(super) fn spent(&self) -> Usd {
        let account = self.books.account.lock();
        account.booked.saturating_sub(account.booked_before)
    }

    /// Writes the id of an MCP session to the journal before the session is used, so that the next process ends
    /// the session if this process cannot.
    pub(super) async fn note_session(&self, session: String) -> Result<(), String> {
        // An id that contains a secret is not stored, and a redacted id would be useless.
        if self.redactor.redact(&session) != session {
            return Ok(());
        }
        let written = self.intend(&Step::SessionOpened { session }).await;
        written.map_err(|error| error.to_string())
    }

    /// Writes the backlog. No request may be under way: a request that was dropped, for example by a stop, is
    /// settled here.
    ///
    /// # Errors
    /// When the journal cannot be written. The steps stay in the backlog.
    pub(super) async fn flush(&self) -> Result<(), JournalError> {
        let mut state = self.books.state.lock().await;
        self.settle_dropped(&mut state);
        self.write(&mut state, None).await.map(drop)
    }

    /// The number of the next step. A request that was dropped is settled first and takes a number of its own.
    fn next_number(&self, state: &mut State) -> u32 {
        self.settle_dropped(state);
        let number = state.next_number;
        state.next_number = state.next_number.saturating_add(1);
        number
    }

    fn next_step(&self, state: &mut State, step: &Step) -> NewStep {
        let at = self.fleet.clock.now();
        NewStep { number: self.next_number(state), at, body: encode(step), booking: None }
    }

    fn settle_dropped(&self, state: &mut State) {
        if let Some(asking) = state.asking.take() {
            let bill = if self.books.account.lock().is_sent { Bill::Lost } else { Bill::Free };
            self.end_request(state, asking, bill);
        }
    }

    /// Puts the result of a request and its settlement at the end of the backlog.
    fn end_request(&self, state: &mut State, asking: Asking, bill: Bill<'_>) {
        let (step, cost) = match bill {
            Bill::Replied(reply) => {
                (Step::Replied(reply.redacted(&self.words)), reply.cost.total())
            }
            Bill::Free => (Step::Unanswered { lost: false }, Usd::ZERO),
            Bill::Lost => (Step::Unanswered { lost: true }, asking.most),
        };
        if asking.guard.as_ref().is_some_and(|guard| guard.is_granted) {
            let mut account = self.books.account.lock();
            account.booked = (account.booked + cost).saturating_sub(asking.most);
            if !matches!(bill, Bill::Lost) {
                account.lost = account.lost.saturating_sub(asking.most);
            }
            account.billed -= u64::from(matches!(bill, Bill::Free));
        }
        let Asking { number: asking, spending, most: reserved, guard } = asking;
        let booking = Some(Booking::Settle { spending, asking, reserved, cost });
        let (number, at) = (self.next_number(state), self.fleet.clock.now());
        let step = NewStep { number, at, body: encode(&step), booking };
        state.backlog.push_back((step, guard));
    }

    /// Writes the backlog and then `last`, in as few transactions as possible. `last` is not put into the backlog if
    /// it cannot be written.
    async fn write(
        &self,
        state: &mut State,
        last: Option<&NewStep>,
    ) -> Result<Result<(), NoRoom>, JournalError> {
        let mut at_once = AT_ONCE;
        loop {
            let waiting = state.backlog.len().min(at_once);
            let is_all = waiting == state.backlog.len() && (waiting == 0 || at_once > 1);
            let backlog = state.backlog.iter().take(waiting).map(|(step, _)| step);
            let steps: Vec<_> = backlog.chain(last.filter(|_| is_all)).collect();
            match self.fleet.journal.record(self.id, &steps).await {
                Ok(Ok(())) => {
                    drop(state.backlog.drain(..waiting));
                    if is_all {
                        return Ok(Ok(()));
                    }
                }
                // One of the steps prevents the others: each step is written in a transaction of its own.
                Ok(Err(_)) if steps.len() > 1 => at_once = 1,
                Err(error) if error.is_of_a_row() && steps.len() > 1 => at_once = 1,
                // Another step has this number. The steps behind it and the end of the run are still written.
                Err(error) if error.is_of_a_row() && waiting == 1 => {
                    tracing::error!(run.id = %self.id, "a step is not kept: {error}");
                    state.backlog.pop_front();
                }
                refused => return refused,
            }
        }
    }

    /// Handles a request that did not fit under a cap at the time `at`. `Ok` means that other runs have settled
    /// requests meanwhile, and that the reservation is to be tried again.
    async fn make_room(
        &self,
        NoRoom { cap, left }: NoRoom,
        price: &Price,
        at: Timestamp,
        guard: Option<Reserved>,
    ) -> Result<(), NotPaid> {
        let (variable, budget) = (cap.as_str(), &self.fleet.budget);
        if !cap.is_of_fleet() {
            let persona_broke_until = Some(next_day(at));
            return Err(NotPaid::Budget { variable, persona_broke_until });
        }
        let refusal = NotPaid::Budget { variable, persona_broke_until: None };
        // Other runs may have reserved more than they will spend.
        let may_fit = cap.of(&budget.caps) >= Some(price.most);
        if let Some(others) = guard.filter(|_| may_fit).and_then(Reserved::make_way) {
            // Ends before the run's time is up, so that the run ends because of the budget.
            let give_up_at = self.give_up_at - PAUSE;
            return timeout_at(give_up_at, others).await.map_err(|_| refusal);
        }
        // No other run will give money back. The cap counts as reached, which stops all runs, only if an
        // ordinary request would not fit either.
        if price.ordinary <= left {
            return Err(NotPaid::TooDear { variable, most: price.most });
        }
        budget.reach(cap, at, &self.fleet.journal).await;
        Err(refusal)
    }

    /// Waits before another attempt to write. False if the run has no time left for another attempt.
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
        // The time and the accounts of an attempt that failed. The attempt may be in the journal all the same, so
        // the next attempt uses the same accounts, even on another day.
        let mut first = None;
        loop {
            if self.pause.is_cancelled() {
                return Err(NotPaid::Paused);
            }
            let now = self.fleet.clock.now();
            let (at, spending) =
                first.take().unwrap_or_else(|| (now, Spending::of(&self.persona.user_id, now)));
            // Locked before the step is written, so that a pause cannot come between the step and the request.
            let under_way = self.books.asking.lock().await;
            let guard = Some(self.fleet.budget.reserving());
            let (caps, accounts) = (self.fleet.budget.caps, spending.clone());
            let booking = Booking::Reserve { spending: accounts, amount: most, caps };
            let step = NewStep { number, at: now, body: body.clone(), booking: Some(booking) };
            // If this future is dropped from here on, the reservation may be in the journal all the same.
            state.asking = Some(Asking { number, spending, most, guard });
            let attempt = self.write(&mut state, Some(&step)).await;
            let refused = matches!(attempt, Ok(Err(_))).then(|| state.asking.take()).flatten();
            match attempt {
                Ok(Ok(())) => {
                    if let Some(Asking { guard: Some(guard), .. }) = &mut state.asking {
                        guard.is_granted = true;
                    }
                    // The request counts as lost until there is an answer.
                    let mut account = self.books.account.lock();
                    account.lost += most;
                    account.booked += most;
                    account.billed += 1;
                    return Ok(Paid { journal: self, _under_way: under_way });
                }
                // Another day has begun meanwhile. It has accounts of its own.
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
            // The step that follows a reply is written in one transaction with the reply.
            let is_followed = matches!(bill, Bill::Replied(_));
            self.journal.end_request(&mut state, asking, bill);
            if !is_followed {
                // Steps that cannot be written stay in the backlog. The journal logs the error.
                let _ = self.journal.write(&mut state, None).await;
            }
        }
    }
}

/// The JSON of a step. The texts of a step were redacted where they were received, and a reply in
/// `end_request`: redacting the JSON could change its structure where a secret is an ordinary word.
fn encode(step: &Step) -> String {
    // Names, texts, numbers and JSON that was parsed before always encode.
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
        state.backlog.push_back((step, None));
        let _ = self.write(&mut state, None).await;
    }

    async fn defer(&self, step: &Step) {
        let mut state = self.books.state.lock().await;
        let step = self.next_step(&mut state, step);
        state.backlog.push_back((step, None));
    }

    async fn write_reply(&self) {
        let mut state = self.books.state.lock().await;
        if state.backlog.iter().any(|(step, _)| step.booking.is_some()) {
            let _ = self.write(&mut state, None).await;
        }
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
