//! The paid part of a run: login, session, tools, and the day itself.

use std::{sync::PoisonError, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::{
    Pipeline, live,
    live::{Live, Progress},
    report::Failure,
};
use crate::{
    agent::{
        Scope,
        catalog::Catalog,
        day::Day,
        main_turn::{Ended, MainTurn, run_main_turn},
        prompt,
        step::{DayEnd, Opened, Recorder, Step},
    },
    clients::{
        auth::Access,
        mcp::{Fate, McpError, McpSession, Tool},
    },
    domain::{Persona, Redactor},
    metrics::{Label, Stage, ToolFault},
    runner::persona_tools::{Opener, PersonaTools},
};

/// For a login that is needed only to end sessions with.
const LOGIN_FOR_END: Duration = Duration::from_secs(5);

impl Pipeline {
    /// Logs in, opens a session and plays the day, or the rest of one. After an error the run is where
    /// it was before.
    pub(super) async fn main_turn(
        &self,
        live: &Live<'_>,
        opened: Option<Opened>,
        day: Option<Day>,
        progress: &mut Progress,
    ) -> Result<(MainTurn, DayEnd), Failure> {
        let (access, session, tools) = self.enter(live, progress).await?;
        self.warn_of_misnamed(&tools);
        // The schemas are gone again after this: the run needs them as it offers them only.
        let prepared = self.prepare(live, opened, day, tools).await;
        let opener = Opener {
            mcp: &self.mcp,
            auth: &self.auth,
            metrics: &self.metrics,
            email: &live.persona.email,
            journal: &live.journal,
            access: &access,
        };
        let tools = PersonaTools::new(opener, session);
        let over = match prepared {
            Ok((catalog, day)) => self.play(live, &tools, catalog, day, &access, progress).await,
            Err(failure) => Err(failure),
        };
        // On every path: the server never forgets a session by itself.
        if tools.close(live.shutdown.courtesy()).await && progress.sessions.is_empty() {
            live.journal.note(&Step::SessionsEnded).await;
        }
        over
    }

    async fn enter(
        &self,
        live: &Live<'_>,
        progress: &mut Progress,
    ) -> Result<(Access, McpSession, Vec<Tool>), Failure> {
        let email = &live.persona.email;
        let opening = self.auth.open(email, live.work_end);
        let access = live.unless_stopped(Stage::Login, opening).await?;
        self.seed_secret.note(&access).await;
        let left = std::mem::take(&mut progress.sessions);
        let access = access.map_err(|error| Failure::of_auth(&error))?;
        progress.redactor = Some(access.redactor.clone());
        progress.logged_in = true;
        live.journal.redact_with(access.redactor.clone());
        self.end_sessions(live, &access, left, progress).await;
        let Access { jwt, space_id, redactor, .. } = &access;
        let mut give_up_at = None;
        let opening = async {
            loop {
                let note = |session| live.journal.note_session(session);
                let access = (jwt, space_id.as_str());
                let opened = self.mcp.open(access, redactor, live.work_end, note).await;
                let Err(McpError { fate: Fate::Away, reason }) = &opened else {
                    break opened.map_err(|error| Failure::at(Stage::Mcp, error.reason));
                };
                // As long as a tool call would wait for it.
                let now = Instant::now();
                let longest = (now + self.limits.tool_timeout).min(live.work_end);
                if !self.mcp.returns(now, *give_up_at.get_or_insert(longest)).await {
                    break Err(Failure::put_off(Stage::Mcp, reason));
                }
            }
        };
        let (session, tools) = live.unless_stopped(Stage::Mcp, opening).await??;
        Ok((access, session, tools))
    }

    /// Ends sessions that earlier processes have left. Best effort: those that may be open still are left to
    /// whoever comes next.
    async fn end_sessions(
        &self,
        live: &Live<'_>,
        Access { jwt, space_id, redactor, .. }: &Access,
        left: Vec<String>,
        progress: &mut Progress,
    ) {
        if left.is_empty() {
            return;
        }
        let ends = left.iter().map(|session| self.mcp.end((jwt, space_id), redactor, session));
        if join_all(ends).await.into_iter().all(|is_ended| is_ended) {
            live.journal.note(&Step::SessionsEnded).await;
        } else {
            tracing::debug!("an MCP session of an earlier process may still be open");
            progress.sessions = left;
        }
    }

    /// The same of a run that has not logged in, and does so for this only.
    pub(super) async fn end_left_sessions(&self, live: &Live<'_>, progress: &mut Progress) {
        let left = std::mem::take(&mut progress.sessions);
        let Persona { user_id, email, .. } = live.persona;
        if left.is_empty() || email.is_empty() {
            return;
        }
        let limit = LOGIN_FOR_END.min(live.shutdown.courtesy());
        let deadline = (Instant::now() + limit).min(live.end);
        // Who is held back may be so for its password, and a further attempt may lock the account.
        let access = match self.back_off.holds(user_id) {
            true => None,
            false => timeout_at(deadline, self.auth.open(email, deadline)).await.ok(),
        };
        match access {
            Some(Ok(access)) => self.end_sessions(live, &access, left, progress).await,
            _ => tracing::debug!("no login to end the MCP sessions of an earlier process with"),
        }
    }

    /// The tools on offer and the day: of the run as it was, or of this session and this morning.
    async fn prepare(
        &self,
        live: &Live<'_>,
        opened: Option<Opened>,
        day: Option<Day>,
        listed: Vec<Tool>,
    ) -> Result<(Catalog, Day), Failure> {
        let (Some(opened), Some(day)) = (opened, day) else {
            let tools = self.sift(listed);
            return self.open_day(live, &tools).await;
        };
        let kept = self.kept_tools(&opened.catalog).await?;
        let tools = kept.unwrap_or_else(|| self.sift(listed));
        let mut catalog = self.offer(&tools)?;
        for tool in &day.left_out {
            catalog.leave_out(tool);
            self.note_refused_tools(self.left_out.refuse(tool).into());
        }
        Ok((catalog, day))
    }

    /// The tools of a session that Claude would take.
    fn sift(&self, listed: Vec<Tool>) -> Vec<Tool> {
        let (tools, newly) = self.left_out.sift(listed, &self.policy.hidden_tools);
        self.metrics.record_tools_left_out(ToolFault::Schema, newly);
        tools
    }

    fn note_refused_tools(&self, newly: u64) {
        self.metrics.record_tools_left_out(ToolFault::Refused, newly);
    }

    async fn kept_tools(&self, hash: &str) -> Result<Option<Vec<Tool>>, Failure> {
        let kept = self.journal.catalog(hash).await;
        let kept = kept.map_err(|error| Failure::at(Stage::Mcp, error))?;
        Ok(kept.and_then(|tools| serde_json::from_str(&tools).ok()))
    }

    /// A setting that names no tool there is does nothing: a slip of the pen, or a version of the product
    /// without it.
    fn warn_of_misnamed(&self, listed: &[Tool]) {
        for (variable, name) in self.policy.named_tools() {
            let is_listed = listed.iter().any(|tool| tool.name.as_str() == name);
            let mut told = self.misnamed.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_listed && told.insert((variable, name.to_owned())) {
                tracing::warn!(
                    variable,
                    tool = name,
                    "mana-mcp lists no tool of this name, so the setting does nothing: look for it in \
                     tools/list, or take it out"
                );
            }
        }
    }

    fn offer(&self, tools: &[Tool]) -> Result<Catalog, Failure> {
        let catalog = Catalog::new(tools, &self.policy);
        if catalog.is_empty() {
            let nothing = "each tool of mana-mcp's tools/list is in POLICY_HIDDEN_TOOLS or left out \
                           for its schema";
            return Err(Failure::at(Stage::Mcp, nothing));
        }
        Ok(catalog)
    }

    /// Writes down how the day begins: with which tools, asked to do what.
    async fn open_day(&self, live: &Live<'_>, tools: &[Tool]) -> Result<(Catalog, Day), Failure> {
        let catalog = self.offer(tools)?;
        let now = self.clock.now();
        let today = now.to_zoned(self.time_zone.clone()).date();
        let opening = prompt::day(today, &live.persona.module_mix);
        let day = Day::new(&opening, self.run_limits());
        // Names, texts and schemas that were JSON before.
        let tools = serde_json::to_string(tools).unwrap_or_default();
        let hash = live::hash(&tools);
        let kept = self.journal.keep_catalog(&hash, &tools, now).await;
        kept.map_err(|error| Failure::at(Stage::Mcp, error))?;
        let opened = Step::Opened(Opened { opening, catalog: hash });
        let written = live.unless_stopped(Stage::Mcp, live.journal.intend(&opened)).await?;
        written.map_err(|error| Failure::at(Stage::Mcp, error))?;
        let noted = self.journal.set_stage(live.journal.id, Stage::MainTurn.as_str()).await;
        noted.map_err(|error| Failure::at(Stage::Mcp, error))?;
        Ok((catalog, day))
    }

    async fn play(
        &self,
        live: &Live<'_>,
        tools: &PersonaTools<'_>,
        catalog: Catalog,
        day: Day,
        access: &Access,
        progress: &mut Progress,
    ) -> Result<(MainTurn, DayEnd), Failure> {
        let scope = self.scope(live, &access.redactor, progress);
        let replies_before = day.replies();
        let (claude, system) = (&self.claude, &live.persona.system_prompt);
        let turn = run_main_turn(claude, tools, catalog, system, day, &scope, &live.journal).await;
        if let (0, Ended::Model(error)) = (turn.replies, &turn.ended) {
            claude.note_first_refusal(error);
        }
        live.journal.give_up_waiting().await;
        self.note_refused_tools(turn.refused_tools);
        self.tools().count(&turn.calls);
        live::record_decisions(&self.metrics, &turn, self.policy.mode);
        match &turn.ended {
            Ended::Away { reason } => {
                progress.note_turn(&turn, live.journal.lost());
                return Err(Failure::put_off(Stage::MainTurn, reason));
            }
            // What an earlier process paid for is not thrown away for a model that is away now.
            Ended::Model(error)
                if replies_before > 0 && turn.replies == replies_before && error.may_pass() =>
            {
                return Err(Failure::at(Stage::MainTurn, error));
            }
            _ => {}
        }
        live::record_calls(&self.metrics, &turn);
        let end = turn.ended.summary(&access.redactor);
        live.journal.note(&Step::DayEnded(end.clone())).await;
        Ok((turn, end))
    }

    pub(super) fn scope(&self, live: &Live<'_>, redactor: &Redactor, progress: &Progress) -> Scope {
        Scope {
            deadline: live.work_end,
            limits: self.run_limits(),
            policy: self.policy.clone(),
            left_out: self.left_out.clone(),
            tool_timeout: self.limits.tool_timeout,
            shutdown: live.shutdown.clone(),
            redactor: redactor.clone(),
            patience: progress.patience.clone(),
        }
    }
}
