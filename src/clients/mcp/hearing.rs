//! What a server says in the messages of an answer, and when that is enough of it.
//!
//! Nothing depends on where the chunks of a stream end.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    error::{Fate, McpError, Outcome},
    sse::Events,
    wire::{Member, Odd, get},
};
use crate::{domain::JsonText, http::HttpClient};

/// Most requests of the server to us in one answer stream: this client offers it nothing to ask for.
const MAX_SERVER_REQUESTS: u32 = 100;

/// A message of the server, as far as it tells what it is.
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
    code: Odd<i32>,
    #[serde(borrow)]
    message: Member<'a>,
}

/// What a message of the server means for the request under way.
#[derive(Debug)]
pub enum Heard {
    /// The answer to it.
    Answer(Outcome<Box<RawValue>>),
    /// The server wants an answer to a request of its own.
    Asked(Vec<u8>),
    /// Nothing that has to do with it.
    Nothing,
}

impl Heard {
    /// What a message of the server says. It belongs to the exchange it came in, whatever id it carries.
    pub(super) fn of(message: &[u8], http: &HttpClient) -> Self {
        let json = JsonText::of(message);
        let Ok(message) = serde_json::from_str::<Incoming<'_>>(json.as_str()) else {
            return Self::Nothing;
        };
        match message {
            Incoming { method: Some(method), id: Some(id), .. } => {
                let answer = match &*method {
                    "ping" => r#""result":{}"#,
                    _ => {
                        r#""error":{"code":-32601,"message":"this client offers nothing to ask for"}"#
                    }
                };
                Self::Asked(format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#).into_bytes())
            }
            Incoming { method: Some(_), .. } => Self::Nothing,
            // A proxy's or a web framework's own errors say nothing of JSON-RPC.
            Incoming { error: Some(error), jsonrpc: Some(_), .. } => {
                Self::Answer(Err(rejected(error, http)))
            }
            Incoming { result: Some(result), .. } => Self::Answer(Ok(result.to_owned())),
            _ => Self::Nothing,
        }
    }
}

/// A refusal is one whatever its parts are: a message that is no text is told as it stands.
fn rejected(error: &RawValue, http: &HttpClient) -> McpError {
    let RpcError { code, message } = get(Some(error)).unwrap_or_default();
    let text = get::<String>(message);
    let message = text.as_deref().unwrap_or_else(|| message.unwrap_or(error).get());
    let message = http.snippet(message.as_bytes());
    McpError::new(Fate::Rejected, format!("JSON-RPC error {}: {message}", code.0))
}

/// Listens to an answer stream. Public for the fuzz target of it.
#[derive(Debug)]
pub struct Hearing {
    pub(super) events: Events,
    asked: u32,
}

impl Hearing {
    /// Takes messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { events: Events::new(limit), asked: 0 }
    }

    /// The next message in what is new of the stream; removes from `chunk` what was read.
    ///
    /// # Errors
    /// When a message is too long, or the server asks instead of answering.
    pub fn next(&mut self, chunk: &mut &[u8], http: &HttpClient) -> Outcome<Option<Heard>> {
        let heard = self.events.next(chunk)?.map(|data| Heard::of(&data, http));
        self.asked += u32::from(matches!(heard, Some(Heard::Asked(_))));
        if self.asked > MAX_SERVER_REQUESTS {
            return Err(McpError::unknown(format!(
                "mana-mcp asked for {MAX_SERVER_REQUESTS} things instead of answering"
            )));
        }
        Ok(heard)
    }
}
