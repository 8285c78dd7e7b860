//! The facts of a run are what its steps say, whatever happens to the process, and outlive them.

use std::{collections::BTreeMap, time::Duration};

use devstack::{
    claude::Scripted,
    fault::Fault,
    mcp::{Behaviour, PlantedFault, Shows},
    recorder::Recorded,
};
use mana_persona_runner::{
    agent::observed,
    domain::{Cause, Outcome, RunState, UnratedWhy},
    facts::{RunFacts, extract},
    journal::{Journal, RunRow},
};
use serde_json::{Value, json};

use crate::{
    process::daemon::{Finished, finish},
    script::{anything, calls_of, habits_list, make_due},
    support::{Setup, World, in_journal, patiently, persona},
};

const DAY: Duration = Duration::from_hours(24);

/// What a command prints about the journal of this world. The daemon may be running.
pub(crate) async fn printed(world: &World, arguments: &[&str]) -> String {
    let folder = ("RUNNER_DATA_DIR".into(), world.peers.data_folder().into());
    let Finished { code, stdout, stderr } = finish([folder], arguments).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

/// Checks that the stored facts of each ended run are those that its steps say, and returns them, oldest run first.
pub(crate) async fn facts_as_the_steps_say(journal: &Journal) -> Vec<(RunRow, RunFacts)> {
    let mut all = Vec::new();
    for run in journal.latest_runs(1_000).await.unwrap().into_iter().rev() {
        if run.state == RunState::Running {
            continue;
        }
        let steps = journal.steps(run.id).await.unwrap();
        let observed = observed::of_stored(steps.iter().map(|step| (&*step.body, step.at)));
        let shift = run.server_at.duration_since(run.started_at);
        let stored = journal.facts_of(run.id).await.unwrap().expect("facts of each ended run");
        let outcome = run.outcome.expect("what each ended run came to");
        assert_eq!(stored, extract(&observed, &run.id.to_string(), outcome, shift));
        all.push((run, stored));
    }
    all
}

async fn no_run_is_unfinished(world: &World) {
    let all_ended = async |journal: &Journal| {
        let running = journal.runs_in(RunState::Running).await.unwrap();
        let owed = journal.runs_in(RunState::RatingOwed).await.unwrap();
        running.is_empty() && owed.is_empty()
    };
    world.journal_reaches("the end of all runs", all_ended).await;
    world.nothing_in_flight().await;
}

/// The days of the test of retention.
const WINDOW: [&str; 4] = ["--from", "2026-03-09", "--to", "2026-03-13"];
const DAYS: u32 = 5;

/// Five days of three personas. `habits.create` fails for two of them each day, and sometimes for the third.
async fn five_days() -> World {
    let setup = Setup::many(&["anna", "ben", "carla"]).var("FACTS_RETENTION_DAYS", 400);
    let world = setup.var("JOURNAL_RETENTION_DAYS", 30).start().await;
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list(), habits_create(), habits_create()])),
        _ => Some(Scripted::text("Das klappt nicht.")),
    });
    let locked = Shows::Text("Habit {uuid} ({title}) is locked since {time}".into());
    let full = Shows::Coded { code: "QUOTA".into(), message: "no room for {title}".into() };
    for fault in [
        PlantedFault::new("locked", locked).befalls(["anna", "ben"].map(email)),
        PlantedFault::new("full", full).befalls([email("carla")]).sometimes(50),
    ] {
        world.peers.mcp.plant(fault.at(["habits.create"]));
    }
    for _ in 0..DAYS {
        world.good_tick().await;
        make_due(&world).await;
    }
    world
}

fn email(name: &str) -> String {
    persona(name, &[]).email
}

fn habits_create() -> (&'static str, Value) {
    ("habits_create", json!({"title": "Lesen", "frequency": "daily"}))
}

async fn frictions(world: &World) -> Value {
    let printed = printed(world, &[&["frictions", "--format", "json"][..], &WINDOW].concat()).await;
    serde_json::from_str(&printed).unwrap()
}

/// Starts the daemon again, which deletes what is too old, and waits until the query has no rows.
async fn until_gone(world: &mut World, what: &'static str, query: &'static str) {
    world.stop().await;
    world.start_again(&[]).await;
    let is_gone = async |_: &Journal| in_journal(&*world, query).await.is_empty();
    world.journal_reaches(what, is_gone).await;
}

#[tokio::test]
async fn the_numbers_are_the_same_when_steps_and_then_calls_are_deleted_each_by_its_own_clock() {
    let mut world = five_days().await;
    facts_as_the_steps_say(&world.journal().await).await;
    let asked = [
        vec!["export"],
        [&["export"][..], &WINDOW].concat(),
        [&["frictions"][..], &WINDOW].concat(),
        [&["frictions", "--format", "json"][..], &WINDOW].concat(),
    ];
    let mut before = Vec::new();
    for arguments in &asked {
        before.push(printed(&world, arguments).await);
    }
    let with_calls = frictions(&world).await;
    let locked = &with_calls["frictions"][0];
    assert_eq!(locked["personas"], json!(["persona.anna", "persona.ben"]), "{locked}");
    let numbers = ["runs", "runsExposed", "calls", "recovered"];
    let counted = numbers.map(|name| locked[name].as_u64().unwrap());
    assert_eq!(counted, [10, 15, 20, 0], "{locked}");
    assert_eq!(locked["next"]["ended"], 10, "{locked}");

    // The daemon's clock is far beyond all three limits, and mana-auth's is where it was.
    world.clock.advance(500 * DAY);
    until_gone(&mut world, "the end of the steps", "SELECT body FROM steps LIMIT 1").await;
    for (arguments, before) in asked.iter().zip(before) {
        assert_eq!(printed(&world, arguments).await, before, "{arguments:?}");
    }

    world.peers.clock.turn(91 * DAY);
    world.good_tick().await;
    let calls =
        "SELECT tool FROM calls JOIN runs ON runs.id = run_id WHERE slot < '2026-04' LIMIT 1";
    until_gone(&mut world, "the end of the calls", calls).await;
    let without_calls = frictions(&world).await;
    assert_eq!(without_calls, without(with_calls), "what needs no call stays");
    let export = printed(&world, &[&["export"][..], &WINDOW].concat()).await;
    let kinds = kinds(&export);
    assert_eq!((kinds.get("run"), kinds.get("call")), (Some(&15), None), "{kinds:?}");
    assert_eq!((kinds["tool"], kinds["module"]), (30, 15), "{kinds:?}");
    let file = world.peers.data_folder().join("facts.jsonl");
    std::fs::write(&file, export).unwrap();
    let of_file =
        [&["frictions", "--format", "json", "--facts", file.to_str().unwrap()], &WINDOW[..]];
    let of_file: Value = serde_json::from_str(&printed(&world, &of_file.concat()).await).unwrap();
    assert_eq!(of_file, without_calls);

    world.peers.clock.turn(310 * DAY);
    world.good_tick().await;
    let runs = "SELECT id FROM runs WHERE slot < '2026-04' AND facts > 0 LIMIT 1";
    until_gone(&mut world, "the end of the facts", runs).await;
    assert_eq!(frictions(&world).await["frictions"], json!([]));
    let rows = "SELECT id FROM runs WHERE slot < '2026-04'";
    assert_eq!(in_journal(&world, rows).await.len(), 15, "the rows of the runs stay");
}

/// These frictions as they are when no single call is known any more.
fn without(mut frictions: Value) -> Value {
    for friction in frictions["frictions"].as_array_mut().unwrap() {
        friction["next"] = json!({});
        // All quotes are the notes of ratings.
        friction["quote"]["call"] = Value::Null;
        friction["lastSeen"]["call"] = Value::Null;
    }
    frictions
}

/// How many lines of each kind an export has.
fn kinds(export: &str) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for line in export.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        *kinds.entry(line["kind"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    kinds
}

/// When the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    Never,
    /// While the model answers with these messages before.
    Answer(usize),
    /// During the call of `habits.review`.
    Call,
    Rating,
}

/// The only run of a day with a success, a failure, another tool and a rating, in which the daemon was killed, and
/// the run's facts without what differs between two runs of the same script.
async fn facts_of_a_day(kill: Kill) -> RunFacts {
    let mut world = Setup::one(&["habits"]).start().await;
    world.peers.mcp.add_tool("habits.review", "", anything());
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list()])),
        1 => Some(Scripted::tools(&[habits_create(), ("habits_review", json!({}))])),
        2 => Some(crate::script::raw(
            r#"[{"type":"text","text":"Schade, nochmal."},
               {"type":"tool_use","id":"toolu_again","name":"habits_create","input":{"title":"A","frequency":"daily"}}]"#,
            Some("tool_use"),
        )),
        _ => Some(Scripted::text("Bis morgen!")),
    });
    let locked = Shows::Text("Habit {uuid} is locked since {time}".into());
    world.peers.mcp.plant(PlantedFault::new("locked", locked).at(["habits.create"]));
    let claude = &world.peers.claude.served;
    match kill {
        Kill::Never => drop(world.good_tick().await),
        Kill::Call => {
            let slow = Behaviour::Delay(Duration::from_secs(9));
            world.peers.mcp.override_tool("habits.review", 1, slow);
            drop(world.begin_tick());
            let recorder = world.peers.mcp.served.recorder.clone();
            patiently("the call", recorder.wait_for(1, calls_of("habits.review"))).await;
        }
        Kill::Answer(_) | Kill::Rating => {
            let is_meant = move |request: &Recorded| {
                let request = request.json();
                let messages = request["messages"].as_array().map_or(0, Vec::len);
                match kill {
                    Kill::Answer(before) => !request["tools"].is_null() && messages == before,
                    _ => request["tools"].is_null(),
                }
            };
            claude.faults.inject(usize::MAX, Fault::Hang, is_meant);
            drop(world.begin_tick());
            let recorder = claude.recorder.clone();
            patiently("the request", recorder.wait_for(1, is_meant)).await;
        }
    }
    if kill != Kill::Never {
        world.kill().await;
        world.peers.claude.served.faults.clear();
        world.start_again(&[]).await;
        no_run_is_unfinished(&world).await;
    }
    let mut all = facts_as_the_steps_say(&world.journal().await).await;
    assert_eq!(all.len(), 1, "{kill:?}");
    comparable(all.remove(0).1)
}

/// The facts of a run without its id, without times, and without the size of a list that names times.
fn comparable(mut facts: RunFacts) -> RunFacts {
    for (call, _) in &mut facts.calls {
        call.run.clear();
        (call.at, call.latency_ms) = Default::default();
    }
    for (issue, hit) in &mut facts.hits {
        hit.run.clear();
        issue.at = Default::default();
    }
    facts.tools.iter_mut().for_each(|tool| tool.run.clear());
    facts.modules.iter_mut().for_each(|module| module.run.clear());
    facts
}

#[tokio::test]
async fn a_run_that_was_killed_has_the_facts_of_one_that_was_not() {
    let whole = facts_of_a_day(Kill::Never).await;
    let causes = |facts: &RunFacts| {
        let causes = facts.calls.iter().map(|(call, _)| (call.number, call.cause));
        causes.collect::<Vec<_>>()
    };
    let handler = Some(Cause::Handler);
    assert_eq!(causes(&whole), [(1, None), (2, handler), (3, None), (4, handler)]);
    assert_eq!(whole.calls[1].0.quote.as_deref(), Some("Schade, nochmal."));
    assert_eq!((whole.hits.len(), whole.hits[0].1.calls), (1, 2));
    for kill in [Kill::Answer(1), Kill::Answer(3), Kill::Answer(5), Kill::Answer(7), Kill::Rating] {
        assert_eq!(facts_of_a_day(kill).await, whole, "{kill:?}");
    }
    let broken = facts_of_a_day(Kill::Call).await;
    let stopped = Some(Cause::Stopped);
    assert_eq!(causes(&broken), [(1, None), (2, handler), (3, stopped), (4, handler)]);
    assert_eq!(broken.hits, whole.hits, "nobody is to blame for the call that was broken off");
    for (n, (call, of_whole)) in broken.calls.iter().zip(&whole.calls).enumerate() {
        assert!(n == 2 || n == 1 || call == of_whole, "{call:?} instead of {of_whole:?}");
    }
    let review = |facts: &RunFacts| facts.tools.iter().any(|tool| tool.tool == "habits.review");
    assert!(review(&whole) && !review(&broken), "{:?}", broken.tools);
}

#[tokio::test]
async fn a_stopped_run_has_facts_before_its_rating_which_are_replaced_when_the_rating_comes() {
    let mut world = Setup::one(&["habits"]).start().await;
    world.peers.claude.answer_with(|request| match request.turn() {
        _ if request.is_rating() => None,
        0 => Some(Scripted::tools(&[habits_list(), ("habits_create", json!({"titel": "?"}))])),
        _ => Some(Scripted::text("Bis morgen!")),
    });
    let second = |request: &Recorded| !request.json()["messages"][2].is_null();
    world.peers.claude.served.faults.inject(usize::MAX, Fault::Hang, second);
    drop(world.begin_tick());
    let recorder = world.peers.claude.served.recorder.clone();
    patiently("the second request", recorder.wait_for(1, second)).await;
    world.stop().await;
    let (owed, before) = facts_as_the_steps_say(&world.journal().await).await.remove(0);
    assert_eq!((owed.state, owed.outcome), (RunState::RatingOwed, Some(Outcome::Stopped)));
    let habits = &before.modules[0];
    assert_eq!((habits.rating, habits.unrated_why), (None, Some(UnratedWhy::Stopped)));

    world.peers.claude.served.faults.clear();
    world.start_again(&[]).await;
    no_run_is_unfinished(&world).await;
    let (rated, after) = facts_as_the_steps_say(&world.journal().await).await.remove(0);
    assert_eq!((rated.state, rated.outcome), (RunState::Finished, Some(Outcome::Stopped)));
    assert!(after.modules[0].rating.is_some() && after.modules[0].unrated_why.is_none());
    assert_eq!(
        (&after.calls, &after.hits, &after.tools),
        (&before.calls, &before.hits, &before.tools)
    );
    assert_eq!(kinds(&printed(&world, &["export"]).await)["call"], 2, "none is there twice");
}
