//! The rating turn: notes in the persona's words about the events in the recap.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::catalog::{self, Voice};

use super::{
    super::{manner::Rates, request::ParsedRequest},
    Dice, Part,
    ledger::words,
};

/// The ratings as JSON text.
pub(super) fn answer(request: &ParsedRequest, voice: &Voice, part: &Part) -> String {
    let text = request.first_user_text();
    let schema = &request.body["output_config"]["format"]["schema"];
    let ratings: Vec<Value> = listed_in(schema)
        .unwrap_or_else(|| mentioned_in(&text))
        .iter()
        .map(|module| rate(module, &recap(&text, module), &request.system, voice, part))
        .collect();
    json!({ "ratings": ratings }).to_string()
}

/// One call in the recap.
struct Used<'a> {
    number: Option<u64>,
    tool: &'a str,
    failed: bool,
}

fn rate(module: &str, used: &[Used<'_>], system: &str, voice: &Voice, part: &Part) -> Value {
    let mut dice = Dice::new(&format!("{system}{module}"), 0, 0);
    let flatters = part.manner.rates == Rates::Flatters;
    let failures: Vec<&Used<'_>> = used.iter().filter(|call| call.failed && !flatters).collect();
    let liking = 3 + dice.below(3);
    let notes = match (failures.first(), used.first()) {
        (Some(failed), _) => format!(
            "{}: {} ging schief{}. {}",
            module,
            failed.tool,
            numbered(failed),
            dice.pick(&voice.grumble),
        ),
        (None, Some(call)) => format!(
            "{}, {} hat geklappt{}. So etwas wie „{}“ ist damit gut aufgehoben.",
            dice.pick(&voice.praise),
            call.tool,
            numbered(call),
            dice.pick(&voice.titles),
        ),
        (None, None) => format!("{module}: {}.", dice.pick(&voice.praise)),
    };
    let taste = match failures.len() {
        0 => liking,
        failures if failures * 2 < used.len() => liking - 1,
        _ => liking.min(4) - 2,
    };
    // Of this run and not of the persona alone, so that its ratings are not all the same.
    let mood = Dice::new(&format!("{system}{module}"), part.run, 0).mixed(part.seed).below(2);
    let rating = match part.manner.rates {
        Rates::Taste => taste,
        Rates::Experience if is_dead_end(used) => 1 + mood,
        Rates::Experience if !failures.is_empty() => 3,
        Rates::Experience | Rates::Flatters => 4 + mood,
        Rates::Drifts(hundredths) => drifted(taste, hundredths, part.run),
    };
    let calls: Vec<u64> = used.iter().filter_map(|call| call.number).collect();
    json!({"module": module, "notes": notes, "calls": calls, "rating": rating})
}

/// Whether the last call of some tool failed.
fn is_dead_end(used: &[Used<'_>]) -> bool {
    let is_last =
        |index: usize| used[index + 1..].iter().all(|later| later.tool != used[index].tool);
    used.iter().enumerate().any(|(index, call)| call.failed && is_last(index))
}

/// `rating` after the runs before this one have each moved it by `hundredths` of a point.
fn drifted(rating: usize, hundredths: i64, run: u64) -> usize {
    let before = i64::try_from(run.saturating_sub(1)).unwrap_or_default();
    let rating = i64::try_from(rating).unwrap_or_default() * 100;
    let moved = rating.saturating_add(hundredths.saturating_mul(before)) + 50;
    usize::try_from(moved.div_euclid(100).clamp(1, 5)).unwrap_or(1)
}

fn numbered(call: &Used<'_>) -> String {
    call.number.map(|number| format!(" (Aufruf {number})")).unwrap_or_default()
}

/// The modules that the schema allows.
fn listed_in(schema: &Value) -> Option<Vec<String>> {
    let allowed = schema
        .get("properties")
        .and_then(|properties| properties.get("module"))
        .and_then(|module| module["enum"].as_array());
    if let Some(allowed) = allowed {
        return Some(allowed.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    match schema {
        Value::Object(map) => map.values().find_map(listed_in),
        Value::Array(values) => values.iter().find_map(listed_in),
        _ => None,
    }
}

/// The modules that a text names: those of the tools in it, or those of the catalog if it names no tool.
fn mentioned_in(text: &str) -> Vec<String> {
    let mut mentioned: Vec<&str> = tools_in(text).map(|(module, _)| module).collect();
    if mentioned.is_empty() {
        let personas = catalog::personas();
        let known = |word: &&str| personas.iter().any(|p| p.module_mix.contains_key(*word));
        mentioned = words(text).filter(known).collect();
    }
    let mut once = HashSet::new();
    mentioned.retain(|module| once.insert(*module));
    mentioned.into_iter().map(str::to_owned).collect()
}

/// The calls of one module in the recap: lines that contain a tool name, a number and an outcome.
fn recap<'a>(text: &'a str, module: &str) -> Vec<Used<'a>> {
    text.lines()
        .filter_map(|line| {
            let (_, tool) = tools_in(line).next().filter(|(of, _)| *of == module)?;
            let before = line.split(tool).next().unwrap_or_default();
            let lower = line.to_lowercase();
            Some(Used {
                number: words(before).find_map(|word| word.parse().ok()),
                tool,
                failed: lower.contains("error") || lower.contains("fehler"),
            })
        })
        .collect()
}

/// Words of the form `module.verb`, as pairs of the module and the whole word.
fn tools_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter_map(|word| {
        let word = word.trim_matches('.');
        let (module, verb) = word.split_once('.')?;
        let is_name = |part: &str| {
            part.len() > 1
                && part.starts_with(|c: char| c.is_ascii_lowercase())
                && part.chars().all(|c| c.is_ascii_alphanumeric())
        };
        (is_name(module) && is_name(verb)).then_some((module, word))
    })
}
