//! The list of frictions as a text for people: one line each.

use std::{cmp::Reverse, collections::BTreeSet};

use jiff::Timestamp;

use crate::{
    cli::text::{Page, cell, counted, table},
    domain::Cause,
    facts::{
        absent,
        detect::Detector,
        frictions::{Friction, Frictions},
        line::Sighting,
        window::Window,
    },
};

/// Longest title, in characters.
const TITLE: usize = 160;
/// Longest id, in characters.
const ID: usize = 40;
/// Longest version of a build, in characters.
const VERSION: usize = 20;
/// How many of the things that personas did next are shown.
const NEXT: usize = 2;

const COLUMNS: [&str; 9] = [
    ">IMPACT",
    "ID",
    "STATE",
    "HIT",
    "IN",
    "FIRST SEEN",
    "LAST SEEN",
    "WHAT THEY DID NEXT",
    "WHAT HURTS",
];

/// The text for the frictions of a window.
pub(super) fn render(window: &Window, frictions: &Frictions) -> String {
    let mut page = Page::default();
    let Some((from, to)) = window.days() else {
        page.line("There are no runs yet: nothing is known about the product.");
        return page.out;
    };
    let zone = window.zone().iana_name().unwrap_or("UTC");
    page.line(&format!("What hurt from {from} to {to} ({zone})"));
    let runs: Vec<_> = window.runs_within().collect();
    if runs.is_empty() {
        page.line("There are no runs in this window: nothing is known about the product.");
    } else {
        let seen = of_personas(window, runs);
        page.line(&format!("Seen in {seen}. What they did not use is not known to work."));
        list(&mut page, window, frictions);
    }
    notes(&mut page, window, frictions);
    page.out
}

/// So many runs of so many personas.
fn of_personas(window: &Window, runs: Vec<u32>) -> String {
    let personas: BTreeSet<_> = runs.iter().map(|run| window.run(*run).persona).collect();
    format!("{} of {}", counted(runs.len(), "run"), counted(personas.len(), "persona"))
}

fn list(page: &mut Page, window: &Window, frictions: &Frictions) {
    page.out.push('\n');
    if frictions.frictions.is_empty() {
        return page.line("No friction was found.");
    }
    if frictions.frictions.iter().all(|friction| friction.detector.is_none()) {
        page.line("No detector was raised. What failed all the same:");
    }
    let rows: Vec<_> = frictions.frictions.iter().map(|friction| row(window, friction)).collect();
    page.out.push_str(&table(COLUMNS, &rows));
}

fn row(window: &Window, friction: &Friction) -> [String; COLUMNS.len()] {
    let percent = |share: f64| (share * 100.0).round();
    let between = friction.share.map_or(String::new(), |share| {
        format!(" [{}–{} %]", percent(share.low), percent(share.high))
    });
    let mut next: Vec<_> = friction.next.iter().filter(|(_, count)| **count > 0).collect();
    next.sort_by_key(|(_, count)| Reverse(**count));
    let next: Vec<_> =
        next.iter().take(NEXT).map(|(next, count)| format!("{next} {count}")).collect();
    [
        format!("{:.2}", friction.impact),
        cell(&friction.id, ID),
        friction.state.as_str().to_owned(),
        format!("{} of {}", friction.personas.len(), counted(friction.personas_exposed, "persona")),
        format!("{} of {}{between}", friction.runs, counted(friction.runs_exposed, "run")),
        seen(window, &friction.first_seen),
        seen(window, &friction.last_seen),
        if next.is_empty() { "-".into() } else { next.join(", ") },
        cell(&title(friction), TITLE),
    ]
}

/// The day of a sighting, and the version of the build.
fn seen(window: &Window, sighting: &Sighting) -> String {
    let day = window.zone().to_datetime(sighting.at).date();
    let of_run = |id: &String| window.deployments().iter().find(|build| build.id == *id);
    match sighting.deployment.as_ref().and_then(of_run) {
        Some(build) => format!("{day} {}", cell(&build.version, VERSION)),
        None => day.to_string(),
    }
}

fn title(friction: &Friction) -> String {
    let place = friction.id.split_once(':').map_or("several tools", |(_, place)| place);
    let subject = friction.tool.as_deref().or(friction.module.as_deref()).unwrap_or(place);
    let what = match friction.detector {
        None => "failed",
        Some(Detector::Fails) => "fails",
        Some(Detector::DeadEnd) => "fails and does not work later",
        Some(Detector::LockedOut) => "keeps personas out",
        Some(Detector::Repeated) => "fails and is tried again in vain",
        Some(Detector::Fumbling) => "works only after several inputs",
        Some(Detector::FieldTrap) => "rejects the same field again and again",
        Some(Detector::Slow) => "is slow",
        Some(Detector::Unsure) => "gives no answer",
        Some(Detector::Flood) => "returns too much",
        Some(Detector::GaveUp) => "is no longer used after a failure",
        Some(Detector::SilentPain) => "is rated low although its calls succeeded",
    };
    match friction.template.as_deref().filter(|template| !template.is_empty()) {
        Some(template) => format!("{subject} {what}: {template}"),
        None => format!("{subject} {what}"),
    }
}

/// What the list does not show.
fn notes(page: &mut Page, window: &Window, frictions: &Frictions) {
    let mut notes = Vec::new();
    if frictions.muted > 0 {
        notes.push(format!("Muted: {}, listed last.", frictions.muted));
    }
    notes.extend(not_reachable(window));
    let absent = absent(window);
    if !absent.is_empty() {
        let why = absent.iter().map(|(why, count)| format!("{} {count}", why.as_str()));
        let why = why.collect::<Vec<_>>().join(", ");
        notes.push(format!("Personas that were due and did not run: {why}."));
    }
    if !notes.is_empty() {
        page.out.push('\n');
        notes.iter().for_each(|note| page.line(note));
    }
}

/// The calls that failed because the server was away.
fn not_reachable(window: &Window) -> Option<String> {
    let is_away = |call: &&crate::facts::window::Call| call.cause == Some(Cause::Unreachable);
    let of_run = |run: &u32| window.calls().of(*run).iter().filter(is_away).map(|call| call.at);
    let runs: Vec<_> = window.runs_within().filter(|run| of_run(run).next().is_some()).collect();
    let times: Vec<Timestamp> = runs.iter().flat_map(of_run).collect();
    let (first, last) = (times.iter().min()?, times.iter().max()?);
    let [first, last] = [first, last]
        .map(|at| window.zone().to_datetime(*at).strftime("%Y-%m-%d %H:%M").to_string());
    let calls = counted(times.len(), "call");
    Some(format!(
        "Not reachable: {calls} in {} from {first} to {last} found the server away. They are no friction.",
        of_personas(window, runs)
    ))
}
