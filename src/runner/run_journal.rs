//! One run's part of the journal: its steps and its account, written before anything is done.

use std::{
    collections::VecDeque,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, Reserved};
use crate::{
    agent::step::{Recorder, Step, Unrecorded},
    clients::claude::{Bill, Meter, NotPaid},
    clock::Clock,
    domain::{Redactor, RunId, Usd, UserId},
    journal::{Cap, Journal, JournalError, Spending},
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
    /// Keeps secrets out of the file. The persona's e-mail is none.
    redactor: RwLock<Redactor>,
    /// Asks the run to end after its current turn.
    pause: CancellationToken,
    /// Until when it waits for a journal that cannot be written to.
    give_up_at: Instant,
    state: Mutex<State>,
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
}

impl RunJournal {
    pub(super) fn new(
        (id, persona): (RunId, UserId),
        beginning: Beginning,
        (journal, clock, budget): (Journal, Clock, Arc<Budget>),
        redactor: Redactor,
        pause: CancellationToken,
        give_up_at: Instant,
    ) -> Self {
        let Beginning { next_number, lost } = beginning;
        Self {
            id,
            persona,
            journal,
            clock,
            budget,
            redactor: RwLock::new(redactor),
            pause,
            give_up_at,
            state: Mutex::new(State { next_number, backlog: VecDeque::new(), reserved: None }),
            lost: AtomicU64::new(lost.picodollars()),
            billed: AtomicU64::new(0),
            is_asking: watch::Sender::new(false),
        }
    }

    /// Keeps these secrets out of the file from now on.
    pub(super) fn redact_with(&self, redactor: Redactor) {
        *self.redactor.write().unwrap_or_else(PoisonError::into_inner) = redactor;
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
            match bill {
                None => self.journal.append_step(self.id, *number, body, now).await?,
                Some((spending, reserved, cost)) => {
                    let step = (self.id, *number, body.as_str());
                    self.journal.settle(step, spending, *reserved, *cost, now).await?;
                }
            }
            state.backlog.pop_front();
        }
        Ok(())
    }

    fn encode(&self, step: &Step) -> String {
        // Names, texts, numbers and JSON that was read before: it encodes.
        let body = serde_json::to_string(step).unwrap_or_default();
        let redactor = self.redactor.read().unwrap_or_else(PoisonError::into_inner).clone();
        redactor.redact(&body).into_owned()
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
    async fn reserve(&self, most: Usd) -> Result<(), NotPaid> {
        let mut state = self.state.lock().await;
        let body = self.encode(&Step::Asking { reserved: most });
        let number = state.next_number;
        state.next_number += 1;
        loop {
            if self.pause.is_cancelled() {
                return Err(NotPaid::Paused);
            }
            // Listening begins before the attempt, so that no settlement after it is missed.
            let settled = self.budget.settled().notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let now = self.clock.now();
            let spending = Spending::of(&self.persona, now);
            // Before it is written: a pause must not come between the record and the request.
            self.is_asking.send_replace(true);
            let attempt = async {
                self.flush_backlog(&mut state).await?;
                let step = (self.id, number, body.as_str());
                self.journal.reserve(step, &spending, most, self.budget.caps(), now).await
            };
            let attempt = attempt.await;
            if !matches!(attempt, Ok(Ok(()))) {
                self.is_asking.send_replace(false);
            }
            match attempt {
                Ok(Ok(())) => {
                    state.reserved = Some((spending, most, self.budget.reserved()));
                    // Until an answer says otherwise.
                    self.lost.fetch_add(most.picodollars(), SeqCst);
                    self.billed.fetch_add(1, SeqCst);
                    return Ok(());
                }
                // Others have reserved more than they will need.
                Ok(Err(cap)) if cap.is_of_fleet() && self.budget.may_get_some_back() => {
                    if timeout_at(self.give_up_at, settled).await.is_err() {
                        return Err(refusal(cap));
                    }
                }
                Ok(Err(cap)) => {
                    if cap.is_of_fleet() {
                        self.budget.reach(cap, &self.journal).await;
                    }
                    return Err(refusal(cap));
                }
                Err(error) => {
                    if !self.wait().await {
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
            Bill::Replied(reply) => (Step::Replied(reply.clone()), reply.cost.total()),
            Bill::Free => (Step::Unanswered { lost: false }, Usd::ZERO),
            Bill::Lost => (Step::Unanswered { lost: true }, reserved),
        };
        if !matches!(bill, Bill::Lost) {
            self.lost.fetch_sub(reserved.picodollars(), SeqCst);
        }
        if matches!(bill, Bill::Free) {
            self.billed.fetch_sub(1, SeqCst);
        }
        let body = self.encode(&step);
        self.add(&mut state, body, Some((spending, reserved, cost))).await;
        drop(guard);
        self.is_asking.send_replace(false);
    }
}

fn refusal(cap: Cap) -> NotPaid {
    NotPaid::Budget { variable: cap.variable(), of_persona: !cap.is_of_fleet() }
}

impl Recorder for RunJournal {
    async fn intend(&self, step: &Step) -> Result<(), Unrecorded> {
        let mut state = self.state.lock().await;
        let body = self.encode(step);
        let number = state.next_number;
        state.next_number += 1;
        loop {
            let attempt = async {
                self.flush_backlog(&mut state).await?;
                self.journal.append_step(self.id, number, &body, self.clock.now()).await
            };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(error) if !self.wait().await => {
                    return Err(Unrecorded { reason: error.to_string() });
                }
                Err(_) => {}
            }
        }
    }

    async fn note(&self, step: &Step) {
        let mut state = self.state.lock().await;
        let body = self.encode(step);
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
