//! The client that the MCP conformance suite runs: opens a session of the daemon's own client at the given
//! URL, lists the tools, calls each tool once and ends the session. `.ci/mcp-conformance` runs it.

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use mana_persona_runner::{
    clients::mcp::{Fate, McpClient, McpError, McpSession, Tool, Tries},
    config::BaseUrl,
    domain::Redactor,
    http::HttpClient,
    metrics::Metrics,
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// Time limit for all steps together; the suite waits for 30 s.
const LIMIT: Duration = Duration::from_secs(25);
/// Time limit for one tool call.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Deepest nesting of generated arguments.
const DEPTH: usize = 8;

/// The tool whose schema the suite expects as the argument of `ECHO_TOOL`.
const SCHEMA_TOOL: &str = "json_schema_2020_12_tool";
const ECHO_TOOL: &str = "json_schema_echo";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: mcp-conformance-client URL_OF_THE_ENDPOINT");
        return ExitCode::from(64);
    };
    match run(&url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcp-conformance-client: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str) -> Result<(), Box<dyn Error>> {
    let endpoint = BaseUrl::parse(url).ok_or("that is no http(s) URL")?;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))?);
    let http = HttpClient::new(metrics, Redactor::default())?;
    let client = McpClient::at(http, endpoint);
    let deadline = Instant::now() + LIMIT;
    let jwt = "conformance".to_owned().into();
    let access = (&jwt, "conformance");
    let opened = client.open(access, &Redactor::default(), deadline, async |_| Ok(())).await;
    match opened {
        Ok((session, tools)) => {
            let called = call_all(&session, &tools).await;
            let _ = session.close(None, CALL_LIMIT).await;
            called
        }
        // The handshake succeeded. A server without tools is not an error for the suite.
        Err(McpError { fate: Fate::NoTools, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn call_all(session: &McpSession, tools: &[Tool]) -> Result<(), Box<dyn Error>> {
    for tool in tools {
        let arguments = arguments_for(tool, tools);
        let (deadline, tries) = (Instant::now() + CALL_LIMIT, Tries::default());
        let output = session.call(&tool.name, &arguments, CALL_LIMIT, deadline, &tries).await?;
        println!("{}: {output:?}", tool.name.as_str());
    }
    Ok(())
}

fn arguments_for(tool: &Tool, tools: &[Tool]) -> Map<String, Value> {
    let schema_tool = tools.iter().find(|tool| tool.name.as_str() == SCHEMA_TOOL);
    match schema_tool {
        Some(described) if tool.name.as_str() == ECHO_TOOL => {
            Map::from_iter([("schema".to_owned(), described.input_schema.clone().into())])
        }
        _ => object(&tool.input_schema, DEPTH),
    }
}

/// A value for each required property.
fn object(schema: &Map<String, Value>, depth: usize) -> Map<String, Value> {
    let properties = schema.get("properties").unwrap_or(&Value::Null);
    let required = schema.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| (name.to_owned(), value(&properties[name], depth))).collect()
}

/// A value that a simple schema allows.
fn value(schema: &Value, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return Value::Null };
    if let Some(given) = [&schema["const"], &schema["default"], &schema["enum"][0]]
        .into_iter()
        .find(|given| !given.is_null())
    {
        return given.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => &kinds[0],
        kind => kind,
    };
    match (kind.as_str(), schema) {
        (Some("object"), Value::Object(schema)) => object(schema, depth).into(),
        (Some("array"), _) => vec![value(&schema["items"], depth)].into(),
        (Some("integer" | "number"), _) => schema.get("minimum").cloned().unwrap_or(json!(3)),
        (Some("boolean"), _) => true.into(),
        (Some("null"), _) => Value::Null,
        _ => "conformance".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_what_a_schema_asks_for() {
        let schema = json!({
            "type": "object",
            "properties": {
                "a": {"type": "number"},
                "b": {"type": ["integer", "null"], "minimum": 7},
                "c": {"enum": ["x", "y"]},
                "d": {"type": "array", "items": {"type": "boolean"}},
                "e": {"type": "object", "properties": {"f": {"type": "string"}}, "required": ["f"]},
                "g": {"type": "string"},
            },
            "required": ["a", "b", "c", "d", "e"],
        });
        assert_eq!(
            Value::Object(object(schema.as_object().unwrap(), DEPTH)),
            json!({"a": 3, "b": 7, "c": "x", "d": [true], "e": {"f": "conformance"}})
        );
    }
}
