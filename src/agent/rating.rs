//! The rating turn: a fresh query in which the persona rates the modules it used.

mod parse;

use std::num::NonZeroU32;

use serde_json::{Value, json, value::RawValue};

pub use parse::parse_ratings;

use super::{CallRecord, Day, Ended, MainTurn, Recorder, Scope, Step, call, nets, prompt};
use crate::{
    clients::claude::{Ask, ClaudeClient, Message, Reply, StopReason},
    domain::{ModuleName, ModuleRating, Redactor, Usd, clip, one_line},
};

/// Output tokens of an answer, thinking included.
const OUTPUT_TOKENS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();
/// Answers: one, and one more for what it left out.
const MAX_REPLIES: u32 = 2;
/// Most modules asked for: what the server takes in one batch.
const MAX_MODULES: usize = 100;
/// Longest piece of an unreadable answer in its mark, in characters.
const CAME_BACK: usize = 900;

/// What came of the rating turn.
#[derive(Debug)]
pub struct Ratings {
    /// Ratings, or the mark of an unreadable answer.
    pub rows: Vec<ModuleRating>,
    /// Modules that stayed unrated.
    pub unrated: Vec<ModuleName>,
    /// What ended it early, if anything did.
    pub ended: Option<Ended>,
}

/// Asks for a rating of every module used in `turn`, once more for what is missing, and no further.
/// What an earlier process has got of it (`earlier`) is not asked for again.
pub(crate) async fn run_rating_turn(
    claude: &ClaudeClient,
    system: &str,
    turn: &MainTurn,
    earlier: Vec<Step>,
    scope: &Scope,
    recorder: &impl Recorder,
) -> Ratings {
    let mut talk = RatingTalk::new(&turn.calls, &turn.closing_words, &scope.redactor);
    for step in earlier {
        match step {
            Step::Replied(reply) => talk.hear(reply),
            taken_out => drop(nets::take_out(&taken_out, &mut talk.messages)),
        }
    }
    let ended = loop {
        if talk.is_over() {
            break None;
        }
        let schema = answer_schema(&talk.missing);
        match scope.ask(claude, talk.ask(system, &schema), true, recorder).await {
            Ok(reply) => talk.hear(reply),
            Err(ended) => match nets::mend(&ended, None, &mut talk.messages) {
                Some(step) => recorder.note(&step).await,
                None => break Some(ended),
            },
        }
    };
    talk.into_ratings(ended)
}

/// What the persona is asked for its ratings after these answers; `None` where it is asked no more.
pub fn question<'a>(
    turn: &MainTurn,
    answers: impl IntoIterator<Item = &'a Reply>,
    redactor: &Redactor,
) -> Option<String> {
    let mut talk = RatingTalk::new(&turn.calls, &turn.closing_words, redactor);
    answers.into_iter().cloned().for_each(|answer| talk.hear(answer));
    (!talk.is_over()).then(|| match talk.replies {
        0 => talk.question,
        _ => prompt::repair(&talk.missing),
    })
}

/// What the first answer may cost at most where the day ends with its next reply.
pub(super) fn most(claude: &ClaudeClient, system: &str, day: &Day) -> Usd {
    let words = &day.conversation.closing_words;
    let talk = RatingTalk::new(&day.calls, words, &Redactor::default());
    let schema = answer_schema(&talk.missing);
    claude.most(claude.weigh(talk.ask(system, &schema)) + prompt::GROWTH, OUTPUT_TOKENS)
}

/// A rating turn: what was said, and what is still missing.
#[derive(Default)]
struct RatingTalk {
    question: String,
    messages: Vec<Message>,
    redactor: Redactor,
    rows: Vec<ModuleRating>,
    missing: Vec<ModuleName>,
    /// More modules than can be asked for.
    beyond: Vec<ModuleName>,
    replies: u32,
    came_back: String,
}

impl RatingTalk {
    fn new(calls: &[CallRecord], closing_words: &str, redactor: &Redactor) -> Self {
        let mut missing = call::used_modules(calls);
        let beyond = missing.split_off(missing.len().min(MAX_MODULES));
        let question = prompt::rate(calls, closing_words, &missing);
        let (messages, redactor) = (vec![Message::user(&question)], redactor.clone());
        Self { question, messages, redactor, missing, beyond, ..Self::default() }
    }

    /// The next request, for an answer of this schema.
    fn ask<'a>(&'a self, system: &'a str, schema: &'a RawValue) -> Ask<'a> {
        Ask {
            system,
            tools: None,
            messages: &self.messages,
            max_tokens: OUTPUT_TOKENS,
            format: Some(schema),
            // One request, two at the most, with a prefix nobody else uses: not worth a cache write.
            cached: false,
            spare: Usd::ZERO,
        }
    }

    fn is_over(&self) -> bool {
        self.missing.is_empty() || self.replies >= MAX_REPLIES
    }

    /// Takes in an answer, and asks for what is still missing.
    fn hear(&mut self, reply: Reply) {
        self.replies += 1;
        self.came_back = describe(&reply, &self.redactor);
        if reply.stop_reason == StopReason::Refusal {
            // Asked again, it would most likely decline again.
            self.replies = MAX_REPLIES;
            return;
        }
        let found = parse_ratings(&reply.text(), &self.missing, &self.redactor);
        self.missing.retain(|module| found.iter().all(|rating| rating.module != *module));
        self.rows.extend(found);
        if self.is_over() {
            return;
        }
        let repair = prompt::repair(&self.missing);
        if reply.tool_uses().next().is_some() {
            // A tool call, which nobody offered, could not be answered in the history: it is left out.
            self.messages = vec![Message::user(&format!("{}\n\n{repair}", self.question))];
        } else {
            self.messages.extend(Message::assistant(&reply.content, &[]));
            self.messages.push(Message::user(&repair));
        }
    }

    fn into_ratings(mut self, ended: Option<Ended>) -> Ratings {
        // Without any answer there is nothing to mark; the request's failure is reported instead.
        if self.rows.is_empty() && !self.came_back.is_empty() {
            self.rows.push(ModuleRating::unreadable(&self.came_back));
        }
        self.missing.extend(self.beyond);
        Ratings { rows: self.rows, unrated: self.missing, ended }
    }
}

/// JSON Schema of the answer: reason before number, within the limits of structured outputs
/// (docs/contracts/anthropic-messages.md, section 2).
fn answer_schema(modules: &[ModuleName]) -> Box<RawValue> {
    let names: Vec<_> = modules.iter().map(ModuleName::as_str).collect();
    let properties = json!({
        "module": {"type": "string", "enum": names},
        "notes": {"type": "string"},
        "calls": {"type": "array", "items": {"type": "integer"}},
        "rating": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
    });
    let object = |properties: Value| {
        let required: Vec<_> =
            properties.as_object().iter().flat_map(|it| it.keys()).cloned().collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    };
    let schema = object(json!({"ratings": {"type": "array", "items": object(properties)}}));
    #[allow(clippy::expect_used, reason = "a JSON value always encodes")]
    serde_json::value::to_raw_value(&schema).expect("a JSON value always encodes")
}

/// What came back, for the mark of an unreadable answer.
fn describe(reply: &Reply, redactor: &Redactor) -> String {
    let reason = match (&reply.stop_reason, &reply.refusal) {
        (StopReason::Refusal, Some(category)) => format!("refusal, {}", redactor.redact(category)),
        (reason, _) => reason.as_str().to_owned(),
    };
    let text = clip(&one_line(&redactor.redact(&reply.text())), CAME_BACK);
    if text.is_empty() {
        format!("no rating came back, and no text ({reason})")
    } else {
        format!("no readable rating ({reason}): {text}")
    }
}
