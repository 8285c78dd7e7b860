//! Tests of what a plan reads: the accounts, the unfinished runs, the costs of past runs, and halts.

use tokio::time::Instant;

use super::*;
use crate::agent::{CallRecord, Called, CalledTool, Step};

const DAY: Duration = Duration::from_secs(86_400);

/// Books a request of this persona with this step.
async fn book(
    journal: &Journal,
    name: &str,
    step: (RunId, u32, &str),
    dollars: f64,
    at: Timestamp,
) {
    let spending = Spending::of(&persona(name).user_id, at);
    let caps = BudgetConfig::default();
    journal.reserve(step, &spending, usd(dollars), &caps, at).await.unwrap().unwrap();
}

/// A step as the agent writes it.
fn body(step: &Step) -> String {
    serde_json::to_string(step).unwrap()
}

/// The steps of a call: it is about to be made, it was not made, it has a result.
fn call() -> [Step; 3] {
    let (id, tool) = ("toolu_1".to_owned(), CalledTool::Invented("{\"called\"".into()));
    let record = CallRecord {
        number: 1,
        tool: tool.clone(),
        input_hash: None,
        error: None,
        outcome_unknown: false,
        not_run: false,
        excerpt: String::new(),
        latency: Duration::ZERO,
        detail: Default::default(),
        started: Instant::now(),
        reached: false,
        policy: vec![],
    };
    let called = Called { id: id.clone(), record, content: vec![], hints: vec![] };
    [Step::Calling { id: id.clone(), tool }, Step::NotCalled { id }, Step::Called(called)]
}

#[tokio::test]
async fn the_books_are_those_of_the_day_the_month_and_each_persona() {
    let journal = Journal::in_memory().await.unwrap();
    let empty = journal.books(NOON).await.unwrap();
    assert_eq!((empty.day, empty.month), (Usd::ZERO, Usd::ZERO));
    assert!(empty.personas.is_empty() && empty.unfinished.is_empty());
    // An id may be the scope of all personas together.
    let (anna, fleet) =
        (begin(&journal, "anna", "s", NOON).await, begin(&journal, "fleet", "s", NOON).await);
    book(&journal, "anna", (anna, 0, "1"), 0.5, NOON).await;
    let spending = Spending::of(&persona("anna").user_id, NOON);
    journal.settle((anna, 1, "2"), 0, &spending, (usd(0.5), usd(0.2)), NOON).await.unwrap();
    book(&journal, "anna", (anna, 2, "3"), 0.1, NOON).await;
    book(&journal, "fleet", (fleet, 0, "1"), 1.0, NOON).await;
    book(&journal, "anna", (anna, 3, "4"), 2.0, NOON - DAY).await;
    book(&journal, "anna", (anna, 4, "5"), 4.0, NOON - 40 * DAY).await;

    let books = journal.books(NOON).await.unwrap();
    assert_eq!((books.day, books.month), (usd(1.3), usd(3.3)), "settled and reserved");
    let of = |name: &str| books.personas.get(name).copied();
    assert_eq!(
        (of("anna"), of("fleet"), books.personas.len()),
        (Some(usd(0.3)), Some(usd(1.0)), 2)
    );
    assert_eq!(books.unfinished[&anna.to_string()].booked, usd(6.3), "on all days");
    assert_eq!(books.unfinished[&fleet.to_string()].persona, "fleet");
    let later = journal.books(NOON + DAY).await.unwrap();
    assert_eq!((later.day, later.month, later.personas.len()), (Usd::ZERO, usd(3.3), 0));
}

#[tokio::test]
async fn the_books_say_of_unfinished_runs_what_the_last_step_is_and_whether_a_call_has_a_result() {
    let journal = Journal::in_memory().await.unwrap();
    let asking = body(&Step::Asking { reserved: usd(0.25) });
    let [calling, not_called, called] = call().map(|step| body(&step));
    for (name, steps, has_called) in [
        ("none", vec![], false),
        ("asking", vec![&asking], false),
        // The server was away: the run has called nothing.
        ("away", vec![&asking, &calling, &not_called, &asking], false),
        ("called", vec![&asking, &calling, &called, &asking], true),
    ] {
        let run = begin(&journal, name, "s", NOON).await;
        for (number, body) in (0..).zip(&steps) {
            journal.append_step(run, number, body, NOON).await.unwrap();
        }
        let books = journal.books(NOON).await.unwrap();
        let books = &books.unfinished[&run.to_string()];
        assert_eq!(books.has_called, has_called, "{name}");
        assert_eq!(books.last_step, steps.last().map(|it| it.as_str()).unwrap_or_default());
    }
    let long = begin(&journal, "long", "s", NOON).await;
    journal
        .append_step(long, 0, &format!("{{\"told\":\"{}\"}}", "x".repeat(5_000_000)), NOON)
        .await
        .unwrap();
    assert_eq!(
        journal.books(NOON).await.unwrap().unfinished[&long.to_string()].last_step.len(),
        200
    );
    for (state, is_unfinished) in
        [(RunState::RatingOwed, true), (RunState::Finished, false), (RunState::Failed, false)]
    {
        let run = begin(&journal, "ended", "s", NOON).await;
        journal.end_run(run, &ended(state), &[], NOON).await.unwrap();
        let books = journal.books(NOON).await.unwrap();
        assert_eq!(books.unfinished.contains_key(&run.to_string()), is_unfinished, "{state:?}");
    }
}

#[tokio::test]
async fn the_latest_costs_are_those_of_ended_runs_that_reached_the_model() {
    let journal = Journal::in_memory().await.unwrap();
    let run = async |name: &str, hour: u32, dollars: f64, outcome, state| {
        let at = NOON + hour * Duration::from_secs(3_600);
        let run = begin(&journal, name, "s", at).await;
        if dollars > 0.0 {
            book(&journal, name, (run, 0, "1"), dollars, at).await;
        }
        if state != RunState::Running {
            let end = EndedRun { outcome, ..ended(state) };
            journal.end_run(run, &end, &[], at).await.unwrap();
        }
    };
    for hour in 0..25 {
        run("anna", hour, f64::from(hour + 1), Outcome::Done, RunState::Finished).await;
    }
    for outcome in [Outcome::Login, Outcome::Space, Outcome::Session, Outcome::Cost] {
        run("ben", 1, 0.0, outcome, RunState::Failed).await;
    }
    for (hour, state) in [(2, RunState::Running), (3, RunState::RatingOwed)] {
        run("ben", hour, 9.0, Outcome::Stopped, state).await;
    }
    // Prices of a model may be zero, and a run that has paid counts whatever it came to.
    run("carla", 1, 0.0, Outcome::Done, RunState::Finished).await;
    run("carla", 2, 3.0, Outcome::Session, RunState::Failed).await;

    let mut costs = journal.latest_costs(20).await.unwrap();
    let newest_first: Vec<_> = (6..=25).rev().map(|cost| usd(f64::from(cost))).collect();
    assert_eq!(costs.remove("anna"), Some(newest_first));
    assert_eq!(costs.remove("carla"), Some(vec![usd(3.0), Usd::ZERO]));
    assert!(costs.is_empty(), "{costs:?}");
}

#[tokio::test]
async fn a_halt_lasts_until_its_end_and_is_of_one_kind() {
    let journal = Journal::in_memory().await.unwrap();
    let halted = async || {
        let of = async |kind| journal.is_halted(kind).await.unwrap();
        (of(HaltKind::ModelStopped).await, of(HaltKind::Paused).await)
    };
    assert_eq!(halted().await, (false, false));
    journal.begin_halt(HaltKind::ModelStopped, NOON).await.unwrap();
    assert_eq!(halted().await, (true, false));
    journal.end_halt(HaltKind::Paused, NOON + DAY).await.unwrap();
    assert_eq!(halted().await, (true, false));
    journal.end_halt(HaltKind::ModelStopped, NOON + DAY).await.unwrap();
    assert_eq!(halted().await, (false, false));
    journal.begin_halt(HaltKind::ModelStopped, NOON + 2 * DAY).await.unwrap();
    assert_eq!(halted().await, (true, false));
}
