//! A scripted Claude behind the Messages API: it checks every request as strictly as the contract
//! (`docs/contracts/anthropic-messages.md`) allows and answers as a persona would.
//!
//! A valid request is answered by the first of these that has an answer: the queue ([`FakeClaude::enqueue`]),
//! the test's own rule ([`FakeClaude::answer_with`]), the scripted persona. Connection failures are planned
//! in [`Served::faults`].
//!
//! The server simulates the prompt cache and, if configured, rate limits; both use the [`Clock`] of the
//! devstack.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
};

use crate::{clock::Clock, wire::Served};

mod bill;
mod cache;
mod desk;
mod manner;
mod memory;
mod model;
mod persona;
mod prompt;
mod rate_limit;
mod refusal;
mod reply;
mod request;
mod script;
mod validate;

#[cfg(test)]
mod tests;

pub use bill::Bill;
pub use cache::CacheUsage;
pub use desk::Desk;
pub use manner::{LOUD_CALLS, Manner, Rates};
pub use prompt::tokens_of_tools;
pub use rate_limit::RateLimit;
pub use request::{ParsedRequest, ToolOutcome};
pub use script::Scripted;

use cache::{Lookup, PromptCache};
use memory::Memory;
use prompt::Prompt;
use rate_limit::Limiter;
use refusal::Refusal;
use reply::Headers;

/// How the scripted Claude behaves.
#[derive(Clone, Debug)]
pub struct ClaudeOptions {
    /// The API key that is accepted.
    pub api_key: String,
    /// Number of replies in a persona's main turn, including the closing one.
    pub replies: usize,
    /// Delay before every answer.
    pub latency: Duration,
    /// The account's rate limits; `None` disables them.
    pub rate_limit: Option<RateLimit>,
    /// Whether [`FakeClaude::requests`] keeps requests; `false` for tests with more requests than memory can
    /// hold.
    pub keeps_requests: bool,
    /// Decides what the personas do. Each seed is another course of the same days.
    pub seed: u64,
}

impl Default for ClaudeOptions {
    fn default() -> Self {
        Self {
            api_key: "sk-ant-devstack".into(),
            replies: 5,
            latency: Duration::ZERO,
            rate_limit: None,
            keeps_requests: true,
            seed: 0,
        }
    }
}

/// The scripted Claude could not be started.
#[derive(Debug, thiserror::Error)]
#[error("no port for the scripted Claude: {0}")]
pub struct StartError(#[from] io::Error);

/// The running scripted Claude.
#[derive(Debug)]
pub struct FakeClaude {
    /// The socket of this peer: recorded requests and planned faults.
    pub served: Served,
    state: Arc<Shared>,
}

impl FakeClaude {
    /// Serves on a free loopback port. Cache entries expire and rate limits recover by `clock`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(options: ClaudeOptions, clock: Clock) -> Result<Self, StartError> {
        let limiter = options.rate_limit.map(|limit| Limiter::new(limit, clock.now()));
        let state = Arc::new(Shared {
            api_key: options.api_key,
            replies: options.replies,
            keeps_requests: options.keeps_requests,
            seed: options.seed,
            in_flight: AtomicUsize::new(0),
            peak_in_flight: AtomicUsize::new(0),
            state: Mutex::new(Inner { latency: options.latency, limiter, ..Inner::default() }),
            clock,
        });
        // The default limit is off, because the API has its own limit with its own error body.
        let router = Router::new()
            .fallback(handle)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&state));
        Ok(Self { served: Served::start(router).await?, state })
    }

    /// The base URL, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.served.url
    }

    /// Queues `reply` for one valid request; queued replies are used in order.
    pub fn enqueue(&self, reply: Scripted) {
        self.state.lock().queue.push_back(reply);
    }

    /// Calls `rule` for each valid request that the queue does not answer; if it returns `None`, the persona
    /// answers. Replaces an earlier rule.
    pub fn answer_with(
        &self,
        rule: impl Fn(&ParsedRequest) -> Option<Scripted> + Send + Sync + 'static,
    ) {
        self.state.lock().rule = Some(Arc::new(rule));
    }

    /// Gives the persona with this system prompt another manner from now on.
    pub fn set_manner(&self, system_prompt: &str, manner: Manner) {
        self.state.lock().manners.insert(system_prompt.to_owned(), manner);
    }

    /// Sets these headers on the next answer to a valid request, in place of the answer's headers with the
    /// same names. A second call applies to the answer after that.
    pub fn headers_once(&self, headers: Vec<(&'static str, String)>) {
        self.state.lock().headers.push_back(headers);
    }

    /// Refuses the next request that carries thinking, as if the thinking were bound to another conversation.
    /// The refusal is not recorded as a violation.
    pub fn refuse_thinking_once(&self) {
        self.state.lock().refuses_thinking += 1;
    }

    /// Cache usage of the answered requests of main turns, which are the requests that offer tools.
    pub fn cache_usage(&self) -> CacheUsage {
        self.state.lock().cache_usage
    }

    /// Every refusal so far, as `400 invalid_request_error: …`. Rate limits and refusals that a test
    /// requested are not included.
    pub fn violations(&self) -> Vec<String> {
        self.state.lock().violations.clone()
    }

    /// Every valid request within the rate limits so far, in order of arrival; empty if requests are not
    /// kept.
    pub fn requests(&self) -> Vec<ParsedRequest> {
        self.state.lock().requests.clone()
    }

    /// The bill of each of these requests, in the same order, even if the requests are not kept.
    pub fn bills(&self) -> Vec<Bill> {
        self.state.lock().bills.clone()
    }

    /// Delays every answer from now on by `latency`.
    pub fn set_latency(&self, latency: Duration) {
        self.state.lock().latency = latency;
    }

    /// Number of valid requests that are being answered now.
    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::SeqCst)
    }

    /// The largest number of valid requests that were answered at the same time.
    pub fn peak_in_flight(&self) -> usize {
        self.state.peak_in_flight.load(Ordering::SeqCst)
    }
}

type Rule = Arc<dyn Fn(&ParsedRequest) -> Option<Scripted> + Send + Sync>;

#[derive(Debug)]
struct Shared {
    api_key: String,
    replies: usize,
    keeps_requests: bool,
    seed: u64,
    in_flight: AtomicUsize,
    peak_in_flight: AtomicUsize,
    clock: Clock,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    latency: Duration,
    queue: VecDeque<Scripted>,
    rule: Option<Rule>,
    violations: Vec<String>,
    requests: Vec<ParsedRequest>,
    /// One bill for each of these requests.
    bills: Vec<Bill>,
    memory: Memory,
    cache: PromptCache,
    cache_usage: CacheUsage,
    limiter: Option<Limiter>,
    /// Headers for the next answers, in order.
    headers: VecDeque<Vec<(&'static str, String)>>,
    /// How many more requests with thinking are refused.
    refuses_thinking: usize,
    /// Number of main turns that each persona has begun, by system prompt.
    runs: HashMap<String, u64>,
    /// By system prompt.
    manners: HashMap<String, Manner>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("violations", &self.violations).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        self.lock().violations.push(refusal.to_string());
        reply::refused(refusal, self.rate_limit_headers())
    }

    fn rate_limit_headers(&self) -> Headers {
        rate_limit::headers(self.lock().limiter.as_mut(), self.clock.now())
    }

    /// Admits a valid request and returns its number and cache lookup, or the response that refuses it for
    /// now.
    fn admit(&self, request: &ParsedRequest) -> Result<(usize, Lookup), Box<Response>> {
        let prompt = Prompt::of(request);
        let mut inner = self.lock();
        let inner = &mut *inner;
        let now = self.clock.now();
        let lookup = inner.cache.look_up(&prompt, now);
        let counted = lookup.usage.uncached + lookup.usage.written;
        let admitted = inner.limiter.as_mut().map_or(Ok(()), |limit| limit.admit(counted, now));
        if let Err(exceeded) = admitted {
            let headers = rate_limit::headers(inner.limiter.as_mut(), now);
            return Err(Box::new(reply::rate_limited(&exceeded, headers)));
        }
        if inner.refuses_thinking > 0
            && let Some(refusal) = memory::refuse_thinking(&request.messages)
        {
            inner.refuses_thinking -= 1;
            let headers = rate_limit::headers(inner.limiter.as_mut(), now);
            return Err(Box::new(reply::refused(&refusal, headers)));
        }
        inner.cache.refresh(&lookup);
        if self.keeps_requests {
            inner.requests.push(request.clone());
        }
        inner.bills.push(Bill::new(&request.model, &lookup));
        Ok((inner.bills.len() - 1, lookup))
    }

    /// Answers a valid request.
    async fn answer(&self, request: &ParsedRequest) -> Response {
        let (number, lookup) = match self.admit(request) {
            Ok(admitted) => admitted,
            Err(response) => return *response,
        };
        let _in_flight = InFlight::enter(self);
        let latency = self.lock().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        // `max_tokens: 0` only warms the cache: nothing is generated, so no scripted reply is used up.
        let scripted = match request.max_tokens {
            0 => Scripted::nothing("max_tokens"),
            _ => self.decide(request),
        };
        let mut inner = self.lock();
        if let Scripted::Message { content, stop_reason, .. } = &scripted {
            inner.bills[number].answered(reply::output_tokens(content));
            inner.memory.remember(request, content, stop_reason.as_deref());
            inner.cache.write(&lookup);
            if !request.tools.is_empty() {
                inner.cache_usage += lookup.usage;
            }
            if let Some(limiter) = &mut inner.limiter {
                limiter.spend_output(reply::output_tokens(content), self.clock.now());
            }
        } else {
            inner.bills[number].waived();
        }
        drop(inner);
        reply::served(request, scripted, &lookup, self.rate_limit_headers())
    }

    /// The reply to this request.
    fn decide(&self, request: &ParsedRequest) -> Scripted {
        let (queued, rule) = {
            let mut inner = self.lock();
            (inner.queue.pop_front(), inner.rule.clone())
        };
        // The rule is code of the test, so it is called without the lock.
        if let Some(reply) = queued.or_else(|| rule.and_then(|rule| rule(request))) {
            return reply;
        }
        let mut inner = self.lock();
        let runs = inner.runs.entry(request.system.clone()).or_default();
        if request.turn() == 0 && !request.is_rating() {
            *runs += 1;
        }
        let run = *runs;
        let manner = inner.manners.get(&request.system).copied().unwrap_or_default();
        drop(inner);
        let part = persona::Part { manner, run, replies: self.replies, seed: self.seed };
        persona::answer(request, &part)
    }
}

/// Counts one request as in flight until it is dropped, however the handling ends.
struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn enter(shared: &'a Shared) -> Self {
        let now = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        shared.peak_in_flight.fetch_max(now, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path() != "/v1/messages" {
        return shared.refuse(&Refusal::not_found(format!("Not found: {}", uri.path())));
    }
    if method != Method::POST {
        let message = format!("{method} is not allowed here");
        return shared.refuse(&Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request_error",
            message,
        ));
    }
    let checked = validate::request(&headers, &shared.api_key, &body, &shared.lock().memory);
    let request = match checked {
        Ok(request) => request,
        Err(refusal) => return shared.refuse(&refusal),
    };
    let mut response = shared.answer(&request).await;
    let headers = shared.lock().headers.pop_front().unwrap_or_default();
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
    reply::set_headers(&mut response, headers);
    response
}
