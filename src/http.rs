//! The one place that sends requests: timeouts, a capped body, a span, metrics and redaction.
//!
//! It knows no peer's URLs, headers or error shapes. Retries are decided in [`retry`], limits waited out in [`gate`].

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
pub use gate::Gate;
pub(crate) use gate::Pass;
pub(crate) use retry::{RetryPolicy, Retryable, Verdict};

/// Until a connection stands, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers behind Bun and Node close idle connections after 5 to 10 s; a request sent into a closing
/// one has an unknown outcome, so ours are given up before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest Retry-After that is believed.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86_400);
/// Longest piece of a peer's answer in an error, in characters.
const SNIPPET: usize = 300;

/// What is read of an answer that is no success, in bytes.
const ERROR_LIMIT: usize = 64 << 10;

/// The name of a service the runner talks to; a metric label.
pub type Peer = &'static str;

/// What is being asked of which peer, and within which bounds.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The service.
    pub peer: Peer,
    /// Name of the operation; a metric label.
    pub name: &'static str,
    /// From sending to the end of the body.
    pub timeout: Duration,
    /// Longest body accepted, in bytes.
    pub body_limit: usize,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body; of one that is no success the beginning.
    pub body: Vec<u8>,
}

/// What came of an exchange with a peer.
pub type Exchange<T> = Result<T, HttpError>;

/// Why there is no answer. The message names the peer, never the URL.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection: the peer certainly did not see the request.
    #[error("{0} cannot be reached ({1})")]
    Unreachable(Peer, String),
    /// No complete answer in this time.
    #[error("{0} did not answer within {after} ms", after = .1.as_millis())]
    Timeout(Peer, Duration),
    /// The connection broke before the answer was complete.
    #[error("the connection to {0} broke ({1})")]
    Interrupted(Peer, String),
    /// The answer is larger than the operation accepts, in bytes.
    #[error("{0} sent more than {1} bytes")]
    TooLarge(Peer, usize),
    /// The request could not even be built.
    #[error("the request to {0} could not be built ({1})")]
    Unsendable(Peer, String),
}

impl HttpError {
    /// Whether the peer certainly did not see the request.
    pub(crate) fn was_not_sent(&self) -> bool {
        matches!(self, Self::Unreachable(..) | Self::Unsendable(..))
    }

    /// Metric label.
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
    fn verdict(&self) -> Verdict {
        Verdict::when(!matches!(self, Self::TooLarge(..) | Self::Unsendable(..)), None)
    }
}

/// The innermost cause of an error: reqwest's own text holds the URL.
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
    /// The client underneath, to build requests with.
    pub inner: Client,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// What keeps secrets out of errors.
    pub redactor: Redactor,
}

impl HttpClient {
    /// A client that keeps `redactor`'s secrets out of errors.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(metrics: Arc<Metrics>, redactor: Redactor) -> reqwest::Result<Self> {
        let inner = Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            // The environment is read in `config` only; a proxy nobody named must not see the keys.
            .no_proxy()
            // Keys travel in headers of our own, which a redirect would carry to another host.
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .build()?;
        Ok(Self { inner, metrics, redactor })
    }

    /// This client with another redactor, which knows at least the same secrets.
    #[must_use]
    pub(crate) fn with_redactor(&self, redactor: Redactor) -> Self {
        Self { redactor, ..self.clone() }
    }

    /// What counts and logs each further attempt at an operation, for [`retry::RetryPolicy::run`].
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

    /// Sends one request whose answer may be a stream, which is left to [`read`] and waits to the caller. What is
    /// counted ends with the head of the answer.
    ///
    /// # Errors
    /// When there is no answer.
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

    /// What an answer that is no success says for an error: where a redirection points to, which is never
    /// followed, and else the beginning of its body.
    pub(crate) fn detail(&self, answer: &Answer) -> String {
        match answer.headers.get(http::header::LOCATION) {
            Some(target) if answer.status.is_redirection() => {
                let target = self.snippet(target.as_bytes());
                format!("it points to {target}; check the URL that is configured")
            }
            _ => self.snippet(&answer.body),
        }
    }

    /// The beginning of an answer's body for an error: one line, at most 300 characters, no secret and no
    /// e-mail, not even a part of one where it is cut.
    pub(crate) fn snippet(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        clip(&one_line(&redact_emails(&self.redactor.redact(&text))), SNIPPET)
    }
}

#[expect(clippy::disallowed_methods, reason = "here requests are sent")]
async fn begin(peer: Peer, request: RequestBuilder) -> Exchange<Response> {
    request.send().await.map_err(|error| HttpError::from_reqwest(peer, error))
}

/// The rest of an answer's body, at most so many bytes; of one that is no success the beginning.
///
/// # Errors
/// When the body is longer or breaks off.
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

/// A header to send.
pub type Header = (HeaderName, HeaderValue);

/// A header whose value never shows in debug output. `None` if the secret does not fit in a header.
pub(crate) fn secret_header(name: &'static str, secret: &SecretString) -> Option<Header> {
    let mut value = HeaderValue::from_str(secret.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_static(name), value))
}

/// A JWT as it is sent. `None` if the JWT does not fit in a header.
pub fn bearer(jwt: &SecretString) -> Option<Header> {
    secret_header("authorization", &format!("Bearer {}", jwt.expose_secret()).into())
}

/// The text of a header.
pub fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The time in a header.
pub(crate) fn time_of(headers: &HeaderMap, name: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text_of(headers, name)?).ok()?.timestamp())
}

/// The Retry-After of an answer, at most a day: in seconds, as a date or, as some peers send it, in
/// milliseconds or under another name.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| text_of(headers, name)?.parse::<f64>().ok();
    // A date is read against the answer's own, so that no two clocks are compared.
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
