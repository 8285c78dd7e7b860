//! Properties that must hold for everything that peers may send. The fuzz targets search for inputs that
//! break them; tests/it replays the inputs kept in corpus/.

mod claude_reply;
mod mcp_stream;
mod rating;
mod surrogate_repair;
mod tool_schema;

pub use claude_reply::claude_reply;
pub use mcp_stream::mcp_stream;
pub use rating::rating;
pub use surrogate_repair::surrogate_repair;
pub use tool_schema::tool_schema;

use std::sync::Arc;

use mana_persona_runner::{
    clients::claude::{Ask, ClaudeClient, Message, ToolDefinitions},
    clock::Clock,
    config::Config,
    domain::Redactor,
    http::HttpClient,
    metrics::Metrics,
    pricing::Pricing,
};

/// A client that never sends a request.
fn http() -> HttpClient {
    HttpClient::new(Arc::new(Metrics::new("fuzz").unwrap()), Redactor::default()).unwrap()
}

fn claude() -> ClaudeClient {
    let config = Config::from_vars([("ANTHROPIC_API_KEY".into(), "sk-ant-fuzz".into())]).unwrap();
    let pricing = Pricing::load(None, &config.claude.model).unwrap();
    ClaudeClient::new(http(), &config.claude, pricing, Clock::system(), 1).unwrap()
}

/// The body of a request with these messages.
fn body(claude: &ClaudeClient, tools: Option<&ToolDefinitions>, messages: &[Message]) -> Vec<u8> {
    claude.encode(Ask {
        system: "Du bist Anna.",
        tools,
        messages,
        max_tokens: 1_024.try_into().unwrap(),
        format: None,
        cached: true,
        spare: Default::default(),
    })
}
