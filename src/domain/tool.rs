//! Names of tools and modules.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A tool's name as MCP lists it (`habits.create`). Claude's spelling of it lives in
/// [`crate::agent::catalog`] only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ToolName(String);

impl ToolName {
    /// The name as listed.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as listed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The module a tool belongs to: the text before the first dot, the whole name without one. Never
    /// empty: a rating row without a module would lose its whole batch.
    pub fn module(&self) -> ModuleName {
        let module = self.0.split('.').next().filter(|module| !module.is_empty());
        ModuleName::new(module.unwrap_or(&self.0))
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A module of the product: `todo`, `journal`, `newsResearch` …
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModuleName(String);

impl ModuleName {
    /// The name as the product spells it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as the product spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_the_text_before_the_first_dot() {
        let module = |name: &str| ToolName::new(name).module().as_str().to_owned();
        assert_eq!(module("todo.create"), "todo");
        assert_eq!(module("a.b.c"), "a");
        assert_eq!(module("plain"), "plain");
        assert_eq!(module(".hidden"), ".hidden");
    }
}
