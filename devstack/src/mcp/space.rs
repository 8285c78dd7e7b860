//! The contents of the spaces: entries that some tools write and others read.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::catalog::{Does, Tool};

/// Number of entries that a list returns if the arguments set no limit.
const DEFAULT_LIMIT: usize = 20;

/// One entry of a space.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The module whose tool wrote the entry.
    pub module: String,
    /// The kind of entry: `task`, `note`, …
    pub kind: String,
    /// The entry's fields as a tool returns them, including `id` and `createdAt`.
    pub fields: Map<String, Value>,
    created_at: Timestamp,
}

/// The space has no entry of this kind with this id.
#[derive(Debug, thiserror::Error)]
#[error("{kind} not found: {id}")]
pub(super) struct NotFound {
    kind: String,
    id: String,
}

/// The entries of all spaces. A space exists as soon as a tool uses its id: the real server does not check
/// the id either.
#[derive(Debug, Default)]
pub(super) struct Spaces(Mutex<HashMap<String, Vec<Entry>>>);

impl Spaces {
    /// Executes `tool` in `space` and returns its answer.
    pub(super) fn run(
        &self,
        tool: &Tool,
        space: &str,
        arguments: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<Value, NotFound> {
        let mut spaces = self.lock();
        let entries = spaces.entry(space.to_owned()).or_default();
        match tool.does {
            Does::Create => Ok(create(entries, tool, arguments, now)),
            Does::Change => change(entries, tool, arguments, now),
            Does::List | Does::Today => Ok(list(entries, tool, arguments, now)),
            Does::Spaces => Ok(json!({"spaces": [
                {"id": space, "name": "Personal", "type": "personal", "active": true}]})),
        }
    }

    /// The entries of `space`, in the order in which they were written.
    pub(super) fn entries(&self, space: &str) -> Vec<Entry> {
        self.lock().get(space).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn create(
    entries: &mut Vec<Entry>,
    tool: &Tool,
    arguments: &Map<String, Value>,
    now: Timestamp,
) -> Value {
    let mut fields = Map::new();
    fields.insert("id".into(), Uuid::now_v7().to_string().into());
    fields.extend(arguments.clone());
    fields.extend(tool.sets.clone());
    fields.insert("createdAt".into(), javascript_iso(now).into());
    let answer = fields.clone().into();
    entries.push(Entry {
        module: tool.module().to_owned(),
        kind: tool.of.clone(),
        fields,
        created_at: now,
    });
    answer
}

fn change(
    entries: &mut [Entry],
    tool: &Tool,
    arguments: &Map<String, Value>,
    now: Timestamp,
) -> Result<Value, NotFound> {
    let mut changes = arguments.clone();
    let id = changes.remove(&tool.key).unwrap_or_default();
    let entry = entries
        .iter_mut()
        .find(|entry| is_of(entry, tool) && entry.fields.get("id") == Some(&id))
        .ok_or_else(|| NotFound {
            kind: tool.of.clone(),
            id: id.as_str().unwrap_or_default().to_owned(),
        })?;
    entry.fields.extend(changes);
    entry.fields.extend(tool.sets.clone());
    entry.fields.insert("updatedAt".into(), javascript_iso(now).into());
    Ok(entry.fields.clone().into())
}

/// The matching entries, newest first. An argument with the name of an entry's field is a filter on that
/// field.
fn list(entries: &[Entry], tool: &Tool, arguments: &Map<String, Value>, now: Timestamp) -> Value {
    let text = |name| arguments.get(name).and_then(Value::as_str).map(str::to_lowercase);
    let number = |name| arguments.get(name).and_then(Value::as_i64);
    let query = text("query").unwrap_or_default();
    let since = number("days").map(|days| now - SignedDuration::from_hours(24 * days));
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let matches = |entry: &&Entry| {
        let filters = arguments.iter().filter(|(name, _)| !is_of_the_search(name));
        is_of(entry, tool)
            && (tool.does != Does::Today || day(entry.created_at) == day(now))
            && since.is_none_or(|since| entry.created_at >= since)
            && tool.only.iter().all(|(name, value)| entry.fields.get(name) == Some(value))
            && filters.into_iter().all(|(name, value)| entry.fields.get(name) == Some(value))
            && contains_words(entry, &query)
    };
    let limit = number("limit").and_then(|limit| usize::try_from(limit).ok());
    let found: Vec<_> = entries.iter().rev().filter(matches).collect();
    let items = found.iter().take(limit.unwrap_or(DEFAULT_LIMIT)).map(|entry| &entry.fields);
    json!({"total": found.len(), "items": items.collect::<Vec<_>>()})
}

/// Whether an argument controls the search and is not a filter on a field.
fn is_of_the_search(argument: &str) -> bool {
    ["query", "days", "limit", "question", "year"].contains(&argument)
}

/// A date in the form of `Date.toISOString`.
fn javascript_iso(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn is_of(entry: &Entry, tool: &Tool) -> bool {
    entry.module == tool.module() && entry.kind == tool.of
}

fn contains_words(entry: &Entry, query: &str) -> bool {
    let texts = entry.fields.values().map(|value| match value {
        Value::String(text) => text.to_lowercase(),
        other => other.to_string().to_lowercase(),
    });
    let all = texts.collect::<Vec<_>>().join("\n");
    query.split_whitespace().all(|word| all.contains(word))
}
