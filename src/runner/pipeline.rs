//! One persona's run, from login to feedback.
//!
//! A run returns a report, not a `Result`: what happened in the product is handed in even if the run
//! then fails, times out or is stopped. Each step is in the journal before it is acted on, so a run that
//! was killed goes on where it was.

mod after_day;
mod live;
mod main_turn;
mod report;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use tokio::time::Instant;

use self::{
    live::{Live, Progress},
    report::Failure,
};
use super::{
    back_off::BackOff,
    budget::Budget,
    control::Control,
    outbox::Outbox,
    put_off::PutOff,
    run_journal::{Beginning, RunJournal},
    seed_secret::SeedSecret,
    tool_tally::ToolTally,
};
use crate::{
    agent::{
        conversation::Limits,
        left_out::LeftOut,
        main_turn::MainTurn,
        replay::Replay,
        step::{DayEnd, Recorder, Step},
    },
    clients::{auth::AuthClient, claude::ClaudeClient, mcp::McpClient, personas::Batch},
    clock::Clock,
    config::{PolicyConfig, RunLimits},
    domain::{Persona, RunId, Slot, Usd, UserId},
    journal::{CANCELLED, EndedRun, Journal, NewRun, RunRow, RunState},
    metrics::{Label, Metrics, RunOutcome, Stage, WhyNotRun},
    shutdown::Shutdown,
};

pub use report::RunReport;

/// Kept at the end of a run's time for handing in its rows, retries included.
const PERSIST_RESERVE: Duration = Duration::from_secs(45);
/// For sessions to be ended that were being opened when nobody wanted them any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(4);
/// Why a run is closed that came to no end of its own.
const NOBODYS: &str = "the journal does not say whose run it is";
const PANICKED: &str = "the run panicked; the log has the place";
/// Why a run is closed that an earlier process began.
const LOST_TWICE: &str = "the runner ended twice while the model was answering";

/// What a run needs, shared by all runs.
#[derive(Debug)]
pub struct Pipeline {
    /// Logins.
    pub auth: Arc<AuthClient>,
    /// Whether their secret fits.
    pub seed_secret: Arc<SeedSecret>,
    /// Tools.
    pub mcp: McpClient,
    /// Claude.
    pub claude: ClaudeClient,
    /// Where everything is written down.
    pub journal: Journal,
    /// What may be spent.
    pub budget: Arc<Budget>,
    /// Rows on their way.
    pub outbox: Outbox,
    /// Pauses, and the runs in flight.
    pub control: Control,
    /// Who is held back.
    pub back_off: BackOff,
    /// Who waits for mana-mcp.
    pub put_off: PutOff,
    /// Bounds.
    pub limits: RunLimits,
    /// What personas may do with tools.
    pub policy: Arc<PolicyConfig>,
    /// Settings whose tool no server lists, by variable and name: warned about once.
    pub misnamed: Mutex<HashSet<(&'static str, String)>>,
    /// What tools came to, until a tick tells of it.
    pub tools: Mutex<ToolTally>,
    /// Tools that are offered to nobody.
    pub left_out: Arc<LeftOut>,
    /// Stop and abort.
    pub shutdown: Shutdown,
    /// Today.
    pub clock: Clock,
    /// Where today is.
    pub time_zone: TimeZone,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// How many runs may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Any number.
    All,
    /// One, to see whether Claude is to be had again.
    Probe,
}

impl Admitted {
    pub(super) fn most(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::Probe => 1,
        }
    }
}

/// A run that is to be carried out, from its beginning or from where it was.
struct Start {
    id: RunId,
    persona: Persona,
    slot: Slot,
    replay: Replay,
    next_number: u32,
    /// Whether its main turn is over and its actions are in the outbox already.
    is_rating: bool,
    /// Why it does not go on.
    close: Option<String>,
    /// Whether something in it panicked before: then it has failed, however well it is closed.
    has_panicked: bool,
}

/// How a run ends.
struct Finish {
    state: RunState,
    stage: Stage,
    failure: Option<Failure>,
    /// What is to be handed in with it.
    posts: Vec<(u32, Batch)>,
    reason: String,
    /// Held back until then: there is no money for it before.
    broke_until: Option<Timestamp>,
    /// For whose lack of money nothing was done, if so.
    broke: Option<WhyNotRun>,
    /// It stays unfinished, and is tried again later.
    is_postponed: bool,
}

impl Finish {
    fn well(posts: Vec<(u32, Batch)>) -> Self {
        let reason = "done".to_owned();
        let (state, stage) = (RunState::Finished, Stage::Done);
        Self {
            state,
            stage,
            failure: None,
            posts,
            reason,
            broke_until: None,
            broke: None,
            is_postponed: false,
        }
    }

    /// What an earlier process began could not be gone on with now.
    fn postponed(failure: Failure) -> Self {
        Self { is_postponed: true, ..Self::failed(RunState::Running, failure) }
    }

    /// That of a cancelled run: it does not come back, nor does its persona in this slot.
    fn for_good(self) -> Self {
        match self.state {
            RunState::Failed | RunState::RatingOwed => {
                // Nobody waits for mana-mcp with it any more.
                let end = |failure: Failure| match failure.put_off {
                    true => Failure { put_off: false, stopped: true, ..failure },
                    false => failure,
                };
                let (state, failure) = (RunState::Finished, self.failure.map(end));
                Self { state, failure, reason: CANCELLED.to_owned(), ..self }
            }
            _ => self,
        }
    }

    fn failed(state: RunState, failure: Failure) -> Self {
        Self {
            state,
            stage: failure.stage,
            reason: failure.error.clone(),
            failure: Some(failure),
            ..Self::well(Vec::new())
        }
    }
}

impl Pipeline {
    /// Runs `persona` once, for this slot, under an id not used before.
    pub async fn run(&self, id: RunId, persona: Persona, slot: Slot) -> RunReport {
        let attempt = self.back_off.failures(&persona.user_id) + 1;
        // Its e-mail may be in its own words, which are kept byte for byte.
        let redactor = self.auth.redactor_of(&persona.email).without(&persona.email);
        let persona = persona.redacted(&redactor);
        let model = self.claude.model();
        let new = NewRun { id, persona: &persona, slot: &slot, attempt, model };
        let begun = self.journal.begin_run(new, self.clock.now()).await;
        let replay = Replay::default();
        let start = Start {
            id,
            persona,
            slot,
            replay,
            next_number: 0,
            is_rating: false,
            close: None,
            has_panicked: false,
        };
        match begun {
            Ok(()) => self.to_its_end(start).await,
            Err(error) => self.not_begun(id, &error.to_string()),
        }
    }

    /// Goes on with a run of an earlier process, or closes it for this reason: then what happened is
    /// handed in, and nothing further is asked.
    pub async fn resume(&self, row: RunRow, close: Option<String>) -> RunReport {
        let id = row.id;
        match self.start_of(row, close).await {
            Ok(start) => {
                if start.close.is_none() {
                    self.metrics.record_resumed_run();
                }
                self.to_its_end(start).await
            }
            Err(why) => self.not_begun(id, &why),
        }
    }

    /// Carries it out. One that was cancelled before it had got to where it was is closed, so that nobody
    /// goes on with it.
    async fn to_its_end(&self, start: Start) -> RunReport {
        let id = start.id;
        let report = self.carry_out(start).await;
        if !report.cancelled_on_the_way {
            return report;
        }
        let Ok(Some(row)) = self.journal.run(id).await else { return report };
        if row.state != RunState::Running || self.outbox.unsaved_runs().await.contains(&id) {
            return report;
        }
        match self.start_of(row, Some(CANCELLED.to_owned())).await {
            Ok(start) => self.carry_out(start).await,
            Err(_) => report,
        }
    }

    /// Closes a run in which something panicked.
    pub async fn close_panicked(&self, row: RunRow) -> RunReport {
        let id = row.id;
        match self.start_of(row, Some(PANICKED.to_owned())).await {
            Ok(start) => self.carry_out(Start { has_panicked: true, ..start }).await,
            Err(why) => self.not_begun(id, &why),
        }
    }

    async fn start_of(&self, row: RunRow, close: Option<String>) -> Result<Start, String> {
        let id = row.id;
        let steps = self.journal.steps(id).await.map_err(|error| error.to_string())?;
        let numbers = steps.iter().map(|step| step.number);
        let next_number = numbers.max().map_or(0, |last| last.saturating_add(1));
        let mut unreadable = None;
        let (now, today) = (Instant::now(), self.clock.now());
        // A clock that was set back meanwhile makes a step one of just now.
        let at = |time| {
            let age = Duration::try_from(today.duration_since(time)).unwrap_or_default();
            now.checked_sub(age).unwrap_or(now)
        };
        let read = steps.iter().filter_map(|step| match serde_json::from_str::<Step>(&step.body) {
            Ok(read) => Some((at(step.at), read)),
            Err(error) => {
                unreadable = Some(format!("its step {} cannot be read: {error}", step.number));
                None
            }
        });
        let replay = Replay::of(read, self.run_limits());
        let is_rating =
            row.state == RunState::RatingOwed || row.stage == Stage::RatingTurn.as_str();
        let persona = match (row.persona, UserId::parse(&row.persona_id)) {
            (Some(persona), _) => persona,
            // To close it, and hand in what happened, its id will do.
            (None, Ok(user_id)) => {
                unreadable = Some(NOBODYS.to_owned());
                Persona::known_by_id(user_id)
            }
            (None, Err(_)) => {
                self.give_up(id, NOBODYS).await;
                return Err(NOBODYS.to_owned());
            }
        };
        let close = close.or(unreadable);
        let slot = row.slot;
        let has_panicked = false;
        Ok(Start { id, persona, slot, replay, next_number, is_rating, close, has_panicked })
    }

    /// Ends a run of which nothing more can be made, not even a list of what happened.
    pub(super) async fn give_up(&self, id: RunId, why: &str) {
        tracing::error!(run.id = %id, "a run is given up: {why}");
        if let Err(error) = self.journal.give_up(id, why, self.clock.now()).await {
            tracing::error!(run.id = %id, "{error}");
        }
    }

    /// Waits until no MCP session is being ended any more that was being opened when nobody wanted it.
    pub(super) async fn sessions_settled(&self) {
        let courtesy = self.shutdown.courtesy().saturating_mul(2);
        self.mcp.settled(SETTLE_LIMIT.min(courtesy)).await;
    }

    /// The tools that have failed since this was last asked.
    pub(super) fn tools(&self) -> MutexGuard<'_, ToolTally> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why no run may begin at present, if so: the journal cannot be written to, or the money is used
    /// up.
    pub fn trouble(&self) -> Option<String> {
        self.journal.trouble().or_else(|| self.budget.exhausted())
    }

    /// Why no further run may begin, if so. Where Claude is not asked, a probe finds out.
    pub(super) fn why_not_begin(&self, admitted: Admitted) -> Option<WhyNotRun> {
        let is_stopped = admitted == Admitted::All && self.claude.stopped().is_some();
        let reasons = [
            (self.control.paused().is_some(), WhyNotRun::Paused),
            (is_stopped, WhyNotRun::ModelStopped),
            (self.budget.exhausted().is_some(), WhyNotRun::Budget),
            (self.journal.trouble().is_some(), WhyNotRun::Other),
        ];
        reasons.into_iter().find_map(|(is_so, why)| is_so.then_some(why))
    }

    fn run_limits(&self) -> Limits {
        Limits { max_replies: self.limits.max_turns, max_cost: self.limits.max_cost }
    }

    async fn carry_out(&self, start: Start) -> RunReport {
        let started = Instant::now();
        let _in_flight = self.metrics.start_run();
        let Start { id, persona, slot, replay, next_number, is_rating, close, has_panicked } =
            start;
        tracing::Span::current().record("run.id", tracing::field::display(id));
        self.put_off.remove(&persona.user_id);
        let place = self.control.enter(id, &persona.user_id, &slot, &self.shutdown);
        let end = started + self.limits.timeout;
        let work_end = end - PERSIST_RESERVE.min(self.limits.timeout / 5);
        let redactor = self.auth.redactor_of(&persona.email);
        let journal = RunJournal::new(
            (id, persona.user_id.clone()),
            Beginning {
                next_number,
                lost: replay.lost,
                booked: live::spent(&replay),
                max_cost: self.limits.max_cost,
            },
            (self.journal.clone(), self.clock.clone(), self.budget.clone()),
            (redactor.clone(), &persona.email),
            place.end_turn.clone(),
            work_end,
        );
        let live = Live {
            journal,
            persona: &persona,
            shutdown: place.shutdown.clone(),
            work_end,
            end,
            redactor,
            cancelled: place.cancelled.clone(),
        };
        let is_closed_as_cancelled = close.as_deref() == Some(CANCELLED);
        let mut progress = Progress::after(&replay);
        let stages = async {
            let finish = self.stages(&live, replay, is_rating, close, &mut progress).await;
            if !finish.is_postponed {
                self.end_left_sessions(&live, &mut progress).await;
            }
            finish
        };
        let finish = tokio::select! {
            biased;
            // First, so that nothing more is written down: the next process finds what a kill leaves.
            () = place.shutdown.aborted() => None,
            finish = stages => Some(finish),
        };
        let finish = finish.map(|finish| match has_panicked {
            true => Finish { stage: Stage::Due, ..finish },
            false => finish,
        });
        let took = started.elapsed();
        let is_cancelled = place.cancelled.is_cancelled() || is_closed_as_cancelled;
        let finish = finish.map(|finish| if is_cancelled { finish.for_good() } else { finish });
        let is_postponed = finish.as_ref().is_some_and(|finish| finish.is_postponed);
        let mut report = match finish {
            Some(finish) => self.finish(live, finish, progress).await,
            // As after kill -9: the next process goes on with it.
            None => progress.report(id, Some(Failure::stopped(Stage::Due)), None),
        };
        if has_panicked {
            (report.outcome, report.stage) = (RunOutcome::Failed, Stage::Due);
            report.error = Some(PANICKED.to_owned());
        }
        if is_postponed && is_cancelled {
            report.cancelled_on_the_way = true;
            return report;
        }
        self.metrics.record_run(report.outcome, report.stage, took, report.waited);
        if report.outcome == RunOutcome::Ok {
            self.metrics.record_finished_run(self.clock.now());
        }
        report.log(took);
        if report.credentials_refused && self.seed_secret.has_fitted() {
            self.seed_secret.blame(&persona.user_id);
        }
        report
    }

    /// Writes down how the run ended, and hands in what is left to be.
    async fn finish(&self, live: Live<'_>, finish: Finish, mut progress: Progress) -> RunReport {
        let Finish { state, stage, mut failure, posts, reason, broke_until, broke, is_postponed } =
            finish;
        let user = &live.persona.user_id;
        if is_postponed {
            // Nothing of it is written down but its steps: it is where it was.
            return self.postpone(live, failure, progress).await;
        }
        if progress.lost_an_answer {
            self.metrics.record_lost_answer();
        }
        let redactor = progress.redactor.take().unwrap_or_else(|| live.redactor.clone());
        let mut next_eligible_at = None;
        match (state, &failure) {
            (RunState::Failed, Some(failure)) if failure.put_off => {
                self.put_off.add(user, failure.error.clone());
            }
            (RunState::Failed, Some(failure)) if !failure.stopped => {
                let (wait, until) = self.back_off.failed(user, failure.hold);
                next_eligible_at = Some(until);
                self.metrics.record_backoff();
                tracing::info!(wait_s = wait.as_secs(), %until, "the persona is held back");
            }
            (RunState::Failed, _) => {
                next_eligible_at = broke_until;
                if let Some(until) = broke_until {
                    self.back_off.hold_until(user, until);
                    tracing::info!(%until, "the persona is held back: PERSONA_DAILY_USD is used up");
                }
            }
            _ => self.back_off.succeeded(user),
        }
        let ended = EndedRun {
            next_eligible_at,
            ..progress.ended(state, stage, Some(redactor.redact(&reason).into_owned()))
        };
        let mut all = std::mem::take(&mut progress.unsaved_posts);
        all.extend(posts);
        let outbox = &self.outbox;
        let handed_in =
            outbox.hand_in(&live.journal, user, &ended, &all, live.end, &live.shutdown).await;
        progress.undelivered |= handed_in.undelivered > 0;
        if let (Some(error), None) = (handed_in.refused, &failure) {
            let stage = if progress.ratings > 0 { Stage::PostFeedback } else { Stage::PostActions };
            failure = Some(Failure::at(stage, error));
        }
        let id = live.journal.id;
        if handed_in.unsaved {
            outbox.keep(live.journal, ended, all).await;
        }
        let outcome =
            (state == RunState::Failed && failure.is_none()).then_some(RunOutcome::Skipped);
        let mut report = progress.report(id, failure, outcome);
        report.error = report.error.map(|error| redactor.redact(&error).into_owned());
        report.broke = broke;
        report
    }

    async fn postpone(
        &self,
        live: Live<'_>,
        failure: Option<Failure>,
        progress: Progress,
    ) -> RunReport {
        if let Some(failure) = failure.as_ref().filter(|failure| failure.put_off) {
            self.put_off.add(&live.persona.user_id, failure.error.clone());
        } else if let Some(failure) = failure.as_ref().filter(|failure| !failure.stopped) {
            let (wait, until) = self.back_off.failed(&live.persona.user_id, failure.hold);
            self.metrics.record_backoff();
            tracing::info!(wait_s = wait.as_secs(), %until, "the unfinished run is tried again later");
            let now = self.clock.now();
            if let Err(error) = self.journal.hold_back(live.journal.id, now, until).await {
                tracing::warn!("{error}; a restart will not know of the back-off");
            }
        }
        let redactor = progress.redactor.clone().unwrap_or_else(|| live.redactor.clone());
        let mut report = progress.report(live.journal.id, failure, None);
        report.error = report.error.map(|error| redactor.redact(&error).into_owned());
        if live.journal.flush().await.is_err() {
            self.outbox.keep_steps(live.journal).await;
        }
        report
    }

    /// From the login, or from where the run was, to its end.
    async fn stages(
        &self,
        live: &Live<'_>,
        replay: Replay,
        is_rating: bool,
        close: Option<String>,
        progress: &mut Progress,
    ) -> Finish {
        let lost_twice = replay.has_lost_enough();
        let Replay { opened, day, ended, rating, rated, .. } = replay;
        let close = close.or_else(|| lost_twice.then(|| LOST_TWICE.to_owned()));
        let (turn, end) = match (day, ended, &close) {
            (Some(day), Some(end), _) => {
                let turn = MainTurn::of_earlier(day, &live.redactor);
                // It was stopped then; now it goes on, if there is anything to go on with.
                let has_begun = turn.replies > 0 || live.journal.lost() > Usd::ZERO;
                (turn, DayEnd { stopped: end.stopped && !has_begun, ..end })
            }
            (Some(day), None, Some(why)) => {
                let end =
                    DayEnd { failure: Some(why.clone()), reason: why.clone(), ..DayEnd::default() };
                (MainTurn::of_earlier(day, &live.redactor), end)
            }
            (None, _, Some(why)) => {
                let failure = Failure { stopped: true, ..Failure::at(Stage::Login, why) };
                return Finish::failed(RunState::Failed, failure);
            }
            (day, ..) => {
                let has_begun = day.is_some();
                match self.main_turn(live, opened, day, progress).await {
                    Ok(over) => over,
                    // Paid for, and where it was.
                    Err(failure)
                        if has_begun || (failure.put_off && failure.stage == Stage::MainTurn) =>
                    {
                        return Finish::postponed(failure);
                    }
                    Err(failure) => return Finish::failed(RunState::Failed, failure),
                }
            }
        };
        progress.note_turn(&turn, live.journal.lost());
        progress.day_ended = (!end.stopped).then(|| end.reason.clone());
        if is_rating {
            return self.rate(live, &turn, rating, rated, close.as_deref(), progress).await;
        }
        match self.hand_in_day(live, &turn, end, progress).await {
            Some(finish) => finish,
            None => self.rate(live, &turn, rating, rated, close.as_deref(), progress).await,
        }
    }

    fn not_begun(&self, run: RunId, error: &str) -> RunReport {
        self.metrics.record_no_run(RunOutcome::Failed);
        let failure = Failure::at(Stage::Due, error);
        Progress::default().report(run, Some(failure), None)
    }
}
