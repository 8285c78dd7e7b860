//! What the journal promises, on files in folders of their own.

mod odd_rows;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::domain::{Cadence, ModuleMix, ModuleName, Persona, RunId, Slot, Usd, UserId};

const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

impl Journal {
    /// Changes rows as somebody with a shell would.
    pub(crate) async fn spoil(&self, sql: impl Into<String>) {
        let sql = sqlx::AssertSqlSafe(sql.into());
        sqlx::query(sql).execute(self.backend.writer()).await.unwrap();
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("mana-journal-{}", Uuid::now_v7())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn persona(name: &str) -> Persona {
    Persona {
        user_id: UserId::parse(name).unwrap(),
        email: format!("persona.{name}@mana.test"),
        system_prompt: "Du bist Jörg.\u{0}".into(),
        module_mix: ModuleMix::new([(ModuleName::new("todo"), 0.3)]),
        cadence: Cadence::Daily,
    }
}

async fn begin(journal: &Journal, name: &str, slot: &str, now: Timestamp) -> RunId {
    let id = RunId::new();
    let (persona, slot) = (persona(name), Slot::stored(slot));
    let run = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model: "claude" };
    journal.begin_run(run, now).await.unwrap();
    id
}

fn ended(state: RunState) -> EndedRun {
    EndedRun {
        state,
        stage: "done",
        replies: 3,
        calls: 5,
        call_errors: 1,
        ratings: 2,
        reason: None,
        next_eligible_at: None,
    }
}

fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

fn post(number: u32, body: &str) -> NewPost<'_> {
    NewPost { number, persona: "anna", kind: PostKind::Actions, rows: 1, body }
}

#[tokio::test]
async fn a_run_and_its_steps_are_there_again_after_the_file_was_closed_and_opened() {
    let folder = Folder::new();
    let journal = Journal::open(folder.path()).await.unwrap();
    let id = begin(&journal, "anna", "2026-11-21", NOON).await;
    let bodies = [r#"{"a":"\u0000 é"}"#, "[1.0]"];
    for (number, body) in (0..).zip(bodies) {
        journal.append_step(id, number, body, NOON).await.unwrap();
    }
    journal.keep_catalog("abc", "[]", NOON).await.unwrap();
    journal.close().await;
    drop(journal);

    let journal = Journal::open(folder.path()).await.unwrap();
    let runs = journal.runs_in(RunState::Running).await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].id, id);
    assert_eq!(runs[0].persona.as_ref(), Some(&persona("anna")));
    assert_eq!(runs[0].slot, Slot::stored("2026-11-21"));
    let steps = journal.steps(id).await.unwrap();
    let told: Vec<_> = steps.iter().map(|step| (step.number, step.body.as_str())).collect();
    assert_eq!(told, [(0, bodies[0]), (1, bodies[1])]);
    assert_eq!(journal.catalog("abc").await.unwrap().as_deref(), Some("[]"));
    assert_eq!(journal.catalog("xyz").await.unwrap(), None);
}

#[tokio::test]
async fn a_step_is_never_written_over() {
    let journal = Journal::in_memory().await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    journal.append_step(id, 0, "1", NOON).await.unwrap();
    journal.append_step(id, 0, "1", NOON).await.unwrap();
    assert!(journal.append_step(id, 0, "2", NOON).await.is_err());
    let steps = journal.steps(id).await.unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].body, "1");
    // Nor is its money booked twice.
    let spending = Spending::of(&persona("anna").user_id, NOON);
    for _ in 0..2 {
        let step = (id, 1, "{}");
        let caps = Caps::default();
        journal.reserve(step, &spending, usd(0.5), &caps, NOON).await.unwrap().unwrap();
    }
    for _ in 0..2 {
        journal.settle((id, 2, "{}"), 1, &spending, (usd(0.5), usd(0.2)), NOON).await.unwrap();
    }
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, usd(0.2));
}

#[tokio::test]
async fn folder_and_file_are_for_the_owner_only() {
    let folder = Folder::new();
    let journal = Journal::open(folder.path()).await.unwrap();
    begin(&journal, "anna", "s", NOON).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_second_one_on_the_same_folder_is_told_so_and_readers_are_welcome() {
    let folder = Folder::new();
    let journal = Journal::open(folder.path()).await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let second = Journal::open(folder.path()).await.unwrap_err();
    assert!(matches!(second, JournalError::InUse { .. }), "{second}");
    assert!(second.to_string().contains("RUNNER_DATA_DIR"));

    let reader = Journal::open_read_only(folder.path()).await.unwrap();
    assert_eq!(reader.latest_runs(10).await.unwrap()[0].id, id);
    assert!(reader.append_step(id, 0, "1", NOON).await.is_err());
}

#[tokio::test]
async fn a_reader_without_a_journal_is_told_where_it_was_looked_for() {
    let folder = Folder::new();
    let error = Journal::open_read_only(folder.path()).await.unwrap_err();
    assert!(error.to_string().contains(FILE_NAME), "{error}");
    assert!(!folder.path().exists());

    // A daemon that was killed at once has made the file and nothing in it.
    fs::create_dir(folder.path()).unwrap();
    fs::write(folder.path().join(FILE_NAME), "").unwrap();
    let error = Journal::open_read_only(folder.path()).await.unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
    Journal::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_left_as_it_is() {
    let folder = Folder::new();
    let journal = Journal::open(folder.path()).await.unwrap();
    for n in 0..50 {
        let id = begin(&journal, &format!("p{n}"), "s", NOON).await;
        journal.append_step(id, 0, &"x".repeat(20_000), NOON).await.unwrap();
    }
    journal.close().await;
    drop(journal);
    let path = folder.path().join(FILE_NAME);
    let sound = fs::read(&path).unwrap();
    let mut holed = sound.clone();
    holed[4_096..40_960].fill(0xa5);
    for damaged in [b"this is no database, but a text that is long enough".repeat(40), holed] {
        fs::write(&path, &damaged).unwrap();
        let error = Journal::open(folder.path()).await.unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[tokio::test]
async fn strange_folder_names_are_no_obstacle() {
    let folder = Folder::new();
    let inner = folder.path().join("50% ?#ü mode=ro");
    let journal = Journal::open(&inner).await.unwrap();
    begin(&journal, "anna", "s", NOON).await;
    assert!(inner.join(FILE_NAME).is_file());
}

#[tokio::test]
async fn a_slot_is_taken_by_a_run_that_goes_on_or_has_ended_and_not_by_a_failed_one() {
    let journal = Journal::in_memory().await.unwrap();
    let slot = Slot::stored("2026-11-21");
    for (name, state) in [
        ("anna", RunState::Finished),
        ("ben", RunState::Failed),
        ("cleo", RunState::RatingOwed),
        ("dora", RunState::Running),
    ] {
        let id = begin(&journal, name, slot.as_str(), NOON).await;
        if state != RunState::Running {
            journal.end_run(id, &ended(state), &[], NOON).await.unwrap();
        }
    }
    begin(&journal, "emil", "2026-11-20", NOON).await;
    let mut done = journal.personas_done_for(&slot).await.unwrap();
    done.sort();
    assert_eq!(done, ["anna", "cleo", "dora"]);
}

#[tokio::test]
async fn money_is_reserved_up_to_the_cap_and_no_further() {
    let journal = Journal::in_memory().await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let spending = Spending::of(&persona("anna").user_id, NOON);
    let caps = Caps { daily: Some(usd(1.0)), ..Caps::default() };
    let reserve = |number, dollars| {
        let (journal, spending) = (&journal, &spending);
        async move {
            let step = (id, number, "{}");
            let reserved = journal.reserve(step, spending, usd(dollars), &caps, NOON).await;
            reserved.unwrap().map_err(|full| (full.cap, full.left))
        }
    };
    assert_eq!(reserve(0, 1.01).await, Err((Cap::Daily, usd(1.0))));
    assert_eq!(reserve(0, 0.6).await, Ok(()));
    assert_eq!(reserve(1, 0.5).await, Err((Cap::Daily, usd(0.4))));
    assert_eq!(reserve(1, 0.4).await, Ok(()));
    assert_eq!(journal.fleet_spending(NOON).await.unwrap(), (usd(1.0), usd(1.0)));
    // The first cost less than reserved; of the second no answer came.
    journal.settle((id, 2, "{}"), 0, &spending, (usd(0.6), usd(0.1)), NOON).await.unwrap();
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, usd(0.5));
    assert_eq!(journal.run(id).await.unwrap().unwrap().spent, usd(0.5));
    // Refused reservations left no step and no money behind.
    assert_eq!(journal.steps(id).await.unwrap().len(), 3);
}

#[tokio::test]
async fn every_cap_holds_and_a_refused_reservation_books_nothing_anywhere() {
    let journal = Journal::in_memory().await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let user = persona("anna").user_id;
    let spending = Spending::of(&user, NOON);
    for (caps, cap) in [
        (Caps { daily: Some(usd(0.5)), ..Caps::default() }, Cap::Daily),
        (Caps { monthly: Some(usd(0.5)), ..Caps::default() }, Cap::Monthly),
        (Caps { persona_daily: Some(usd(0.5)), ..Caps::default() }, Cap::PersonaDaily),
    ] {
        let step = (id, 0, "{}");
        let refused = journal.reserve(step, &spending, usd(0.6), &caps, NOON).await.unwrap();
        assert_eq!(refused, Err(NoRoom { cap, left: usd(0.5) }));
    }
    let caps = Caps { persona_daily: Some(usd(0.5)), ..Caps::default() };
    assert_eq!(
        journal.reserve((id, 0, "{}"), &spending, usd(0.4), &caps, NOON).await.unwrap(),
        Ok(())
    );
    let refused = journal.reserve((id, 1, "{}"), &spending, usd(0.4), &caps, NOON).await.unwrap();
    assert_eq!(refused, Err(NoRoom { cap: Cap::PersonaDaily, left: usd(0.1) }));
    assert_eq!(journal.fleet_spending(NOON).await.unwrap(), (usd(0.4), usd(0.4)));
    // Somebody else, and the next day, have accounts of their own.
    let other = Spending::of(&UserId::parse("ben").unwrap(), NOON);
    let allowed = journal.reserve((id, 1, "{}"), &other, usd(0.4), &caps, NOON).await.unwrap();
    assert_eq!(allowed, Ok(()));
    let tomorrow = Spending::of(&user, NOON + Duration::from_secs(86_400));
    let allowed = journal.reserve((id, 2, "{}"), &tomorrow, usd(0.4), &caps, NOON).await.unwrap();
    assert_eq!(allowed, Ok(()));
}

#[tokio::test]
async fn posts_of_a_run_come_in_order_and_one_at_a_time() {
    let journal = Journal::in_memory().await.unwrap();
    let (a, b) = (begin(&journal, "a", "s", NOON).await, begin(&journal, "b", "s", NOON).await);
    let posts = [post(0, "first"), post(1, "second")];
    journal.end_run(a, &ended(RunState::Finished), &posts, NOON).await.unwrap();
    journal.end_run(b, &ended(RunState::Finished), &[post(0, "other")], NOON).await.unwrap();
    let due = |now| {
        let journal = &journal;
        async move {
            let mut posts = Vec::new();
            for run in journal.runs_with_due_posts(now).await.unwrap() {
                posts.push(journal.due_post(run, now).await.unwrap().unwrap().body);
            }
            posts
        }
    };
    assert_eq!(due(NOON).await, ["first", "other"]);
    let key = PostKey { run: a, number: 0 };
    let later = NOON + Duration::from_secs(60);
    journal.postpone_post(key, "503", NOON, later).await.unwrap();
    assert_eq!(due(NOON).await, ["other"]);
    assert!(journal.due_post(a, NOON).await.unwrap().is_none(), "nor does a later one go first");
    assert_eq!(due(later).await, ["other", "first"]);
    // The clock went back: what was written by a clock ahead of it does not wait for that.
    assert_eq!(due(NOON - Duration::from_secs(3_600)).await, ["other", "first"]);
    // Refused for good, it no longer stands in the way.
    journal.bury_post(key, "404", NOON).await.unwrap();
    assert_eq!(due(NOON).await, ["second", "other"]);
    journal.confirm_post(PostKey { run: a, number: 1 }).await.unwrap();
    assert_eq!(due(NOON).await, ["other"]);
    let depth = journal.outbox_depth().await.unwrap();
    let expected = OutboxDepth { actions: 1, feedback: 0, dead: 1, oldest: Some(NOON) };
    assert_eq!(depth, expected);
    assert_eq!(journal.retry_posts(NOON).await.unwrap(), 2);
    assert_eq!(journal.outbox_depth().await.unwrap().dead, 0);
    assert_eq!(due(NOON).await.len(), 2);
}

#[tokio::test]
async fn who_is_held_back_is_what_the_last_run_of_each_says() {
    let journal = Journal::in_memory().await.unwrap();
    let until = NOON + Duration::from_secs(60);
    let broke = EndedRun { next_eligible_at: Some(until), ..ended(RunState::Failed) };
    let failed = EndedRun { stage: "main_turn", ..broke.clone() };
    // Without money nothing has failed.
    for (end, failures) in [(broke, 0), (failed, 1)] {
        let run = begin(&journal, "anna", "s", NOON + Duration::from_millis(failures)).await;
        journal.end_run(run, &end, &[], NOON).await.unwrap();
        let held = journal.held_back().await.unwrap();
        assert_eq!(held.len(), 1);
        let expected = (u32::try_from(failures).unwrap(), NOON, until);
        assert_eq!((held[0].failures, held[0].since, held[0].until), expected);
    }
    let stopped = begin(&journal, "anna", "s", until).await;
    journal.end_run(stopped, &ended(RunState::Failed), &[], until).await.unwrap();
    assert_eq!(journal.held_back().await.unwrap().len(), 1, "a stop says nothing");
    let later = until + Duration::from_secs(1);
    let second = begin(&journal, "anna", "s", later).await;
    journal.end_run(second, &ended(RunState::Finished), &[], later).await.unwrap();
    assert!(journal.held_back().await.unwrap().is_empty());
}

#[tokio::test]
async fn old_steps_go_and_runs_and_money_stay() {
    let journal = Journal::in_memory().await.unwrap();
    let spending = Spending::of(&persona("p").user_id, NOON);
    let mut runs = Vec::new();
    for n in 0..50 {
        let id = begin(&journal, &format!("p{n}"), "s", NOON).await;
        let step = (id, 0, "{}");
        let reserved = journal.reserve(step, &spending, usd(0.01), &Caps::default(), NOON).await;
        reserved.unwrap().unwrap();
        if n > 0 {
            journal.end_run(id, &ended(RunState::Finished), &[], NOON).await.unwrap();
        }
        runs.push(id);
    }
    journal.keep_catalog("abc", "[]", NOON).await.unwrap();
    assert_eq!(journal.prune(NOON).await.unwrap(), 0);
    let mut pruned = 0;
    loop {
        match journal.prune(NOON + Duration::from_secs(1)).await.unwrap() {
            0 => break,
            n => pruned += n,
        }
    }
    // The one that goes on keeps its steps.
    assert_eq!(pruned, 49);
    assert_eq!(journal.steps(runs[0]).await.unwrap().len(), 1);
    assert!(journal.steps(runs[7]).await.unwrap().is_empty());
    let row = journal.run(runs[7]).await.unwrap().unwrap();
    assert_eq!((row.persona, row.calls, row.spent), (None, 5, usd(0.01)));
    assert_eq!(journal.latest_runs(100).await.unwrap().len(), 50);
    assert_eq!(journal.catalog("abc").await.unwrap(), None);
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, usd(0.5));
}

#[tokio::test]
async fn a_full_disk_is_trouble_until_there_is_space_again() {
    let folder = Folder::new();
    let journal = Journal::open(folder.path()).await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    assert_eq!(journal.trouble(), None);
    journal.limit_pages(20).await.unwrap();
    let error = journal.append_step(id, 0, &"x".repeat(200_000), NOON).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    assert!(journal.trouble().unwrap().contains("full"));
    assert!(journal.check_writable().await.is_err());
    journal.limit_pages(100_000).await.unwrap();
    journal.check_writable().await.unwrap();
    assert_eq!(journal.trouble(), None);
    journal.append_step(id, 0, &"x".repeat(200_000), NOON).await.unwrap();
}

#[tokio::test]
async fn what_a_pause_and_a_budget_say_is_kept() {
    let journal = Journal::in_memory().await.unwrap();
    assert_eq!(journal.pause().await.unwrap(), None);
    let pause = Pause {
        mode: PauseMode::Drain,
        reason: Some("deploy".into()),
        by: "10.0.0.1".into(),
        since: NOON,
    };
    journal.set_pause(Some(&pause), NOON).await.unwrap();
    assert_eq!(journal.pause().await.unwrap(), Some(pause));
    journal.set_pause(None, NOON).await.unwrap();
    assert_eq!(journal.pause().await.unwrap(), None);
    assert_eq!(journal.budgets_reached().await.unwrap(), []);
    let reached = ["BUDGET_DAILY_USD", "BUDGET_MONTHLY_USD"].map(|variable| BudgetReached {
        variable: variable.into(),
        limit: usd(5.0),
        until: NOON,
    });
    journal.set_budgets_reached(&reached, NOON).await.unwrap();
    assert_eq!(journal.budgets_reached().await.unwrap(), reached);
    // As an earlier version wrote it.
    let one = serde_json::to_string(&reached[0]).unwrap();
    journal
        .spoil(format!("UPDATE control SET value = '{one}' WHERE name = 'budget_reached'"))
        .await;
    assert_eq!(journal.budgets_reached().await.unwrap(), reached[..1]);
}

#[tokio::test]
async fn a_journal_that_hangs_is_waited_for_no_longer_than_the_caller_can() {
    let journal = Journal::in_memory().await.unwrap();
    // What is under way keeps the one connection there is.
    let under_way = journal.backend.writer().acquire().await.unwrap();
    let closed = timeout(LIMIT / 2, journal.close_or(std::future::ready(()))).await;
    assert!(closed.is_ok(), "given up at once");
    drop(under_way);
}
