//! The order in which steps were committed: that of their row numbers, because SQLite has one writer at a time and gives
//! each new row of a table the number after the largest one.

/// The number of the newest step.
pub(in crate::journal) const NEWEST_STEP: &str = "SELECT MAX(rowid) AS position FROM steps";

/// The number of a step.
pub(in crate::journal) const STEP: &str =
    "SELECT rowid AS position FROM steps WHERE run_id = $1 AND number = $2";

/// A query for steps that are results of calls. Of the content, which may be large, only what comes before the result
/// itself is read: in JSON no string has an unescaped quote, so the text that is searched for is no part of one.
macro_rules! called {
    ($which:literal) => {
        concat!(
            "SELECT rowid AS position, run_id, number, at, \
             CASE instr(body, ',\"content\":[') WHEN 0 THEN body \
             ELSE substr(body, 1, instr(body, ',\"content\":[') - 1) || '}}' END AS called, \
             (SELECT persona_id FROM runs WHERE id = run_id) AS persona_id, \
             (SELECT label FROM personas WHERE id = (SELECT persona_id FROM runs WHERE id = run_id)) AS label \
             FROM steps WHERE substr(body, 1, 10) = '{\"called\":' ",
            $which
        )
    };
}

/// The first results of calls after a step and up to another one.
pub(in crate::journal) const CALLED_BETWEEN: &str =
    called!("AND rowid > $1 AND rowid <= $2 ORDER BY rowid LIMIT $3");

/// The newest results of calls.
pub(in crate::journal) const NEWEST_CALLED: &str = called!("ORDER BY rowid DESC LIMIT $1");
