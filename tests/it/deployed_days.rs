//! Which builds the runs of several days met, as the compiled daemon and its command line tell.

use std::time::Duration;

use devstack::{Devstack, fault::Fault};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    process::daemon::{Daemon, Finished, finish},
    support::{Setup, patiently, start_peers},
};

/// A day of all personas, and the beginning of the next one.
async fn live(daemon: &Daemon, peers: &Devstack) {
    let (status, body) = daemon.call(Method::POST, "/diag/tick").await;
    assert_eq!((status, &body["result"]["ranSuccessfully"]), (StatusCode::OK, &json!(1)), "{body}");
    peers.clock.step_day();
    peers.clock.turn(Duration::from_secs(1));
}

/// Runs the command line on the journal of the daemon.
async fn ask(peers: &Devstack, arguments: &[&str]) -> String {
    let data_dir = ("RUNNER_DATA_DIR".into(), peers.data_folder().into());
    let Finished { code, stdout, stderr } = finish([data_dir], arguments).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

#[tokio::test]
async fn each_run_names_the_builds_it_began_and_ended_with_and_an_old_version_is_a_new_build() {
    let setup = Setup::many(&["anna"]).idle();
    let (peers, _) = start_peers(setup.peers, &setup.personas).await;
    let vars = [("PRODUCT_VERSION_URL", peers.product.version_url())];
    for version in ["1.4.0", "1.5.0", "1.4.0"] {
        peers.product.set_version(version);
        // A process asks for the version at its first tick, and later every 30 s at most.
        let daemon = Daemon::start(&peers, &vars).await;
        live(&daemon, &peers).await;
        daemon.signal("TERM").await;
        assert_eq!(daemon.ended().await.code, Some(0));
    }
    let daemon = Daemon::start(&peers, &vars).await;
    let (claude, answer) = (&peers.claude.served, CancellationToken::new());
    claude.recorder.clear();
    claude.faults.inject(1, Fault::Hold(answer.clone()), |_| true);
    let release = async {
        patiently("a run in flight", claude.recorder.wait_for(1, |_| true)).await;
        ask(&peers, &["release", "1.5.0", "--note", "again"]).await;
        answer.cancel();
    };
    tokio::join!(live(&daemon, &peers), release);
    // From now on only releases count.
    peers.product.set_version("1.6.0");
    live(&daemon, &peers).await;

    let export = ask(&peers, &["export"]).await;
    let lines: Vec<Value> =
        export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fields = |kind: &str, names: &[&str]| -> Vec<String> {
        let of_kind = lines.iter().filter(|line| line["kind"] == kind);
        let texts = |line: &Value| -> Vec<String> {
            names.iter().map(|name| line[*name].as_str().unwrap().to_owned()).collect()
        };
        of_kind.map(|line| texts(line).join(" ")).collect()
    };
    assert_eq!(
        fields("deployment", &["id", "version", "source"]),
        ["D-1 1.4.0 url", "D-2 1.5.0 url", "D-3 1.4.0 url", "D-4 1.5.0 release"]
    );
    assert_eq!(
        fields("run", &["slot", "deployment", "deploymentEnd"]),
        [
            "2026-03-09 D-1 D-1",
            "2026-03-10 D-2 D-2",
            "2026-03-11 D-3 D-3",
            // A release of the command line counts from the next tick on.
            "2026-03-12 D-3 D-3",
            "2026-03-13 D-4 D-4",
        ]
    );
}
