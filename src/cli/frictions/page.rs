//! The list of frictions as a text for people: one line each.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cli::text::{Page, cell, counted, grouped, table},
    domain::{Cause, Next},
    facts::{Friction, Frictions, Window, line::Sighting},
};

/// Longest title, in characters.
const TITLE: usize = 120;
/// Longest id, in characters.
const ID: usize = 40;
/// Longest version of a build, in characters.
const VERSION: usize = 20;
/// How many of the things that personas did next are shown.
const NEXT: usize = 2;

/// The text for these frictions of a window.
pub(super) fn render(window: &Window, frictions: &Frictions) -> String {
    let mut page = Page::default();
    let zone = window.zone().iana_name().unwrap_or("UTC");
    page.line(&format!("What hurt from {} to {} ({zone})", window.from(), window.to()));
    let runs: Vec<_> = window.runs_within().map(|run| window.run(run)).collect();
    if runs.is_empty() {
        page.line("There are no runs in this window: nothing is known about the product.");
    } else {
        let personas: BTreeSet<_> = runs.iter().map(|run| run.persona).collect();
        let (runs, personas) = (counted(runs.len(), "run"), counted(personas.len(), "persona"));
        page.line(&format!("Seen in {runs} of {personas}. What they did not use is not known to work."));
    }
    list(&mut page, window, frictions);
    page.out.push('\n');
    unreachable(&mut page, window);
    absences(&mut page, window);
    page.out
}
