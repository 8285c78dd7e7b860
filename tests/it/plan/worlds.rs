//! Random worlds: whatever happened before, no tick costs more than the plan before it says.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use devstack::{
    chance::Chance,
    claude::{Bill, ParsedRequest, Scripted},
    fault::Fault,
    recorder::Recorded,
};
use futures_util::future::join_all;
use mana_persona_runner::{
    domain::{Cadence, Plan, Slot, Tokens, Usd},
    journal::{RunRow, RunState},
    pricing::Pricing,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::in_ledger;
use crate::{
    script::{billed, habits_list},
    support::{Setup, World, patiently},
};

/// How many worlds there are: in every other one all runs reach their caps.
const WORLDS: u64 = 200;
/// How many devstacks have these worlds, one after the other. Most of them wait most of the time.
const DEVSTACKS: u64 = 10;
/// Sums of dollars as floating-point numbers differ by less.
const ROUNDING: f64 = 1e-9;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What a plan said and what the tick after it cost.
struct Compared {
    /// Whether all runs reach their caps.
    reaches_caps: bool,
    ceiling: f64,
    cost: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tick_costs_more_than_its_plan_says_and_whoever_does_not_run_was_named() {
    let all = join_all((0..DEVSTACKS).map(worlds)).await.into_iter().flatten();
    let all: Vec<_> = all.collect();
    assert_eq!(all.len() as u64, WORLDS);
    let paid: Vec<_> = all.iter().filter(|it| it.cost > 0.0).collect();
    assert!(paid.len() as u64 > WORLDS / 2, "{} of the ticks cost something", paid.len());
    let dear = all.iter().filter(|it| it.reaches_caps).map(|it| it.ceiling / it.cost);
    let loosest = dear.fold(0.0, f64::max);
    assert!((1.0..=1.5).contains(&loosest), "{loosest}");
}

/// The worlds of one devstack.
async fn worlds(devstack: u64) -> Vec<Compared> {
    let mut setup = Setup::many(&["anna", "ben", "carla", "dan"]).short_days();
    setup.personas[3].cadence = "hourly".into();
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
    world.peers.claude.answer_with(move |request| {
        let mut chance = rule.lock().unwrap();
        if reaches_caps { Some(dear(request)) } else { any(request, &mut chance) }
    });
    world.start_again(&vars).await;
    make_due(world, personas).await;
    let mut is_up = true;
    for _ in 0..chance.between(0, 3) {
        is_up = live(world, &mut chance, is_up, reaches_caps).await;
        make_due(world, personas).await;
    }
    let plan = world.plan().await.unwrap();
    let (paid, bills) = (in_ledger(world).await, world.peers.claude.bills().len());
    let resumed = !is_up && !unfinished(world).await.is_empty();
    let is_of_today = only_of_today(world).await;
    if !is_up {
        world.start_again(&[]).await;
    }
    let at_once = chance.percent(50) && is_of_today && !reaches_caps;
    if !at_once {
        world.nothing_in_flight().await;
    }
    let recovered = in_ledger(world).await - paid;
    let (status, answer) = patiently("the tick", world.begin_tick()).await.unwrap();
    world.nothing_in_flight().await;
    let cost = in_ledger(world).await - paid;
    let context = format!("seed {seed}: {cost} of {plan:?}, {answer}");

    // The daemon may have gone on with unfinished runs before the tick.
    let ceiling = plan.ceiling.dollars();
    let cost = if is_of_today { cost } else { recovered.max(cost - recovered) };
    assert!(cost <= ceiling + ROUNDING, "{context}");
    let billed = billed_since(world, bills);
    assert!(billed <= cost + recovered + ROUNDING, "billed {billed}: {context}");
    if !resumed && status == StatusCode::OK {
        same_reasons(&plan, &answer["result"]["skippedBecause"], &context);
    }
    Compared { reaches_caps, ceiling, cost }
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
        vars.push(("PERSONA_MAX_COST_USD", format!("0.0{}", chance.between(22, 30))));
    }
    vars.push(("PERSONA_MAX_TURNS", if reaches_caps { "15" } else { "3" }.into()));
    let model = if chance.percent(70) { "claude-haiku-5-5" } else { "claude-sonnet-5-5" };
    vars.push(("ANTHROPIC_MODEL", if reaches_caps { String::new() } else { model.into() }));
    vars.push(("PERSONA_CONCURRENCY", chance.between(1, 5).to_string()));
    vars.push(("RUN_BACKOFF_MS", (chance.between(1, 30) * 60_000).to_string()));
    (vars, chance.between(1, if reaches_caps { 3 } else { 5 }) as usize)
}

/// Makes the first personas due, and no others.
async fn make_due(world: &World, personas: usize) {
    for (index, user) in world.users.iter().enumerate() {
        let active = (index >= personas).then(|| world.clock.now() + 400 * DAY);
        world.peers.auth.set_last_active_at(user, active).await;
    }
}

/// A tick of the past: an ordinary one, or one in which the daemon is killed or stopped while requests hang. Then time
/// passes. Returns whether the daemon is up.
async fn live(world: &mut World, chance: &mut Chance, is_up: bool, reaches_caps: bool) -> bool {
    if !is_up {
        world.start_again(&[]).await;
        world.nothing_in_flight().await;
    }
    let kind = chance.between(0, 3);
    let messages = if reaches_caps { 1 } else { 1 + 2 * chance.between(0, 3) as usize };
    let mut tick = world.begin_tick();
    if kind > 0 {
        let hanging = Arc::new(Notify::new());
        let hangs = {
            let hanging = hanging.clone();
            move |r: &Recorded| {
                let hangs = r.json()["messages"].as_array().is_some_and(|it| it.len() >= messages);
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
            world.kill().await;
        } else {
            world.stop().await;
        }
        world.peers.claude.served.faults.clear();
    } else {
        patiently("the tick", tick).await.unwrap();
    }
    let passes = [MINUTE / 2, 10 * MINUTE, 50 * MINUTE, 6 * HOUR];
    let pass = passes[chance.between(0, passes.len() as u64) as usize];
    world.advance(match reaches_caps {
        // An unfinished run that is too old is closed, and holds its persona back.
        true if kind > 0 => MINUTE / 2,
        false if chance.percent(40) => pass,
        _ => DAY,
    });
    kind == 0
}

/// The unfinished runs.
async fn unfinished(world: &World) -> Vec<RunRow> {
    let journal = world.journal().await;
    let mut runs = journal.runs_in(RunState::Running).await.unwrap();
    runs.extend(journal.runs_in(RunState::RatingOwed).await.unwrap());
    journal.close().await;
    runs
}

/// Whether all unfinished runs are of a slot of now. Who has an older one may run once more in the tick, after the
/// daemon has gone on with the older one before the tick.
async fn only_of_today(world: &World) -> bool {
    let now = [Cadence::Daily, Cadence::Hourly].map(|cadence| Slot::of(cadence, world.clock.now()));
    unfinished(world).await.iter().all(|run| now.contains(&run.slot))
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

/// Any reply: a dear one, a cheap one, one that cannot be read and so counts as lost, a refusal.
fn any(request: &ParsedRequest, chance: &mut Chance) -> Option<Scripted> {
    let lost = Scripted::Raw { status: 200, headers: vec![], body: "{}".into() };
    let refused =
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}});
    let refused = Scripted::Raw { status: 400, headers: vec![], body: refused.to_string() };
    match chance.between(0, 100) {
        0..30 => Some(dear(request)),
        30..40 => Some(lost),
        40..43 => Some(refused),
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
