//! The tool list of a session: all of its pages, within limits. The list that others get is sorted, has each
//! name once, and contains no secret.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::Instant;

use super::{
    error::{Fate, McpError, Outcome},
    transport::{Link, PEER, SETUP_TIMEOUT},
    wire::{MAX_TOOLS, Tool, ToolHints, read_tools},
};
use crate::{
    domain::{Redactor, redact_emails},
    http::RetryPolicy,
};

const LIST: &str = "tools/list";
/// The largest number of pages of a tool list.
const MAX_PAGES: usize = 64;
/// Largest total length of a server's names, descriptions and schemas, in bytes. All are sent with every
/// model request.
const MAX_CATALOG: usize = 1_000_000;

/// Keywords of JSON Schema whose values are for programs. Such a value is kept unchanged, or the tool is left
/// out.
const EXACT_KEYWORDS: &str = "type required enum const format pattern $ref $id $schema $anchor $dynamicRef \
                        $dynamicAnchor contentEncoding contentMediaType";

/// A tool list of a single page. A parsed list takes several times the memory of its JSON, and hundreds of
/// sessions that are opened at the same time receive the same page, so these sessions share one parsed list.
#[derive(Debug)]
pub(super) struct OnePage {
    /// The page, byte for byte.
    received: Box<RawValue>,
    /// All texts of the page as values, in which secrets are searched.
    texts: String,
    /// The tools of the page, valid for each session whose secrets do not occur in `texts`.
    tools: Arc<[Tool]>,
}

/// Fetches the tools of a session: sorted by name, each name once, without secrets, at least one. `last` is the
/// single-page list that was read last.
pub(super) async fn list(
    link: &Arc<Link>,
    last: &Mutex<Option<OnePage>>,
    deadline: Instant,
) -> Outcome<Arc<[Tool]>> {
    let oversized = |what| Err(McpError::not_run(what).of_setup(LIST));
    let redactor = &link.http.redactor;
    let (mut tools, mut size, mut cursors) = (Vec::new(), 0, Vec::new());
    for _ in 0..MAX_PAGES {
        let retried = link.http.retried(PEER, "tools_list");
        let on_retry = |error: &McpError, pause| retried(&error.reason, pause);
        let attempt = || async {
            let limit = SETUP_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
            let params = cursors.last().map_or(json!({}), |cursor| json!({"cursor": cursor}));
            let result = link.request(LIST, params, limit).await;
            result.map_err(|error| error.of_setup(LIST))
        };
        let received = RetryPolicy::READ.run(deadline, on_retry, attempt).await?;
        if cursors.is_empty()
            && let Some(last) = &*last.lock()
            && last.received.get() == received.get()
            && !redactor.has_listed_in(&last.texts)
        {
            return Ok(last.tools.clone());
        }
        let page = read_tools(&received).map_err(|error| error.of_setup(LIST))?;
        size += page.size;
        tools.extend(page.tools);
        if size > MAX_CATALOG {
            return oversized("more than 1 MB of descriptions and schemas");
        }
        if tools.len() > MAX_TOOLS {
            return oversized("more than 1,000 tools");
        }
        match page.next_cursor {
            None => {
                let mut texts = String::new();
                collect(&json!(tools), &mut texts);
                let tools: Arc<[Tool]> = finish(tools, redactor)?.into();
                if cursors.is_empty() && !redactor.has_listed_in(&texts) {
                    *last.lock() = Some(OnePage { received, texts, tools: tools.clone() });
                }
                return Ok(tools);
            }
            Some(next) if cursors.contains(&next) => {
                return oversized("a page points back to an earlier one");
            }
            Some(next) => cursors.push(next),
        }
    }
    oversized("more than 64 pages")
}

/// Adds each text in `value` to `texts`, on a line of its own.
fn collect(value: &Value, texts: &mut String) {
    match value {
        Value::String(text) => texts.extend([text, "\n"]),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            texts.extend([key, "\n"]);
            collect(value, texts);
        }),
        _ => {}
    }
}

/// The usable tools of a list: sorted by name, each name once, at least one.
fn finish(mut tools: Vec<Tool>, redactor: &Redactor) -> Outcome<Vec<Tool>> {
    tools.retain_mut(|tool| {
        tool.description = redactor.redact(&tool.description).into_owned();
        let name = tool.name.as_str();
        // The name becomes a metric label and a part of a row, which must not have an e-mail.
        let is_clean = !redactor.finds_secret_in(name)
            && redact_emails(name) == name
            && are_clean(&mut tool.input_schema, false, redactor);
        if !is_clean {
            tracing::warn!(
                "mana-mcp lists a tool with a secret in its name or schema; it is left out"
            );
        }
        is_clean
    });
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    tools.dedup_by(|later, first| {
        let is_same = later.name == first.name;
        if is_same {
            first.hints = first.hints.stricter(later.hints);
        }
        is_same
    });
    if tools.is_empty() {
        return Err(McpError::new(Fate::NoTools, "mana-mcp lists no tools").of_setup(LIST));
    }
    Ok(tools)
}

/// Removes secrets from the values that are only read. Returns whether there is no secret in what must be
/// sent back unchanged: names of properties, and values to choose from.
fn are_clean(members: &mut Map<String, Value>, is_exact: bool, redactor: &Redactor) -> bool {
    members.iter_mut().all(|(key, value)| {
        let is_exact = is_exact || EXACT_KEYWORDS.split(' ').any(|keyword| keyword == key);
        !redactor.finds_secret_in(key) && is_clean_value(value, is_exact, redactor)
    })
}

fn is_clean_value(value: &mut Value, is_exact: bool, redactor: &Redactor) -> bool {
    match value {
        Value::String(text) if is_exact => !redactor.finds_secret_in(text),
        Value::Array(items) => {
            items.iter_mut().all(|item| is_clean_value(item, is_exact, redactor))
        }
        Value::Object(members) => are_clean(members, is_exact, redactor),
        text => {
            redactor.redact_values(text);
            true
        }
    }
}

impl ToolHints {
    /// The stricter of the hints of two tools with the same name, because it is unknown which of them a call
    /// reaches. If neither tool has a hint, the result has none: a server that annotates its tools leaves a
    /// hint out on purpose.
    fn stricter(self, other: Self) -> Self {
        let read_only =
            if self.read_only == other.read_only { self.read_only } else { Some(false) };
        let destructive = match (self.destructive, other.destructive) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (one, another) => one.and(another),
        };
        Self { read_only, destructive, is_admin: self.is_admin || other.is_admin }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::post};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        clients::mcp::McpClient, config::BaseUrl, domain::ToolName, http::HttpClient,
        metrics::Metrics,
    };

    fn tool(name: &str, schema: Value) -> Tool {
        Tool {
            name: ToolName::new(name),
            description: "Uses \"s3cret-jwt\" and a description.".into(),
            input_schema: schema.as_object().cloned().unwrap(),
            hints: ToolHints::default(),
            misfit: None,
        }
    }

    fn finished(tools: Vec<Tool>) -> Vec<Tool> {
        finish(tools, &Redactor::new(["s3cret-jwt", "description", "object", "enough"])).unwrap()
    }

    #[test]
    fn secrets_are_removed_from_texts_and_structure_stays_even_if_it_contains_a_secret_word() {
        let schema = |text: &str, default: &str| {
            json!({
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "description": text,
                "properties": {
                    "description": {"type": "string", "enum": ["enough", "more"], "default": default},
                    "object": {"type": ["object", "null"], "title": text, "examples": [[text], 1.0]},
                },
                "required": ["description", "object"],
                "x-unknown": {"enough": [default]},
            })
        };
        let tools = finished(vec![tool("todo.description", schema("s3cret-jwt!", "enough"))]);
        assert_eq!(tools[0].description, "Uses \"[redacted]\" and a [redacted].");
        let expected = schema("[redacted]!", "[redacted]");
        assert_eq!(Value::from(tools[0].input_schema.clone()), expected);
        let order = |value: &Value| value.to_string();
        assert_eq!(order(&tools[0].input_schema.clone().into()), order(&expected));
    }

    #[test]
    fn a_tool_that_cannot_be_used_without_showing_a_secret_is_left_out() {
        let jwt = "eyJhbGci.eyJzdWI.c2ln";
        let mut tools: Vec<_> = [
            json!({"properties": {"s3cret-jwt": {}}}),
            json!({"properties": {"a": {"enum": [1, jwt]}}}),
            json!({"anyOf": [{"const": {"deep": jwt}}, {"const": [jwt]}]}),
            json!({"required": ["s3cret-jwt"]}),
            json!({"$defs": {jwt: {}}}),
            json!({"x-unknown": {"s3cret-jwt": 1}}),
        ]
        .into_iter()
        .enumerate()
        .map(|(n, schema)| tool(&format!("odd.{n}"), schema))
        .collect();
        let is_told = |tool: &Tool| serde_json::to_string(tool).unwrap().contains(jwt);
        for name in [jwt, "todo.s3cret-jwt", &format!("todo.{jwt}"), "todo.anna@mana.test"] {
            tools.push(tool(name, json!({})));
        }
        tools.push(tool("todo.create", json!({})));
        let left: Vec<_> = finished(tools);
        assert!(left.iter().all(|tool| !is_told(tool)), "{left:?}");
        let names: Vec<_> = left.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["todo.create"]);
        assert!(finish(vec![tool(jwt, json!({}))], &Redactor::default()).is_err());
    }

    /// A server that lists one tool with this description.
    async fn server(description: &'static str) -> McpClient {
        let answer = async move |Json(request): Json<Value>| {
            let result = match request["method"].as_str() {
                Some("initialize") => json!({"protocolVersion": "2025-11-25"}),
                Some(LIST) => json!({"tools": [
                    {"name": "todo.list", "description": description, "inputSchema": {}},
                ]}),
                _ => return StatusCode::ACCEPTED.into_response(),
            };
            Json(json!({"jsonrpc": "2.0", "id": request["id"], "result": result})).into_response()
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(
            axum::serve(listener, Router::new().route("/mcp", post(answer))).into_future(),
        );
        let http = HttpClient::new(Arc::new(Metrics::new("0").unwrap()), Redactor::default());
        McpClient::new(http.unwrap(), &BaseUrl::parse(&url).unwrap())
    }

    #[tokio::test]
    async fn sessions_share_a_list_of_the_same_bytes_unless_it_contains_a_secret_of_theirs() {
        // The description is JSON: encoded in the list, the secret in it would be written differently.
        let client = server(r#"{"key":"s3cret\"pw"}"#).await;
        let listed = async |secrets: &[&str]| {
            let redactor = Redactor::new(secrets.iter().copied());
            let deadline = Instant::now() + SETUP_TIMEOUT;
            let access = (&"jwt".into(), "space");
            client.open(access, &redactor, deadline, async |_| Ok(())).await.unwrap().1
        };
        let first = listed(&[]).await;
        assert_eq!(first[0].description, r#"{"key":"s3cret\"pw"}"#);
        assert!(Arc::ptr_eq(&first, &listed(&["another-secret"]).await));
        let redacted = listed(&["s3cret\"pw"]).await;
        assert_eq!(redacted[0].description, r#"{"key":"[redacted]"}"#);
        assert!(Arc::ptr_eq(&first, &listed(&[]).await), "the redacted list is not kept");
        *client.last_list.lock() = None;
        let redacted = listed(&["s3cret\"pw"]).await;
        assert!(!Arc::ptr_eq(&redacted, &listed(&[]).await));
    }

    #[test]
    fn of_two_tools_of_one_name_the_stricter_hints_count() {
        for (a, b, stricter) in [
            ((None, None, false), (None, None, false), (None, None, false)),
            ((Some(true), None, false), (None, None, false), (Some(false), None, false)),
            ((Some(true), Some(false), false), (Some(true), None, true), (Some(true), None, true)),
            (
                (Some(true), Some(false), false),
                (None, Some(true), false),
                (Some(false), Some(true), false),
            ),
            (
                (Some(true), Some(false), true),
                (Some(true), Some(false), false),
                (Some(true), Some(false), true),
            ),
            ((Some(false), None, false), (None, Some(true), true), (Some(false), Some(true), true)),
        ] {
            let hinted = |(read_only, destructive, is_admin)| Tool {
                hints: ToolHints { read_only, destructive, is_admin },
                ..tool("a.b", json!({}))
            };
            for pair in [[a, b], [b, a]] {
                let tools = finished(pair.map(hinted).into());
                assert_eq!(tools.len(), 1);
                assert_eq!(tools[0].hints, hinted(stricter).hints, "{pair:?}");
            }
        }
    }
}
