//! The lists of tools that runs were offered, without schemas.

use jiff::Timestamp;

use super::{MOST_NAMES, name};
use crate::{
    facts::line::{self, CatalogTool},
    journal::{Row, Statement, text, time},
};

/// The statement that stores a list that was met at the time `at`, unless it is already stored. 2,000 tools and 2,000
/// hidden ones are kept at most.
pub(in crate::journal) fn addition(list: &line::Catalog, at: Timestamp) -> Statement {
    const ADD: &str = "INSERT INTO catalog_facts (id, tools, first_at) VALUES ($1, $2, $3) \
         ON CONFLICT DO NOTHING";
    let tool = |tool: &CatalogTool| CatalogTool { name: name(&tool.name), hash: tool.hash.clone() };
    let kept = line::Catalog {
        id: list.id.clone(),
        tools: list.tools.iter().take(MOST_NAMES).map(tool).collect(),
        hidden: list.hidden.iter().take(MOST_NAMES).map(|hidden| name(hidden)).collect(),
    };
    // Strings always encode.
    let tools = serde_json::to_string(&kept).unwrap_or_default();
    (ADD.into(), vec![text(&list.id), text(tools), time(at)])
}

pub(in crate::journal) fn read(row: &Row) -> Result<line::Catalog, String> {
    serde_json::from_str(&row.text("tools")?).map_err(|error| error.to_string())
}
