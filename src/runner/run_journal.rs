//! One run's part of the journal: its steps and its account, written before anything is done.

use std::{
    collections::VecDeque,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::SeqCst},
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
    clients::claude::{Bill, Meter, NotPaid, Price},
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
}

#[derive(Debug)]
struct State {
    next_number: u32,
    /// What has happened and could not be written yet, in order.
    backlog: VecDeque<Entry>,
    /// What is reserved for the request under way.
    reserved: Option<(Spending, Usd, Reserved)>,
}

#[derive(Debug)]
struct Entry {
    number: u32,
    body: String,
    /// Accounts, what was reserved, and what it cost.
    bill: Option<(Spending, Usd, Usd)>,
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
            state: Mutex::new(State { next_number, backlog: VecDeque::new(), reserved: None }),
            max_cost,
            booked: AtomicU64::new(booked.picodollars()),
            lost: AtomicU64::new(lost.picodollars()),
            billed: AtomicU64::new(0),
            is_asking: watch::Sender::new(false),
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

    /// No request is under way any more: one that was dropped, by a stop for example, may have been
    /// billed, and gives others no money back.
    pub(super) async fn give_up_waiting(&self) {
        self.settle(Bill::Lost).await;
    }

    /// Writes what could not be written before.
    ///
    /// # Errors
    /// When it still cannot be.
    pub(super) async fn flush(&self) -> Result<(), JournalError> {
        let mut state = self.state.lock().await;
        self.flush_backlog(&mut state).await
    }

    async fn flush_backlog(&self, state: &mut State) -> Result<(), JournalError> {
        while let Some(Entry { number, body, bill }) = state.backlog.front() {
            let now = self.clock.now();
            let written = match bill {
                None => self.journal.append_step(self.id, *number, body, now).await,
                Some((spending, reserved, cost)) => {
                    let step = (self.id, *number, body.as_str());
                    self.journal.settle(step, spending, *reserved, *cost, now).await
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

    /// What has happened goes behind what could not be written before, and is written if possible.
    async fn add(&self, state: &mut State, body: String, bill: Option<(Spending, Usd, Usd)>) {
        let number = state.next_number;
        state.next_number += 1;
        state.backlog.push_back(Entry { number, body, bill });
        // The journal says itself what is wrong with it; the step stays in memory.
        let _ = self.flush_backlog(state).await;
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

    async fn reserve(&self, price: Price) -> Result<(), NotPaid> {
        let Price { most, spare, ordinary } = price;
        let mut state = self.state.lock().await;
        if most + spare > self.left() {
            return Err(NotPaid::TooDear { variable: PERSONA_MAX_COST_USD, most });
        }
        let body = encode(&Step::Asking { reserved: most });
        let number = state.next_number;
        state.next_number += 1;
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
            let mut may_be_booked = false;
            let mut reserved = self.budget.reserving();
            let attempt = async {
                self.flush_backlog(&mut state).await?;
                may_be_booked = true;
                let step = (self.id, number, body.as_str());
                self.journal.reserve(step, &spending, most, self.budget.caps(), now).await
            };
            let attempt = attempt.await;
            if !matches!(attempt, Ok(Ok(()))) {
                self.is_asking.send_replace(false);
            }
            match attempt {
                Ok(Ok(())) => {
                    reserved.grant();
                    state.reserved = Some((spending, most, reserved));
                    // Until an answer says otherwise.
                    self.lost.fetch_add(most.picodollars(), SeqCst);
                    self.booked.fetch_add(most.picodollars(), SeqCst);
                    self.billed.fetch_add(1, SeqCst);
                    return Ok(());
                }
                // Another day has begun meanwhile, with accounts of its own.
                Ok(Err(_)) if next_day(at) <= self.clock.now() => {}
                Ok(Err(NoRoom { cap, left })) => {
                    let may_fit = cap.is_of_fleet() && self.budget.caps().of(cap) >= Some(most);
                    // Others may have reserved more than they will need.
                    let others = if may_fit { reserved.make_way() } else { None };
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
                    drop(reserved);
                    first = may_be_booked.then_some((at, spending));
                    if error.is_of_a_row() || !self.wait().await {
                        return Err(NotPaid::Unrecorded { reason: error.to_string() });
                    }
                }
            }
        }
    }

    async fn settle(&self, bill: Bill<'_>) {
        let mut state = self.state.lock().await;
        let Some((spending, reserved, guard)) = state.reserved.take() else { return };
        let (step, cost) = match bill {
            Bill::Replied(reply) => {
                let redactor = self.redactor().without(&self.email);
                (Step::Replied(reply.redacted(&redactor)), reply.cost.total())
            }
            Bill::Free => (Step::Unanswered { lost: false }, Usd::ZERO),
            Bill::Lost => (Step::Unanswered { lost: true }, reserved),
        };
        self.booked.fetch_add(cost.picodollars(), SeqCst);
        self.booked.fetch_sub(reserved.picodollars(), SeqCst);
        if !matches!(bill, Bill::Lost) {
            self.lost.fetch_sub(reserved.picodollars(), SeqCst);
        }
        if matches!(bill, Bill::Free) {
            self.billed.fetch_sub(1, SeqCst);
        }
        let body = encode(&step);
        self.add(&mut state, body, Some((spending, reserved, cost))).await;
        drop(guard);
        self.is_asking.send_replace(false);
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
        let number = state.next_number;
        state.next_number += 1;
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
        let body = encode(step);
        self.add(&mut state, body, None).await;
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
mod tests {
    use super::*;
    use crate::config::BudgetConfig;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    /// Of an ordinary request.
    fn price(dollars: f64) -> Price {
        Price { most: usd(dollars), spare: Usd::ZERO, ordinary: usd(dollars) }
    }

    async fn anna(journal: &Journal, clock: &Clock, config: BudgetConfig) -> RunJournal {
        of(RunId::new(), journal, clock, config).await
    }

    async fn of(id: RunId, journal: &Journal, clock: &Clock, config: BudgetConfig) -> RunJournal {
        let budget = Budget::load(&config, journal, clock.clone()).await.unwrap();
        RunJournal::new(
            (id, UserId::parse("anna").unwrap()),
            Beginning { next_number: 0, lost: Usd::ZERO, booked: Usd::ZERO, max_cost: usd(100.0) },
            (journal.clone(), clock.clone(), Arc::new(budget)),
            (Redactor::default(), ""),
            CancellationToken::new(),
            Instant::now() + DAY,
        )
    }

    impl RunJournal {
        /// That of a new run without caps, for tests of others.
        pub(in crate::runner) async fn of_test(
            id: RunId,
            journal: &Journal,
            clock: &Clock,
        ) -> Self {
            let config = BudgetConfig { daily: None, monthly: None, persona_daily: None };
            of(id, journal, clock, config).await
        }
    }

    /// Writes until nothing more fits, however small.
    async fn fill(journal: &Journal) {
        journal.limit_pages(1).await.unwrap();
        let mut number = 0;
        for bytes in [100_000, 3_000, 300, 1] {
            let run = RunId::new();
            while journal.append_step(run, number, &"x".repeat(bytes), NOON).await.is_ok() {
                number += 1;
            }
        }
    }

    #[tokio::test]
    async fn a_reservation_tried_again_after_midnight_stays_on_the_accounts_of_its_first_attempt() {
        let journal = Journal::in_memory().await.unwrap();
        let clock = Clock::manual(NOON);
        let config = BudgetConfig { daily: Some(usd(5.0)), monthly: None, persona_daily: None };
        let run = Arc::new(anna(&journal, &clock, config).await);
        fill(&journal).await;
        // Something that takes no room: the trouble until now is over, and the next is told apart.
        journal.set_stage(run.id, "login").await.unwrap();
        assert_eq!(journal.trouble(), None);
        let reserving = tokio::spawn({
            let run = run.clone();
            async move { run.reserve(price(1.0)).await }
        });
        while journal.trouble().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance(DAY);
        journal.limit_pages(1_000_000).await.unwrap();
        reserving.await.unwrap().unwrap();
        let days = async || {
            let today = journal.fleet_spending(NOON).await.unwrap().0;
            (today, journal.fleet_spending(NOON + DAY).await.unwrap().0)
        };
        assert_eq!(days().await, (usd(1.0), Usd::ZERO));
        run.settle(Bill::Free).await;
        assert_eq!(days().await, (Usd::ZERO, Usd::ZERO));
        // A further one is the new day's.
        run.reserve(price(1.0)).await.unwrap();
        assert_eq!(days().await, (Usd::ZERO, usd(1.0)));
    }

    #[tokio::test]
    async fn only_money_that_is_gone_stops_the_others_and_not_a_request_that_is_too_dear() {
        let journal = Journal::in_memory().await.unwrap();
        let clock = Clock::manual(NOON);
        let config = BudgetConfig { daily: Some(usd(5.0)), monthly: None, persona_daily: None };
        let run = anna(&journal, &clock, config).await;
        let ask = async |most, ordinary| {
            let price = Price { ordinary: usd(ordinary), ..price(most) };
            let granted = run.reserve(price).await;
            run.settle(Bill::Lost).await;
            granted
        };
        let too_dear =
            |most| Err(NotPaid::TooDear { variable: Cap::Daily.variable(), most: usd(most) });
        assert_eq!(ask(0.03, 0.03).await, Ok(()));
        // Larger than the whole cap, and than what is left of it.
        assert_eq!(ask(12.0, 0.4).await, too_dear(12.0));
        assert_eq!(ask(4.98, 0.4).await, too_dear(4.98));
        assert!(!run.budget.is_reached(Cap::Daily));
        for _ in 0..11 {
            assert_eq!(ask(0.4, 0.4).await, Ok(()));
        }
        assert_eq!(ask(0.6, 0.4).await, too_dear(0.6));
        assert!(!run.budget.is_reached(Cap::Daily));
        // Of what is left nobody's request can be paid for.
        assert_eq!(ask(0.2, 0.2).await, Ok(()));
        assert!(matches!(ask(0.6, 0.4).await, Err(NotPaid::Budget { .. })));
        assert!(run.budget.is_reached(Cap::Daily));
    }

    #[tokio::test]
    async fn a_cap_that_pays_for_nobody_is_reached_at_once() {
        let journal = Journal::in_memory().await.unwrap();
        let clock = Clock::manual(NOON);
        for (daily, monthly, cap) in [(0.1, 9.0, Cap::Daily), (9.0, 0.1, Cap::Monthly)] {
            let (daily, monthly) = (Some(usd(daily)), Some(usd(monthly)));
            let config = BudgetConfig { daily, monthly, persona_daily: None };
            let run = anna(&journal, &clock, config).await;
            let price = Price { ordinary: usd(0.4), ..price(12.0) };
            assert!(matches!(run.reserve(price).await, Err(NotPaid::Budget { .. })));
            assert!(run.budget.is_reached(cap));
        }
    }

    #[tokio::test]
    async fn what_the_ledger_holds_of_a_run_never_exceeds_its_cap_and_the_spare_is_left_alone() {
        let journal = Journal::in_memory().await.unwrap();
        let clock = Clock::manual(NOON);
        let none = BudgetConfig { daily: None, monthly: None, persona_daily: None };
        let run = anna(&journal, &clock, none).await;
        let with_spare = |most, spare| Price { spare: usd(spare), ..price(most) };
        let too_dear =
            |most| Err(NotPaid::TooDear { variable: PERSONA_MAX_COST_USD, most: usd(most) });
        assert_eq!(run.reserve(price(100.5)).await, too_dear(100.5));
        assert_eq!(run.reserve(with_spare(99.0, 2.0)).await, too_dear(99.0));
        assert_eq!(run.reserve(with_spare(98.0, 2.0)).await, Ok(()));
        assert_eq!(run.left(), usd(2.0));
        run.settle(Bill::Lost).await;
        assert_eq!(
            run.reserve(price(2.5)).await,
            too_dear(2.5),
            "a lost answer may have been billed"
        );
        assert_eq!(run.reserve(price(2.0)).await, Ok(()));
        run.settle(Bill::Free).await;
        assert_eq!(run.left(), usd(2.0));
    }
}
