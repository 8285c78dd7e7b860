//! Tests of the pages of a run and of a call, as markup.

mod given;
mod size;

use serde_json::{Value, json};

use given::{Given, asked, kept, rated, turn};

use super::*;
use crate::{
    domain::Outcome,
    report::html::tests::{HOSTILE, document::Document},
    ui::{frame, sound::assert_is_sound},
};

/// Steps of most kinds, as an earlier version wrote them.
const STEPS: &str = include_str!("../../../tests/fixtures/steps-cabd9f6.jsonl");

/// The page of a run at this address.
fn page(address: &str, kept: &Kept) -> String {
    let asked = asked(address);
    let part = asked.parameter("part").map(|part| part.parse().unwrap());
    rendered(&asked, answer(&asked, &given::times(&asked), kept, part))
}

/// The page of a call.
fn call_page(kept: &Kept, number: u32) -> Option<String> {
    let asked = asked(&format!("/ui/runs/{}/calls/{number}", kept.run.id));
    let answer = call_answer(&asked, &given::times(&asked), kept, number)?;
    Some(rendered(&asked, answer))
}

fn rendered(asked: &Asked, answer: Answer) -> String {
    let Answer::Page(page) = answer else { panic!("no page") };
    frame::page(asked, page, None).into_string()
}

fn json_of(kept: &Kept) -> Value {
    let asked = asked(&format!("/ui/runs/{}.json", kept.run.id));
    let Answer::Json(value) = answer(&asked, &given::times(&asked), kept, None) else {
        panic!("no JSON")
    };
    value
}

/// The elements with an attribute of this value.
fn with<'d>(document: &'d Document, name: &str, value: &str) -> Vec<&'d str> {
    let has = |element: &&crate::report::html::tests::document::Element| {
        element.attribute(name).is_some_and(|it| it == value)
    };
    document.elements.iter().filter(has).map(|element| &*element.text).collect()
}

/// The text of the element with this id.
fn at<'d>(document: &'d Document, id: &str) -> &'d str {
    let found = with(document, "id", id);
    assert_eq!(found.len(), 1, "{id}");
    found[0]
}

#[test]
fn the_steps_of_an_earlier_version_are_told_whole() {
    let kept =
        kept(Given { steps: STEPS.lines().map(str::to_owned).collect(), ..Given::default() });
    let page = page(&format!("/ui/runs/{}?lang=en", kept.run.id), &kept);
    let document = assert_is_sound(&page);
    let main = document.text_of("main")[0];
    for told in [
        "Turn 1",
        "Turn 3",
        "Ich schaue nach. ä",
        "No answer came; nothing was billed.",
        "sent once more without the thinking",
        "The day ended at",
        "Bis morgen!",
        "Answer to the question for ratings",
        "it may have been billed all the same",
    ] {
        assert!(main.contains(told), "{told}: {main}");
    }
    assert!(at(&document, "call-2").contains("habits_delete_everything invented tool"));
    assert!(at(&document, "call-1").contains("habits.list ok"));
    let rejected = at(&document, "call-4");
    assert!(
        rejected.contains("input rejected") && rejected.contains("Rests on it: habits, 3 of 5")
    );
    // The rating names calls that the run does not have.
    let rating = at(&document, "rating-habits");
    assert!(
        rating.contains("rests on call 1, 3 (there is none), 4, 5 (there is none)"),
        "{rating}"
    );
    let failed = with(&document, "class", "call failed");
    assert_eq!(failed.len(), 2);
    // Two calls of the second turn were never made.
    assert_eq!(
        with(&document, "class", "call").iter().filter(|it| it.contains("not called")).count(),
        2
    );
}

#[test]
fn a_call_says_why_it_failed_who_is_to_blame_and_what_happened_next() {
    let mut steps = given::opening();
    steps.extend(turn(
        "Erst so.",
        &[given::failed("todo.create", json!({"a": 1}), "No such field")],
    ));
    steps.extend(turn("Dann so.", &[given::ok("todo.create", json!({"b": 2}), "{\"id\":7}")]));
    steps.extend(rated(&[("todo", 4, "ging", &[1, 2])]));
    let mut kept = kept(Given { steps, ..Given::default() });
    kept.issues.insert(1, "F-ABCD".into());
    let page = page(&format!("/ui/runs/{}", kept.run.id), &kept);
    let document = assert_is_sound(&page);
    let call = at(&document, "call-1");
    for told in [
        "Fehler des Werkzeugs → anders versucht, gelang",
        "Verantwortlich das Produkt",
        "danach: anders versucht, gelang",
        "Reibung F-ABCD",
        "Darauf beruht: todo, 4 von 5",
    ] {
        assert!(call.contains(told), "{told}: {call}");
    }
    assert!(page.contains("href=\"/ui/frictions/F-ABCD\""));
    assert!(page.contains("href=\"#rating-todo\"") && page.contains("href=\"#call-2\""));
    // The steps are written by the daemon's clock, and shown by that of mana-auth, an hour ahead, in Berlin.
    assert!(call.contains("14:00:"), "{call}");
    assert_eq!(with(&document, "data-item", "").len(), 2 + 2 + 2, "{page}");

    let value = json_of(&kept);
    assert_eq!(value["calls"][0]["cause"], "handler");
    assert_eq!(value["calls"][0]["next"], "other-ok");
    assert_eq!(value["calls"][0]["issue"], "F-ABCD");
    assert_eq!(value["turns"][0]["words"], json!(["Erst so."]));
    assert_eq!(value["turns"][1]["calls"], json!([2]));
    assert_eq!(value["ratings"][0]["calls"], json!([1, 2]));
    assert_eq!(value["run"]["parts"], 1);
}

#[test]
fn a_long_result_is_cut_and_all_that_is_kept_of_it_is_on_a_page_of_its_own() {
    let long = "wort ".repeat(2_000);
    let mut steps = given::opening();
    let mut call = given::ok("notes.list", json!({"q": "ä"}), &long);
    call.chars = 123_456;
    steps.extend(turn("", &[call, given::ok("notes.list", json!({}), "kurz")]));
    let kept = kept(Given { steps, ..Given::default() });
    let page = page(&format!("/ui/runs/{}?lang=en", kept.run.id), &kept);
    let document = assert_is_sound(&page);
    let shown = at(&document, "call-1");
    assert!(shown.contains("The beginning of 10,000 characters."), "{shown}");
    assert!(shown.contains("The result had 123,456 characters; the model did not get all."));
    let link = format!("/ui/runs/{}/calls/1?lang=en", kept.run.id);
    assert_eq!(document.attributes("a", "href").filter(|href| *href == link).count(), 1);
    assert!(!at(&document, "call-2").contains("See all of it"));

    let whole = call_page(&kept, 1).unwrap();
    let document = assert_is_sound(&whole);
    assert!(document.text_of("pre").contains(&long.trim_end()));
    assert!(document.text_of("pre").contains(&"{\"q\": \"ä\"}"));
    assert_eq!(document.attributes("a", "rel").collect::<Vec<_>>(), ["next"]);
    assert!(call_page(&kept, 3).is_none() && call_page(&kept, 0).is_none());
}

#[test]
fn hostile_text_in_every_field_is_text_and_nothing_else() {
    for hostile in HOSTILE {
        let mut kept = kept(given::hostile(hostile, 3, 3));
        kept.issues.insert(1, hostile.to_owned());
        for lang in ["de", "en"] {
            let page = page(&format!("/ui/runs/{}?lang={lang}", kept.run.id), &kept);
            let document = assert_is_sound(&page);
            for text in page.chars().filter(|c| !crate::domain::is_printable(*c)) {
                assert_eq!(text, '\n', "{hostile}");
            }
            assert!(document.text_of("main")[0].len() > 3_000);
        }
        assert_is_sound(&call_page(&kept, 1).unwrap());
        assert!(json_of(&kept).to_string().len() > 1_000);
    }
}

#[test]
fn a_run_whose_steps_are_gone_shows_its_facts_and_says_so() {
    let mut steps = given::opening();
    steps.extend(turn("Weg.", &[given::failed("todo.create", json!({}), "No")]));
    steps.extend(rated(&[("todo", 2, "zäh", &[1])]));
    let told = kept(Given { steps, ..Given::default() });
    let stored = told.calls.values().cloned().collect();
    let mut gone = kept(Given { stored, is_pruned: true, ..Given::default() });
    gone.modules = told.modules.clone();
    let page = page(&format!("/ui/runs/{}?lang=en", gone.run.id), &gone);
    let document = assert_is_sound(&page);
    let main = document.text_of("main")[0];
    assert!(main.contains("older than JOURNAL_RETENTION_DAYS and deleted"), "{main}");
    assert!(at(&document, "call-1").contains("todo.create error of the tool"));
    assert!(at(&document, "rating-todo").contains("zäh"));
    assert!(!main.contains("Input") && !main.contains("Weg."));
    let call = call_page(&gone, 1).unwrap();
    assert!(call.contains("Eingabe und Ergebnis sind zu alt und gelöscht."));
}

#[test]
fn a_run_in_flight_is_followed_and_says_what_it_waits_for() {
    let mut steps = given::opening();
    steps.extend(given::begun("todo.list", json!({})));
    let running = |steps: Vec<String>| {
        let kept = kept(Given { steps, is_running: true, ..Given::default() });
        (page(&format!("/ui/runs/{}?lang=en", kept.run.id), &kept), kept.run.id)
    };
    let (page, id) = running(steps.clone());
    let document = assert_is_sound(&page);
    assert_eq!(document.attributes("main", "data-live-run").collect::<Vec<_>>(), [id.to_string()]);
    assert!(document.text_of("main")[0].contains("The run is under way"));
    assert!(at(&document, "call-1").contains("no result yet"));
    let (page, _) = running([given::opening(), vec![given::asking()]].concat());
    let document = assert_is_sound(&page);
    assert!(document.text_of("main")[0].contains("has not answered yet; 0.0070 USD are reserved"));
}

#[test]
fn a_damaged_step_is_named_and_all_others_are_shown() {
    let mut steps = given::opening();
    steps.extend(turn("Da.", &[given::ok("todo.list", json!({}), "[]")]));
    steps.insert(2, "{\"from\":\"the future\"}".into());
    let kept = kept(Given { steps, ..Given::default() });
    let page = page(&format!("/ui/runs/{}", kept.run.id), &kept);
    let document = assert_is_sound(&page);
    assert!(document.text_of("main")[0].contains("Schritt 2 ist nicht lesbar"));
    assert!(at(&document, "call-1").contains("todo.list gelungen"));
    assert_eq!(json_of(&kept)["events"][2]["kind"], "damaged");
}

#[test]
fn what_ended_a_run_is_told_with_rows_that_were_refused() {
    let mut kept = kept(Given { steps: given::opening(), ..Given::default() });
    (kept.run.outcome, kept.run.end_reason) = (Some(Outcome::Turns), Some("why <b>".into()));
    kept.posts.push(given::refused_post(kept.run.id));
    let document = assert_is_sound(&page(&format!("/ui/runs/{}", kept.run.id), &kept));
    let main = document.text_of("main")[0];
    for told in [
        "Runden oder Kontext aufgebraucht; Zeilen abgelehnt (why <b>)",
        "0 unterwegs, 1 endgültig abgelehnt",
        "3 Zeilen (actions): 422 no",
        "Versuch 2",
    ] {
        assert!(main.contains(told), "{told}: {main}");
    }
}
