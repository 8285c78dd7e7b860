//! The peers of the load, in a process of their own, so that neither their memory nor their threads are the daemon's.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    process::Stdio,
    time::Duration,
};

use devstack::{
    Devstack, Options, catalog,
    claude::ClaudeOptions,
    clock::Clock,
    mcp::{PlantedFault, Shows},
};
use mana_persona_runner::domain::derive_password;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::Problem;

/// How many personas are due, all at once.
pub(crate) const PERSONAS: usize = 200;
/// The secret of their passwords.
pub(crate) const SEED_SECRET: &str = "pages-seed-secret";
/// How long every reply of the model takes.
const LATENCY: Duration = Duration::from_secs(3);
/// A Monday: every persona is due.
const MONDAY: &str = "2026-03-09T11:00:00Z";
/// How many of a hundred calls fail, so that there are frictions.
const FAILS: u64 = 5;

/// The process with the peers. Dropping it kills the process.
pub(crate) struct Peers {
    /// The variables of a daemon that uses the peers.
    pub variables: BTreeMap<String, String>,
    _process: Child,
}

impl Peers {
    /// Starts this program again, as the peers.
    pub(crate) async fn start() -> Result<Self, Problem> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("peers")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let line = BufReader::new(output).lines().next_line().await?;
        let line = line.ok_or_else(|| io::Error::other("the peers ended at their start"))?;
        let variables = serde_json::from_str(&line).map_err(|_| line)?;
        Ok(Self { variables, _process: process })
    }
}

/// Is the peers until standard input ends. The first line of standard output has the variables.
pub(crate) fn serve() -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let peers = runtime.block_on(peers())?;
    let variables: BTreeMap<_, _> = peers.environment().iter().cloned().collect();
    println!("{}", serde_json::to_string(&variables)?);
    // The peers work in the threads of the runtime.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn peers() -> Result<Devstack, Problem> {
    let claude =
        ClaudeOptions { latency: LATENCY, keeps_requests: false, ..ClaudeOptions::default() };
    let options = Options { claude, ..Options::default() };
    let peers = Devstack::start(options, Clock::starting_at(MONDAY.parse()?)).await?;
    peers.stop_recording();
    let fails = Shows::Text("The entry {uuid} is locked".into());
    peers.mcp.plant(PlantedFault::new("locked", fails).sometimes(FAILS));
    let password = |email: &str| derive_password(SEED_SECRET, email);
    peers.auth.seed(&catalog::many_personas(PERSONAS), password).await?;
    Ok(peers)
}
