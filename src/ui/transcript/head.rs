//! What is known of a run besides its conversation.

use std::time::Duration;

use maud::{Markup, html};

use super::{
    draw,
    drawer::{Drawer, NAME},
    kept::Kept,
};
use crate::{
    agent::transcript::Transcript,
    domain::{RunState, Usd, clipped_line},
    journal::RunRow,
};

/// Longest slot, model, version or setting, in characters.
const VALUE: usize = 64;
/// How many frictions are named.
const MOST_FRICTIONS: usize = 40;

/// What a run has come to.
pub(super) struct CameTo {
    pub(super) turns: usize,
    pub(super) calls: usize,
    pub(super) failed: usize,
    /// Whether rows of the run were refused for good.
    pub(super) is_refused: bool,
}

impl CameTo {
    pub(super) fn of(kept: &Kept) -> Self {
        let Kept { run, transcript, posts, .. } = kept;
        let (turns, calls, failed) = match run.state {
            // The row has the counts when the main turn is over.
            RunState::Running => Transcript::counts(transcript),
            _ => (run.replies as usize, run.calls, run.call_errors),
        };
        let is_dead = posts.iter().any(|post| post.is_dead);
        Self { turns, calls, failed, is_refused: is_dead || run.has_lost_rows() }
    }
}

/// What people call the persona.
pub(super) fn label(run: &RunRow) -> String {
    let label = run.label.clone().or_else(|| run.persona.as_ref().map(|persona| persona.label()));
    clipped_line(label.as_deref().unwrap_or(&run.persona_id), NAME)
}

/// The list of facts.
pub(super) fn facts(drawer: &Drawer<'_>, kept: &Kept) -> Markup {
    let (words, terms, run) = (drawer.words, drawer.terms, &kept.run);
    let came_to = CameTo::of(kept);
    let value = |text: &str| clipped_line(text, VALUE);
    let known = |text: &Option<String>| text.as_deref().map(value);
    let archetype = run.persona.as_ref().and_then(|persona| persona.archetype.as_deref());
    let settings = [
        (words.model, Some(value(&run.model))),
        (words.effort, known(&run.settings.effort)),
        (words.policy, known(&run.settings.policy)),
        (words.prompt_hash, known(&run.settings.prompt)),
        (words.runner, known(&run.settings.runner)),
    ];
    html! {
        h2 { (words.about) }
        dl.facts {
            dt { (words.persona) }
            dd {
                a href=(drawer.asked.link(&["personas", &run.persona_id], &[])) { bdi { (label(run)) } }
                @if let Some(archetype) = archetype { ", " bdi { (value(archetype)) } }
            }
            dt { (words.came_to) }
            dd {
                b { (terms.came_to(run.state, run.outcome)) }
                @if came_to.is_refused { "; " (terms.refused()) }
                @if let Some(reason) = &run.end_reason { (draw::reason(reason)) }
            }
            dt { (words.begun) } dd { (begun(drawer, run)) }
            dt { (words.size) }
            dd { (words.counts(came_to.turns, [came_to.calls, came_to.failed], run.ratings)) }
            dt { (words.frictions) } dd { (frictions(drawer, kept)) }
            dt { (words.cost) } dd { (words.spent(run.spent, lost(kept))) }
            dt { (words.product) } dd { bdi { (product(drawer, kept)) } }
            @if !kept.posts.is_empty() {
                dt { (words.outbox) } dd { (posts(drawer, kept)) }
            }
        }
        details data-item {
            summary { (words.details) }
            dl.facts {
                dt { (words.stage) } dd { (terms.stage(&run.stage)) }
                dt { (words.slot) } dd { (words.attempt(&value(run.slot.as_str()), run.attempt)) }
                @for (name, value) in settings {
                    @if let Some(value) = value { dt { (name) } dd { bdi { (value) } } }
                }
                dt { (words.run) } dd { code { (run.id) } }
            }
        }
    }
}

/// What lost answers may have cost.
pub(super) fn lost(kept: &Kept) -> Usd {
    kept.transcript.replay.lost
}

/// How long the run took; `None` if it has not ended.
pub(super) fn took(run: &RunRow) -> Option<Duration> {
    let took = run.ended_at?.duration_since(run.started_at);
    Some(took.try_into().unwrap_or_default())
}

fn begun(drawer: &Drawer<'_>, run: &RunRow) -> String {
    let at = drawer.times.minute(run.server_at);
    match took(run) {
        Some(took) => drawer.words.ended_after(&at, took),
        None => at,
    }
}

/// The issues of the run's calls, by id.
pub(super) fn issues(kept: &Kept) -> Vec<&str> {
    let mut issues: Vec<_> = kept.issues.values().map(String::as_str).collect();
    issues.sort_unstable();
    issues.dedup();
    issues
}

fn frictions(drawer: &Drawer<'_>, kept: &Kept) -> Markup {
    let issues = issues(kept);
    let more = issues.len().saturating_sub(MOST_FRICTIONS);
    html! {
        @if issues.is_empty() { (drawer.words.no_friction) }
        @for issue in issues.iter().take(MOST_FRICTIONS) {
            a href=(drawer.asked.link(&["frictions", issue], &[])) { (clipped_line(issue, NAME)) } " "
        }
        @if more > 0 { (drawer.words.and_more(more)) }
    }
}

/// The version of a deployment with its id.
pub(super) fn build(kept: &Kept, number: i64) -> String {
    let known = kept.deployments.iter().find(|deployment| deployment.number == number);
    match known {
        Some(known) => format!("{} ({})", clipped_line(&known.version, VALUE), known.id()),
        None => format!("D-{number}"),
    }
}

fn product(drawer: &Drawer<'_>, kept: &Kept) -> String {
    let Some(first) = kept.run.deployment else { return drawer.words.unknown.to_owned() };
    let last = kept.run.deployment_end.filter(|last| *last != first);
    let last = last.map(|last| build(kept, last));
    drawer.words.builds(&build(kept, first), last.as_deref())
}

fn posts(drawer: &Drawer<'_>, kept: &Kept) -> String {
    let refused = kept.posts.iter().filter(|post| post.is_dead).count();
    drawer.words.posts(kept.posts.len() - refused, refused)
}
