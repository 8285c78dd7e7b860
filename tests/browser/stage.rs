//! The environment of a test: devstack's peers, the compiled daemon with its journal, and a browser that is logged in.

use std::{path::Path, time::Duration};

use devstack::{Devstack, Options, auth::SeedPersona, clock::Clock, daemon::Daemon};
use jiff::Timestamp;
use mana_persona_runner::domain::derive_password;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    lived::{self, Lived},
};

/// Time limit of every wait in a test; reached only if something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The key of the page.
pub(crate) const KEY: &str = "a-key-for-the-page-in-a-browser";

const SEED_SECRET: &str = "browser-seed-secret";
const DAEMON: &str = env!("CARGO_BIN_EXE_mana-persona-runner");

/// The output of `future`; the test fails after [`PATIENCE`].
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("gave up: {what}"))
}

/// A daemon whose page is read.
pub(crate) struct Stage {
    pub peers: Devstack,
    pub daemon: Daemon,
}

impl Stage {
    /// A daemon with the journal of two weeks. Nobody is due.
    pub(crate) async fn lived() -> Self {
        let lived = Lived::get().await;
        let (peers, _) = start_peers(Options::default(), lived::end(), &[]).await;
        lived.write_to(peers.data_folder());
        let daemon = start_daemon(&peers, &[]).await;
        Self { peers, daemon }
    }

    /// The same with another daemon, at the same address and with the same journal, after the first one was stopped.
    pub(crate) async fn restarted(self) -> Self {
        let Self { peers, daemon } = self;
        let port = daemon.url.rsplit_once(':').unwrap().1.to_owned();
        assert!(daemon.stop(PATIENCE).await.unwrap().success());
        let daemon = start_daemon(&peers, &[("PORT", port)]).await;
        Self { peers, daemon }
    }

    /// Waits until no run is in flight.
    pub(crate) async fn nothing_in_flight(&self) {
        let is_running = async || {
            let status =
                control(&self.peers, &self.daemon, Method::GET, "status", &json!({})).await;
            status["tickInFlight"] != false
        };
        patiently("the end of all runs", async { while is_running().await {} }).await;
    }

    /// A browser that has not logged in.
    pub(crate) async fn stranger(&self) -> Browser {
        Browser::start(&self.daemon.url).await
    }

    /// A browser that has logged in and shows `/ui`.
    pub(crate) async fn reader(&self) -> Browser {
        let browser = self.stranger().await;
        browser.visit("/ui/login").await;
        browser.log_in(KEY).await;
        browser.comes_to("/ui").await;
        browser
    }

    /// What a page says as JSON.
    pub(crate) async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// The text of a page.
    pub(crate) async fn text(&self, path: &str) -> String {
        self.text_with(path, StatusCode::OK).await
    }

    /// The text of a page that has this status.
    pub(crate) async fn text_with(&self, path: &str, status: StatusCode) -> String {
        let request = self.daemon.client.get(format!("{}{path}", self.daemon.url));
        let answer = patiently(path, request.bearer_auth(KEY).send()).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        answer.text().await.unwrap()
    }
}

/// Starts peers at this time with these personas; returns the peers and the personas' user ids.
pub(crate) async fn start_peers(
    options: Options,
    at: Timestamp,
    personas: &[SeedPersona],
) -> (Devstack, Vec<String>) {
    let peers = Devstack::start(options, Clock::starting_at(at)).await.unwrap();
    let password = |email: &str| derive_password(SEED_SECRET, email);
    let users = peers.auth.seed(personas, password).await.unwrap();
    (peers, users)
}

/// Starts the compiled daemon with these peers; ticks come only on request. `further` variables replace the usual ones.
pub(crate) async fn start_daemon(peers: &Devstack, further: &[(&'static str, String)]) -> Daemon {
    let usual = [
        ("PERSONA_SEED_SECRET", SEED_SECRET.to_owned()),
        ("TICK_INTERVAL_MS", "31536000000".to_owned()),
        ("RUNNER_ENV", "test".to_owned()),
        ("TZ", "Europe/Berlin".to_owned()),
        ("UI_KEY", KEY.to_owned()),
    ];
    let all = usual.into_iter().chain(peers.environment().iter().cloned());
    Daemon::start(Path::new(DAEMON), all.chain(further.iter().cloned())).await.unwrap()
}

/// The answer of a route of /control.
pub(crate) async fn control(
    peers: &Devstack,
    daemon: &Daemon,
    method: Method,
    route: &str,
    body: &Value,
) -> Value {
    let key = peers.environment().iter().find(|(name, _)| *name == "MANA_SERVICE_KEY");
    let request = daemon
        .client
        .request(method, format!("{}/control/{route}", daemon.url))
        .header("x-service-key", &key.unwrap().1)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = patiently(route, request.send()).await.unwrap().error_for_status().unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}
