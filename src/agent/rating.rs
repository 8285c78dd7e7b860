//! The rating turn: a fresh query in which the persona rates the modules it used.

mod parse;

use std::num::NonZeroU32;

use serde_json::{json, value::RawValue};

pub use parse::parse_ratings;

use super::{
    Scope,
    main_turn::{Ended, MainTurn},
    prompt,
};
use crate::{
    clients::claude::{Ask, ClaudeClient, Message, Reply, StopReason},
    domain::{ModuleName, ModuleRating, Usd, clip, one_line},
};

/// Output tokens of an answer, thinking included.
const OUTPUT_TOKENS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();
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
    /// What its replies cost.
    pub spent: Usd,
}

/// Asks for a rating of every module used in `turn`, once more for what is missing, and no further.
pub async fn run_rating_turn(
    claude: &ClaudeClient,
    system: &str,
    turn: &MainTurn,
    scope: &Scope,
) -> Ratings {
    let mut modules = turn.used_modules();
    let beyond = modules.split_off(modules.len().min(MAX_MODULES));
    let mut talk = RatingTalk::new(prompt::rate(&turn.calls, &turn.closing_words, &modules));
    let mut rows: Vec<ModuleRating> = Vec::new();
    let mut missing = modules;
    let mut ended = None;
    let mut came_back = String::new();
    let mut spent = Usd::ZERO;
    for attempt in 0..2 {
        if attempt > 0 {
            talk.ask_again(&prompt::repair(&missing));
        }
        let mut answer = talk.ask(claude, system, &missing, scope).await;
        if answer.as_ref().is_err_and(Ended::is_bad_request)
            && Message::strip_thinking(&mut talk.messages)
        {
            tracing::warn!("the rating request is sent once more without thinking blocks");
            answer = talk.ask(claude, system, &missing, scope).await;
        }
        let reply = match answer {
            Ok(reply) => reply,
            Err(end) => {
                ended = Some(end);
                break;
            }
        };
        spent += reply.cost.total();
        came_back = describe(&reply);
        if reply.stop_reason == StopReason::Refusal {
            // Asked again, it would most likely decline again.
            break;
        }
        let found = parse_ratings(&scope.redactor.redact(&reply.text()), &missing);
        missing.retain(|module| found.iter().all(|rating| rating.module != *module));
        rows.extend(found);
        if missing.is_empty() {
            break;
        }
        talk.heard(reply);
    }
    // Without any answer there is nothing to mark; the request's failure is reported instead.
    if rows.is_empty() && !came_back.is_empty() {
        rows.push(ModuleRating::unreadable(&scope.redactor.redact(&came_back)));
    }
    missing.extend(beyond);
    Ratings { rows, unrated: missing, ended, spent }
}

/// The messages of a rating turn.
struct RatingTalk {
    question: String,
    messages: Vec<Message>,
}

impl RatingTalk {
    fn new(question: String) -> Self {
        let messages = vec![Message::user(&question)];
        Self { question, messages }
    }

    async fn ask(
        &self,
        claude: &ClaudeClient,
        system: &str,
        modules: &[ModuleName],
        scope: &Scope,
    ) -> Result<Reply, Ended> {
        let schema = answer_schema(modules);
        let ask = Ask {
            system,
            tools: None,
            messages: &self.messages,
            max_tokens: OUTPUT_TOKENS,
            format: Some(&schema),
            // One request, two at the most, with a prefix nobody else uses: not worth a cache write.
            cached: false,
        };
        scope.ask(claude, ask).await
    }

    /// Takes the answer into the history. A tool call, which nobody offered, could not be answered
    /// there: it is left out.
    fn heard(&mut self, reply: Reply) {
        if reply.tool_uses().next().is_none() {
            self.messages.push(Message::assistant(&reply.content));
        }
    }

    fn ask_again(&mut self, text: &str) {
        if self.messages.len() == 1 {
            self.messages = vec![Message::user(&format!("{}\n\n{text}", self.question))];
        } else {
            self.messages.push(Message::user(text));
        }
    }
}

/// JSON Schema of the answer: reason before number, within the limits of structured outputs
/// (contracts/anthropic-messages.md, section 2).
fn answer_schema(modules: &[ModuleName]) -> Box<RawValue> {
    let names: Vec<_> = modules.iter().map(ModuleName::as_str).collect();
    let rating = json!({
        "type": "object",
        "properties": {
            "module": {"type": "string", "enum": names},
            "notes": {"type": "string"},
            "calls": {"type": "array", "items": {"type": "integer"}},
            "rating": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
        },
        "required": ["module", "notes", "calls", "rating"],
        "additionalProperties": false,
    });
    let schema = json!({
        "type": "object",
        "properties": {"ratings": {"type": "array", "items": rating}},
        "required": ["ratings"],
        "additionalProperties": false,
    });
    #[allow(clippy::expect_used, reason = "a JSON value always encodes")]
    serde_json::value::to_raw_value(&schema).expect("a JSON value always encodes")
}

/// What came back, for the mark of an unreadable answer.
fn describe(reply: &Reply) -> String {
    let reason = match (&reply.stop_reason, &reply.refusal) {
        (StopReason::Refusal, Some(category)) => format!("refusal, {category}"),
        (reason, _) => reason.as_str().to_owned(),
    };
    let text = clip(&one_line(&reply.text()), CAME_BACK);
    if text.is_empty() {
        format!("no rating came back, and no text ({reason})")
    } else {
        format!("no readable rating ({reason}): {text}")
    }
}
