//! Claude, by the Messages API (docs/contracts/anthropic-messages.md). Only POST /v1/messages is used.
//!
//! Messages are kept as the JSON they are sent as, and a reply's content as the bytes it came in:
//! thinking blocks are bound to what precedes them, so history is appended to and never rewritten. Where one
//! is refused all the same, all of them are taken out ([`Message::strip_thinking`]).

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
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

pub use block::Block;
pub(crate) use block::{ToolUse, sendable_id};
pub use definitions::ToolDefinitions;
pub(crate) use error::ClaudeError;
pub use error::Result;
pub(crate) use gate::Admission;
pub use message::{Message, ResultBlock, ToolResult, Weight};
pub use meter::Bill;
pub(crate) use meter::{Meter, NotPaid, Price, Reservation};
pub(crate) use patience::Patience;
pub use reply::Reply;
pub(crate) use reply::StopReason;

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
    // Replies are short, thinking is at low effort.
    timeout: Duration::from_secs(120),
    // Many times what the output tokens of a reply can say.
    body_limit: 2 << 20,
};

/// Most output tokens that a request without streaming should ask for (section 6).
pub(crate) const MAX_OUTPUT_TOKENS: u32 = 16_000;

/// System prompt and first message of an ordinary request, in bytes.
const ORDINARY_BYTES: u64 = 8 << 10;
/// Output tokens of an ordinary request.
const ORDINARY_OUTPUT: NonZeroU32 = NonZeroU32::new(8_192).unwrap();

/// Models that take system messages in the middle of a conversation (section 5.3).
const TAKE_SYSTEM_MESSAGES: [&str; 5] =
    ["claude-opus-4-8", "claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5"];

/// What to ask the model.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// System prompt.
    pub system: &'a str,
    /// Tools on offer, if any.
    pub tools: Option<&'a ToolDefinitions>,
    /// The conversation so far; the last message is the user's.
    pub messages: &'a [Message],
    /// Output tokens, thinking included.
    pub max_tokens: NonZeroU32,
    /// JSON Schema of the answer's text, if it is to be JSON.
    pub format: Option<&'a RawValue>,
    /// Whether more requests with the same beginning follow, so that caching it pays.
    pub cached: bool,
    /// What must be left beside it of the run's money.
    pub spare: Usd,
}

/// Talks to Claude with one model and one key.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    schema: &'a RawValue,
}

impl ClaudeClient {
    /// A client for this configuration, whose replies cost by these prices, for at most `most` requests
    /// at once. `None` without a key that fits in a header.
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

    /// A tick begins: what may be asked of the model in it. Unless nothing may, [`Self::end_tick`] has to
    /// follow.
    pub fn begin_tick(&self) -> Admission {
        self.cold_start.begin_tick();
        self.gate.admit()
    }

    /// A tick has ended.
    pub(crate) fn end_tick(&self) {
        self.gate.end_probe();
    }

    /// Why the model is not used at all for now, if so.
    pub fn stopped(&self) -> Option<String> {
        self.gate.stopped()
    }

    /// A run's first request was refused. Three of these in a row are a fault of ours, not the
    /// personas'.
    pub(crate) fn note_first_refusal(&self, error: &ClaudeError) {
        if error.status() == Some(StatusCode::BAD_REQUEST) {
            self.gate.note_run(error);
            self.show_stop();
        }
    }

    fn show_stop(&self) {
        self.http.metrics.model.stopped.set(self.gate.stopped().is_some().into());
    }

    /// Asks for the next reply. A request has no side effect but its cost: dropping the future, or
    /// sending it again after a lost answer, does no harm. Where the run's money asks for it, the reply
    /// may be shorter than wanted.
    ///
    /// # Errors
    /// When there is no reply after the retries of [`RetryPolicy::MODEL`], or none by `deadline`, or when
    /// waiting for it would use up `patience`. `redactor`, which knows the persona's secrets, sees what is
    /// said before it is cut.
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
        // Megabytes at times, which all attempts share.
        let body = Bytes::from(body);
        let send = || async {
            let waiting = Instant::now();
            let pass = self.gate.enter(deadline.min(waiting + patience.left())).await;
            patience.spend(waiting.elapsed());
            let pass = pass?;
            // Boxed, as what settles it: both are several times as large as the exchange between them.
            let paid = Box::pin(meter.reserve(price)).await?;
            paid.send();
            let reply = self.exchange(&http, body.clone(), &usage).await;
            let reply = reply.map(|reply| Reply { is_rationed, ..reply });
            drop(pass);
            let bill = reply.as_ref().map_or_else(ClaudeError::bill, Bill::Replied);
            if matches!(bill, Bill::Lost) {
                self.http.metrics.model.answers_lost.inc();
            }
            Box::pin(paid.settle(bill)).await;
            reply
        };
        let attempt = || async {
            let sent = Box::pin(send());
            if ask.cached { self.cold_start.send(tools, sent).await } else { sent.await }
        };
        let retried = self.http.retried(MESSAGES.peer, MESSAGES.name);
        let goes_on = |error: &ClaudeError, pause| {
            patience.allows(error.verdict()) && {
                patience.spend(pause);
                retried(error, pause)
            }
        };
        RetryPolicy::MODEL.run(deadline, goes_on, attempt).await
    }

    /// The model asked.
    pub fn model(&self) -> &str {
        &self.bills.model
    }

    /// Whether this client's model takes system messages in the middle of a conversation.
    pub(crate) fn takes_system_messages(&self) -> bool {
        TAKE_SYSTEM_MESSAGES.iter().any(|family| self.model().starts_with(family))
    }

    /// The body of a request. Public for the benchmark of it.
    pub fn encode(&self, ask: Ask<'_>) -> Vec<u8> {
        let effort = self.effort.map(Effort::as_str);
        let format = ask.format.map(|schema| Format { r#type: "json_schema", schema });
        let output_config =
            (effort.is_some() || format.is_some()).then_some(OutputConfig { effort, format });
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
            // On the request itself it stands for a marker that moves along with the history.
            cache_control,
            output_config,
        };
        // What else there is is short.
        let past: usize = ask.messages.iter().map(|it| it.content.get().len() + 64).sum();
        let tools = ask.tools.map_or(0, |tools| tools.as_json().len());
        let mut json = Vec::with_capacity(past + tools + ask.system.len() + 1_024);
        // Strings, integers and JSON that was checked when it was made: encoding cannot fail.
        let _ = serde_json::to_writer(&mut json, &body);
        json
    }

    /// How long a request's prompt is.
    pub(crate) fn weigh(&self, ask: Ask<'_>) -> Weight {
        weigh(&self.encode(ask), ask.messages)
    }

    /// What a request may cost at most.
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

    /// The reply in the body of an answer, booked as `most` where it does not say what it took. Public for the
    /// fuzz target of it.
    ///
    /// # Errors
    /// When it is no message.
    pub fn read(&self, body: &[u8], most: &Tokens, http: &HttpClient) -> Result<Reply> {
        Reply::parse(body, &self.bills, most)
            .map_err(|error| ClaudeError::Unreadable(http.snippet(error.to_string().as_bytes())))
    }
}

/// How long the prompt of a request with this body and these messages is.
fn weigh(body: &[u8], messages: &[Message]) -> Weight {
    (body.len() as Weight).saturating_add_signed(messages.iter().map(|it| it.attached).sum())
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
