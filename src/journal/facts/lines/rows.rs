//! The lines of rows that belong to runs.

use std::str::{FromStr, Split};

use jiff::Timestamp;

use super::super::deployments;
use crate::{
    domain::{Cause, Label, Next, UnratedWhy},
    facts::line::{Call, Hit, Issue, Module, Run, Sighting, Tick, Tool},
    journal::Row,
};

type Result<T> = std::result::Result<T, String>;

fn time(row: &Row, column: &str) -> Result<Timestamp> {
    row.time(column).ok_or_else(|| format!("{column} is no time"))
}

/// A word of a list that may be absent.
fn word<L: Label>(row: &Row, column: &str) -> Result<Option<L>> {
    let Ok(word) = row.text(column) else { return Ok(None) };
    L::parse(&word).map(Some).ok_or_else(|| format!("{column} {word:?}"))
}

fn needed<L: Label>(row: &Row, column: &str) -> Result<L> {
    word(row, column)?.ok_or_else(|| format!("there is no {column}"))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    serde_json::from_str(&row.text(column)?).map_err(|error| error.to_string())
}

fn deployment(row: &Row, column: &str) -> Option<String> {
    row.number(column).map(deployments::id)
}

/// Numbers and words of a row, in one text with commas between them. As in a column of its own, a value that is no
/// number is read as 0; an absent word is empty.
struct Packed<'a>(Split<'a, char>);

impl Packed<'_> {
    fn count<T: FromStr + Default>(&mut self) -> T {
        self.0.next().and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    fn flag(&mut self) -> bool {
        self.count::<i64>() != 0
    }

    fn time(&mut self) -> Result<Timestamp> {
        let time = self.0.next().and_then(|number| number.parse().ok());
        time.and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .ok_or_else(|| "at is no time".into())
    }

    fn word(&mut self) -> Option<String> {
        self.0.next().filter(|word| !word.is_empty()).map(str::to_owned)
    }

    fn label<L: Label>(&mut self) -> Result<Option<L>> {
        let word = self.0.next().filter(|word| !word.is_empty());
        word.map(|word| L::parse(word).ok_or_else(|| format!("there is no word {word:?}")))
            .transpose()
    }
}

pub(super) fn run(row: &Row) -> Result<Run> {
    let at = time(row, "server_at")?;
    // The end is stored by the clock of the daemon.
    let took = |ended: Timestamp| Some(ended.duration_since(row.time("started_at")?));
    let ended_at = row.time("ended_at").and_then(took).and_then(|took| at.checked_add(took).ok());
    let text = |column: &str| row.text(column).ok();
    Ok(Run {
        id: row.text("id")?,
        persona: row.text("persona_id")?,
        at,
        ended_at,
        slot: text("slot"),
        server_time: row.time("server_time"),
        deployment: deployment(row, "deployment"),
        deployment_end: deployment(row, "deployment_end"),
        model: text("model"),
        effort: text("effort"),
        policy: text("policy"),
        runner: text("runner"),
        prompt: text("prompt"),
        catalog: text("catalog"),
        outcome: needed(row, "outcome")?,
        cost_usd: row.money("spent").dollars(),
    })
}

pub(in crate::journal) fn call(row: &Row) -> Result<Call> {
    let packed = row.text("packed")?;
    let mut packed = Packed(packed.split(','));
    let text = |column: &str| row.text(column).ok();
    Ok(Call {
        run: row.text("run_id")?,
        number: packed.count(),
        at: packed.time()?,
        tool: row.text("tool")?,
        module: row.text("module")?,
        ok: packed.flag(),
        cause: packed.label::<Cause>()?,
        issue: packed.word(),
        template: text("template"),
        input_hash: packed.word(),
        latency_ms: Some(packed.count()),
        tries: packed.count(),
        chars: packed.count(),
        cut: packed.flag(),
        limit_offered: packed.flag(),
        next: packed.label::<Next>()?,
        quote: text("quote"),
    })
}

pub(in crate::journal) fn module(row: &Row) -> Result<Module> {
    Ok(Module {
        run: row.text("run_id")?,
        module: row.text("module")?,
        rating: row.number("rating").and_then(|rating| rating.try_into().ok()),
        grounded: row.flag("grounded"),
        unrated_why: word::<UnratedWhy>(row, "unrated_why")?,
        notes: row.text("notes").ok(),
        calls: json(row, "calls")?,
        reads: row.count("reads"),
        writes: row.count("writes"),
        failed: row.count("failed"),
        dead_end: row.flag("dead_end"),
    })
}

pub(in crate::journal) fn issue(row: &Row) -> Result<Issue> {
    let first = Sighting {
        at: time(row, "first_at")?,
        run: row.text("first_run").ok(),
        call: row.number("first_call").and_then(|call| call.try_into().ok()),
        deployment: deployment(row, "first_deployment"),
    };
    Ok(Issue {
        id: row.text("id")?,
        tool: row.text("tool").ok(),
        cause: needed(row, "cause")?,
        template: row.text("template")?,
        first: Some(first),
    })
}

pub(super) fn hit(row: &Row) -> Result<Hit> {
    Ok(Hit {
        issue: row.text("issue")?,
        run: row.text("run_id")?,
        calls: row.count("calls"),
        recovered: row.flag("recovered"),
        tools: json(row, "tools")?,
    })
}

pub(super) fn tool(row: &Row) -> Result<Tool> {
    let packed = row.text("packed")?;
    let mut packed = Packed(packed.split(','));
    Ok(Tool {
        run: row.text("run_id")?,
        tool: row.text("tool")?,
        calls: packed.count(),
        failed: packed.count(),
        dead_end: packed.flag(),
        recovered: packed.flag(),
    })
}

pub(super) fn tick(row: &Row) -> Result<Tick> {
    Ok(Tick { at: time(row, "at")? })
}
