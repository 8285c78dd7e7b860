//! The requests that a peer received, in order of arrival, and a way to wait for them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::{
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use tokio::sync::watch;

/// One request as it was received.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method of the request.
    pub method: Method,
    /// The path and query of the request.
    pub uri: Uri,
    /// All headers of the request.
    pub headers: HeaderMap,
    /// The whole body of the request.
    pub body: Bytes,
    /// When the request had arrived completely.
    pub at: Instant,
    /// Status of the answer; `None` while the request is being handled, and if no answer was sent.
    pub status: Option<StatusCode>,
}

impl Recorded {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The value of header `name`, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; `Null` if it is not valid JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The recorded requests of one peer. Clones share the list.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: Mutex<Vec<Recorded>>,
    is_off: AtomicBool,
    changed: watch::Sender<usize>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self(Arc::new(Inner {
            requests: Mutex::default(),
            is_off: AtomicBool::default(),
            changed: watch::Sender::new(0),
        }))
    }
}

impl Recorder {
    /// All requests so far.
    pub fn all(&self) -> Vec<Recorded> {
        self.requests().clone()
    }

    /// The requests so far for which `matches` returns `true`.
    pub fn matching(&self, matches: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
        self.requests().iter().filter(|r| matches(r)).cloned().collect()
    }

    /// How many requests so far have this method and path.
    pub fn count(&self, method: Method, path: &str) -> usize {
        self.requests().iter().filter(|r| r.method == method && r.path() == path).count()
    }

    /// Removes all recorded requests.
    pub fn clear(&self) {
        self.requests().clear();
    }

    /// Records no further requests, for tests with more requests than memory can hold.
    pub fn turn_off(&self) {
        self.0.is_off.store(true, Ordering::Relaxed);
    }

    /// Waits until `n` requests for which `matches` returns `true` have arrived, and returns them. The caller
    /// limits the wait.
    pub async fn wait_for(&self, n: usize, matches: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
        let mut changed = self.0.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let found = self.matching(&matches);
            if found.len() >= n {
                return found;
            }
            if changed.changed().await.is_err() {
                return found;
            }
        }
    }

    /// Records an arrival and returns its index, for [`Recorder::answered`]; `None` if recording is off.
    pub(crate) fn arrived(&self, request: Recorded) -> Option<usize> {
        if self.0.is_off.load(Ordering::Relaxed) {
            return None;
        }
        let mut requests = self.requests();
        requests.push(request);
        let index = requests.len() - 1;
        drop(requests);
        self.0.changed.send_modify(|n| *n += 1);
        Some(index)
    }

    /// Records the status of the answer to an earlier arrival.
    pub(crate) fn answered(&self, index: usize, status: StatusCode) {
        if let Some(request) = self.requests().get_mut(index) {
            request.status = Some(status);
        }
        self.0.changed.send_modify(|n| *n += 1);
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
