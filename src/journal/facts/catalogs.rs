//! The lists of tools that runs were offered, without schemas.

use jiff::Timestamp;

use crate::{
    facts::line,
    journal::{Row, Statement, text, time},
};

/// The statement that stores a list, unless it is already stored.
pub(in crate::journal) fn addition(list: &line::Catalog, now: Timestamp) -> Statement {
    const ADD: &str = "INSERT INTO catalog_facts (id, tools, first_at) VALUES ($1, $2, $3) \
         ON CONFLICT DO NOTHING";
    // Strings always encode.
    let tools = serde_json::to_string(list).unwrap_or_default();
    (ADD.into(), vec![text(&list.id), text(tools), time(now)])
}

pub(super) fn read(row: &Row) -> Result<line::Catalog, String> {
    serde_json::from_str(&row.text("tools")?).map_err(|error| error.to_string())
}
