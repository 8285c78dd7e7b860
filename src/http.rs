//! The one place that sends requests: time limits, limits on bodies, a span, metrics and redaction.
//!
//! This module knows no peer's URLs, headers or error formats. [`retry`] decides on retries, and [`gate`]
//! holds requests back while a rate limit lasts.

pub mod gate;
pub mod retry;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use reqwest::{Client, RequestBuilder, Response, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use crate::{
    domain::{Redactor, clip, one_line, redact_emails},
    metrics::Metrics,
};
pub use gate::{Gate, Pass};
pub(crate) use retry::{RetryPolicy, Retryable, again_after};

/// Longest time until a connection is established, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that an idle connection is kept. Servers behind Bun and Node close idle connections after 5
/// to 10 s. A request that is sent into a closing connection has an unknown outcome, so this client closes
/// first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest Retry-After that is believed. A longer one counts as this one.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86_400);
/// Longest part of a peer's answer that an error quotes, in UTF-16 units.
const SNIPPET: usize = 300;

/// Largest part of an answer without success that is read, in bytes.
const ERROR_LIMIT: usize = 64 << 10;

/// The name of a service that the runner sends requests to; a metric label.
pub type Peer = &'static str;

/// What is asked of which peer, and the limits of the request.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The service that the request goes to.
    pub peer: Peer,
    /// Name of the operation; a metric label.
    pub name: &'static str,
    /// Longest time from sending the request to the end of the answer's body.
    pub timeout: Duration,
    /// Longest body that is accepted, in bytes.
    pub body_limit: usize,
}

/// A complete answer of any status.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status, which need not be a success.
    pub status: StatusCode,
    /// The headers as they were received.
    pub headers: HeaderMap,
    /// The whole body. Of an answer without success, only the beginning.
    pub body: Vec<u8>,
}

/// The result of an exchange with a peer.
pub type Exchange<T> = Result<T, HttpError>;

/// Why there is no answer. The message names the peer, never the URL.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// There was no connection: the peer certainly did not see the request.
    #[error("{0} cannot be reached ({1})")]
    Unreachable(Peer, String),
    /// There was no complete answer within this time.
    #[error("{0} did not answer within {after} ms", after = .1.as_millis())]
    Timeout(Peer, Duration),
    /// The connection broke before the answer was complete.
    #[error("the connection to {0} broke ({1})")]
    Interrupted(Peer, String),
    /// The answer has more bytes than the operation accepts; the number is that limit.
    #[error("{0} sent more than {1} bytes")]
    TooLarge(Peer, usize),
    /// The request could not be built, so it was not sent.
    #[error("the request to {0} could not be built ({1})")]
    Unsendable(Peer, String),
}

impl HttpError {
    /// Whether the peer certainly did not see the request.
    pub(crate) fn was_not_sent(&self) -> bool {
        matches!(self, Self::Unreachable(..) | Self::Unsendable(..))
    }

    /// The kind of the error, as a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(..) => "unreachable",
            Self::Timeout(..) => "timeout",
            Self::Interrupted(..) => "interrupted",
            Self::TooLarge(..) => "too_large",
            Self::Unsendable(..) => "unsendable",
        }
    }

    fn from_reqwest(peer: Peer, error: reqwest::Error) -> Self {
        let detail = root_cause(&error);
        if error.is_builder() {
            Self::Unsendable(peer, detail)
        } else if error.is_connect() {
            Self::Unreachable(peer, detail)
        } else {
            Self::Interrupted(peer, detail)
        }
    }
}

impl Retryable for HttpError {
    fn again_after(&self) -> Option<Duration> {
        (!matches!(self, Self::TooLarge(..) | Self::Unsendable(..))).then_some(Duration::ZERO)
    }
}

/// The text of the innermost cause of an error. The text of reqwest's own error contains the URL.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    one_line(&cause.to_string())
}

/// Sends requests. Clones share the connection pool.
#[derive(Clone, Debug)]
pub struct HttpClient {
    /// The reqwest client, for building requests.
    pub inner: Client,
    /// Counts requests and retries.
    pub metrics: Arc<Metrics>,
    /// Keeps secrets out of the texts of errors.
    pub redactor: Redactor,
}

impl HttpClient {
    /// A client that keeps the secrets of `redactor` out of errors.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(metrics: Arc<Metrics>, redactor: Redactor) -> reqwest::Result<Self> {
        let inner = Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            // Only `config` reads the environment: a proxy that is not in the configuration must not see the
            // keys.
            .no_proxy()
            // The API keys are in headers of this program's own, and a redirect would carry these to another
            // host.
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .build()?;
        Ok(Self { inner, metrics, redactor })
    }

    /// This client with another redactor, which must know at least the same secrets.
    #[must_use]
    pub(crate) fn with_redactor(&self, redactor: Redactor) -> Self {
        Self { redactor, ..self.clone() }
    }

    /// A callback for [`retry::RetryPolicy::run`] that counts and logs each further attempt at an operation.
    pub fn retried<E: fmt::Display>(
        &self,
        peer: Peer,
        operation: &'static str,
    ) -> impl Fn(&E, Duration) -> bool + use<E> {
        let metrics = self.metrics.clone();
        move |error, pause| {
            metrics.record_client_retry(peer, operation);
            let pause_ms = pause.as_millis() as u64;
            tracing::warn!(peer, operation, pause_ms, "{error}; trying again");
            true
        }
    }

    /// Sends one request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// When there is no complete answer within the operation's bounds.
    pub async fn send(&self, operation: Operation, request: RequestBuilder) -> Exchange<Answer> {
        let Operation { peer, name, timeout: limit, body_limit } = operation;
        let exchange = async {
            let mut response = begin(peer, request).await?;
            let body = read(peer, &mut response, body_limit).await?;
            let headers = std::mem::take(response.headers_mut());
            Ok(Answer { status: response.status(), headers, body })
        };
        let late = |_| Err(HttpError::Timeout(peer, limit));
        let in_time = timeout(limit, exchange).map(|result| result.unwrap_or_else(late));
        self.counted(peer, name, in_time, |answer| answer.status).await
    }

    /// Sends one request whose answer may be a stream. The caller reads the body with [`read`] and limits the
    /// time itself. The metrics count the time up to the headers of the answer.
    ///
    /// # Errors
    /// When the headers of an answer do not arrive.
    pub async fn stream(
        &self,
        peer: Peer,
        name: &'static str,
        request: RequestBuilder,
    ) -> Exchange<Response> {
        self.counted(peer, name, begin(peer, request), Response::status).await
    }

    async fn counted<T>(
        &self,
        peer: Peer,
        name: &'static str,
        exchange: impl Future<Output = Exchange<T>>,
        status: impl Fn(&T) -> StatusCode,
    ) -> Exchange<T> {
        let span = tracing::debug_span!("http.client", http.peer = peer, http.operation = name);
        let started = Instant::now();
        let result = exchange.instrument(span.clone()).await;
        let took = started.elapsed();
        let class = |answer| status_class(status(answer));
        let outcome = result.as_ref().map_or_else(HttpError::kind, class);
        self.metrics.record_client_request(peer, name, outcome, took);
        let took_ms = took.as_millis() as u64;
        tracing::debug!(parent: &span, http.outcome = outcome, took_ms, "request ended");
        result
    }

    /// The part of an answer without success that an error shows: the target of a redirect, which is never
    /// followed, or else the beginning of the body.
    pub(crate) fn detail(&self, answer: &Answer) -> String {
        match answer.headers.get(http::header::LOCATION) {
            Some(target) if answer.status.is_redirection() => {
                let target = self.snippet(target.as_bytes());
                format!("it points to {target}; check the URL that is configured")
            }
            _ => self.snippet(&answer.body),
        }
    }

    /// The beginning of an answer's body, for an error: one line of at most 300 characters. Secrets and
    /// e-mails are removed before the text is cut, so not even a part of one is left.
    pub(crate) fn snippet(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        clip(&one_line(&redact_emails(&self.redactor.redact(&text))), SNIPPET)
    }
}

#[expect(clippy::disallowed_methods, reason = "here requests are sent")]
async fn begin(peer: Peer, request: RequestBuilder) -> Exchange<Response> {
    request.send().await.map_err(|error| HttpError::from_reqwest(peer, error))
}

/// Reads the rest of an answer's body, at most `limit` bytes. Of an answer without success, only the
/// beginning is read.
///
/// # Errors
/// When the body is longer than `limit`, or the connection breaks before its end.
pub async fn read(peer: Peer, response: &mut Response, limit: usize) -> Exchange<Vec<u8>> {
    let mut body = Vec::new();
    let failed = |error| HttpError::from_reqwest(peer, error);
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if !response.status().is_success() && body.len() + chunk.len() > ERROR_LIMIT {
            body.extend_from_slice(&chunk[..ERROR_LIMIT - body.len()]);
            break;
        }
        if body.len() + chunk.len() > limit {
            return Err(HttpError::TooLarge(peer, limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The class of a status as a metric label.
fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "2xx",
        300..=399 => "3xx",
        429 => "429",
        529 => "529",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    }
}

/// Name and value of a header that is sent.
pub type Header = (HeaderName, HeaderValue);

/// A header whose value debug output does not show. `None` if the secret does not fit in a header.
pub(crate) fn secret_header(name: &'static str, secret: &SecretString) -> Option<Header> {
    let mut value = HeaderValue::from_str(secret.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_static(name), value))
}

/// The header `Authorization` with this JWT. `None` if the JWT does not fit in a header.
pub fn bearer(jwt: &SecretString) -> Option<Header> {
    secret_header("authorization", &format!("Bearer {}", jwt.expose_secret()).into())
}

/// The value of a header, without white space around it. `None` if it is missing or not visible ASCII.
pub fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The time in a header that has a date in the format of HTTP.
pub(crate) fn time_of(headers: &HeaderMap, name: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text_of(headers, name)?).ok()?.timestamp())
}

/// The wait that an answer asks for with Retry-After, at most a day. The value is in seconds or a date; some
/// peers send it in milliseconds or under another name. `None` if the answer asks for no wait.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| text_of(headers, name)?.parse::<f64>().ok();
    // A date is compared with the Date header of the same answer, so that no two clocks are compared.
    let time = |name: &str| time_of(headers, name);
    let until_date = || Some(time("retry-after")?.duration_since(time("date")?).as_secs_f64());
    let seconds = number("retry-after-ms")
        .map(|ms| ms / 1000.0)
        .or_else(|| number("retry-after"))
        .or_else(until_date)
        .or_else(|| number("x-retry-after"))
        .filter(|seconds| !seconds.is_nan())?;
    let wait = Duration::try_from_secs_f64(seconds.min(LONGEST_RETRY_AFTER.as_secs_f64())).ok()?;
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_its_spellings_and_nonsense_is_ignored() {
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(read("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(read("x-retry-after", "10"), Some(Duration::from_secs(10)));
        assert_eq!(read("retry-after", "18000000000000000000"), Some(LONGEST_RETRY_AFTER));
        let headers = HeaderMap::from_iter([
            (http::header::DATE, HeaderValue::from_static("Sat, 21 Nov 2026 10:00:00 GMT")),
            (http::header::RETRY_AFTER, HeaderValue::from_static("Sat, 21 Nov 2026 10:00:07 GMT")),
        ]);
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        for nonsense in ["", "-1", "0", "soon", "NaN"] {
            assert_eq!(read("retry-after", nonsense), None, "{nonsense:?}");
        }
    }
}
