//! Prints one run: first its facts and results, then its conversation.

use super::{
    runs::{counts, persona, state},
    text::{Page, cell, counted, time},
    transcript,
};
use crate::{
    agent::transcript::Transcript,
    domain::Usd,
    journal::{Journal, Post, Result, RunRow, RunState},
};

/// Longest system prompt, in characters and lines.
const SYSTEM_PROMPT: (usize, usize) = (600, 8);
/// Longest value in the list of facts, in characters.
const VALUE: usize = 1_000;

/// The text that `show` prints for a run. `full` prints long texts in full length.
pub(super) async fn render(journal: &Journal, run: &RunRow, full: bool) -> Result<String> {
    let transcript = transcript::read(journal, run).await?;
    let posts = journal.kept_posts_of(run.id).await?;
    let mut page = Page { full, ..Page::default() };
    head(&mut page, run, &transcript, &posts);
    match &run.persona {
        Some(persona) => {
            page.section("Who it is (system prompt)");
            page.text(2, &persona.system_prompt, SYSTEM_PROMPT);
        }
        None => page.section(
            "Its steps are gone: they were older than JOURNAL_RETENTION_DAYS. What is above is kept.",
        ),
    }
    if transcript.parts.is_empty() && run.persona.is_some() {
        page.section("Nothing was said: its day had not begun.");
    }
    for part in &transcript.parts {
        transcript::print(&mut page, part, run.state == RunState::Running);
    }
    refusals(&mut page, run, &posts);
    Ok(page.out)
}

/// Adds a section about rows that mana-auth refused for good, if there are any. The conversation does not
/// show this.
fn refusals(page: &mut Page, run: &RunRow, posts: &[Post]) {
    let mut dead = posts.iter().filter(|post| post.is_dead).peekable();
    if dead.peek().is_none() {
        if state(run, false) == "refused" {
            page.section("mana-auth refused rows of this run for good; they are no longer kept.");
        }
        return;
    }
    page.section("mana-auth refused rows of this run for good:");
    for post in dead {
        let reason = cell(post.reason.as_deref().unwrap_or("-"), VALUE);
        page.line(&format!("  {} of {}: {reason}", counted(post.rows, "row"), post.kind));
    }
    page.line(
        "`mana-persona-runner outbox retry` has them sent again, `outbox discard RUN` throws them away.",
    );
}

fn head(page: &mut Page, run: &RunRow, transcript: &Transcript, posts: &[Post]) {
    page.line(&format!("Run {}", run.id));
    let mut say =
        |name: &str, value: &str| page.line(&format!("  {name:<9} {}", cell(value, VALUE)));
    match &run.persona {
        Some(_) => say("persona", &format!("{} ({})", persona(run), run.persona_id)),
        None => say("persona", &run.persona_id),
    }
    say("slot", &format!("{}, attempt {}", run.slot, run.attempt));
    say("model", &run.model);
    let dead = posts.iter().filter(|post| post.is_dead).count();
    say("state", &format!("{}, stage {}", state(run, dead > 0), run.stage));
    let begun = time(run.started_at, "%Y-%m-%d %H:%M:%S UTC");
    match run.ended_at {
        None => say("begun", &begun),
        Some(end) => {
            let took = end.duration_since(run.started_at).as_secs_f64().max(0.0);
            say("begun", &format!("{begun}, ended after {took:.1} s"));
        }
    }
    let (turns, calls, errors) = counts(run, transcript);
    let (turns, calls) = (counted(turns, "turn"), counted(calls, "tool call"));
    let (errors, ratings) = (counted(errors, "error"), counted(run.ratings, "rating"));
    say("came to", &format!("{turns}, {calls} ({errors}), {ratings}"));
    let of_lost = match transcript.replay.lost {
        Usd::ZERO => String::new(),
        lost => format!(", of it up to {lost} for lost answers"),
    };
    say("cost", &format!("{}{of_lost}", run.spent));
    say("end", run.end_reason.as_deref().unwrap_or("-"));
    if !posts.is_empty() {
        let waiting = counted(posts.len() - dead, "post");
        say("outbox", &format!("{waiting} on the way, {dead} refused for good"));
    }
}
