//! Random worlds: whatever happened before, no tick costs more than the plan before it says.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use devstack::{
    chance::Chance,
    claude::{Bill, ParsedRequest, Scripted},
    fault::Fault,
    recorder::Recorded,
};
use futures_util::future::join_all;
use jiff::{Timestamp, tz::TimeZone};
use mana_persona_runner::{
    domain::{Plan, Slot, Tokens, Usd, WhyNotRun},
    journal::{RunRow, RunState},
    pricing::Pricing,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::in_ledger;
use crate::{
    script::{billed, habits_list},
    support::{Setup, World, in_journal, patiently},
};

/// How many worlds there are: in every other one all runs reach their caps.
const WORLDS: u64 = 200;
/// How many devstacks have these worlds, one after the other. Most of them wait most of the time.
const DEVSTACKS: u64 = 10;
/// Sums of dollars as floating-point numbers differ by less.
const ROUNDING: f64 = 1e-9;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What a plan said and what the daemon paid since, unfinished runs that it went on with before the tick included.
struct Compared {
    /// Whether all runs reach their caps, and all that the ceiling counts have been carried out.
    is_full: bool,
    /// Whether a run of an earlier slot was unfinished.
    has_older: bool,
    ceiling: f64,
    /// What the limit of a run leaves to unfinished runs.
    left: f64,
    cost: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tick_costs_more_than_its_plan_says_and_whoever_does_not_run_was_named() {
    let all = join_all((0..DEVSTACKS).map(worlds)).await.into_iter().flatten();
    let all: Vec<_> = all.collect();
    assert_eq!(all.len() as u64, WORLDS);
    let number = |is_so: fn(&Compared) -> bool| all.iter().filter(|it| is_so(it)).count() as u64;
    let [paid, older, full] =
        [number(|it| it.cost > 0.0), number(|it| it.has_older), number(|it| it.is_full)];
    assert!(
        paid > WORLDS / 2 && older > WORLDS / 20 && full > WORLDS / 10,
        "{paid}, {older}, {full}"
    );
    // What an unfinished run has left is no part of this rule: it may be less than the next request costs, and an owed
    // rating is cheap.
    let ratios = all.iter().filter(|it| it.is_full).map(|it| (it.ceiling - it.left) / it.cost);
    let loosest = ratios.fold(0.0, f64::max);
    assert!((1.0..=1.5).contains(&loosest), "{loosest}");
}

/// The worlds of one devstack.
async fn worlds(devstack: u64) -> Vec<Compared> {
    let mut setup = Setup::many(&["anna", "ben", "carla", "dan"]).short_days();
    setup.personas[1].cadence = "hourly".into();
    let mut world = setup.peers(|peers| peers.claude.keeps_requests = false).start().await;
    let mut compared = Vec::new();
    for seed in (0..WORLDS).filter(|seed| seed % DEVSTACKS == devstack) {
        world.stop().await;
        fs::remove_dir_all(world.peers.data_folder()).unwrap();
        // Nothing is in the prompt cache any longer, and no rate limit is left.
        world.advance(2 * DAY);
        compared.push(compare(&mut world, seed).await);
    }
    compared
}

/// Gives the world without a journal a past, plans a tick, carries it out, and compares.
async fn compare(world: &mut World, seed: u64) -> Compared {
    let (mut chance, reaches_caps) = (Chance::new(seed, 0), (seed / DEVSTACKS).is_multiple_of(2));
    let (vars, personas) = limits(&mut chance, reaches_caps);
    let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let rule = Mutex::new(Chance::new(seed, 1));
    let fails = Arc::new(AtomicU32::new(0));
    let failing = fails.clone();
    world.peers.claude.answer_with(move |request| {
        let mut chance = rule.lock().unwrap();
        if let Some(failure) = failure(&failing) {
            Some(failure)
        } else if reaches_caps {
            Some(dear(request))
        } else {
            any(request, &mut chance)
        }
    });
    world.start_again(&vars).await;
    make_due(world, personas).await;
    let mut is_up = true;
    for _ in 0..chance.between(0, 3) {
        is_up = live(world, &mut chance, is_up).await;
        make_due(world, personas).await;
    }
    let before = Past::of(world).await;
    let plan = world.plan().await.unwrap();
    let resumed = !is_up && !before.unfinished.is_empty();
    // An unfinished run may pay once more and fail then, and its persona may run anew in the tick.
    let failures = if resumed && chance.percent(50) { 2 } else { 0 };
    fails.store(failures, Relaxed);
    // A plan is valid for ten minutes.
    let waits = [Duration::ZERO, 2 * SECOND, 8 * MINUTE][chance.between(0, 3) as usize];
    world.advance(waits);
    if !is_up {
        world.start_again(&[]).await;
    }
    if chance.percent(70) {
        world.nothing_in_flight().await;
        world.advance(2 * SECOND);
    }
    let (status, answer) = patiently("the tick", world.begin_tick()).await.unwrap();
    world.nothing_in_flight().await;
    let after = Past::of(world).await;
    let (cost, ceiling) = (after.paid - before.paid, plan.ceiling.dollars());
    let context = format!("seed {seed}: {cost} of {plan:?}, {answer}, before: {before:?}");

    let cost_of_failed = before.cost_of_failed(world).await;
    assert!(cost - cost_of_failed <= ceiling + ROUNDING, "{cost_of_failed}, {context}");
    let billed = billed_since(world, before.bills);
    assert!(billed <= cost + ROUNDING, "billed {billed}: {context}");
    if !resumed && waits.is_zero() && status == StatusCode::OK {
        same_reasons(&plan, &answer["result"]["skippedBecause"], &context);
    }
    let is_full = reaches_caps && failures == 0 && before.is_carried_out(&plan, &after);
    let max_cost = |vars: &[(&str, &str)]| {
        let value = vars.iter().rev().find(|(name, _)| *name == "PERSONA_MAX_COST_USD").unwrap();
        value.1.parse::<f64>().unwrap()
    };
    let left = before.unfinished.iter().map(|run| max_cost(&vars) - run.spent.dollars()).sum();
    Compared { is_full, has_older: !before.older.is_empty(), ceiling, left, cost }
}

#[tokio::test]
async fn a_run_that_fails_without_a_call_before_the_tick_leaves_room_for_a_whole_new_one() {
    let mut world = Setup::many(&["anna"])
        .short_days()
        .var("PERSONA_MAX_COST_USD", "0.03")
        .var("PERSONA_MAX_TURNS", "15")
        .var("RUN_BACKOFF_MS", "1000")
        .start()
        .await;
    let claude = &world.peers.claude.served;
    claude.faults.inject(1, Fault::Hang, |r: &Recorded| r.method == Method::POST);
    let _cut_off = world.begin_tick();
    patiently("the first request", claude.recorder.wait_for(1, |r| r.method == Method::POST)).await;
    world.kill().await;
    world.peers.claude.served.faults.clear();
    let fails = AtomicU32::new(2);
    world.peers.claude.answer_with(move |request| failure(&fails).or_else(|| Some(dear(request))));
    let (plan, paid) = (world.plan().await.unwrap(), in_ledger(&world).await);
    world.start_again(&[]).await;
    world.nothing_in_flight().await;
    let recovered = in_ledger(&world).await - paid;
    world.advance(2 * SECOND);
    world.tick().await;
    let cost = in_ledger(&world).await - paid - recovered;
    let left = 0.03 - world.journal().await.latest_runs(2).await.unwrap()[1].spent.dollars();
    assert!(recovered > 0.0 && cost > left, "{recovered}, {cost} and {left}");
    assert!(cost <= plan.ceiling.dollars() + ROUNDING, "{cost} of {plan:?}");
}

/// What has happened in a world so far.
#[derive(Debug)]
struct Past {
    now: Timestamp,
    paid: f64,
    /// How many requests were billed.
    bills: usize,
    /// How many runs have begun.
    begun: usize,
    unfinished: Vec<RunRow>,
    /// The labels of the personas with an unfinished run of an earlier slot.
    older: Vec<String>,
    /// How many unfinished runs have made no tool call, so that their slots are free again if they fail.
    may_fail: usize,
}

impl Past {
    async fn of(world: &World) -> Self {
        const MAY_FAIL: &str = "SELECT id FROM runs WHERE state = 'running' AND NOT EXISTS \
             (SELECT 1 FROM steps WHERE run_id = runs.id AND body LIKE '{\"calling\"%')";
        let journal = world.journal().await;
        let mut unfinished = journal.runs_in(RunState::Running).await.unwrap();
        unfinished.extend(journal.runs_in(RunState::RatingOwed).await.unwrap());
        journal.close().await;
        let now = world.clock.now();
        let is_older = |run: &&RunRow| {
            let persona = run.persona.as_ref();
            persona.is_some_and(|it| Slot::of(it.cadence, now) != run.slot)
        };
        let older = unfinished.iter().filter(is_older).filter_map(|run| run.label.clone());
        Self {
            now,
            paid: in_ledger(world).await,
            bills: world.peers.claude.bills().len(),
            begun: in_journal(world, "SELECT id FROM runs").await.len(),
            older: older.collect(),
            may_fail: in_journal(world, MAY_FAIL).await.len(),
            unfinished,
        }
    }

    /// What the unfinished runs have cost since that have failed. The daemon has gone on with them before the tick, which
    /// has begun another run of their personas, so this is no cost of the tick.
    async fn cost_of_failed(&self, world: &World) -> f64 {
        let journal = world.journal().await;
        let mut cost = 0.0;
        for before in &self.unfinished {
            let run = journal.run(before.id).await.unwrap().unwrap();
            if run.state == RunState::Failed {
                cost += run.spent.saturating_sub(before.spent).dollars();
            }
        }
        journal.close().await;
        cost
    }

    /// Whether all that the ceiling of a plan counts has been carried out: each persona that would run has run, and so
    /// has each one whose unfinished run was of an earlier slot. That cannot be so if an unfinished run may go on or
    /// fail, if it is closed for free, or if the ceiling counts holds and slots that end within ten minutes.
    fn is_carried_out(&self, plan: &Plan, after: &Self) -> bool {
        let of = |why| plan.due.iter().filter(move |it| it.why_not == why);
        let again = of(Some(WhyNotRun::Unfinished)).filter(|it| self.older.contains(&it.label));
        let is_held = of(Some(WhyNotRun::HeldBack)).count() > 0;
        let renews = self.now.to_zoned(TimeZone::UTC).minute() >= 45;
        let may_differ = self.may_fail > 0 || plan.closed > 0 || is_held || renews;
        !may_differ
            && after.paid > self.paid
            && after.begun - self.begun == of(None).count() + again.count()
    }
}

/// Random limits, and the number of personas that are due.
fn limits(chance: &mut Chance, reaches_caps: bool) -> (Vec<(&'static str, String)>, usize) {
    let mut vars = Vec::new();
    let mut dollars = |name, percent, low, high| {
        let value = (chance.between(low, high) as f64 / 1_000.0).to_string();
        let is_set = !reaches_caps && chance.percent(percent);
        vars.push((name, if is_set { value } else { String::new() }));
    };
    dollars("PERSONA_MAX_COST_USD", 100, 4, 60);
    dollars("PERSONA_DAILY_USD", 30, 2, 60);
    dollars("BUDGET_DAILY_USD", 30, 5, 120);
    dollars("BUDGET_MONTHLY_USD", 20, 5, 200);
    if reaches_caps {
        vars.push(("PERSONA_MAX_COST_USD", format!("0.0{}", chance.between(22, 60))));
    }
    vars.push(("PERSONA_MAX_TURNS", if reaches_caps { "15" } else { "3" }.into()));
    let model = if chance.percent(70) { "claude-haiku-5-5" } else { "claude-sonnet-5-5" };
    vars.push(("ANTHROPIC_MODEL", if reaches_caps { String::new() } else { model.into() }));
    vars.push(("PERSONA_CONCURRENCY", chance.between(1, 5).to_string()));
    let seconds = if chance.percent(70) { 1 } else { 60 * chance.between(1, 30) };
    vars.push(("RUN_BACKOFF_MS", (1_000 * seconds).to_string()));
    // A killed run may be of another day.
    let hours = if chance.percent(50) { 1 } else { 48 };
    vars.push(("JOURNAL_RESUME_MAX_AGE_MS", (3_600_000_u64 * hours).to_string()));
    (vars, chance.between(1, if reaches_caps { 3 } else { 5 }) as usize)
}

/// Makes the first personas due, and no others.
async fn make_due(world: &World, personas: usize) {
    for (index, user) in world.users.iter().enumerate() {
        let active = (index >= personas).then(|| world.clock.now() + 400 * DAY);
        world.peers.auth.set_last_active_at(user, active).await;
    }
}

/// A tick of the past: an ordinary one, or one in which the daemon is stopped or killed while requests hang, also twice
/// in the same request. Then time passes. Returns whether the daemon is up.
async fn live(world: &mut World, chance: &mut Chance, is_up: bool) -> bool {
    if !is_up {
        world.start_again(&[]).await;
        world.nothing_in_flight().await;
    }
    let (kind, at_rating) = (chance.between(0, 4), chance.percent(25));
    let messages = 1 + 2 * chance.between(0, 3) as usize;
    let mut tick = world.begin_tick();
    if kind > 0 {
        let hanging = Arc::new(Notify::new());
        let hangs = {
            let hanging = hanging.clone();
            move |r: &Recorded| {
                let request = r.json();
                let length = request["messages"].as_array().map_or(0, Vec::len);
                let is_rating = request["tools"].as_array().is_none_or(Vec::is_empty);
                let hangs = if at_rating { is_rating } else { length >= messages };
                hangs.then(|| hanging.notify_one());
                hangs
            }
        };
        world.peers.claude.served.faults.inject(usize::MAX, Fault::Hang, hangs);
        patiently("the end of the tick, or a request that hangs", async {
            tokio::select! {
                _ = &mut tick => {}
                () = hanging.notified() => {}
            }
        })
        .await;
        if kind == 1 {
            world.stop().await;
        } else {
            world.kill().await;
        }
        if kind == 3 {
            world.start_again(&[]).await;
            tokio::select! {
                () = world.nothing_in_flight() => {}
                () = hanging.notified() => {}
            }
            world.kill().await;
        }
        world.peers.claude.served.faults.clear();
    } else {
        patiently("the tick", tick).await.unwrap();
    }
    let passes = [MINUTE / 2, 10 * MINUTE, 50 * MINUTE, 6 * HOUR, DAY, DAY];
    world.advance(passes[chance.between(0, passes.len() as u64) as usize]);
    kind == 0
}

/// A reply that costs all that was reserved for it, so that each run reaches its cap.
fn dear(request: &ParsedRequest) -> Scripted {
    let usage = format!(r#"{{"input_tokens":1000,"output_tokens":{}}}"#, request.max_tokens);
    if request.is_rating() {
        let ratings =
            json!({"ratings": [{"module": "habits", "notes": "gut", "calls": [], "rating": 4}]});
        let content = json!([{"type": "text", "text": ratings.to_string()}]);
        return billed(&content.to_string(), "end_turn", &usage, &request.model);
    }
    let call = json!([{
        "type": "tool_use", "id": format!("toolu_{}", request.turn()), "name": "habits_list", "input": {},
    }]);
    billed(&call.to_string(), "tool_use", &usage, &request.model)
}

/// A reply that cannot be read, and so counts as lost.
fn lost() -> Scripted {
    Scripted::Raw { status: 200, headers: vec![], body: "{}".into() }
}

/// A refusal, after which a run fails.
fn refused() -> Scripted {
    let error =
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}});
    Scripted::Raw { status: 400, headers: vec![], body: error.to_string() }
}

/// A lost reply and then a refusal, if two replies are still to fail.
fn failure(left: &AtomicU32) -> Option<Scripted> {
    let before = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).ok()?;
    Some(if before == 2 { lost() } else { refused() })
}

/// Any reply: a dear one, a cheap one, one that cannot be read and so counts as lost, a refusal.
fn any(request: &ParsedRequest, chance: &mut Chance) -> Option<Scripted> {
    match chance.between(0, 100) {
        0..30 => Some(dear(request)),
        30..40 => Some(lost()),
        40..43 => Some(refused()),
        _ if request.is_rating() => None,
        43..70 => Some(Scripted::tools(&[habits_list()])),
        _ => Some(Scripted::text("Bis morgen!")),
    }
}

/// What devstack's Claude has billed since its bill with this number.
fn billed_since(world: &World, bills: usize) -> f64 {
    let cost = |bill: &Bill| {
        let tokens = Tokens {
            input: bill.input.uncached,
            cache_read: bill.input.read,
            cache_write_5m: bill.input.written - bill.written_for_an_hour,
            cache_write_1h: bill.written_for_an_hour,
            output: bill.output,
        };
        Pricing::load(None, &bill.model).unwrap().cost(&tokens).total()
    };
    world.peers.claude.bills()[bills..].iter().map(cost).sum::<Usd>().dollars()
}

/// Whoever does not run was named, for the same reason. Only a cap may be met during the tick.
fn same_reasons(plan: &Plan, skipped: &Value, context: &str) {
    let planned: BTreeMap<_, _> =
        plan.not_run().into_iter().map(|(why, n)| (why.to_owned(), n)).collect();
    let skipped: BTreeMap<String, usize> = serde_json::from_value(skipped.clone()).unwrap();
    let of =
        |counts: &BTreeMap<String, usize>, why: &str| counts.get(why).copied().unwrap_or_default();
    for why in planned.keys().chain(skipped.keys()) {
        let (planned, skipped) = (of(&planned, why), of(&skipped, why));
        match why.as_str() {
            "budget" | "persona-budget" => assert!(planned <= skipped, "{why}: {context}"),
            _ => assert_eq!(planned, skipped, "{why}: {context}"),
        }
    }
}
