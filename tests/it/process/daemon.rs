//! The compiled binary as a running process.

use std::{
    ffi::OsString,
    process::{Output, Stdio},
};

use devstack::Devstack;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::support::{call, patiently, variables};

/// The exit code and the output of a process that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

const BINARY: &str = env!("CARGO_BIN_EXE_mana-persona-runner");

/// What the reader of the log does after it has read the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Reads the log to its end.
    Reads,
    /// Stops reading until the process has ended.
    Stalls,
    /// Closes its end of the pipe.
    Leaves,
}

fn command(mut command: Command, vars: impl IntoIterator<Item = (OsString, OsString)>) -> Command {
    // By default the folder would be in the working directory, shared by all tests.
    let data = format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), uuid::Uuid::now_v7());
    command.env_clear().env("RUNNER_DATA_DIR", data).envs(vars).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary until it exits.
pub(crate) async fn finish(
    vars: impl IntoIterator<Item = (OsString, OsString)>,
    arguments: &[&str],
) -> Finished {
    let output = command(Command::new(BINARY), vars).args(arguments).output();
    let Output { status, stdout, stderr } = patiently("the process", output).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A running daemon process.
pub(crate) struct Daemon {
    /// The base URL that the daemon's log reports.
    pub url: String,
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    has_ended: CancellationToken,
    client: Client,
}

impl Daemon {
    /// Starts a daemon with these peers on a free port, with these variables in addition to the default ones.
    pub(crate) async fn start(peers: &Devstack, vars: &[(&'static str, String)]) -> Self {
        Self::start_as(Command::new(BINARY), peers, vars, Reader::Reads).await
    }

    /// The peak resident memory so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// As [`Daemon::start`], with this reader of the log.
    pub(crate) async fn start_for(
        reader: Reader,
        peers: &Devstack,
        vars: &[(&'static str, String)],
    ) -> Self {
        Self::start_as(Command::new(BINARY), peers, vars, reader).await
    }

    /// As [`Daemon::start`], with this soft and this hard limit on open descriptors.
    pub(crate) async fn start_with_descriptors(
        (soft, hard): (u32, u32),
        peers: &Devstack,
        vars: &[(&'static str, String)],
    ) -> Self {
        let mut limited = Command::new("prlimit");
        limited.args([&format!("--nofile={soft}:{hard}"), BINARY]);
        Self::start_as(limited, peers, vars, Reader::Reads).await
    }

    async fn start_as(
        program: Command,
        peers: &Devstack,
        vars: &[(&'static str, String)],
        reader: Reader,
    ) -> Self {
        let mut child = command(program, variables(peers, vars)).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut log = String::new();
        let url = patiently("the bound address", async {
            loop {
                let begin = log.len();
                assert_ne!(lines.read_line(&mut log).await.unwrap(), 0, "it ended: {log}");
                if let Some((_, address)) = log[begin..].split_once("listening on http://") {
                    let in_address = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
                    let end = address.find(|c| !in_address(c)).unwrap();
                    break format!("http://{}", &address[..end]);
                }
            }
        })
        .await;
        let has_ended = CancellationToken::new();
        let stdout = tokio::spawn({
            let has_ended = has_ended.clone();
            async move {
                match reader {
                    Reader::Reads => {}
                    Reader::Stalls => has_ended.cancelled().await,
                    Reader::Leaves => return log,
                }
                lines.read_to_string(&mut log).await.unwrap();
                log
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.unwrap();
            text
        });
        let client = crate::support::client();
        let daemon = Self { url, child, stdout, stderr, has_ended, client };
        // A daemon that answers also handles signals.
        assert_eq!(daemon.call(Method::GET, "/health").await.0, StatusCode::OK);
        daemon
    }

    /// Sends a request without a body to the daemon; returns the status and the JSON body.
    pub(crate) async fn call(&self, method: Method, path: &str) -> (StatusCode, Value) {
        call(&self.client, method, &format!("{}{path}", self.url)).await
    }

    /// The text of /metrics.
    pub(crate) async fn metrics(&self) -> String {
        let request = self.client.get(format!("{}/metrics", self.url)).send();
        patiently("/metrics", request).await.unwrap().text().await.unwrap()
    }

    /// Sends a signal to the daemon.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it has not ended").to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(patiently("kill", kill).await.unwrap().success());
    }

    /// Waits until the daemon has ended.
    pub(crate) async fn ended(mut self) -> Finished {
        let status = patiently("the end of the process", self.child.wait()).await.unwrap();
        self.has_ended.cancel();
        let stdout = patiently("its output", self.stdout).await.unwrap();
        let stderr = patiently("its errors", self.stderr).await.unwrap();
        Finished { code: status.code(), stdout, stderr }
    }
}
