//! Tests of the list of runs, as markup.

use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::*;
use crate::{
    domain::{Language, Outcome, Usd},
    journal::{Choices, DeploymentRow, DeploymentSource, RunFilter},
    report::html::tests::HOSTILE,
    ui::sound::assert_is_sound,
};

const NOON: Timestamp = Timestamp::constant(1_773_057_600, 0);

fn run(text: &str, state: RunState) -> FoundRun {
    FoundRun {
        id: RunId::new(),
        persona_id: text.to_owned(),
        label: Some(text.to_owned()),
        state,
        stage: text.to_owned(),
        outcome: (state == RunState::Finished).then_some(Outcome::Turns),
        end_reason: Some(text.to_owned()),
        server_at: NOON,
        day_at: NOON,
        took: (state == RunState::Finished).then_some(SignedDuration::from_secs(4_000)),
        spent: Usd::from_dollars(123.0).unwrap(),
        replies: 1_000,
        calls: 1_000,
        call_errors: 1_000,
        ratings: 100,
        deployment: Some(7),
        model: text.to_owned(),
    }
}

/// The page of a list of these runs, filtered by a text in every field.
fn page_of(text: &str, runs: Vec<FoundRun>) -> String {
    let address = "/ui/runs?lang=en&days=3&persona=x".parse().unwrap();
    let (asked, wrong) = Asked::of(&address, Vec::new(), &HeaderMap::new(), Language::German);
    assert_eq!(wrong, None);
    let field = Some(text.to_owned());
    let names: Vec<_> = (0..100).map(|n| format!("{n} {text}")).collect();
    let deployment = |number| DeploymentRow {
        number,
        version: text.to_owned(),
        source: DeploymentSource::Env,
        note: None,
        first_at: Some(NOON),
    };
    let filter = Filter {
        runs: RunFilter {
            module: field.clone(),
            tool: field.clone(),
            issue: field.clone(),
            model: field.clone(),
            deployment: Some(7),
            ..RunFilter::default()
        },
        persona: field,
        choices: Choices { personas: names.clone(), modules: names.clone(), tools: names },
        deployments: (1..=100).rev().map(deployment).collect(),
    };
    let found = journal::Page { items: runs, has_newer: true, has_older: true };
    let times = Times::new(TimeZone::UTC, asked.language);
    frame::page(&asked, page(&asked, &times, &filter, &found), None).into_string()
}

#[test]
fn hostile_text_in_every_field_is_text_and_nothing_else() {
    for text in HOSTILE {
        let runs = [RunState::Finished, RunState::Running].map(|state| run(text, state));
        let document = assert_is_sound(&page_of(text, runs.into()));
        let rows = document.text_of("tr");
        assert_eq!(rows.len(), 3);
        assert!(rows[1].contains("out of turns or context"), "{}", rows[1]);
        assert!(rows[2].contains("running") && rows[2].contains('–'), "{}", rows[2]);
    }
}

#[test]
fn a_page_of_fifty_runs_with_long_texts_is_small() {
    let text = "a long text ".repeat(40);
    let runs = || {
        (0..50).map(|_| FoundRun { persona_id: "x".repeat(36), ..run(&text, RunState::Finished) })
    };
    let page = page_of(&text, runs().collect());
    assert!(page.len() <= 60_000, "{}", page.len());
    assert_is_sound(&page);
    let short = page_of("persona", runs().collect());
    assert!(short.len() <= 60_000, "{}", short.len());
}

#[test]
fn the_form_shows_what_is_asked_for() {
    let page = page_of("todo", vec![]);
    let document = assert_is_sound(&page);
    let values: Vec<_> = document.attributes("input", "value").collect();
    assert_eq!(values, ["en", "todo", "todo", "todo", "todo", "todo"]);
    let chosen = document.elements.iter().filter(|it| it.attribute("selected").is_some());
    let chosen: Vec<_> = chosen.map(|it| &*it.text).collect();
    assert_eq!(chosen, ["todo (D-7)", "the last 3"]);
    assert!(page.contains("No run fits."));
}
