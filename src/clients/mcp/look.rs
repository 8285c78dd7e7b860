//! Checks whether mana-mcp is reachable, with one check for all runs of the process. A run that could not
//! reach mana-mcp waits for the check of the run that was first, and does not send its own requests again and
//! again.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    error::{Fate, McpError, Outcome},
    transport::PEER,
};
use crate::{
    config::BaseUrl,
    http::{Answer, HttpClient, HttpError, Operation},
};

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(300);
/// Time limit of a check while the server is not known to be away.
const QUICK_CHECK: Duration = Duration::from_secs(1);
/// A request without credentials. mana-mcp refuses it, and any answer of mana-mcp shows that it is reachable.
const CHECK: Operation =
    Operation { peer: PEER, name: "look", timeout: Duration::from_secs(2), body_limit: 64 << 10 };

/// Checks whether the server is reachable. All callers that wait share one check.
#[derive(Debug)]
pub struct Look {
    http: HttpClient,
    url: BaseUrl,
    /// When the last check ended, and whether the server was reachable. The caller that checks holds the
    /// lock; if it gives up, the next caller in the queue continues.
    last: Mutex<Option<(Instant, bool)>>,
}

impl Look {
    pub(super) fn new(http: HttpClient, url: BaseUrl) -> Self {
        Self { http, url, last: Mutex::default() }
    }

    /// Waits until the server was reachable at some time after `since`; false if it was not by `deadline`.
    pub async fn returns(&self, since: Instant, deadline: Instant) -> bool {
        let checking = async {
            let mut last = self.last.lock().await;
            while last.is_none_or(|(at, is_there)| at < since || !is_there) {
                self.check(&mut last).await;
            }
        };
        timeout_at(deadline, checking).await.is_ok()
    }

    /// Whether the server is reachable now.
    pub(crate) async fn is_there(&self) -> bool {
        let now = Instant::now();
        self.returns(now, now + QUICK_CHECK).await
    }

    /// `result`, but `Away` instead of `Busy` if the server is not reachable: then a proxy has answered in
    /// its place.
    pub(super) async fn judge<T>(&self, result: Outcome<T>) -> Outcome<T> {
        match result {
            Err(error @ McpError { fate: Fate::Busy(_), .. }) if !self.is_there().await => {
                Err(McpError { fate: Fate::Away, ..error })
            }
            result => result,
        }
    }

    async fn check(&self, last: &mut Option<(Instant, bool)>) {
        if let Some((checked, _)) = *last {
            sleep_until(checked + PAUSE).await;
        }
        let answer = self.http.send(CHECK, self.http.inner.get(self.url.to_string())).await;
        let why = match answer {
            // A proxy in front of a server answers like this while the server is away.
            Ok(Answer { status, .. }) if matches!(status.as_u16(), 502..=504) => {
                Some(format!("answers {status}"))
            }
            Ok(_) | Err(HttpError::TooLarge(..)) => None,
            Err(error) => Some(error.to_string()),
        };
        let was_there = last.replace((Instant::now(), why.is_none())).is_none_or(|(_, it)| it);
        match why {
            None if !was_there => tracing::info!("mana-mcp is there again"),
            Some(why) if was_there => {
                tracing::warn!("mana-mcp is away ({why}); what did not reach it waits for it");
            }
            _ => {}
        }
    }
}
