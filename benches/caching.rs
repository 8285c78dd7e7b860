//! Measures the saving of the prompt cache, and how much smaller the tools are without keys that say nothing to
//! Claude. Ten personas spend a day of five replies each on devstack, whose Claude keeps a cache as the real one
//! does and counts what each request reads from it and writes to it.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot be set up may panic")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the daemon")]

use std::process::ExitCode;

use devstack::{
    Devstack, catalog,
    claude::{CacheUsage, tokens_of_tools},
    clock::Clock as PeerClock,
};
use mana_persona_runner::{app::App, clock::Clock, config::Config, domain::derive_password};
use serde_json::Value;

/// Highest allowed share of the input that is billed, in percent.
const GOAL: f64 = 30.0;
/// A Monday: all ten personas are due.
const MONDAY: &str = "2026-03-09T11:00:00Z";
const SEED_SECRET: &str = "benchmark-seed-secret";

#[tokio::main]
async fn main() -> ExitCode {
    let clock = PeerClock::starting_at(MONDAY.parse().unwrap());
    let peers = Devstack::start(Default::default(), clock).await.unwrap();
    let personas = catalog::personas();
    peers.auth.seed(&personas, |email| derive_password(SEED_SECRET, email)).await.unwrap();

    let own =
        [("PORT", "0"), ("PERSONA_SEED_SECRET", SEED_SECRET), ("TICK_INTERVAL_MS", "86400000")];
    let own = own.map(|(name, value)| (name, value.to_owned()));
    let vars = peers.environment().iter().cloned().chain(own);
    let config = Config::from_vars(vars.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let app = App::build(config, Clock::manual(MONDAY.parse().unwrap())).await.unwrap();
    let url = format!("http://{}/diag/tick", app.local_addr().unwrap());
    let shutdown = app.shutdown();
    let daemon = tokio::spawn(app.run());
    let answer = reqwest::Client::new().post(url).send().await.unwrap().bytes().await.unwrap();
    shutdown.stop();
    daemon.await.unwrap();

    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["result"]["ranSuccessfully"], personas.len(), "{answer}");
    let main_turns = peers.claude.requests().iter().filter(|r| !r.tools.is_empty()).count();
    let usage = peers.claude.cache_usage();
    // Without markers nothing is written or read: every token of the same prompts would be billed once.
    let without = usage.prompt_tokens();
    let with = usage.billed_input_tokens();
    let percent = 100.0 * with / without as f64;
    println!(
        "input billed for {main_turns} requests of the main turns of {} personas, in tokens:\n\
         \x20 without cache markers {without}\n\
         \x20 with cache markers    {with:.0} ({} uncached, {} written at 1.25, {} read at 0.1)\n\
         \x20 that is {percent:.1} % (goal: at most {GOAL:.0} %)",
        personas.len(),
        usage.uncached,
        usage.written,
        usage.read,
    );
    print_tools(&peers);
    if percent <= GOAL { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the size and the price of the tools as they are sent, and as they would be with the input schemas
/// and descriptions that mana-mcp lists.
fn print_tools(peers: &Devstack) {
    let requests = peers.claude.requests();
    let bills = peers.claude.bills();
    let main_turns = requests.iter().zip(&bills).filter(|(request, _)| !request.tools.is_empty());
    // A request that reads anything from the cache reads the tools, which are the beginning of the prompt.
    let (hits, misses): (Vec<_>, Vec<_>) = main_turns.partition(|(_, bill)| bill.input.read > 0);
    let sent = &hits[0].0.tools;
    let (listed, mut untrimmed) = (peers.mcp.listed_tools(), sent.clone());
    for tool in &mut untrimmed {
        let spelling = |listed: &Value| listed["name"].as_str().unwrap().replace('.', "_");
        let listed = listed.iter().find(|listed| spelling(listed) == tool["name"]).unwrap();
        tool["description"] = listed["description"].clone();
        tool["input_schema"] = listed["inputSchema"].clone();
    }
    println!("the {} tools at the beginning of each of these requests:", sent.len());
    for (tools, how) in [(&untrimmed, "as mana-mcp lists them"), (sent, "as they are sent      ")] {
        let tokens = tokens_of_tools(tools);
        let (read, written) = (tokens * hits.len() as u64, tokens * misses.len() as u64);
        println!(
            "\x20 {how} {} characters, {tokens} tokens, billed as {:.0} in all",
            Value::from(tools.clone()).to_string().chars().count(),
            CacheUsage { uncached: 0, written, read }.billed_input_tokens(),
        );
    }
}
