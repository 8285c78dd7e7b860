//! Tests of the operations on a journal in memory. The tests of rows that this program does not write are at the end.

mod books;

use std::{future::poll_fn, pin::pin, task::Poll};

use jiff::Timestamp;

use super::{outbox::OutboxDepth, *};
use crate::{
    clients::personas::Batch,
    config::BudgetConfig,
    domain::{Cadence, ModuleMix, ModuleName, Outcome, Persona, RunId, Slot, Usd, UserId},
    facts::{RunFacts, line},
};

pub(super) const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

impl Journal {
    pub(crate) async fn reserve(
        &self,
        (run, number, body): (RunId, u32, &str),
        spending: &Spending,
        amount: Usd,
        caps: &BudgetConfig,
        now: Timestamp,
    ) -> Result<std::result::Result<(), NoRoom>> {
        let booking = Booking::Reserve { spending: spending.clone(), amount, caps: *caps };
        let step = NewStep { number, at: now, body: body.into(), booking: Some(booking) };
        self.record(run, &[&step]).await
    }

    pub(crate) async fn settle(
        &self,
        (run, number, body): (RunId, u32, &str),
        asking: u32,
        spending: &Spending,
        (reserved, cost): (Usd, Usd),
        now: Timestamp,
    ) -> Result<()> {
        let booking = Booking::Settle { spending: spending.clone(), asking, reserved, cost };
        let step = NewStep { number, at: now, body: body.into(), booking: Some(booking) };
        self.record(run, &[&step]).await.map(drop)
    }

    /// Executes SQL as a person with a shell could.
    pub(crate) async fn spoil(&self, sql: impl Into<String>) {
        self.backend.writer.execute(sql.into()).await.unwrap();
    }
}

pub(super) fn persona(name: &str) -> Persona {
    Persona {
        user_id: UserId::parse(name).unwrap(),
        email: format!("persona.{name}@mana.test"),
        system_prompt: "Du bist Jörg.\u{0}".into(),
        module_mix: ModuleMix::new([(ModuleName::new("todo"), 0.3)]),
        cadence: Cadence::Daily,
        archetype: None,
    }
}

pub(super) async fn begin(journal: &Journal, name: &str, slot: &str, now: Timestamp) -> RunId {
    let id = RunId::new();
    let (persona, slot) = (persona(name), Slot::stored(slot));
    let begun = RunSettings::unknown(now);
    let run = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model: "claude", begun };
    journal.begin_run(run, now).await.unwrap();
    id
}

pub(super) fn ended(state: RunState) -> EndedRun {
    EndedRun {
        state,
        stage: "done",
        replies: 3,
        calls: 5,
        call_errors: 1,
        ratings: 2,
        reason: None,
        next_eligible_at: None,
        outcome: Outcome::Done,
        facts: RunFacts::default(),
        deployment_end: None,
    }
}

/// A list of tools with the id `abc`.
pub(super) fn no_tools() -> line::Catalog {
    line::Catalog { id: "abc".into(), tools: vec![], hidden: vec![] }
}

fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

fn post(number: u32, body: &str) -> (u32, Batch) {
    (number, Batch { kind: PostKind::Actions, rows: 1, body: body.to_owned().into() })
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
    // The money of the step is not booked twice either.
    let spending = Spending::of(&persona("anna").user_id, NOON);
    for _ in 0..2 {
        let step = (id, 1, "{}");
        let caps = BudgetConfig::default();
        journal.reserve(step, &spending, usd(0.5), &caps, NOON).await.unwrap().unwrap();
    }
    for _ in 0..2 {
        journal.settle((id, 2, "{}"), 1, &spending, (usd(0.5), usd(0.2)), NOON).await.unwrap();
    }
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, usd(0.2));
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
    let caps = BudgetConfig { daily: Some(usd(1.0)), ..BudgetConfig::default() };
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
    // The first request costs less than was reserved. The second one gets no answer.
    journal.settle((id, 2, "{}"), 0, &spending, (usd(0.6), usd(0.1)), NOON).await.unwrap();
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, usd(0.5));
    assert_eq!(journal.run(id).await.unwrap().unwrap().spent, usd(0.5));
    // Refused reservations have written no step and booked no money.
    assert_eq!(journal.steps(id).await.unwrap().len(), 3);
}

#[tokio::test]
async fn every_cap_holds_and_a_refused_reservation_books_nothing_anywhere() {
    let journal = Journal::in_memory().await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let user = persona("anna").user_id;
    let spending = Spending::of(&user, NOON);
    for (caps, cap) in [
        (BudgetConfig { daily: Some(usd(0.5)), ..BudgetConfig::default() }, Cap::Daily),
        (BudgetConfig { monthly: Some(usd(0.5)), ..BudgetConfig::default() }, Cap::Monthly),
        (
            BudgetConfig { persona_daily: Some(usd(0.5)), ..BudgetConfig::default() },
            Cap::PersonaDaily,
        ),
    ] {
        let step = (id, 0, "{}");
        let refused = journal.reserve(step, &spending, usd(0.6), &caps, NOON).await.unwrap();
        assert_eq!(refused, Err(NoRoom { cap, left: usd(0.5) }));
    }
    let caps = BudgetConfig { persona_daily: Some(usd(0.5)), ..BudgetConfig::default() };
    assert_eq!(
        journal.reserve((id, 0, "{}"), &spending, usd(0.4), &caps, NOON).await.unwrap(),
        Ok(())
    );
    let refused = journal.reserve((id, 1, "{}"), &spending, usd(0.4), &caps, NOON).await.unwrap();
    assert_eq!(refused, Err(NoRoom { cap: Cap::PersonaDaily, left: usd(0.1) }));
    assert_eq!(journal.fleet_spending(NOON).await.unwrap(), (usd(0.4), usd(0.4)));
    // Another persona and the next day have accounts of their own.
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
    // The clock was set back. A post with a later time is due all the same.
    assert_eq!(due(NOON - Duration::from_secs(3_600)).await, ["other", "first"]);
    // A post that is refused for good does not hold up the next post.
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
    // A run that only ran out of money is no failed run.
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
        let reserved =
            journal.reserve(step, &spending, usd(0.01), &BudgetConfig::default(), NOON).await;
        reserved.unwrap().unwrap();
        if n > 0 {
            journal.end_run(id, &ended(RunState::Finished), &[], NOON).await.unwrap();
        }
        runs.push(id);
    }
    journal.keep_catalog("abc", "[]", &no_tools(), NOON, NOON).await.unwrap();
    assert_eq!(journal.prune(NOON, NOON).await.unwrap(), 0);
    let mut pruned = 0;
    loop {
        match journal
            .prune(NOON + Duration::from_secs(1), NOON + Duration::from_secs(1))
            .await
            .unwrap()
        {
            0 => break,
            n => pruned += n,
        }
    }
    // The run that has not ended keeps its steps.
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
async fn what_a_pause_and_a_budget_say_is_kept() {
    let journal = Journal::in_memory().await.unwrap();
    assert_eq!(journal.kept(PAUSE).await.unwrap(), None);
    let pause = Pause {
        mode: PauseMode::Drain,
        reason: Some("deploy".into()),
        by: "10.0.0.1".into(),
        since: NOON,
    };
    journal.keep(PAUSE, Some(&pause), NOON).await.unwrap();
    assert_eq!(journal.kept(PAUSE).await.unwrap(), Some(pause));
    journal.keep(PAUSE, None, NOON).await.unwrap();
    assert_eq!(journal.kept(PAUSE).await.unwrap(), None);
    assert_eq!(journal.kept(BUDGETS).await.unwrap(), None);
    let reached = ["BUDGET_DAILY_USD", "BUDGET_MONTHLY_USD"].map(|variable| BudgetReached {
        variable: variable.into(),
        limit: usd(5.0),
        until: NOON,
    });
    let reached = Vec::from(reached);
    journal.keep(BUDGETS, Some(&reached), NOON).await.unwrap();
    assert_eq!(journal.kept(BUDGETS).await.unwrap(), Some(reached));
}

#[tokio::test]
async fn a_journal_that_hangs_is_waited_for_no_longer_than_the_caller_can() {
    let journal = Journal::in_memory().await.unwrap();
    // The caller holds the only connection for writing.
    let under_way = journal.backend.writer.session().await.unwrap();
    let closed = timeout(LIMIT / 2, journal.close_or(std::future::ready(()))).await;
    assert!(closed.is_ok(), "given up at once");
    drop(under_way);
}

#[tokio::test]
async fn a_conflict_of_one_run_is_no_trouble_of_the_others() {
    let journal = Journal::in_memory().await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let (persona, slot) = (persona("anna"), Slot::stored("s"));
    let begun = RunSettings::unknown(NOON);
    let again = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model: "claude", begun };
    let error = journal.begin_run(again, NOON).await.unwrap_err();
    assert!(error.is_of_a_row(), "{error}");
    journal.append_step(id, 0, "1", NOON).await.unwrap();
    let spending = Spending::of(&persona.user_id, NOON);
    let other = (id, 0, "2");
    let reserved =
        journal.reserve(other, &spending, usd(0.5), &BudgetConfig::default(), NOON).await;
    assert!(reserved.unwrap_err().is_of_a_row());
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, Usd::ZERO);
    assert_eq!(journal.trouble(), None);
}

/// Drops `work` when it is pending for the n-th time. Returns false if `work` is completed before.
pub(super) async fn dropped_at(n: usize, work: impl Future) -> bool {
    let (mut waits, mut work) = (0, pin!(work));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(false),
        Poll::Pending => {
            waits += 1;
            if waits == n { Poll::Ready(true) } else { Poll::Pending }
        }
    })
    .await
}

#[tokio::test]
async fn a_verb_whose_caller_is_dropped_is_done_as_a_whole_or_not_at_all() {
    let (mut drops, mut outcomes) = (0, HashSet::new());
    // How often a write waits depends on the threads. It waits at least once in most of the rounds.
    for n in (1..=4).cycle().take(40) {
        let journal = Journal::in_memory().await.unwrap();
        let id = begin(&journal, "anna", "s", NOON).await;
        let posts = [post(0, "first"), post(1, "second")];
        let end = ended(RunState::Finished);
        drops += usize::from(dropped_at(n, journal.end_run(id, &end, &posts, NOON)).await);
        // This write waits until the dropped one is completed.
        journal.open_day(RunId::new(), "", None).await.unwrap();
        let state = journal.run(id).await.unwrap().unwrap().state;
        let kept = journal.kept_posts().await.unwrap().len();
        assert_eq!((state == RunState::Finished, kept), (kept > 0, if kept > 0 { 2 } else { 0 }));
        outcomes.insert(kept);
    }
    assert!(outcomes.contains(&2) && drops > 0, "no write waited");
}

#[tokio::test]
async fn an_odd_step_is_the_trouble_of_its_run_alone() {
    for number in ["-1", "4294967296", "9223372036854775808", "2.5", "'x'"] {
        let journal = Journal::in_memory().await.unwrap();
        let (odd, other) =
            (begin(&journal, "anna", "s", NOON).await, begin(&journal, "ben", "s", NOON).await);
        journal.append_step(odd, 0, "1", NOON).await.unwrap();
        journal.spoil(format!("INSERT INTO steps VALUES ('{odd}', {number}, 'x', '2')")).await;
        let steps = journal.steps(odd).await.unwrap();
        let bodies: Vec<_> = steps.iter().map(|step| step.body.as_str()).collect();
        assert!(bodies.contains(&"1") && bodies.contains(&""), "{number}: {bodies:?}");
        // A step with the number of another one does not affect other runs either.
        let error = journal.append_step(odd, 0, "other", NOON).await.unwrap_err();
        assert!(error.is_of_a_row(), "{error}");
        assert_eq!(journal.trouble(), None, "{number}");
        journal.append_step(other, 0, "1", NOON).await.unwrap();
    }
}

#[tokio::test]
async fn odd_numbers_in_a_run_hide_neither_it_nor_the_others() {
    let journal = Journal::in_memory().await.unwrap();
    let (a, b) =
        (begin(&journal, "anna", "s", NOON).await, begin(&journal, "ben", "s", NOON).await);
    for sql in [
        "UPDATE runs SET replies = -3, calls = 1e300, spent = -5, attempt = 'x', persona = '{' \
         WHERE persona_id = 'anna'",
        "UPDATE runs SET started_at = 'soon', ended_at = 'never', next_eligible_at = 'x', \
         held_since = 1e300 WHERE persona_id = 'anna'",
    ] {
        journal.spoil(sql).await;
    }
    assert_eq!(journal.runs_in(RunState::Running).await.unwrap().len(), 2);
    let row = journal.run(a).await.unwrap().unwrap();
    assert_eq!((row.persona, row.replies, row.spent), (None, 0, Usd::ZERO));
    assert_eq!(journal.held_back().await.unwrap().len(), 0);
    assert_eq!(journal.last_finished_run().await.unwrap(), None);
    journal.spoil("UPDATE runs SET state = 'of tomorrow' WHERE persona_id = 'anna'").await;
    assert!(journal.run(a).await.unwrap_err().is_of_a_row());
    assert_eq!(journal.latest_runs(9).await.unwrap()[0].id, b);
    journal
        .spoil("UPDATE runs SET slot = x'ff', persona_id = x'ff' WHERE state = 'of tomorrow'")
        .await;
    assert_eq!(journal.personas_done_for(&Slot::stored("s")).await.unwrap(), ["ben"]);
    assert_eq!(journal.trouble(), None);
}

#[tokio::test]
async fn an_odd_post_is_kept_and_listed_and_holds_up_no_other_run() {
    let journal = Journal::in_memory().await.unwrap();
    let (a, b) = (begin(&journal, "a", "s", NOON).await, begin(&journal, "b", "s", NOON).await);
    for run in [a, b] {
        journal.end_run(run, &ended(RunState::Finished), &[post(0, "x")], NOON).await.unwrap();
    }
    journal
        .spoil(
            "UPDATE outbox SET kind = 'dreams', attempts = -1, row_count = 1e300, created_at = 'x' \
         WHERE run_id = (SELECT MIN(run_id) FROM outbox)",
        )
        .await;
    let kept = journal.kept_posts().await.unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().any(|post| post.kind == "dreams"));
    assert_eq!(journal.outbox_depth().await.unwrap().actions, 2);
    assert!(journal.due_post(b, NOON).await.unwrap().is_some());
    // A post without a readable number is still counted.
    journal.spoil("UPDATE outbox SET number = -1 WHERE kind = 'dreams'").await;
    assert_eq!(journal.kept_posts().await.unwrap().len(), 1);
    assert_eq!(journal.outbox_depth().await.unwrap().actions, 2);
    assert_eq!(journal.trouble(), None);
}

#[tokio::test]
async fn an_account_that_says_less_than_nothing_pays_for_nothing() {
    let caps = BudgetConfig { daily: Some(usd(1.0)), ..BudgetConfig::default() };
    for amount in ["-9000000000000", "'much'", "0.5"] {
        let journal = Journal::in_memory().await.unwrap();
        let id = begin(&journal, "anna", "s", NOON).await;
        let spending = Spending::of(&persona("anna").user_id, NOON);
        let reserve = async |number| {
            let step = (id, number, "{}");
            journal.reserve(step, &spending, usd(0.6), &caps, NOON).await.unwrap()
        };
        reserve(0).await.unwrap();
        journal.spoil(format!("UPDATE ledger SET amount = {amount}")).await;
        assert_eq!(reserve(1).await, Ok(()), "{amount}");
        assert_eq!(reserve(2).await.unwrap_err().cap, Cap::Daily, "{amount}");
        assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, usd(0.6));
        assert_eq!(journal.trouble(), None);
    }
}

#[tokio::test]
async fn a_control_value_that_is_garbage_is_left_aside() {
    let journal = Journal::in_memory().await.unwrap();
    for value in ["'{'", "x'ff'", "7"] {
        let sql = format!(
            "REPLACE INTO control VALUES ('pause', {value}, 0), ('budget_reached', {value}, 0)"
        );
        journal.spoil(sql).await;
        assert_eq!(journal.kept(PAUSE).await.unwrap(), None);
        assert_eq!(journal.kept(BUDGETS).await.unwrap(), None);
        assert_eq!(journal.trouble(), None);
    }
}

#[test]
fn a_journal_is_dropped_without_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let journal = runtime.block_on(Journal::in_memory()).unwrap();
    runtime.block_on(begin(&journal, "anna", "s", NOON));
    drop(journal);
}
