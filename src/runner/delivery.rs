//! Delivers the rows of runs from the outbox to the personas endpoint, and repeats the delivery until the
//! endpoint confirms or refuses the rows.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{claims::Claims, fleet::Fleet, run_journal::RunJournal};
use crate::{
    clients::personas::{Batch, PersonasClient, PersonasError},
    domain::{RunId, UserId, redact_emails},
    http::retry::{RetryPolicy, Retryable},
    journal::{EndedRun, JournalError, Post, PostKey, PostKind},
    shutdown::Shutdown,
};

/// Pause between two checks of the outbox for due posts.
const PERIOD: Duration = Duration::from_secs(1);
/// Pause after the first failed delivery of a post. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between deliveries of a post.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Time limit for one delivery by the background worker.
const DELIVERY: Duration = Duration::from_secs(20);
/// Most deliveries at the same time, each of another run.
const CONCURRENCY: usize = 8;
/// During a stop: pause between two checks whether a rate limit delays the delivery.
const GLANCE: Duration = Duration::from_millis(50);
/// Pause between two attempts to write to a journal that is not writable.
const PROBE: Duration = Duration::from_secs(2);

/// Delivers the actions and ratings of runs to the personas endpoint.
#[derive(Debug)]
pub(crate) struct Deliverer {
    pub(super) fleet: Arc<Fleet>,
    pub(super) personas: PersonasClient,
    /// Runs whose posts are being delivered now, by the run itself or by the background worker.
    claims: Arc<Claims>,
    /// Steps and ends of runs that could not be written to the journal yet. The `RunJournal` holds the steps;
    /// the end, with its posts, is `None` for a run that has not ended.
    unsaved: Mutex<Vec<(RunJournal, Option<End>)>>,
}

/// The row of an ended run, and its posts with their numbers.
type End = (EndedRun, Vec<(u32, Batch)>);

/// The result of the first delivery of a run's posts.
#[derive(Debug, Default)]
pub(super) struct HandedIn {
    /// The error, if the personas endpoint refused rows for good.
    pub refused: Option<PersonasError>,
    /// Number of posts that are not delivered yet.
    pub undelivered: usize,
    /// Whether the end of the run could not be written to the journal.
    pub unsaved: bool,
}

impl Deliverer {
    /// A deliverer for the outbox of this fleet.
    pub(crate) fn new(fleet: Arc<Fleet>, personas: PersonasClient) -> Self {
        let (claims, unsaved) = Default::default();
        Self { fleet, personas, claims, unsaved }
    }

    /// Writes the end of a run, or of its main turn, to the journal together with its posts, and makes the
    /// first delivery. Posts that are not accepted stay in the outbox; an end that cannot be written is
    /// reported as `unsaved`. An abort interrupts this; a stop does so only while a rate limit is active.
    pub(super) async fn hand_in(
        &self,
        run: &RunJournal,
        ended: &EndedRun,
        posts: &[(u32, Batch)],
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> HandedIn {
        let claim = self.claims.claim(&run.id.to_string());
        let mut handed_in = HandedIn { undelivered: posts.len(), ..HandedIn::default() };
        if self.save(run, ended, posts).await.is_err() {
            // Nothing may be delivered: after a kill the run would continue from an older step and make other
            // rows.
            handed_in.unsaved = true;
            return handed_in;
        }
        if claim.is_none() || !self.are_first(run.id, posts).await {
            return handed_in;
        }
        // Resolves after an abort, and after a stop when a rate limit is active.
        let given_up = async || {
            shutdown.stopping().await;
            while !shutdown.is_aborted() && self.personas.limited_until().is_none() {
                tokio::select! { () = shutdown.aborted() => {}, () = sleep(GLANCE) => {} }
            }
        };
        let personas = self.personas.with_redactor(run.redactor.clone());
        for (number, batch) in posts {
            let key = PostKey { run: run.id, number: *number };
            let post =
                personas.post(&run.persona.user_id, batch, RetryPolicy::FIRST_POST, deadline);
            let result = tokio::select! {
                biased;
                result = post => result,
                () = given_up() => break,
            };
            if !self.note(key, batch.rows, &result, 0).await {
                break;
            }
            handed_in.undelivered -= 1;
            handed_in.refused = result.err().or(handed_in.refused);
        }
        handed_in
    }

    /// Whether the outbox holds no posts of the run except these. Other posts are older and must be delivered
    /// first. A post whose number cannot be read, and one that the worker is delivering, count as older.
    async fn are_first(&self, run: RunId, posts: &[(u32, Batch)]) -> bool {
        let is_own = |n: &Option<u32>| posts.iter().any(|(own, _)| Some(*own) == *n);
        let kept = self.fleet.journal.numbers_of_posts(run).await;
        kept.is_ok_and(|kept| kept.iter().all(is_own))
    }

    /// Keeps steps and the end of a run in memory until the journal can be written to again. Until then the
    /// run is not resumed.
    pub(super) async fn keep(&self, run: RunJournal, end: Option<End>) {
        let what =
            if end.is_some() { "the end of a run is" } else { "the last steps of a run are" };
        tracing::error!(run.id = %run.id, "{what} kept in memory only");
        self.unsaved.lock().await.push((run, end));
    }

    async fn save(
        &self,
        run: &RunJournal,
        ended: &EndedRun,
        posts: &[(u32, Batch)],
    ) -> Result<(), JournalError> {
        run.flush().await?;
        self.fleet.journal.end_run(run.id, ended, posts, self.fleet.clock.now()).await
    }

    /// Delivers due posts until a stop. A slow post does not delay other runs as long as fewer than
    /// [`CONCURRENCY`] deliveries are in progress.
    pub(crate) async fn work(self: Arc<Self>) {
        let outbox = &*self;
        let deliveries = async {
            let due = stream::unfold(outbox.due_runs().await, |mut runs| async move {
                while runs.is_empty() {
                    sleep(if outbox.is_writable() { PERIOD } else { PROBE }).await;
                    runs = outbox.due_runs().await;
                }
                runs.pop_front().map(|run| (run, runs))
            });
            due.for_each_concurrent(CONCURRENCY, |run| outbox.deliver_posts_of(run)).await;
        };
        outbox.fleet.shutdown.unless_stopping(deliveries).await;
    }

    /// The runs that have due posts. Before that, saves what could not be written to the journal earlier.
    async fn due_runs(&self) -> VecDeque<RunId> {
        if !self.is_writable() && self.fleet.journal.check_writable().await.is_err() {
            return VecDeque::new();
        }
        self.save_unsaved().await;
        let due = self.fleet.journal.runs_with_due_posts(self.fleet.clock.now()).await;
        logged(due).unwrap_or_default().into()
    }

    fn is_writable(&self) -> bool {
        self.fleet.journal.trouble().is_none()
    }

    /// Delivers the due posts of a run, one after the other, unless another task is delivering posts of the
    /// run.
    async fn deliver_posts_of(&self, run: RunId) {
        let Some(_claim) = self.claims.claim(&run.to_string()) else { return };
        while let Some(post) = self.due_post(run).await
            && self.deliver(post).await
        {}
    }

    /// The run's first due post. Call this only while the run is claimed: the run itself may have delivered
    /// the posts that were due before the claim.
    async fn due_post(&self, run: RunId) -> Option<Post> {
        // The confirmation could not be written to the journal, or a rate limit forbids requests.
        if !self.is_writable() || self.personas.limited_until().is_some() {
            return None;
        }
        logged(self.fleet.journal.due_post(run, self.fleet.clock.now()).await)?
    }

    /// Delivers one post. Returns whether the run's next post may be delivered after it.
    async fn deliver(&self, post: Post) -> bool {
        let (persona, kind) = match address_of(&post) {
            Ok(address) => address,
            Err(reason) => {
                tracing::error!(run.id = %post.key.run, "rows cannot be sent and are kept: {reason}");
                let buried =
                    self.fleet.journal.bury_post(post.key, &reason, self.fleet.clock.now()).await;
                return logged(buried).is_some();
            }
        };
        let batch = Batch { kind, rows: post.rows, body: post.body.into() };
        let deadline = Instant::now() + DELIVERY;
        let personas = self.personas_of(post.key.run).await;
        let result = personas.post(&persona, &batch, RetryPolicy::ONCE, deadline).await;
        self.note(post.key, batch.rows, &result, post.attempts).await
    }

    /// A client whose redactor knows the secrets of the run's persona; the run may be from an earlier
    /// process. If the journal no longer has the persona, the redactor knows only the secrets of the process.
    async fn personas_of(&self, run: RunId) -> PersonasClient {
        let run = logged(self.fleet.journal.run(run).await).flatten();
        let email = run.and_then(|run| run.persona).map(|it| it.email).unwrap_or_default();
        self.personas.with_redactor(self.fleet.auth.redactor_of(&email))
    }

    /// Writes the result of a delivery to the journal. `attempts` is the number of attempts before this one.
    /// Returns whether the run's next post may be delivered.
    async fn note(
        &self,
        key: PostKey,
        rows: usize,
        result: &Result<usize, PersonasError>,
        attempts: u32,
    ) -> bool {
        let (journal, now) = (&self.fleet.journal, self.fleet.clock.now());
        let error = match result {
            Ok(written) => {
                if *written != rows {
                    tracing::warn!(sent = rows, written, "the server confirmed another number");
                }
                logged(journal.confirm_post(key).await);
                return true;
            }
            Err(error) => error,
        };
        let reason = redact_emails(&error.to_string()).into_owned();
        if error.is_rejection() {
            tracing::error!(
                run.id = %key.run,
                "rows are refused for good and kept: {reason}; `mana-persona-runner outbox` lists \
                 them, `outbox retry` sends them again"
            );
            logged(journal.bury_post(key, &reason, now).await);
        } else if error.limited_until().is_some() {
            // This does not count as an attempt: the post stays due, and the gate decides when it may be
            // sent.
            tracing::debug!(run.id = %key.run, "rows wait in the outbox: {reason}");
        } else {
            let pause = pause_after(attempts, error.again_after());
            let pause_ms = pause.as_millis() as u64;
            tracing::warn!(run.id = %key.run, pause_ms, "rows wait in the outbox: {reason}");
            let next = now.checked_add(pause).unwrap_or(Timestamp::MAX);
            logged(journal.postpone_post(key, &reason, now, next).await);
        }
        error.is_rejection()
    }

    /// Writes the steps and ends of runs that are only in memory to the journal, if that is possible now. An
    /// entry is removed from memory only after it has been written, because a stop may interrupt this.
    pub(crate) async fn save_unsaved(&self) {
        let mut unsaved = self.unsaved.lock().await;
        for index in (0..unsaved.len()).rev() {
            let (run, end) = &unsaved[index];
            let saved = match end {
                Some((ended, posts)) => self.save(run, ended, posts).await,
                None => run.flush().await,
            };
            if saved.is_ok() {
                tracing::info!(run.id = %run.id, "what is left of a run is written down after all");
                unsaved.remove(index);
            }
        }
    }

    /// Logs the runs whose steps or ends are only in memory and are lost when the process exits.
    pub(crate) async fn log_lost_ends(&self) {
        for run in self.unsaved_runs().await {
            tracing::error!(
                run.id = %run,
                "the end of a run is lost: the next start goes on with it from its last step in the \
                 journal"
            );
        }
    }

    /// The runs whose last steps or ends are only in memory.
    pub(super) async fn unsaved_runs(&self) -> Vec<RunId> {
        self.unsaved.lock().await.iter().map(|(run, _)| run.id).collect()
    }
}

/// The persona and the kind of a stored post, or the reason why the post cannot be sent.
fn address_of(post: &Post) -> Result<(UserId, PostKind), String> {
    let persona = UserId::parse(&post.persona);
    let persona = persona.map_err(|_| "the persona's id cannot be read".to_owned())?;
    let kind = PostKind::ALL.into_iter().find(|kind| kind.as_str() == post.kind);
    let unknown = || format!("this version knows no posts of the kind {:?}", post.kind);
    Ok((persona, kind.ok_or_else(unknown)?))
}

/// The value of a journal operation, or `None` after its error was logged. If a confirmation was not written,
/// the rows are delivered once more; the server then stores nothing new, because the row ids are the same.
fn logged<T>(result: Result<T, JournalError>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!("{error}")).ok()
}

/// The pause after a failed delivery with `attempts` failures before it: one second, doubled with each
/// failure, at most five minutes. A longer wait that the server asks for is respected, up to the same limit.
pub(super) fn pause_after(attempts: u32, asked: Option<Duration>) -> Duration {
    let own = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(attempts));
    own.max(asked.unwrap_or_default()).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::step::{Recorder, Step},
        clients::personas::Kind,
        clock::Clock,
        config::{BaseUrl, BudgetConfig, PersonasUrl},
        domain::{Cadence, ModuleMix, Outcome, Persona, Slot},
        facts::RunFacts,
        journal::{Journal, NewRun, RunSettings, RunState},
    };

    async fn outbox(journal: &Journal, clock: &Clock) -> Deliverer {
        let caps = BudgetConfig { daily: None, monthly: None, persona_daily: None };
        let (fleet, http) = Fleet::of_test(journal, clock, caps).await;
        let base = BaseUrl::parse("http://localhost").unwrap();
        let at = PersonasUrl { base, variable: "MANA_AUTH_URL" };
        let personas = PersonasClient::new(http, at, &"key".into(), clock.clone()).unwrap();
        Deliverer::new(fleet, personas)
    }

    /// Begins and ends a run with two posts.
    async fn ended_run(journal: &Journal, now: Timestamp) -> RunId {
        let id = RunId::new();
        let persona = Persona {
            user_id: UserId::parse("anna").unwrap(),
            email: "persona.anna@mana.test".into(),
            system_prompt: "Du bist Anna.".into(),
            module_mix: ModuleMix::new([]),
            cadence: Cadence::Daily,
            archetype: None,
        };
        let slot = Slot::stored("2026-11-21");
        let begun = RunSettings::unknown(now);
        let run = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model: "claude", begun };
        journal.begin_run(run, now).await.unwrap();
        let post = |number| (number, Batch { kind: Kind::Actions, rows: 1, body: "{}".into() });
        journal.end_run(id, &ended(), &[post(0), post(1)], now).await.unwrap();
        id
    }

    fn ended() -> EndedRun {
        EndedRun {
            state: RunState::Finished,
            stage: "done",
            replies: 1,
            calls: 1,
            call_errors: 0,
            ratings: 0,
            reason: None,
            next_eligible_at: None,
            outcome: Outcome::Done,
            facts: RunFacts::default(),
            deployment_end: None,
        }
    }

    #[tokio::test]
    async fn a_post_is_read_when_it_is_taken_and_not_when_it_was_seen_to_be_due() {
        let now = Timestamp::constant(1_795_262_400, 0);
        let journal = Journal::in_memory().await.unwrap();
        let outbox = outbox(&journal, &Clock::manual(now)).await;
        let id = ended_run(&journal, now).await;
        let seen = outbox.due_runs().await;
        assert_eq!(seen, [id]);
        let claim = outbox.claims.claim(&id.to_string()).unwrap();
        let post = outbox.due_post(id).await.unwrap();
        assert_eq!(post.key.number, 0);
        assert!(outbox.claims.claim(&id.to_string()).is_none(), "it is somebody's already");
        // The run itself has delivered the first post meanwhile, and postponed the second one.
        journal.confirm_post(post.key).await.unwrap();
        let post = outbox.due_post(id).await.unwrap();
        assert_eq!(post.key.number, 1);
        let later = now + Duration::from_secs(60);
        journal.postpone_post(post.key, "503", now, later).await.unwrap();
        assert!(outbox.due_post(id).await.is_none());
        drop(claim);
        assert!(outbox.claims.all().is_empty(), "what is not taken is left to others");
    }

    #[tokio::test]
    async fn rows_wait_behind_posts_of_their_run_that_cannot_be_read() {
        let now = Timestamp::constant(1_795_262_400, 0);
        let (journal, clock) = (Journal::in_memory().await.unwrap(), Clock::manual(now));
        let outbox = outbox(&journal, &clock).await;
        for number in ["-1", "4294967296", "'first'"] {
            let id = ended_run(&journal, now).await;
            let ended = ended();
            journal.confirm_post(PostKey { run: id, number: 1 }).await.unwrap();
            let odd = format!("UPDATE outbox SET number = {number} WHERE run_id = '{id}'");
            journal.spoil(odd).await;
            journal.spoil("UPDATE runs SET state = 'running'").await;
            let run = RunJournal::of_test(id, &journal, &clock).await;
            let posts = [(7, Batch { kind: Kind::Actions, rows: 1, body: Default::default() })];
            let (deadline, shutdown) = (Instant::now(), Shutdown::new(Duration::ZERO));
            let handed_in = outbox.hand_in(&run, &ended, &posts, deadline, &shutdown).await;
            assert_eq!((handed_in.undelivered, handed_in.unsaved), (1, false), "{number}");
            let kept = journal.kept_posts_of(id).await.unwrap();
            let own = kept.iter().find(|post| post.key.number == 7).unwrap();
            assert_eq!(own.attempts, 0, "{number}: nothing was sent");
        }
    }

    #[tokio::test]
    async fn steps_that_could_not_be_written_are_once_there_is_room() {
        let now = Timestamp::constant(1_795_262_400, 0);
        let (journal, clock) = (Journal::in_memory().await.unwrap(), Clock::manual(now));
        let outbox = outbox(&journal, &clock).await;
        let id = RunId::new();
        let run = RunJournal::of_test(id, &journal, &clock).await;
        journal.limit_pages(1).await.unwrap();
        // Longer than the free space in the only page.
        run.note(&Step::Told {
            reminder: Some("x".repeat(100_000)),
            as_system: false,
            cut: vec![],
        })
        .await;
        outbox.keep(run, None).await;
        outbox.save_unsaved().await;
        assert_eq!(outbox.unsaved_runs().await, [id], "nobody goes on with it");
        journal.limit_pages(1_000_000).await.unwrap();
        outbox.save_unsaved().await;
        assert!(outbox.unsaved_runs().await.is_empty());
        assert_eq!(journal.steps(id).await.unwrap().len(), 1);
    }

    #[test]
    fn the_pause_doubles_from_a_second_to_five_minutes() {
        let seconds: Vec<_> = (0..11).map(|n| pause_after(n, None).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }
}
