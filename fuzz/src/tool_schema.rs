use std::sync::LazyLock;

use devstack::claude::Desk;
use mana_persona_runner::{
    agent::schema::{fit, trim},
    clients::claude::{ClaudeClient, Message, ToolDefinitions},
    domain::JsonText,
};
use serde_json::{Map, Value};

static CLAUDE: LazyLock<ClaudeClient> = LazyLock::new(super::claude);

/// A schema that Claude takes stays as it is; one that it does not take is made one that it takes, or is left
/// out. Claude still takes it when it is trimmed.
pub fn tool_schema(text: &[u8]) {
    let json = JsonText::of(text);
    let Ok(mut listed) = serde_json::from_str::<Map<String, Value>>(json.as_str()) else { return };
    listed.insert("type".into(), "object".into());
    let mut fitted = listed.clone();
    let is_taken = refusal(&listed).is_none();
    if let Err(unfit) = fit(&mut fitted) {
        assert!(!is_taken, "left out, though Claude takes it: {unfit}");
        return;
    }
    assert_eq!(refusal(&fitted), None);
    let once = encode(&fitted);
    assert!(!is_taken || once == encode(&listed), "changed, though Claude takes it: {once}");
    assert_eq!(fit(&mut fitted), Ok(()));
    assert_eq!(encode(&fitted), once, "fitted twice");

    trim(&mut fitted);
    assert_eq!(refusal(&fitted), None);
    let trimmed = encode(&fitted);
    assert!(trimmed.len() <= once.len(), "grown: {trimmed}");
    trim(&mut fitted);
    assert_eq!(encode(&fitted), trimmed, "trimmed twice");
}

fn encode(schema: &Map<String, Value>) -> String {
    serde_json::to_string(schema).unwrap()
}

/// What Claude says of a request with a tool of this schema.
fn refusal(schema: &Map<String, Value>) -> Option<String> {
    let tools = ToolDefinitions::new([("todo_create", "Creates.", schema)]);
    let body = super::body(&CLAUDE, Some(&tools), &[Message::user("Guten Morgen!")]);
    Desk::default().check(&body).err()
}
