//! Whether mana-mcp is there: one look for all runs of the process. What could not reach it waits for the
//! look of whoever was first, instead of trying again and again by itself.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout_at},
};

use super::PEER;
use crate::{
    config::BaseUrl,
    http::{HttpClient, HttpError, Operation},
};

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(300);
/// A request without credentials. mana-mcp refuses it at the door, which is answer enough.
const LOOK: Operation =
    Operation { peer: PEER, name: "look", timeout: Duration::from_secs(2), body_limit: 64 << 10 };

/// Looks for the server.
#[derive(Debug)]
pub(super) struct Look {
    http: HttpClient,
    url: BaseUrl,
    /// Held by whoever looks. Where that one gives up, the next in line goes on.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the server was there last.
    there: Option<Instant>,
    /// When the last look ended.
    looked: Option<Instant>,
    /// Whether it was away then.
    is_away: bool,
}

impl Look {
    pub(super) fn new(http: HttpClient, url: BaseUrl) -> Self {
        Self { http, url, seen: Mutex::default() }
    }

    /// Waits until the server has been there at some time after `since`; false if it has not by `deadline`.
    pub(super) async fn returns(&self, since: Instant, deadline: Instant) -> bool {
        let looking = async {
            let mut seen = self.seen.lock().await;
            while seen.there.is_none_or(|at| at < since) {
                self.once(&mut seen).await;
            }
        };
        timeout_at(deadline, looking).await.is_ok()
    }

    async fn once(&self, seen: &mut Seen) {
        if let Some(looked) = seen.looked {
            sleep_until(looked + PAUSE).await;
        }
        let answer = self.http.send(LOOK, self.http.inner().get(self.url.to_string())).await;
        let why = match answer {
            Ok(answer) => of_a_proxy(answer.status).then(|| format!("answers {}", answer.status)),
            Err(HttpError::TooLarge { .. }) => None,
            Err(error) => Some(error.to_string()),
        };
        let now = Instant::now();
        seen.looked = Some(now);
        let was_away = std::mem::replace(&mut seen.is_away, why.is_some());
        match why {
            None => {
                seen.there = Some(now);
                if was_away {
                    tracing::info!("mana-mcp is there again");
                }
            }
            Some(why) if !was_away => {
                tracing::warn!("mana-mcp is away ({why}); what did not reach it waits for it");
            }
            Some(_) => {}
        }
    }
}

/// What stands in front of a server says for one that is away.
fn of_a_proxy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}
