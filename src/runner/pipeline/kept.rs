//! What the journal keeps with a run beside its steps, so that its facts can be compared with those of others: the
//! settings that it was played with, the tools that it was offered, and how far mana-auth's clock was ahead.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    clients::mcp::Tool,
    config::{Effort, PolicyConfig, PolicyMode},
    domain::Persona,
    facts::line::{Catalog, CatalogTool},
};

/// Hex digits of the id of a tool list and of the hash of a prompt.
const LONG: usize = 16;
/// Hex digits of the hashes of a tool and of the policy's settings.
const SHORT: usize = 8;

/// The hash of the persona's system prompt.
pub(super) fn prompt(persona: &Persona) -> String {
    hash(&persona.system_prompt, LONG)
}

/// The mode of the policy, and a hash of its settings: `enforce~0a1b2c3d`.
pub(super) fn policy(policy: &PolicyConfig) -> String {
    let PolicyConfig { mode, allow_destructive, tool_rate, hidden_tools, read_tools } = policy;
    // The order of names in a variable means nothing.
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names
    };
    let settings = json!([
        // Without a gate, these settings mean nothing.
        (*mode != PolicyMode::Off).then(|| (sorted(allow_destructive), tool_rate)),
        sorted(hidden_tools),
        sorted(read_tools),
    ]);
    format!("{}~{}", mode.as_str(), hash(&settings.to_string(), SHORT))
}

/// The text of the effort that the model is asked for; empty if it is asked for none.
pub(super) fn effort(effort: Option<Effort>) -> &'static str {
    effort.map(Effort::as_str).unwrap_or_default()
}

/// What the facts keep of a tool list: of the tools that the server listed, those that were `offered`, and the names
/// of the others. `hash` is that of the offered tools; the id depends on the names of the others as well.
pub(super) fn catalog(listed: &[Tool], offered: &[Tool], hash: &str) -> Catalog {
    // Both lists are sorted by name.
    let is_offered =
        |tool: &&Tool| offered.binary_search_by_key(&&tool.name, |it| &it.name).is_ok();
    let (shown, hidden): (Vec<_>, Vec<_>) = listed.iter().partition(is_offered);
    let name = |tool: &Tool| tool.name.as_str().to_owned();
    let kept = |tool: &Tool| CatalogTool {
        name: name(tool),
        hash: self::hash(&json!([tool.description, tool.input_schema]).to_string(), SHORT),
    };
    let hidden: Vec<_> = hidden.into_iter().map(name).collect();
    Catalog {
        id: self::hash(&json!([hash, hidden]).to_string(), LONG),
        tools: shown.into_iter().map(kept).collect(),
        hidden,
    }
}

/// How far mana-auth's clock was ahead when a run began, as the journal can tell, which keeps milliseconds.
pub(super) fn shift(server_at: Timestamp, started_at: Timestamp) -> SignedDuration {
    let ahead = server_at.as_millisecond().saturating_sub(started_at.as_millisecond());
    SignedDuration::from_millis(ahead)
}

/// The first `digits` hex digits of the SHA-256 of `text`.
fn hash(text: &str, digits: usize) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..digits].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::{clients::mcp::ToolHints, domain::ToolName};

    fn config() -> PolicyConfig {
        PolicyConfig {
            mode: PolicyMode::Enforce,
            allow_destructive: vec!["todo.deleteDone".into(), "notes.delete".into()],
            tool_rate: 30,
            hidden_tools: Vec::new(),
            read_tools: Vec::new(),
        }
    }

    #[test]
    fn a_policy_has_another_text_if_a_setting_differs_that_means_something() {
        let text = policy(&config());
        assert!(text.starts_with("enforce~") && text.len() == "enforce~".len() + SHORT, "{text}");
        let mut turned = config();
        turned.allow_destructive.reverse();
        assert_eq!(policy(&turned), text);
        let off = |tool_rate| PolicyConfig { mode: PolicyMode::Off, tool_rate, ..config() };
        assert_eq!(policy(&off(1)), policy(&off(2)));
        for other in [
            PolicyConfig { tool_rate: 31, ..config() },
            PolicyConfig { hidden_tools: vec!["a.b".into()], ..config() },
            PolicyConfig { read_tools: vec!["a.b".into()], ..config() },
            PolicyConfig { mode: PolicyMode::LogOnly, ..config() },
        ] {
            assert_ne!(policy(&other), text);
        }
    }

    #[test]
    fn a_tool_list_names_what_was_offered_and_what_was_not() {
        let tool = |name: &str, description: &str| Tool {
            name: ToolName::new(name),
            description: description.to_owned(),
            input_schema: Map::new(),
            hints: ToolHints::default(),
            misfit: None,
        };
        let listed = [tool("a.list", "x"), tool("b.list", "x"), tool("c.list", "y")];
        let offered = [listed[0].clone(), listed[2].clone()];
        let all = catalog(&offered, &offered, &hash("", 64));
        let catalog = catalog(&listed, &offered, &hash("", 64));
        assert_eq!(catalog.id.len(), LONG);
        assert_ne!(catalog.id, all.id, "the same tools are offered, and others are hidden");
        let names: Vec<_> = catalog.tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!((names, catalog.hidden), (vec!["a.list", "c.list"], vec!["b.list".to_owned()]));
        // The hash is that of what the tool says of itself, without its name.
        assert_ne!(catalog.tools[0].hash, catalog.tools[1].hash);
        assert!(catalog.tools.iter().all(|tool| tool.hash.len() == SHORT));
    }

    #[test]
    fn the_shift_is_what_the_stored_times_differ_by() {
        let at = |nanos| Timestamp::from_nanosecond(nanos).unwrap();
        let stored = |time: Timestamp| Timestamp::from_millisecond(time.as_millisecond()).unwrap();
        let (server_at, started_at) = (at(5_000_900_000), at(2_999_999_999));
        let expected = stored(server_at).duration_since(stored(started_at));
        assert_eq!(shift(server_at, started_at), expected);
        let far = shift(Timestamp::MAX, Timestamp::MIN);
        assert!(far.is_positive());
    }
}
