//! The service path: who is due, and where actions and feedback go (docs/contracts/mana-auth.md).
//!
//! Row ids on the server are made of the batch's `tickId` and the index in it, so a batch is encoded
//! once and a retry resends the identical bytes.
//!
//! A 429 is waited out by everybody who talks to the service (`gate`) and is no attempt.

mod gate;
mod wire;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::SecretString;
use tokio::time::Instant;

pub use wire::{DueRow, RowError};

use self::gate::RateLimit;
use crate::{
    clock::Clock,
    config::PersonasUrl,
    domain::{Redactor, UserId},
    http::{
        Answer, HttpClient, HttpError, Operation, Peer,
        retry::{self, RetryPolicy, Retryable, Verdict},
        secret_header,
    },
};

/// Most actions the server takes in one batch.
pub const MAX_ACTIONS: usize = 500;
/// Most ratings the server takes in one batch.
pub const MAX_RATINGS: usize = 100;

const PEER: Peer = Peer("mana-personas");
const TIMEOUT: Duration = Duration::from_secs(15);
/// Least time for an attempt.
const LAST_ATTEMPT: Duration = Duration::from_secs(2);
/// Ten thousand personas fit, with prompts of 1.5 kB each.
const DUE_LIMIT: usize = 16 << 20;
const ANSWER_LIMIT: usize = 1 << 20;

/// Talks to the three internal endpoints. Clones heed one rate limit.
#[derive(Clone, Debug)]
pub struct PersonasClient {
    http: HttpClient,
    at: PersonasUrl,
    headers: HeaderMap,
    limit: Arc<RateLimit>,
}

/// Rows for one of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `persona_actions`
    Actions,
    /// `persona_feedback`
    Feedback,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Actions, Self::Feedback];

    /// Metric label, and last segment of the path.
    pub fn as_str(self) -> &'static str {
        self.names().0
    }

    /// The same, and the name of the operation.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Actions => ("actions", "post_actions"),
            Self::Feedback => ("feedback", "post_feedback"),
        }
    }
}

/// The exact bytes of one post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What it holds.
    pub kind: Kind,
    /// How many rows it holds.
    pub rows: usize,
    /// The body as it is sent, shared by all attempts.
    pub body: Bytes,
}

/// The answer of /due.
#[derive(Debug)]
pub struct Due {
    /// Who is due, row by row.
    pub rows: Vec<DueRow>,
    /// What the server's clock shows; it decides which day or hour a run stands for.
    pub server_time: Timestamp,
}

/// Why the service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {problem}; asked at {at}")]
pub struct PersonasError {
    /// What was asked.
    operation: &'static str,
    /// Where it was asked, with the variable that says so.
    at: PersonasUrl,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    /// Any status but 200 and 429.
    #[error(
        "the personas endpoint answered {status}: {detail}{hint}",
        status = .status.as_u16(),
        hint = hint(*.status)
    )]
    Refused {
        status: StatusCode,
        /// Beginning of the body.
        detail: String,
        /// How long the answer asks to wait.
        retry_after: Option<Duration>,
        /// Whether it says that there is no such persona.
        no_persona: bool,
    },
    /// A rate limit was met and leaves no time to wait for its end.
    #[error("the personas endpoint has a rate limit (429) and is not asked again before {until}")]
    Limited { until: Timestamp },
    /// A 200 that is not the expected JSON. It may hold prompts and e-mails, so it is not quoted.
    #[error("the personas endpoint answered 200, but not with the expected JSON")]
    Unreadable,
    /// No answer.
    #[error(transparent)]
    Http(HttpError),
}

/// What to look at, where a configuration can be the reason.
fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => " (is MANA_SERVICE_KEY the service's, and the URL right?)",
        404 => " (is the URL right?)",
        _ => "",
    }
}

impl PersonasError {
    /// Whether the same rows will never be taken, whatever is repaired: docs/contracts/mana-auth.md. Any
    /// other 404, and a 401, may be a wrong path or key, which can be repaired.
    pub fn is_rejection(&self) -> bool {
        let Problem::Refused { status, no_persona, .. } = &self.problem else { return false };
        match status.as_u16() {
            404 => *no_persona,
            status => matches!(status, 400 | 410 | 413 | 422),
        }
    }

    /// When a rate limit that is in the way is over: what was asked was not done, and is no failed attempt.
    pub fn limited_until(&self) -> Option<Timestamp> {
        let Problem::Limited { until } = self.problem else { return None };
        Some(until)
    }
}

impl Retryable for PersonasError {
    fn verdict(&self) -> Verdict {
        match &self.problem {
            Problem::Refused { status, retry_after, .. } => retry::of_status(*status, *retry_after),
            Problem::Unreadable => Verdict::AGAIN,
            Problem::Http(source) if source.is_transient() => Verdict::AGAIN,
            Problem::Http(_) | Problem::Limited { .. } => Verdict::Final,
        }
    }
}

impl PersonasClient {
    /// A client of the endpoints at this URL, with the service key. `None` if the key does not fit in
    /// a header; [`crate::config`] makes sure that it does.
    pub fn new(
        http: HttpClient,
        at: PersonasUrl,
        service_key: &SecretString,
        clock: Clock,
    ) -> Option<Self> {
        let headers = HeaderMap::from_iter([secret_header("x-service-key", service_key)?]);
        Some(Self { http, at, headers, limit: Arc::new(RateLimit::new(clock)) })
    }

    /// This client with another redactor, of a persona whose rows it is to hand in: the server knows all
    /// that is secret of it. The rate limit is that of all.
    #[must_use]
    pub fn with_redactor(&self, redactor: Redactor) -> Self {
        Self { http: self.http.with_redactor(redactor), ..self.clone() }
    }

    /// When the service's rate limit is over, while nobody may send because of it.
    pub fn limited_until(&self) -> Option<Timestamp> {
        self.limit.over_at()
    }

    /// Who is due, where the service's rate limit allows it within `patience`. A row that cannot be read
    /// stands for itself; the others are not affected.
    ///
    /// # Errors
    /// When the list as a whole, or the server's time with it, cannot be had.
    pub async fn fetch_due(
        &self,
        patience: Duration,
        deadline: Instant,
    ) -> Result<Due, PersonasError> {
        let url = self.at.base.join(["due"]);
        let policy = RetryPolicy { max_limit: patience, ..RetryPolicy::READ };
        let request = || self.http.inner().get(url.as_url().clone());
        let read = |answer: &Answer| {
            let (rows, server_time) = wire::parse_due(&answer.body)?;
            // A server that leaves it out still dates its answer.
            let server_time = server_time.or_else(|| gate::date_of(&answer.headers))?;
            let clean = |row: DueRow| row.map_err(|error| error.redacted(self.http.redactor()));
            Some(Due { rows: rows.into_iter().map(clean).collect(), server_time })
        };
        self.call("fetch_due", DUE_LIMIT, policy, deadline, request, read).await
    }

    /// Hands in a batch for this persona, as insistently as `policy` says; returns the number of rows
    /// the server confirmed.
    ///
    /// # Errors
    /// When the server refuses the batch, or could not be had to confirm it before `deadline`.
    pub async fn post(
        &self,
        persona: &UserId,
        batch: &Batch,
        policy: RetryPolicy,
        deadline: Instant,
    ) -> Result<usize, PersonasError> {
        let (kind, operation) = batch.kind.names();
        let url = self.at.base.join([persona.as_str(), kind]);
        let request = || {
            let post = self.http.inner().post(url.as_url().clone());
            post.header(header::CONTENT_TYPE, "application/json").body(batch.body.clone())
        };
        let read = |answer: &Answer| wire::parse_written(&answer.body, batch.rows);
        let written = self.call(operation, ANSWER_LIMIT, policy, deadline, request, read).await;
        written.inspect(|rows| self.http.metrics().record_rows(kind, *rows))
    }

    /// Sends a request, again where that may help, and reads a 200.
    async fn call<T>(
        &self,
        name: &'static str,
        body_limit: usize,
        policy: RetryPolicy,
        deadline: Instant,
        request: impl Fn() -> RequestBuilder,
        read: impl Fn(&Answer) -> Option<T>,
    ) -> Result<T, PersonasError> {
        let failed = |problem| PersonasError { operation: name, at: self.at.clone(), problem };
        let attempt = || async {
            let mut limited_since = None;
            let answer = loop {
                let since = limited_since.unwrap_or_else(Instant::now);
                let pass = self.limit.pass(deadline.min(since + policy.max_limit)).await;
                let _pass = pass.map_err(|until| failed(Problem::Limited { until }))?;
                // Paid work gets an attempt even at the very end.
                let left = deadline.saturating_duration_since(Instant::now()).max(LAST_ATTEMPT);
                let operation =
                    Operation { peer: PEER, name, timeout: TIMEOUT.min(left), body_limit };
                let request = request().headers(self.headers.clone());
                let answer = self.http.send(operation, request).await;
                let answer = answer.map_err(|source| failed(Problem::Http(source)))?;
                if answer.status != StatusCode::TOO_MANY_REQUESTS {
                    break answer;
                }
                self.limit.meet(&answer.headers);
                // The limit counts from its answer, and its end is told in whole seconds.
                limited_since.get_or_insert_with(|| Instant::now() + Duration::from_secs(1));
            };
            self.limit.note_passed();
            if answer.status != StatusCode::OK {
                return Err(failed(Problem::Refused {
                    status: answer.status,
                    detail: self.http.detail(&answer),
                    retry_after: crate::http::retry_after(&answer.headers),
                    no_persona: wire::says_no_persona(&answer.body),
                }));
            }
            read(&answer).ok_or_else(|| failed(Problem::Unreadable))
        };
        policy.run(deadline, self.http.retried(PEER, name), attempt).await
    }
}
