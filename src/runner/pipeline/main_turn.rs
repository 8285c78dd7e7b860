//! The first part of a run: login, MCP session, tool catalog and main turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{Pipeline, kept, run::Run};
use crate::{
    agent::{
        catalog::Catalog,
        day::{Day, MainTurn},
        day_end::DayEnd,
        ended::Ended,
        main_turn::{Played, run_main_turn},
        prompt,
        step::{Recorder, Step, TurnOpening},
    },
    clients::{
        auth::Access,
        mcp::{Fate, McpError, McpSession, Tool},
    },
    domain::{Persona, Stage, ToolName},
    facts::line,
    metrics::{ToolFault, ToolOutcome},
    runner::{persona_tools::PersonaTools, verdict::Failure},
};

/// Time limit for a login that is needed only to end MCP sessions.
const LOGIN_FOR_END: Duration = Duration::from_secs(5);

/// What is offered of the tools of a session: made once for all runs whose sessions list the same.
#[derive(Debug)]
pub(super) struct Offer {
    /// The list it was made of, and how many tools Claude had refused then.
    made_of: (Arc<[Tool]>, usize),
    catalog: Catalog,
    /// The tools of the catalog as the journal keeps them, and the hash it keeps them under.
    tools: String,
    hash: String,
    /// What the facts keep of the tools.
    list: line::Catalog,
}

impl Pipeline {
    /// Logs in, opens a session and plays the main turn, or the rest of `day` if an earlier process began it.
    ///
    /// # Errors
    /// When something is missing that may be available later. The run is then still at its last step.
    pub(super) async fn main_turn(
        &self,
        run: &mut Run,
        day: Option<Day>,
    ) -> Result<DayEnd, Failure> {
        let (access, session, listed) = Box::pin(self.open(run)).await?;
        run.deployment = Box::pin(self.fleet.meet_server(&session, &listed)).await;
        self.warn_of_misnamed(&listed);
        let tools = PersonaTools::new(&run.journal, &access, session);
        let (turn, end) = self.play(run, &tools, day, listed).await;
        // Needed on every path, because the server keeps a session until its DELETE.
        let courtesy = run.scope.shutdown.courtesy();
        if tools.close(courtesy).await && run.left.sessions.is_empty() {
            run.journal.note(&Step::SessionsEnded).await;
        }
        run.turn = turn;
        end
    }

    /// Logs in, ends the sessions that earlier processes left open, and opens a new one.
    async fn open(&self, run: &mut Run) -> Result<(Access, McpSession, Arc<[Tool]>), Failure> {
        let opening = self.fleet.auth.open(&run.journal.persona.email, None, run.scope.deadline);
        let access = run.unless_stopped(Stage::Login, opening).await?;
        self.fleet.seed_secret.note(&access).await;
        let left = std::mem::take(&mut run.left.sessions);
        let mut access = access.map_err(|error| Failure::of_auth(&error))?;
        // The whole run shares one redactor, so a secret that is learnt later is redacted everywhere.
        run.scope.redactor.learn(&access.redactor);
        access.redactor = run.scope.redactor.clone();
        self.end_sessions(run, &access, left).await;
        let (token, deadline) = ((&access.jwt, access.space_id.as_str()), run.scope.deadline);
        let mut give_up_at = None;
        // Whether the journal could not keep the id of a session.
        let is_unwritten = AtomicBool::new(false);
        let opening = Box::pin(async {
            loop {
                let note = async |session| {
                    let noted = run.journal.note_session(session).await;
                    noted.inspect_err(|_| is_unwritten.store(true, Relaxed))
                };
                let opened = self.fleet.mcp.open(token, &access.redactor, deadline, note).await;
                let Err(McpError { fate: Fate::Away, reason, .. }) = &opened else {
                    break opened.map_err(|McpError { reason, .. }| {
                        match is_unwritten.load(Relaxed) {
                            true => Failure::own(Stage::Mcp, reason),
                            false => Failure::at(Stage::Mcp, reason),
                        }
                    });
                };
                // The same limit as for a tool call that waits for mana-mcp.
                let now = Instant::now();
                let longest = (now + self.fleet.config.run.tool_timeout).min(deadline);
                if !self.fleet.mcp.look.returns(now, *give_up_at.get_or_insert(longest)).await {
                    break Err(Failure::away(Stage::Mcp, reason));
                }
            }
        });
        let (session, tools) = run.unless_stopped(Stage::Mcp, opening).await??;
        Ok((access, session, tools))
    }

    /// Ends sessions that earlier processes left open, as a best effort. If one may still be open, all of
    /// them stay in `run.left` for a later attempt.
    async fn end_sessions(&self, run: &mut Run, access: &Access, left: Vec<String>) {
        if left.is_empty() {
            return;
        }
        let Access { jwt, space_id, redactor, .. } = access;
        let ends =
            left.iter().map(|session| self.fleet.mcp.end((jwt, space_id), redactor, session));
        if join_all(ends).await.into_iter().all(|is_ended| is_ended) {
            run.journal.note(&Step::SessionsEnded).await;
        } else {
            tracing::debug!("an MCP session of an earlier process may still be open");
            run.left.sessions = left;
        }
    }

    /// Ends the sessions that earlier processes left open, for a run that has not logged in: logs in only for
    /// this.
    pub(super) async fn end_left_sessions(&self, run: &mut Run) {
        let left = std::mem::take(&mut run.left.sessions);
        let Persona { user_id, email, .. } = &run.journal.persona;
        if left.is_empty() || email.is_empty() {
            return;
        }
        let limit = LOGIN_FOR_END.min(run.scope.shutdown.courtesy());
        let deadline = (Instant::now() + limit).min(run.end);
        // A persona may be held back because of its password, and a further attempt could lock the account.
        if self.fleet.holds.why(user_id).is_none()
            && let Ok(Ok(access)) =
                timeout_at(deadline, self.fleet.auth.open(email, None, deadline)).await
        {
            self.end_sessions(run, &access, left).await;
        } else {
            tracing::debug!("no login to end the MCP sessions of an earlier process with");
        }
    }

    /// The catalog and the conversation of the main turn. A resumed run uses the stored catalog and its
    /// rebuilt conversation, a new run the tools of this session.
    async fn prepare(
        &self,
        run: &Run,
        day: Option<Day>,
        listed: Arc<[Tool]>,
    ) -> Result<(Catalog, Day), Failure> {
        let offer = self.offer(listed);
        let (Some(opened), Some(day)) = (&run.left.opened, day) else {
            return self.open_day(run, &*offer?).await;
        };
        let mut catalog = match offer {
            Ok(offer) if offer.hash == opened.catalog => offer.catalog.clone(),
            offer => {
                let kept = self.fleet.journal.catalog(&opened.catalog).await;
                let kept = kept.map_err(|error| Failure::own(Stage::Mcp, error))?;
                match kept.and_then(|tools| serde_json::from_str::<Vec<_>>(&tools).ok()) {
                    Some(tools) => self.catalog(&tools, &tools)?,
                    None => offer?.catalog.clone(),
                }
            }
        };
        for tool in &day.left_out {
            catalog.leave_out(tool);
            self.note_refused_tools(self.left_out.refuse(tool).into());
        }
        Ok((catalog, day))
    }

    fn note_refused_tools(&self, newly: u64) {
        self.fleet.metrics.record_tools_left_out(ToolFault::Refused, newly);
    }

    /// Warns of settings that name a tool which is not listed, and therefore have no effect: a typing error,
    /// or a product version without the tool.
    fn warn_of_misnamed(&self, listed: &[Tool]) {
        for (variable, name) in self.policy.named_tools() {
            let is_listed = listed.iter().any(|tool| tool.name.as_str() == name);
            let mut logged = self.misnamed.lock();
            if !is_listed && logged.insert((variable, name.to_owned())) {
                tracing::warn!(
                    variable,
                    tool = name,
                    "mana-mcp lists no tool of this name, so the setting does nothing: look for it in \
                     tools/list, or take it out"
                );
            }
        }
    }

    /// The offer of these tools: the last one, if it is the same.
    fn offer(&self, listed: Arc<[Tool]>) -> Result<Arc<Offer>, Failure> {
        let refused = self.left_out.refused();
        let mut last = self.offered.lock();
        if let Some(offer) = &*last
            && Arc::ptr_eq(&offer.made_of.0, &listed)
            && offer.made_of.1 == refused
        {
            return Ok(offer.clone());
        }
        let (offered, newly) = self.left_out.sift(&listed, &self.policy.hidden_tools);
        self.fleet.metrics.record_tools_left_out(ToolFault::Schema, newly);
        let catalog = self.catalog(&offered, &listed)?;
        // Names, texts and schemas that were JSON before.
        let tools = serde_json::to_string(&offered).unwrap_or_default();
        let hash: String =
            Sha256::digest(&tools).iter().map(|byte| format!("{byte:02x}")).collect();
        let list = kept::catalog(&listed, &offered, &hash);
        let offer = Arc::new(Offer { made_of: (listed, refused), catalog, tools, hash, list });
        Ok(last.insert(offer).clone())
    }

    /// The catalog of `tools`, which are what can be offered of the `listed` ones.
    fn catalog(&self, tools: &[Tool], listed: &[Tool]) -> Result<Catalog, Failure> {
        let catalog = Catalog::new(tools, &self.policy);
        if !catalog.is_empty() {
            return Ok(catalog);
        }
        let nothing = "each tool of mana-mcp's tools/list is in POLICY_HIDDEN_TOOLS or left out for its schema";
        let hidden = &self.policy.hidden_tools;
        let is_hidden = |tool: &Tool| hidden.iter().any(|name| name == tool.name.as_str());
        Err(match listed.iter().all(is_hidden) {
            true => Failure::own(Stage::Mcp, nothing),
            false => Failure::at(Stage::Mcp, nothing),
        })
    }

    /// Begins the main turn: writes its catalog and its opening message to the journal.
    async fn open_day(&self, run: &Run, offer: &Offer) -> Result<(Catalog, Day), Failure> {
        let now = self.fleet.clock.now();
        let today = now.to_zoned(self.fleet.config.time_zone.clone()).date();
        let opening = prompt::day(today, &run.journal.persona.module_mix);
        let day = Day::new(&opening, run.scope.limits);
        let Offer { list, tools, hash, .. } = offer;
        let met_at = now.checked_add(run.shift).unwrap_or(now);
        let kept = self.fleet.journal.keep_catalog(hash, tools, list, now, met_at).await;
        kept.map_err(|error| Failure::own(Stage::Mcp, error))?;
        let opened = Step::Opened(TurnOpening { opening, catalog: offer.hash.clone() });
        let written = run.unless_stopped(Stage::Mcp, run.journal.intend(&opened)).await?;
        written.map_err(|error| Failure::own(Stage::Mcp, error))?;
        let noted = self.fleet.journal.open_day(run.journal.id, &list.id, run.deployment).await;
        noted.map_err(|error| Failure::own(Stage::Mcp, error))?;
        Ok((offer.catalog.clone(), day))
    }

    async fn play(
        &self,
        run: &Run,
        tools: &PersonaTools<'_>,
        day: Option<Day>,
        listed: Arc<[Tool]>,
    ) -> (MainTurn, Result<DayEnd, Failure>) {
        let (catalog, day) = match Box::pin(self.prepare(run, day, listed)).await {
            Ok(prepared) => prepared,
            Err(failure) => return (MainTurn::default(), Err(failure)),
        };
        let replies_before = day.replies();
        let (claude, system) = (&self.claude, &run.journal.persona.system_prompt);
        let (scope, journal) = (&run.scope, &run.journal);
        let played = run_main_turn(claude, tools, catalog, system, day, scope, journal).await;
        let Played { turn, ended, reminders, refused_tools } = played;
        if let (0, Ended::Model(error)) = (turn.replies, &ended) {
            claude.note_first_refusal(error);
        }
        self.note_refused_tools(refused_tools);
        self.tools.lock().count(&turn.calls);
        self.count_decisions(&turn, &reminders);
        let has_got_on = replies_before == 0 || turn.replies > replies_before;
        let end = match &ended {
            Ended::Away(reason) => Err(Failure::away(Stage::MainTurn, reason)),
            // A main turn that an earlier process paid for is not ended because the model is unavailable now.
            Ended::Model(error) if !has_got_on && error.may_pass() => {
                Err(Failure::at(Stage::MainTurn, error))
            }
            _ => Ok(ended.summary(&scope.redactor)),
        };
        if let Ok(end) = &end {
            self.count_calls(&turn);
            journal.note(&Step::DayEnded(end.clone())).await;
        } else {
            // Steps that cannot be written stay in memory.
            let _ = journal.flush().await;
        }
        (turn, end)
    }

    fn count_calls(&self, turn: &MainTurn) {
        for call in &turn.calls {
            let listed = call.listed().map(ToolName::as_str);
            let outcome = match (&call.error, call.outcome_unknown) {
                (None, _) => ToolOutcome::Ok,
                (Some(_), true) => ToolOutcome::Unknown,
                (Some(_), false) => ToolOutcome::Error,
            };
            self.fleet.metrics.record_tool_call(listed, outcome, call.latency);
        }
    }

    /// Counts the policy decisions and the reminders of this process. An earlier process has counted its own.
    fn count_decisions(&self, turn: &MainTurn, reminders: &[&'static str]) {
        for note in turn.calls.iter().flat_map(|call| &call.policy) {
            self.fleet.metrics.record_policy(note.decision, note.reason, self.policy.mode.as_str());
        }
        for producer in reminders {
            self.fleet.metrics.record_reminder(producer);
        }
    }
}
