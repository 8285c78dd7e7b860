//! Reading the facts of one run back, to compare them with what its steps say.

use super::{call_columns, hit_columns, module_columns, rows, tool_columns};
use crate::{
    domain::RunId,
    facts::{Fingerprint, RunFacts, SeenIssue, line},
    journal::{Journal, Read, Result, Row, Sql, text},
};

/// A query for rows of a table that belong to one run.
macro_rules! of_run {
    ($columns:expr, $table:literal, $order:literal) => {
        concat!(
            "SELECT run_id, ",
            $columns,
            " FROM ",
            $table,
            " AS fact WHERE run_id = $1 ORDER BY fact.",
            $order
        )
    };
}

const CALLS: &str = of_run!(
    concat!(call_columns!(), ", (SELECT fingerprint FROM issues WHERE id = issue) AS fingerprint"),
    "calls",
    "number"
);
const MODULES: &str = of_run!(module_columns!(), "run_modules", "module");
const TOOLS: &str = of_run!(tool_columns!(), "run_tools", "tool");
const HITS: &str = concat!(
    "SELECT run_id, ",
    hit_columns!(),
    ", issues.* FROM issue_hits AS fact JOIN issues ON issues.id = issue WHERE run_id = $1"
);

impl Journal {
    /// The facts of a run as its end or the back-fill has written them. `None` if there are none yet, or if some of
    /// them are deleted.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn facts_of(&self, run: RunId) -> Result<Option<RunFacts>> {
        const MADE: &str = "SELECT id FROM runs WHERE id = $1 AND facts > 0";
        if self.rows(super::TASK, MADE, vec![text(run)]).await?.is_empty() {
            return Ok(None);
        }
        let calls = self.of_run(run, CALLS, call).await?;
        let first = |hit: (SeenIssue, line::Hit)| {
            let (issue, hit) = hit;
            let call = calls.iter().find(|(_, known)| *known == Some(issue.fingerprint));
            call.map(|(call, _)| (SeenIssue { at: call.at, call: call.number, ..issue }, hit))
        };
        let hits = self.of_run(run, HITS, hit).await?.into_iter().map(first);
        let Some(mut hits) = hits.collect::<Option<Vec<_>>>() else { return Ok(None) };
        hits.sort_by_key(|(issue, _)| issue.call);
        let modules = self.of_run(run, MODULES, rows::module).await?;
        let tools = self.of_run(run, TOOLS, rows::tool).await?;
        Ok(Some(RunFacts { calls, modules, hits, tools }))
    }

    async fn of_run<T>(&self, run: RunId, sql: Sql, read: Read<T>) -> Result<Vec<T>> {
        Ok(self.readable("the facts", &self.rows(super::TASK, sql, vec![text(run)]).await?, read))
    }
}

/// A call with the fingerprint of its issue, in the place of the id.
fn call(row: &Row) -> std::result::Result<(line::Call, Option<Fingerprint>), String> {
    let call = line::Call { issue: None, ..rows::call(row)? };
    Ok((call, row.number("fingerprint").map(Fingerprint)))
}

/// An issue and how the run met it. The place of its first failure is that of the earliest run.
fn hit(row: &Row) -> std::result::Result<(SeenIssue, line::Hit), String> {
    let line::Issue { tool, cause, template, first, .. } = rows::issue(row)?;
    let fingerprint = Fingerprint(row.number("fingerprint").ok_or("fingerprint is no number")?);
    let (at, call) = first.map(|first| (first.at, first.call)).unwrap_or_default();
    let call = call.unwrap_or_default();
    let issue = SeenIssue { fingerprint, tool, cause, template, at, call };
    Ok((issue, line::Hit { issue: String::new(), ..rows::hit(row)? }))
}
