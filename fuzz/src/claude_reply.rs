use std::{collections::HashSet, sync::LazyLock};

use devstack::claude::Desk;
use mana_persona_runner::{
    agent::conversation::{Conversation, Limits, Next},
    clients::claude::{ClaudeClient, Message, Reply, ResultBlock, ToolResult},
    domain::{Redactor, Tokens},
    http::HttpClient,
};

static HTTP: LazyLock<HttpClient> = LazyLock::new(super::http);
static CLAUDE: LazyLock<ClaudeClient> = LazyLock::new(super::claude);

/// A reply that was read is the same after it was stored and read again, and Claude accepts the messages that
/// are sent after it.
pub fn claude_reply(body: &[u8]) {
    let most = Tokens { input: 1_000, output: 1_000, ..Tokens::default() };
    let Ok(reply) = CLAUDE.read(body, &most, &HTTP) else { return };
    let stored = serde_json::to_string(&reply).unwrap();
    let again: Reply = serde_json::from_str(&stored).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), stored);
    assert_eq!(facts(&again), facts(&reply));
    assert_eq!(next_messages(&again), next_messages(&reply));
    assert!(i64::try_from(reply.cost.total().picodollars()).is_ok());

    let redacted = reply.redacted(&Redactor::default());
    assert_eq!(redacted.content.get(), reply.content.get());
}

/// Everything that is read from a reply, as text for comparison.
fn facts(reply: &Reply) -> String {
    let calls = reply.calls(&mut HashSet::from(["call".to_owned()]));
    let hashes: Vec<_> = calls.iter().map(|call| (call.input_hash(), call.is_lossy())).collect();
    format!("{reply:?} {calls:?} {hashes:?} {}", reply.text())
}

/// The messages after this reply and its results, and after a second reply. Claude must accept them.
fn next_messages(reply: &Reply) -> Vec<u8> {
    let mut talk = Conversation::new("Guten Morgen!", Limits::NONE);
    let mut desk = Desk::default();
    // Claude never uses one signature for two thinking blocks, so a reply with thinking is used only once.
    let blocks: Vec<serde_json::Value> = serde_json::from_str(reply.content.get()).unwrap();
    let thinks = |block: &serde_json::Value| {
        ["thinking", "redacted_thinking"].iter().any(|kind| block["type"] == *kind)
    };
    for _ in 0..if blocks.iter().any(thinks) { 1 } else { 2 } {
        let Next::AskModel = talk.next() else { break };
        let asked = ask(&desk, talk.messages());
        desk.replied(&asked, reply.content.get(), Some(reply.stop_reason.as_str()));
        talk.record_reply(reply.clone());
        if let Next::CallTools(calls) = talk.next() {
            let of =
                |(n, call)| ToolResult::of(call, vec![ResultBlock::Text(reply.text())], n % 2 == 0);
            let results: Vec<_> = calls.iter().enumerate().map(of).collect();
            talk.record_results(&results, Some("Denk daran."), true);
        }
    }
    let mut messages = talk.messages().to_vec();
    if let Next::AskModel = talk.next() {
        ask(&desk, &messages);
        Message::strip_thinking(&mut messages);
        ask(&desk, &messages);
    }
    // The messages that are sent after an answer without a rating.
    if reply.tool_uses().next().is_none() {
        let mut messages = vec![Message::user("Bewerte!")];
        let mut desk = Desk::default();
        desk.replied(&ask(&desk, &messages), reply.content.get(), None);
        messages.extend(Message::assistant(&reply.content, &[]));
        messages.push(Message::user("Es fehlt noch etwas."));
        ask(&desk, &messages);
    }
    super::body(&CLAUDE, None, &messages)
}

fn ask(desk: &Desk, messages: &[Message]) -> devstack::claude::ParsedRequest {
    let body = super::body(&CLAUDE, None, messages);
    let refused = |refusal| panic!("{refusal}: {}", String::from_utf8_lossy(&body));
    desk.check(&body).unwrap_or_else(refused)
}
