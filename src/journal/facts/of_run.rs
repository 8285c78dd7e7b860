//! Writing the facts of one run.

use super::{optional_words, words};
use crate::{
    domain::{Cause, Next, RunId, UnratedWhy},
    facts::{EXTRACTOR, FINGERPRINT, Fingerprint, RunFacts, SeenIssue, line},
    journal::{Statement, Value, number, optional, rows_of, text, time},
};

/// The columns of every call. Most calls succeed, and have no others.
const CALLS: &str = "INSERT INTO calls (run_id, number, at, tool, module, ok, input_hash, latency_ms, tries, \
     chars, cut, limit_offered)";
const CALL: &str = "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const FAILED_CALLS: &str = "INSERT INTO calls (run_id, number, at, tool, module, ok, input_hash, latency_ms, \
     tries, chars, cut, limit_offered, cause, template, next, quote, issue)";
const FAILED_CALL: &str = "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
     (SELECT id FROM issues WHERE fingerprint = $17))";
const TOOLS: &str = "INSERT INTO run_tools (run_id, tool, calls, failed, dead_end, recovered)";
const TOOL: &str = "($1, $2, $3, $4, $5, $6)";
const MODULES: &str = "INSERT INTO run_modules (run_id, module, rating, grounded, unrated_why, notes, \
     calls, reads, writes, failed, dead_end)";
const MODULE: &str = "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// The statements that replace the facts of a run, for the transaction that ends the run. They change nothing if the
/// run has ended already.
pub(in crate::journal) fn replacement(run: RunId, facts: &RunFacts) -> Vec<Statement> {
    of_run(run, facts, "'running', 'rating_owed'")
}

/// The columns `facts` and `has_calls` of a run with these facts, or with none.
pub(in crate::journal) fn marks(facts: Option<&RunFacts>) -> [Value; 2] {
    let has_calls = facts.is_some_and(|facts| !facts.calls.is_empty());
    [number(facts.map_or(0, |_| EXTRACTOR)), number(has_calls)]
}

/// The statements that write the facts of a run in the place of others, if the run is in one of these states.
pub(super) fn of_run(run: RunId, facts: &RunFacts, states: &str) -> Vec<Statement> {
    let is_open = format!("EXISTS (SELECT 1 FROM runs WHERE id = $1 AND state IN ({states}))");
    let delete = |table| -> Statement {
        (format!("DELETE FROM {table} WHERE run_id = $1 AND {is_open}").into(), vec![text(run)])
    };
    let mut statements: Vec<_> =
        ["calls", "run_tools", "run_modules", "issue_hits"].map(delete).into();
    statements.extend(facts.hits.iter().flat_map(|(issue, hit)| hit_of(run, issue, hit, &is_open)));
    // The first value of the first row, $1, is the run.
    let mut add = |head: &str, row: &str, rows: Vec<Vec<Value>>| {
        let select = format!("{head} SELECT * FROM (");
        let inserts = rows_of(&select, row, rows);
        statements.extend(inserts.map(|(insert, values)| -> Statement {
            (format!("{insert}) AS fact WHERE {is_open}").into(), values)
        }));
    };
    let (good, failed): (Vec<_>, Vec<_>) = facts.calls.iter().partition(|(call, _)| call.ok);
    add(CALLS, CALL, good.into_iter().map(|(call, _)| call_of(run, call)).collect());
    let failed = failed.into_iter().map(|(call, issue)| failed_call_of(run, call, *issue));
    add(FAILED_CALLS, FAILED_CALL, failed.collect());
    add(TOOLS, TOOL, facts.tools.iter().map(|tool| tool_of(run, tool)).collect());
    add(MODULES, MODULE, facts.modules.iter().map(|module| module_of(run, module)).collect());
    statements
}

/// The statements that add an issue, unless it is known, and a run that had it. The first failure of the issue is the
/// earliest one, in whatever order the runs end.
fn hit_of(run: RunId, issue: &SeenIssue, hit: &line::Hit, is_open: &str) -> [Statement; 3] {
    // A row without a free id is left out: two ids of 20 and 30 bits would have to be taken by others.
    const ADD: &str = "INSERT INTO issues (id, fingerprint, fingerprint_version, cause, tool, template, \
         first_at, first_run, first_call, first_deployment) \
         SELECT CASE WHEN EXISTS (SELECT 1 FROM issues WHERE id = $3) THEN $4 ELSE $3 END, \
         $2, $5, $6, $7, $8, $9, $1, $10, (SELECT deployment FROM runs WHERE id = $1) \
         WHERE NOT EXISTS (SELECT 1 FROM issues WHERE fingerprint = $2)";
    const EARLIER: &str = "UPDATE issues SET first_at = $3, first_run = $1, first_call = $4, \
         first_deployment = (SELECT deployment FROM runs WHERE id = $1) \
         WHERE fingerprint = $2 AND (first_at, first_run, first_call) > ($3, $1, $4)";
    const HIT: &str = "INSERT INTO issue_hits (run_id, issue, calls, recovered, tools) \
         SELECT $1, id, $3, $4, $5 FROM issues WHERE fingerprint = $2";
    let SeenIssue { fingerprint, tool, cause, template, at, call } = issue;
    let of = || [text(run), number(fingerprint.0)].into_iter();
    let add = of()
        .chain([text(fingerprint.short_id()), text(fingerprint.long_id()), number(FINGERPRINT)])
        .chain([text(cause.as_str()), optional_words(tool.as_deref()), words(template)])
        .chain([time(*at), number(*call)]);
    let earlier = of().chain([time(*at), number(*call)]);
    // Names always encode.
    let tools = serde_json::to_string(&hit.tools).unwrap_or_default();
    let hit = of().chain([number(hit.calls), number(hit.recovered), text(tools)]);
    [
        (format!("{ADD} AND {is_open} ON CONFLICT DO NOTHING").into(), add.collect()),
        (format!("{EARLIER} AND {is_open}").into(), earlier.collect()),
        (format!("{HIT} AND {is_open}").into(), hit.collect()),
    ]
}

fn call_of(run: RunId, call: &line::Call) -> Vec<Value> {
    vec![
        text(run),
        number(call.number),
        time(call.at),
        words(&call.tool),
        words(&call.module),
        number(call.ok),
        optional(call.input_hash.as_ref()),
        number(call.latency_ms.unwrap_or_default()),
        number(call.tries),
        number(call.chars),
        number(call.cut),
        number(call.limit_offered),
    ]
}

fn failed_call_of(run: RunId, call: &line::Call, issue: Option<Fingerprint>) -> Vec<Value> {
    let mut values = call_of(run, call);
    values.extend([
        optional(call.cause.map(Cause::as_str)),
        optional_words(call.template.as_deref()),
        optional(call.next.map(Next::as_str)),
        optional_words(call.quote.as_deref()),
        Value::Number(issue.map(|issue| issue.0)),
    ]);
    values
}

fn tool_of(run: RunId, tool: &line::Tool) -> Vec<Value> {
    vec![
        text(run),
        words(&tool.tool),
        number(tool.calls),
        number(tool.failed),
        number(tool.dead_end),
        number(tool.recovered),
    ]
}

fn module_of(run: RunId, module: &line::Module) -> Vec<Value> {
    // Numbers always encode.
    let calls = serde_json::to_string(&module.calls).unwrap_or_default();
    vec![
        text(run),
        words(&module.module),
        Value::Number(module.rating.map(Into::into)),
        number(module.grounded),
        optional(module.unrated_why.map(UnratedWhy::as_str)),
        optional_words(module.notes.as_deref()),
        text(calls),
        number(module.reads),
        number(module.writes),
        number(module.failed),
        number(module.dead_end),
    ]
}
