//! Claude, by the Messages API (contracts/anthropic-messages.md). Only POST /v1/messages is used.
//!
//! Messages are kept as the JSON they are sent as, and a reply's content as the bytes it came in:
//! thinking blocks are bound to what precedes them, so history is appended to and never rewritten. Where one
//! is refused all the same, all of them are taken out ([`Message::strip_thinking`]).

mod cold_start;
mod definitions;
mod error;
mod gate;
mod halt;
mod history;
mod message;
mod meter;
mod patience;
mod replayed;
mod reply;

use std::{
    collections::HashSet,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::RequestBuilder;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use definitions::CacheControl;
pub use definitions::ToolDefinitions;
pub use error::ClaudeError;
pub use gate::Admission;
pub use message::{Message, ResultBlock, ToolResult, Weight};
pub use meter::{Bill, Meter, NotPaid, Price, Reservation};
pub use patience::Patience;
pub use reply::{Block, Reply, StopReason, ToolUse, sendable_id};

use cold_start::ColdStart;
use gate::{Gate, Pass};
use history::History;
use patience::Judged;
use reply::{Read, Terms};

use crate::{
    clock::Clock,
    config::{BaseUrl, ClaudeConfig, Effort},
    domain::{Redactor, Tokens, Usd},
    http::{HttpClient, HttpError, Operation, Peer, retry::RetryPolicy, secret_header},
    pricing::Pricing,
};

const PEER: Peer = Peer("anthropic");
const OPERATION: &str = "messages";
const API_VERSION: &str = "2026-10-21";
/// One request; replies are short, thinking is at low effort.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Many times what the output tokens of a reply can say.
const BODY_LIMIT: usize = 2 << 20;
/// Fewer than a token ever has in the texts and JSON sent here, so that no estimate is too low.
const BYTES_PER_TOKEN: u64 = 2;
/// The largest context window there is, in tokens: a longer prompt is refused, not billed.
const LARGEST_CONTEXT: u64 = 1_000_000;

/// Most things said of bills in a process: a peer may make up a model for each reply.
const MOST_SAID: usize = 16;

/// Most output tokens that a request without streaming should ask for (section 6).
pub const MAX_OUTPUT_TOKENS: u32 = 16_000;

/// Fewest output tokens that are worth asking for.
const LEAST_OUTPUT_TOKENS: u32 = 1_024;
/// System prompt and first message of an ordinary request, in bytes.
const ORDINARY_BYTES: u64 = 8 << 10;
/// Output tokens of an ordinary request.
const ORDINARY_OUTPUT: NonZeroU32 = NonZeroU32::new(8_192).unwrap();

/// Whether the model takes system messages in the middle of a conversation (section 5.3).
pub fn takes_system_messages(model: &str) -> bool {
    ["claude-opus-4-8", "claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5"]
        .iter()
        .any(|family| model.starts_with(family))
}

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
    model: String,
    effort: Option<Effort>,
    pricing: Pricing,
    gate: Gate,
    cold_start: ColdStart,
    /// What was said of bills that are not what they should be: each once.
    said: Mutex<HashSet<String>>,
    /// The dearest model that has answered in the place of the one asked.
    other: Mutex<Option<String>>,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: NonZeroU32,
    system: [SystemBlock<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a ToolDefinitions>,
    messages: History<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
}

#[derive(Serialize)]
struct SystemBlock<'a> {
    r#type: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
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
        let key = secret_header("x-api-key", config.api_key.as_ref()?)?;
        let version = HeaderName::from_static("anthropic-version");
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([
            key,
            (version, HeaderValue::from_static(API_VERSION)),
            (header::CONTENT_TYPE, json.clone()),
            (header::ACCEPT, json),
        ]);
        Some(Self {
            http,
            url: config.base.join(["v1", "messages"]),
            headers,
            model: config.model.clone(),
            effort: config.effort,
            pricing,
            gate: Gate::new(clock.clone(), most),
            cold_start: ColdStart::new(clock),
            said: Mutex::default(),
            other: Mutex::default(),
        })
    }

    /// A tick begins: what may be asked of the model in it. Unless nothing may, [`Self::end_tick`] has to
    /// follow.
    pub fn begin_tick(&self) -> Admission {
        self.cold_start.begin_tick();
        self.gate.admit()
    }

    /// A tick has ended.
    pub fn end_tick(&self) {
        self.gate.end_probe();
    }

    /// Why the model is not used at all for now, if so.
    pub fn stopped(&self) -> Option<String> {
        self.gate.stopped()
    }

    /// A run's first request was refused. Three of these in a row are a fault of ours, not the
    /// personas'.
    pub fn note_first_refusal(&self, error: &ClaudeError) {
        if error.status() == Some(StatusCode::BAD_REQUEST) {
            self.gate.note_run(error);
            self.show_stop();
        }
    }

    fn show_stop(&self) {
        self.http.metrics().set_model_stopped(self.gate.stopped().is_some());
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
    ) -> Result<Reply, ClaudeError> {
        let http = self.http.with_redactor(redactor.clone());
        let mut body = self.encode(ask);
        let prefix = ask.tools.filter(|_| ask.cached).map(ToolDefinitions::fingerprint);
        let weight = Weight { bytes: body.len() as u64, ..Weight::attached(ask.messages) };
        let room = meter.left().saturating_sub(ask.spare);
        let max_tokens = self.affordable(weight, ask.max_tokens, room);
        if max_tokens != ask.max_tokens {
            body = self.encode(Ask { max_tokens, ..ask });
        }
        let usage = most_usage(weight, max_tokens);
        let most = self.price(&usage);
        let is_rationed = max_tokens != ask.max_tokens;
        let tools = ask.tools.map_or(0, |tools| tools.as_json().len() as u64);
        let plain = Weight::of_bytes(tools + ORDINARY_BYTES);
        let ordinary = self.most(plain, ask.max_tokens.min(ORDINARY_OUTPUT)).min(most);
        // Megabytes at times, which all attempts share.
        let body = Bytes::from(body);
        let price = Price { most, spare: ask.spare, ordinary };
        let attempt = || async {
            let departure = match prefix {
                Some(prefix) => Some(self.cold_start.depart(prefix).await),
                None => None,
            };
            let pass = self.enter(deadline, patience).await.map_err(|e| patience.judge(e))?;
            let paid = meter.reserve(price).await;
            let paid = paid.map_err(|refused| patience.judge(refused.into()))?;
            paid.send();
            let reply = self.exchange(&http, body.clone(), &usage, is_rationed).await;
            drop(pass);
            if let (Ok(_), Some(departure)) = (&reply, &departure) {
                self.cold_start.arrived(departure);
            }
            let bill = bill(&reply);
            if matches!(bill, Bill::Lost) {
                self.http.metrics().record_lost_answer();
            }
            paid.settle(bill).await;
            reply.map_err(|error| patience.judge(error))
        };
        let retried = self.http.retried(PEER, OPERATION);
        let on_retry = |Judged { error, .. }: &Judged, pause: Duration| {
            patience.spend(pause);
            retried(error, pause);
        };
        RetryPolicy::MODEL.run(deadline, on_retry, attempt).await.map_err(|failed| failed.error)
    }

    /// The model asked.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether this client's model takes system messages in the middle of a conversation.
    pub fn takes_system_messages(&self) -> bool {
        takes_system_messages(&self.model)
    }

    /// The body of a request. Public for the benchmark of it.
    pub fn encode(&self, ask: Ask<'_>) -> Vec<u8> {
        let effort = self.effort.map(Effort::as_str);
        let format = ask.format.map(|schema| Format { r#type: "json_schema", schema });
        let output_config =
            (effort.is_some() || format.is_some()).then_some(OutputConfig { effort, format });
        let cache_control = ask.cached.then_some(CacheControl::EPHEMERAL);
        let body = Body {
            model: &self.model,
            max_tokens: ask.max_tokens,
            system: [SystemBlock { r#type: "text", text: ask.system, cache_control }],
            tools: ask.tools,
            messages: History::of(ask.messages, ask.cached),
            // On the request itself it stands for a marker that moves along with the history.
            cache_control,
            output_config,
        };
        let messages =
            ask.messages.iter().map(|message| message.as_json().len() + 1).sum::<usize>();
        let tools = ask.tools.map_or(0, |tools| tools.as_json().len());
        let mut bytes = Vec::with_capacity(messages + tools + 2 * ask.system.len() + 4_096);
        // Strings, integers and JSON that was checked when it was made: encoding cannot fail. Messages
        // and tools are JSON already and only copied.
        let _ = serde_json::to_writer(&mut bytes, &body);
        bytes
    }

    /// A place among the requests that may be under way.
    async fn enter(&self, deadline: Instant, patience: &Patience) -> Result<Pass<'_>, ClaudeError> {
        let waiting = Instant::now();
        let pass = self.gate.enter(deadline.min(waiting + patience.left())).await;
        patience.spend(waiting.elapsed());
        pass
    }

    /// How long a request's prompt is.
    pub fn weigh(&self, ask: Ask<'_>) -> Weight {
        Weight { bytes: self.encode(ask).len() as u64, ..Weight::attached(ask.messages) }
    }

    /// What a request may cost at most.
    pub fn most(&self, prompt: Weight, max_tokens: NonZeroU32) -> Usd {
        self.price(&most_usage(prompt, max_tokens))
    }

    /// What so much costs: by the dearer prices where another model has answered before.
    fn price(&self, usage: &Tokens) -> Usd {
        let other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = other.as_ref().map(|other| self.pricing.cost_of_either(other, usage));
        cost.unwrap_or_else(|| self.pricing.cost(usage)).total()
    }

    /// As many output tokens as fit into `room`, halved from those wanted; those wanted if none do.
    fn affordable(&self, prompt: Weight, wanted: NonZeroU32, room: Usd) -> NonZeroU32 {
        let halves = std::iter::successors(Some(wanted), |tokens| {
            NonZeroU32::new(tokens.get() / 2).filter(|half| half.get() >= LEAST_OUTPUT_TOKENS)
        });
        halves.into_iter().find(|tokens| self.most(prompt, *tokens) <= room).unwrap_or(wanted)
    }

    async fn exchange(
        &self,
        http: &HttpClient,
        body: Bytes,
        most: &Tokens,
        is_rationed: bool,
    ) -> Result<Reply, ClaudeError> {
        let operation =
            Operation { peer: PEER, name: OPERATION, timeout: TIMEOUT, body_limit: BODY_LIMIT };
        let started = Instant::now();
        let answer = self.http.send(operation, self.request(body)).await?;
        if answer.status != StatusCode::OK {
            let error = ClaudeError::from_answer(&answer, http);
            self.gate.note_refusal(&error, &answer.headers);
            self.show_stop();
            return Err(error);
        }
        let reply = self.read(&answer.body, most, is_rationed, http)?;
        let took = started.elapsed();
        self.gate.note_reply(&answer.headers, reply.usage.prompt() - reply.usage.cache_read);
        self.show_stop();
        let stop_reason = reply.stop_reason.as_str();
        self.http.metrics().record_reply(stop_reason, &reply.usage, &reply.cost, took);
        Ok(reply)
    }

    fn request(&self, body: Bytes) -> RequestBuilder {
        let post = self.http.inner().post(self.url.as_url().clone());
        post.headers(self.headers.clone()).body(body)
    }

    /// The reply in the body of an answer, booked as `most` where it does not say what it took. Public for the
    /// fuzz target of it.
    ///
    /// # Errors
    /// When it is no message.
    pub fn read(
        &self,
        body: &[u8],
        most: &Tokens,
        is_rationed: bool,
        http: &HttpClient,
    ) -> Result<Reply, ClaudeError> {
        let terms = Terms { model: &self.model, most, is_rationed, pricing: &self.pricing };
        let read = Reply::parse(body, &terms).map_err(|problem| ClaudeError::Unreadable {
            problem: http.snippet(problem.as_bytes()),
        })?;
        self.doubt(&read);
        Ok(read.reply)
    }

    /// Says once in a process what is wrong with the bills of replies.
    fn doubt(&self, read: &Read) {
        if let Some(why) = read.disbelieved.filter(|why| self.is_news(why)) {
            tracing::warn!(
                why,
                "a reply does not say what it took: such replies are booked as what was reserved for them"
            );
        }
        if let Some(other) = &read.from_other {
            let mut known = self.other.lock().unwrap_or_else(PoisonError::into_inner);
            if known.as_ref().is_none_or(|known| self.pricing.is_dearer(other, known)) {
                *known = Some(other.clone());
            }
        }
        if let Some(other) = read.from_other.as_deref().filter(|other| self.is_news(other)) {
            let answered = self.http.snippet(other.as_bytes());
            tracing::warn!(
                asked = self.model,
                answered,
                "another model answered than was asked: its replies are priced as the dearer of both \
                 (PRICING_FILE); look at ANTHROPIC_MODEL and ANTHROPIC_BASE_URL"
            );
        }
    }

    fn is_news(&self, what: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.len() < MOST_SAID && said.insert(what.to_owned())
    }
}

/// What a request takes at most: its whole prompt written to the cache, every output token used.
fn most_usage(prompt: Weight, max_tokens: NonZeroU32) -> Tokens {
    let output = max_tokens.get().into();
    Tokens { cache_write_5m: most_tokens(prompt), output, ..Tokens::default() }
}

/// What a prompt is billed as at most.
fn most_tokens(prompt: Weight) -> u64 {
    let text = prompt.bytes.saturating_sub(prompt.attached_bytes) / BYTES_PER_TOKEN;
    text.saturating_add(prompt.attached_tokens).min(LARGEST_CONTEXT)
}

/// What a request that ended so is billed as.
fn bill(reply: &Result<Reply, ClaudeError>) -> Bill<'_> {
    match reply {
        Ok(reply) => Bill::Replied(reply),
        Err(ClaudeError::Refused { .. }) => Bill::Free,
        Err(ClaudeError::Http(HttpError::Unreachable { .. } | HttpError::Unsendable { .. })) => {
            Bill::Free
        }
        Err(_) => Bill::Lost,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;

    /// A user message with these attachments, and how long it is as JSON.
    fn tokens_of(content: Vec<ResultBlock>) -> u64 {
        let result = ToolResult { tool_use_id: "toolu_1".into(), content, is_error: false };
        let message = Message::tool_results(&[result], None);
        most_tokens(message.weight())
    }

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

    #[test]
    fn an_attachment_is_reserved_for_by_what_it_is_and_not_by_its_length_as_text() {
        let image =
            |bytes| ResultBlock::Image { media_type: "image/png".into(), data: "A".repeat(bytes) };
        let pdf = |bytes| ResultBlock::Pdf { data: "A".repeat(bytes) };
        let (small, large) = (tokens_of(vec![image(8)]), tokens_of(vec![image(3 << 20)]));
        assert_eq!(small, large);
        assert!((4_784..6_000).contains(&large), "{large}");
        let all: Vec<_> = (0..5).map(|_| image(3 << 20)).collect();
        assert!(tokens_of(all) < 30_000, "15 MB of images");
        assert!((8_000..9_000).contains(&tokens_of(vec![pdf(900)])));
        assert!((24_000..25_000).contains(&tokens_of(vec![pdf(2_500)])));
        assert_eq!(
            tokens_of(vec![pdf(3 << 20)]),
            LARGEST_CONTEXT,
            "no more than a prompt may have"
        );
        // Text stays what it was.
        let text = tokens_of(vec![ResultBlock::Text("a".repeat(30_000))]);
        assert!((15_000..15_100).contains(&text), "{text}");
    }
}
