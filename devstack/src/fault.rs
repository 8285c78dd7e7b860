//! Faults that a peer can show at the socket: the client sees what it would see in a real outage, not a
//! mocked error.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::Method;
use tokio_util::sync::CancellationToken;

use crate::recorder::Recorded;

/// What happens to a request instead of, or in addition to, being handled.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request is not handled and gets this answer.
    Respond {
        /// HTTP status of the answer.
        status: u16,
        /// Headers of the answer.
        headers: Vec<(&'static str, String)>,
        /// Body of the answer.
        body: String,
    },
    /// The request is not handled. The answer has this status, and its body repeats the whole request with
    /// headers and body, as the error pages of careless servers do.
    Echo(u16),
    /// The request is handled but gets this status and body: the work is done and the client cannot know.
    HandledThenRespond {
        /// HTTP status of the answer.
        status: u16,
        /// Body of the answer.
        body: String,
    },
    /// The request is handled after this pause.
    Delay(Duration),
    /// The request is handled once this token is cancelled, so the test decides how long the peer takes.
    Hold(CancellationToken),
    /// The request is handled. These bytes are inserted at the start of the first JSON object of the answer:
    /// additional members, which may be malformed.
    Spliced(Vec<u8>),
    /// The request is not handled. The answer has this status, media type and body, which need not be text.
    Bytes {
        /// HTTP status of the answer.
        status: u16,
        /// `content-type` of the answer.
        media_type: &'static str,
        /// Body of the answer.
        body: Vec<u8>,
    },
    /// The request is neither handled nor answered.
    Hang,
    /// The request is not handled; its connection is reset.
    Reset,
    /// The request is handled, then its connection is reset without an answer.
    HandledThenReset,
    /// The request is handled. The head and this many bytes of the body are sent, then the connection is
    /// reset.
    CutBody(usize),
    /// The request is handled. The body ends without an error after this many bytes (a stream that closes
    /// without its event).
    EndBody(usize),
}

impl Fault {
    /// An answer with this status and JSON body.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Respond {
            status,
            headers: vec![("content-type", "application/json".into())],
            body: body.into(),
        }
    }

    /// An answer as [`Fault::status`], with a Retry-After of this many seconds.
    pub fn retry_after(status: u16, seconds: u64, body: impl Into<String>) -> Self {
        Self::Respond {
            status,
            headers: vec![
                ("content-type", "application/json".into()),
                ("retry-after", seconds.to_string()),
            ],
            body: body.into(),
        }
    }
}

type Matcher = Arc<dyn Fn(&Recorded) -> bool + Send + Sync>;

struct Planned {
    matches: Matcher,
    fault: Fault,
    /// Number of requests that the fault is still applied to.
    left: usize,
}

/// The faults planned for one peer. Clones share the plans.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Planned>>>);

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// Applies `fault` to the next `times` requests for which `matches` returns `true`. Earlier plans take
    /// precedence.
    pub fn inject(
        &self,
        times: usize,
        fault: Fault,
        matches: impl Fn(&Recorded) -> bool + Send + Sync + 'static,
    ) {
        let planned = Planned { matches: Arc::new(matches), fault, left: times };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(planned);
    }

    /// Applies `fault` to the next `times` requests of this method whose path ends in `path_end`.
    pub fn on(&self, times: usize, method: Method, path_end: &str, fault: Fault) {
        let path_end = path_end.to_owned();
        self.inject(times, fault, move |r| r.method == method && r.path().ends_with(&path_end));
    }

    /// Whether every planned fault has been applied.
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Removes all planned faults.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault for this request; counts as applied once.
    pub(crate) fn take(&self, request: &Recorded) -> Option<Fault> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.iter_mut().find(|p| p.left > 0 && (p.matches)(request))?;
        plan.left -= 1;
        let fault = plan.fault.clone();
        plans.retain(|p| p.left > 0);
        Some(fault)
    }
}
