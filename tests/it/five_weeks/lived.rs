//! The days, and what remains of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use devstack::{
    Devstack, Options,
    auth::SeedPersona,
    catalog,
    chance::Chance,
    claude::{ClaudeOptions, Manner, ParsedRequest, Rates, Scripted},
    clock::Clock,
    fault::Fault,
    mcp::{PlantedFault, Shows, ToolSet},
};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    process::daemon::{Daemon, Finished, finish},
    support::{MONDAY, client, patiently, start_peers, variable},
};

/// The tool that fails in 50 instead of 2 of a hundred calls in the second build.
pub(super) const WORSE: &str = "todo.create";
/// The tool that never fails there, instead of in 30 of a hundred calls.
pub(super) const BETTER: &str = "notes.create";
/// All tools, with the input of each call as JSON.
const TOOLS: [(&str, &str); 8] = [
    (WORSE, r#"{"title": "Wäsche waschen"}"#),
    ("todo.list", r#"{"limit": 3}"#),
    (BETTER, r#"{"title": "Gedanke", "content": "Draußen riecht es nach Regen."}"#),
    ("notes.search", r#"{"query": "Regen", "limit": 3}"#),
    ("journal.add", r#"{"content": "Ein ruhiger Tag."}"#),
    ("journal.list", r#"{"limit": 3}"#),
    ("habits.create", r#"{"title": "Lesen", "frequency": "daily"}"#),
    ("habits.list", r#"{"limit": 3}"#),
];
/// In how many of a hundred runs each tool is used.
const USED: u64 = 50;
/// Decides which tools are used on which day.
const SEED: u64 = 15;
/// The last day of the first build, of the second one, and of all.
pub(super) const LAST: [i32; 3] = [28, 35, 42];
/// The persona that is in the middle of a run while the second build is deployed.
pub(super) const ACROSS: &str = "Ben";

/// What devstack knows of a run.
pub(super) struct Run {
    /// The id under which the run has posted its actions.
    pub id: String,
    /// The persona's e-mail without its domain.
    pub persona: String,
    pub day: Date,
    /// The tools that were called, once each, and whether the call failed.
    pub tools: BTreeMap<String, bool>,
    /// The modules that were rated.
    pub ratings: BTreeMap<String, i64>,
}

/// What `compare` has printed, as text and as JSON.
#[derive(Debug, PartialEq)]
pub(super) struct Compared {
    pub code: Option<i32>,
    pub printed: [String; 2],
}

impl Compared {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.printed[1]).unwrap()
    }
}

/// What remains of the six weeks.
pub(super) struct Lived {
    pub runs: Vec<Run>,
    /// What `compare` says without arguments on the last day of the second build, beside the daemon.
    pub changed: Compared,
    /// The same after the last day.
    pub rolled_back: Compared,
    /// What it says of the first build and of the same build after the rollback.
    pub unchanged: Compared,
    peers: Devstack,
}

pub(super) fn day(number: i32) -> Date {
    date(MONDAY.parse().unwrap()) + (number - 1).days()
}

fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

pub(super) async fn live() -> Lived {
    let claude = ClaudeOptions { keeps_requests: false, ..ClaudeOptions::default() };
    let mut options = Options { claude, folder_in_memory: true, ..Options::default() };
    options.mcp.tools = ToolSet::Only(TOOLS.map(|(name, _)| name.to_owned()).into());
    let personas = catalog::personas();
    let (peers, users) = start_peers(options, &personas).await;
    // No test reads these requests, and they would fill the memory.
    peers.stop_recording();
    let clock = peers.clock.clone();
    peers.claude.answer_with(move |request| spend_the_day(request, &clock));
    for persona in &personas {
        let manner = Manner { rates: Rates::Experience, ..Manner::default() };
        peers.claude.set_manner(&persona.system_prompt, manner);
    }
    let others = TOOLS.map(|(name, _)| name).into_iter().filter(|it| ![WORSE, BETTER].contains(it));
    let text = Shows::Text("Something went wrong, please try again".into());
    peers.mcp.plant(PlantedFault::new("chance", text).at(others).sometimes(2));

    let vars = [("PERSONA_CONCURRENCY", "10".to_owned()), ("BUDGET_DAILY_USD", "1000".to_owned())];
    let daemon = Daemon::start(&peers, &vars).await;
    deploy(&daemon, &peers, "1.4.0", [2, 30]).await;
    live_until(LAST[0] - 1, &daemon, &peers).await;
    live_through_a_deployment(&daemon, &peers, &personas).await;
    live_until(LAST[1], &daemon, &peers).await;
    let changed = compare(&peers, &[]).await;
    deploy(&daemon, &peers, "1.4.0", [2, 30]).await;
    live_until(LAST[2], &daemon, &peers).await;
    assert_eq!(peers.claude.violations(), Vec::<String>::new());
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code, Some(0));
    let emails = users.into_iter().zip(personas.into_iter().map(|persona| persona.email));
    let runs = runs(&peers, &emails.collect()).await;
    let (rolled_back, unchanged) = (compare(&peers, &[]).await, compare(&peers, &["D-1"]).await);
    Lived { runs, changed, rolled_back, unchanged, peers }
}

/// Releases a version in which [`WORSE`] and [`BETTER`] fail in this many of a hundred calls.
async fn deploy(daemon: &Daemon, peers: &Devstack, version: &str, percents: [u64; 2]) {
    let texts = ["Task {uuid} \"{title}\" could not be saved at {time}", "The note is locked"];
    for ((tool, percent), text) in [WORSE, BETTER].into_iter().zip(percents).zip(texts) {
        peers.mcp.uproot(tool);
        peers
            .mcp
            .plant(PlantedFault::new(tool, Shows::Text(text.into())).at([tool]).sometimes(percent));
    }
    let request = client().post(format!("{}/control/release", daemon.url));
    let key = variable(peers, "MANA_SERVICE_KEY");
    let body = json!({ "version": version }).to_string();
    let sent = request.header("x-service-key", key).body(body).send();
    assert_eq!(patiently("a release", sent).await.unwrap().status(), StatusCode::OK);
}

/// Lives the days up to this one.
async fn live_until(last: i32, daemon: &Daemon, peers: &Devstack) {
    while date(peers.clock.calendar()) <= day(last) {
        live_a_day(daemon, peers).await;
    }
}

async fn live_a_day(daemon: &Daemon, peers: &Devstack) {
    let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["result"]["failed"], json!([]), "{body}");
    // A persona is due more than a day after its last run.
    peers.clock.turn(Duration::from_secs(1));
    peers.clock.step_day();
}

/// The day, a Sunday, on which the second build is deployed: while one persona waits for its first reply, and after all
/// others have handed in their day.
async fn live_through_a_deployment(daemon: &Daemon, peers: &Devstack, personas: &[SeedPersona]) {
    let answer = CancellationToken::new();
    let is_across = |request: &devstack::recorder::Recorded| {
        String::from_utf8_lossy(&request.body).contains(&format!("Du bist {ACROSS}, "))
    };
    peers.claude.served.faults.inject(1, Fault::Hold(answer.clone()), is_across);
    let others = personas.iter().filter(|it| it.cadence == "daily" && it.name != ACROSS).count();
    let deployment = async {
        patiently("the days of the others", async {
            while runs_of_today(peers).await < others {
                tokio::task::yield_now().await;
            }
        })
        .await;
        deploy(daemon, peers, "1.5.0", [50, 0]).await;
        answer.cancel();
    };
    tokio::join!(live_a_day(daemon, peers), deployment);
}

async fn runs_of_today(peers: &Devstack) -> usize {
    let today = date(peers.clock.calendar());
    let rows = peers.auth.actions().await;
    let of_today = rows.iter().filter(|row| date(row.created_at) == today);
    of_today.map(|row| &row.tick_id).collect::<BTreeSet<_>>().len()
}

/// The persona calls the tools of the day in one reply, whatever happened before, and then says goodbye. How it rates
/// is left to devstack: less after failed calls.
fn spend_the_day(request: &ParsedRequest, clock: &Clock) -> Option<Scripted> {
    if request.is_rating() {
        return None;
    }
    let today = date(clock.calendar());
    let number = today.duration_since(Date::ZERO).as_hours().unsigned_abs();
    let is_used = |tool: &str| {
        Chance::named(SEED, &format!("{tool} {}", request.system), number).percent(USED)
    };
    let of_today = TOOLS.iter().filter(|(tool, _)| request.turn() == 0 && is_used(tool));
    let calls: Vec<(String, Value)> = of_today
        .map(|(tool, input)| (tool.replace('.', "_"), serde_json::from_str(input).unwrap()))
        .collect();
    let calls: Vec<_> = calls.iter().map(|(name, input)| (name.as_str(), input.clone())).collect();
    Some(if calls.is_empty() { Scripted::text("Bis morgen.") } else { Scripted::tools(&calls) })
}

/// All runs. `emails` are those of the users.
async fn runs(peers: &Devstack, emails: &BTreeMap<String, String>) -> Vec<Run> {
    let mut runs = BTreeMap::new();
    for row in peers.auth.actions().await {
        runs.entry(row.tick_id.clone()).or_insert_with(|| Run {
            id: row.tick_id,
            persona: emails[&row.persona_id].clone(),
            day: date(row.created_at),
            tools: BTreeMap::new(),
            ratings: BTreeMap::new(),
        });
    }
    for row in peers.auth.feedback().await {
        runs.get_mut(&row.tick_id).unwrap().ratings.insert(row.module, row.rating);
    }
    let mut runs: Vec<_> = runs.into_values().collect();
    // Each persona runs once a day.
    let mut by_day: BTreeMap<_, _> =
        runs.iter_mut().map(|run| ((run.persona.clone(), run.day), run)).collect();
    for call in peers.mcp.calls() {
        let run = by_day.get_mut(&(call.persona, date(call.at))).unwrap();
        let called = run.tools.insert(call.tool, call.is_error.unwrap());
        assert_eq!(called, None, "each tool is called once in a run");
    }
    for run in &mut runs {
        run.persona.truncate(run.persona.find('@').unwrap());
    }
    runs
}

/// What the command line says about the journal of these peers' runner.
async fn ask(peers: &Devstack, arguments: &[&str]) -> Finished {
    finish([("RUNNER_DATA_DIR".into(), peers.data_folder().into())], arguments).await
}

async fn compare(peers: &Devstack, arguments: &[&str]) -> Compared {
    let text = ask(peers, &[&["compare"], arguments].concat()).await;
    let json = ask(peers, &[&["compare", "--format", "json"], arguments].concat()).await;
    assert_eq!((json.code, json.stderr.as_str()), (text.code, ""), "{arguments:?}");
    assert_eq!(text.stderr, "", "{arguments:?}");
    Compared { code: text.code, printed: [text.stdout, json.stdout] }
}

impl Lived {
    /// The label of the persona with this name.
    pub(super) fn label(name: &str) -> String {
        format!("persona.{}", name.to_lowercase())
    }

    pub(super) fn run(&self, id: &str) -> &Run {
        self.runs.iter().find(|run| run.id == id).unwrap()
    }

    /// What the command line says after the last day.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Finished {
        ask(&self.peers, arguments).await
    }

    /// What `compare` says after the last day.
    pub(super) async fn compare(&self, arguments: &[&str]) -> Compared {
        compare(&self.peers, arguments).await
    }

    /// The file in which an export is kept, with this content.
    pub(super) fn keep(&self, export: &str) -> String {
        let file = self.peers.data_folder().join("facts.jsonl");
        std::fs::write(&file, export).unwrap();
        file.to_str().unwrap().to_owned()
    }
}
