//! The rating turn: a new conversation in which the persona rates the modules it used.

mod parse;

use std::num::NonZeroU32;

use serde_json::value::RawValue;

pub use parse::parse_ratings;

use super::{
    CallRecord, Day, Ended, MainTurn, Recorder, Scope, Step, UnratedModule, call, nets, prompt,
};
use crate::{
    clients::claude::{Ask, ClaudeClient, Message, Reply, StopReason},
    domain::{ModuleName, ModuleRating, Redactor, UnratedWhy, Usd, clip, one_line},
};

/// Output tokens that an answer may have, thinking included.
const OUTPUT_TOKENS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();
/// How many answers the turn has at most: the first, and a second for modules that the first left out.
const MAX_REPLIES: u32 = 2;
/// How many modules are asked for at most. mana-auth takes no more ratings in one batch.
const MAX_MODULES: usize = 100;
/// How many characters of an unreadable answer its row has.
const UNREADABLE_EXCERPT: usize = 900;

/// The result of the rating turn.
#[derive(Debug)]
pub struct Ratings {
    /// The ratings. If no rating could be read, a single row that has the unreadable answer.
    pub rows: Vec<ModuleRating>,
    /// Modules without a rating, each with the reason.
    pub unrated: Vec<UnratedModule>,
    /// Why the turn ended early. `None` if it came to its regular end.
    pub ended: Option<Ended>,
}

/// Asks for a rating of every module used in `turn`, and once more for missing ratings. `earlier` are the
/// steps of the rating turn that an earlier process has written; their answers are not asked for again.
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
            Step::Replied(reply) => talk.record_reply(reply),
            removal => drop(nets::take_out(&removal, &mut talk.messages)),
        }
    }
    let mut end = None;
    while end.is_none() && !talk.is_over() {
        let schema = answer_schema(&talk.missing);
        match scope.ask(claude, talk.ask(system, &schema), true, recorder).await {
            Ok(reply) => talk.record_reply(reply),
            Err(ended) => match nets::mend(&ended, None, &mut talk.messages) {
                Some(step) => recorder.note(&step).await,
                None => end = Some(ended),
            },
        }
    }
    talk.into_ratings(end)
}

/// The user message that asks for ratings after these answers. `None` if there is no further request.
pub fn question<'a>(
    turn: &MainTurn,
    answers: impl IntoIterator<Item = &'a Reply>,
    redactor: &Redactor,
) -> Option<String> {
    let mut talk = RatingTalk::new(&turn.calls, &turn.closing_words, redactor);
    answers.into_iter().cloned().for_each(|answer| talk.record_reply(answer));
    (!talk.is_over()).then(|| match talk.replies {
        0 => talk.question,
        _ => prompt::repair(&talk.missing),
    })
}

/// The most that the first answer may cost if the day ends with its next reply.
pub(super) fn max_cost(claude: &ClaudeClient, system: &str, day: &Day) -> Usd {
    let words = &day.conversation.closing_words;
    let talk = RatingTalk::new(&day.calls, words, &Redactor::default());
    let schema = answer_schema(&talk.missing);
    claude.most(claude.weigh(talk.ask(system, &schema)) + prompt::GROWTH, OUTPUT_TOKENS)
}

/// A rating turn under way.
#[derive(Default)]
struct RatingTalk {
    question: String,
    messages: Vec<Message>,
    redactor: Redactor,
    rows: Vec<ModuleRating>,
    /// Modules that are asked for and have no rating yet.
    missing: Vec<ModuleName>,
    /// Used modules beyond [`MAX_MODULES`], which are not asked for.
    beyond: Vec<ModuleName>,
    replies: u32,
    /// Whether the model refused to answer.
    is_refused: bool,
    /// Description of the last answer, for the row of an unreadable answer; empty before the first answer.
    last_answer: String,
}

impl RatingTalk {
    fn new(calls: &[CallRecord], closing_words: &str, redactor: &Redactor) -> Self {
        let mut missing = call::used_modules(calls);
        let beyond = missing.split_off(missing.len().min(MAX_MODULES));
        let question = prompt::rate(calls, closing_words, &missing);
        let (messages, redactor) = (vec![Message::user(&question)], redactor.clone());
        Self { question, messages, redactor, missing, beyond, ..Self::default() }
    }

    /// The next request, for an answer that has this schema.
    fn ask<'a>(&'a self, system: &'a str, schema: &'a RawValue) -> Ask<'a> {
        Ask {
            system,
            tools: None,
            messages: &self.messages,
            max_tokens: OUTPUT_TOKENS,
            format: Some(schema),
            // The turn has at most two requests, and no other request has their prefix, so a cache write
            // would not pay off.
            cached: false,
            spare: Usd::ZERO,
        }
    }

    fn is_over(&self) -> bool {
        self.missing.is_empty() || self.replies >= MAX_REPLIES
    }

    /// Records an answer. If ratings are still missing, adds the message that asks for them.
    fn record_reply(&mut self, reply: Reply) {
        self.replies += 1;
        self.last_answer = describe(&reply, &self.redactor);
        if reply.stop_reason == StopReason::Refusal {
            // The model would most likely refuse a second request too.
            (self.replies, self.is_refused) = (MAX_REPLIES, true);
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
            // The answer calls a tool although none is offered. Such a call cannot be answered in the
            // history, so the answer is left out of it.
            self.messages = vec![Message::user(&format!("{}\n\n{repair}", self.question))];
        } else {
            self.messages.extend(Message::assistant(&reply.content, &[]));
            self.messages.push(Message::user(&repair));
        }
    }

    fn into_ratings(mut self, ended: Option<Ended>) -> Ratings {
        let why = match &ended {
            Some(ended) => ended.why_unrated(),
            None if self.is_refused => UnratedWhy::Refused,
            None if self.rows.is_empty() => UnratedWhy::Unreadable,
            None => UnratedWhy::Forgotten,
        };
        let unrated = |why| move |module| UnratedModule { module, why };
        let missing = self.missing.into_iter().map(unrated(why));
        let unrated =
            missing.chain(self.beyond.into_iter().map(unrated(UnratedWhy::NotReached))).collect();
        // Without any answer there is no row for an unreadable answer; the failure of the request is reported
        // instead.
        if self.rows.is_empty() && !self.last_answer.is_empty() {
            self.rows.push(ModuleRating::unreadable(&self.last_answer));
        }
        Ratings { rows: self.rows, unrated, ended }
    }
}

/// The JSON Schema of the answer, within the limits of structured outputs
/// (docs/contracts/anthropic-messages.md, section 2). The notes come before the rating, so that the model
/// gives its reason before the number.
fn answer_schema(modules: &[ModuleName]) -> Box<RawValue> {
    const SCHEMA: &str = concat!(
        r#"{"type":"object","properties":{"ratings":{"type":"array","items":"#,
        r#"{"type":"object","properties":{"module":{"type":"string","enum":MODULES},"notes":{"type":"string"},"#,
        r#""calls":{"type":"array","items":{"type":"integer"}},"rating":{"type":"integer","enum":[1,2,3,4,5]}},"#,
        r#""required":["module","notes","calls","rating"],"additionalProperties":false}}},"#,
        r#""required":["ratings"],"additionalProperties":false}"#,
    );
    let names: Vec<_> = modules.iter().map(ModuleName::as_str).collect();
    #[allow(clippy::expect_used, reason = "the schema is JSON, and names always encode")]
    serde_json::to_string(&names)
        .and_then(|names| RawValue::from_string(SCHEMA.replace("MODULES", &names)))
        .expect("the schema is JSON, and names always encode")
}

/// Describes an answer, for the row of an unreadable answer.
fn describe(reply: &Reply, redactor: &Redactor) -> String {
    let reason = match (&reply.stop_reason, &reply.refusal) {
        (StopReason::Refusal, Some(category)) => format!("refusal, {}", redactor.redact(category)),
        (reason, _) => reason.as_str().to_owned(),
    };
    let text = clip(&one_line(&redactor.redact(&reply.text())), UNREADABLE_EXCERPT);
    if text.is_empty() {
        format!("no rating came back, and no text ({reason})")
    } else {
        format!("no readable rating ({reason}): {text}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        agent::CalledTool,
        domain::{Cost, Tokens, ToolName},
    };

    fn call(module: usize) -> CallRecord {
        let id = format!("id{module}");
        let tool = CalledTool::Listed(ToolName::new(format!("m{module}.list")));
        let called = crate::agent::Called::broken_off(1, &id, None, tool);
        CallRecord { started: Instant::now(), ..called.record }
    }

    fn reply(text: &str, reason: &str) -> Reply {
        let reply = json!({"content": [{"type": "text", "text": text}], "stop_reason": reason,
            "refusal": null, "usage": Tokens::default(), "cost": Cost::default()});
        serde_json::from_str(&reply.to_string()).unwrap()
    }

    /// Why each module stays unrated that a run with two modules used, after these answers and this end.
    fn unrated(answers: &[(&str, &str)], ended: Option<Ended>) -> Vec<(String, UnratedWhy)> {
        let mut talk = RatingTalk::new(&[call(0), call(1)], "", &Redactor::default());
        for (text, reason) in answers {
            talk.record_reply(reply(text, reason));
        }
        let unrated = talk.into_ratings(ended).unrated;
        unrated.into_iter().map(|it| (it.module.as_str().to_owned(), it.why)).collect()
    }

    #[test]
    fn each_module_without_a_rating_has_a_reason() {
        let first = r#"{"ratings":[{"module":"m0","notes":"","calls":[],"rating":4}]}"#;
        let rated = (first, "end_turn");
        let (m0, m1) = ("m0".to_owned(), "m1".to_owned());
        let both = |why| vec![(m0.clone(), why), (m1.clone(), why)];
        let one = |why| vec![(m1.clone(), why)];
        let hm = ("hm", "end_turn");
        for (answers, ended, expected) in [
            (&[rated, hm][..], None, one(UnratedWhy::Forgotten)),
            (&[rated, ("", "refusal")], None, one(UnratedWhy::Refused)),
            (&[rated], Some(Ended::Stopped), one(UnratedWhy::Stopped)),
            (&[hm, hm], None, both(UnratedWhy::Unreadable)),
            (&[("", "refusal")], None, both(UnratedWhy::Refused)),
            (&[], Some(Ended::Deadline), both(UnratedWhy::Stopped)),
            (&[], Some(Ended::Closed(crate::agent::Closed::CostLimit)), both(UnratedWhy::NoMoney)),
        ] {
            assert_eq!(unrated(answers, ended), expected, "{answers:?}");
        }
        let all: Vec<_> = (0..MAX_MODULES + 1).map(call).collect();
        let talk = RatingTalk::new(&all, "", &Redactor::default());
        let last = talk.into_ratings(Some(Ended::Stopped)).unrated.pop().unwrap();
        assert_eq!(last.why, UnratedWhy::NotReached, "it is not asked for");
    }
}
