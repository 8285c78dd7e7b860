//! What is said of a fact, and of all of them.

use jiff::SignedDuration;

use super::*;
use crate::facts::world::{day, failed_by, with};

#[test]
fn a_tool_that_breaks_for_all_is_worse_with_all_its_facts_and_better_the_other_way_round() {
    let world = broken();
    let worse = latest(&world);
    assert_eq!(worse.verdict, Overall::Worse);
    assert_eq!(worse.findings.len(), 4);
    for finding in &worse.findings {
        assert_eq!(finding.verdict, Verdict::Worse, "{}", finding.id);
        assert_eq!((finding.a.value, finding.b.value), (Some(0.0), Some(1.0)));
        assert_eq!(finding.effect, Some(Effect { value: 1.0, low: Some(1.0), high: Some(1.0) }));
        assert!(finding.p_adjusted.unwrap() < 1e-30, "{finding:?}");
        assert_eq!(finding.personas, PERSONAS);
    }
    let better = compared(&world, Some("2"), Some("1"));
    assert_eq!(better.verdict, Overall::NothingWorse);
    assert!(better.findings.iter().all(|finding| finding.verdict == Verdict::Better));
    assert_eq!(better.findings[0].effect.unwrap().value, -1.0);
}

#[test]
fn a_rating_that_falls_is_worse() {
    let rated = |before: u8, after: u8| {
        let mut world = World::default();
        world.deploy("D-2", "2", 29);
        for on in 1..=35 {
            for persona in PERSONAS {
                let run = world.run(persona, on, [ok("todo.add")]);
                run.deployment = (on >= 29).then(|| "D-2".to_owned());
                world.rate("todo", if on < 29 { before } else { after }, "A note.", &[1]);
            }
        }
        latest(&world)
    };
    let worse = rated(4, 3);
    assert_eq!(verdict(&worse, "rating:todo"), Verdict::Worse);
    assert_eq!(finding(&worse, "rating:todo").effect.unwrap().value, -1.0);
    assert_eq!(verdict(&rated(3, 4), "rating:todo"), Verdict::Better);
    assert_eq!(verdict(&rated(3, 3), "rating:todo"), Verdict::Unchanged);
}

#[test]
fn the_runs_of_a_finding_show_the_largest_change_and_are_of_one_persona() {
    let world = five_weeks(|persona, on, is_new| {
        let breaks = match persona {
            "a" => is_new || on == 28,
            "b" => is_new && on != 35,
            "c" => false,
            _ => is_new && on % 2 == 0,
        };
        [if breaks { failed("todo.add", "F-1") } else { ok("todo.add") }]
    });
    let comparison = latest(&world);
    let found = finding(&comparison, "tool:todo.add");
    assert_eq!(found.personas, ["a", "b", "d", "e", "f"]);
    let run =
        |on: i64, persona: i64| Some(Example { run: format!("run-{:05}", (on - 1) * 6 + persona) });
    // The latest run of a before that succeeded, and the latest after that failed.
    assert_eq!((found.before.clone(), found.after.clone()), (run(27, 1), run(35, 1)));
}

#[test]
fn an_issue_without_a_hit_before_is_watched_from_three_hit_runs_on() {
    let hit = |most: i64, before: bool| {
        let world = five_weeks(|persona, on, _| {
            let hits = persona == "a" && (29..29 + most).contains(&on) || before && on == 1;
            [if hits { failed("todo.add", "F-1") } else { ok("todo.add") }]
        });
        verdict(&latest(&world), "F-1")
    };
    assert_ne!(hit(2, false), Verdict::Watch);
    assert_eq!(hit(3, false), Verdict::Watch);
    assert_ne!(hit(3, true), Verdict::Watch);
}

#[test]
fn a_new_issue_of_personas_that_have_no_run_before_is_watched() {
    let mut world = five_weeks(|_, _, _| [ok("todo.list")]);
    for (persona, on) in [("a", 30), ("a", 31), ("z", 31)] {
        built(world.run(persona, on, [failed("todo.add", "F-1")]), "D-2");
    }
    let comparison = latest(&world);
    let found = finding(&comparison, "F-1");
    assert_eq!((found.verdict, found.p), (Verdict::Watch, None));
    assert_eq!(found.personas, ["a", "z"]);
    assert_eq!((found.before.is_some(), found.after.is_some()), (false, true));
    assert_eq!(verdict(&comparison, "tool:todo.add"), Verdict::Untested);
    assert_eq!(comparison.verdict, Overall::NothingWorse);
}

#[test]
fn a_verdict_needs_two_personas_unless_only_one_uses_it() {
    let broken_for = |users: &'static str, broken: &'static str| {
        let world = five_weeks(|persona, _, is_new| {
            let fails = is_new && broken.contains(persona);
            let uses = users.contains(persona);
            let call = if fails { failed("todo.add", "F-1") } else { ok("todo.add") };
            [if uses { call } else { ok("mail.send") }]
        });
        verdict(&latest(&world), "tool:todo.add")
    };
    assert_eq!(broken_for("a", "a"), Verdict::Worse);
    assert_eq!(broken_for("ab", "ab"), Verdict::Worse);
    assert_ne!(broken_for("ab", "a"), Verdict::Worse);
    assert_ne!(broken_for("abcdef", "a"), Verdict::Worse);
}

#[test]
fn a_verdict_needs_an_effect_of_ten_points_or_three_tenths_of_a_rating() {
    // Of a hundred runs before none fails, and of a hundred after so many.
    let world = |after: i64| {
        let mut world = World::default();
        world.deploy("D-2", "2", 101);
        for on in 1..=200 {
            for persona in PERSONAS {
                let fails = on > 100 && on - 101 < after;
                let call = if fails { failed("todo.add", "F-1") } else { ok("todo.add") };
                let run = world.run(persona, on, [call]);
                run.deployment = (on > 100).then(|| "D-2".to_owned());
            }
        }
        compared(&world, Some("2026-01-01..2026-04-10"), None)
    };
    let small = world(9);
    let found = finding(&small, "tool:todo.add");
    assert_eq!((found.effect.unwrap().value, found.verdict), (0.09, Verdict::Unchanged));
    assert!(found.p_adjusted.unwrap() < 1e-6);
    let large = world(10);
    let found = finding(&large, "tool:todo.add");
    assert_eq!((found.effect.unwrap().value, found.verdict), (0.1, Verdict::Worse));
}

#[test]
fn without_a_difference_p_is_that_of_worse_and_what_would_have_been_seen_is_unchanged() {
    for fails in [false, true] {
        let mut world = World::default();
        world.deploy("D-2", "2", 29);
        for (on, persona) in (1..=42).flat_map(|on| PERSONAS.map(|persona| (on, persona))) {
            let call = if fails { failed("todo.add", "F-1") } else { ok("todo.add") };
            let run = world.run(persona, on, [call]);
            run.deployment = (on > 28).then(|| "D-2".to_owned());
        }
        let comparison = latest(&world);
        let found = finding(&comparison, "tool:todo.add");
        assert_eq!(
            (found.verdict, found.p, found.p_adjusted),
            (Verdict::Unchanged, Some(1.0), None)
        );
        assert_eq!(found.effect.map(|effect| effect.value), Some(0.0));
        assert!(found.personas.is_empty() && found.before.is_none() && found.after.is_none());
        // What fails in each run cannot become worse.
        let overall = if fails { Overall::NothingTestable } else { Overall::NothingWorse };
        assert_eq!(comparison.verdict, overall);
    }
}

#[test]
fn too_few_runs_are_undecided_and_nothing_is_testable_where_no_change_would_be_seen() {
    let mut world = World::default();
    world.deploy("D-2", "2", 2);
    for (on, deployment) in [(1, None), (2, Some("D-2"))] {
        let run = world.run("a", on, [ok("todo.add")]);
        run.deployment = deployment.map(str::to_owned);
    }
    let comparison = latest(&world);
    assert_eq!(comparison.verdict, Overall::NothingTestable);
    assert_eq!(comparison.detectable, Pair::default());
    assert_eq!(verdict(&comparison, "tool:todo.add"), Verdict::Undecided);
}

#[test]
fn a_p_value_that_is_the_limit_on_paper_counts_whatever_its_last_bits_are() {
    // Each fact of the tool has p = 1/4 x 1/5 x 1/5 = .01, the smallest one attainable, and there are five facts.
    let mut world = World::default();
    world.deploy("D-2", "2", 11);
    for (persona, before) in PERSONAS.into_iter().zip([3, 4, 4]) {
        for on in 1..=before {
            world.run(persona, on, [ok("todo.add")]);
            world.rate("todo", 5, "", &[1]);
        }
        world.run(persona, 11, [failed("todo.add", "F-1")]).deployment = Some("D-2".to_owned());
        world.rate("todo", 1, "", &[1]);
    }
    let comparison = latest(&world);
    let found = finding(&comparison, "tool:todo.add");
    assert_eq!((found.p, found.p_adjusted), (Some(0.01), Some(0.05)));
    assert_eq!(comparison.verdict, Overall::Worse);
}

#[test]
fn what_only_the_rule_of_benjamini_and_hochberg_finds_is_to_watch() {
    // Three tools in modules of their own fail in 18 of 168 runs of A and in 10 of 42 of B. Twelve facts with the same p
    // of about .03 are twelve times as probable by Holm, and not more probable by the other rule.
    let world = five_weeks(|persona, on, is_new| {
        let place = PERSONAS.iter().position(|it| *it == persona).unwrap();
        let fails = match is_new {
            false => [5, 14, 23].contains(&on),
            true => on == 30 || on == 33 && place < 4,
        };
        ["a.add", "b.add", "c.add"]
            .map(|tool| if fails { failed(tool, &format!("F-{tool}")) } else { ok(tool) })
    });
    let comparison = latest(&world);
    for id in ["tool:a.add", "module:b", "F-c.add", "dead-end:a.add"] {
        let found = finding(&comparison, id);
        assert_eq!(found.verdict, Verdict::Watch, "{found:?}");
        let (p, adjusted) = (found.p.unwrap(), found.p_adjusted.unwrap());
        assert!(p > 0.01 && p <= 0.05 && adjusted > 0.05, "{found:?}");
        assert!(!found.is_new && found.personas.len() == 6, "{found:?}");
    }
    assert_eq!(comparison.verdict, Overall::NothingWorse);
}

#[test]
fn an_interval_needs_five_personas() {
    let mut world = World::default();
    world.deploy("D-2", "2", 29);
    for on in 1..=35 {
        for persona in &PERSONAS[..4] {
            let call = if on % 3 == 0 { failed("todo.add", "F-1") } else { ok("todo.add") };
            let run = world.run(persona, on, [call]);
            run.deployment = (on >= 29).then(|| "D-2".to_owned());
        }
    }
    let effect = finding(&latest(&world), "tool:todo.add").effect.unwrap();
    assert_eq!((effect.low, effect.high), (None, None));
}

#[test]
fn the_noise_floor_is_known_from_ten_comparisons_on_and_makes_a_verdict_harder() {
    // Four tools whose failures come in weeks: λ has 4 · 3 comparisons.
    let with_drift = |tools: usize, drift: bool| {
        let tools = ["t.a", "t.b", "t.c", "t.d"].into_iter().take(tools);
        let world = five_weeks(|_, on, is_new| {
            tools
                .clone()
                .zip(0..)
                .map(move |(tool, number)| {
                    let week = (28 - on).div_euclid(7);
                    let is_bad = if drift { (week + number) % 2 == 0 } else { on % 7 < 3 };
                    if is_bad || is_new && number == 0 { failed(tool, "F-1") } else { ok(tool) }
                })
                .collect::<Vec<_>>()
        });
        latest(&world)
    };
    assert_eq!(with_drift(3, true).lambda.share, None);
    assert_eq!(with_drift(4, false).lambda, Pair { share: Some(1.0), rating: None });
    let (quiet, drifting) = (with_drift(4, false), with_drift(4, true));
    assert!(drifting.lambda.share.unwrap() > 10.0, "{:?}", drifting.lambda);
    let worse = |of: &Comparison| finding(of, "tool:t.a").p_adjusted;
    assert!(worse(&quiet).unwrap() < 1e-6);
    assert_ne!(verdict(&drifting, "tool:t.a"), Verdict::Worse, "{:?}", worse(&drifting));
    let seen = quiet.detectable.share.unwrap();
    assert!(drifting.detectable.share.is_none_or(|share| share > seen));
}

#[test]
fn the_noise_floor_is_one_of_a_whichever_deployment_its_weeks_end_with() {
    // The last moment of A is in week 1, and the last of week 2 is not.
    let world = five_weeks(|_, on, is_new| {
        let fails = (22..29).contains(&on) || is_new;
        ["t.a", "t.b", "t.c", "t.d"].map(|tool| if fails { failed(tool, "F-1") } else { ok(tool) })
    });
    let shares = [None, Some("1"), Some("2026-01-01..2026-01-28")]
        .map(|a| compared(&world, a, None).lambda.share.unwrap());
    assert!(shares[0] > 10.0 && shares.iter().all(|share| *share == shares[0]), "{shares:?}");
}

#[test]
fn settings_that_differ_are_named_with_the_time_of_the_newest_value() {
    let mut world = World::default();
    world.deploy("D-2", "2", 29);
    for on in 1..=35 {
        for persona in PERSONAS {
            let run = world.run(persona, on, [ok("todo.add")]);
            run.deployment = (on >= 29).then(|| "D-2".to_owned());
            let since = |first| if on >= first { "new" } else { "old" }.to_owned();
            run.model = Some(since(30));
            run.runner = Some(since(20));
            // Each persona has a prompt of its own, and those of version 1 did not say the policy.
            run.prompt = Some(persona.to_owned());
            run.policy = (on >= 29).then(|| "policy".to_owned());
        }
    }
    // Persona a has its hour at one o'clock, and is the first of each day.
    let since = |on| day(on) + SignedDuration::from_hours(i64::from(b'a' % 24));
    let confounder = |what, on| Confounder { what, since: since(on) };
    assert_eq!(latest(&world).confounded, [confounder("model", 30), confounder("runner", 20)]);
    let run = world.run("b", 35, [ok("todo.add")]);
    (run.prompt, run.deployment) = (Some("new".to_owned()), Some("D-2".to_owned()));
    run.effort = Some("high".to_owned());
    let at = run.at;
    let all = latest(&world).confounded;
    let names: Vec<_> = all.iter().map(|it| it.what).collect();
    assert_eq!((names, all[1].since), (vec!["model", "prompt", "runner"], at));
}

#[test]
fn findings_are_listed_by_verdict_then_p_then_fact_then_id() {
    let world = five_weeks(|_, on, is_new| {
        let t =
            |breaks: bool, tool| if breaks { failed(tool, &format!("F-{tool}")) } else { ok(tool) };
        [t(is_new, "b.b"), t(is_new, "b.a"), t(!is_new, "c.c"), t(on % 2 == 0, "d.d")]
    });
    let comparison = latest(&world);
    let ids: Vec<_> = comparison.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "F-b.a",
            "F-b.b",
            "tool:b.a",
            "tool:b.b",
            "dead-end:b.a",
            "dead-end:b.b",
            "module:b",
            "F-c.c",
            "tool:c.c",
            "dead-end:c.c",
            "module:c",
            "F-d.d",
            "tool:d.d",
            "dead-end:d.d",
            "module:d",
        ]
    );
}

#[test]
fn hostile_texts_leave_a_comparison_of_bounded_size() {
    let hostile = "<script>|`\u{202e}\u{0}\u{7}\"\\\n".repeat(40);
    let mut world = World::default();
    world.deploy("D-2", &hostile, 15);
    for number in 0..2_000 {
        let (persona, on) = (format!("{}{hostile}", number % 50), 1 + number % 29);
        let tool = format!("todo.{}{hostile}", number % 40);
        let call = failed_by(crate::domain::Cause::Cut, &tool, &format!("F-{:04}", number % 30));
        let run = world.run(&persona, on, [with(&hostile, call)]);
        run.deployment = (on >= 15).then(|| "D-2".to_owned());
    }
    let json = serde_json::to_string(&latest(&world)).unwrap();
    assert!(json.len() < 150 * (50 * 64 * 6 + 4_000), "{}", json.len());
}

#[test]
fn a_few_equal_ratings_do_not_show_that_nothing_changed() {
    let rated = |days: i64| {
        let mut world = World::default();
        world.deploy("D-2", "2", 1 + days);
        for on in 1..=2 * days {
            for persona in PERSONAS {
                let run = world.run(persona, on, [ok("todo.add")]);
                run.deployment = (on > days).then(|| "D-2".to_owned());
                world.rate("todo", 4, "A note.", &[1]);
            }
        }
        verdict(&latest(&world), "rating:todo")
    };
    assert_eq!((rated(1), rated(14)), (Verdict::Undecided, Verdict::Unchanged));
}
