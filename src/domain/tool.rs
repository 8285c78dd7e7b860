//! Names of tools and modules.

use serde::{Deserialize, Serialize};

/// A tool's name as MCP lists it (`habits.create`). Only [`crate::agent::catalog`] knows Claude's spelling of
/// the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ToolName(String);

impl ToolName {
    /// A name as the server lists it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as the server lists it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The module that the tool belongs to: the text before the first dot, or the whole name if that text is
    /// empty or there is no dot. A rating row with an empty module would lose its whole batch.
    pub fn module(&self) -> ModuleName {
        let module = self.0.split('.').next().filter(|module| !module.is_empty());
        ModuleName::new(module.unwrap_or(&self.0))
    }

    /// The words of the name, in lower case: `todo.HTTPDelete2_all` has todo, http, delete, 2, all.
    pub fn words(&self) -> Vec<String> {
        words(&self.0)
    }

    /// The words that say what the tool does: those of the name's part after the last dot, slash or colon.
    pub fn verb(&self) -> Vec<String> {
        words(self.0.rsplit(['.', '/', ':']).next().unwrap_or_default())
    }
}

/// Splits `text` at each character that is neither letter nor digit, between letters and digits, and before a
/// capital that begins a word.
pub(crate) fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut words = String::new();
    for (index, &c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| chars[before]);
        let next_is_small = chars.get(index + 1).is_some_and(|next| next.is_lowercase());
        let begins = before.is_some_and(|before| {
            before.is_numeric() != c.is_numeric()
                || c.is_uppercase() && (!before.is_uppercase() || next_is_small)
        });
        if begins || !c.is_alphanumeric() {
            words.push(' ');
        }
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
        }
    }
    words.split_whitespace().map(str::to_owned).collect()
}

/// A module of the product: `todo`, `journal`, `newsResearch` …
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModuleName(String);

impl ModuleName {
    /// A module that the product spells like this.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as the product spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_case_digits_and_whatever_is_no_letter() {
        for (name, words) in [
            ("todo.items.delete", "todo items delete"),
            ("todo_delete", "todo delete"),
            ("todo.Delete", "todo delete"),
            ("TODO_DELETE", "todo delete"),
            ("todo.bulkDelete", "todo bulk delete"),
            ("x/HTTPDelete", "x http delete"),
            ("x:deleteURL", "x delete url"),
            ("x-delete2all", "x delete 2 all"),
            ("v2Delete", "v 2 delete"),
            ("listDeleted", "list deleted"),
            ("todo.undelete", "todo undelete"),
            ("Überblick.ÄndereÖl", "überblick ändere öl"),
            ("a  b..c", "a b c"),
            ("A", "a"),
            ("", ""),
            ("._-/:", ""),
        ] {
            assert_eq!(ToolName::new(name).words().join(" "), words, "{name}");
        }
        for (name, verb) in [
            ("todo.items.listAll", "list all"),
            ("todo/list_all", "list all"),
            ("list_todos", "list todos"),
            ("todo.", ""),
        ] {
            assert_eq!(ToolName::new(name).verb().join(" "), verb, "{name}");
        }
    }

    #[test]
    fn the_module_is_the_text_before_the_first_dot() {
        let module = |name: &str| ToolName::new(name).module().as_str().to_owned();
        assert_eq!(module("todo.create"), "todo");
        assert_eq!(module("a.b.c"), "a");
        assert_eq!(module("plain"), "plain");
        assert_eq!(module(".hidden"), ".hidden");
    }
}
