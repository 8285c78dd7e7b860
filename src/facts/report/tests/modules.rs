//! What is known about each module.

use super::*;
use crate::facts::coverage::{Subject, WhyNotTested};

/// Adds a run with one call of `todo.list`, which this rating names.
fn rated(world: &mut World, persona: &str, on: i64, rating: u8) {
    world.run(persona, on, [ok("todo.list")]);
    world.rate("todo", rating, &format!("{persona} on day {on}"), &[1]);
}

/// The rating of the module of [`rated`] runs.
fn rating(world: &World) -> RatingReport {
    module(&week(world), "todo").rating.clone().unwrap()
}

fn statuses(report: &Report) -> Vec<(&str, &'static str)> {
    report.modules.iter().map(|it| (&*it.module, it.status.as_str())).collect()
}

#[test]
fn each_module_of_a_catalog_appears_and_each_one_that_a_persona_likes_or_used() {
    let mut world = World::default();
    world.catalog("C-1", &[("mail.send", ""), ("todo.list", "")], &["admin.drop", "todo.drop"]);
    world.catalog("C-2", &[("habits.add", "")], &[]);
    world.catalog("C-3", &[("later.add", "")], &[]);
    world.persona("a", "calendar", 0.5);
    for (catalog, on) in [("C-1", MONDAY), ("C-2", MONDAY + 1), ("C-3", MONDAY + 7)] {
        world.run("a", on, [ok("old.list")]).catalog = Some(catalog.to_owned());
    }
    let expected = [
        ("admin", "not-offered"),
        ("calendar", "not-offered"),
        ("habits", "unused"),
        ("mail", "unused"),
        ("old", "too-few"),
        ("todo", "unused"),
    ];
    assert_eq!(statuses(&week(&world)), expected);
}

#[test]
fn where_no_run_names_its_catalog_all_known_ones_count() {
    let mut world = World::default();
    world.catalog("C-1", &[("mail.send", "")], &[]);
    world.catalog("C-2", &[("todo.list", "")], &[]);
    assert_eq!(statuses(&week(&world)), [("mail", "unused"), ("todo", "unused")]);
    // The list of the newest run before the week is known to be the last one.
    world.run("a", MONDAY - 1, []).catalog = Some("C-2".to_owned());
    assert_eq!(statuses(&week(&world)), [("todo", "unused")]);
}

#[test]
fn a_word_for_absence_takes_the_place_of_every_number() {
    let mut world = World::default();
    world.catalog("C-1", &[("unused.add", "")], &[]);
    world.persona("a", "calendar", 0.5);
    let fails = |on| if on % 2 == 0 { failed("used.add", "F-USED") } else { ok("used.add") };
    for on in MONDAY - 20..=MONDAY + 6 {
        for persona in &PERSONAS[..3] {
            let mut calls = vec![ok("rated.add"), fails(on)];
            // Four runs in the window.
            if on < MONDAY || on == MONDAY && *persona < "c" || on == MONDAY + 1 && *persona < "c" {
                calls.push(ok("few.add"));
            }
            world.run(persona, on, calls).catalog = Some("C-1".to_owned());
            world.rate("rated", 4, "Fine.", &[1]);
            world.rate("used", 1, "No call shows it.", &[]);
            world.rate("few", 2, "Hm.", &[3]);
        }
    }
    let report = week(&world);
    let expected = [
        ("calendar", "not-offered", false, false),
        ("few", "too-few", false, false),
        ("rated", "rated", true, true),
        ("unused", "unused", false, false),
        ("used", "used", false, true),
    ];
    let shown = report.modules.iter().map(|it| {
        let has_trend = it.trend.iter().any(Option::is_some);
        assert_eq!((has_trend, it.trend.len()), (it.rating.is_some(), TREND_DAYS), "{}", it.module);
        (&*it.module, it.status.as_str(), it.rating.is_some(), it.friction.is_some())
    });
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    let why = |name: &str| {
        let is_it = |it: &&NotTested| it.subject == Subject::Module(name.to_owned());
        report.not_tested.iter().find(is_it).map(|it| it.why)
    };
    assert_eq!(
        ["calendar", "few", "rated", "unused", "used"].map(why),
        [
            Some(WhyNotTested::NotOffered),
            Some(WhyNotTested::TooFew),
            None,
            Some(WhyNotTested::Unused),
            Some(WhyNotTested::Unrated)
        ]
    );
    let used = module(&report, "used");
    assert_eq!((used.ungrounded, used.personas, used.runs), (21, 3, 21));
}

#[test]
fn what_is_not_tested_lists_tools_too() {
    let mut world = every_day(&PERSONAS, MONDAY..=MONDAY + 6, &[ok("todo.list")]);
    world.catalog("C-1", &[("todo.list", ""), ("todo.add", ""), ("todo.move", "")], &["todo.drop"]);
    let away = failed_by(Cause::Unreachable, "todo.move", "F-AWAY");
    world.run("a", MONDAY, [ok("todo.add"), away]).catalog = Some("C-1".to_owned());
    let tools: Vec<_> = week(&world)
        .not_tested
        .into_iter()
        .filter_map(|it| match it.subject {
            Subject::Tool(name) => Some((name, it.why.as_str())),
            Subject::Module(_) => None,
        })
        .collect();
    let expected = [("todo.add", "too-few"), ("todo.drop", "not-offered"), ("todo.move", "unused")];
    let mut tools: Vec<_> = tools.iter().map(|(name, why)| (&**name, *why)).collect();
    tools.sort_unstable();
    // A call that did not reach the product is no use of the tool.
    assert_eq!(tools, expected);
}

#[test]
fn the_difference_is_one_to_each_personas_own_eight_weeks_before_the_window() {
    let mut world = World::default();
    for persona in &PERSONAS[..5] {
        rated(&mut world, persona, MONDAY - 57, 1);
        rated(&mut world, persona, MONDAY - 56, 4);
        rated(&mut world, persona, MONDAY - 1, 5);
        rated(&mut world, persona, MONDAY, 3);
        rated(&mut world, persona, MONDAY + 6, 4);
        rated(&mut world, persona, MONDAY + 7, 1);
    }
    // One without a past is in the mean only.
    rated(&mut world, "f", MONDAY, 1);
    let rating = rating(&world);
    assert_eq!((rating.mean, rating.n, rating.personas), (3.3, 11, 6));
    let delta = rating.delta.unwrap();
    assert_eq!((delta.value, delta.n, delta.personas), (-1.0, 10, 5));
    assert_eq!((delta.low, delta.high), (Some(-1.0), Some(-1.0)));
    assert_eq!(delta.points, [0.0; 0]);
}

#[test]
fn fewer_than_five_personas_have_points_and_no_interval() {
    let mut world = World::default();
    for (past, persona) in (2..).zip(&PERSONAS[..4]) {
        rated(&mut world, persona, MONDAY - 1, past);
        rated(&mut world, persona, MONDAY, 4);
        rated(&mut world, persona, MONDAY + 1, 4);
    }
    let delta = rating(&world).delta.unwrap();
    assert_eq!((delta.low, delta.high, delta.personas), (None, None, 4));
    assert_eq!(delta.points, [-1.0, 0.0, 1.0, 2.0], "ascending");
    rated(&mut world, "e", MONDAY - 1, 4);
    rated(&mut world, "e", MONDAY, 4);
    let delta = rating(&world).delta.unwrap();
    assert!(
        delta.low.is_some_and(|low| low <= delta.value)
            && delta.high.is_some_and(|high| high >= delta.value)
    );
    assert_eq!((delta.points.len(), delta.personas), (0, 5));
}

#[test]
fn other_personas_make_no_difference() {
    let mut world = World::default();
    for (persona, rating, before, after) in [("a", 5, 9, 1), ("b", 1, 1, 9)] {
        (1..=before).for_each(|ago| rated(&mut world, persona, MONDAY - ago, rating));
        (0..after).for_each(|on| rated(&mut world, persona, MONDAY + on % 7, rating));
    }
    let rating = rating(&world);
    assert_eq!(rating.mean, 1.4);
    let delta = rating.delta.unwrap();
    assert_eq!((delta.value, &*delta.points), (0.0, &[0.0, 0.0][..]));
}

#[test]
fn without_a_past_there_is_no_difference_and_an_ungrounded_rating_is_in_no_number() {
    let mut world = World::default();
    for persona in &PERSONAS[..5] {
        rated(&mut world, persona, MONDAY, 4);
        // Neither as a past nor in the window.
        for on in [MONDAY - 1, MONDAY + 1] {
            world.run(persona, on, [ok("todo.list")]);
            world.rate("todo", 1, "I guess.", &[]);
        }
    }
    let report = week(&world);
    let todo = module(&report, "todo");
    assert_eq!(todo.rating, Some(RatingReport { mean: 4.0, n: 5, personas: 5, delta: None }));
    assert_eq!((todo.ungrounded, todo.runs, todo.personas), (5, 10, 5));
    let trend: Vec<_> = todo.trend.iter().flatten().copied().collect();
    assert_eq!(trend, [4.0]);
}

#[test]
fn the_trend_of_ratings_is_the_mean_of_each_of_28_days() {
    let mut world = World::default();
    for on in MONDAY - 40..=MONDAY + 7 {
        for (persona, rating) in [("a", 1 + (on % 3) as u8), ("b", 4)] {
            rated(&mut world, persona, on, rating);
        }
    }
    let last = MONDAY + 6;
    let expected = |on: i64| Some((1 + on % 3 + 4) as f64 / 2.0);
    assert_eq!(
        module(&week(&world), "todo").trend,
        (last - 27..=last).map(expected).collect::<Vec<_>>()
    );
}

#[test]
fn friction_is_the_share_of_runs_in_which_a_tool_of_the_module_failed_by_the_product() {
    let mut world = World::default();
    let away = failed_by(Cause::Unreachable, "todo.list", "F-AWAY");
    let invented = failed_by(Cause::Invented, "todo.list", "F-INVE");
    for (on, persona) in (0..).zip(PERSONAS) {
        let calls = match on {
            0 => vec![failed("todo.add", "F-AAAA"), ok("todo.list")],
            1 => vec![failed("todo.add", "F-AAAA"), failed("todo.list", "F-BBBB")],
            2 => vec![ok("todo.list"), away.clone()],
            3 => vec![ok("todo.list"), invented.clone()],
            4 => vec![ok("todo.list"), failed("mail.send", "F-MAIL")],
            // Not exposed.
            _ => vec![away.clone(), invented.clone()],
        };
        world.run(persona, MONDAY + on, calls);
    }
    world.run("a", MONDAY - 1, [failed("todo.add", "F-AAAA")]);
    let report = week(&world);
    let share = module(&report, "todo").friction.unwrap();
    assert_eq!((share.value, share.n, share.personas), (0.4, 5, 5));
}

#[test]
fn the_lowest_grounded_rating_is_quoted_and_of_several_the_newest() {
    let mut world = World::default();
    for (persona, on, rating) in
        [("a", 0, 2), ("b", 1, 4), ("a", 2, 2), ("c", 3, 3), ("a", 4, 3), ("a", -1, 1)]
    {
        rated(&mut world, persona, MONDAY + on, rating);
    }
    world.run("d", MONDAY, [ok("todo.list")]);
    world.rate("todo", 1, "No call shows it.", &[]);
    let report = week(&world);
    let quote = module(&report, "todo").quote.as_ref().unwrap();
    assert_eq!((&*quote.text, &*quote.persona, quote.call), ("a on day 63", "a", Some(1)));
    assert_eq!(quote.run, "run-00003");
}

/// The persona that each module quotes, by name, if personas rate modules so in one run each.
fn quoted(ratings: &[(&str, &[(&str, u8)])]) -> Vec<Option<String>> {
    let mut world = World::default();
    for (on, (persona, rated)) in (MONDAY..).zip(ratings) {
        world.run(persona, on, rated.iter().map(|(name, _)| ok(&format!("{name}.list"))));
        for ((name, rating), call) in rated.iter().zip(1..) {
            world.rate(name, *rating, name, &[call]);
        }
    }
    let modules = week(&world).modules;
    let quotes = modules.into_iter().map(|it| {
        let quote = it.quote?;
        assert_eq!(quote.text, it.module);
        Some(quote.persona)
    });
    quotes.collect()
}

#[test]
fn each_persona_is_quoted_for_one_module_the_worst_one_first() {
    let some = |persona: &str| Some(persona.to_owned());
    let a = ("a", &[("habits", 1), ("mail", 2), ("todo", 4)][..]);
    let b = ("b", &[("habits", 3), ("mail", 2), ("todo", 2)][..]);
    // Mail is as low for both; the newest is quoted of those that are not yet.
    assert_eq!(quoted(&[a, b]), [some("a"), some("b"), None]);
    assert_eq!(quoted(&[b, a]), [some("a"), some("b"), None]);
    assert_eq!(quoted(&[("a", &[("alpha", 5), ("zeta", 1)])]), [None, some("a")]);
    // No other rating takes the place of the lowest one.
    let c = ("c", &[("mail", 3), ("todo", 5)][..]);
    assert_eq!(quoted(&[a, c]), [some("a"), None, None]);
}

#[test]
fn a_module_that_no_run_was_exposed_to_is_not_used_whatever_was_rated() {
    let mut world = World::default();
    world.catalog("C-1", &[("todo.list", ""), ("mail.send", ""), ("both.add", "")], &["both.add"]);
    let away = || failed_by(Cause::Unreachable, "todo.list", "F-AWAY");
    let denied = || failed_by(Cause::RunnerPolicy, "calendar.list", "F-DENY");
    for on in MONDAY..=MONDAY + 6 {
        for persona in PERSONAS {
            let calls = [away(), denied(), ok("mail.send"), ok("mail.send")];
            world.run(persona, on, calls).catalog = Some("C-1".to_owned());
            world.rate("todo", 1, "Never there.", &[1]);
        }
    }
    let report = week(&world);
    let expected = [
        ("both", "not-offered"),
        ("calendar", "not-offered"),
        ("mail", "used"),
        ("todo", "unused"),
    ];
    assert_eq!(statuses(&report), expected);
    let counts = |name| (module(&report, name).runs, module(&report, name).personas);
    assert_eq!(["todo", "mail"].map(counts), [(0, 0), (42, 6)]);
    assert_eq!(module(&report, "todo").rating, None);
}

#[test]
fn a_list_of_tools_is_known_if_any_run_names_one() {
    let mut world = every_day(&["a"], MONDAY..=MONDAY, &[ok("todo.list")]);
    world.persona("a", "calendar", 0.5);
    assert!(!week(&world).is_catalog_known);
    world.catalog("C-1", &[("todo.list", "")], &[]);
    world.run("a", MONDAY + 1, []).catalog = Some("C-1".to_owned());
    assert!(week(&world).is_catalog_known);
}
