//! Tests of the list and of a friction, as markup.

use axum::http::HeaderMap;
use jiff::{Timestamp, civil::date, tz::TimeZone};

use super::{case::Case, one::Known, *};
use crate::{
    domain::{Language, Next, RunId},
    facts::{
        line::{Call, Line, Persona},
        overview::overview,
        world::{World, failed, ok},
    },
    journal::{DayHits, JournalError, PersonaHits, Sample},
    report::html::tests::HOSTILE,
    ui::{frame, sound::assert_is_sound},
};

fn asked(address: &str) -> Asked {
    Asked::of(&address.parse().unwrap(), vec![], &HeaderMap::new(), Language::German).0
}

fn times(asked: &Asked) -> Times {
    Times::new(TimeZone::UTC, asked.language)
}

/// Four personas live for ten days; `tools` fail from the sixth day on, each with an issue of its own.
fn world(tools: &[(String, String)], label: &str) -> World {
    let mut world = World::default();
    world.deploy("D-1", "1.0", 1);
    for day in 1..=10 {
        for persona in ["a", "b", "c", "d"] {
            let calls = tools.iter().map(|(tool, template)| match day > 5 {
                true => Call {
                    template: Some(template.clone()),
                    next: Some(Next::AgainFailed),
                    quote: Some(template.clone()),
                    ..failed(tool, &format!("F-{tool}"))
                },
                false => ok(tool),
            });
            world.run(persona, day, calls.collect::<Vec<_>>());
            let notes = format!("{label} is bad");
            world.rate(tools[0].0.split('.').next().unwrap(), 1, &notes, &[1]);
        }
    }
    for id in ["a", "b", "c", "d"] {
        world.others.push(Line::Persona(Persona {
            id: id.into(),
            label: format!("{label}{id}"),
            archetype: None,
            cadence: None,
            mix: Default::default(),
        }));
    }
    world
}

fn found(world: &World) -> Found<Overview> {
    Found { value: Arc::new(overview(&world.window())), as_of: None, failure: None }
}

fn tools(count: usize, template: &str) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("todo.tool{n}"), format!("{n} {template}"))).collect()
}

fn rendered(asked: &Asked, answer: Answer) -> String {
    let Answer::Page(page) = answer else { panic!("no page") };
    frame::page(asked, page, None).into_string()
}

fn list(address: &str, found: &Found<Overview>) -> String {
    let asked = asked(address);
    let filter = Filter::of(&asked).unwrap();
    let asked_for = (&filter, asked.page().unwrap());
    rendered(&asked, page(&asked, found, asked_for, &Ok(Mutes::new()), &times(&asked)))
}

fn known(trend: Result<Trend, Trouble>) -> Known {
    Known {
        trend,
        deployments: Ok(vec![]),
        personas: Some(Ok(vec![])),
        samples: Some(Ok(vec![])),
        mutes: Ok(Mutes::new()),
        today: Some(date(2026, 1, 10)),
    }
}

fn one(found: &Found<Overview>, id: &str, known: &Known) -> String {
    let asked = asked("/ui/frictions/x?lang=en");
    let (friction, trend) = found.friction(id).unwrap();
    let window = window(&found.frictions).unwrap();
    let case = Case::Friction(friction, trend);
    rendered(&asked, one::page(&asked, found, &case, known, window, &times(&asked)))
}

#[test]
fn hostile_texts_stay_texts_in_the_list_and_in_a_friction() {
    for text in HOSTILE {
        let mut tools = tools(2, text);
        tools[1].0 = format!("todo.{text}");
        let found = found(&world(&tools, text));
        assert_is_sound(&list("/ui/frictions", &found));
        let first = &found.frictions.frictions[0];
        let mut known = known(Ok(found.trends[0].clone()));
        let persona = PersonaHits {
            persona_id: text.to_owned(),
            label: Some(text.to_owned()),
            runs: 3,
            recovered: 1,
            calls: 5,
            last_run: RunId::new(),
        };
        known.personas = Some(Ok(vec![persona]));
        let call =
            Call { run: text.to_owned(), quote: Some(text.to_owned()), ..failed(text, "F-1") };
        let sample = Sample { call, persona_id: text.to_owned(), label: None };
        known.samples = Some(Ok(vec![sample]));
        let mute = Mute {
            issue: first.id.clone(),
            from: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            reason: text.to_owned(),
        };
        known.mutes = Ok([(first.id.clone(), mute)].into());
        let document = assert_is_sound(&one(&found, &first.id, &known));
        assert!(!document.text_of("main")[0].contains(['\u{202e}', '\0']));
    }
}

#[test]
fn fifty_frictions_with_long_texts_are_a_page_of_at_most_60_kb() {
    let found = found(&world(&tools(60, &"A long text of an error. ".repeat(20)), "persona."));
    let page = list("/ui/frictions?lang=en&days=28&state=new", &found);
    assert_eq!(page.matches("<li data-item").count(), 50);
    assert!(page.len() <= 60_000, "{} bytes", page.len());
    assert!(page.contains("rel=\"next\"") && !page.contains("rel=\"prev\""));
    let second = list("/ui/frictions?page=2", &found);
    assert!(second.contains("rel=\"prev\"") && second.matches("<li data-item").count() < 50);
}

#[test]
fn what_no_detector_raised_is_below_and_what_is_muted_is_last() {
    let tools = tools(2, "broken");
    let mut world = world(&tools, "persona.");
    world.mute("F-todo.tool0", 9, 30);
    world.run("a", 10, [failed("todo.other", "F-once")]);
    let found = found(&world);
    let page = list("/ui/frictions?lang=en", &found);
    let places =
        ["F-todo.tool1<", "Raised by no detector", "F-once<", "Muted</h2>", "F-todo.tool0<"];
    let places = places.map(|part| page.find(part).unwrap_or_else(|| panic!("{part} in {page}")));
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn a_part_that_cannot_be_read_is_said_and_leaves_the_others_alone() {
    let found = found(&world(&tools(1, "broken"), "persona."));
    let slow = || Trouble::from(JournalError::Row("a call", "broken".into()));
    let known = Known {
        trend: Ok(found.trends[0].clone()),
        deployments: Err(slow()),
        personas: Some(Err(slow())),
        samples: Some(Err(slow())),
        mutes: Err(slow()),
        today: None,
    };
    let id = &found.frictions.frictions[0].id;
    let document = assert_is_sound(&one(&found, id, &known));
    let main = document.text_of("main")[0];
    assert_eq!(main.matches("The journal cannot be read").count(), 4, "{main}");
    assert!(main.contains("What they did next") && main.contains("Over time"), "{main}");
    assert!(!main.contains("No single call is kept"), "absence is not a failure: {main}");
}

#[test]
fn an_issue_that_no_run_of_the_window_had_says_so() {
    let found = found(&world(&tools(1, "broken"), "persona."));
    let asked = asked("/ui/frictions/F-OLD1?lang=en");
    let issue = crate::facts::line::Issue {
        id: "F-OLD1".into(),
        tool: Some("todo.list".into()),
        cause: crate::domain::Cause::Unreachable,
        template: "502 <bad gateway>".into(),
        first: None,
    };
    let window = window(&found.frictions).unwrap();
    let hits = [DayHits { day: window.1, runs: 2, recovered: 0, calls: 2 }];
    let known = known(Ok(history::trend(&hits, window.1)));
    let case = Case::Issue(Box::new(issue));
    let page = rendered(&asked, one::page(&asked, &found, &case, &known, window, &times(&asked)));
    let document = assert_is_sound(&page);
    let main = document.text_of("main")[0];
    for told in ["No run of these days had it", "502 <bad gateway>", "2 runs had it, on 1 day"] {
        assert!(main.contains(told), "{told} in {main}");
    }
    assert!(!main.contains("What they did next"), "nothing is known about that: {main}");
}

#[test]
fn a_filter_that_nothing_passes_and_a_window_without_failures_are_no_all_clear() {
    let some = found(&world(&tools(1, "broken"), "persona."));
    assert!(
        list("/ui/frictions?tool=x&lang=en", &some)
            .contains("Nothing matches this filter. That is no")
    );
    let none = list("/ui/frictions?lang=en", &found(&World::default()));
    assert!(none.contains("Nothing failed in these days"), "{none}");
}
