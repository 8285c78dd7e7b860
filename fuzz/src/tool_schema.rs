use std::sync::LazyLock;

use devstack::claude::Desk;
use mana_persona_runner::{
    agent::schema::{fit, trim},
    clients::claude::{ClaudeClient, Message, ToolDefinitions},
    domain::JsonText,
};
use serde_json::{Map, Value};

static CLAUDE: LazyLock<ClaudeClient> = LazyLock::new(super::claude);

/// A schema that Claude accepts is unchanged; a schema that it does not accept is made acceptable, or the
/// tool is left out. Claude still accepts the schema after it is trimmed.
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

/// The message with which Claude refuses a request with a tool of this schema, if it does.
fn refusal(schema: &Map<String, Value>) -> Option<String> {
    let tools = ToolDefinitions::new([("todo_create", "Creates.", schema)]);
    let body = super::body(&CLAUDE, Some(&tools), &[Message::user("Guten Morgen!")]);
    Desk::default().check(&body).err()
}
