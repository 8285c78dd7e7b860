//! The JSON of a report.

use serde_json::{Value, json};

use super::*;

fn json(report: &Report) -> Value {
    serde_json::to_value(report).unwrap()
}

/// The value at this pointer.
fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or_else(|| panic!("{pointer} of {value}"))
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn each_object_has_exactly_the_keys_of_the_schema() {
    let report = json(&week(&rich()));
    let sighting = "at call deployment run";
    let quote = "call persona run text";
    let share = "high low n personas value";
    for (pointer, expected) in [
        (
            "",
            "changes cost coverage deployments fleet frictions missing modules muted notTested reliability schema \
             slow unreachable window",
        ),
        ("/window", "from to"),
        ("/deployments/0", "from id version"),
        ("/fleet", "costUsd notRun personaDays personas runs"),
        ("/fleet/notRun/0", "count why"),
        ("/unreachable/0", "from runs to"),
        (
            "/frictions/0",
            "calls cause detector detectors firstSeen id impact lastSeen module next personas personasExposed quote \
             recovered runs runsExposed share state template tool",
        ),
        ("/frictions/0/share", share),
        ("/frictions/0/firstSeen", sighting),
        ("/frictions/0/lastSeen", sighting),
        ("/frictions/0/quote", quote),
        ("/frictions/0/next", "again-failed again-ok ended other-failed other-module other-ok"),
        ("/changes", "new regressed resolved tools"),
        ("/changes/tools", "added changed removed"),
        ("/modules/0", "friction module personas quote rating runs status"),
        ("/modules/5/rating", "delta mean n personas"),
        ("/modules/5/rating/delta", "high low n personas points value"),
        ("/modules/5/friction", share),
        ("/modules/5/quote", quote),
        ("/missing/0", "calls name personas"),
        ("/slow/0", "n p50Ms p95Ms tool"),
        ("/notTested/0", "module why"),
        ("/coverage/0", "days persona"),
        ("/coverage/0/days/0", "day status"),
        ("/reliability", "confounded lambda tooKind unrated"),
        ("/reliability/lambda", "rating share"),
        ("/reliability/tooKind", share),
        ("/reliability/unrated", "n of why"),
        ("/reliability/confounded/0", "since what"),
        ("/cost", "perPersonaDayUsd usd"),
    ] {
        assert_eq!(keys(at(&report, pointer)).join(" "), expected, "{pointer}");
    }
    assert_eq!(at(&report, "/modules/5/module"), "todo");
    let tools = at(&report, "/notTested")
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| keys(it) == ["tool", "why"]);
    assert!(tools.count() > 0);
}

#[test]
fn the_values_of_a_rich_week() {
    let report = json(&week(&rich()));
    for (pointer, expected) in [
        ("/schema", json!("report/v1")),
        ("/window", json!({"from": "2026-03-02", "to": "2026-03-08"})),
        ("/deployments/0/id", json!("D-1")),
        ("/deployments/1", json!({"id": "D-2", "version": "1.5", "from": "2026-03-04T00:00:00Z"})),
        ("/fleet/personas", json!(6)),
        ("/fleet/runs", json!(42)),
        ("/fleet/personaDays", json!(42)),
        ("/fleet/costUsd", json!(5.25)),
        ("/fleet/notRun", json!([{"why": "paused", "count": 1}])),
        ("/cost", json!({"usd": 5.25, "perPersonaDayUsd": 0.125})),
        ("/muted", json!(1)),
        ("/changes/new", json!(["F-NEWW"])),
        ("/changes/resolved", json!([])),
        (
            "/changes/tools",
            json!({"added": ["new.tool"], "removed": ["old.tool"], "changed": ["todo.list"]}),
        ),
        ("/missing", json!([{"name": "todo.snooze", "personas": 6, "calls": 42}])),
        ("/slow", json!([{"tool": "todo.slow", "p50Ms": 6000, "p95Ms": 6000, "n": 42}])),
        ("/reliability/confounded", json!([{"what": "model", "since": "2026-03-05T01:00:00Z"}])),
    ] {
        assert_eq!(*at(&report, pointer), expected, "{pointer}");
    }
    let friction = |id: &str| {
        let frictions = at(&report, "/frictions").as_array().unwrap();
        frictions.iter().find(|it| it["id"] == id).cloned()
    };
    let new = friction("F-NEWW").unwrap();
    assert_eq!(
        (&new["runs"], &new["runsExposed"], &new["state"]),
        (&json!(15), &json!(15), &json!("new"))
    );
    assert_eq!(new["firstSeen"]["deployment"], "D-2");
    assert_eq!(friction("F-MUTE"), None, "muted");
    assert_eq!(friction("F-GONE"), None, "without a hit in the week");
}

#[test]
fn what_is_absent_is_null_or_empty() {
    let report = json(&report(&World::default().days(Days::LastWeek)));
    let expected = json!({
        "schema": "report/v1",
        "window": {"from": null, "to": null},
        "deployments": [],
        "fleet": {"personas": 0, "runs": 0, "personaDays": 0, "costUsd": 0.0, "notRun": []},
        "unreachable": [],
        "frictions": [],
        "muted": 0,
        "changes": {"new": [], "regressed": [], "resolved": [], "tools": {"added": [], "removed": [], "changed": []}},
        "modules": [],
        "missing": [],
        "slow": [],
        "notTested": [],
        "coverage": [],
        "reliability": {
            "lambda": {"share": null, "rating": null},
            "tooKind": null,
            "unrated": {"n": 0, "of": 0, "why": {}},
            "confounded": [],
        },
        "cost": {"usd": 0.0, "perPersonaDayUsd": null},
    });
    assert_eq!(report, expected);
}

#[test]
fn a_week_without_runs_has_its_days_and_the_modules_of_the_newest_list_of_tools() {
    let world = rich();
    let later = days(&world, MONDAY + 14, MONDAY + 20);
    assert_eq!(
        (later.fleet.runs, later.fleet.cost_usd, later.cost.per_persona_day_usd),
        (0, 0.0, None)
    );
    let Coverage::Personas(rows) = &later.coverage else { panic!("counts") };
    assert!(rows.iter().all(|row| row.days.len() == 7));
    let names: Vec<_> = later.modules.iter().map(|module| &*module.module).collect();
    assert_eq!(names, ["admin", "calendar", "mail", "new", "todo"]);
    for module in &later.modules {
        let is_known = matches!(module.status, ModuleStatus::Unused | ModuleStatus::NotOffered);
        assert!(is_known && module.rating.is_none() && module.friction.is_none(), "{module:?}");
    }
    assert_eq!((later.frictions.len(), later.unreachable.len()), (0, 0));
}

#[test]
fn up_to_fifty_personas_have_a_row_each_and_more_are_counted() {
    let fleet = |count: usize| {
        let mut world = World::default();
        for number in 0..count {
            world.run(&format!("persona {number}"), MONDAY, [ok("todo.list")]);
        }
        week(&world).coverage
    };
    let Coverage::Personas(rows) = fleet(50) else { panic!("counts") };
    assert_eq!((rows.len(), rows[0].days.len()), (50, 7));
    let Coverage::Counts(days) = fleet(51) else { panic!("rows") };
    assert_eq!(json!(days[0]), json!({"day": "2026-03-02", "counts": {"ran": 51}}));
}

#[test]
fn deployments_are_those_that_runs_met_and_those_that_the_runner_met_in_the_window() {
    let mut world = World::default();
    for (id, on) in [("D-1", 1), ("D-2", 20), ("D-3", MONDAY + 3), ("D-4", MONDAY + 7)] {
        world.deploy(id, "1", on);
    }
    let run = world.run("a", MONDAY, []);
    run.deployment = Some("D-1".to_owned());
    run.deployment_end = Some("D-1".to_owned());
    let ids =
        |world: &World| -> Vec<_> { week(world).deployments.into_iter().map(|it| it.id).collect() };
    assert_eq!(ids(&world), ["D-1", "D-3"]);
    // A deployment during the run.
    world.run("a", MONDAY + 1, []).deployment_end = Some("D-2".to_owned());
    assert_eq!(ids(&world), ["D-1", "D-2", "D-3"]);
}

#[test]
fn a_due_persona_that_had_its_run_is_not_counted_as_absent() {
    let mut world = World::default();
    for (slot, why) in [
        ("2026-03-01", WhyNotRun::Other),
        ("2026-03-02", WhyNotRun::SlotUsed),
        ("2026-03-02", WhyNotRun::Paused),
        ("2026-03-03T23", WhyNotRun::Budget),
        ("2026-03-08T23", WhyNotRun::Paused),
        ("2026-03-09T00", WhyNotRun::Other),
        // A slot counts once.
        ("2026-03-04", WhyNotRun::Paused),
        ("2026-03-04", WhyNotRun::Paused),
        ("2026-03-04", WhyNotRun::Budget),
        ("2026-03-05", WhyNotRun::Other),
    ] {
        world.absence("a", slot, why);
    }
    world.run("a", MONDAY + 3, [ok("todo.list")]).slot = Some("2026-03-05".to_owned());
    world.run("b", MONDAY + 2, [ok("todo.list")]).slot = Some("2026-03-04".to_owned());
    let expected = [("budget", 1), ("paused", 2)];
    let not_run = week(&world).fleet.not_run;
    assert_eq!(not_run.iter().map(|it| (it.why.as_str(), it.count)).collect::<Vec<_>>(), expected);
}

#[test]
fn costs_are_written_with_six_digits() {
    let mut world = World::default();
    for cost in [0.1, 0.2, 1e-7] {
        world.run("a", MONDAY, []).cost_usd = cost;
    }
    world.run("b", MONDAY + 1, []).cost_usd = 0.1;
    world.run("b", MONDAY + 7, []).cost_usd = 7.0;
    let report = week(&world);
    assert_eq!((report.cost.usd, report.fleet.cost_usd), (0.4, 0.4));
    assert_eq!((report.fleet.persona_days, report.cost.per_persona_day_usd), (2, Some(0.2)));
}

#[test]
fn a_cost_that_no_daemon_can_have_is_the_largest_one() {
    let mut world = World::default();
    (0..3).for_each(|on| world.run("a", MONDAY + on, []).cost_usd = f64::MAX);
    let report = json(&week(&world));
    assert_eq!(report["cost"], json!({"usd": 1e9, "perPersonaDayUsd": 333_333_333.333_333}));
    assert_eq!(report["fleet"]["costUsd"], json!(1e9));
}

#[test]
fn days_after_the_newest_fact_are_not_known_and_a_run_shows_that_the_runner_was_up() {
    let mut world = World::default();
    world.run("a", MONDAY - 1, [ok("todo.list")]);
    world.run("b", MONDAY - 1, [ok("todo.list")]);
    // On Monday nobody ran. On Tuesday a ran, and so b was not due.
    world.run("a", MONDAY + 1, [ok("todo.list")]);
    let Coverage::Personas(rows) = week(&world).coverage else { panic!("two personas") };
    let days = rows.iter().map(|row| row.days.iter().map(|day| day.status.as_str()).collect());
    let days: Vec<Vec<_>> = days.collect();
    assert_eq!(days[0][..3], ["runner-down", "ran", "not-due"]);
    assert_eq!(days[1][..3], ["runner-down", "not-due", "not-due"]);
    assert!(days.iter().flat_map(|of| &of[2..]).all(|status| *status == "not-due"), "{days:?}");
}
