//! Prints the steps of a run as a conversation.

use serde_json::Value;

use super::text::{Page, cell, grouped, time};
use crate::{
    agent::{
        call::CalledTool,
        day_end::{DayEnd, How},
        step::{Step, TurnOpening},
        transcript::{Call, Came, Part, Said, Shown, Transcript, Turn},
    },
    domain::ModuleRating,
    journal::{Journal, Result, RunRow, RunState},
};

// Longest printed texts, in characters and lines, unless `--full` is given.
/// Limit for a text of the model.
const WORDS: (usize, usize) = (3_000, 60);
/// Limit for the input of a tool call.
const INPUT: (usize, usize) = (1_200, 30);
/// Limit for a block of a tool result, and for the error of a call.
const RESULT: (usize, usize) = (800, 16);
/// Limit for messages to the model and for notes of ratings.
const OTHER: (usize, usize) = (1_500, 30);
/// Format of a time of day.
const TIME: &str = "%H:%M:%S UTC";
/// Longest JSON text that is printed on one line, in characters.
const ONE_LINE: usize = 90;
/// Longest name of a tool or a module, in characters.
const NAME: usize = 128;
/// Longest reason of an end or an error, in characters.
const REASON: usize = 1_000;

/// Reads the steps of a run from the journal, as far as they are written.
pub(super) async fn read(journal: &Journal, run: &RunRow) -> Result<Transcript> {
    let steps = journal.steps(run.id).await?;
    let steps = steps.iter().map(|step| (step.number, step.at, step.body.as_str()));
    Ok(Transcript::of(steps, run.state == RunState::Running))
}

/// Prints a part of the transcript. `is_running` says that further steps of the run may follow.
pub(super) fn print(page: &mut Page, part: &Part, is_running: bool) {
    let title = match part {
        Part::Turn(turn) => return print_turn(page, turn, is_running),
        Part::Step(_, Step::Rated { rows }) => return print_ratings(page, rows),
        Part::Step(at, Step::Opened(_)) => {
            format!("What it is asked to do ({})", time(*at, TIME))
        }
        Part::Question(_) => "What it is asked to rate".into(),
        Part::Step(_, Step::Told { as_system: true, .. }) => "Reminder (as the system)".into(),
        Part::Step(_, Step::Told { .. }) => "Reminder".into(),
        Part::Unanswered(None) => "No answer came; it was not billed.".into(),
        Part::Unanswered(Some(billed)) => {
            format!("No answer came; it may have been billed all the same, with up to {billed}.")
        }
        Part::Died(billed) => format!(
            "The runner died while the model was answering; that may have been billed, with up to {billed}."
        ),
        Part::Asking(since, reserved) => format!(
            "The model was asked at {} and has not answered yet; {reserved} are reserved.",
            time(*since, TIME)
        ),
        Part::Step(_, Step::DayEnded(DayEnd { how, reason, .. })) => {
            let how = if *how == How::Failed { ", failed" } else { "" };
            format!("The day ended{how}: {}", cell(reason, REASON))
        }
        Part::Step(_, taken_out) => {
            let (because, what) = match taken_out {
                Step::ToolLeftOut { tool } => {
                    (format!(" for the tool {}", cell(tool.as_str(), NAME)), "that")
                }
                Step::AttachmentsReplaced => (String::new(), "attachments"),
                _ => (String::new(), "the thinking"),
            };
            format!("The request was refused{because}; it was sent once more without {what}.")
        }
        Part::Unreadable(number, error) => {
            format!("[step {number} cannot be read: {}]", cell(error, REASON))
        }
    };
    page.section(&title);
    if let Part::Step(_, Step::Opened(TurnOpening { opening: text, .. }))
    | Part::Step(_, Step::Told { reminder: Some(text), .. })
    | Part::Question(text) = part
    {
        page.text(2, text, OTHER);
    }
}

fn print_turn(page: &mut Page, turn: &Turn, is_running: bool) {
    let Turn { is_rating, number, took, reply, .. } = turn;
    let title = if *is_rating { "Rating, answer" } else { "Turn" };
    let took = took.map(|took| format!("{:.1} s, ", took.as_secs_f64())).unwrap_or_default();
    let end = match &reply.refusal {
        Some(category) => format!("refusal ({})", cell(category, NAME)),
        None => reply.stop_reason.as_str().to_owned(),
    };
    page.section(&format!(
        "{title} {number}: {took}{}, {} tokens in ({} from the cache), {} out, {end}",
        reply.cost.total(),
        grouped(reply.usage.prompt()),
        grouped(reply.usage.cache_read),
        grouped(reply.usage.output),
    ));
    if *is_rating && !page.full {
        // The text of a rating answer is JSON, which is printed as ratings below.
        return;
    }
    for said in turn.said() {
        match said {
            Said::Words(text) => page.text(2, text, WORDS),
            Said::Call(call) => print_call(page, call, is_running),
        }
    }
}

fn print_call(page: &mut Page, call: &Call, is_running: bool) {
    page.line(&match &call.tool {
        Some(CalledTool::Listed(name)) => format!("  → {}", cell(name.as_str(), NAME)),
        Some(CalledTool::Invented(name)) => format!("  → {} (no such tool)", cell(name, NAME)),
        None => format!("  → {}", cell(&call.asked.name, NAME)),
    });
    page.text(6, &readable(call.input()), INPUT);
    let Some(called) = &call.called else {
        return page.line(match call.came(is_running) {
            Came::NotBackYet => "    ← no result yet",
            Came::Back | Came::Unknown => "    ← no result: whether it ran is unknown",
            Came::NotMadeYet => "    ← not called yet",
            Came::NotMade => "    ← not called",
        });
    };
    let record = &called.record;
    let how = match (&record.error, record.outcome_unknown) {
        (None, _) => "ok",
        (Some(_), false) => "error",
        (Some(_), true) => "error, outcome unknown",
    };
    page.line(&format!("    ← call {}: {how}, {} ms", record.number, record.latency.as_millis()));
    for part in called.shown() {
        match part {
            Shown::Text(text) => page.text(6, &readable(text), RESULT),
            Shown::Attachment(kind, bytes) => {
                page.line(&format!("      [{}, {} bytes]", cell(kind, NAME), grouped(bytes)));
            }
        }
    }
}

fn print_ratings(page: &mut Page, ratings: &[ModuleRating]) {
    page.section(if ratings.is_empty() { "Ratings: none" } else { "Ratings" });
    for ModuleRating { module, rating, notes, calls } in ratings {
        let calls = calls.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let rests = if calls.is_empty() { calls } else { format!(" (calls {calls})") };
        page.line(&format!("  {}: {} of 5{rests}", cell(module.as_str(), NAME), rating.get()));
        page.text(6, notes.as_deref().unwrap_or_default(), OTHER);
    }
}

/// Formats a long JSON object or array with one line for each part. Any other text stays as it is.
fn readable(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() || value.is_array() => {
            let line = value.to_string();
            if line.chars().count() <= ONE_LINE { line } else { format!("{value:#}") }
        }
        _ => text.to_owned(),
    }
}
