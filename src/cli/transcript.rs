//! The steps of a run as a conversation.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::text::{Lengths, cell, grouped, indent, time, wide};
use crate::{
    agent::{
        call::CalledTool,
        conversation::Limits,
        day::MainTurn,
        rating,
        replay::Replay,
        step::{Called, DayEnd, Step},
    },
    clients::claude::{Block, Reply, ResultBlock, ToolUse},
    domain::{ModuleRating, Redactor, Usd},
    journal::StoredStep,
};

/// Longest text of the model, of a call's input, of its result, and of anything else, in characters
/// and lines.
const WORDS: (usize, usize) = (3_000, 60);
const INPUT: (usize, usize) = (1_200, 30);
const RESULT: (usize, usize) = (800, 16);
const OTHER: (usize, usize) = (1_500, 30);
/// JSON up to so many characters stays on one line.
const ONE_LINE: usize = 90;
/// Longest name of a tool or a module, and longest reason, in characters.
const NAME: usize = 128;
const REASON: usize = 1_000;

/// What a run's steps tell.
pub(super) struct Transcript {
    /// The conversation.
    pub text: String,
    /// What requests without an answer may have cost.
    pub lost: Usd,
}

impl Transcript {
    /// Tells what these steps say. Of a run that goes on, or was killed, the last one has nothing
    /// behind it yet.
    pub(super) fn of(steps: &[StoredStep], is_running: bool, lengths: Lengths) -> Self {
        let steps: Vec<_> =
            steps.iter().map(|step| (step, serde_json::from_str::<Step>(&step.body))).collect();
        let mut calls: HashMap<&str, Known<'_>> = HashMap::new();
        for (_, step) in &steps {
            match step {
                Ok(Step::Calling { id, tool }) => calls.entry(id).or_default().tool = Some(tool),
                Ok(Step::NotCalled { id }) => drop(calls.remove(id.as_str())),
                Ok(Step::Called(called)) => {
                    let known = calls.entry(&called.id).or_default();
                    known.tool = Some(&called.record.tool);
                    known.called = Some(called);
                }
                _ => {}
            }
        }
        let mut teller = Teller {
            out: String::new(),
            lengths,
            calls,
            call_ids: HashSet::new(),
            asking: None,
            lost: Usd::ZERO,
            turns: 0,
            rating_answers: 0,
            questions: questions(&steps),
            asked: 0,
            is_day_over: false,
            is_running,
        };
        for (stored, step) in &steps {
            match step {
                Ok(step) => teller.take(step, stored.at),
                Err(error) => {
                    let error = cell(&error.to_string(), REASON);
                    teller.line(&format!("[step {} cannot be read: {error}]", stored.number));
                }
            }
        }
        teller.end();
        Self { text: teller.out, lost: teller.lost }
    }
}

/// What the model is asked for the ratings is in no step: it follows from what happened.
fn questions(steps: &[(&StoredStep, serde_json::Result<Step>)]) -> Vec<String> {
    let now = Instant::now();
    let readable = steps.iter().filter_map(|(_, step)| Some((now, step.as_ref().ok()?.clone())));
    let Replay { day: Some(day), ended: Some(_), rating, .. } = Replay::of(readable, Limits::NONE)
    else {
        return Vec::new();
    };
    let answers = rating.iter().filter_map(|step| match step {
        Step::Replied(reply) => Some(reply),
        _ => None,
    });
    // Secrets were kept out of what is in a journal.
    let redactor = Redactor::default();
    rating::questions(&MainTurn::of_earlier(day, &redactor), answers, &redactor)
}

/// What is known of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Known<'a> {
    tool: Option<&'a CalledTool>,
    called: Option<&'a Called>,
}

struct Teller<'a> {
    out: String,
    lengths: Lengths,
    /// By the ids of the model's blocks.
    calls: HashMap<&'a str, Known<'a>>,
    /// Those told so far.
    call_ids: HashSet<String>,
    /// The request under way: since when, and what is reserved for it.
    asking: Option<(Timestamp, Usd)>,
    lost: Usd,
    turns: u32,
    rating_answers: usize,
    /// What the model is asked for the ratings, and how much of it is shown.
    questions: Vec<String>,
    asked: usize,
    is_day_over: bool,
    is_running: bool,
}

impl Teller<'_> {
    fn take(&mut self, step: &Step, at: Timestamp) {
        match step {
            Step::Opened(opened) => {
                let at = time(at, "%H:%M:%S UTC");
                self.line(&format!("What it is asked to do ({at})"));
                self.text(2, &opened.opening, OTHER);
            }
            Step::Asking { reserved } => {
                self.died_asking();
                self.question();
                self.asking = Some((at, *reserved));
            }
            Step::Replied(reply) => self.reply(reply, at),
            Step::Unanswered { lost } => {
                let reserved = self.asking.take().map(|(_, reserved)| reserved).unwrap_or_default();
                if *lost {
                    self.lost += reserved;
                    self.line(&format!(
                        "No answer came; it may have been billed all the same, with up to {reserved}."
                    ));
                } else {
                    self.line("No answer came; it was not billed.");
                }
            }
            Step::ThinkingStripped => {
                self.line("The request was refused; it was sent once more without the thinking.");
            }
            Step::ToolLeftOut { tool } => {
                let tool = cell(tool.as_str(), NAME);
                self.line(&format!(
                    "The request was refused for the tool {tool}; it was sent once more without that."
                ));
            }
            Step::AttachmentsReplaced => {
                self.line("The request was refused; it was sent once more without attachments.");
            }
            // Told with the reply that asked for it.
            Step::Calling { .. } | Step::NotCalled { .. } | Step::Called(_) => {}
            Step::Told { reminder: None, .. } => {}
            Step::SessionOpened { .. } | Step::SessionsEnded => {}
            Step::Told { reminder: Some(reminder), as_system, .. } => {
                let how = if *as_system { " (as the system)" } else { "" };
                self.line(&format!("Reminder{how}"));
                self.text(2, reminder, OTHER);
            }
            Step::DayEnded(end) => {
                self.died_asking();
                self.day_end(end);
            }
            Step::Rated { rows } => self.ratings(rows),
        }
    }

    /// What the model is about to be asked for the ratings, unless it is the same once more.
    fn question(&mut self) {
        if self.is_day_over
            && self.asked <= self.rating_answers
            && let Some(question) = self.questions.get_mut(self.asked).map(std::mem::take)
        {
            self.asked += 1;
            self.line("What it is asked to rate");
            self.text(2, &question, OTHER);
        }
    }

    /// A reply and, with it, what came of its calls.
    fn reply(&mut self, reply: &Reply, at: Timestamp) {
        let asked = self.asking.take().map(|(since, _)| at.duration_since(since).as_secs_f64());
        let title = if self.is_day_over {
            self.rating_answers += 1;
            format!("Rating, answer {}", self.rating_answers)
        } else {
            self.turns += 1;
            format!("Turn {}", self.turns)
        };
        let took = asked.map(|seconds| format!("{:.1} s, ", seconds.max(0.0))).unwrap_or_default();
        let usage = &reply.usage;
        let end = match &reply.refusal {
            Some(category) => format!("refusal ({})", cell(category, NAME)),
            None => reply.stop_reason.as_str().to_owned(),
        };
        self.line(&format!(
            "{title}: {took}{}, {} tokens in ({} from the cache), {} out, {end}",
            reply.cost.total(),
            grouped(usage.prompt()),
            grouped(usage.cache_read),
            grouped(usage.output),
        ));
        if self.is_day_over && !self.lengths.full {
            // What it says is in the ratings below.
            return;
        }
        let mut calls = match self.is_day_over {
            true => Vec::new().into_iter(),
            false => reply.calls(&mut self.call_ids).into_iter(),
        };
        for block in &reply.blocks {
            match block {
                Block::Text(text) if !text.trim().is_empty() => self.text(2, text, WORDS),
                // Under the id its result is kept by.
                Block::ToolUse(call) => self.call(calls.next().as_ref().unwrap_or(call)),
                _ => {}
            }
        }
    }

    fn call(&mut self, call: &ToolUse) {
        let Known { tool, called } = self.calls.get(call.id.as_str()).copied().unwrap_or_default();
        let name = match tool {
            Some(CalledTool::Listed(name)) => cell(name.as_str(), NAME),
            Some(CalledTool::Invented(name)) => format!("{} (no such tool)", cell(name, NAME)),
            None => cell(&call.name, NAME),
        };
        self.words(&format!("  → {name}"));
        self.text(6, &readable(call.input.get()), INPUT);
        let Some(called) = called else {
            self.words(match (tool.is_some(), self.is_running) {
                (true, true) => "    ← no result yet",
                (true, false) => "    ← no result: whether it ran is unknown",
                (false, true) => "    ← not called yet",
                (false, false) => "    ← not called",
            });
            return;
        };
        let record = &called.record;
        let how = match (&record.error, record.outcome_unknown) {
            (None, _) => "ok",
            (Some(_), false) => "error",
            (Some(_), true) => "error, outcome unknown",
        };
        let number = record.number;
        self.words(&format!("    ← call {number}: {how}, {} ms", record.latency.as_millis()));
        for block in &called.content {
            match block {
                ResultBlock::Text(text) => self.text(6, &readable(text), RESULT),
                ResultBlock::Image { media_type, data } => {
                    let size = grouped(wide(data.len()) * 3 / 4);
                    self.words(&format!("      [{}, {size} bytes]", cell(media_type, NAME)));
                }
                ResultBlock::Pdf { data } => {
                    let size = grouped(wide(data.len()) * 3 / 4);
                    self.words(&format!("      [PDF, {size} bytes]"));
                }
            }
        }
        if let (Some(error), true) = (&record.error, called.content.is_empty()) {
            self.text(6, error, RESULT);
        }
    }

    fn day_end(&mut self, end: &DayEnd) {
        self.is_day_over = true;
        let reason = cell(&end.reason, REASON);
        let how = if end.failure.is_some() { ", failed" } else { "" };
        self.line(&format!("The day ended{how}: {reason}"));
    }

    fn ratings(&mut self, rows: &[ModuleRating]) {
        if rows.is_empty() {
            self.line("Ratings: none");
            return;
        }
        self.line("Ratings");
        for row in rows {
            let calls = row.calls.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let rests = if calls.is_empty() { calls } else { format!(" (calls {calls})") };
            let module = cell(row.module.as_str(), NAME);
            self.words(&format!("  {module}: {} of 5{rests}", row.rating.get()));
            self.text(6, row.notes.as_deref().unwrap_or_default(), OTHER);
        }
    }

    /// The request under way has no answer and no step that says so: the process died.
    fn died_asking(&mut self) {
        if let Some((_, reserved)) = self.asking.take() {
            self.lost += reserved;
            self.line(&format!(
                "The runner died while the model was answering; that may have been billed, with up to \
                 {reserved}."
            ));
        }
    }

    fn end(&mut self) {
        match self.asking {
            Some((since, reserved)) if self.is_running => {
                let since = time(since, "%H:%M:%S UTC");
                self.line(&format!(
                    "The model was asked at {since} and has not answered yet; {reserved} are reserved."
                ));
            }
            _ => self.died_asking(),
        }
    }

    /// A line that begins something new.
    fn line(&mut self, text: &str) {
        self.out.push('\n');
        self.words(text);
    }

    /// A line of ours. What is in it of others was made fit for a terminal before.
    fn words(&mut self, text: &str) {
        // Writing into a string does not fail.
        let _ = writeln!(self.out, "{text}");
    }

    /// A text of others.
    fn text(&mut self, by: usize, text: &str, (most, lines): (usize, usize)) {
        indent(&mut self.out, by, &self.lengths.clip(text, most, lines));
    }
}

/// JSON with a line for each of its parts, where it is long; anything else as it is.
fn readable(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() || value.is_array() => {
            let line = value.to_string();
            if line.chars().count() <= ONE_LINE { line } else { format!("{value:#}") }
        }
        _ => text.to_owned(),
    }
}
