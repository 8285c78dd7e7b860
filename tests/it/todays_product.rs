//! The product as it is today (docs/contracts/mana-mcp.md): its sync service answers in another form than the gateway
//! reads, so that most calls of a day fail. The report says that before anything else.

use std::time::Duration;

use devstack::{
    Options, catalog,
    claude::ClaudeOptions,
    days::offer_what_is_liked,
    mcp::{PlantedFault, Shows},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    facts_files::schema::Schemas,
    process::daemon::{Daemon, Finished, finish},
    support::start_peers,
};

/// What the gateway says where the sync service's answer has no `changes`.
const SAID: &str = "undefined is not an object (evaluating 'result.changes.length')";
/// The beginnings of the names of operations that read. They fail, and all that create something.
const READS: [&str; 5] = ["list", "search", "recent", "today", "get"];
const PERSONAS: usize = 4;

#[tokio::test]
async fn the_first_line_is_that_most_calls_fail_and_no_rating() {
    let claude = ClaudeOptions { keeps_requests: false, ..ClaudeOptions::default() };
    let options = Options { claude, folder_in_memory: true, ..Options::default() };
    let (peers, _) = start_peers(options, &catalog::personas()[..PERSONAS]).await;
    offer_what_is_liked(&peers.mcp).unwrap();
    let all = peers.mcp.listed_tools();
    let fails = |name: &str| {
        let operation = name.rsplit('.').next().unwrap_or_default();
        READS.iter().any(|read| operation.starts_with(read)) || operation == "create"
    };
    let names = all.iter().filter_map(|tool| tool["name"].as_str()).filter(|name| fails(name));
    let fault = PlantedFault::new("gateway", Shows::Text(SAID.into()));
    peers.mcp.plant(fault.at(names.map(str::to_owned).collect::<Vec<_>>()));
    let daemon = Daemon::start(&peers, &[]).await;
    for _ in 0..3 {
        let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
        assert_eq!((status, &body["result"]["failed"]), (StatusCode::OK, &json!([])), "{body}");
        peers.clock.advance(Duration::from_mins(1));
        peers.clock.step_day();
    }
    let ask = async |arguments: &[&str]| {
        let data_dir = ("RUNNER_DATA_DIR".into(), peers.data_folder().into());
        let days = ["report", "--from", "2026-03-09", "--to", "2026-03-11"];
        let Finished { code, stdout, stderr } =
            finish([data_dir], &[&days[..], arguments].concat()).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        stdout
    };
    let report: Value = serde_json::from_str(&ask(&["--format", "json"]).await).unwrap();
    Schemas::read().report(&report);
    let answered = peers.mcp.calls();
    let failed = answered.iter().filter(|call| call.is_error == Some(true)).count();
    assert!(failed * 2 > answered.len(), "{failed} of {}", answered.len());
    let sentence = report["sentence"].as_str().unwrap();
    let counts = format!("{failed} von {}", answered.len());
    assert!(sentence.starts_with("Die meisten Aufrufe scheitern"), "{sentence}");
    assert!(
        sentence.contains(&counts) && sentence.contains("undefined is not an object"),
        "{sentence}"
    );
    for (form, begin) in [("md", "# "), ("html", "<h1>")] {
        let text = ask(&["--format", form]).await;
        let at = text.find(begin).unwrap() + begin.len();
        assert!(text[at..].starts_with("Die meisten Aufrufe scheitern"), "{text}");
    }
    let english = ask(&["--format", "md", "--lang", "en"]).await;
    assert!(english.starts_with("# Most calls fail"), "{english}");
}
