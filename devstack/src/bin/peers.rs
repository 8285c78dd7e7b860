//! Serves the embedded peers for a daemon that a script starts: prints the environment variables that the
//! daemon needs, one per line, and runs until its standard input ends.
//!
//! `cargo run --bin peers -- [MILLISECONDS_A_MODEL_REPLY_TAKES]`

use std::{error::Error, io, process::ExitCode, time::Duration};

use devstack::{Devstack, Options, catalog, claude::ClaudeOptions, clock::Clock};
use mana_persona_runner::domain::derive_password;

const SEED_SECRET: &str = "peers-seed-secret";
/// A Monday: all ten personas are due.
const MONDAY: &str = "2026-03-09T11:00:00Z";

#[tokio::main]
async fn main() -> ExitCode {
    let latency = match std::env::args().nth(1).map(|ms| ms.parse()).transpose() {
        Ok(ms) => Duration::from_millis(ms.unwrap_or_default()),
        Err(_) => {
            eprintln!("usage: peers [MILLISECONDS_A_MODEL_REPLY_TAKES]");
            return ExitCode::from(64);
        }
    };
    match serve(latency).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(latency: Duration) -> Result<(), Box<dyn Error>> {
    let claude = ClaudeOptions { latency, ..ClaudeOptions::default() };
    let options = Options { claude, ..Options::default() };
    let peers = Devstack::start(options, Clock::starting_at(MONDAY.parse()?)).await?;
    let password = |email: &str| derive_password(SEED_SECRET, email);
    peers.auth.seed(&catalog::personas(), password).await?;
    for (name, value) in peers.environment() {
        println!("{name}={value}");
    }
    // Printed last: once a reader has this line, it has all variables.
    println!("PERSONA_SEED_SECRET={SEED_SECRET}");
    // No input is expected; the input ends when the process that started this program ends.
    let ended = || io::copy(&mut io::stdin().lock(), &mut io::sink());
    tokio::task::spawn_blocking(ended).await??;
    Ok(())
}
