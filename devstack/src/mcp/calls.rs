//! The calls that reached a tool, and the behaviours that tests planned for coming calls.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::catalog::Tool;

const RATE_WINDOW: SignedDuration = SignedDuration::from_secs(60);
const RATE_LIMIT: usize = 30;

/// A `tools/call` that reached a tool: the tool exists, the arguments are valid and the policy allows the
/// call.
#[derive(Clone, Debug)]
pub struct Call {
    /// User of the JWT that the session was opened with.
    pub user_id: String,
    /// Space that the session was opened with.
    pub space_id: String,
    /// Id of the session that the call was sent in.
    pub session_id: String,
    /// MCP name of the tool.
    pub tool: String,
    /// The call's arguments after validation.
    pub arguments: Map<String, Value>,
    /// E-mail of the user.
    pub persona: String,
    /// When the call arrived, by the calendar.
    pub at: Timestamp,
    /// Whether the result was an error; `None` while the call runs, and if it was never answered.
    pub is_error: Option<bool>,
}

/// The calls so far, in order of arrival.
#[derive(Debug)]
pub(super) struct Calls {
    list: Mutex<Vec<Call>>,
    changed: watch::Sender<()>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { list: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Calls {
    pub(super) fn all(&self) -> Vec<Call> {
        self.lock().clone()
    }

    pub(super) async fn wait_for(&self, n: usize, matches: impl Fn(&Call) -> bool) -> Vec<Call> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let found: Vec<_> = self.lock().iter().filter(|call| matches(call)).cloned().collect();
            if found.len() >= n || changed.changed().await.is_err() {
                return found;
            }
        }
    }

    /// Records an arrival and returns its index, for [`Calls::ended`].
    pub(super) fn arrived(&self, call: Call) -> usize {
        let mut list = self.lock();
        list.push(call);
        let index = list.len() - 1;
        drop(list);
        self.changed.send_replace(());
        index
    }

    pub(super) fn ended(&self, index: usize, is_error: bool) {
        if let Some(call) = self.lock().get_mut(index) {
            call.is_error = Some(is_error);
        }
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens to a call instead of, or in addition to, the tool's own work.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// The answer is exactly this result, `{"content": […], …}`; the tool does nothing.
    Result(Value),
    /// The answer has `isError` and this text; the tool does nothing.
    IsError(String),
    /// The answer is a JSON-RPC error; the tool does nothing.
    RpcError {
        /// JSON-RPC error code of the answer.
        code: i32,
        /// Error message of the answer.
        message: String,
    },
    /// The tool does its work after this pause.
    Delay(Duration),
    /// The call is neither answered nor executed. The server's idle timeout still ends the stream.
    NeverAnswers,
    /// The tool does its work, then the server ends the stream without an event, as it does for a tool that
    /// takes longer than its idle timeout.
    EndsStream,
    /// The tool does its work, then the answer is a text of this many characters.
    Floods(usize),
}

/// The behaviours planned per tool.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<HashMap<String, VecDeque<Planned>>>);

#[derive(Debug)]
struct Planned {
    behaviour: Behaviour,
    /// Number of calls that the behaviour is still applied to.
    left: usize,
}

impl Plans {
    pub(super) fn add(&self, tool: &str, times: usize, behaviour: Behaviour) {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plans.entry(tool.to_owned()).or_default().push_back(Planned { behaviour, left: times });
    }

    /// The behaviour for the next call of `tool`; counts as applied once.
    pub(super) fn take(&self, tool: &str) -> Option<Behaviour> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tool = plans.get_mut(tool)?;
        of_tool.retain(|planned| planned.left > 0);
        let planned = of_tool.front_mut()?;
        planned.left -= 1;
        Some(planned.behaviour.clone())
    }
}

/// The server's POLICY_MODE setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerPolicy {
    /// Calls are not checked.
    Off,
    /// Calls that `Enforce` would deny are logged.
    #[default]
    LogOnly,
    /// More than 30 calls of a tool by one user in 60 s, and calls of destructive tools, are denied.
    Enforce,
}

/// Recent calls, by user and tool.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<HashMap<(String, String), VecDeque<Timestamp>>>);

impl Gate {
    /// The reason to deny this call; `None` if the call is allowed.
    pub(super) fn deny(
        &self,
        policy: ServerPolicy,
        user_id: &str,
        tool: &Tool,
        now: Timestamp,
    ) -> Option<&'static str> {
        if policy == ServerPolicy::Off {
            return None;
        }
        let reason = if tool.is_destructive() {
            Some("destructive-not-allowed")
        } else {
            self.too_many(user_id, &tool.name, now).then_some("rate-limit-exceeded")
        }?;
        if policy == ServerPolicy::LogOnly {
            tracing::info!(tool = tool.name, reason, "policy would deny this call");
            return None;
        }
        Some(reason)
    }

    fn too_many(&self, user_id: &str, tool: &str, now: Timestamp) -> bool {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = calls.entry((user_id.to_owned(), tool.to_owned())).or_default();
        lately.retain(|at| now.duration_since(*at) < RATE_WINDOW);
        if lately.len() >= RATE_LIMIT {
            return true;
        }
        lately.push_back(now);
        false
    }
}
