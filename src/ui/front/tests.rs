//! Tests of the first page, as markup.

use axum::http::HeaderMap;
use jiff::tz::TimeZone;

use super::{now::Run, *};
use crate::{
    domain::{Language, RunId, Usd},
    facts::{
        overview::overview,
        world::{World, failed},
    },
    journal::OutboxDepth,
    report::html::tests::HOSTILE,
    ui::{frame, sound::assert_is_sound},
};

fn now(text: &str) -> Now {
    let run = |_| Run { id: RunId::new(), label: text.to_owned(), since: "09:12".to_owned() };
    let depth = OutboxDepth { actions: 2, feedback: 1, dead: 1, oldest: None };
    Now {
        hindrances: vec![text.to_owned()],
        in_flight: 11,
        runs: (0..8).map(run).collect(),
        money: Ok([(Usd::from_cents(150), Some(Usd::from_cents(500))), (Usd::ZERO, None)]),
        outbox: Ok((depth, "09:10".to_owned())),
    }
}

fn rendered(found: &Result<Found<Overview>, Trouble>, now: &Now) -> String {
    let address = "/ui?lang=en".parse().unwrap();
    let asked = Asked::of(&address, vec![], &HeaderMap::new(), Language::German).0;
    let Answer::Page(page) = page(&asked, found, now, &Times::new(TimeZone::UTC, asked.language))
    else {
        panic!("no page")
    };
    frame::page(&asked, page, None).into_string()
}

fn found(text: &str) -> Result<Found<Overview>, Trouble> {
    let mut world = World::default();
    for day in 1..=6 {
        for persona in ["a", "b", "c"] {
            world.run(persona, day, [failed(&format!("todo.{text}"), text)]);
            world.rate("todo", 1, text, &[1]);
        }
    }
    Ok(Found { value: Arc::new(overview(&world.days(DAYS))), as_of: None, failure: None })
}

#[test]
fn hostile_texts_stay_texts_and_what_hurts_leads_to_its_evidence() {
    for text in HOSTILE {
        let document = assert_is_sound(&rendered(&found(text), &now(text)));
        let calls = document.attributes("a", "href").filter(|link| link.contains("#call-")).count();
        assert!(calls > 0, "{text}");
    }
}

#[test]
fn the_fleet_is_told_in_words_and_numbers() {
    let page = rendered(&found("list"), &now("paused"));
    let document = assert_is_sound(&page);
    let main = document.text_of("main")[0];
    for told in [
        "11 runs",
        "and 3 more",
        "1.50 of 5.00 USD",
        "no cap",
        "3 waiting, since 09:10",
        "1 refused for good",
    ] {
        assert!(main.contains(told), "{told} in {main}");
    }
}

#[test]
fn without_a_report_the_fleet_is_shown_and_what_is_missing_is_said() {
    let slow = Trouble::NotYet;
    let now = Now { money: Err(Trouble::NotYet), ..now("anna") };
    let document = assert_is_sound(&rendered(&Err(slow), &now));
    assert_eq!(document.text_of("h1"), ["Overview"]);
    let main = document.text_of("main")[0];
    assert_eq!(main.matches("being computed").count(), 2, "{main}");
    assert!(main.contains("11 runs") && !main.contains("0.00 USD"), "{main}");
}
