//! The lines of rows that belong to runs.

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

pub(super) fn call(row: &Row) -> Result<Call> {
    let text = |column: &str| row.text(column).ok();
    Ok(Call {
        run: row.text("run_id")?,
        number: row.count("number"),
        at: time(row, "at")?,
        tool: row.text("tool")?,
        module: row.text("module")?,
        ok: row.flag("ok"),
        cause: word::<Cause>(row, "cause")?,
        issue: text("issue"),
        template: text("template"),
        input_hash: text("input_hash"),
        latency_ms: row.count("latency_ms"),
        tries: row.count("tries"),
        chars: row.count("chars"),
        cut: row.flag("cut"),
        limit_offered: row.flag("limit_offered"),
        next: word::<Next>(row, "next")?,
        quote: text("quote"),
    })
}

pub(super) fn module(row: &Row) -> Result<Module> {
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

pub(super) fn issue(row: &Row) -> Result<Issue> {
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
        first,
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
    Ok(Tool {
        run: row.text("run_id")?,
        tool: row.text("tool")?,
        calls: row.count("calls"),
        failed: row.count("failed"),
        dead_end: row.flag("dead_end"),
        recovered: row.flag("recovered"),
    })
}

pub(super) fn tick(row: &Row) -> Result<Tick> {
    Ok(Tick { at: time(row, "at")? })
}
