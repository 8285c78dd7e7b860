//! The environment of a test: devstack's peers and the real daemon, all on free ports.

pub(crate) mod logs;

use std::{ffi::OsString, time::Duration};

use devstack::{
    Devstack, Options,
    auth::{ActionRow, FeedbackRow, NewerOptions, SeedPersona},
    catalog,
    clock::Clock as PeerClock,
    mcp::ToolSet,
    recorder::Recorded,
    wire::Served,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use mana_persona_runner::{
    app::{App, PlanError, ProcessEnd, plan_tick},
    clock::Clock,
    config::Config,
    domain::{Plan, derive_password},
    journal::{FILE_NAME, Journal},
    shutdown::Shutdown,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tokio::task::JoinHandle;

/// A Monday at noon in Berlin: every persona of the catalog can be due.
pub(crate) const MONDAY: &str = "2026-03-09T11:00:00Z";
/// The secret from which the personas' passwords are derived.
pub(crate) const SEED_SECRET: &str = "it-seed-secret";
/// Time limit of every wait in a test; reached only if something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Paths of mana-auth's user path.
pub(crate) mod path {
    pub(crate) const LOGIN: &str = "/api/v1/auth/login";
    pub(crate) const SIGN_IN: &str = "/api/auth/sign-in/email";
    pub(crate) const SPACES: &str = "/api/auth/organization/list";
    pub(crate) const TOKEN: &str = "/api/auth/token";
    pub(crate) const VAULT: &str = "/api/v1/me/encryption-vault/init";
}

/// The output of `future`; the test fails after [`PATIENCE`].
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("gave up: {what}"))
}

/// Runs `test` for every case at the same time, because most of the cases wait most of the time.
pub(crate) async fn for_each<C, F: Future<Output = ()>>(
    cases: impl IntoIterator<Item = C>,
    test: impl FnMut(C) -> F,
) {
    join_all(cases.into_iter().map(test)).await;
}

/// An HTTP client that ignores the proxy settings of the environment.
pub(crate) fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// How a world differs from the default one: no personas, one tick a year, 2 personas at the same time.
#[derive(Default)]
pub(crate) struct Setup {
    /// Options of devstack's peers.
    pub peers: Options,
    /// The personas that are created before the daemon starts.
    pub personas: Vec<SeedPersona>,
    /// Environment variables in addition to the default ones; an empty value unsets a variable.
    pub vars: Vec<(&'static str, String)>,
    /// Serves the three internal endpoints from the newer service instead of mana-auth
    /// ([`World::elsewhere`]).
    pub personas_elsewhere: Option<NewerOptions>,
}

impl Setup {
    /// One persona, `anna`, that uses these modules.
    pub(crate) fn one(modules: &[&str]) -> Self {
        Self { personas: vec![persona("anna", modules)], ..Self::default() }
    }

    /// One persona for each of these names, all using the module habits.
    pub(crate) fn many<S: AsRef<str>>(names: &[S]) -> Self {
        let personas = names.iter().map(|name| persona(name.as_ref(), &["habits"])).collect();
        Self { personas, ..Self::default() }
    }

    /// The ten personas of the catalog.
    pub(crate) fn catalog() -> Self {
        Self { personas: catalog::personas(), ..Self::default() }
    }

    /// Makes the personas end their day with their first reply: no tool call, no rating, one `__idle` row.
    pub(crate) fn idle(self) -> Self {
        self.peers(|peers| peers.claude.replies = 1)
    }

    /// Sets an environment variable of the daemon.
    pub(crate) fn var(mut self, name: &'static str, value: impl ToString) -> Self {
        self.vars.push((name, value.to_string()));
        self
    }

    /// Changes the options of the peers.
    pub(crate) fn peers(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.peers);
        self
    }

    /// Days of one reply with calls of the module habits and one reply with a final text, for tests in which
    /// the personas' actions do not matter.
    pub(crate) fn short_days(self) -> Self {
        let habits = ["habits.create", "habits.list"].map(str::to_owned);
        self.peers(|peers| {
            peers.claude.replies = 2;
            peers.mcp.tools = ToolSet::Only(habits.into());
        })
    }

    /// Starts the peers and the daemon.
    pub(crate) async fn start(self) -> World {
        World::start(self).await
    }
}

/// A persona of this name that is due daily.
pub(crate) fn persona(name: &str, modules: &[&str]) -> SeedPersona {
    let weight = 1.0 / modules.len().max(1) as f64;
    SeedPersona {
        name: name.to_owned(),
        email: format!("persona.{name}@mana.test"),
        archetype: "adhd-student".into(),
        system_prompt: format!("Du bist {name}, 28, und schreibst kurz."),
        module_mix: modules.iter().map(|m| ((*m).to_owned(), json!(weight))).collect(),
        cadence: "daily".into(),
    }
}

/// A running devstack and a running daemon.
pub(crate) struct World {
    /// The peers that the daemon uses.
    pub peers: Devstack,
    /// User ids of the seeded personas.
    pub users: Vec<String>,
    /// The newer service with the three internal endpoints, if [`Setup::personas_elsewhere`] is set.
    pub elsewhere: Option<Served>,
    /// The clock of the daemon.
    pub clock: Clock,
    /// Base URL of the daemon.
    pub url: String,
    /// The handle that stops the daemon.
    pub shutdown: Shutdown,
    client: Client,
    daemon: JoinHandle<ProcessEnd>,
    vars: Vec<(&'static str, String)>,
}

impl World {
    async fn start(mut setup: Setup) -> Self {
        let (peers, users) = start_peers(setup.peers, &setup.personas).await;
        let mut elsewhere = None;
        if let Some(options) = setup.personas_elsewhere {
            let served = peers.auth.serve_personas_elsewhere(options).await.unwrap();
            setup.vars.push(("MANA_API_URL", served.url.clone()));
            elsewhere = Some(served);
        }
        let clock = Clock::manual(MONDAY.parse().unwrap());
        let (url, shutdown, daemon) = start_daemon(&peers, &setup.vars, &clock).await;
        let (client, vars) = (client(), setup.vars);
        Self { peers, users, elsewhere, clock, url, shutdown, client, daemon, vars }
    }

    /// Drops the daemon in the middle of its work. The next daemon finds what a kill -9 leaves.
    pub(crate) async fn kill(&mut self) {
        self.shutdown.abort();
        self.ended().await;
    }

    /// Starts another daemon after one has ended, with these variables changed.
    pub(crate) async fn start_again(&mut self, changed: &[(&'static str, &str)]) {
        for (name, value) in changed {
            self.vars.retain(|(known, _)| known != name);
            self.vars.push((name, (*value).to_owned()));
        }
        let started = start_daemon(&self.peers, &self.vars, &self.clock).await;
        (self.url, self.shutdown, self.daemon) = started;
    }

    /// The daemon's journal, opened as its command line opens it.
    pub(crate) async fn journal(&self) -> Journal {
        Journal::open_read_only(self.peers.data_folder()).await.unwrap()
    }

    /// Calls a route of /control with the service key.
    pub(crate) async fn control(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let key = variable(&self.peers, "MANA_SERVICE_KEY");
        let request = self.client.request(method, format!("{}/control/{path}", self.url));
        let response = patiently(path, request.header("x-service-key", key).send()).await.unwrap();
        let status = response.status();
        let body = patiently(path, response.bytes()).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Waits until no tick and no recovery is in flight; until then another tick is refused. The end of a run
    /// is in the journal earlier than that.
    pub(crate) async fn nothing_in_flight(&self) {
        patiently("the end of the tick", async {
            while self.control(Method::GET, "status").await.1["tickInFlight"] != json!(false) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until `is_so` returns `true` for the journal.
    pub(crate) async fn journal_reaches(&self, what: &str, is_so: impl AsyncFn(&Journal) -> bool) {
        let journal = self.journal().await;
        patiently(what, async {
            while !is_so(&journal).await {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Sends a request without a body to the daemon; returns the status and the JSON body.
    pub(crate) async fn call(&self, method: Method, path: &str) -> (StatusCode, Value) {
        call(&self.client, method, &format!("{}{path}", self.url)).await
    }

    /// Requests a tick and returns its result.
    pub(crate) async fn tick(&self) -> Value {
        let (status, body) = self.call(Method::POST, "/diag/tick").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["result"].clone()
    }

    /// Requests a tick without waiting for its end.
    pub(crate) fn begin_tick(&self) -> JoinHandle<(StatusCode, Value)> {
        let request = self.client.post(format!("{}/diag/tick", self.url));
        tokio::spawn(async move {
            let response = request.send().await.unwrap();
            let status = response.status();
            let body = response.bytes().await.unwrap_or_default();
            (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
        })
    }

    /// Requests a tick in which no run may fail.
    pub(crate) async fn good_tick(&self) -> Value {
        let result = self.tick().await;
        assert_eq!(result["failed"], json!([]), "{result}");
        result
    }

    /// The text of /metrics.
    pub(crate) async fn metrics(&self) -> String {
        let response = self.client.get(format!("{}/metrics", self.url)).send();
        patiently("/metrics", response).await.unwrap().text().await.unwrap()
    }

    /// The value of one series of /metrics; `series` is given without the common prefix.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let name = format!("mana_persona_runner_{series} ");
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned));
        line.map(|value| value.parse().unwrap())
    }

    /// Waits until a series of /metrics that only grows has at least this value.
    pub(crate) async fn metric_reaches(&self, series: &str, at_least: f64) {
        patiently(series, async {
            while self.metric(series).await.unwrap_or_default() < at_least {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Advances the clocks of the daemon and of the peers.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.peers.clock.advance(by);
    }

    /// The requests that mana-auth received at `path`, limited to those with this header if one is given.
    pub(crate) fn asked(&self, path: &str, header: Option<&str>) -> Vec<Recorded> {
        let carries = |r: &Recorded| header.is_none_or(|name| r.headers.contains_key(name));
        self.peers.auth.served.recorder.matching(|r| r.path() == path && carries(r))
    }

    /// Number of requests that the three peers have received together.
    pub(crate) fn upstream_requests(&self) -> usize {
        let Devstack { auth, mcp, claude, .. } = &self.peers;
        [&auth.served, &mcp.served, &claude.served]
            .map(|peer| peer.recorder.all().len())
            .iter()
            .sum()
    }

    /// The requests that opened MCP sessions.
    pub(crate) fn initializes(&self) -> Vec<Recorded> {
        self.peers.mcp.served.recorder.matching(|r| r.json()["method"] == "initialize")
    }

    /// The body of /health, whose status is always 200.
    pub(crate) async fn health(&self) -> Value {
        let (status, body) = self.call(Method::GET, "/health").await;
        assert_eq!(status, StatusCode::OK);
        body
    }

    /// All rows of the table persona_actions.
    pub(crate) async fn actions(&self) -> Vec<ActionRow> {
        self.peers.auth.actions().await
    }

    /// All rows of the table persona_feedback.
    pub(crate) async fn feedback(&self) -> Vec<FeedbackRow> {
        self.peers.auth.feedback().await
    }

    /// Stops the daemon and waits until it has ended.
    pub(crate) async fn stop(&mut self) -> ProcessEnd {
        self.shutdown.stop();
        self.ended().await
    }

    /// The plan of a tick, made with the variables and the clock of the daemon, which need not run.
    pub(crate) async fn plan(&self) -> Result<Plan, PlanError> {
        let config = Config::for_plan(variables(&self.peers, &self.vars)).unwrap();
        patiently("the plan", plan_tick(&config, &self.clock)).await
    }

    /// Waits until the daemon has ended.
    pub(crate) async fn ended(&mut self) -> ProcessEnd {
        patiently("the end of the daemon", &mut self.daemon).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A model request that breaks the contract is a bug in every test.
        if !std::thread::panicking() {
            assert_eq!(self.peers.claude.violations(), Vec::<String>::new());
        }
    }
}

async fn start_daemon(
    peers: &Devstack,
    vars: &[(&'static str, String)],
    clock: &Clock,
) -> (String, Shutdown, JoinHandle<ProcessEnd>) {
    let config = Config::from_vars(variables(peers, vars)).unwrap();
    let app = App::build(config, clock.clone()).await.unwrap();
    let url = format!("http://{}", app.local_addr().unwrap());
    (url, app.shutdown(), tokio::spawn(app.run()))
}

/// The value of one of the variables that point a daemon at these peers.
pub(crate) fn variable<'p>(peers: &'p Devstack, name: &str) -> &'p str {
    let all = peers.environment();
    all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str()).unwrap()
}

/// Starts peers on a Monday with these personas; returns the peers and the personas' user ids.
pub(crate) async fn start_peers(
    options: Options,
    personas: &[SeedPersona],
) -> (Devstack, Vec<String>) {
    let monday: Timestamp = MONDAY.parse().unwrap();
    let peers = Devstack::start(options, PeerClock::starting_at(monday)).await.unwrap();
    let password = |email: &str| derive_password(SEED_SECRET, email);
    let users = peers.auth.seed(personas, password).await.unwrap();
    (peers, users)
}

/// Sends a request without a body; returns the status and the body (`Null` if it is not JSON).
pub(crate) async fn call(client: &Client, method: Method, url: &str) -> (StatusCode, Value) {
    let response = patiently(url, client.request(method, url).send()).await.unwrap();
    let status = response.status();
    let body = patiently(url, response.bytes()).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// The error in this persona's entry in `failed[]` of a tick's result. Panics if there is more than one
/// entry.
pub(crate) fn failure_of<'r>(result: &'r Value, name: &str) -> Option<&'r str> {
    let email = format!("persona.{name}@mana.test");
    let mut entries = result["failed"].as_array().unwrap().iter().filter(|f| f["persona"] == email);
    let entry = entries.next();
    assert_eq!(entries.next(), None, "more than one entry of {name}: {result}");
    entry.map(|entry| entry["error"].as_str().unwrap())
}

/// The environment of a daemon that uses these peers.
pub(crate) fn variables(
    peers: &Devstack,
    further: &[(&'static str, String)],
) -> Vec<(OsString, OsString)> {
    let ordinary = [
        ("PORT", "0".to_owned()),
        ("PERSONA_SEED_SECRET", SEED_SECRET.to_owned()),
        ("TICK_INTERVAL_MS", "31536000000".to_owned()),
        ("RUNNER_ENV", "test".to_owned()),
    ];
    let mut all: Vec<(&str, String)> = ordinary.into_iter().collect();
    all.extend(peers.environment().iter().cloned());
    for (name, value) in further {
        all.retain(|(known, _)| known != name);
        all.push((name, value.clone()));
    }
    all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The rows of a query on the daemon's journal, as text with `|` between the columns.
pub(crate) async fn in_journal(world: &World, sql: &'static str) -> Vec<String> {
    let file = world.peers.data_folder().join(FILE_NAME);
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}
