//! The report that the daemon writes every week, and its post to the webhook.

use std::{fs, path::Path, time::Duration};

use devstack::{Devstack, fault::Fault, webhook::Webhook};
use jiff::Timestamp;
use mana_persona_runner::{
    domain::Week,
    journal::{Journal, PostState, StoredReport},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    process::daemon::{Daemon, Finished, finish},
    support::{Setup, patiently, start_peers},
};

const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(7 * 24);
const ZONE: &str = "Pacific/Auckland";
/// The Monday after the tests begin, at 06:00 in [`ZONE`].
const DUE: &str = "2026-03-15T17:00:00Z";

/// A tick in which the only persona spends its day.
async fn live(daemon: &Daemon) {
    let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!((status, &body["result"]["failed"]), (StatusCode::OK, &json!([])), "{body}");
}

fn week(text: &str) -> Week {
    text.parse().unwrap()
}

/// Waits until the report of a week is stored and `is_so` is true for it.
async fn stored(folder: &Path, week: Week, is_so: impl Fn(&StoredReport) -> bool) -> StoredReport {
    let journal = Journal::open_read_only(folder).await.unwrap();
    patiently("a report", async {
        loop {
            match journal.report(week).await.unwrap().filter(&is_so) {
                Some(report) => break report,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

async fn posted(folder: &Path, week: Week, state: PostState) -> StoredReport {
    stored(folder, week, |report| report.post == state).await
}

async fn weeks(folder: &Path) -> Vec<Week> {
    let journal = Journal::open_read_only(folder).await.unwrap();
    journal.weeks_with_reports().await.unwrap()
}

/// Waits for the files of a report, and checks that they are its texts.
async fn assert_files(folder: &Path, report: &StoredReport) {
    let file = |ending| folder.join("reports").join(format!("{}.{ending}", report.week));
    let last = file("json");
    patiently("the files", async {
        while !last.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for (ending, text) in [("html", &report.html), ("md", &report.markdown), ("json", &report.json)]
    {
        assert_eq!(fs::read_to_string(file(ending)).unwrap(), *text, "{ending}");
    }
}

/// Runs the command line on the journal of the daemon.
async fn ask(peers: &Devstack, arguments: &[&str]) -> String {
    ask_with(peers, None, arguments).await
}

/// Like [`ask`], with REPORT_LANG.
async fn ask_with(peers: &Devstack, language: Option<&str>, arguments: &[&str]) -> String {
    let data_dir = ("RUNNER_DATA_DIR".into(), peers.data_folder().into());
    let language = language.map(|language| ("REPORT_LANG".into(), language.into()));
    let vars = [data_dir].into_iter().chain(language);
    let Finished { code, stdout, stderr } = finish(vars, arguments).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

async fn arrived(webhook: &Webhook, requests: usize) {
    patiently("a report", webhook.served.recorder.wait_for(requests, |_| true)).await;
}

async fn end(daemon: Daemon, signal: &str) {
    daemon.signal(signal).await;
    daemon.ended().await;
}

#[tokio::test]
async fn a_week_that_is_over_is_reported_once_whatever_happens_to_webhook_and_daemon() {
    let setup = Setup::many(&["anna"]).idle();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let (webhook, another) = (Webhook::start().await.unwrap(), Webhook::start().await.unwrap());
    let vars = |webhook: &Webhook| {
        [
            ("TZ", ZONE.to_owned()),
            ("REPORT_WEBHOOK_URL", webhook.url()),
            ("REPORT_LANG", "en".into()),
            ("UI_BASE_URL", "https://runner.example/".into()),
        ]
    };
    let folder = peers.data_folder().to_owned();
    let first = week("2026-W11");
    let due: Timestamp = DUE.parse().unwrap();
    let daemon = Daemon::start(&peers, &vars(&webhook)).await;
    for _ in 0..3 {
        live(&daemon).await;
        peers.clock.step_day();
    }
    let minute = Duration::from_mins(1);
    let left = due.duration_since(peers.clock.calendar()).unsigned_abs();
    peers.clock.turn(left - minute);
    live(&daemon).await;

    // The webhook fails once, and then answers nothing, while ticks go on.
    let answer = CancellationToken::new();
    webhook.served.faults.inject(1, Fault::status(503, "{}"), |_| true);
    webhook.served.faults.inject(1, Fault::Hold(answer.clone()), |_| true);
    peers.clock.turn(minute);
    live(&daemon).await;
    let report = posted(&folder, first, PostState::Waiting).await;
    assert!(report.written_at >= due, "{report:?}");
    assert_files(&folder, &report).await;
    let of_report: Value = serde_json::from_str(&report.json).unwrap();
    let window = (&of_report["window"]["from"], &of_report["window"]["to"]);
    assert_eq!(
        (&of_report["schema"], window),
        (&json!("report/v1"), (&json!("2026-03-09"), &json!("2026-03-15")))
    );
    assert!(of_report["fleet"]["runs"].as_u64() > Some(0), "{of_report}");
    arrived(&webhook, 2).await;
    peers.clock.step_day();
    live(&daemon).await;
    let metrics = daemon.metrics().await;
    assert!(metrics.contains("\nmana_persona_runner_reports_written_total 1\n"), "{metrics}");
    assert!(metrics.contains("\nmana_persona_runner_report_unwritten 0\n"), "{metrics}");

    // What waits goes to the URL that is set now, at once if a person asks for that.
    end(daemon, "KILL").await;
    assert!(ask(&peers, &["outbox", "retry"]).await.starts_with("1 report marked"));
    answer.cancel();
    fs::remove_file(folder.join("reports/2026-W11.html")).unwrap();
    let daemon = Daemon::start(&peers, &vars(&another)).await;
    posted(&folder, first, PostState::Delivered).await;
    assert_eq!(another.weeks(), ["2026-03-09"]);
    let body = another.served.recorder.all()[0].json();
    assert_eq!(body["report"], of_report);
    assert_eq!(body["link"], "https://runner.example/ui/reports/2026-W11.html");
    assert_eq!(webhook.weeks(), ["2026-03-09", "2026-03-09"]);
    let page = folder.join("reports/2026-W11.html");
    patiently("the file", async {
        while !page.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_files(&folder, &report).await;

    // The command asks for the same week in the language of REPORT_LANG, which is German by default.
    let sentence = async |language| {
        let arguments = ["report", "--week", "2026-W11", "--format", "json"];
        let report: Value =
            serde_json::from_str(&ask_with(&peers, language, &arguments).await).unwrap();
        report["sentence"].clone()
    };
    assert_eq!(sentence(Some("en")).await, of_report["sentence"]);
    let german = sentence(None).await;
    assert_ne!(german, of_report["sentence"]);
    for language in ["de", "fr"] {
        assert_eq!(sentence(Some(language)).await, german, "{language}");
    }
    end(daemon, "TERM").await;

    // Three weeks later only the newest one is made up for. The webhook refuses it.
    peers.clock.turn(WEEK * 3);
    webhook.served.faults.inject(1, Fault::status(410, "{}"), |_| true);
    let daemon = Daemon::start(&peers, &vars(&webhook)).await;
    live(&daemon).await;
    let missed = week("2026-W14");
    posted(&folder, missed, PostState::Refused).await;
    assert_eq!(weeks(&folder).await, [missed, first]);
    let list = ask(&peers, &["outbox"]).await;
    assert!(list.contains("2026-W14") && list.contains("the webhook answered 410"), "{list}");
    assert!(ask(&peers, &["outbox", "retry"]).await.starts_with("1 report marked"));
    posted(&folder, missed, PostState::Delivered).await;
    assert_eq!(webhook.weeks()[2..], ["2026-03-30", "2026-03-30"]);
    end(daemon, "TERM").await;
}

#[tokio::test]
async fn without_a_webhook_nothing_is_posted_and_with_report_at_off_nothing_is_written() {
    let webhook = Webhook::start().await.unwrap();
    webhook.served.refuse_connections().await.unwrap();
    let setup = Setup::many(&["anna"]).idle().var("REPORT_WEBHOOK_URL", webhook.url());
    let mut world = setup.start().await;
    let folder = world.peers.data_folder().to_owned();
    world.good_tick().await;
    // A file is in the place of the folder of the reports.
    fs::write(folder.join("reports"), "").unwrap();
    world.advance(WEEK);
    world.good_tick().await;
    let first = posted(&folder, week("2026-W11"), PostState::Waiting).await;
    world.metric_reaches("report_unwritten", 1.0).await;
    world.metric_reaches("reports_unposted{state=\"waiting\"}", 1.0).await;
    world.stop().await;
    fs::remove_file(folder.join("reports")).unwrap();

    webhook.served.accept_again().unwrap();
    world.advance(WEEK);
    world.start_again(&[("REPORT_AT", "off")]).await;
    world.good_tick().await;
    posted(&folder, first.week, PostState::Delivered).await;
    assert_files(&folder, &first).await;
    assert_eq!(weeks(&folder).await, [first.week]);
    world.stop().await;

    world.advance(DAY);
    world.start_again(&[("REPORT_AT", "TUE 00:30"), ("REPORT_WEBHOOK_URL", "")]).await;
    world.good_tick().await;
    let second = posted(&folder, week("2026-W12"), PostState::None).await;
    assert_files(&folder, &second).await;
    assert_eq!(webhook.weeks(), ["2026-03-09"]);
    world.metric_reaches("reports_written_total", 1.0).await;
    world.stop().await;
}
