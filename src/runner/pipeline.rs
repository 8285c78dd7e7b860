//! One persona's run, from login to feedback.
//!
//! A run returns a report, not a `Result`: what happened in the product is handed in even if the run
//! then fails, times out or is stopped. Each step is in the journal before it is acted on, so a run that
//! was killed goes on where it was.

mod live;
mod report;

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tokio::time::{Instant, sleep_until};

use self::{
    live::{Live, Progress},
    report::Failure,
};
use super::{
    back_off::BackOff,
    budget::{Budget, next_day},
    control::Control,
    outbox::Outbox,
    persist::{posts_of_actions, posts_of_ratings},
    persona_tools::{Opener, PersonaTools},
    run_journal::{Beginning, RunJournal},
};
use crate::{
    agent::{
        Scope,
        catalog::Catalog,
        conversation::Limits,
        day::Day,
        main_turn::{Ended, MainTurn, run_main_turn},
        prompt,
        rating::{Ratings, run_rating_turn},
        replay::{RatingStep, Replay},
        step::{DayEnd, Opened, Recorder, Step},
    },
    clients::{
        auth::{Access, AuthClient},
        claude::ClaudeClient,
        mcp::{McpClient, McpSession, Tool},
        personas::Batch,
    },
    clock::Clock,
    config::{PolicyConfig, RunLimits},
    domain::{Action, ModuleRating, Persona, Redactor, RunId, Slot},
    journal::{EndedRun, Journal, NewRun, RunRow, RunState},
    metrics::{Label, Metrics, RunOutcome, Stage},
    shutdown::Shutdown,
};

pub use report::RunReport;

/// Kept at the end of a run's time for handing in its rows, retries included.
const PERSIST_RESERVE: Duration = Duration::from_secs(45);
/// Why a run is closed that an earlier process began.
const LOST_TWICE: &str = "the runner ended twice while the model was answering";

/// What a run needs, shared by all runs.
#[derive(Debug)]
pub struct Pipeline {
    /// Logins.
    pub auth: Arc<AuthClient>,
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
    /// Bounds.
    pub limits: RunLimits,
    /// What personas may do with tools.
    pub policy: Arc<PolicyConfig>,
    /// Stop and abort.
    pub shutdown: Shutdown,
    /// Today.
    pub clock: Clock,
    /// Where today is.
    pub time_zone: TimeZone,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Secrets of the process.
    pub redactor: Redactor,
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
}

/// How a run ends.
struct Finish {
    state: RunState,
    stage: Stage,
    failure: Option<Failure>,
    /// What is to be handed in with it.
    posts: Vec<(u32, Batch)>,
    reason: String,
    /// Held back until the next day: there is no money for it today.
    is_broke: bool,
}

impl Finish {
    fn well(posts: Vec<(u32, Batch)>) -> Self {
        let reason = "done".to_owned();
        let (state, stage) = (RunState::Finished, Stage::Done);
        Self { state, stage, failure: None, posts, reason, is_broke: false }
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
    /// Runs `persona` once, for this slot.
    pub async fn run(&self, persona: Persona, slot: Slot) -> RunReport {
        let id = RunId::new();
        let attempt = self.back_off.failures(&persona.user_id) + 1;
        let model = self.claude.model();
        let new = NewRun { id, persona: &persona, slot: &slot, attempt, model };
        let begun = self.journal.begin_run(new, self.clock.now()).await;
        let replay = Replay::default();
        let start =
            Start { id, persona, slot, replay, next_number: 0, is_rating: false, close: None };
        match begun {
            Ok(()) => self.carry_out(start).await,
            Err(error) => self.not_begun(id, &error.to_string()),
        }
    }

    /// Goes on with a run of an earlier process, or closes it for this reason: then what happened is
    /// handed in, and nothing further is asked.
    pub async fn resume(&self, row: RunRow, close: Option<String>) -> RunReport {
        let id = row.id;
        let steps = match self.journal.steps(id).await {
            Ok(steps) => steps,
            Err(error) => return self.not_begun(id, &error.to_string()),
        };
        let next_number = steps.last().map_or(0, |step| step.number + 1);
        let mut unreadable = None;
        let read = steps.iter().map_while(|step| match serde_json::from_str::<Step>(&step.body) {
            Ok(step) => Some(step),
            Err(error) => {
                unreadable = Some(format!("its step {} cannot be read: {error}", step.number));
                None
            }
        });
        let replay = Replay::of(read, self.run_limits());
        let is_rating =
            row.state == RunState::RatingOwed || row.stage == Stage::RatingTurn.as_str();
        let Some(persona) = row.persona else {
            return self.not_begun(id, "the journal no longer says whose run it is");
        };
        let close = close.or(unreadable);
        let slot = row.slot;
        self.carry_out(Start { id, persona, slot, replay, next_number, is_rating, close }).await
    }

    /// Why no run may begin at present, if so: the journal cannot be written to, or the money is used
    /// up.
    pub fn trouble(&self) -> Option<String> {
        self.journal.trouble().or_else(|| self.budget.exhausted())
    }

    /// Whether nobody further may begin: there is trouble, or the runner was paused meanwhile.
    pub(super) fn is_held(&self) -> bool {
        self.trouble().is_some() || self.control.paused().is_some()
    }

    fn run_limits(&self) -> Limits {
        Limits { max_replies: self.limits.max_turns, max_cost: self.limits.max_cost }
    }

    async fn carry_out(&self, start: Start) -> RunReport {
        let started = Instant::now();
        let _in_flight = self.metrics.start_run();
        let Start { id, persona, slot, replay, next_number, is_rating, close } = start;
        let place = self.control.enter(id, &persona.user_id, &slot, &self.shutdown);
        let end = started + self.limits.timeout;
        let work_end = end - PERSIST_RESERVE.min(self.limits.timeout / 5);
        let journal = RunJournal::new(
            (id, persona.user_id.clone()),
            Beginning { next_number, lost: replay.lost },
            (self.journal.clone(), self.clock.clone(), self.budget.clone()),
            self.redactor.clone(),
            place.end_turn.clone(),
            work_end,
        );
        let live = Live {
            journal,
            persona: &persona,
            shutdown: place.shutdown.clone(),
            work_end,
            end,
            redactor: self.redactor.with([&*persona.email]),
        };
        let mut progress = Progress::after(&replay);
        let finish = tokio::select! {
            biased;
            finish = self.stages(&live, replay, is_rating, close, &mut progress) => Some(finish),
            () = place.shutdown.aborted() => None,
        };
        let took = started.elapsed();
        let report = match finish {
            Some(finish) => self.finish(live, finish, progress).await,
            // As after kill -9: the next process goes on with it.
            None => progress.report(id, Some(Failure::stopped(Stage::Due)), None),
        };
        self.metrics.record_run(report.outcome, report.stage, took, report.waited);
        report.log(took);
        report
    }

    /// Writes down how the run ended, and hands in what is left to be.
    async fn finish(&self, live: Live<'_>, finish: Finish, mut progress: Progress) -> RunReport {
        let Finish { state, stage, mut failure, posts, reason, is_broke } = finish;
        let user = &live.persona.user_id;
        let now = self.clock.now();
        let mut next_eligible_at = None;
        match (state, &failure) {
            (RunState::Failed, Some(failure)) if !failure.stopped => {
                let (wait, until) = self.back_off.failed(user, failure.hold);
                next_eligible_at = Some(until);
                self.metrics.record_backoff();
                tracing::info!(wait_s = wait.as_secs(), "the persona is held back");
            }
            (RunState::Failed, _) if is_broke => {
                next_eligible_at = Some(next_day(now));
                self.back_off.hold_until(user, next_day(now));
            }
            (RunState::Failed, _) => {}
            _ => self.back_off.succeeded(user),
        }
        let ended = EndedRun {
            next_eligible_at,
            ..progress.ended(state, stage, Some(live.redactor.redact(&reason).into_owned()))
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
        let redactor = progress.redactor.take().unwrap_or_else(|| live.redactor.clone());
        let id = live.journal.id;
        if handed_in.unsaved {
            outbox.keep(live.journal, user.clone(), ended, all).await;
        }
        let outcome =
            (state == RunState::Failed && failure.is_none()).then_some(RunOutcome::Skipped);
        let mut report = progress.report(id, failure, outcome);
        report.error = report.error.map(|error| redactor.redact(&error).into_owned());
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
                // It was stopped then; now it goes on.
                (MainTurn::of_earlier(day, &live.redactor), DayEnd { stopped: false, ..end })
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
            (day, ..) => match self.main_turn(live, opened, day, progress).await {
                Ok(over) => over,
                Err(failure) => return Finish::failed(RunState::Failed, failure),
            },
        };
        progress.note_turn(&turn, live.journal.lost());
        if is_rating {
            return self.rate(live, &turn, rating, rated, close.as_deref(), progress).await;
        }
        match self.hand_in_day(live, &turn, end, progress).await {
            Some(finish) => finish,
            None => self.rate(live, &turn, rating, rated, close.as_deref(), progress).await,
        }
    }

    /// Logs in, opens a session and plays the day, or the rest of one. An error is one before which
    /// nothing has happened.
    async fn main_turn(
        &self,
        live: &Live<'_>,
        opened: Option<Opened>,
        day: Option<Day>,
        progress: &mut Progress,
    ) -> Result<(MainTurn, DayEnd), Failure> {
        let (access, session) = match self.enter(live, progress).await {
            Ok(entered) => entered,
            Err(failure) if day.is_some() => return Ok(broken_off(day, failure, &live.redactor)),
            Err(failure) => return Err(failure),
        };
        let has_begun = day.is_some();
        let prepared = self.prepare(live, opened, day, &session, &access.redactor).await;
        let opener = Opener {
            mcp: &self.mcp,
            auth: &self.auth,
            metrics: &self.metrics,
            email: &live.persona.email,
            access: &access,
        };
        let tools = PersonaTools::new(opener, session);
        let over = match prepared {
            Ok((catalog, day)) => {
                Ok(self.play(live, &tools, &catalog, day, &access, progress).await)
            }
            Err((failure, day)) if has_begun => Ok(broken_off(day, failure, &live.redactor)),
            Err((failure, _)) => Err(failure),
        };
        // On every path: the server never forgets a session by itself.
        tools.close(live.shutdown.courtesy()).await;
        over
    }

    async fn enter(
        &self,
        live: &Live<'_>,
        progress: &mut Progress,
    ) -> Result<(Access, McpSession), Failure> {
        let email = &live.persona.email;
        let opening = self.auth.open(email, live.work_end);
        let access = live.unless_stopped(Stage::Login, opening).await?;
        let access = access.map_err(|error| Failure::of_auth(&error))?;
        progress.redactor = Some(access.redactor.clone());
        progress.logged_in = true;
        // The persona's e-mail may be in its own words, which are kept byte for byte.
        live.journal.redact_with(access.redactor.without(email));
        let Access { jwt, space_id, redactor, .. } = &access;
        let opening = self.mcp.open(jwt, space_id, redactor, live.work_end);
        let session = live.unless_stopped(Stage::Mcp, opening).await?;
        let session = session.map_err(|error| Failure::at(Stage::Mcp, error))?;
        Ok((access, session))
    }

    /// The tools on offer and the day: of the run as it was, or of this session and this morning. An
    /// error comes with the day as it was.
    async fn prepare(
        &self,
        live: &Live<'_>,
        opened: Option<Opened>,
        day: Option<Day>,
        session: &McpSession,
        redactor: &Redactor,
    ) -> Result<(Catalog, Day), (Failure, Option<Day>)> {
        let prepared = match (opened, day) {
            (Some(opened), Some(day)) => match self.kept_tools(&opened.catalog).await {
                Ok(tools) => {
                    let tools = tools.as_deref().unwrap_or(session.tools());
                    self.offer(tools, redactor).map(|catalog| (catalog, day))
                }
                Err(failure) => return Err((failure, Some(day))),
            },
            _ => self.open_day(live, session.tools(), redactor).await,
        };
        prepared.map_err(|failure| (failure, None))
    }

    async fn kept_tools(&self, hash: &str) -> Result<Option<Vec<Tool>>, Failure> {
        let kept = self.journal.catalog(hash).await;
        let kept = kept.map_err(|error| Failure::at(Stage::Mcp, error))?;
        Ok(kept.and_then(|tools| serde_json::from_str(&tools).ok()))
    }

    fn offer(&self, tools: &[Tool], redactor: &Redactor) -> Result<Catalog, Failure> {
        let catalog = Catalog::new(tools, &self.policy, redactor);
        if catalog.is_empty() {
            let hidden = "every tool mana-mcp lists is in POLICY_HIDDEN_TOOLS";
            return Err(Failure::at(Stage::Mcp, hidden));
        }
        Ok(catalog)
    }

    /// Writes down how the day begins: with which tools, asked to do what.
    async fn open_day(
        &self,
        live: &Live<'_>,
        tools: &[Tool],
        redactor: &Redactor,
    ) -> Result<(Catalog, Day), Failure> {
        let catalog = self.offer(tools, redactor)?;
        let now = self.clock.now();
        let today = now.to_zoned(self.time_zone.clone()).date();
        let opening = prompt::day(today, &live.persona.module_mix);
        let day = Day::new(&opening, self.run_limits());
        // Names, texts and schemas that were JSON before.
        let tools = serde_json::to_string(tools).unwrap_or_default();
        let tools = redactor.redact(&tools);
        let hash = live::hash(&tools);
        let kept = self.journal.keep_catalog(&hash, &tools, now).await;
        kept.map_err(|error| Failure::at(Stage::Mcp, error))?;
        let opened = Step::Opened(Opened { opening, catalog: hash });
        let written = live.unless_stopped(Stage::Mcp, live.journal.intend(&opened)).await?;
        written.map_err(|error| Failure::at(Stage::Mcp, error))?;
        Ok((catalog, day))
    }

    async fn play(
        &self,
        live: &Live<'_>,
        tools: &PersonaTools<'_>,
        catalog: &Catalog,
        day: Day,
        access: &Access,
        progress: &mut Progress,
    ) -> (MainTurn, DayEnd) {
        let scope = self.scope(live, &access.redactor, progress);
        let (claude, system) = (&self.claude, &live.persona.system_prompt);
        let turn = run_main_turn(claude, tools, catalog, system, day, &scope, &live.journal).await;
        if let (0, Ended::Model(error)) = (turn.replies, &turn.ended) {
            claude.note_first_refusal(error);
        }
        live::record_calls(&self.metrics, &turn, self.policy.mode);
        let end = turn.ended.summary(&access.redactor);
        live.journal.note(&Step::DayEnded(end.clone())).await;
        (turn, end)
    }

    fn scope(&self, live: &Live<'_>, redactor: &Redactor, progress: &Progress) -> Scope {
        Scope {
            deadline: live.work_end,
            limits: self.run_limits(),
            policy: self.policy.clone(),
            tool_timeout: self.limits.tool_timeout,
            shutdown: live.shutdown.clone(),
            redactor: redactor.clone(),
            patience: progress.patience.clone(),
        }
    }

    /// Hands in what happened in the main turn. The end of the run, or nothing if the persona is to
    /// rate.
    async fn hand_in_day(
        &self,
        live: &Live<'_>,
        turn: &MainTurn,
        end: DayEnd,
        progress: &mut Progress,
    ) -> Option<Finish> {
        let used = turn.used_modules();
        let mut actions: Vec<_> = turn.calls.iter().map(|call| call.to_action()).collect();
        let nothing_paid = turn.spent == Default::default() && actions.is_empty();
        match &end.failure {
            Some(reason) if !actions.is_empty() => actions.push(Action::failed_run(reason)),
            None if used.is_empty() && !end.stopped && !(end.out_of_money && nothing_paid) => {
                actions.push(Action::idle());
            }
            _ => {}
        }
        let posts = posts_of_actions(live.journal.id, &actions);
        let stage = Stage::MainTurn;
        let slot_is_used = if actions.is_empty() { RunState::Failed } else { RunState::Finished };
        let over = |state, failure: Option<Failure>| Finish {
            state,
            stage: failure.as_ref().map_or(Stage::Done, |failure| failure.stage),
            failure,
            posts: posts.clone(),
            reason: end.reason.clone(),
            is_broke: false,
        };
        if let Some(reason) = &end.failure {
            return Some(over(slot_is_used, Some(Failure::at(stage, reason))));
        }
        if end.stopped {
            let state = match (nothing_paid, used.is_empty()) {
                (true, _) => RunState::Failed,
                (false, true) => RunState::Finished,
                (false, false) => RunState::RatingOwed,
            };
            return Some(over(state, Some(Failure::stopped(stage))));
        }
        if end.out_of_money {
            // The rating would cost more than there is.
            self.metrics.record_unrated(used.len());
            return Some(Finish { is_broke: nothing_paid, ..over(slot_is_used, None) });
        }
        if used.is_empty() {
            return Some(over(RunState::Finished, None));
        }
        let ended = progress.ended(RunState::Running, Stage::RatingTurn, None);
        let user = &live.persona.user_id;
        let handed_in = self
            .outbox
            .hand_in(&live.journal, user, &ended, &posts, live.end, &live.shutdown)
            .await;
        progress.undelivered |= handed_in.undelivered > 0;
        if handed_in.unsaved {
            progress.unsaved_posts = posts;
        }
        // Whose actions are refused for good, their ratings would be too.
        let error = handed_in.refused?;
        let failure = Failure::at(Stage::PostActions, error);
        Some(Finish::failed(RunState::Finished, failure))
    }

    /// Asks for the ratings, unless an earlier process has them or the run is only closed.
    async fn rate(
        &self,
        live: &Live<'_>,
        turn: &MainTurn,
        earlier: Vec<RatingStep>,
        rated: Option<Vec<ModuleRating>>,
        close: Option<&str>,
        progress: &mut Progress,
    ) -> Finish {
        let ratings = match (rated, close) {
            (Some(rows), _) => {
                Ratings { rows, unrated: Vec::new(), ended: None, spent: Default::default() }
            }
            (None, Some(why)) => {
                self.metrics.record_unrated(turn.used_modules().len());
                return Finish { reason: format!("not rated: {why}"), ..Finish::well(Vec::new()) };
            }
            (None, None) => {
                let redactor = progress.redactor.as_ref().unwrap_or(&live.redactor);
                let scope = self.scope(live, redactor, progress);
                let (claude, system) = (&self.claude, &live.persona.system_prompt);
                run_rating_turn(claude, system, turn, earlier, &scope, &live.journal).await
            }
        };
        progress.note_rating(ratings.spent, live.journal.lost());
        if matches!(ratings.ended, Some(Ended::Stopped)) {
            return Finish::failed(RunState::RatingOwed, Failure::stopped(Stage::RatingTurn));
        }
        self.metrics.record_unrated(ratings.unrated.len());
        live.journal.note(&Step::Rated { rows: ratings.rows.clone() }).await;
        progress.ratings = ratings.rows.len();
        let posts = posts_of_ratings(live.journal.id, &ratings.rows);
        match ratings.ended.as_ref().map(|ended| ended.summary(&live.redactor)) {
            None => Finish::well(posts),
            Some(end) => match end.failure {
                Some(error) => {
                    let failure = Failure::at(Stage::RatingTurn, error);
                    Finish { posts, ..Finish::failed(RunState::Finished, failure) }
                }
                None => Finish { reason: end.reason, ..Finish::well(posts) },
            },
        }
    }

    fn not_begun(&self, run: RunId, error: &str) -> RunReport {
        self.metrics.record_no_run(RunOutcome::Failed);
        let failure = Failure::at(Stage::Due, error);
        Progress::default().report(run, Some(failure), None)
    }
}

/// A day of an earlier process that cannot go on: it ends with what it has.
fn broken_off(day: Option<Day>, failure: Failure, redactor: &Redactor) -> (MainTurn, DayEnd) {
    let day = day.unwrap_or_else(|| Day::new("", Limits::NONE));
    let error = redactor.redact(&failure.error).into_owned();
    let end = DayEnd {
        stopped: failure.stopped,
        failure: (!failure.stopped).then(|| error.clone()),
        out_of_money: false,
        reason: error,
    };
    (MainTurn::of_earlier(day, redactor), end)
}

impl Live<'_> {
    /// The outcome of free work, which a stop, a pause or the end of the run's time drops.
    async fn unless_stopped<T>(
        &self,
        stage: Stage,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.shutdown.stopping() => Err(Failure::stopped(stage)),
            () = self.journal.paused() => Err(Failure::stopped(stage)),
            output = work => Ok(output),
            () = sleep_until(self.work_end) => {
                Err(Failure::at(stage, "the run's time (PERSONA_TIMEOUT_MS) was up"))
            }
        }
    }
}
