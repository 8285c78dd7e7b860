//! One run: what it was and what it came to, and then its conversation.

use std::{fmt::Write, time::Duration};

use super::{
    runs::{Counts, persona, state},
    text::{Lengths, cell, counted, indent, time, wide},
    transcript::Transcript,
};
use crate::{
    domain::Usd,
    journal::{Journal, Post, Result, RunRow, RunState},
};

/// Longest system prompt, in characters and lines.
const SYSTEM_PROMPT: (usize, usize) = (600, 8);
/// Longest value in the head, in characters.
const VALUE: usize = 1_000;

/// The run as a readable conversation.
pub(super) async fn tell(journal: &Journal, run: &RunRow, full: bool) -> Result<String> {
    let steps = journal.steps(run.id).await?;
    let counts = Counts::of(journal, run).await?;
    let posts = journal.kept_posts_of(run.id).await?;
    let lengths = Lengths { full };
    let transcript = Transcript::of(&steps, run.state == RunState::Running, lengths);
    let mut out = head(run, counts, transcript.lost, &posts);
    match &run.persona {
        Some(persona) => {
            let (most, lines) = SYSTEM_PROMPT;
            out.push_str("\nWho it is (system prompt)\n");
            indent(&mut out, 2, &lengths.clip(&persona.system_prompt, most, lines));
        }
        None => out.push_str(
            "\nIts steps are gone: they were older than JOURNAL_RETENTION_DAYS. What is above is kept.\n",
        ),
    }
    if steps.is_empty() && run.persona.is_some() {
        out.push_str("\nNothing was said: its day had not begun.\n");
    }
    out.push_str(&transcript.text);
    out.push_str(&refusals(run, &posts));
    Ok(out)
}

/// That rows of a run were refused for good, if they were: its conversation says nothing about that.
fn refusals(run: &RunRow, posts: &[Post]) -> String {
    let dead: Vec<_> = posts.iter().filter(|post| post.is_dead).collect();
    if dead.is_empty() {
        return match state(run, false) {
            "refused" => {
                "\nmana-auth refused rows of this run for good; they are no longer kept.\n".into()
            }
            _ => String::new(),
        };
    }
    let rows = dead.iter().map(|post| {
        let reason = cell(post.reason.as_deref().unwrap_or("-"), VALUE);
        format!("\n  {} of {}: {reason}", counted(wide(post.rows), "row"), post.kind.as_str())
    });
    let rows: String = rows.collect();
    format!(
        "\nmana-auth refused rows of this run for good:{rows}\n`mana-persona-runner outbox retry` has them sent \
         again, `outbox discard RUN` throws them away.\n"
    )
}

fn head(run: &RunRow, counts: Counts, lost: Usd, posts: &[Post]) -> String {
    let mut out = format!("Run {}\n", run.id);
    let mut say = |name: &str, value: &str| {
        // Writing into a string does not fail.
        let _ = writeln!(out, "  {name:<9} {}", cell(value, VALUE));
    };
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
            let took = Duration::try_from(end.duration_since(run.started_at)).unwrap_or_default();
            say("begun", &format!("{begun}, ended after {:.1} s", took.as_secs_f64()));
        }
    }
    let calls = counted(wide(counts.calls), "tool call");
    let errors = counted(wide(counts.errors), "error");
    let ratings = counted(wide(run.ratings), "rating");
    let turns = counted(counts.replies, "turn");
    say("came to", &format!("{turns}, {calls} ({errors}), {ratings}"));
    let of_lost = match lost {
        Usd::ZERO => String::new(),
        lost => format!(", of it up to {lost} for lost answers"),
    };
    say("cost", &format!("{}{of_lost}", run.spent));
    say("end", run.end_reason.as_deref().unwrap_or("-"));
    if !posts.is_empty() {
        let waiting = counted(wide(posts.len() - dead), "post");
        say("outbox", &format!("{waiting} on the way, {dead} refused for good"));
    }
    out
}
