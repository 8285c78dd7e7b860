//! One persona's run, from login to feedback.
//!
//! A run returns a report, not a `Result`: what happened in the product is handed in even if the run
//! then fails, times out or is stopped.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tokio::time::{Instant, sleep_until};

use super::{
    persist::{PersistError, batches_of_actions, batches_of_ratings, post_all},
    persona_tools::{Opener, PersonaTools},
};
use crate::{
    agent::{
        Scope,
        catalog::Catalog,
        conversation::{Closed, Limits},
        main_turn::{CalledTool, Ended, MainTurn, run_main_turn},
        prompt,
        rating::run_rating_turn,
    },
    clients::{
        auth::{Access, AuthClient, AuthError, Step},
        claude::{ClaudeClient, Patience},
        mcp::McpClient,
        personas::PersonasClient,
    },
    clock::Clock,
    config::{PolicyConfig, RunLimits},
    domain::{Action, Persona, Redactor, RunId, Usd, one_line},
    metrics::{Metrics, RunOutcome, Stage, ToolOutcome},
    shutdown::Shutdown,
};

/// Kept at the end of a run's time for handing in its rows, retries included.
const PERSIST_RESERVE: Duration = Duration::from_secs(45);
/// How long wrong credentials hold a persona back: five of them lock the account, and only a
/// configuration can heal it (contracts/mana-auth.md).
const INVALID_CREDENTIALS_HOLD: Duration = Duration::from_secs(1_800);

/// What a run needs, shared by all runs.
#[derive(Debug)]
pub struct Pipeline {
    /// Logins.
    pub auth: Arc<AuthClient>,
    /// Rows.
    pub personas: Arc<PersonasClient>,
    /// Tools.
    pub mcp: McpClient,
    /// Claude.
    pub claude: ClaudeClient,
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

/// What came of a run.
#[derive(Debug)]
pub struct RunReport {
    /// Identity of the run.
    pub run: RunId,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Where it ended.
    pub stage: Stage,
    /// What went wrong, if anything.
    pub error: Option<String>,
    /// Whether a row landed, so that the persona is no longer due.
    pub left_mark: bool,
    /// The least the persona is to be held back for, if the failure asks for it.
    pub hold: Option<Duration>,
    /// Whether the persona got access.
    pub logged_in: bool,
    /// Whether the login was refused for its credentials (not for a lock).
    pub credentials_refused: bool,
    /// Tool calls made.
    pub calls: usize,
    /// Ratings handed in.
    pub ratings: usize,
    /// What its model replies cost.
    pub cost: Usd,
}

/// Why a run ended early.
struct Failure {
    stage: Stage,
    error: String,
    stopped: bool,
    hold: Option<Duration>,
    credentials_refused: bool,
}

impl Failure {
    fn at(stage: Stage, error: impl ToString) -> Self {
        let error = error.to_string();
        Self { stage, error, stopped: false, hold: None, credentials_refused: false }
    }

    fn stopped(stage: Stage) -> Self {
        Self { stopped: true, ..Self::at(stage, "stopped by a shutdown") }
    }

    fn of_auth(error: &AuthError) -> Self {
        let stage = match error.step() {
            Step::Spaces => Stage::Space,
            _ => Stage::Login,
        };
        let (hold, credentials_refused) = match error {
            AuthError::InvalidCredentials { .. } => (Some(INVALID_CREDENTIALS_HOLD), true),
            AuthError::AccountLocked { retry_after, .. } => (Some(*retry_after), false),
            _ => (None, false),
        };
        Self { hold, credentials_refused, ..Self::at(stage, error) }
    }
}

/// How far a run has come.
#[derive(Default)]
struct Progress {
    calls: usize,
    ratings: usize,
    cost: Usd,
    left_mark: bool,
    logged_in: bool,
    /// What waiting for Claude's limits came to.
    patience: Arc<Patience>,
    /// All of the persona's secrets, once it is logged in.
    redactor: Option<Redactor>,
}

impl Pipeline {
    /// Runs `persona` once.
    pub async fn run(&self, persona: &Persona) -> RunReport {
        let run = RunId::new();
        let started = Instant::now();
        let _in_flight = self.metrics.start_run();
        let mut progress = Progress::default();
        let end = tokio::select! {
            biased;
            end = self.stages(run, persona, started, &mut progress) => end,
            () = self.shutdown.aborted() => Err(Failure::stopped(Stage::Due)),
        };
        let (outcome, stage, failure) = match end {
            Ok(()) => (RunOutcome::Ok, Stage::Done, None),
            Err(failure) if failure.stopped => (RunOutcome::Stopped, failure.stage, Some(failure)),
            Err(failure) => (RunOutcome::Failed, failure.stage, Some(failure)),
        };
        let took = started.elapsed();
        self.metrics.record_run(outcome, stage, took, progress.patience.spent());
        if outcome == RunOutcome::Ok {
            self.metrics.record_finished_run(self.clock.now());
        }
        let report = RunReport {
            run,
            outcome,
            stage,
            hold: failure.as_ref().and_then(|failure| failure.hold),
            credentials_refused: failure.as_ref().is_some_and(|f| f.credentials_refused),
            error: failure.map(|failure| {
                let redactor = progress.redactor.take();
                let redactor = redactor.unwrap_or_else(|| self.redactor.with([&*persona.email]));
                redactor.redact(&failure.error).into_owned()
            }),
            logged_in: progress.logged_in,
            left_mark: progress.left_mark,
            calls: progress.calls,
            ratings: progress.ratings,
            cost: progress.cost,
        };
        report.log(took);
        report
    }

    async fn stages(
        &self,
        run: RunId,
        persona: &Persona,
        started: Instant,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let end = started + self.limits.timeout;
        let work_end = end - PERSIST_RESERVE.min(self.limits.timeout / 5);
        let access = self
            .unless_stopped(Stage::Login, work_end, self.auth.open(&persona.email, work_end))
            .await?
            .map_err(|error| Failure::of_auth(&error))?;
        progress.redactor = Some(access.redactor.clone());
        progress.logged_in = true;
        let Access { jwt, space_id, redactor, .. } = &access;
        let opening = self.mcp.open(jwt, space_id, redactor, work_end);
        let session = self
            .unless_stopped(Stage::Mcp, work_end, opening)
            .await?
            .map_err(|error| Failure::at(Stage::Mcp, error))?;
        let catalog = Catalog::new(session.tools(), &self.policy, redactor);
        let opener = Opener {
            mcp: &self.mcp,
            auth: &self.auth,
            metrics: &self.metrics,
            email: &persona.email,
            access: &access,
        };
        let tools = PersonaTools::new(opener, session);
        let day = self.day(run, persona, (&tools, &catalog), redactor, (work_end, end), progress);
        let result = day.await;
        // On every path: the server never forgets a session by itself.
        tools.close(self.shutdown.courtesy()).await;
        result
    }

    /// From the main turn to the feedback.
    async fn day(
        &self,
        run: RunId,
        persona: &Persona,
        (tools, catalog): (&PersonaTools<'_>, &Catalog),
        redactor: &Redactor,
        (work_end, end): (Instant, Instant),
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let scope = Scope {
            deadline: work_end,
            limits: Limits { max_replies: self.limits.max_turns, max_cost: self.limits.max_cost },
            policy: self.policy.clone(),
            tool_timeout: self.limits.tool_timeout,
            shutdown: self.shutdown.clone(),
            redactor: redactor.clone(),
            patience: progress.patience.clone(),
        };
        if catalog.is_empty() {
            return Err(Failure::at(
                Stage::Mcp,
                "every tool mana-mcp lists is in POLICY_HIDDEN_TOOLS",
            ));
        }
        let today = self.clock.now().to_zoned(self.time_zone.clone()).date();
        let opening = prompt::day(today, &persona.module_mix);
        let turn =
            run_main_turn(&self.claude, tools, catalog, &persona.system_prompt, &opening, &scope)
                .await;
        if let (0, Ended::Model(error)) = (turn.replies, &turn.ended) {
            self.claude.note_first_refusal(error);
        }
        progress.calls = turn.calls.len();
        progress.cost = turn.spent;
        self.record_calls(&turn);

        let failure = turn.ended.failure().map(|error| scope.redactor.redact(&error).into_owned());
        let used = turn.used_modules();
        let stopped = matches!(turn.ended, Ended::Stopped);
        let mut actions: Vec<_> = turn.calls.iter().map(|call| call.to_action()).collect();
        match &failure {
            Some(reason) if !actions.is_empty() => actions.push(Action::failed_run(reason)),
            None if used.is_empty() && !stopped => actions.push(Action::idle()),
            _ => {}
        }
        if !actions.is_empty() {
            let batches = batches_of_actions(run, &actions);
            post_all(&self.personas, &persona.user_id, &batches, end, &self.shutdown)
                .await
                .map_err(|error| match (&failure, error) {
                    (_, PersistError::Aborted) => Failure::stopped(Stage::PostActions),
                    (Some(first), error) => {
                        Failure::at(Stage::PostActions, format!("{first}; then {error}"))
                    }
                    (None, error) => Failure::at(Stage::PostActions, error),
                })?;
            progress.left_mark = true;
        }
        if let Some(reason) = failure {
            return Err(Failure::at(Stage::MainTurn, reason));
        }
        if stopped {
            return Err(Failure::stopped(Stage::MainTurn));
        }
        if matches!(turn.ended, Ended::Closed(Closed::CostLimit)) {
            // The rating would cost more than the run may.
            self.metrics.record_unrated(used.len());
            return Ok(());
        }
        if used.is_empty() {
            return Ok(());
        }
        self.rate(run, persona, &turn, &scope, end, progress).await
    }

    async fn rate(
        &self,
        run: RunId,
        persona: &Persona,
        turn: &MainTurn,
        scope: &Scope,
        end: Instant,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let ratings = run_rating_turn(&self.claude, &persona.system_prompt, turn, scope).await;
        progress.cost += ratings.spent;
        self.metrics.record_unrated(ratings.unrated.len());
        if !ratings.rows.is_empty() {
            let batches = batches_of_ratings(run, &ratings.rows);
            post_all(&self.personas, &persona.user_id, &batches, end, &self.shutdown)
                .await
                .map_err(|error| match error {
                    PersistError::Aborted => Failure::stopped(Stage::PostFeedback),
                    error => Failure::at(Stage::PostFeedback, error),
                })?;
            progress.ratings = ratings.rows.len();
        }
        match ratings.ended {
            None => Ok(()),
            Some(Ended::Stopped) => Err(Failure::stopped(Stage::RatingTurn)),
            Some(ended) => {
                let error = ended.failure().unwrap_or_default();
                Err(Failure::at(Stage::RatingTurn, scope.redactor.redact(&error)))
            }
        }
    }

    /// The outcome of free work, which a stop or the end of the run's time drops.
    async fn unless_stopped<T>(
        &self,
        stage: Stage,
        deadline: Instant,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.shutdown.stopping() => Err(Failure::stopped(stage)),
            output = work => Ok(output),
            () = sleep_until(deadline) => {
                Err(Failure::at(stage, "the run's time (PERSONA_TIMEOUT_MS) was up"))
            }
        }
    }

    fn record_calls(&self, turn: &MainTurn) {
        for call in &turn.calls {
            let listed = match &call.tool {
                CalledTool::Listed(name) => Some(name.as_str()),
                CalledTool::Invented(_) => None,
            };
            let outcome = match (&call.error, call.outcome_unknown) {
                (None, _) => ToolOutcome::Ok,
                (Some(_), true) => ToolOutcome::Unknown,
                (Some(_), false) => ToolOutcome::Error,
            };
            self.metrics.record_tool_call(listed, outcome, call.latency);
            for note in &call.policy {
                self.metrics.record_policy(note.decision, note.reason, self.policy.mode.as_str());
            }
        }
        for producer in &turn.reminders {
            self.metrics.record_reminder(producer);
        }
    }
}

impl RunReport {
    fn log(&self, took: Duration) {
        let took_ms = took.as_millis() as u64;
        match &self.error {
            None => tracing::info!(
                run.calls = self.calls,
                run.ratings = self.ratings,
                run.cost = %self.cost,
                took_ms,
                "run ended"
            ),
            // On one line, whatever a peer put into it.
            Some(error) => tracing::warn!(
                run.calls = self.calls,
                run.ratings = self.ratings,
                run.cost = %self.cost,
                took_ms,
                "run did not end well: {}",
                one_line(error)
            ),
        }
    }
}
