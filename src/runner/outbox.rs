//! The outbox at work: what a run came to is handed in, for as long as it takes.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::run_journal::RunJournal;
use crate::{
    clients::{
        auth::AuthClient,
        personas::{Batch, PersonasClient, PersonasError},
    },
    clock::Clock,
    domain::{RunId, UserId, redact_emails},
    http::retry::{RetryPolicy, Retryable, Verdict},
    journal::{EndedRun, Journal, JournalError, NewPost, Post, PostKey, PostKind},
    shutdown::Shutdown,
};

/// Between looks into the outbox, and the first pause after a failed delivery.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between deliveries of a post.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// One delivery.
const DELIVERY: Duration = Duration::from_secs(20);
/// Deliveries at once, each of another run.
const CONCURRENCY: usize = 8;
/// Between looks, in a stop, whether a rate limit is in the way.
const GLANCE: Duration = Duration::from_millis(50);
/// Between attempts at a journal that cannot be written to.
const PROBE: Duration = Duration::from_secs(2);

/// Hands in what runs came to. Clones share it.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Journal,
    clock: Clock,
    personas: Arc<PersonasClient>,
    /// Knows what is secret of the personas whose rows are handed in.
    auth: Arc<AuthClient>,
    /// Runs whose posts somebody is at already.
    busy: Mutex<HashSet<RunId>>,
    /// What happened in runs and could not be written down yet.
    unsaved: tokio::sync::Mutex<VecDeque<Unsaved>>,
    wake: Notify,
}

/// Steps of a run that the journal does not know of yet, and its end, if it has come to one.
#[derive(Debug)]
struct Unsaved {
    run: RunJournal,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    ended: EndedRun,
    persona: UserId,
    posts: Vec<(u32, Batch)>,
}

/// A run's posts, nobody else's until dropped.
#[derive(Debug)]
struct Claim {
    outbox: Outbox,
    run: RunId,
    /// Whether there may be something further to be done for the run.
    wakes: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.outbox.busy().remove(&self.run);
        if self.wakes {
            self.outbox.0.wake.notify_one();
        }
    }
}

/// What the first delivery of a run's rows came to.
#[derive(Debug, Default)]
pub(super) struct HandedIn {
    /// Why rows will never be taken, if so.
    pub refused: Option<PersonasError>,
    /// Posts that wait for another delivery.
    pub undelivered: usize,
    /// Whether the end of the run could not be written down.
    pub unsaved: bool,
}

impl Outbox {
    /// An outbox over this journal.
    pub fn new(
        journal: Journal,
        clock: Clock,
        personas: Arc<PersonasClient>,
        auth: Arc<AuthClient>,
    ) -> Self {
        Self(Arc::new(Inner {
            journal,
            clock,
            personas,
            auth,
            busy: Mutex::default(),
            unsaved: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        }))
    }

    /// Writes down how a run, or its main turn, ended, with what is to be handed in for it, and makes
    /// the first delivery. What is not taken, or not written down, waits; a stop does not end this, an
    /// abort does.
    pub(super) async fn hand_in(
        &self,
        run: &RunJournal,
        persona: &UserId,
        ended: &EndedRun,
        posts: &[(u32, Batch)],
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> HandedIn {
        let claim = self.claim(run.id);
        let is_saved = self.save(run, persona, ended, posts).await.is_ok();
        let mut handed_in = HandedIn { unsaved: !is_saved, ..HandedIn::default() };
        if !is_saved {
            // After a kill the run would go on from an older step, and its rows be others.
            handed_in.undelivered = posts.len();
            return handed_in;
        }
        if claim.is_none() {
            // The worker is at an earlier post of this run; these come after it.
            handed_in.undelivered = posts.len();
            return handed_in;
        }
        let is_own = |n: &Option<u32>| posts.iter().any(|(own, _)| Some(*own) == *n);
        let kept = self.0.journal.numbers_of_posts(run.id).await;
        // What cannot be read may be an earlier post.
        if !kept.is_ok_and(|kept| kept.iter().all(is_own)) {
            handed_in.undelivered = posts.len();
            return handed_in;
        }
        // An abort ends it, and a stop where it would wait for the end of a rate limit.
        let given_up = async || {
            shutdown.stopping().await;
            while !shutdown.is_aborted() && self.0.personas.limited_until().is_none() {
                tokio::select! { () = shutdown.aborted() => {}, () = sleep(GLANCE) => {} }
            }
        };
        let personas = self.0.personas.with_redactor(run.redactor());
        for (place, (number, batch)) in posts.iter().enumerate() {
            let key = PostKey { run: run.id, number: *number };
            let post = personas.post(persona, batch, RetryPolicy::FIRST_POST, deadline);
            let result = tokio::select! {
                biased;
                result = post => result,
                () = given_up() => {
                    handed_in.undelivered = posts.len() - place;
                    return handed_in;
                }
            };
            let goes_on = self.note(key, batch.rows, &result, 0).await;
            if let Err(error) = result {
                if error.is_rejection() {
                    handed_in.refused = Some(error);
                }
                if !goes_on {
                    handed_in.undelivered = posts.len() - place;
                    break;
                }
            }
        }
        handed_in
    }

    /// Keeps in memory what could not be written down, until it can be. Takes the run's own journal
    /// along, with the steps it still has.
    pub(super) async fn keep(
        &self,
        run: RunJournal,
        persona: UserId,
        ended: EndedRun,
        posts: Vec<(u32, Batch)>,
    ) {
        tracing::error!(run.id = %run.id, "the end of a run is kept in memory only");
        let end = Some(End { ended, persona, posts });
        self.0.unsaved.lock().await.push_back(Unsaved { run, end });
    }

    /// The same of a run that is to go on later: until its last steps can be written, nobody does.
    pub(super) async fn keep_steps(&self, run: RunJournal) {
        tracing::error!(run.id = %run.id, "the last steps of a run are kept in memory only");
        self.0.unsaved.lock().await.push_back(Unsaved { run, end: None });
    }

    async fn save(
        &self,
        run: &RunJournal,
        persona: &UserId,
        ended: &EndedRun,
        posts: &[(u32, Batch)],
    ) -> Result<(), JournalError> {
        run.flush().await?;
        let bodies: Vec<_> = posts.iter().map(|(_, b)| String::from_utf8_lossy(&b.body)).collect();
        let posts: Vec<_> = posts
            .iter()
            .zip(&bodies)
            .map(|((number, batch), body)| NewPost {
                number: *number,
                persona: persona.as_str(),
                kind: batch.kind,
                rows: batch.rows,
                body,
            })
            .collect();
        self.0.journal.end_run(run.id, ended, &posts, self.0.clock.now()).await
    }

    /// Delivers until a stop: a post that takes its time holds up no other, as long as there is room.
    pub async fn work(self, shutdown: Shutdown) {
        let outbox = &self;
        let deliveries = async {
            let due = stream::unfold(outbox.look().await, |mut runs| async move {
                let next = outbox.next_due(&mut runs).await;
                Some((next, runs))
            });
            due.for_each_concurrent(CONCURRENCY, |(claim, post)| outbox.deliver(claim, post)).await;
        };
        tokio::select! {
            biased;
            () = shutdown.stopping() => {}
            () = deliveries => {}
        }
    }

    /// The next post that is due, of one of these runs or else of those that turn up later.
    async fn next_due(&self, runs: &mut VecDeque<RunId>) -> (Claim, Post) {
        loop {
            while let Some(run) = runs.pop_front() {
                // Nobody could write down that it was delivered, or nobody may send.
                if self.0.journal.trouble().is_some() || self.0.personas.limited_until().is_some() {
                    runs.clear();
                } else if let Some(next) = self.take(run).await {
                    return next;
                }
            }
            let pause = if self.0.journal.trouble().is_some() { PROBE } else { FIRST_PAUSE };
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = sleep(pause) => {}
            }
            *runs = self.look().await;
        }
    }

    /// The runs that something is due of.
    async fn look(&self) -> VecDeque<RunId> {
        if self.0.journal.trouble().is_some() && self.0.journal.check_writable().await.is_err() {
            return VecDeque::new();
        }
        self.save_unsaved().await;
        let due = self.0.journal.runs_with_due_posts(self.0.clock.now()).await;
        due.inspect_err(|error| tracing::warn!("{error}")).unwrap_or_default().into()
    }

    /// The run's first due post, for this caller alone. It is read once the run is nobody else's: what was
    /// due before may have been delivered meanwhile, by the run itself.
    async fn take(&self, run: RunId) -> Option<(Claim, Post)> {
        let mut claim = self.claim(run)?;
        let due = self.0.journal.due_post(run, self.0.clock.now()).await;
        match due.inspect_err(|error| tracing::warn!("{error}")) {
            Ok(Some(post)) => Some((claim, post)),
            _ => {
                claim.wakes = false;
                None
            }
        }
    }

    async fn deliver(&self, _claim: Claim, post: Post) {
        let Ok(persona) = UserId::parse(&post.persona) else {
            let reason = "the persona's id cannot be read";
            self.report(self.0.journal.bury_post(post.key, reason, self.0.clock.now()).await);
            return;
        };
        let Some(kind) = PostKind::ALL.into_iter().find(|kind| kind.as_str() == post.kind) else {
            let reason = format!("this version knows no posts of the kind {:?}", post.kind);
            tracing::error!(run.id = %post.key.run, "rows cannot be sent and are kept: {reason}");
            self.report(self.0.journal.bury_post(post.key, &reason, self.0.clock.now()).await);
            return;
        };
        let batch = Batch { kind, rows: post.rows, body: post.body.into() };
        let deadline = Instant::now() + DELIVERY;
        let personas = self.personas_of(post.key.run).await;
        let result = personas.post(&persona, &batch, RetryPolicy::ONCE, deadline).await;
        self.note(post.key, batch.rows, &result, post.attempts).await;
    }

    /// The client for rows of this run, which may be one of an earlier process. Where the journal no longer
    /// says whose it is, one that knows the secrets of the process.
    async fn personas_of(&self, run: RunId) -> PersonasClient {
        let run = self.0.journal.run(run).await.inspect_err(|error| tracing::warn!("{error}"));
        let persona = run.ok().flatten().and_then(|run| run.persona);
        let email = persona.map(|persona| persona.email).unwrap_or_default();
        self.0.personas.with_redactor(self.0.auth.redactor_of(&email))
    }

    /// Writes down what a delivery came to, after so many before it. Whether the run's next post may
    /// follow.
    async fn note(
        &self,
        key: PostKey,
        rows: usize,
        result: &Result<usize, PersonasError>,
        attempts: u32,
    ) -> bool {
        let (journal, now) = (&self.0.journal, self.0.clock.now());
        match result {
            Ok(written) => {
                if *written != rows {
                    tracing::warn!(sent = rows, written, "the server confirmed another number");
                }
                self.report(journal.confirm_post(key).await);
                true
            }
            Err(error) if error.is_rejection() => {
                let reason = redact_emails(&error.to_string()).into_owned();
                tracing::error!(
                    run.id = %key.run,
                    "rows are refused for good and kept: {reason}; `mana-persona-runner outbox` lists \
                     them, `outbox retry` sends them again"
                );
                self.report(journal.bury_post(key, &reason, now).await);
                true
            }
            // No attempt: the row is as due as it was, and the gate says when somebody may send.
            Err(error) if error.limited_until().is_some() => {
                tracing::debug!(run.id = %key.run, "rows wait in the outbox: {error}");
                false
            }
            Err(error) => {
                let pause = pause_after(attempts, error.verdict());
                let reason = redact_emails(&error.to_string()).into_owned();
                tracing::warn!(
                    run.id = %key.run,
                    pause_ms = pause.as_millis() as u64,
                    "rows wait in the outbox: {reason}"
                );
                let next = now.checked_add(pause).unwrap_or(Timestamp::MAX);
                self.report(journal.postpone_post(key, &reason, now, next).await);
                false
            }
        }
    }

    /// Delivered rows that stay in the outbox are delivered once more, which changes nothing.
    fn report(&self, result: Result<(), JournalError>) {
        if let Err(error) = result {
            tracing::warn!("{error}");
        }
    }

    /// An end leaves the memory when it is in the journal, and not before: a stop may come in between.
    async fn save_unsaved(&self) {
        let mut unsaved = self.0.unsaved.lock().await;
        let mut place = 0;
        while let Some(Unsaved { run, end }) = unsaved.get(place) {
            let saved = match end {
                Some(end) => self.save(run, &end.persona, &end.ended, &end.posts).await,
                None => run.flush().await,
            };
            if saved.is_err() {
                place += 1;
                continue;
            }
            tracing::info!(run.id = %run.id, "what is left of a run is written down after all");
            unsaved.remove(place);
        }
    }

    /// The last attempt at ends of runs that are in memory only, for the end of the process.
    pub async fn save_the_rest(&self) {
        self.save_unsaved().await;
    }

    /// Logs the runs whose ends will be lost with the process.
    pub async fn tell_of_lost_ends(&self) {
        for run in self.unsaved_runs().await {
            tracing::error!(
                run.id = %run,
                "the end of a run is lost: the next start goes on with it from its last step in the \
                 journal"
            );
        }
    }

    /// The runs whose ends are in memory only.
    pub(super) async fn unsaved_runs(&self) -> Vec<RunId> {
        self.0.unsaved.lock().await.iter().map(|it| it.run.id).collect()
    }

    fn claim(&self, run: RunId) -> Option<Claim> {
        self.busy().insert(run).then(|| Claim { outbox: self.clone(), run, wakes: true })
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<RunId>> {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause after a failed delivery with so many before it: from a second, doubled each time, to five
/// minutes.
fn pause_after(attempts: u32, verdict: Verdict) -> Duration {
    let own = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(attempts)).min(LONGEST_PAUSE);
    match verdict {
        Verdict::Transient { retry_after: Some(asked) } => own.max(asked.min(LONGEST_PAUSE)),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::step::{Recorder, Step},
        clients::personas::Kind,
        config::{BaseUrl, PersonasUrl},
        domain::{Cadence, ModuleMix, Persona, Redactor, Slot},
        http::HttpClient,
        journal::{NewRun, RunState},
        metrics::Metrics,
    };

    fn outbox(journal: &Journal, clock: Clock) -> Outbox {
        let metrics = Arc::new(Metrics::new("0").unwrap());
        let http = HttpClient::new(metrics, Redactor::default()).unwrap();
        let base = BaseUrl::parse("http://localhost").unwrap();
        let at = PersonasUrl { base: base.clone(), variable: "MANA_AUTH_URL" };
        let auth = AuthClient::new(http.clone(), base, "seed".into(), clock.clone());
        let personas = PersonasClient::new(http, at, &"key".into(), clock.clone()).unwrap();
        Outbox::new(journal.clone(), clock, Arc::new(personas), Arc::new(auth))
    }

    /// A run with two posts.
    async fn ended_run(journal: &Journal, now: Timestamp) -> RunId {
        let id = RunId::new();
        let persona = Persona {
            user_id: UserId::parse("anna").unwrap(),
            email: "persona.anna@mana.test".into(),
            system_prompt: "Du bist Anna.".into(),
            module_mix: ModuleMix::new([]),
            cadence: Cadence::Daily,
        };
        let slot = Slot::stored("2026-11-21");
        let run = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model: "claude" };
        journal.begin_run(run, now).await.unwrap();
        let post =
            |number| NewPost { number, persona: "anna", kind: Kind::Actions, rows: 1, body: "{}" };
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
        }
    }

    #[tokio::test]
    async fn a_post_is_read_when_it_is_taken_and_not_when_it_was_seen_to_be_due() {
        let now = Timestamp::constant(1_795_262_400, 0);
        let journal = Journal::in_memory().await.unwrap();
        let outbox = outbox(&journal, Clock::manual(now));
        let id = ended_run(&journal, now).await;
        let seen = outbox.look().await;
        assert_eq!(seen, [id]);
        let (claim, post) = outbox.take(id).await.unwrap();
        assert_eq!(post.key.number, 0);
        assert!(outbox.take(id).await.is_none(), "it is somebody's already");
        drop(claim);
        // Meanwhile the run itself has handed the first in, and put the second off.
        journal.confirm_post(post.key).await.unwrap();
        let (claim, post) = outbox.take(id).await.unwrap();
        assert_eq!(post.key.number, 1);
        drop(claim);
        let later = now + Duration::from_secs(60);
        journal.postpone_post(post.key, "503", now, later).await.unwrap();
        assert!(outbox.take(id).await.is_none());
        assert!(outbox.busy().is_empty(), "what is not taken is left to others");
    }

    #[tokio::test]
    async fn rows_wait_behind_posts_of_their_run_that_cannot_be_read() {
        let now = Timestamp::constant(1_795_262_400, 0);
        let (journal, clock) = (Journal::in_memory().await.unwrap(), Clock::manual(now));
        let outbox = outbox(&journal, clock.clone());
        for number in ["-1", "4294967296", "'first'"] {
            let id = ended_run(&journal, now).await;
            let own =
                NewPost { number: 7, persona: "anna", kind: Kind::Actions, rows: 1, body: "" };
            let ended = ended();
            journal.confirm_post(PostKey { run: id, number: 1 }).await.unwrap();
            let odd = format!("UPDATE outbox SET number = {number} WHERE run_id = '{id}'");
            journal.spoil(odd).await;
            journal.spoil("UPDATE runs SET state = 'running'").await;
            let run = RunJournal::of_test(id, &journal, &clock).await;
            let posts = [(7, Batch { kind: own.kind, rows: own.rows, body: own.body.into() })];
            let (user, deadline) = (UserId::parse("anna").unwrap(), Instant::now());
            let shutdown = Shutdown::new(Duration::ZERO);
            let handed_in = outbox.hand_in(&run, &user, &ended, &posts, deadline, &shutdown).await;
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
        let outbox = outbox(&journal, clock.clone());
        let id = RunId::new();
        let run = RunJournal::of_test(id, &journal, &clock).await;
        journal.limit_pages(1).await.unwrap();
        // Longer than what is left of the page that is there.
        run.note(&Step::Told {
            reminder: Some("x".repeat(100_000)),
            as_system: false,
            cut: vec![],
        })
        .await;
        outbox.keep_steps(run).await;
        outbox.save_the_rest().await;
        assert_eq!(outbox.unsaved_runs().await, [id], "nobody goes on with it");
        journal.limit_pages(1_000_000).await.unwrap();
        outbox.save_the_rest().await;
        assert!(outbox.unsaved_runs().await.is_empty());
        assert_eq!(journal.steps(id).await.unwrap().len(), 1);
    }

    #[test]
    fn the_pause_doubles_from_a_second_to_five_minutes() {
        let seconds: Vec<_> = (0..11).map(|n| pause_after(n, Verdict::Final).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }
}
