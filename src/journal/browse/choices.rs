//! What a list of runs can be filtered by.

use std::collections::BTreeSet;

use crate::{
    domain::ToolName,
    journal::{Journal, Result, Row, facts, number, text},
};

const TASK: &str = "list what there is to choose from";

/// Names by which runs can be found, for suggestions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// The labels of the personas that were due last.
    pub personas: Vec<String>,
    /// The modules of the newest list of tools, by name.
    pub modules: Vec<String>,
    /// The tools of that list, by name.
    pub tools: Vec<String>,
}

impl Journal {
    /// Names by which runs can be found; at most `most` of each kind.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn choices(&self, most: u32) -> Result<Choices> {
        let sql = "SELECT label FROM personas ORDER BY last_at DESC, label LIMIT $1";
        let rows = self.rows(TASK, sql, vec![number(most)]).await?;
        let mut personas: Vec<_> = rows.iter().filter_map(|row| row.text("label").ok()).collect();
        personas.sort_unstable();
        personas.dedup();
        let sql = "SELECT * FROM catalog_facts ORDER BY first_at DESC, id DESC LIMIT 1";
        let rows = self.rows(TASK, sql, vec![]).await?;
        let list = self.readable("a tool list", &rows, facts::read_catalog).pop();
        let tools: BTreeSet<_> =
            list.into_iter().flat_map(|list| list.tools).map(|tool| tool.name).collect();
        let modules: BTreeSet<_> =
            tools.iter().map(|tool| ToolName::new(&**tool).module().as_str().to_owned()).collect();
        let first = |names: BTreeSet<String>| names.into_iter().take(most as usize).collect();
        Ok(Choices { personas, modules: first(modules), tools: first(tools) })
    }

    /// The id and the label of the persona with this id or label. Of several with the label, the one that was due last.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn persona_called(&self, name: &str) -> Result<Option<(String, String)>> {
        let sql = "SELECT id, label FROM personas WHERE id = $1 OR label = $1 \
             ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END, last_at DESC, id LIMIT 1";
        let rows = self.rows("look up a persona", sql, vec![text(name)]).await?;
        let read = |row: &Row| Ok((row.text("id")?, row.text("label")?));
        Ok(self.readable("a persona", &rows, read).pop())
    }
}
