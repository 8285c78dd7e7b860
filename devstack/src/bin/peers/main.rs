//! Serves the embedded peers for a daemon that a script starts: prints the environment variables that the
//! daemon needs, one per line, and runs until its standard input ends.
//!
//! `cargo run --bin peers -- [MILLISECONDS_A_MODEL_REPLY_TAKES] [FILE_OF_PLANTED_FAULTS]`
//!
//! The file has a JSON list of `devstack::mcp::PlantedFault`; `faults.json` in the folder of this file is one. Each line of the standard input is a command
//! (`commands`), which is answered with one line of JSON.

mod commands;

use std::{error::Error, fs, io, process::ExitCode, time::Duration};

use devstack::{
    Devstack, Options, catalog, claude::ClaudeOptions, clock::Clock, mcp::PlantedFault,
};
use mana_persona_runner::domain::derive_password;

const SEED_SECRET: &str = "peers-seed-secret";
/// A Monday: all ten personas are due.
const MONDAY: &str = "2026-03-09T11:00:00Z";
const USAGE: &str = "usage: peers [MILLISECONDS_A_MODEL_REPLY_TAKES] [FILE_OF_PLANTED_FAULTS]";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let latency = match arguments.next().map(|ms| ms.parse()).transpose() {
        Ok(ms) => Duration::from_millis(ms.unwrap_or_default()),
        Err(_) => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    let faults = match arguments.next().map(|file| planted(&file)).transpose() {
        Ok(faults) => faults.unwrap_or_default(),
        Err(error) => {
            eprintln!("peers: the file of planted faults: {error}");
            return ExitCode::from(64);
        }
    };
    match serve(latency, faults).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn planted(file: &str) -> Result<Vec<PlantedFault>, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

async fn serve(latency: Duration, faults: Vec<PlantedFault>) -> Result<(), Box<dyn Error>> {
    let claude = ClaudeOptions { latency, ..ClaudeOptions::default() };
    let options = Options { claude, ..Options::default() };
    let peers = Devstack::start(options, Clock::starting_at(MONDAY.parse()?)).await?;
    let password = |email: &str| derive_password(SEED_SECRET, email);
    peers.auth.seed(&catalog::personas(), password).await?;
    faults.into_iter().for_each(|fault| peers.mcp.plant(fault));
    for (name, value) in peers.environment() {
        println!("{name}={value}");
    }
    // Printed last: once a reader has this line, it has all variables.
    println!("PERSONA_SEED_SECRET={SEED_SECRET}");
    // The input ends when the process that started this program ends.
    let ended = move || {
        io::stdin().lines().try_for_each(|line| {
            println!("{}", commands::answer(&peers, &line?));
            Ok::<(), io::Error>(())
        })
    };
    tokio::task::spawn_blocking(ended).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faults_of_the_example_can_be_planted() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/peers/faults.json");
        assert_eq!(planted(file).unwrap().len(), 6);
    }
}
