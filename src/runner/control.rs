//! What an operator can do to a running daemon: pause, drain, resume, cancel a run.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    domain::{RunId, Slot, UserId},
    journal::{Journal, JournalError, PAUSE, Pause, PauseMode},
    shutdown::Shutdown,
};

/// Whether the runner is paused, and the runs in flight.
#[derive(Debug)]
pub(crate) struct Control {
    journal: Journal,
    clock: Clock,
    /// RUNNER_PAUSED, which nothing at run time overrides.
    held_by_environment: bool,
    state: Mutex<State>,
    /// Held while it is written down whether the runner is paused.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    pause: Option<Pause>,
    /// Asks the runs in flight to end after their current turn. Another one after each resume.
    end_turn: CancellationToken,
    in_flight: BTreeMap<RunId, InFlightRun>,
    /// Cancelled while they were not: whoever is about to go on with one learns of it.
    cancelled: HashSet<RunId>,
}

/// A run under way.
#[derive(Clone, Debug)]
pub(crate) struct InFlightRun {
    /// Whose.
    pub persona: UserId,
    /// What it stands for.
    pub slot: Slot,
    /// Since when, in this process.
    pub since: Timestamp,
    /// Stops it.
    pub(super) shutdown: Shutdown,
    /// Whether it was cancelled, which is final.
    pub(super) cancelled: CancellationToken,
}

impl InFlightRun {
    fn cancel(&self) {
        self.cancelled.cancel();
        self.shutdown.stop();
    }
}

/// A run's place among those in flight, until dropped.
#[derive(Debug)]
pub(super) struct InFlightEntry {
    control: Arc<Control>,
    id: RunId,
    /// Asks the run to end after its current turn.
    pub end_turn: CancellationToken,
    pub run: InFlightRun,
}

impl Drop for InFlightEntry {
    fn drop(&mut self) {
        self.control.state.lock().in_flight.remove(&self.id);
    }
}

/// What was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// A run in flight: it comes to its end.
    InFlight,
    /// An unfinished run that nobody is at: the next recovery closes it.
    Waiting,
    /// There is no unfinished run of this id.
    Nothing,
}

/// Why the runner is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PausedBy {
    /// RUNNER_PAUSED is set.
    Environment,
    /// Somebody asked for it.
    Request(Pause),
}

impl Control {
    /// As an earlier process has left it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn load(
        journal: Journal,
        clock: Clock,
        held_by_environment: bool,
    ) -> Result<Self, JournalError> {
        let pause = journal.kept(PAUSE).await?;
        if let Some(pause) = &pause {
            tracing::info!(by = pause.by, since = %pause.since, "paused by an earlier request");
        }
        let state = Mutex::new(State { pause, ..State::default() });
        let writing = Default::default();
        Ok(Self { journal, clock, held_by_environment, state, writing })
    }

    /// Why the runner is paused, if it is.
    pub(crate) fn paused(&self) -> Option<PausedBy> {
        if self.held_by_environment {
            return Some(PausedBy::Environment);
        }
        self.state.lock().pause.clone().map(PausedBy::Request)
    }

    /// Starts nothing from now on; what is in flight ends after its current turn, or comes to its own
    /// end where this only drains. It holds in this process even where it cannot be written down.
    ///
    /// # Errors
    /// When it could not be written down: a restart would not know of it.
    pub(crate) async fn pause(
        &self,
        mode: PauseMode,
        reason: Option<String>,
        by: String,
    ) -> Result<(), JournalError> {
        let pause = Pause { mode, reason, by, since: self.clock.now() };
        {
            let mut state = self.state.lock();
            state.pause = Some(pause);
            if mode == PauseMode::Pause {
                state.end_turn.cancel();
            }
        }
        self.write_down().await
    }

    /// Goes on; false if RUNNER_PAUSED is set and therefore nothing does.
    ///
    /// # Errors
    /// When it could not be written down: a restart would be paused.
    pub(crate) async fn resume(&self) -> Result<bool, JournalError> {
        {
            let mut state = self.state.lock();
            state.pause = None;
            state.end_turn = CancellationToken::new();
        }
        self.write_down().await?;
        Ok(!self.held_by_environment)
    }

    /// What is written last is how it is: two requests at once cannot leave it the other way round.
    async fn write_down(&self) -> Result<(), JournalError> {
        let _turn = self.writing.lock().await;
        let pause = self.state.lock().pause.clone();
        self.journal.keep(PAUSE, pause.as_ref(), self.clock.now()).await
    }

    /// Ends a run for good, in flight or not.
    ///
    /// # Errors
    /// When it could not be written down: a restart would not know of it.
    pub(crate) async fn cancel(&self, run: RunId) -> Result<Cancelled, JournalError> {
        let is_in_flight = {
            let mut state = self.state.lock();
            let in_flight = state.in_flight.get(&run).map(InFlightRun::cancel);
            if in_flight.is_none() {
                state.cancelled.insert(run);
            }
            in_flight.is_some()
        };
        let is_unfinished = self.journal.cancel_run(run).await?;
        if !is_unfinished {
            self.state.lock().cancelled.remove(&run);
        }
        Ok(match (is_in_flight, is_unfinished) {
            (true, _) => Cancelled::InFlight,
            (false, true) => Cancelled::Waiting,
            (false, false) => Cancelled::Nothing,
        })
    }

    /// The runs in flight, oldest first.
    pub(crate) fn in_flight(&self) -> Vec<(RunId, InFlightRun)> {
        self.state.lock().in_flight.iter().map(|(id, run)| (*id, run.clone())).collect()
    }

    /// A run begins.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: RunId,
        persona: &UserId,
        slot: &Slot,
        shutdown: &Shutdown,
    ) -> InFlightEntry {
        let run = InFlightRun {
            persona: persona.clone(),
            slot: slot.clone(),
            since: self.clock.now(),
            shutdown: shutdown.of_part(),
            cancelled: CancellationToken::new(),
        };
        let mut state = self.state.lock();
        if state.cancelled.remove(&id) {
            run.cancel();
        }
        state.in_flight.insert(id, run.clone());
        InFlightEntry { control: self.clone(), id, end_turn: state.end_turn.clone(), run }
    }
}
