//! The service path: who is due, and where actions and feedback go (contracts/mana-auth.md).
//!
//! Row ids on the server are made of the batch's `tickId` and the index in it, so a batch is encoded
//! once and a retry resends the identical bytes.

mod wire;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::SecretString;
use tokio::time::Instant;

pub use wire::{DueRow, RowError};

use crate::{
    config::BaseUrl,
    domain::{Action, ModuleRating, RunId, UserId},
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
/// A thousand personas with long prompts fit many times over.
const DUE_LIMIT: usize = 32 << 20;
const ANSWER_LIMIT: usize = 1 << 20;

/// Talks to the three internal endpoints.
#[derive(Debug)]
pub struct PersonasClient {
    http: HttpClient,
    base: BaseUrl,
    headers: HeaderMap,
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
    body: Vec<u8>,
}

impl Batch {
    /// A batch of at most [`MAX_ACTIONS`] actions.
    pub fn of_actions(run: RunId, actions: &[Action]) -> Self {
        let body = wire::encode_actions(run, actions);
        Self { kind: Kind::Actions, rows: actions.len(), body }
    }

    /// A batch of at most [`MAX_RATINGS`] ratings.
    pub fn of_ratings(run: RunId, ratings: &[ModuleRating]) -> Self {
        let body = wire::encode_ratings(run, ratings);
        Self { kind: Kind::Feedback, rows: ratings.len(), body }
    }

    /// A batch as it was kept.
    pub fn kept(kind: Kind, rows: usize, body: String) -> Self {
        Self { kind, rows, body: body.into_bytes() }
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
pub enum PersonasError {
    /// Any status but 200.
    #[error("{operation}: the personas endpoint answered {status}: {detail}", status = status.as_u16())]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// HTTP status.
        status: StatusCode,
        /// Beginning of the body.
        detail: String,
        /// How long the answer asks to wait.
        retry_after: Option<Duration>,
        /// Whether the answer is a page, as a proxy or an unknown path has them.
        is_page: bool,
    },
    /// A 200 that is not the expected JSON. It may hold prompts and e-mails, so it is not quoted.
    #[error("{operation}: the personas endpoint answered 200, but not with the expected JSON")]
    Unreadable {
        /// What was asked.
        operation: &'static str,
    },
    /// No answer.
    #[error("{operation}: {source}")]
    Http {
        /// What was asked.
        operation: &'static str,
        /// Why.
        source: HttpError,
    },
}

impl PersonasError {
    /// Whether the same rows will never be taken, whatever is repaired: contracts/mana-auth.md. A page that
    /// says 404 says nothing about the persona: a wrong path or a proxy can be repaired.
    pub fn is_rejection(&self) -> bool {
        let Self::Refused { status, is_page, .. } = self else { return false };
        match status.as_u16() {
            404 => !is_page,
            status => matches!(status, 400 | 410 | 413 | 422),
        }
    }
}

impl Retryable for PersonasError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Refused { status, retry_after, .. } => retry::of_status(*status, *retry_after),
            Self::Unreadable { .. } => Verdict::Transient { retry_after: None },
            Self::Http { source, .. } if source.is_transient() => {
                Verdict::Transient { retry_after: None }
            }
            Self::Http { .. } => Verdict::Final,
        }
    }
}

impl PersonasClient {
    /// A client of the endpoints below `base`, with the service key. `None` if the key does not fit in
    /// a header; [`crate::config`] makes sure that it does.
    pub fn new(http: HttpClient, base: BaseUrl, service_key: &SecretString) -> Option<Self> {
        let headers = secret_header("x-service-key", service_key)?;
        Some(Self { http, base, headers: HeaderMap::from_iter([headers]) })
    }

    /// Who is due. A row that cannot be read stands for itself; the others are not affected.
    ///
    /// # Errors
    /// When the list as a whole, or the server's time with it, cannot be had.
    pub async fn fetch_due(&self, deadline: Instant) -> Result<Due, PersonasError> {
        let operation =
            Operation { peer: PEER, name: "fetch_due", timeout: TIMEOUT, body_limit: DUE_LIMIT };
        let url = self.base.join(["due"]);
        let request = || self.http.inner().get(url.as_url().clone());
        self.call(operation, RetryPolicy::READ, deadline, request, |answer| {
            wire::parse_due(&answer.body).and_then(|(rows, server_time)| {
                // A server that leaves it out still dates its answer.
                let server_time = server_time.or_else(|| date_of(&answer.headers))?;
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
        let url = self.base.join([persona.as_str(), batch.kind.as_str()]);
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
        let attempt = || async {
            // Paid work gets an attempt even at the very end.
            let left = deadline.saturating_duration_since(Instant::now()).max(LAST_ATTEMPT);
            let operation = Operation { timeout: operation.timeout.min(left), ..operation };
            let answer = self
                .http
                .send(operation, request().headers(self.headers.clone()))
                .await
                .map_err(|source| PersonasError::Http { operation: name, source })?;
            if answer.status != StatusCode::OK {
                return Err(PersonasError::Refused {
                    operation: name,
                    status: answer.status,
                    detail: self.http.detail(&answer),
                    retry_after: crate::http::retry_after(&answer.headers),
                    is_page: wire::is_page(&answer.body),
                });
            }
            read(&answer).ok_or(PersonasError::Unreadable { operation: name })
        };
        policy.run(deadline, self.http.retried(PEER, name), attempt).await
    }
}

fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(date).ok()?.timestamp())
}
