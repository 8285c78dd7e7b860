mod laws;

use jiff::{Timestamp, tz::TimeZone};

use super::*;
use crate::{
    domain::{Cause, Outcome, WhyNotRun},
    facts::{
        coverage::ModuleStatus,
        line::Call,
        report::tests::{MONDAY, between},
        window::Days,
        world::{World, day, failed, failed_by, ok},
    },
};

/// The overview of the week from the day [`MONDAY`] on.
fn week(world: &World) -> Overview {
    overview(&world.days(between(MONDAY, MONDAY + 6)))
}

fn date(on: i64) -> Date {
    TimeZone::UTC.to_datetime(day(on)).date()
}

fn weeks<'o>(overview: &'o Overview, module: &str) -> &'o [Option<ModuleWeek>] {
    &overview.module(module).unwrap().1.weeks
}

fn tool<'o>(overview: &'o Overview, name: &str) -> &'o ToolSummary {
    overview.tools.iter().find(|tool| tool.tool == name).unwrap()
}

fn rated(ratings: &[u8]) -> Ratings {
    let mut all = Ratings::default();
    ratings.iter().for_each(|rating| all.add(*rating));
    all
}

#[test]
fn a_module_has_a_number_for_each_week_in_which_it_was_used_and_none_for_others() {
    let mut world = World::default();
    world.run("a", MONDAY - 14, [ok("todo.list"), ok("todo.add"), ok("mail.send")]);
    world.run("a", MONDAY, [failed("todo.list", "F-1"), ok("todo.list"), ok("todo.add")]);
    world.rate("todo", 2, "Confusing.", &[2]);
    world.run("b", MONDAY + 1, [ok("todo.add")]);
    world.rate("todo", 5, "Fine.", &[1]);
    world.run("b", MONDAY + 2, [ok("todo.add")]);
    world.rate("todo", 1, "No call is named.", &[]);
    let overview = week(&world);
    let expected = [MONDAY - 14, MONDAY - 7, MONDAY].map(|on| Week::of(date(on)));
    assert_eq!(overview.weeks.weeks, expected);
    let before = ModuleWeek { personas: 1, runs: 1, failed: 0, ratings: rated(&[]) };
    let within = ModuleWeek { personas: 2, runs: 3, failed: 1, ratings: rated(&[2, 5]) };
    assert_eq!(weeks(&overview, "todo"), [Some(before), None, Some(within)]);
    assert_eq!(within.ratings.mean(), Some(3.5));
    // Nobody used it in the window: the report does not have it.
    assert!(overview.module("mail").is_none());
    world.persona("a", "mail", 0.5);
    let overview = week(&world);
    assert_eq!(overview.module("mail").unwrap().0.status, ModuleStatus::NotOffered);
    assert_eq!(weeks(&overview, "mail"), [Some(before), None, None]);
}

#[test]
fn the_weeks_are_at_most_thirteen_and_end_with_what_is_known() {
    let mut world = World::default();
    for on in (0..20).map(|week| MONDAY - 57 + 7 * week) {
        world.run("a", on, [ok("todo.list")]);
    }
    let all = overview(&world.days(Days::All));
    assert_eq!(all.weeks.weeks.len(), WEEKS);
    assert!(all.weeks.weeks.is_sorted_by(|a, b| *a == b.before()));
    assert_eq!(weeks(&all, "todo").iter().flatten().map(|it| it.runs).sum::<u32>(), 13);
    let later = overview(&world.days(between(MONDAY, 4_000)));
    assert_eq!(later.weeks.weeks, all.weeks.weeks, "nothing is known about later weeks");
    // Runs after the window do not count.
    let first = overview(&world.days(between(1, 4)));
    assert_eq!(first.weeks.weeks, [Week::of(date(4))]);
    assert_eq!(
        weeks(&first, "todo"),
        [Some(ModuleWeek { personas: 1, runs: 1, ..Default::default() })]
    );
}

#[test]
fn a_persona_tells_what_it_did_in_the_window_and_how_it_rated_before() {
    let mut world = World::default();
    world.persona("a", "todo", 0.5);
    world.persona("z", "mail", 0.5);
    world.run("a", MONDAY - 57, [ok("todo.list")]);
    world.rate("todo", 1, "Too long ago.", &[1]);
    world.run("a", MONDAY - 3, [ok("todo.list"), ok("mail.send")]);
    world.rate("todo", 4, "Fine.", &[1]);
    world.run("a", MONDAY, [failed("todo.list", "F-1"), ok("todo.list")]).cost_usd = 0.25;
    world.rate("todo", 2, "Confusing.", &[2]);
    let stopped = world.run("a", MONDAY + 1, [failed("todo.list", "F-1")]);
    (stopped.outcome, stopped.cost_usd) = (Outcome::Stopped, 0.5);
    world.run("a", MONDAY + 2, [failed("todo.list", "F-1"), ok("mail.send")]);
    world.run("a", MONDAY + 3, [failed_by(Cause::Unreachable, "todo.list", "F-AWAY")]);
    world.absence("z", "2026-03-03", WhyNotRun::Paused);
    let overview = week(&world);
    let persona = overview.persona("a").unwrap();
    assert_eq!((&*persona.label, persona.runs, persona.cost_usd), ("label of a", 4, 0.75));
    // The stopped run may have had no time to try again.
    assert_eq!((persona.failed, persona.dead_ends), (3, 1));
    assert_eq!(persona.ratings, rated(&[2]));
    let module = |module: &str, runs, failed, ratings, before| PersonaModule {
        module: module.into(),
        runs,
        failed,
        ratings,
        before,
    };
    let none = rated(&[]);
    let expected =
        [module("mail", 1, 0, none, none), module("todo", 3, 3, rated(&[2]), rated(&[4]))];
    assert_eq!(persona.modules, expected);
    let last = persona.last_run.as_ref().unwrap();
    assert_eq!((&*last.id, date_of(last.at)), ("run-00006", date(MONDAY + 3)));
    assert_eq!(overview.days, (0..7).map(|n| date(MONDAY + n)).collect::<Vec<_>>());
    let away = overview.persona("z").unwrap();
    assert_eq!((away.runs, &away.last_run, away.ratings.mean()), (0, &None, None));
    assert_eq!(away.days[1], DayStatus::Paused);
}

#[test]
fn the_days_of_personas_are_the_newest_ninety() {
    let mut world = World::default();
    for on in 1..=100 {
        world.run("a", on, [ok("todo.list")]);
    }
    let overview = overview(&world.days(Days::Last(95)));
    assert_eq!(
        (overview.days.len(), overview.days[0], overview.days[89]),
        (90, date(11), date(100))
    );
    assert_eq!(overview.personas[0].days, [DayStatus::Ran; 90]);
    assert_eq!(overview.personas[0].runs, 95);
}

#[test]
fn a_tool_tells_who_used_it_and_how_long_it_took() {
    let mut world = World::default();
    world.catalog("C-1", &[("todo.list", "1"), ("todo.add", "1"), ("vault.open", "1")], &[]);
    let taking = |latency_ms| Call { latency_ms, ..ok("todo.list") };
    for (persona, on) in [("a", 0), ("a", 1), ("b", 2), ("b", 3), ("b", 4)] {
        let calls =
            [taking(Some(100)), taking(Some(900)), taking(None), failed("todo.list", "F-1")];
        world.run(persona, MONDAY + on, calls).catalog = Some("C-1".to_owned());
    }
    world.run("a", MONDAY - 1, [ok("todo.list"), ok("mail.send")]);
    let outside = Call { module: "tasks".to_owned(), ..ok("todo.add") };
    world.run("a", MONDAY + 5, [outside]).catalog = Some("C-1".to_owned());
    let overview = week(&world);
    let expected = ToolSummary {
        tool: "todo.list".to_owned(),
        module: "todo".to_owned(),
        not_tested: None,
        personas: 2,
        runs: 5,
        failed: 5,
        calls: 20,
        dead_ends: 5,
        p50_ms: Some(100),
        p95_ms: Some(900),
    };
    assert_eq!(tool(&overview, "todo.list"), &expected);
    let few = tool(&overview, "todo.add");
    assert_eq!((&*few.module, few.not_tested), ("tasks", Some(WhyNotTested::TooFew)));
    let unused = tool(&overview, "vault.open");
    assert_eq!((&*unused.module, unused.not_tested), ("vault", Some(WhyNotTested::Unused)));
    assert_eq!((unused.runs, unused.p50_ms), (0, None));
    let names: Vec<_> = overview.tools.iter().map(|tool| &*tool.tool).collect();
    assert_eq!(names, ["todo.add", "todo.list", "vault.open"]);
    assert_eq!(overview.tools_of("tasks").count(), 1);
}

#[test]
fn without_facts_there_is_nothing_and_no_zero() {
    let overview = overview(&World::default().days(Days::Last(7)));
    assert_eq!(overview.weeks, ModuleWeeks::default());
    assert_eq!((overview.days, overview.personas, overview.tools), (vec![], vec![], vec![]));
    assert_eq!(Ratings::default().mean(), None);
}

#[test]
fn what_pages_show_can_be_written_as_json() {
    let mut world = World::default();
    world.run("a", MONDAY, [ok("todo.list")]);
    world.rate("todo", 4, "Fine.", &[1]);
    let overview = week(&world);
    let json = serde_json::to_value(&overview.weeks).unwrap();
    let expected = serde_json::json!({
        "weeks": ["2026-W10"],
        "modules": [{"module": "todo", "weeks": [
            {"personas": 1, "runs": 1, "failed": 0, "ratings": {"mean": 4.0, "n": 1}},
        ]}],
    });
    assert_eq!(json, expected);
    let json = serde_json::to_value(&overview.personas).unwrap();
    assert_eq!((&json[0]["days"][0], &json[0]["costUsd"]), (&"ran".into(), &0.0.into()));
    let json = serde_json::to_value(&overview.tools).unwrap();
    assert_eq!(json[0]["notTested"], "too-few");
}

fn date_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}
