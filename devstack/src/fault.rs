//! Faults a peer can be told to show, at the socket: the client sees what it would see of a real
//! outage, not a mocked error.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::Method;
use tokio_util::sync::CancellationToken;

use crate::recorder::Recorded;

/// What happens to a request instead of, or beside, being handled.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answered with this instead of being handled.
    Respond {
        /// HTTP status.
        status: u16,
        /// Headers of the answer.
        headers: Vec<(&'static str, String)>,
        /// Body of the answer.
        body: String,
    },
    /// Answered with this status and everything the request said, headers and body included, as the
    /// error pages of careless servers do; not handled.
    Echo(u16),
    /// Handled, but answered with this status and body: the work is done, the client cannot know.
    HandledThenRespond {
        /// HTTP status.
        status: u16,
        /// Body of the answer.
        body: String,
    },
    /// Handled after this pause.
    Delay(Duration),
    /// Handled once this token is cancelled: a peer that takes as long as the test wants.
    Hold(CancellationToken),
    /// Handled; the first JSON object of the answer begins with these bytes more: members of it, as odd as
    /// the test wants.
    Spliced(Vec<u8>),
    /// Answered with this status, media type and body, which need not be text; not handled.
    Bytes {
        /// HTTP status.
        status: u16,
        /// `content-type` of the answer.
        media_type: &'static str,
        /// Body of the answer.
        body: Vec<u8>,
    },
    /// Never answered; not handled either.
    Hang,
    /// The connection is reset; not handled.
    Reset,
    /// Handled, then the connection is reset without an answer.
    HandledThenReset,
    /// Handled; the head and this many bytes of the body are sent, then the connection is reset.
    CutBody(usize),
    /// Handled; the body ends properly after this many bytes (a stream that closes without its event).
    EndBody(usize),
}

impl Fault {
    /// A plain refusal with a JSON body.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Respond {
            status,
            headers: vec![("content-type", "application/json".into())],
            body: body.into(),
        }
    }

    /// Like [`Fault::status`], with a Retry-After of this many seconds.
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
    /// How many requests it still meets.
    left: usize,
}

/// The faults planned for one peer. Clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Planned>>>);

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// The next `times` requests for which `matches` holds meet `fault`. Earlier plans go first.
    pub fn inject(
        &self,
        times: usize,
        fault: Fault,
        matches: impl Fn(&Recorded) -> bool + Send + Sync + 'static,
    ) {
        let planned = Planned { matches: Arc::new(matches), fault, left: times };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(planned);
    }

    /// The next `times` requests of this method whose path ends in `path_end` meet `fault`.
    pub fn on(&self, times: usize, method: Method, path_end: &str, fault: Fault) {
        let path_end = path_end.to_owned();
        self.inject(times, fault, move |r| r.method == method && r.path().ends_with(&path_end));
    }

    /// Whether every planned fault has been met.
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Drops all plans.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault this request meets, used up once.
    pub(crate) fn take(&self, request: &Recorded) -> Option<Fault> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.iter_mut().find(|p| p.left > 0 && (p.matches)(request))?;
        plan.left -= 1;
        let fault = plan.fault.clone();
        plans.retain(|p| p.left > 0);
        Some(fault)
    }
}
