//! A run and a call as JSON: what their pages show.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    excerpt::{Excerpt, HINT, INPUT, PROMPT, QUESTION, REMINDER, RESULT, WHOLE, WORDS},
    head::{self, CameTo},
    kept::Kept,
    story::{Call, Item, Notice, Rating, Reply, Story},
};
use crate::{
    agent::transcript::Came,
    domain::{Label, Usd},
};

/// A run, with the items of a part of its page. Texts have at most `most` bytes.
pub(super) fn run(
    kept: &Kept,
    story: &Story<'_>,
    items: &[Item<'_>],
    most: usize,
    [part, parts]: [usize; 2],
) -> Value {
    let (mut turns, mut calls, mut ratings, mut events) = (vec![], vec![], vec![], vec![]);
    for item in items {
        match item {
            Item::Turn(reply) => turns.push(turn(reply)),
            Item::Call(it) => {
                if let (Some(turn), Some(number)) = (turns.last_mut(), it.number) {
                    push(turn, "calls", number.into());
                }
                calls.push(call(it, story, [most.min(INPUT), most.min(RESULT)]));
            }
            Item::Words(text) | Item::Answer(text) => {
                let words = excerpt(text, most.min(WORDS));
                match turns.last_mut() {
                    Some(turn) => push(turn, "words", words),
                    // The part begins within a turn.
                    None => events.push(json!({"kind": "words", "text": words})),
                }
            }
            Item::Rating(index) => ratings.extend(story.ratings.get(*index).map(rating)),
            Item::Unrated(modules) => ratings.extend(modules.iter().map(
                |(module, why)| json!({"module": module, "rating": null, "unratedWhy": why.as_str()}),
            )),
            item => events.extend(event(item, most)),
        }
    }
    json!({
        "run": about(kept, [part, parts]),
        "turns": turns,
        "calls": calls,
        "ratings": ratings,
        "events": events,
    })
}

fn push(turn: &mut Value, list: &str, value: Value) {
    if let Some(list) = turn[list].as_array_mut() {
        list.push(value);
    }
}

fn about(kept: &Kept, [part, parts]: [usize; 2]) -> Value {
    let run = &kept.run;
    let CameTo { turns, calls, failed, is_refused } = CameTo::of(kept);
    json!({
        "id": run.id.to_string(),
        "persona": run.persona_id,
        "label": head::label(run),
        "archetype": run.persona.as_ref().and_then(|persona| persona.archetype.as_deref()),
        "at": run.server_at.to_string(),
        "endedAt": run.ended_at.map(|at| kept.shifted(at).to_string()),
        "slot": run.slot.as_str(),
        "attempt": run.attempt,
        "state": run.state.as_str(),
        "stage": run.stage,
        "outcome": run.outcome.map(Label::as_str),
        "reason": run.end_reason,
        "refused": is_refused,
        "turns": turns,
        "calls": calls,
        "failed": failed,
        "ratings": run.ratings,
        "costUsd": run.spent.dollars(),
        "lostUsd": head::lost(kept).dollars(),
        "deployment": run.deployment.map(|number| head::build(kept, number)),
        "deploymentEnd": run.deployment_end.map(|number| head::build(kept, number)),
        "model": run.model,
        "effort": run.settings.effort,
        "policy": run.settings.policy,
        "prompt": run.settings.prompt,
        "runner": run.settings.runner,
        "frictions": head::issues(kept),
        "earlier": kept.neighbours[0].map(|id| id.to_string()),
        "later": kept.neighbours[1].map(|id| id.to_string()),
        "part": part,
        "parts": parts,
    })
}

fn turn(Reply { turn, at }: &Reply<'_>) -> Value {
    let reply = &turn.reply;
    json!({
        "number": turn.number,
        "isRating": turn.is_rating,
        "at": at.to_string(),
        "tookMs": turn.took.map(|took| took.as_millis() as u64),
        "tokens": {
            "prompt": reply.usage.prompt(),
            "cached": reply.usage.cache_read,
            "output": reply.usage.output,
        },
        "costUsd": reply.cost.total().dollars(),
        "stopReason": reply.stop_reason.as_str(),
        "refusal": reply.refusal,
        "words": [],
        "calls": [],
    })
}

/// A call with all that is kept of it.
pub(super) fn whole_call(it: &Call<'_>, story: &Story<'_>) -> Value {
    call(it, story, [WHOLE; 2])
}

/// A call. Its input and its result have at most so many bytes.
fn call(call: &Call<'_>, story: &Story<'_>, [input, result]: [usize; 2]) -> Value {
    let texts = call.texts.as_ref();
    let attachment =
        |(kind, bytes): &(&str, usize)| json!({"kind": excerpt(kind, HINT), "bytes": bytes});
    let ratings = call.ratings.iter().filter_map(|index| story.ratings.get(*index));
    json!({
        "number": call.number,
        "tool": call.tool,
        "came": match call.came {
            Came::Back => "back",
            Came::NotBackYet => "not-back-yet",
            Came::Unknown => "unknown",
            Came::NotMadeYet => "not-made-yet",
            Came::NotMade => "not-made",
        },
        "ok": call.is_ok,
        "outcomeUnknown": call.is_unsure,
        "at": call.at.map(|at| at.to_string()),
        "latencyMs": call.latency.map(|latency| latency.as_millis() as u64),
        "tries": call.tries,
        "cause": call.cause.map(Label::as_str),
        "blame": call.cause.map(|cause| cause.blame().as_str()),
        "next": call.next.map(Label::as_str),
        "issue": call.issue,
        "chars": call.chars,
        "cut": call.is_cut,
        "input": texts.map(|texts| excerpt(&texts.input.text, input)),
        "result": texts.filter(|_| call.came == Came::Back).map(|texts| excerpt(&texts.result.text, result)),
        "attachments": texts.map(|texts| texts.attachments.iter().map(attachment).collect::<Vec<_>>()),
        "hints": texts.map(|texts| texts.hints.iter().map(|hint| excerpt(hint, HINT)).collect::<Vec<_>>()),
        "ratings": ratings.map(|rating| rating.module).collect::<Vec<_>>(),
    })
}

fn rating(rating: &Rating<'_>) -> Value {
    json!({
        "module": rating.module,
        "rating": (!rating.is_unreadable).then_some(rating.rating),
        "notes": rating.notes,
        "calls": rating.calls,
    })
}

/// What is neither a turn nor a call nor a rating.
fn event(item: &Item<'_>, most: usize) -> Option<Value> {
    let text = |kind: &str, text: &str, limit: usize| json!({"kind": kind, "text": excerpt(text, most.min(limit))});
    let money = |kind: &str, usd: Option<Usd>| json!({"kind": kind, "usd": usd.map(Usd::dollars)});
    let at = |at: &Timestamp| Value::from(at.to_string());
    Some(match item {
        Item::Prompt(prompt) => text("system-prompt", prompt, PROMPT),
        Item::Opening(_, opening) => text("opening", opening, WORDS),
        Item::Reminder(reminder, false) => text("reminder", reminder, REMINDER),
        Item::Reminder(reminder, true) => text("system-reminder", reminder, REMINDER),
        Item::Question(question) => text("question", question, QUESTION),
        Item::Refused(rows, kind, reason) => {
            json!({"kind": "refused", "rows": rows, "of": kind, "reason": excerpt(reason, most.min(HINT))})
        }
        Item::Notice(notice) => match notice {
            Notice::StepsGone(_) => json!({"kind": "steps-gone"}),
            Notice::NothingSaid => json!({"kind": "nothing-said"}),
            Notice::Unanswered(billed) => money("unanswered", *billed),
            Notice::Died(billed) => money("died", Some(*billed)),
            Notice::Asking(since, reserved) => {
                json!({"kind": "asking", "since": at(since), "usd": reserved.dollars()})
            }
            Notice::WithoutTool(tool) => text("without-tool", tool, HINT),
            Notice::WithoutAttachments => json!({"kind": "without-attachments"}),
            Notice::WithoutThinking => json!({"kind": "without-thinking"}),
            Notice::DayEnded(ended, outcome, reason) => json!({
                "kind": "day-ended", "at": at(ended), "outcome": outcome.as_str(),
                "text": excerpt(reason, most.min(HINT)),
            }),
            Notice::NoRatings => json!({"kind": "no-ratings"}),
            Notice::Damaged(step, error) => {
                json!({"kind": "damaged", "step": step, "text": excerpt(error, most.min(HINT))})
            }
        },
        Item::Heading(_)
        | Item::Turn(_)
        | Item::Words(_)
        | Item::Call(_)
        | Item::Answer(_)
        | Item::Rating(_)
        | Item::Unrated(_) => return None,
    })
}

fn excerpt(text: &str, most: usize) -> Value {
    Excerpt::of(text, most).text.into()
}
