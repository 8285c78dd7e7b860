//! What a persona does wrong: calls that fail by its own fault.

use serde_json::{Value, json};

use super::{
    super::{manner::LOUD_CALLS, request::ParsedRequest},
    Dice, Part, is_over,
    ledger::{self, Ledger},
    sample::{Sampler, date_in},
};
use crate::catalog::Voice;

/// Names of tools that do not exist, although a user would expect them.
const INVENTED: [&str; 6] = [
    "todo_snooze",
    "notes_export",
    "mood_chart",
    "calendar_invite",
    "habits_remind",
    "contacts_merge",
];
/// How many calls a reply of a loud persona has.
const LOUD_CALLS_A_REPLY: usize = 8;
/// How many tools a loud persona calls in turn. A single one would reach the usual limits of calls a minute.
const LOUD_TOOLS: usize = 4;

/// Calls of a tool: wire name and input.
type Calls = Vec<(String, Value)>;

/// The failed calls of the last reply, if the persona makes them again.
pub(super) fn again(request: &ParsedRequest, part: &Part, dice: &mut Dice) -> Option<Calls> {
    let results = request.last_tool_results();
    let failed =
        |id: &str| results.iter().any(|result| result.tool_use_id == id && result.is_error);
    let calls = request.tool_calls().into_iter().filter(|(id, ..)| failed(id));
    let calls: Calls = calls.map(|(_, name, input)| (name.to_owned(), input.clone())).collect();
    (is_free(request, part) && !calls.is_empty() && happens(part.manner.repeats, dice))
        .then_some(calls)
}

/// The calls of a reply in which the persona does something wrong.
pub(super) fn calls(
    request: &ParsedRequest,
    part: &Part,
    voice: &Voice,
    dice: &mut Dice,
) -> Option<Calls> {
    let is_loud = part.manner.loud_on == Some(part.run);
    if is_loud && request.body["tool_choice"].is_null() {
        let calls = invalid(request);
        if !calls.is_empty() {
            return Some(calls);
        }
    }
    if !is_free(request, part) {
        return None;
    }
    if happens(part.manner.invents, dice) {
        let name = INVENTED[dice.below(INVENTED.len())];
        return Some(vec![(name.to_owned(), json!({}))]);
    }
    if happens(part.manner.oversteps, dice) {
        let destroyers: Vec<_> =
            request.tools.iter().filter(|tool| ledger::is_destructive(tool)).collect();
        let tool = destroyers.get(dice.below(destroyers.len()))?;
        let (ledger, today) = (Ledger::of(request), date_in(&request.first_user_text()));
        let input = Sampler { voice, today: &today, ledger: &ledger, dice }.input(tool);
        let name = tool["name"].as_str()?.to_owned();
        return Some(vec![(name, input.unwrap_or_else(|| json!({})))]);
    }
    None
}

/// Whether the persona chooses what it does in this reply.
fn is_free(request: &ParsedRequest, part: &Part) -> bool {
    request.body["tool_choice"].is_null() && !is_over(request, part)
}

/// Draws no number for a persona that never does this, so that its days are those without a manner.
fn happens(percent: usize, dice: &mut Dice) -> bool {
    percent > 0 && dice.chance(percent)
}

/// The next calls of a loud run, with an object where a tool expects something else; empty after the last one.
fn invalid(request: &ParsedRequest) -> Calls {
    // Without a history: a loud persona calls also what has just failed.
    let ledger = Ledger::default();
    let writes = ledger.candidates(request).into_iter().filter(|tool| !ledger::is_read(tool));
    let fields = writes.filter_map(|tool| Some((tool["name"].as_str()?, scalar(tool)?)));
    let fields: Vec<(&str, &str)> = fields.take(LOUD_TOOLS).collect();
    let so_far = request.tool_calls().len();
    let numbers = so_far..LOUD_CALLS.min(so_far + LOUD_CALLS_A_REPLY);
    let calls = numbers.zip(fields.iter().cycle());
    calls
        .map(|(number, (name, field))| ((*name).to_owned(), json!({*field: {"nummer": number}})))
        .collect()
}

/// A property that can never be an object, if possible a required one.
fn scalar(tool: &Value) -> Option<&str> {
    let schema = &tool["input_schema"];
    let properties = schema["properties"].as_object()?;
    let is_scalar = |name: &str| {
        matches!(
            properties[name]["type"].as_str(),
            Some("string" | "integer" | "number" | "boolean")
        )
    };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let known = required.filter(|name| properties.contains_key(*name));
    known.chain(properties.keys().map(String::as_str)).find(|name| is_scalar(name))
}
