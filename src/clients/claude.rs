//! The client of Claude's Messages API (docs/contracts/anthropic-messages.md). Only POST /v1/messages is
//! used.
//!
//! A message is kept as the JSON that is sent, and a reply's content as the bytes that were received.
//! Thinking blocks are bound to what precedes them, so the history is appended to and never rewritten. If the
//! API refuses a thinking block all the same, all thinking is removed ([`Message::strip_thinking`]).

mod bills;
mod block;
mod cold_start;
mod definitions;
mod error;
mod gate;
mod history;
mod message;
mod meter;
mod patience;
mod reply;

use std::{borrow::Cow, num::NonZeroU32, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::RequestBuilder;
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::Instant;

pub(crate) use block::sendable_id;
pub use block::{Block, ToolUse};
pub use definitions::ToolDefinitions;
pub use error::{ClaudeError, Result};
pub(crate) use gate::Admission;
pub use message::{Message, ResultBlock, ToolResult, Weight};
pub use meter::{Bill, Meter, NotPaid, Price, Reservation};
pub use patience::Patience;
pub use reply::{Reply, StopReason};

use bills::{Bills, most_usage};
use cold_start::ColdStart;
use gate::Gate;
use message::{CacheControl, text_block};

use crate::{
    clock::Clock,
    config::{BaseUrl, ClaudeConfig, Effort},
    domain::{Redactor, Tokens, Usd},
    http::{HttpClient, Operation, RetryPolicy, Retryable, secret_header},
    pricing::Pricing,
};

const API_VERSION: &str = "2026-10-21";
const MESSAGES: Operation = Operation {
    peer: "anthropic",
    name: "messages",
    // Replies are short, and the model thinks at low effort.
    timeout: Duration::from_secs(120),
    // Many times the size of a reply with the most output tokens.
    body_limit: 2 << 20,
};

/// The most output tokens that a request without streaming should ask for (section 6).
pub(crate) const MAX_OUTPUT_TOKENS: u32 = 16_000;

/// Length of system prompt and first message of an ordinary request, in bytes.
const ORDINARY_BYTES: u64 = 8 << 10;
/// The most output tokens that an ordinary request asks for.
const ORDINARY_OUTPUT: NonZeroU32 = NonZeroU32::new(8_192).unwrap();

/// Beginnings of the names of models that accept system messages in the middle of a conversation (section
/// 5.3).
const TAKE_SYSTEM_MESSAGES: [&str; 5] =
    ["claude-opus-4-8", "claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5"];

/// What a request asks the model for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The system prompt, which is sent as one block of text.
    pub system: &'a str,
    /// The tools that the model may call, if any.
    pub tools: Option<&'a ToolDefinitions>,
    /// The conversation so far. Its last message is one of the user, or a system message after it.
    pub messages: &'a [Message],
    /// The most output tokens of the reply, thinking included.
    pub max_tokens: NonZeroU32,
    /// JSON Schema of the reply's text, if the text must be JSON.
    pub format: Option<&'a RawValue>,
    /// Whether further requests with the same beginning follow, so that it pays to cache the beginning.
    pub cached: bool,
    /// The part of the run's money that must be left after this request.
    pub spare: Usd,
}

/// Sends requests to Claude, with one model and one API key.
#[derive(Debug)]
pub struct ClaudeClient {
    http: HttpClient,
    url: BaseUrl,
    headers: HeaderMap,
    effort: Option<Effort>,
    bills: Bills,
    gate: Gate,
    cold_start: ColdStart,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: NonZeroU32,
    system: [Value; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    messages: Vec<Cow<'a, Message>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    output_config: Map<String, Value>,
}

impl ClaudeClient {
    /// A client for this configuration, which prices replies by `pricing` and sends at most `most` requests
    /// at once. `None` if there is no API key, or one that does not fit in a header.
    pub fn new(
        http: HttpClient,
        config: &ClaudeConfig,
        pricing: Pricing,
        clock: Clock,
        most: usize,
    ) -> Option<Self> {
        let version = HeaderValue::from_static(API_VERSION);
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([
            secret_header("x-api-key", config.api_key.as_ref()?)?,
            (HeaderName::from_static("anthropic-version"), version),
            (header::CONTENT_TYPE, json.clone()),
            (header::ACCEPT, json),
        ]);
        Some(Self {
            url: config.base.join(["v1", "messages"]),
            headers,
            effort: config.effort,
            bills: Bills::new(config.model.clone(), pricing, http.clone()),
            http,
            gate: Gate::new(clock.clone(), most),
            cold_start: ColdStart::new(clock),
        })
    }

    /// Begins a tick and returns what may be asked of the model in this tick. Unless nothing may be asked,
    /// [`Self::end_tick`] must follow.
    pub fn begin_tick(&self) -> Admission {
        self.cold_start.begin_tick();
        self.gate.admit()
    }

    /// Ends a tick. A probe that the tick was given ends with it.
    pub(crate) fn end_tick(&self) {
        self.gate.end_probe();
    }

    /// Why all use of the model has stopped; `None` if it has not.
    pub fn stopped(&self) -> Option<String> {
        self.gate.stopped()
    }

    /// Notes that a run's first request was refused. Three such refusals in a row are taken to be a fault of
    /// this program and not of the personas.
    pub(crate) fn note_first_refusal(&self, error: &ClaudeError) {
        if error.status() == Some(StatusCode::BAD_REQUEST) {
            self.gate.note_run(error);
            self.show_stop();
        }
    }

    fn show_stop(&self) {
        self.http.metrics.model.stopped.set(self.gate.stopped().is_some().into());
    }

    /// Asks for the next reply. A request has no side effect except its cost: it does no harm to drop the
    /// future, or to send the request again after its answer was lost. If the run's money does not suffice,
    /// the reply may be shorter than wanted. `redactor` knows the persona's secrets and redacts error texts
    /// before they are cut.
    ///
    /// # Errors
    /// When there is no reply after the retries of [`RetryPolicy::MODEL`] or by `deadline`, when waiting for
    /// the reply would use up `patience`, or when `meter` does not allow the request.
    pub async fn ask(
        &self,
        ask: Ask<'_>,
        deadline: Instant,
        patience: &Patience,
        redactor: &Redactor,
        meter: &impl Meter,
    ) -> Result<Reply> {
        let http = self.http.with_redactor(redactor.clone());
        let tools = ask.tools.map(ToolDefinitions::as_json).unwrap_or_default();
        let body = self.encode(ask);
        let weight = weigh(&body, ask.messages);
        let room = meter.left().saturating_sub(ask.spare);
        let max_tokens = self.bills.affordable(weight, ask.max_tokens, room);
        let is_rationed = max_tokens != ask.max_tokens;
        let body = if is_rationed { self.encode(Ask { max_tokens, ..ask }) } else { body };
        let usage = most_usage(weight, max_tokens);
        let most = self.bills.price(&usage);
        let plain = tools.len() as Weight + ORDINARY_BYTES;
        let ordinary = self.most(plain, ask.max_tokens.min(ORDINARY_OUTPUT)).min(most);
        let price = Price { most, spare: ask.spare, ordinary };
        // The body can have megabytes, so all attempts share it.
        let body = Bytes::from(body);
        let send = || async {
            let waiting = Instant::now();
            let pass = self.gate.enter(deadline.min(waiting + patience.left())).await;
            patience.spend(waiting.elapsed());
            let pass = pass?;
            // Boxed, like its settlement: both futures are several times as large as the exchange between them.
            let reservation = Box::pin(meter.reserve(price)).await?;
            reservation.send();
            let reply = self.exchange(&http, body.clone(), &usage).await;
            let reply = reply.map(|reply| Reply { is_rationed, ..reply });
            drop(pass);
            let bill = reply.as_ref().map_or_else(ClaudeError::bill, Bill::Replied);
            if matches!(bill, Bill::Lost) {
                self.http.metrics.model.answers_lost.inc();
            }
            Box::pin(reservation.settle(bill)).await;
            reply
        };
        let attempt = || async {
            let sent = Box::pin(send());
            if ask.cached { self.cold_start.send(tools, sent).await } else { sent.await }
        };
        let retried = self.http.retried(MESSAGES.peer, MESSAGES.name);
        let may_retry = |error: &ClaudeError, pause| {
            error.again_after().is_some_and(|wait| patience.allows(wait)) && {
                patience.spend(pause);
                retried(error, pause)
            }
        };
        RetryPolicy::MODEL.run(deadline, may_retry, attempt).await
    }

    /// Name of the model that requests are sent to.
    pub fn model(&self) -> &str {
        &self.bills.model
    }

    /// Whether this client's model accepts system messages in the middle of a conversation.
    pub(crate) fn takes_system_messages(&self) -> bool {
        TAKE_SYSTEM_MESSAGES.iter().any(|family| self.model().starts_with(family))
    }

    /// The body of a request. Public for the benchmark of this function.
    pub fn encode(&self, ask: Ask<'_>) -> Vec<u8> {
        let effort = self.effort.map(|effort| ("effort".to_owned(), effort.as_str().into()));
        let of_schema = |schema| json!({"type": "json_schema", "schema": schema});
        let format = ask.format.map(|schema| ("format".to_owned(), of_schema(schema)));
        let cache_control = ask.cached.then_some(CacheControl::Ephemeral);
        let mut system = text_block(ask.system);
        if let Some(marker) = cache_control {
            system["cache_control"] = json!(marker);
        }
        let body = Body {
            model: self.model(),
            max_tokens: ask.max_tokens,
            system: [system],
            tools: ask.tools.map(|tools| &*tools.json),
            messages: history::sent(ask.messages, ask.cached),
            // A marker on the request itself counts as one on its last block, so it moves along with the
            // history.
            cache_control,
            output_config: [effort, format].into_iter().flatten().collect(),
        };
        // The other parts of the body are short.
        let past: usize = ask.messages.iter().map(|it| it.content.get().len() + 64).sum();
        let tools = ask.tools.map_or(0, |tools| tools.as_json().len());
        let mut json = Vec::with_capacity(past + tools + ask.system.len() + 1_024);
        // Encoding cannot fail: the body has strings, integers, and JSON that was checked when it was made.
        let _ = serde_json::to_writer(&mut json, &body);
        json
    }

    /// The weight of the prompt of this request.
    pub(crate) fn weigh(&self, ask: Ask<'_>) -> Weight {
        weigh(&self.encode(ask), ask.messages)
    }

    /// The most that a request with a prompt of this weight may cost.
    pub fn most(&self, prompt: Weight, max_tokens: NonZeroU32) -> Usd {
        self.bills.price(&most_usage(prompt, max_tokens))
    }

    async fn exchange(&self, http: &HttpClient, body: Bytes, most: &Tokens) -> Result<Reply> {
        let started = Instant::now();
        let answer = self.http.send(MESSAGES, self.request(body)).await?;
        let reply = match answer.status {
            StatusCode::OK => self.read(&answer.body, most, http),
            _ => Err(ClaudeError::from_answer(&answer, http)),
        };
        match &reply {
            Ok(Reply { stop_reason, usage, cost, .. }) => {
                let metrics = &self.http.metrics;
                metrics.record_reply(stop_reason.as_str(), usage, cost, started.elapsed());
                self.gate.note_reply(&answer.headers, usage.prompt() - usage.cache_read);
            }
            Err(error) => self.gate.note_refusal(error, &answer.headers),
        }
        self.show_stop();
        reply
    }

    fn request(&self, body: Bytes) -> RequestBuilder {
        let post = self.http.inner.post(self.url.as_url().clone());
        post.headers(self.headers.clone()).body(body)
    }

    /// Reads the reply in the body of an answer. If the reply does not say how many tokens it took, `most` is
    /// booked. Public for the fuzz target of this function.
    ///
    /// # Errors
    /// When the body is not a message.
    pub fn read(&self, body: &[u8], most: &Tokens, http: &HttpClient) -> Result<Reply> {
        Reply::parse(body, &self.bills, most)
            .map_err(|error| ClaudeError::Unreadable(http.snippet(error.to_string().as_bytes())))
    }
}

/// The weight of the prompt of a request with this body and these messages.
fn weigh(body: &[u8], messages: &[Message]) -> Weight {
    (body.len() as Weight).saturating_add_signed(messages.iter().map(|it| it.extra_weight).sum())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn all_attempts_at_a_request_share_one_body() {
        let http = HttpClient::new(Arc::new(Metrics::new("0").unwrap()), Redactor::default());
        let config = ClaudeConfig {
            base: BaseUrl::parse("http://localhost").unwrap(),
            api_key: Some("key".into()),
            model: "claude-haiku-5-5".into(),
            effort: None,
            pricing_file: None,
        };
        let pricing = Pricing::load(None, &config.model).unwrap();
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let claude = ClaudeClient::new(http.unwrap(), &config, pricing, clock, 1).unwrap();
        let body = Bytes::from("x".repeat(1 << 20));
        for _ in 0..2 {
            let attempt = claude.request(body.clone()).build().unwrap();
            let sent = attempt.body().and_then(|body| body.as_bytes()).unwrap();
            assert_eq!(sent.as_ptr(), body.as_ptr());
        }
    }
}
