//! The binary, running.

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

use crate::support::{call, patiently, variables};

/// How a process ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

fn command(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mana-persona-runner"));
    // The default would be a folder of the working directory, shared by all tests.
    let data = format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), uuid::Uuid::now_v7());
    command.env_clear().env("RUNNER_DATA_DIR", data).envs(vars).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary to its own end.
pub async fn finish(
    vars: impl IntoIterator<Item = (OsString, OsString)>,
    arguments: &[&str],
) -> Finished {
    let output = command(vars).args(arguments).output();
    let Output { status, stdout, stderr } = patiently("the process", output).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A daemon that serves.
pub struct Daemon {
    /// Base URL, as its log tells it.
    pub url: String,
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    client: Client,
}

impl Daemon {
    /// Starts one among these peers, with these variables on top of the ordinary ones, on a free port.
    pub async fn start(peers: &Devstack, vars: &[(&'static str, String)]) -> Self {
        let mut child = command(variables(peers, vars)).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let url = patiently("the bound address", async {
            loop {
                let begin = said.len();
                assert_ne!(lines.read_line(&mut said).await.unwrap(), 0, "it ended: {said}");
                if let Some((_, address)) = said[begin..].split_once("listening on http://") {
                    let in_address = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
                    let end = address.find(|c| !in_address(c)).unwrap();
                    break format!("http://{}", &address[..end]);
                }
            }
        })
        .await;
        let stdout = tokio::spawn(async move {
            lines.read_to_string(&mut said).await.unwrap();
            said
        });
        let mut stderr = child.stderr.take().unwrap();
        let stderr = tokio::spawn(async move {
            let mut said = String::new();
            stderr.read_to_string(&mut said).await.unwrap();
            said
        });
        let daemon = Self { url, child, stdout, stderr, client: crate::support::client() };
        // Whoever answers also listens to signals.
        assert_eq!(daemon.call(Method::GET, "/health").await.0, StatusCode::OK);
        daemon
    }

    /// Calls it.
    pub async fn call(&self, method: Method, path: &str) -> (StatusCode, Value) {
        call(&self.client, method, &format!("{}{path}", self.url)).await
    }

    /// The text of /metrics.
    pub async fn metrics(&self) -> String {
        let request = self.client.get(format!("{}/metrics", self.url)).send();
        patiently("/metrics", request).await.unwrap().text().await.unwrap()
    }

    /// Sends it a signal.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it has not ended").to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(patiently("kill", kill).await.unwrap().success());
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Finished {
        let status = patiently("the end of the process", self.child.wait()).await.unwrap();
        let stdout = patiently("its output", self.stdout).await.unwrap();
        let stderr = patiently("its errors", self.stderr).await.unwrap();
        Finished { code: status.code(), stdout, stderr }
    }
}
