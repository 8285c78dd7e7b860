//! The operator's control of a running daemon: pause, drain, resume, cancel a run.

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
    /// The setting RUNNER_PAUSED. A resume request does not override it.
    held_by_environment: bool,
    state: Mutex<State>,
    /// Held while the pause is written to the journal.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    pause: Option<Pause>,
    /// Cancelled by a pause: the runs in flight then end after their current turn. Each resume makes a new
    /// token.
    end_turn: CancellationToken,
    in_flight: BTreeMap<RunId, InFlightRun>,
    /// Runs that were cancelled while they were not in flight. [`Control::enter`] cancels such a run when it
    /// is resumed.
    cancelled: HashSet<RunId>,
}

/// A run that is carried out now.
#[derive(Clone, Debug)]
pub(crate) struct InFlightRun {
    pub persona: UserId,
    /// The hour or day that the run is counted for.
    pub slot: Slot,
    /// When this process began or resumed the run.
    pub since: Timestamp,
    /// Stops only this run. A stop of the whole process stops it too.
    pub(super) shutdown: Shutdown,
    /// Cancelled when an operator cancels the run. This is final.
    pub(super) cancelled: CancellationToken,
}

impl InFlightRun {
    fn cancel(&self) {
        self.cancelled.cancel();
        self.shutdown.stop();
    }
}

/// The registration of a run as in flight. Dropping it removes the run.
#[derive(Debug)]
pub(super) struct InFlightEntry {
    control: Arc<Control>,
    id: RunId,
    /// Cancelled by a pause: the run then ends after its current turn.
    pub end_turn: CancellationToken,
    pub run: InFlightRun,
}

impl Drop for InFlightEntry {
    fn drop(&mut self) {
        self.control.state.lock().in_flight.remove(&self.id);
    }
}

/// The result of a cancel request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// The run is in flight and is ending now.
    InFlight,
    /// The run is unfinished and not in flight: the next tick or recovery closes it.
    Waiting,
    /// There is no unfinished run with this id.
    Nothing,
}

/// Why the runner is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PausedBy {
    /// The environment variable RUNNER_PAUSED is set.
    Environment,
    /// An operator sent a pause request.
    Request(Pause),
}

impl Control {
    /// Loads the pause that an earlier process stored in the journal.
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

    /// Lets no run begin from now on. Runs in flight end after their current turn, or at their normal end if
    /// `mode` is [`PauseMode::Drain`]. In this process the pause is in force even if it cannot be written to
    /// the journal.
    ///
    /// # Errors
    /// When the pause could not be written to the journal: the next process would not be paused.
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
        self.save().await
    }

    /// Ends a pause. Returns false if RUNNER_PAUSED is set, so that the runner stays paused.
    ///
    /// # Errors
    /// When the change could not be written to the journal: the next process would be paused.
    pub(crate) async fn resume(&self) -> Result<bool, JournalError> {
        {
            let mut state = self.state.lock();
            state.pause = None;
            state.end_turn = CancellationToken::new();
        }
        self.save().await?;
        Ok(!self.held_by_environment)
    }

    /// Writes the current pause to the journal. The lock makes sure that the newest state is written last,
    /// even with two requests at once.
    async fn save(&self) -> Result<(), JournalError> {
        let _writing = self.writing.lock().await;
        let pause = self.state.lock().pause.clone();
        self.journal.keep(PAUSE, pause.as_ref(), self.clock.now()).await
    }

    /// Cancels a run, whether it is in flight or not. The run is not resumed.
    ///
    /// # Errors
    /// When the request could not be written to the journal: the next process would resume the run.
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

    /// The runs in flight, in the order of their ids: the run that was first begun comes first.
    pub(crate) fn in_flight(&self) -> Vec<(RunId, InFlightRun)> {
        self.state.lock().in_flight.iter().map(|(id, run)| (*id, run.clone())).collect()
    }

    /// Registers a run as in flight, and cancels it at once if it was cancelled while it was not in flight.
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
