//! Whether `compare` says what a deployment did: ten personas live with the compiled daemon among devstack's peers,
//! whose calendar is stepped. For 28 days they have one build of the product; for seven days another one, in which one
//! tool fails more often and one less often; then, after a rollback, the first one again. What the compiled command
//! line then says is compared with what devstack counted.
//!
//! One calendar serves for all: the seven days after the rollback are also those of a deployment that changed nothing,
//! because a comparison with the first 28 days by their deployment leaves out the days between.

mod counted;
mod lived;

use std::time::Duration;

use devstack::mcp::{PlantedFault, Shows};
use serde_json::{Value, json};

use crate::{
    facts_files::schema::Schemas, facts_law::printed, process::daemon::finish, support::Setup,
};
use counted::{Counted, check};
use lived::{ACROSS, BETTER, LAST, Lived, WORSE, day};

const DAY: Duration = Duration::from_hours(24);

/// The module of a tool.
fn module(tool: &str) -> &str {
    tool.split_once('.').unwrap().0
}

#[tokio::test]
async fn a_comparison_blames_a_deployment_for_what_it_changed_and_for_nothing_else() {
    // One test, because living the days takes long.
    let lived = lived::live().await;
    what_became_worse_and_better_is_that_of_the_two_tools(&lived);
    the_numbers_and_personas_are_those_that_devstack_counted(&lived);
    the_examples_are_runs_that_show_the_change(&lived).await;
    a_run_across_the_deployment_is_on_neither_side(&lived).await;
    a_deployment_that_changed_nothing_is_not_blamed(&lived).await;
    after_a_rollback_the_third_deployment_is_compared(&lived);
    an_export_has_the_same_answers_and_a_past_deployment_keeps_its_answer(&lived).await;
}

fn what_became_worse_and_better_is_that_of_the_two_tools(lived: &Lived) {
    assert_eq!(lived.changed.code, Some(3), "{}", lived.changed.printed[0]);
    let answer = lived.changed.json();
    assert_eq!(answer["verdict"], "worse");
    assert_eq!(answer["confounded"], json!([]));
    for (verdict, tool) in [("worse", WORSE), ("better", BETTER)] {
        let findings = answer["findings"].as_array().unwrap().iter();
        let findings: Vec<_> = findings.filter(|it| it["verdict"] == verdict).collect();
        for finding in &findings {
            assert_eq!(finding["module"], module(tool), "{finding:#}");
            assert!(finding["tool"].is_null() || finding["tool"] == tool, "{finding:#}");
        }
        let mut facts: Vec<_> = findings.iter().map(|it| it["fact"].as_str().unwrap()).collect();
        facts.sort_unstable();
        assert_eq!(facts, ["dead-end", "issue", "module", "rating", "tool"], "{verdict}");
    }
}

fn the_numbers_and_personas_are_those_that_devstack_counted(lived: &Lived) {
    let [first, second, last] = LAST;
    let changed = [1..=first, first + 1..=second];
    // The second build was rolled back after the runs of a day, which is why those 28 days earlier are too old.
    let rolled_back = [second - 27..=second, second + 1..=last];
    let unchanged = [1..=first, second + 1..=last];
    check(lived, &lived.changed, changed, [&["D-1"], &["D-2"]]);
    check(lived, &lived.rolled_back, rolled_back, [&["D-1", "D-2"], &["D-3"]]);
    check(lived, &lived.unchanged, unchanged, [&["D-1"], &["D-3"]]);
}

async fn the_examples_are_runs_that_show_the_change(lived: &Lived) {
    let answer = lived.changed.json();
    let findings = answer["findings"].as_array().unwrap().iter();
    for finding in findings.filter(|it| it["verdict"] == "worse" || it["verdict"] == "better") {
        let example = |name: &str| lived.run(finding[name]["run"].as_str().unwrap());
        let (before, after) = (example("before"), example("after"));
        assert!(before.day <= day(LAST[0]) && day(LAST[0]) < after.day, "{finding:#}");
        assert_eq!(before.persona, after.persona, "{finding:#}");
        assert!(finding["personas"].as_array().unwrap().contains(&json!(before.persona)));
        let value = |run| Counted::of(finding).value(run).unwrap();
        let is_less = (finding["verdict"] == "worse") == (finding["fact"] == "rating");
        let (low, high) = if is_less { (after, before) } else { (before, after) };
        assert!(value(low) < value(high), "{finding:#}");
        for run in [before, after] {
            run.is_told_in(&lived.ask(&["show", &run.id]).await.stdout);
        }
    }
}

async fn a_run_across_the_deployment_is_on_neither_side(lived: &Lived) {
    let export = lived.ask(&["export"]).await.stdout;
    let lines: Vec<Value> =
        export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Schemas::read().facts(&lines);
    let runs = || lines.iter().filter(|line| line["kind"] == "run");
    let across: Vec<_> = runs().filter(|run| run["deployment"] != run["deploymentEnd"]).collect();
    let [across] = across[..] else { panic!("{across:#?}") };
    assert_eq!([&across["deployment"], &across["deploymentEnd"]], ["D-1", "D-2"]);
    let across = lived.run(across["id"].as_str().unwrap());
    assert_eq!((&across.persona, across.day), (&Lived::label(ACROSS), day(LAST[0])));
    // `check` has left this run out of both sides. On either it would have changed the numbers.
    assert!(across.tools[WORSE], "it failed in the second build");
    let answer = lived.changed.json();
    let compared = ["a", "b"].map(|side| answer[side]["runs"].as_u64().unwrap());
    let until = lived.runs.iter().filter(|run| run.day <= day(LAST[1])).count();
    assert_eq!(compared.iter().sum::<u64>() as usize, until - 1);
}

async fn a_deployment_that_changed_nothing_is_not_blamed(lived: &Lived) {
    assert_eq!(lived.unchanged.code, Some(0), "{}", lived.unchanged.printed[0]);
    assert_eq!(lived.unchanged.json()["verdict"], "nothing-worse");
    // A version means its latest deployment.
    assert_eq!(lived.compare(&["D-1", "1.4.0", "--strict"]).await, lived.unchanged);
}

fn after_a_rollback_the_third_deployment_is_compared(lived: &Lived) {
    let answer = lived.rolled_back.json();
    assert_eq!(lived.rolled_back.code, Some(0), "{}", lived.rolled_back.printed[0]);
    assert_eq!(answer["b"]["deployments"][0]["version"], "1.4.0");
    let versions = answer["a"]["deployments"].as_array().unwrap().iter();
    assert_eq!(versions.map(|it| &it["version"]).collect::<Vec<_>>(), ["1.4.0", "1.5.0"]);
    let findings = answer["findings"].as_array().unwrap().iter();
    let better: Vec<_> = findings.filter(|it| it["verdict"] == "better").collect();
    assert!(better.iter().all(|it| it["module"] == module(WORSE)), "{better:#?}");
    assert!(better.iter().any(|it| it["id"] == format!("tool:{WORSE}")), "{better:#?}");
}

async fn an_export_has_the_same_answers_and_a_past_deployment_keeps_its_answer(lived: &Lived) {
    let file = lived.keep(&lived.ask(&["export"]).await.stdout);
    let of_export =
        async |arguments: &[&str]| lived.compare(&[arguments, &["--facts", &file]].concat()).await;
    assert_eq!(of_export(&[]).await, lived.rolled_back);
    assert_eq!(of_export(&["D-1"]).await, lived.unchanged);
    assert_eq!(of_export(&["D-1", "D-2"]).await, lived.changed, "it was asked seven days earlier");
    let days = [day(1), day(LAST[0])].map(|day| day.to_string()).join("..");
    let by_days = lived.compare(&[&days, "1.5.0"]).await;
    assert_eq!(of_export(&[&days, "1.5.0"]).await, by_days);
    assert_eq!(by_days.json()["a"], lived.changed.json()["a"], "the same runs");
    let schemas = Schemas::read();
    for compared in [&lived.changed, &lived.rolled_back, &lived.unchanged, &by_days] {
        schemas.compare(&compared.json());
    }
}

#[tokio::test]
async fn the_daemons_own_clock_decides_nothing_in_a_comparison() {
    let world = Setup::many(&["anna", "ben", "cleo"]).short_days().start().await;
    let now = world.clock.now();
    let days = |count: i64| now + jiff::SignedDuration::from_hours(24 * count);
    let jumps = [days(400), days(-800), days(3), days(10_000), now];
    for (number, to) in (1..=8).zip(jumps.iter().cycle()) {
        if number == 1 {
            printed(&world, &["release", "1.4.0"]).await;
        } else if number == 6 {
            printed(&world, &["release", "1.5.0"]).await;
            let gone = Shows::Text("There are no habits any more".into());
            world.peers.mcp.plant(PlantedFault::new("gone", gone).at(["habits.list"]));
        }
        assert_eq!(world.good_tick().await["ranSuccessfully"], 3, "day {number}");
        world.clock.set(*to);
        if number < 8 {
            world.peers.clock.turn(DAY + Duration::from_secs(1));
        }
    }
    let compared = async || {
        let folder = ("RUNNER_DATA_DIR".into(), world.peers.data_folder().into());
        finish([folder], &["compare", "--format", "json"]).await
    };
    let before = compared().await;
    assert_eq!((before.code, before.stderr.as_str()), (Some(3), ""), "{}", before.stdout);
    let answer: Value = serde_json::from_str(&before.stdout).unwrap();
    let side = |name: &str| ["from", "to", "runs"].map(|field| answer[name][field].clone());
    assert_eq!(side("a"), [json!(day(1)), json!(day(5)), json!(15)]);
    assert_eq!(side("b"), [json!(day(6)), json!(day(8)), json!(9)]);
    for to in jumps {
        world.clock.set(to);
        assert_eq!(world.good_tick().await["due"], 0);
        assert_eq!(compared().await.stdout, before.stdout, "{to}");
    }
}
