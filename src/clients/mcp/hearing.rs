//! Reads the messages of a server in an answer, and stops if the server sends too many requests of its own.
//!
//! The result does not depend on where the chunks of a stream end.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    error::{Fate, McpError, Outcome},
    sse::Events,
    wire::{Member, get},
};
use crate::{domain::JsonText, http::HttpClient};

/// The largest number of requests by the server in one answer stream. The client offers nothing that a server
/// could ask for.
const MAX_SERVER_REQUESTS: u32 = 100;

/// The answer to any request of the server other than a ping, as a member of the response.
const NOTHING_OFFERED: &str =
    r#""error":{"code":-32601,"message":"this client offers nothing to ask for"}"#;

/// The members that show what kind of message the server has sent.
#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    jsonrpc: Member<'a>,
    id: Member<'a>,
    method: Option<String>,
    result: Member<'a>,
    error: Member<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RpcError<'a> {
    #[serde(borrow)]
    code: Member<'a>,
    message: Member<'a>,
}

/// What a message of the server means for the request in flight.
#[derive(Debug)]
pub enum Heard {
    /// The answer to the request.
    Answer(Outcome<Box<RawValue>>),
    /// The server sent a request of its own; this is the answer that it wants.
    Asked(Vec<u8>),
    /// The message has nothing to do with the request.
    Nothing,
}

impl Heard {
    /// Reads a message of the server. The message belongs to the exchange that it was received in, whatever
    /// its id.
    pub(super) fn of(message: &[u8], http: &HttpClient) -> Self {
        let json = JsonText::of(message);
        let Ok(message) = serde_json::from_str::<Incoming<'_>>(json.as_str()) else {
            return Self::Nothing;
        };
        match message {
            Incoming { method: Some(method), id: Some(id), .. } => {
                let answer = if method == "ping" { r#""result":{}"# } else { NOTHING_OFFERED };
                Self::Asked(format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#).into_bytes())
            }
            Incoming { method: Some(_), .. } => Self::Nothing,
            // Without `jsonrpc`, this is the error of a proxy or a web framework.
            Incoming { error: Some(error), jsonrpc: Some(_), .. } => {
                Self::Answer(Err(rejected(error, http)))
            }
            Incoming { result: Some(result), .. } => Self::Answer(Ok(result.to_owned())),
            _ => Self::Nothing,
        }
    }
}

/// The error for a refusal, of whatever types its members are. A message that is no text is shown as JSON.
fn rejected(error: &RawValue, http: &HttpClient) -> McpError {
    let RpcError { code, message } = get(Some(error)).unwrap_or_default();
    let text = get::<String>(message);
    let message = text.as_deref().unwrap_or_else(|| message.unwrap_or(error).get());
    let message = http.snippet(message.as_bytes());
    let code = get::<i32>(code).unwrap_or_default();
    McpError::new(Fate::Rejected, format!("JSON-RPC error {code}: {message}"))
}

/// Reads the messages of an answer stream. Public for a fuzz target.
#[derive(Debug)]
pub struct Hearing {
    pub(super) events: Events,
    server_requests: u32,
}

impl Hearing {
    /// A reader of messages that have at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { events: Events::new(limit), server_requests: 0 }
    }

    /// Reads `chunk` up to the end of a message and returns the message. What was read is removed from
    /// `chunk`.
    ///
    /// # Errors
    /// When a message is too long, or the server sends too many requests instead of an answer.
    pub fn next(&mut self, chunk: &mut &[u8], http: &HttpClient) -> Outcome<Option<Heard>> {
        let heard = self.events.next(chunk)?.map(|data| Heard::of(&data, http));
        self.server_requests += u32::from(matches!(heard, Some(Heard::Asked(_))));
        if self.server_requests > MAX_SERVER_REQUESTS {
            return Err(McpError::unknown(format!(
                "mana-mcp asked for {MAX_SERVER_REQUESTS} things instead of answering"
            )));
        }
        Ok(heard)
    }
}
