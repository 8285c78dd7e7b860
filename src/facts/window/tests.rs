use jiff::civil::date;

use super::*;
use crate::{
    domain::{Cause, Outcome, WhyNotRun},
    facts::{
        line::{Absence, Call, Deployment, Hit, Line, Meta, Tick, Tool},
        world::{World, day, failed, failed_by, ok},
    },
};

fn world() -> World {
    let mut world = World::default();
    world.run("a", 3, [ok("t.a"), failed("t.a", "F-1")]);
    world
}

fn days(world: &World, days: Days) -> (Date, Date) {
    let window = world.days(days);
    (window.from(), window.to())
}

#[test]
fn days_count_back_from_the_newest_time_of_all() {
    let newest = |line: Option<Line>| {
        let mut world = world();
        world.others.extend(line);
        days(&world, Days::Last(2)).1
    };
    assert_eq!(newest(None), date(2026, 1, 3));
    assert_eq!(newest(Some(Line::Tick(Tick { at: day(5) }))), date(2026, 1, 5));
    let deployment = Deployment {
        id: "D-1".to_owned(),
        version: "1".to_owned(),
        source: String::new(),
        at: day(6),
    };
    assert_eq!(newest(Some(Line::Deployment(deployment))), date(2026, 1, 6));
    let absence = |slot: &str| {
        let (slot, persona) = (slot.to_owned(), "a".to_owned());
        Some(Line::Absence(Absence { slot, persona, why: WhyNotRun::Paused }))
    };
    assert_eq!(newest(absence("2026-01-07")), date(2026, 1, 7));
    assert_eq!(newest(absence("2026-01-08T23")), date(2026, 1, 8));
    let mut late = self::world();
    late.run("a", 4, []).ended_at = Some(day(6));
    assert_eq!(days(&late, Days::Last(2)).1, date(2026, 1, 6), "the end of a run");
    let mut late = self::world();
    late.run("a", 4, []).server_time = Some(day(2));
    assert_eq!(days(&late, Days::Last(2)).1, date(2026, 1, 4), "the begin of a run");
    let call = Call { run: "run-00001".to_owned(), number: 9, at: day(7), ..ok("t.a") };
    assert_eq!(newest(Some(Line::Call(call))), date(2026, 1, 7));
    assert_eq!(days(&world(), Days::Last(2)).0, date(2026, 1, 2));
}

#[test]
fn a_run_belongs_to_a_day_of_the_servers_time_in_the_zone_of_the_facts() {
    let mut world = World::default();
    let run = world.run("a", 3, []);
    run.at = "2026-01-03T22:59:00Z".parse().unwrap();
    let in_berlin = |world: &World| {
        let meta =
            Line::Meta(Meta { schema: "facts/v1".to_owned(), tz: "Europe/Berlin".to_owned() });
        let lines: Vec<_> = [meta].into_iter().chain(world.lines()).collect();
        crate::facts::world::window(&lines, Days::Last(1)).to()
    };
    assert_eq!(in_berlin(&world), date(2026, 1, 3));
    let mut world = World::default();
    let run = world.run("a", 3, []);
    run.at = "2026-01-03T22:59:00Z".parse().unwrap();
    run.server_time = Some("2026-01-03T23:00:00Z".parse().unwrap());
    assert_eq!(in_berlin(&world), date(2026, 1, 4));
}

#[test]
fn an_impossible_window_is_refused() {
    let refused = |world: &World, days| {
        let mut builder = Builder::default();
        world.lines().into_iter().for_each(|line| builder.take(line).unwrap());
        builder.finish(days).unwrap_err()
    };
    let (first, second) = (date(2026, 1, 1), date(2026, 1, 2));
    let reversed = Days::Between(second, first);
    assert_eq!(refused(&world(), reversed), ImpossibleWindow::Reversed(second, first));
    for count in [0, 100_001, u32::MAX] {
        assert_eq!(refused(&world(), Days::Last(count)), ImpossibleWindow::Count(count));
    }
    assert_eq!(refused(&World::default(), Days::Last(0)), ImpossibleWindow::Count(0));
    assert_eq!(days(&world(), Days::Between(Date::MIN, Date::MAX)), (Date::MIN, Date::MAX));
}

#[test]
fn runs_after_the_window_are_left_out_and_calls_before_it() {
    let mut world = World::default();
    for on in 1..=5 {
        world.run("a", on, [ok("t.a"), failed("t.a", "F-1")]);
    }
    let window = world.days(Days::Between(date(2026, 1, 3), date(2026, 1, 4)));
    assert_eq!((window.runs().len(), window.runs_within().collect::<Vec<_>>()), (4, vec![2, 3]));
    assert_eq!(window.calls().all().len(), 4);
    assert_eq!((window.hits().all().len(), window.tools().all().len()), (4, 4));
}

#[test]
fn a_line_that_names_what_no_earlier_line_describes_is_refused() {
    let refused = |line: Line| {
        let mut builder = Builder::default();
        world().lines().into_iter().for_each(|line| builder.take(line).unwrap());
        builder.take(line).unwrap_err()
    };
    let tool = |run: &str| Tool {
        run: run.to_owned(),
        tool: "t.a".to_owned(),
        calls: 1,
        failed: 0,
        dead_end: false,
        recovered: false,
    };
    let hit = |issue: &str, run: &str| Hit {
        issue: issue.to_owned(),
        run: run.to_owned(),
        calls: 1,
        recovered: false,
        tools: Vec::new(),
    };
    let run = "expected the id of a run that an earlier line describes";
    let issue = "expected the id of an issue that an earlier line describes";
    assert_eq!(refused(Line::Tool(tool("run-9"))), run);
    assert_eq!(refused(Line::Hit(hit("F-1", "run-9"))), run);
    assert_eq!(refused(Line::Hit(hit("F-9", "run-00001"))), issue);
    assert_eq!(refused(world().lines().remove(0)), "expected one line for each run");
    let meta =
        |schema: &str, tz: &str| Line::Meta(Meta { schema: schema.to_owned(), tz: tz.to_owned() });
    assert_eq!(refused(meta("facts/v2", "UTC")), "expected the schema facts/v1");
    assert_eq!(refused(meta("facts/v1", "Mars")), "expected the name of a time zone in tz");
}

#[test]
fn the_last_week_is_the_one_before_the_week_of_the_newest_day() {
    let last_week = |newest: i64| {
        let mut world = world();
        world.others.push(Line::Tick(Tick { at: day(newest) }));
        days(&world, Days::LastWeek)
    };
    // The eleventh day is a Sunday, which is not over.
    assert_eq!(last_week(11), (date(2025, 12, 29), date(2026, 1, 4)));
    assert_eq!([12, 18].map(last_week), [(date(2026, 1, 5), date(2026, 1, 11)); 2]);
}

#[test]
fn names_in_lists_of_tools_versions_and_favourites_are_as_short_as_those_of_calls() {
    let (long, short) = ("x".repeat(5_000), "x".repeat(NAME));
    let mut world = world();
    world.catalog("C-1", &[(&long, "")], &[&long]);
    world.deploy("D-1", &long, 1);
    world.persona("a", &long, 0.5);
    let window = world.window();
    assert_eq!(
        (&window.catalogs()[0].tools[0].name, &window.catalogs()[0].hidden[0]),
        (&short, &short)
    );
    assert_eq!(window.deployments()[0].version, short);
    assert_eq!(window.personas()[0].mix.keys().next(), Some(&short));
}

#[test]
fn without_any_fact_there_is_no_day() {
    let window = World::default().window();
    assert_eq!((window.days(), window.runs_within().count()), (None, 0));
    assert_eq!(
        crate::facts::world::window(&[], Days::Between(day_of(1), day_of(2))).days(),
        Some((day_of(1), day_of(2)))
    );
}

fn day_of(number: i8) -> Date {
    date(2026, 1, number)
}

#[test]
fn deployments_of_the_same_time_keep_their_order() {
    let mut world = world();
    let ids = ["D-9", "D-10", "D-8"];
    let at = [day(2), day(2), day(1)];
    world.others.extend(ids.into_iter().zip(at).map(|(id, at)| {
        let (id, version) = (id.to_owned(), "1".to_owned());
        Line::Deployment(Deployment { id, version, source: String::new(), at })
    }));
    let window = world.window();
    let ids: Vec<_> = window.deployments().iter().map(|deployment| &*deployment.id).collect();
    assert_eq!(ids, ["D-8", "D-9", "D-10"]);
}

fn issue(id: &str, tool: Option<&str>) -> Line {
    Line::Issue(crate::facts::line::Issue {
        id: id.to_owned(),
        tool: tool.map(str::to_owned),
        cause: Cause::Coded,
        template: "GONE".to_owned(),
        first: None,
    })
}

fn hit(id: &str, run: &str) -> Line {
    let (issue, run) = (id.to_owned(), run.to_owned());
    Line::Hit(Hit { issue, run, calls: 1, recovered: false, tools: Vec::new() })
}

#[test]
fn the_tools_of_a_hit_follow_from_the_runs_calls_where_they_are_there() {
    let mut world = World::default();
    let coded = |tool| failed_by(Cause::Coded, tool, "F-1");
    world.run("a", 1, [coded("t.b"), failed("t.c", "F-2"), coded("t.a")]);
    world.others.insert(0, issue("F-1", None));
    world.others.push(hit("F-1", "run-00001"));
    let window = world.window();
    let tools: Vec<_> =
        window.hits().all()[0].tools.iter().map(|tool| window.text(*tool)).collect();
    let mut sorted = tools.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["t.a", "t.b"]);
}

#[test]
fn an_issue_whose_line_does_not_name_the_first_failure_has_that_of_its_first_run() {
    let mut world = World::default();
    world.run("a", 2, []);
    world.run("a", 3, [ok("t.a"), failed("t.a", "F-1")]);
    world.others.insert(0, issue("F-1", Some("t.a")));
    let first = |world: &World| {
        let first = world.window().issues()[0].first.clone()?;
        Some((first.run?, first.call))
    };
    assert_eq!(first(&world), Some(("run-00002".to_owned(), Some(2))));
    world.others.push(hit("F-1", "run-00001"));
    assert_eq!(first(&world), Some(("run-00001".to_owned(), None)), "a run without calls");
    world.others.truncate(1);
    assert_eq!(first(&world), None);
}

#[test]
fn a_tool_belongs_to_the_module_that_its_newest_call_names() {
    let mut world = World::default();
    for (on, module) in [(1, "old"), (2, "todo")] {
        world.run("a", on, [Call { module: module.to_owned(), ..ok("create_task") }]);
    }
    world.others.push(issue("F-1", Some("mail.send")));
    let window = world.window();
    let module = |tool: Option<Name>| window.text(window.module_of(tool.unwrap())).to_owned();
    assert_eq!(module(Some(window.calls().all()[0].tool)), "todo");
    assert_eq!(module(window.issues()[0].tool), "mail", "no call is known");
}

#[test]
fn a_hit_that_names_no_tool_is_one_of_its_issues_tool_or_of_the_tools_that_failed() {
    let mut world = world();
    world.run("a", 4, []).outcome = Outcome::Turns;
    let run = "run-00002".to_owned();
    let tool = |tool: &str, failed| {
        let tool = tool.to_owned();
        Line::Tool(Tool {
            run: run.clone(),
            tool,
            calls: 2,
            failed,
            dead_end: false,
            recovered: true,
        })
    };
    let hit = |id: &str| hit(id, &run);
    world.others.extend([issue("F-2", Some("t.x")), issue("F-3", None), hit("F-2"), hit("F-3")]);
    world.others.extend([tool("t.b", 0), tool("t.c", 1), tool("t.d", 2)]);
    let window = world.window();
    let tools: Vec<Vec<_>> = window
        .hits()
        .of(1)
        .iter()
        .map(|hit| hit.tools.iter().map(|tool| window.text(*tool)).collect())
        .collect();
    assert_eq!(tools, [vec!["t.x"], vec!["t.c", "t.d"]]);
}
