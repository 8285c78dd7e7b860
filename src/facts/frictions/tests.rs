mod calls;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{Label, Next},
    facts::{
        line::{self, Line},
        window::Days,
        world::{World, day, failed, ok, window, with},
    },
};

fn ids(frictions: &Frictions) -> Vec<&str> {
    frictions.frictions.iter().map(|friction| friction.id.as_str()).collect()
}

/// Ten personas for fourteen days. From day five on three of them cannot complete a todo.
fn broken_todo() -> World {
    let mut world = World::default();
    for on in 1..=14 {
        for (number, persona) in
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].iter().enumerate()
        {
            let mut calls = vec![ok("todo.list"), ok("todo.complete"), ok("journal.add")];
            if number < 3 && on >= 5 {
                calls[1] = failed("todo.complete", "F-BBBB");
            }
            if (on as usize * 7 + number * 3).is_multiple_of(20) {
                calls.push(failed("journal.add", "F-RRRR"));
                calls.push(ok("journal.add"));
            }
            if (on, number) == (9, 4) {
                let tries =
                    (0..40).map(|input| with(&input.to_string(), failed("goals.set", "F-LLLL")));
                calls.extend(tries);
            }
            world.run(persona, on, calls);
        }
    }
    world
}

#[test]
fn what_stops_most_personas_on_an_average_day_comes_first() {
    let frictions = frictions(&broken_todo().window());
    assert_eq!(ids(&frictions), ["F-BBBB", "F-RRRR", "F-LLLL"]);
    let [first, _, loud] = &frictions.frictions[..] else { panic!() };
    assert_eq!(first.detector, Some(Detector::DeadEnd));
    assert_eq!(first.detectors, [Detector::DeadEnd, Detector::Fails].into());
    assert_eq!(first.personas, ["a", "b", "c"].map(Arc::from));
    assert_eq!((first.personas_exposed, first.runs, first.runs_exposed), (10, 30, 140));
    assert_eq!((first.calls, first.recovered), (30, 0));
    // Ten of fourteen runs of three personas.
    assert_eq!(first.impact, 2.0);
    assert_eq!(first.first_seen.at, day(5) + jiff::SignedDuration::new(3600 + 2, 0));
    assert_eq!(first.last_seen.run.as_deref(), Some("run-00133"));
    assert_eq!((loud.detector, loud.calls, loud.runs), (None, 40, 1));
    assert_eq!(loud.impact, 0.2);
}

#[test]
fn a_rare_tool_that_always_fails_does_not_beat_a_common_one_that_often_does() {
    let mut world = World::default();
    for on in 1..=10 {
        for persona in ["a", "b", "c", "d"] {
            let mut calls =
                vec![if on % 2 == 0 { failed("todo.add", "F-COMM") } else { ok("todo.add") }];
            // Two runs in all.
            if on == 5 && persona < "c" {
                calls.push(failed("vault.open", "F-RARE"));
            }
            world.run(persona, on, calls);
        }
    }
    let frictions = frictions(&world.window());
    assert_eq!(ids(&frictions), ["F-COMM", "F-RARE"]);
    assert_eq!(frictions.frictions[1].share.unwrap().value, 1.0);
}

#[test]
fn one_loud_persona_does_not_beat_three_quiet_ones() {
    let mut world = World::default();
    for on in 1..=10 {
        for persona in ["a", "b", "c", "d"] {
            let loud = (0..30).filter(|_| persona == "d").map(|_| failed("mail.send", "F-LOUD"));
            let quiet = if persona < "d" && on <= 5 {
                failed("todo.add", "F-MANY")
            } else {
                ok("todo.add")
            };
            world.run(persona, on, loud.chain([quiet]));
        }
    }
    assert_eq!(ids(&frictions(&world.window())), ["F-MANY", "F-LOUD"]);
}

#[test]
fn a_run_that_recovered_counts_half() {
    let mut world = World::default();
    for persona in ["a", "b"] {
        world.run(
            persona,
            1,
            [failed("todo.add", "F-AAAA"), ok("todo.add"), failed("x.y", "F-BBBB")],
        );
        world.run(persona, 2, [ok("todo.add"), ok("x.y")]);
    }
    let frictions = frictions(&world.window());
    let impact = |id| frictions.frictions.iter().find(|friction| friction.id == id).unwrap().impact;
    // F-AAAA is not raised: 0.4 · 2 · 0.5 / 3; F-BBBB is a dead end: 1.0 · 2 · 1 / 3.
    assert_eq!((impact("F-AAAA"), impact("F-BBBB")), (0.1333, 0.6667));
}

#[test]
fn only_runs_that_used_a_tool_of_the_issue_are_exposed_and_infrastructure_makes_no_friction() {
    let mut world = World::default();
    let away = |tool| crate::facts::world::failed_by(Cause::Unreachable, tool, "F-AWAY");
    let coded = |tool| crate::facts::world::failed_by(Cause::Coded, tool, "F-CODE");
    for on in 1..=3 {
        world.run("a", on, [coded("vault.open"), coded("habits.add"), away("todo.add")]);
        world.run("b", on, [ok("habits.add"), away("habits.add")]);
        world.run("c", on, [ok("todo.add"), away("vault.open")]);
    }
    let frictions = frictions(&world.window());
    assert_eq!(ids(&frictions), ["F-CODE"]);
    let coded = &frictions.frictions[0];
    assert_eq!((coded.tool.as_ref(), coded.module.as_ref()), (None, None));
    assert_eq!((coded.personas_exposed, coded.runs, coded.runs_exposed), (2, 3, 6));
}

#[test]
fn muted_ones_come_last_and_are_counted() {
    let mut world = broken_todo();
    world.others.push(Line::Mute(line::Mute {
        issue: "F-BBBB".to_owned(),
        from: day(6),
        until: day(40),
        reason: "known".to_owned(),
    }));
    let frictions = frictions(&world.window());
    assert_eq!(ids(&frictions), ["F-RRRR", "F-LLLL", "F-BBBB"]);
    assert_eq!((frictions.muted, frictions.frictions[2].state), (1, State::Muted));
}

#[test]
fn a_window_knows_the_history_before_it_and_nothing_after_it() {
    let world = broken_todo();
    let from_to = |from, to| {
        let date = |number| day(number).to_zoned(jiff::tz::TimeZone::UTC).date();
        frictions(&world.days(Days::Between(date(from), date(to))))
    };
    let before = from_to(1, 4);
    assert!(!ids(&before).contains(&"F-BBBB"));
    let week = from_to(8, 14);
    let broken = &week.frictions[0];
    assert_eq!((broken.id.as_str(), broken.runs, broken.runs_exposed), ("F-BBBB", 21, 70));
    assert_eq!(
        (broken.state, &broken.first_seen.run),
        (State::Open, &Some("run-00041".to_owned()))
    );
    let begin = from_to(5, 6);
    assert_eq!((begin.frictions[0].state, begin.frictions[0].runs), (State::New, 6));
}

#[test]
fn the_lowest_grounded_rating_is_quoted_else_the_words_after_the_failure_and_each_persona_once() {
    let mut world = World::default();
    let said = |tool: &str, issue: &str, words: &str| line::Call {
        quote: Some(words.to_owned()),
        ..failed(tool, issue)
    };
    for on in 1..=2 {
        for persona in ["a", "b", "c"] {
            let call = said("todo.add", "F-AAAA", "That did not work.");
            world.run(persona, on, [ok("todo.add"), call, said("x.y", "F-BBBB", "Odd.")]);
            match persona {
                "a" => world.rate("todo", 2, "Adding\nfails.", &[2]),
                "b" => world.rate("todo", 1, "Not grounded.", &[]),
                _ => world.rate("todo", 3, "So so.", &[1]),
            }
        }
    }
    let frictions = frictions(&world.window());
    let quotes = frictions.frictions.iter().filter_map(|friction| friction.quote.as_ref());
    let quotes: Vec<_> = quotes.map(|it| (&*it.persona, &*it.text, &*it.run, it.call)).collect();
    assert_eq!(
        quotes,
        [("a", "Adding fails.", "run-00004", Some(2)), ("c", "Odd.", "run-00006", Some(3))]
    );
}

#[test]
fn counts_that_no_run_can_have_break_nothing() {
    let mut world = World::default();
    for on in 1..=2 {
        world.run("a", on, [failed("todo.add", "F-AAAA")]);
    }
    let mut lines = world.lines();
    lines.extend(derived_lines(&lines, Days::Last(28)));
    for line in &mut lines {
        match line {
            Line::Hit(hit) => hit.calls = u32::MAX,
            Line::Tool(tool) => (tool.calls, tool.failed) = (u32::MAX, u32::MAX),
            Line::Call(call) => (call.latency_ms, call.chars) = (Some(u64::MAX), u64::MAX),
            _ => {}
        }
    }
    lines.sort_by_key(kind);
    let frictions = frictions(&window(&lines, Days::Last(28)));
    assert_eq!(frictions.frictions[0].calls, u32::MAX);
}

#[test]
fn the_keys_are_those_of_the_schema() {
    let world = broken_todo();
    let json = serde_json::to_value(frictions(&world.window())).unwrap();
    assert_eq!(json["schema"], "frictions/v1");
    assert_eq!(json["window"], json!({"from": "2025-12-18", "to": "2026-01-14"}));
    assert_eq!(json["muted"], 0);
    let keys: Vec<_> = json["frictions"][0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys.join(" "),
        "id tool module cause detector detectors template state impact personas personasExposed runs \
         runsExposed share calls recovered next firstSeen lastSeen quote"
    );
    let words = |key: &str| json["frictions"][0][key].clone();
    assert_eq!(words("detectors"), json!(["dead-end", "fails"]));
    assert_eq!((words("cause"), words("state")), (json!("handler"), json!("open")));
    assert_eq!(json["frictions"][2]["detector"], Value::Null);
    let next = json["frictions"][0]["next"].as_object().unwrap();
    assert!(Next::ALL.iter().all(|word| next[word.as_str()] == 0) && next.len() == Next::ALL.len());
}

#[test]
fn ten_thousand_hostile_texts_leave_valid_json_of_bounded_size() {
    let hostile = "<script>|`\u{202e}\u{0}\u{7}\"\\\n".repeat(40);
    let mut world = World::default();
    for number in 0..10_000 {
        let persona = format!("{number}{hostile}");
        let tool = format!("todo.{}{hostile}", number % 40);
        let mut call = failed(&tool, &format!("F-{:04}", number % 300));
        call.template = Some(hostile.clone());
        call.quote = Some(hostile.clone());
        world.run(&persona, 1 + number % 20, [call]);
    }
    let json = serde_json::to_string(&frictions(&world.window())).unwrap();
    let parsed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["frictions"].as_array().unwrap().len(), 300);
    // 64 characters of a label are at most 6 bytes each in JSON.
    assert!(json.len() < 10_000 * (64 * 6 + 3) + 300 * 12_000, "{}", json.len());
    let text = |pointer: &str| parsed.pointer(pointer).unwrap().as_str().unwrap().chars().count();
    for (pointer, most) in
        [("personas/0", 64), ("template", 300), ("tool", 128), ("quote/text", 240)]
    {
        assert_eq!(text(&format!("/frictions/0/{pointer}")), most, "{pointer}");
    }
}

/// Facts with all kinds of lines, from a seed.
fn random_lines(seed: &[(u8, u8, u8)]) -> Vec<Line> {
    let mut world = World::default();
    for persona in ["a", "b", "c"] {
        world.persona(persona, "todo", 0.3);
    }
    for (persona, on, what) in seed {
        let persona = ["a", "b", "c"][*persona as usize % 3];
        let call = |bit: u8, tool: &str| match what >> bit & 3 {
            0 => failed(tool, &format!("F-{bit}{tool}")),
            1 => crate::facts::world::failed_by(Cause::Coded, tool, "F-CODE"),
            2 => with(&on.to_string(), failed(tool, &format!("F-{bit}{tool}"))),
            _ => ok(tool),
        };
        let calls = [call(0, "todo.add"), call(2, "todo.add"), call(4, "x.y"), call(6, "todo.add")];
        world.run(persona, i64::from(on % 40), calls);
        world.rate("todo", 1 + what % 5, "A note.", &[1]);
    }
    world.lines()
}

/// The issue, hit and tool lines that follow from the calls.
fn derived_lines(lines: &[Line], days: Days) -> Vec<Line> {
    let window = window(lines, days);
    let text = |name| window.text(name).to_owned();
    let issues = window.issues().iter().map(|issue| {
        Line::Issue(line::Issue {
            id: issue.id.to_string(),
            tool: issue.tool.map(text),
            cause: issue.cause,
            template: text(issue.template),
            first: issue.first.clone(),
        })
    });
    let hits = window.hits().all().iter().map(|hit| {
        Line::Hit(line::Hit {
            issue: window.issues()[hit.issue as usize].id.to_string(),
            run: text(window.run(hit.run).id),
            calls: hit.calls,
            recovered: hit.recovered,
            tools: hit.tools.iter().map(|tool| text(*tool)).collect(),
        })
    });
    let tools = window.tools().all().iter().map(|row| {
        Line::Tool(line::Tool {
            run: text(window.run(row.run).id),
            tool: text(row.tool),
            calls: row.used.calls,
            failed: row.used.failed,
            dead_end: row.used.dead_end,
            recovered: row.used.failed > 0 && !row.used.dead_end,
        })
    });
    issues.chain(hits).chain(tools).collect()
}

fn printed(lines: &[Line]) -> String {
    serde_json::to_string(&frictions(&window(lines, Days::Last(28)))).unwrap()
}

/// The position of a line's kind among the kinds that must come one after the other.
fn kind(line: &Line) -> u8 {
    match line {
        Line::Run(_) => 0,
        Line::Issue(_) => 1,
        _ => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_order_of_lines_changes_nothing(
        seed in prop::collection::vec(any::<(u8, u8, u8)>(), 1..60),
        keys in prop::collection::vec(any::<u32>(), 1..400),
    ) {
        let mut lines = random_lines(&seed);
        let expected = printed(&lines);
        let mut keys = keys.iter().cycle();
        lines.sort_by_cached_key(|line| (kind(line), *keys.next().unwrap()));
        prop_assert_eq!(printed(&lines), expected);
    }

    #[test]
    fn given_issues_hits_and_tools_change_nothing_where_every_call_is_there(
        seed in prop::collection::vec(any::<(u8, u8, u8)>(), 1..60),
    ) {
        let mut lines = random_lines(&seed);
        let expected = printed(&lines);
        let days = Days::Last(400);
        lines.extend(derived_lines(&lines, days));
        lines.sort_by_key(kind);
        prop_assert_eq!(printed(&lines), expected.clone());
        for line in &mut lines {
            match line {
                Line::Hit(hit) => hit.tools.clear(),
                Line::Issue(issue) => issue.first = None,
                _ => {}
            }
        }
        prop_assert_eq!(printed(&lines), expected);
    }
}
