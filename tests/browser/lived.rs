//! The journal that the tests read: the two weeks of the demo's story and the Monday after them, lived once for all tests
//! with the compiled daemon.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use devstack::{
    Devstack, Options, catalog,
    claude::ClaudeOptions,
    daemon::Daemon,
    story::{self, Event},
};
use jiff::{Timestamp, tz::TimeZone};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::stage::{self, patiently};

/// The week with the deployments and the outage. Its report is stored.
pub(crate) const WEEK: &str = "2026-W12";
/// The tool that a deployment of that week breaks: the first friction.
pub(crate) const BROKEN: &str = "todo.complete";

/// The Monday of the first week, at noon in Berlin.
const BEGIN: &str = "2026-03-09T11:00:00Z";
/// The Monday after the last week, a moment after noon.
const END: &str = "2026-03-23T11:30:00Z";
const DAYS: usize = 15;

/// The files of a data folder, by their paths in it.
pub(crate) struct Lived(Vec<(PathBuf, Vec<u8>)>);

impl Lived {
    /// The two weeks. The first caller waits until they are lived.
    pub(crate) async fn get() -> &'static Self {
        static LIVED: OnceCell<Lived> = OnceCell::const_new();
        LIVED.get_or_init(live).await
    }

    /// Writes the files into a data folder.
    pub(crate) fn write_to(&self, folder: &Path) {
        for (path, bytes) in &self.0 {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

async fn live() -> Lived {
    let claude = ClaudeOptions { keeps_requests: false, ..ClaudeOptions::default() };
    let options = Options { claude, folder_in_memory: true, ..Options::default() };
    let personas = catalog::personas();
    let (peers, _) = stage::start_peers(options, begin(), &personas).await;
    peers.stop_recording();
    story::begin(&peers).unwrap();
    let vars = [
        ("PERSONA_CONCURRENCY", "10".to_owned()),
        ("BUDGET_DAILY_USD", "1000".to_owned()),
        ("PRODUCT_VERSION", "1.4.0".to_owned()),
    ];
    let daemon = stage::start_daemon(&peers, &vars).await;
    for day in 0..DAYS {
        live_day(&peers, &daemon, (7..14).contains(&day)).await;
    }
    let folder = peers.data_folder().to_owned();
    let report = folder.join(format!("reports/{WEEK}.json"));
    patiently("the report", async {
        while !report.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(daemon.stop(stage::PATIENCE).await.unwrap().success());
    assert_eq!(peers.claude.violations(), Vec::<String>::new());
    Lived(files(&folder))
}

async fn live_day(peers: &Devstack, daemon: &Daemon, is_eventful: bool) {
    let today = peers.clock.calendar().to_zoned(TimeZone::UTC);
    let event = Event::on(today.weekday()).filter(|_| is_eventful);
    if let Some(event) = event {
        event.prepare(peers);
        if let Some(version) = event.deploys() {
            let release = json!({ "version": version });
            stage::control(peers, daemon, Method::POST, "release", &release).await;
        }
    }
    let strike = async {
        if let Some(event) = event {
            event.strike(peers, |_| {}).await;
        }
    };
    let (result, ()) = patiently("a day", async { tokio::join!(tick(daemon), strike) }).await;
    assert_eq!(result["failed"], json!([]), "{today}: {result}");
    // A persona is due more than a day after its last run, and mana-mcp limits the calls of a minute.
    peers.clock.advance(Duration::from_mins(1));
    peers.clock.step_day();
}

/// A tick, from its request to its end.
pub(crate) async fn tick(daemon: &Daemon) -> Value {
    let answer = daemon.client.post(format!("{}/diag/tick", daemon.url)).send().await.unwrap();
    let body = answer.error_for_status().unwrap().bytes().await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["result"].clone()
}

/// All files of a folder and of the folders in it.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn visit(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => visit(root, &path, files),
                false => {
                    let name = path.strip_prefix(root).unwrap().to_owned();
                    files.push((name, fs::read(path).unwrap()));
                }
            }
        }
    }
    let mut files = Vec::new();
    visit(folder, folder, &mut files);
    files
}

/// The Monday on which the first week begins.
pub(crate) fn begin() -> Timestamp {
    BEGIN.parse().unwrap()
}

/// The time at which the journal is read: a Monday.
pub(crate) fn end() -> Timestamp {
    END.parse().unwrap()
}
