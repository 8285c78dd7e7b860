//! Writing the facts of one run.

use crate::{
    domain::{Cause, Next, Outcome, RunId, UnratedWhy},
    facts::{EXTRACTOR, FINGERPRINT, Fingerprint, RunFacts, SeenIssue, line},
    journal::{Journal, Result, Statement, Value, number, optional, rows_of, text, time},
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

impl Journal {
    /// The statements that replace the facts of a run, for the transaction that ends the run. There are none if the
    /// run has ended already.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(in crate::journal) async fn replacement_of_facts(
        &self,
        run: RunId,
        facts: &RunFacts,
    ) -> Result<Vec<Statement>> {
        // Only one task ends a run, so no other end comes between this query and the transaction.
        let sql = "SELECT facts FROM runs WHERE id = $1 AND state IN ('running', 'rating_owed')";
        let rows = self.rows("look up a run", sql, vec![text(run)]).await?;
        let Some(row) = rows.first() else { return Ok(Vec::new()) };
        let has_facts = row.number("facts") != Some(0);
        Ok(of_run(run, facts, has_facts))
    }

    /// Writes the facts of a run that ended in an earlier version of this program.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn write_facts(&self, run: RunId, facts: &RunFacts, outcome: Outcome) -> Result<()> {
        const OUTCOME: &str = "UPDATE runs SET outcome = $2 WHERE id = $1";
        let mut statements = of_run(run, facts, true);
        statements.push((OUTCOME.into(), vec![text(run), text(outcome.as_str())]));
        self.write("write facts", statements).await.map(drop)
    }
}

/// The statements that write the facts of a run; with `replaces`, in the place of others.
fn of_run(run: RunId, facts: &RunFacts, replaces: bool) -> Vec<Statement> {
    const DELETE: [&str; 4] = [
        "DELETE FROM calls WHERE run_id = $1",
        "DELETE FROM run_tools WHERE run_id = $1",
        "DELETE FROM run_modules WHERE run_id = $1",
        "DELETE FROM issue_hits WHERE run_id = $1",
    ];
    const DONE: &str = "UPDATE runs SET facts = $2, has_calls = $3 WHERE id = $1";
    let deletions = DELETE.iter().filter(|_| replaces);
    let mut statements: Vec<Statement> =
        deletions.map(|&sql| (sql.into(), vec![text(run)])).collect();
    statements.extend(facts.hits.iter().flat_map(|(issue, hit)| hit_of(run, issue, hit)));
    let (good, failed): (Vec<_>, Vec<_>) = facts.calls.iter().partition(|(call, _)| call.ok);
    let good = good.into_iter().map(|(call, _)| call_of(run, call));
    statements.extend(rows_of(CALLS, CALL, good.collect()));
    let failed = failed.into_iter().map(|(call, issue)| failed_call_of(run, call, *issue));
    statements.extend(rows_of(FAILED_CALLS, FAILED_CALL, failed.collect()));
    statements.extend(rows_of(TOOLS, TOOL, facts.tools.iter().map(|t| tool_of(run, t)).collect()));
    let modules = facts.modules.iter().map(|module| module_of(run, module));
    statements.extend(rows_of(MODULES, MODULE, modules.collect()));
    let has_calls = !facts.calls.is_empty();
    statements.push((DONE.into(), vec![text(run), number(EXTRACTOR), number(has_calls)]));
    statements
}

/// The statements that add an issue, unless it is known, and a run that had it. The first failure of the issue is the
/// earliest one, in whatever order the runs end.
fn hit_of(run: RunId, issue: &SeenIssue, hit: &line::Hit) -> [Statement; 3] {
    // A row without a free id is left out: two ids of 20 and 30 bits would have to be taken by others.
    const ADD: &str = "INSERT INTO issues (id, fingerprint, fingerprint_version, cause, tool, template, \
         first_at, first_run, first_call, first_deployment) \
         SELECT CASE WHEN EXISTS (SELECT 1 FROM issues WHERE id = $2) THEN $3 ELSE $2 END, \
         $1, $4, $5, $6, $7, $8, $9, $10, (SELECT deployment FROM runs WHERE id = $9) \
         WHERE NOT EXISTS (SELECT 1 FROM issues WHERE fingerprint = $1) ON CONFLICT DO NOTHING";
    const EARLIER: &str = "UPDATE issues SET first_at = $2, first_run = $3, first_call = $4, \
         first_deployment = (SELECT deployment FROM runs WHERE id = $3) \
         WHERE fingerprint = $1 AND (first_at, first_run, first_call) > ($2, $3, $4)";
    const HIT: &str = "INSERT INTO issue_hits (run_id, issue, calls, recovered, tools) \
         SELECT $2, id, $3, $4, $5 FROM issues WHERE fingerprint = $1";
    let SeenIssue { fingerprint, tool, cause, template, at, call } = issue;
    let of = || number(fingerprint.0);
    let mut add = vec![of(), text(fingerprint.short_id()), text(fingerprint.long_id())];
    add.extend([number(FINGERPRINT), text(cause.as_str()), optional(tool.as_ref())]);
    add.extend([text(template), time(*at), text(run), number(*call)]);
    let earlier = vec![of(), time(*at), text(run), number(*call)];
    // Names always encode.
    let tools = serde_json::to_string(&hit.tools).unwrap_or_default();
    let hit = vec![of(), text(run), number(hit.calls), number(hit.recovered), text(tools)];
    [(ADD.into(), add), (EARLIER.into(), earlier), (HIT.into(), hit)]
}

fn call_of(run: RunId, call: &line::Call) -> Vec<Value> {
    vec![
        text(run),
        number(call.number),
        time(call.at),
        text(&call.tool),
        text(&call.module),
        number(call.ok),
        optional(call.input_hash.as_ref()),
        number(call.latency_ms),
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
        optional(call.template.as_ref()),
        optional(call.next.map(Next::as_str)),
        optional(call.quote.as_ref()),
        Value::Number(issue.map(|issue| issue.0)),
    ]);
    values
}

fn tool_of(run: RunId, tool: &line::Tool) -> Vec<Value> {
    vec![
        text(run),
        text(&tool.tool),
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
        text(&module.module),
        Value::Number(module.rating.map(Into::into)),
        number(module.grounded),
        optional(module.unrated_why.map(UnratedWhy::as_str)),
        optional(module.notes.as_ref()),
        text(calls),
        number(module.reads),
        number(module.writes),
        number(module.failed),
        number(module.dead_end),
    ]
}
