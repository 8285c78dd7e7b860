//! The service path: who is due, and where actions and feedback go (contracts/mana-auth.md).
//!
//! Row ids on the server are made of the batch's `tickId` and the index in it, so a batch is encoded
//! once and a retry resends the identical bytes.
//!
//! A 429 is waited out by everybody who talks to the service (`gate`) and is no attempt.

mod gate;
mod wire;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::SecretString;
use tokio::time::Instant;

pub use wire::{DueRow, RowError};

use self::gate::Gate;
use crate::{
    clock::Clock,
    config::PersonasUrl,
    domain::{Action, ModuleRating, Redactor, RunId, UserId},
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

/// Talks to the three internal endpoints.
#[derive(Debug)]
pub struct PersonasClient {
    http: HttpClient,
    at: PersonasUrl,
    headers: HeaderMap,
    gate: Arc<Gate>,
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
        match self {
            Self::Actions => "actions",
            Self::Feedback => "feedback",
        }
    }

    fn operation(self) -> &'static str {
        match self {
            Self::Actions => "post_actions",
            Self::Feedback => "post_feedback",
        }
    }
}

/// The exact bytes of one post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    kind: Kind,
    rows: usize,
    /// Shared by all attempts.
    body: Bytes,
}

impl Batch {
    /// A batch of at most [`MAX_ACTIONS`] actions.
    pub fn of_actions(run: RunId, actions: &[Action]) -> Self {
        let body = wire::encode_actions(run, actions).into();
        Self { kind: Kind::Actions, rows: actions.len(), body }
    }

    /// A batch of at most [`MAX_RATINGS`] ratings.
    pub fn of_ratings(run: RunId, ratings: &[ModuleRating]) -> Self {
        let body = wire::encode_ratings(run, ratings).into();
        Self { kind: Kind::Feedback, rows: ratings.len(), body }
    }

    /// A batch as it was kept.
    pub fn kept(kind: Kind, rows: usize, body: String) -> Self {
        Self { kind, rows, body: body.into() }
    }

    /// What it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many rows it holds.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The body as it is sent.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
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
    /// Whether the same rows will never be taken, whatever is repaired: contracts/mana-auth.md. Any other 404,
    /// and a 401, may be a wrong path or key, which can be repaired.
    pub fn is_rejection(&self) -> bool {
        let Problem::Refused { status, no_persona, .. } = &self.problem else { return false };
        match status.as_u16() {
            404 => *no_persona,
            status => matches!(status, 400 | 410 | 413 | 422),
        }
    }

    /// When a rate limit that is in the way is over: what was asked was not done, and is no failed attempt.
    pub fn limited_until(&self) -> Option<Timestamp> {
        match self.problem {
            Problem::Limited { until } => Some(until),
            _ => None,
        }
    }
}

impl Retryable for PersonasError {
    fn verdict(&self) -> Verdict {
        match &self.problem {
            Problem::Refused { status, retry_after, .. } => retry::of_status(*status, *retry_after),
            Problem::Unreadable => Verdict::Transient { retry_after: None },
            Problem::Http(source) if source.is_transient() => {
                Verdict::Transient { retry_after: None }
            }
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
        Some(Self { http, at, headers, gate: Arc::new(Gate::new(clock)) })
    }

    /// This client with another redactor, of a persona whose rows it is to hand in: the server knows all
    /// that is secret of it. The rate limit is that of all.
    #[must_use]
    pub fn with_redactor(&self, redactor: Redactor) -> Self {
        let http = self.http.with_redactor(redactor);
        Self { http, at: self.at.clone(), headers: self.headers.clone(), gate: self.gate.clone() }
    }

    /// When the service's rate limit is over, while nobody may send because of it.
    pub fn limited_until(&self) -> Option<Timestamp> {
        self.gate.opens_at()
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
        let operation =
            Operation { peer: PEER, name: "fetch_due", timeout: TIMEOUT, body_limit: DUE_LIMIT };
        let url = self.at.base.join(["due"]);
        let policy = RetryPolicy { max_limit: patience, ..RetryPolicy::READ };
        let request = || self.http.inner().get(url.as_url().clone());
        self.call(operation, policy, deadline, request, |answer| {
            wire::parse_due(&answer.body).and_then(|(rows, server_time)| {
                // A server that leaves it out still dates its answer.
                let server_time = server_time.or_else(|| gate::date_of(&answer.headers))?;
                let clean = |row: DueRow| row.map_err(|error| error.redacted(self.http.redactor()));
                let rows = rows.into_iter().map(clean).collect();
                Some(Due { rows, server_time })
            })
        })
        .await
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
        let operation = Operation {
            peer: PEER,
            name: batch.kind.operation(),
            timeout: TIMEOUT,
            body_limit: ANSWER_LIMIT,
        };
        let url = self.at.base.join([persona.as_str(), batch.kind.as_str()]);
        let request = || {
            self.http
                .inner()
                .post(url.as_url().clone())
                .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(batch.body.clone())
        };
        self.call(operation, policy, deadline, request, |answer| {
            wire::parse_written(&answer.body, batch.rows)
        })
        .await
        .inspect(|rows| self.http.metrics().record_rows(batch.kind.as_str(), *rows))
    }

    /// Sends a request, again where that may help, and reads a 200.
    async fn call<T>(
        &self,
        operation: Operation,
        policy: RetryPolicy,
        deadline: Instant,
        request: impl Fn() -> RequestBuilder,
        read: impl Fn(&Answer) -> Option<T>,
    ) -> Result<T, PersonasError> {
        let name = operation.name;
        let failed = |problem| PersonasError { operation: name, at: self.at.clone(), problem };
        let attempt = || async {
            let mut latest = deadline.min(Instant::now() + policy.max_limit);
            let mut is_limited = false;
            let answer = loop {
                let passed = self.gate.pass(latest).await;
                passed.map_err(|until| failed(Problem::Limited { until }))?;
                // Paid work gets an attempt even at the very end.
                let left = deadline.saturating_duration_since(Instant::now()).max(LAST_ATTEMPT);
                let operation = Operation { timeout: operation.timeout.min(left), ..operation };
                let request = request().headers(self.headers.clone());
                let answer = self.http.send(operation, request).await;
                let answer = answer.map_err(|source| failed(Problem::Http(source)))?;
                if answer.status != StatusCode::TOO_MANY_REQUESTS {
                    break answer;
                }
                self.gate.hold(&answer.headers);
                if !std::mem::replace(&mut is_limited, true) {
                    // The limit counts from its answer, and its end is told in whole seconds.
                    let end = Instant::now() + policy.max_limit + Duration::from_secs(1);
                    latest = deadline.min(end);
                }
            };
            self.gate.note_passed();
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
