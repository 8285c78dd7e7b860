//! What is different from the time before.

use super::*;

/// Three personas, one run a day from `first` to the end of the week, in which `todo.add` fails on these days.
fn failing(first: i64, is_broken: impl Fn(i64) -> bool) -> World {
    let mut world = World::default();
    for on in first..=MONDAY + 13 {
        for persona in &PERSONAS[..3] {
            let call = if is_broken(on) { failed("todo.add", "F-AAAA") } else { ok("todo.add") };
            world.run(persona, on, [call]);
        }
    }
    world
}

fn resolved(report: &Report) -> Vec<&str> {
    report.resolved_without_hit.iter().map(|it| &*it.id).collect()
}

#[test]
fn a_friction_is_named_by_its_state() {
    let named = |world: &World| {
        let Changes { new, regressed, resolved, .. } = week(world).changes;
        [new, regressed, resolved].map(|ids| ids.join(" "))
    };
    let none = String::new;
    let one = || "F-AAAA".to_owned();
    assert_eq!(named(&failing(30, |on| on >= MONDAY + 2)), [one(), none(), none()], "new");
    let back = |on| (30..40).contains(&on) || on >= MONDAY + 2;
    assert_eq!(named(&failing(30, back)), [none(), one(), none()], "regressed");
    let gone = |on| (50..=MONDAY).contains(&on);
    assert_eq!(named(&failing(30, gone)), [none(), none(), one()], "resolved");
    assert_eq!(named(&failing(30, |on| on >= 40)), [none(), none(), none()], "open");
}

#[test]
fn frictions_that_are_not_raised_or_muted_are_not_named() {
    let mut world = failing(30, |on| on >= MONDAY + 2);
    world.mute("F-AAAA", MONDAY, MONDAY + 20);
    // Two runs that recovered raise no detector.
    for persona in &PERSONAS[..2] {
        world.run(persona, MONDAY + 1, [failed("mail.send", "F-FEWW"), ok("mail.send")]);
    }
    let report = week(&world);
    assert_eq!((report.frictions.len(), report.muted), (0, 1));
    assert_eq!(report.changes, Changes::default());
    // A mute that has ended before the week has.
    let mut world = failing(30, |on| on >= MONDAY + 2);
    world.mute("F-AAAA", MONDAY, MONDAY + 6);
    assert_eq!((week(&world).frictions.len(), week(&world).muted), (1, 0));
}

#[test]
fn an_issue_that_a_run_of_the_window_resolved_without_a_hit_is_no_friction_and_still_told() {
    let world = failing(30, |on| (50..MONDAY).contains(&on));
    let report = week(&world);
    assert_eq!((report.frictions.len(), &*report.changes.resolved), (0, &[][..]));
    assert_eq!(resolved(&report), ["F-AAAA"]);
    let resolved = &report.resolved_without_hit[0];
    assert_eq!(
        (resolved.tool.as_deref(), &*resolved.template),
        (Some("todo.add"), "cannot F-AAAA")
    );
    let date = |at| days::date(at, &TimeZone::UTC);
    // Every run failed, so that three clean ones suffice.
    assert_eq!(
        (date(resolved.last_hit), date(resolved.at)),
        (date(day(MONDAY - 1)), date(day(MONDAY)))
    );
}

#[test]
fn an_issue_is_told_as_resolved_once_and_only_if_three_runs_had_it_and_the_product_was_to_blame() {
    let gone = |on| (50..MONDAY).contains(&on);
    let world = failing(30, gone);
    assert_eq!(
        resolved(&report(&world.days(between(MONDAY + 7, MONDAY + 13)))),
        [""; 0],
        "the week after"
    );
    let mut muted = world.clone();
    muted.mute("F-AAAA", MONDAY, MONDAY + 20);
    assert_eq!(resolved(&week(&muted)), [""; 0], "muted");
    let mut rare = World::default();
    for on in 50..=MONDAY + 6 {
        for (number, persona) in PERSONAS.iter().enumerate() {
            let call = |count, tool: &str, id: &str, cause| match on == MONDAY - 1 && number < count
            {
                true => failed_by(cause, tool, id),
                false => ok(tool),
            };
            let calls = [
                call(2, "todo.add", "F-TWOO", Cause::Handler),
                call(3, "mail.send", "F-THRE", Cause::Handler),
                call(6, "habits.add", "F-AWAY", Cause::Unreachable),
            ];
            rare.run(persona, on, calls);
        }
    }
    assert_eq!(resolved(&week(&rare)), ["F-THRE"]);
}

/// The tools that changed between runs with these lists of tools: those of the day and the list.
fn tools(runs: &[(i64, Option<&str>)]) -> ToolChanges {
    let mut world = World::default();
    world.catalog("C-1", &[("a.a", "1"), ("b.b", "1"), ("c.c", ""), ("d.d", "1")], &["h.h"]);
    world.catalog("C-2", &[("b.b", "2"), ("c.c", "3"), ("d.d", "1"), ("e.e", "1")], &["h.h"]);
    world.catalog("C-3", &[("b.b", "1"), ("c.c", "1"), ("d.d", "1"), ("h.h", "1")], &["a.a"]);
    for (on, catalog) in runs {
        world.run("a", *on, []).catalog = catalog.map(str::to_owned);
    }
    week(&world).changes.tools
}

fn changed(added: &[&str], removed: &[&str], changed: &[&str]) -> ToolChanges {
    let [added, removed, changed] = [added, removed, changed]
        .map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    ToolChanges { added, removed, changed }
}

#[test]
fn the_newest_list_of_tools_is_compared_with_the_newest_one_before_the_window() {
    let (one, two) = (Some("C-1"), Some("C-2"));
    // A hash that is not known says nothing.
    let expected = changed(&["e.e"], &["a.a"], &["b.b"]);
    assert_eq!(tools(&[(MONDAY - 1, one), (MONDAY, two)]), expected);
    assert_eq!(tools(&[(1, two), (MONDAY - 1, one), (MONDAY, one), (MONDAY + 6, two)]), expected);
    assert_eq!(
        tools(&[(MONDAY - 1, one), (MONDAY, two), (MONDAY + 6, one)]),
        changed(&[], &[], &[])
    );
    assert_eq!(
        tools(&[(MONDAY - 1, one), (MONDAY, one), (MONDAY + 7, two)]),
        changed(&[], &[], &[])
    );
}

#[test]
fn without_a_run_before_the_window_the_first_one_counts_and_runs_without_a_list_do_not() {
    let (one, two) = (Some("C-1"), Some("C-2"));
    let expected = changed(&["e.e"], &["a.a"], &["b.b"]);
    assert_eq!(tools(&[(MONDAY, one), (MONDAY + 1, two)]), expected);
    assert_eq!(
        tools(&[(MONDAY - 2, one), (MONDAY - 1, None), (MONDAY, two), (MONDAY + 1, None)]),
        expected
    );
    for none in [&[][..], &[(MONDAY, one)], &[(1, one), (2, two)], &[(MONDAY, None)]] {
        assert_eq!(tools(none), ToolChanges::default(), "{none:?}");
    }
    assert_eq!(tools(&[(MONDAY - 1, one), (MONDAY, Some("unknown"))]), ToolChanges::default());
}

#[test]
fn a_tool_that_the_runner_hides_or_shows_is_neither_added_nor_removed() {
    assert_eq!(tools(&[(MONDAY - 1, Some("C-1")), (MONDAY, Some("C-3"))]), changed(&[], &[], &[]));
    assert_eq!(tools(&[(MONDAY - 1, Some("C-3")), (MONDAY, Some("C-1"))]), changed(&[], &[], &[]));
}

#[test]
fn a_trend_has_the_last_28_days_also_those_before_the_window() {
    let world = failing(30, |on| on >= MONDAY - 2);
    let report = week(&world);
    let [trend] = &report.trends[..] else { panic!("{:?}", report.trends) };
    let last = MONDAY + 6;
    let expected = |on| Some(if on >= MONDAY - 2 { 3.0 } else { 0.0 });
    assert_eq!(*trend, (last - 27..=last).map(expected).collect::<Vec<_>>());
    // Nobody was exposed on days without a run.
    let short = week(&failing(MONDAY - 1, |on| on >= MONDAY));
    let trend: Vec<_> = short.trends[0].iter().flatten().copied().collect();
    assert_eq!(
        (short.trends[0].len(), trend),
        (TREND_DAYS, vec![0.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    );
}

#[test]
fn each_friction_has_a_trend_and_that_of_one_without_an_issue_has_the_days_of_the_window() {
    let slow = || Call { latency_ms: Some(9_000), ..ok("mail.list") };
    let world = every_day(&PERSONAS, 30..=MONDAY + 6, &[slow(), failed("todo.add", "F-AAAA")]);
    let report = week(&world);
    let ids: Vec<_> = report.frictions.iter().map(|it| &*it.id).collect();
    assert_eq!((ids, report.trends.len()), (vec!["F-AAAA", "slow:mail.list"], 2));
    assert_eq!(report.trends[0], [Some(6.0); TREND_DAYS]);
    let (before, within) = report.trends[1].split_at(TREND_DAYS - 7);
    assert_eq!((before, within), (&[None; 21][..], &[Some(6.0); 7][..]));
}
