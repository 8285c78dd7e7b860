//! The service path: which personas are due, and where actions and feedback are sent
//! (docs/contracts/mana-auth.md).
//!
//! The server makes row ids from the batch's `tickId` and the row's index in the batch. So a batch is encoded
//! once, and a retry sends the identical bytes again.
//!
//! After a 429 all requests to the service wait (`gate`). A request that was answered with 429 does not count
//! as an attempt.

mod gate;
mod wire;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::SecretString;
use tokio::time::Instant;

pub(crate) use wire::DueRow;
pub use wire::{Batch, Kind, MAX_ACTIONS, MAX_RATINGS};

use self::gate::RateLimit;
use crate::{
    clock::Clock,
    config::PersonasUrl,
    domain::{Redactor, UserId},
    http::{
        Answer, HttpClient, HttpError, Operation, Peer, RetryPolicy, Retryable, again_after,
        retry_after, secret_header, time_of,
    },
};

const PEER: Peer = "mana-personas";
const TIMEOUT: Duration = Duration::from_secs(15);
/// The least time that an attempt is given.
const LAST_ATTEMPT: Duration = Duration::from_secs(2);
/// Largest body of /due, in bytes. Ten thousand personas with prompts of 1.5 kB each fit.
const DUE_LIMIT: usize = 16 << 20;
const ANSWER_LIMIT: usize = 1 << 20;

/// Sends requests to the three internal endpoints. Clones share one rate limit.
#[derive(Clone, Debug)]
pub struct PersonasClient {
    http: HttpClient,
    endpoint: PersonasUrl,
    headers: HeaderMap,
    limit: Arc<RateLimit>,
}

/// The answer of /due.
#[derive(Debug)]
pub struct Due {
    /// The rows of the answer, each of which is a persona or an error.
    pub rows: Vec<DueRow>,
    /// The server's time, which decides to which day or hour a run belongs.
    pub server_time: Timestamp,
}

/// The result of a request to the service.
pub type Result<T, E = PersonasError> = std::result::Result<T, E>;

/// Why a request to the service failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {problem}; asked at {endpoint}")]
pub struct PersonasError {
    /// Name of the operation that failed.
    operation: &'static str,
    /// The URL that was asked, and the variable that sets it.
    endpoint: PersonasUrl,
    problem: String,
    meaning: Meaning,
}

/// What a failure means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The service will never accept the request.
    Rejected,
    /// The request was not sent, because of a rate limit that is over at this time.
    Limited(Timestamp),
    /// The request may succeed when it is sent again after this wait, or after something was repaired.
    Failed(Option<Duration>),
}

impl PersonasError {
    /// Whether the service will never accept the same rows, whatever is repaired.
    pub(crate) fn is_rejection(&self) -> bool {
        self.meaning == Meaning::Rejected
    }

    /// When the rate limit that held the request back is over. The request was not sent, and this is no
    /// failed attempt. `None` for any other failure.
    pub(crate) fn limited_until(&self) -> Option<Timestamp> {
        let Meaning::Limited(until) = self.meaning else { return None };
        Some(until)
    }
}

impl Retryable for PersonasError {
    fn again_after(&self) -> Option<Duration> {
        if let Meaning::Failed(again_after) = self.meaning { again_after } else { None }
    }
}

/// The meaning of an answer other than 200 and 429. A 404 is a refusal for good only if its body says so
/// (docs/contracts/mana-auth.md). Any other 404, and a 401, may come from a wrong path or key, which can be
/// repaired.
fn refusal(answer: &Answer, http: &HttpClient) -> (String, Meaning) {
    let (status, detail) = (answer.status.as_u16(), http.detail(answer));
    let meaning = match status {
        400 | 410 | 413 | 422 => Meaning::Rejected,
        404 if wire::says_no_persona(&answer.body) => Meaning::Rejected,
        _ => Meaning::Failed(again_after(answer.status, retry_after(&answer.headers))),
    };
    // Names what to check, if the configuration can be the reason.
    let hint = match status {
        401 | 403 => " (is MANA_SERVICE_KEY the service's, and the URL right?)",
        404 => " (is the URL right?)",
        _ => "",
    };
    (format!("the personas endpoint answered {status}: {detail}{hint}"), meaning)
}

impl PersonasClient {
    /// A client of the endpoints at this URL, with the service key. `None` if the key does not fit in
    /// a header; [`crate::config`] makes sure that it does.
    pub fn new(
        http: HttpClient,
        endpoint: PersonasUrl,
        service_key: &SecretString,
        clock: Clock,
    ) -> Option<Self> {
        let headers = HeaderMap::from_iter([secret_header("x-service-key", service_key)?]);
        Some(Self { http, endpoint, headers, limit: Arc::new(RateLimit::new(clock)) })
    }

    /// This client with another redactor, for handing in the rows of one persona: the server knows all
    /// secrets of that persona. The rate limit is shared with this client.
    #[must_use]
    pub(crate) fn with_redactor(&self, redactor: Redactor) -> Self {
        Self { http: self.http.with_redactor(redactor), ..self.clone() }
    }

    /// When the service's rate limit is over; `None` if requests may be sent now.
    pub(crate) fn limited_until(&self) -> Option<Timestamp> {
        self.limit.over_at()
    }

    /// Fetches the list of due personas, if the service's rate limit allows it within `patience`. A row that
    /// cannot be read is an error by itself and does not affect the other rows.
    ///
    /// # Errors
    /// When the list as a whole, or the server's time, cannot be obtained.
    pub async fn fetch_due(&self, patience: Duration, deadline: Instant) -> Result<Due> {
        let url = self.endpoint.base.join(["due"]);
        let policy = RetryPolicy { max_limit: patience, ..RetryPolicy::READ };
        let request = || self.http.inner.get(url.as_url().clone());
        let read = |answer: &Answer| {
            let (rows, server_time) = wire::parse_due(&answer.body, &self.http.redactor)?;
            // A server that leaves the time out still sends a Date header.
            let server_time = server_time.or_else(|| time_of(&answer.headers, "date"))?;
            Some(Due { rows, server_time })
        };
        self.call("fetch_due", DUE_LIMIT, policy, deadline, request, read).await
    }

    /// Hands in a batch for this persona, with the retries of `policy`. Returns the number of rows that the
    /// server confirmed.
    ///
    /// # Errors
    /// When the server refuses the batch, or does not confirm it before `deadline`.
    pub async fn post(
        &self,
        persona: &UserId,
        batch: &Batch,
        policy: RetryPolicy,
        deadline: Instant,
    ) -> Result<usize> {
        let (kind, operation) = batch.kind.names();
        let url = self.endpoint.base.join([persona.as_str(), kind]);
        let request = || {
            let post = self.http.inner.post(url.as_url().clone());
            post.header(header::CONTENT_TYPE, "application/json").body(batch.body.clone())
        };
        let read = |answer: &Answer| wire::parse_written(&answer.body, batch.rows);
        let written = self.call(operation, ANSWER_LIMIT, policy, deadline, request, read).await;
        written.inspect(|rows| self.http.metrics.record_rows(kind, *rows))
    }

    /// Sends a request, with retries where they may help, and reads a 200.
    async fn call<T>(
        &self,
        name: &'static str,
        body_limit: usize,
        policy: RetryPolicy,
        deadline: Instant,
        request: impl Fn() -> RequestBuilder,
        read: impl Fn(&Answer) -> Option<T>,
    ) -> Result<T> {
        let failed = |problem: String, meaning| {
            let (operation, endpoint) = (name, self.endpoint.clone());
            PersonasError { operation, endpoint, problem, meaning }
        };
        let unanswered =
            |error: HttpError| failed(error.to_string(), Meaning::Failed(error.again_after()));
        let attempt = || async {
            let mut limited_since = None;
            let answer = loop {
                let since = limited_since.unwrap_or_else(Instant::now);
                let pass = self.limit.pass(deadline.min(since + policy.max_limit)).await;
                pass.map_err(|until| {
                    let limit =
                        "the personas endpoint has a rate limit (429) and is not asked again";
                    failed(format!("{limit} before {until}"), Meaning::Limited(until))
                })?;
                // The rows stand for work that was paid for, so they get an attempt even at the very end.
                let left = deadline.saturating_duration_since(Instant::now()).max(LAST_ATTEMPT);
                let timeout = TIMEOUT.min(left);
                let operation = Operation { peer: PEER, name, timeout, body_limit };
                let request = request().headers(self.headers.clone());
                let answer = self.http.send(operation, request).await.map_err(unanswered)?;
                if answer.status != StatusCode::TOO_MANY_REQUESTS {
                    break answer;
                }
                self.limit.note_limit(&answer.headers);
                // The wait counts from the answer that reports the limit. The end of the limit is in whole
                // seconds, so a second is added.
                limited_since.get_or_insert_with(|| Instant::now() + Duration::from_secs(1));
            };
            self.limit.note_passed();
            if answer.status != StatusCode::OK {
                let (problem, meaning) = refusal(&answer, &self.http);
                return Err(failed(problem, meaning));
            }
            // The body may contain prompts and e-mails, so it is not quoted.
            let unreadable = "the personas endpoint answered 200, but not with the expected JSON";
            read(&answer)
                .ok_or_else(|| failed(unreadable.into(), Meaning::Failed(Some(Duration::ZERO))))
        };
        policy.run(deadline, self.http.retried(PEER, name), attempt).await
    }
}
