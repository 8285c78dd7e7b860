//! What is reserved is settled, whatever becomes of whom it was for.

use std::task::Poll;

use serde_json::json;

use super::*;
use crate::{
    agent::{conversation::Limits, day_end::DayEnd, replay::Replay},
    clients::claude::Reply,
    clock::Clock,
    config::BudgetConfig,
    domain::UserId,
    journal::{Cap, Journal},
};

const DAY: Duration = Duration::from_secs(86_400);
const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

/// Of an ordinary request.
fn price(dollars: f64) -> Price {
    Price { most: usd(dollars), spare: Usd::ZERO, ordinary: usd(dollars) }
}

async fn anna(journal: &Journal, clock: &Clock, config: BudgetConfig) -> RunJournal {
    of(RunId::new(), journal, clock, config).await
}

async fn of(id: RunId, journal: &Journal, clock: &Clock, config: BudgetConfig) -> RunJournal {
    let (fleet, ..) = Fleet::of_test(journal, clock, config).await;
    RunJournal {
        id,
        persona: Persona::known_by_id(UserId::parse("anna").unwrap()),
        fleet,
        pause: CancellationToken::new(),
        give_up_at: Instant::now() + DAY,
        redactor: Redactor::default(),
        words: Redactor::default(),
        books: Books::new(0, Usd::ZERO, Usd::ZERO, Observer::default()),
    }
}

/// A request that comes to this.
async fn ask(run: &RunJournal, price: Price, bill: Bill<'_>) -> Result<(), NotPaid> {
    let paid = run.reserve(price).await?;
    paid.send();
    paid.settle(bill).await;
    Ok(())
}

impl RunJournal {
    /// That of a new run without caps, for tests of others.
    pub(in crate::runner) async fn of_test(id: RunId, journal: &Journal, clock: &Clock) -> Self {
        let config = BudgetConfig { daily: None, monthly: None, persona_daily: None };
        of(id, journal, clock, config).await
    }
}

/// Writes until nothing more fits, however small.
async fn fill(journal: &Journal) {
    journal.limit_pages(1).await.unwrap();
    let mut number = 0;
    for bytes in [100_000, 3_000, 300, 1] {
        let run = RunId::new();
        while journal.append_step(run, number, &"x".repeat(bytes), NOON).await.is_ok() {
            number += 1;
        }
    }
}

#[tokio::test]
async fn a_reservation_tried_again_after_midnight_stays_on_the_accounts_of_its_first_attempt() {
    let journal = Journal::in_memory().await.unwrap();
    let clock = Clock::manual(NOON);
    let config = BudgetConfig { daily: Some(usd(5.0)), monthly: None, persona_daily: None };
    let run = anna(&journal, &clock, config).await;
    fill(&journal).await;
    // Something that takes no room: the trouble until now is over, and the next is told apart.
    journal.open_day(run.id, "", None).await.unwrap();
    assert_eq!(journal.trouble(), None);
    let meanwhile = async {
        while journal.trouble().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance(DAY);
        journal.limit_pages(1_000_000).await.unwrap();
    };
    let (paid, ()) = tokio::join!(run.reserve(price(1.0)), meanwhile);
    let paid = paid.unwrap();
    let days = async || {
        let today = journal.fleet_spending(NOON).await.unwrap().0;
        (today, journal.fleet_spending(NOON + DAY).await.unwrap().0)
    };
    assert_eq!(days().await, (usd(1.0), Usd::ZERO));
    paid.settle(Bill::Free).await;
    assert_eq!(days().await, (Usd::ZERO, Usd::ZERO));
    // A further one is the new day's.
    ask(&run, price(1.0), Bill::Lost).await.unwrap();
    assert_eq!(days().await, (Usd::ZERO, usd(1.0)));
}

#[tokio::test]
async fn only_money_that_is_gone_stops_the_others_and_not_a_request_that_is_too_dear() {
    let journal = Journal::in_memory().await.unwrap();
    let clock = Clock::manual(NOON);
    let config = BudgetConfig { daily: Some(usd(5.0)), monthly: None, persona_daily: None };
    let run = anna(&journal, &clock, config).await;
    let ask = async |most, ordinary| {
        let price = Price { ordinary: usd(ordinary), ..price(most) };
        ask(&run, price, Bill::Lost).await
    };
    let too_dear = |most| Err(NotPaid::TooDear { variable: Cap::Daily.as_str(), most: usd(most) });
    assert_eq!(ask(0.03, 0.03).await, Ok(()));
    // Larger than the whole cap, and than what is left of it.
    assert_eq!(ask(12.0, 0.4).await, too_dear(12.0));
    assert_eq!(ask(4.98, 0.4).await, too_dear(4.98));
    assert_eq!(run.fleet.budget.reached_now(Cap::Daily), None);
    for _ in 0..11 {
        assert_eq!(ask(0.4, 0.4).await, Ok(()));
    }
    assert_eq!(ask(0.6, 0.4).await, too_dear(0.6));
    assert_eq!(run.fleet.budget.reached_now(Cap::Daily), None);
    // Of what is left nobody's request can be paid for.
    assert_eq!(ask(0.2, 0.2).await, Ok(()));
    assert!(matches!(ask(0.6, 0.4).await, Err(NotPaid::Budget { .. })));
    assert!(run.fleet.budget.reached_now(Cap::Daily).is_some());
}

#[tokio::test]
async fn a_cap_that_pays_for_nobody_is_reached_at_once() {
    let journal = Journal::in_memory().await.unwrap();
    let clock = Clock::manual(NOON);
    for (daily, monthly, cap) in [(0.1, 9.0, Cap::Daily), (9.0, 0.1, Cap::Monthly)] {
        let (daily, monthly) = (Some(usd(daily)), Some(usd(monthly)));
        let config = BudgetConfig { daily, monthly, persona_daily: None };
        let run = anna(&journal, &clock, config).await;
        let price = Price { ordinary: usd(0.4), ..price(12.0) };
        let refused = ask(&run, price, Bill::Lost).await;
        assert!(matches!(refused, Err(NotPaid::Budget { .. })));
        assert!(run.fleet.budget.reached_now(cap).is_some());
    }
}

#[tokio::test]
async fn what_the_ledger_holds_of_a_run_never_exceeds_its_cap_and_the_spare_is_left_alone() {
    let journal = Journal::in_memory().await.unwrap();
    let clock = Clock::manual(NOON);
    let none = BudgetConfig { daily: None, monthly: None, persona_daily: None };
    let run = anna(&journal, &clock, none).await;
    let with_spare = |most, spare| Price { spare: usd(spare), ..price(most) };
    let too_dear = |most| Err(NotPaid::TooDear { variable: PERSONA_MAX_COST_USD, most: usd(most) });
    let free = async |price| ask(&run, price, Bill::Free).await;
    assert_eq!(free(price(100.5)).await, too_dear(100.5));
    assert_eq!(free(with_spare(99.0, 2.0)).await, too_dear(99.0));
    assert_eq!(ask(&run, with_spare(98.0, 2.0), Bill::Lost).await, Ok(()));
    assert_eq!(run.left(), usd(2.0));
    assert_eq!(free(price(2.5)).await, too_dear(2.5), "a lost answer may have been billed");
    assert_eq!(free(price(2.0)).await, Ok(()));
    assert_eq!(run.left(), usd(2.0));
}

/// Drops what is left of `work` when it has waited for the n-th time.
async fn dropped_at(n: usize, work: impl Future) -> bool {
    let (mut waits, mut work) = (0, std::pin::pin!(work));
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(false),
        Poll::Pending => {
            waits += 1;
            if waits == n { Poll::Ready(true) } else { Poll::Pending }
        }
    })
    .await
}

/// What the journal says of the run: answers lost, and whether a request is under way still.
async fn replayed(journal: &Journal, run: &RunJournal) -> (u32, bool, Usd) {
    let steps = journal.steps(run.id).await.unwrap();
    let steps = steps.iter().map(|step| serde_json::from_str::<Step>(&step.body).unwrap());
    let steps = steps.map(|step| (Instant::now(), step));
    let replay = Replay::of(steps, Limits::NONE);
    (replay.losses, replay.lost_an_answer, replay.lost)
}

#[tokio::test]
async fn a_reservation_that_is_dropped_on_the_way_leaves_nothing_reserved_and_no_lost_answer() {
    let clock = Clock::manual(NOON);
    let config = BudgetConfig { daily: Some(usd(5.0)), monthly: None, persona_daily: None };
    let ended = Step::DayEnded(DayEnd::default());
    let mut drops = 0;
    // How often a reservation waits depends on the threads: on a fast machine, in one of fifty rounds.
    for (round, n) in (1..=4).cycle().enumerate().take(2_000) {
        if round >= 40 && drops > 0 {
            break;
        }
        // Settled before the next step, or with the hand-in.
        for has_step in [true, false] {
            let journal = Journal::in_memory().await.unwrap();
            let run = anna(&journal, &clock, config).await;
            // Whoever has it drops it before the request is sent.
            let reservation = async { run.reserve(price(1.0)).await.map(drop) };
            drops += usize::from(dropped_at(n, reservation).await);
            assert!(run.books.asking.try_lock().is_ok(), "a pause need not wait for it");
            if has_step {
                run.note(&ended).await;
            } else {
                run.flush().await.unwrap();
            }
            let what = format!("dropped at {n}, has a step: {has_step}");
            assert_eq!(replayed(&journal, &run).await, (0, false, Usd::ZERO), "{what}");
            assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, Usd::ZERO, "{what}");
            assert_eq!((run.left(), run.lost()), (usd(100.0), Usd::ZERO), "{what}");
            assert!(!run.has_paid(), "{what}");
            assert!(
                run.fleet.budget.reserving().make_way().is_none(),
                "{what}: nobody waits for it"
            );
            if has_step {
                let last = journal.steps(run.id).await.unwrap().pop().unwrap();
                assert_eq!(last.body, encode(&ended), "{what}");
            }
            assert_eq!(ask(&run, price(5.0), Bill::Lost).await, Ok(()), "{what}");
        }
    }
    assert!(drops > 0, "no reservation waited");
}

#[tokio::test]
async fn a_request_that_is_dropped_after_it_was_sent_counts_as_lost() {
    let clock = Clock::manual(NOON);
    let journal = Journal::in_memory().await.unwrap();
    let none = BudgetConfig { daily: None, monthly: None, persona_daily: None };
    let run = anna(&journal, &clock, none).await;
    run.reserve(price(1.0)).await.unwrap().send();
    run.flush().await.unwrap();
    assert_eq!(replayed(&journal, &run).await, (0, false, usd(1.0)), "this process knows");
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, usd(1.0));
    assert!(run.has_paid());
    // The next is another one.
    drop(run.reserve(price(1.0)).await.unwrap());
    run.flush().await.unwrap();
    assert_eq!(run.lost(), usd(1.0));
}

#[tokio::test]
async fn a_reservation_that_could_not_be_written_leaves_nothing_behind() {
    let clock = Clock::manual(NOON);
    let journal = Journal::in_memory().await.unwrap();
    let none = BudgetConfig { daily: None, monthly: None, persona_daily: None };
    let mut run = anna(&journal, &clock, none).await;
    run.give_up_at = Instant::now();
    fill(&journal).await;
    let refused = ask(&run, price(1.0), Bill::Lost).await;
    assert!(matches!(refused, Err(NotPaid::Unrecorded { .. })), "{refused:?}");
    journal.limit_pages(1_000_000).await.unwrap();
    run.note(&Step::DayEnded(DayEnd::default())).await;
    assert_eq!(replayed(&journal, &run).await, (0, false, Usd::ZERO));
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, Usd::ZERO);
    assert!(run.fleet.budget.reserving().make_way().is_none());
}

/// A reply that cost a cent and calls no tool.
fn reply() -> Reply {
    let reply = json!({
        "content": [{"type": "text", "text": "Einen Moment."}],
        "stop_reason": "pause_turn",
        "refusal": null,
        "usage": {"input": 1, "output": 1, "cache_read": 0, "cache_write_5m": 0, "cache_write_1h": 0},
        "cost": {"input": 0, "output": 10_000_000_000_u64, "cache_read": 0, "cache_write": 0},
    });
    serde_json::from_str(&reply.to_string()).unwrap()
}

#[tokio::test]
async fn a_reply_is_written_with_the_step_that_follows_and_before_the_next_request_waits() {
    let clock = Clock::manual(NOON);
    let journal = Journal::in_memory().await.unwrap();
    let none = BudgetConfig { daily: None, monthly: None, persona_daily: None };
    let run = anna(&journal, &clock, none).await;
    let steps = async || journal.steps(run.id).await.unwrap().len();
    let cost = reply().cost.total();
    ask(&run, price(1.0), Bill::Replied(&reply())).await.unwrap();
    assert_eq!(steps().await, 1, "the step that follows is expected at once");
    run.note(&Step::SessionsEnded).await;
    assert_eq!(steps().await, 3);
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, cost);
    // Another request follows instead of a step.
    ask(&run, price(1.0), Bill::Replied(&reply())).await.unwrap();
    run.write_reply().await;
    assert_eq!(steps().await, 5);
    assert_eq!(journal.fleet_spending(NOON).await.unwrap().0, cost + cost);
    assert_eq!(replayed(&journal, &run).await, (0, false, Usd::ZERO));
    // A step without money waits for the request that it belongs to.
    run.defer(&Step::SessionsEnded).await;
    run.write_reply().await;
    assert_eq!(steps().await, 5);
    ask(&run, price(1.0), Bill::Free).await.unwrap();
    assert_eq!(steps().await, 8);
}

#[tokio::test]
async fn what_a_run_has_observed_is_what_its_stored_steps_say() {
    const SECRET: &str = "hunter2hunter2";
    let journal = Journal::in_memory().await.unwrap();
    // The clock is more precise than the journal.
    let clock = Clock::manual(NOON + Duration::from_nanos(1_999_999));
    let caps = BudgetConfig { daily: None, monthly: None, persona_daily: None };
    let run = RunJournal { words: Redactor::new([SECRET]), ..anna(&journal, &clock, caps).await };
    let step = |json: serde_json::Value| serde_json::from_str::<Step>(&json.to_string()).unwrap();
    let reply = |content: serde_json::Value, reason: &str| {
        let reply = json!({"content": content, "stop_reason": reason, "refusal": null,
            "usage": crate::domain::Tokens::default(), "cost": crate::domain::Cost::default()});
        serde_json::from_str::<Reply>(&reply.to_string()).unwrap()
    };
    let input = json!({"password": SECRET});
    let calls = json!([{"type": "tool_use", "id": "a", "name": "x", "input": input}]);
    let tool = json!({"listed": "todo.list"});
    let record = json!({"number": 1, "tool": tool, "input_hash": null, "error": "weg",
        "outcome_unknown": false, "excerpt": "", "latency": {"secs": 2, "nanos": 5}});
    run.intend(&step(json!({"opened": {"opening": "", "catalog": ""}}))).await.unwrap();
    ask(&run, price(0.01), Bill::Replied(&reply(calls, "tool_use"))).await.unwrap();
    clock.advance(Duration::from_millis(7));
    run.intend(&step(json!({"calling": {"id": "a", "tool": tool}}))).await.unwrap();
    let called = json!({"id": "a", "content": [], "hints": [], "record": record});
    run.note(&step(json!({"called": called}))).await;
    run.defer(&step(json!({"told": {"reminder": null, "as_system": true}}))).await;
    let words = json!([{"type": "text", "text": format!("Mein Passwort {SECRET} geht nicht.")}]);
    ask(&run, price(0.01), Bill::Replied(&reply(words, "end_turn"))).await.unwrap();
    run.note(&Step::DayEnded(DayEnd::default())).await;
    run.flush().await.unwrap();
    let mut observer = Observer::default();
    for stored in journal.steps(run.id).await.unwrap() {
        observer.take(&serde_json::from_str(&stored.body).unwrap(), stored.at);
    }
    let observed = run.observed();
    assert_eq!(observed, observer.observed());
    assert!(observed.calls[0].words.contains("geht nicht"), "{observed:?}");
    assert!(!format!("{observed:?}").contains(SECRET));
}
