//! How long each route of the page takes, how large it is, and what the page costs in memory.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use devstack::{
    Devstack, Options as PeerOptions, catalog,
    claude::ClaudeOptions,
    clock::Clock,
    daemon::Daemon,
    mcp::{PlantedFault, Shows},
};
use jiff::{civil::Date, tz::TimeZone};
use mana_persona_runner::{
    domain::{Week, derive_password},
    facts::window::Days,
    journal::Journal,
};
use reqwest::Client;
use tokio::time::sleep;

use crate::{
    Problem,
    copy::Copy,
    measured::{Measured, ms, target},
    routes::{self, Route},
};

const SEED_SECRET: &str = "pages-seed-secret";
/// How often each route is asked after it has answered once.
const ROUNDS: usize = 30;
/// How long a route may take to be computed for the first time.
const FIRST: Duration = Duration::from_secs(60);
/// Number of replies of the run whose results are as long as the limits let through.
const REPLIES: usize = 15;
/// Characters of each of its results, far more than the limits let through.
const FLOOD: usize = 400_000;
/// How long the report of the last week may take.
const REPORT: Duration = Duration::from_secs(60);

/// What is measured.
pub(crate) struct Options {
    pub daemon: PathBuf,
    pub folder: PathBuf,
    /// Highest p95 of a route.
    pub most: Duration,
    /// How long the daemon rests before its memory is read again.
    pub rest: Duration,
}

/// Measures all routes; returns whether all targets are met.
pub(crate) fn run(options: &Options) -> Result<bool, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> Result<bool, Problem> {
    let copy = Copy::new(Some(&options.folder))?;
    let weeks = add_run(&options.daemon, &copy).await?;
    let variables = [
        ("RUNNER_DATA_DIR", copy.path().to_string_lossy().into_owned()),
        ("REPORT_AT", "off".into()),
    ];
    let daemon = Daemon::start(&options.daemon, variables).await?;
    let process = daemon.process()?;
    sleep(Duration::from_secs(1)).await;
    let before = process.memory()?;
    println!(
        "{:<40} {:>6} {:>8} {:>8} {:>8} {:>9}",
        "route", "status", "bytes", "p50 ms", "p95 ms", "first ms"
    );
    // The first list of the routes computes the overview of most pages, so this one is asked before.
    let first = Instant::now();
    until_computed(&daemon.client, &format!("{}/ui/frictions", daemon.url)).await?;
    let first = first.elapsed();
    let mut is_met = true;
    for route in routes::all(&daemon.client, &daemon.url, &weeks).await? {
        is_met &= ask(&daemon.client, &route, options.most).await?;
    }
    println!("  the overview of 28 days, computed for the first time: {:.0} ms", ms(first));
    println!(
        "  RSS: {before:.1} MB idle, {:.1} MB at most, {:.1} MB afterwards",
        process.peak_memory()?,
        process.memory()?
    );
    if !options.rest.is_zero() {
        sleep(options.rest).await;
        println!("  RSS after {} s of rest: {:.1} MB", options.rest.as_secs(), process.memory()?);
    }
    daemon.stop(Duration::from_secs(15)).await?;
    Ok(is_met)
}

/// Adds a run to the journal, on its last day, with results as long as the limits let through; returns the weeks that
/// have a report then. The daemon writes that of the last whole week by itself.
async fn add_run(daemon: &Path, copy: &Copy) -> Result<Vec<String>, Problem> {
    let day = last_day(copy.path()).await?;
    let noon = day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC)?.timestamp();
    let claude = ClaudeOptions { replies: REPLIES, ..ClaudeOptions::default() };
    let options = PeerOptions { claude, ..PeerOptions::default() };
    let peers = Devstack::start(options, Clock::starting_at(noon)).await?;
    let mut personas = catalog::many_personas(1);
    personas.iter_mut().for_each(|persona| persona.cadence = "hourly".into());
    peers.auth.seed(&personas, |email| derive_password(SEED_SECRET, email)).await?;
    peers.mcp.plant(PlantedFault::new("long", Shows::Flood(FLOOD)));
    let mut variables = peers.environment().to_vec();
    variables.retain(|(name, _)| *name != "RUNNER_DATA_DIR");
    variables.extend([
        ("RUNNER_DATA_DIR", copy.path().to_string_lossy().into_owned()),
        ("PERSONA_SEED_SECRET", SEED_SECRET.into()),
        ("PERSONA_MAX_TURNS", REPLIES.to_string()),
        ("PERSONA_MAX_COST_USD", "1000".into()),
        ("BUDGET_DAILY_USD", "10000".into()),
        ("TICK_INTERVAL_MS", "86400000".into()),
        // That of the last runs: another one would be a deployment of a single run.
        ("PRODUCT_VERSION", "2026.1.2".into()),
    ]);
    let daemon = Daemon::start(daemon, variables).await?;
    let answer = daemon.client.post(format!("{}/diag/tick", daemon.url)).send().await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await?)?;
    if answer["result"]["ranSuccessfully"] != 1 {
        return Err(format!("the tick did not go well: {answer}").into());
    }
    let journal = Journal::open_read_only(copy.path()).await?;
    let started = Instant::now();
    let weeks = loop {
        let weeks = journal.weeks_with_reports().await?;
        if !weeks.is_empty() || started.elapsed() > REPORT {
            break weeks;
        }
        sleep(Duration::from_millis(200)).await;
    };
    journal.close().await;
    daemon.stop(Duration::from_secs(15)).await?;
    Ok(weeks.iter().map(Week::to_string).collect())
}

/// The last day of the facts.
async fn last_day(folder: &Path) -> Result<Date, Problem> {
    let journal = Journal::open_read_only(folder).await?;
    let days = journal.dates_of(Days::Last(1)).await?;
    journal.close().await;
    days.map(|(_, last)| last).ok_or_else(|| "the journal has no facts".into())
}

/// Asks until the answer is no longer that it is being computed.
async fn until_computed(client: &Client, url: &str) -> Result<(), Problem> {
    let started = Instant::now();
    while client.get(url).send().await?.status() == 503 {
        if started.elapsed() > FIRST {
            return Err(format!("{url} was not computed in time").into());
        }
    }
    Ok(())
}

/// Asks a route again and again; returns whether it meets its targets.
async fn ask(client: &Client, route: &Route, most: Duration) -> Result<bool, Problem> {
    let started = Instant::now();
    client.get(route.url.clone()).send().await?.bytes().await?;
    let first = started.elapsed();
    until_computed(client, route.url.as_str()).await?;
    let (mut took, mut bytes, mut status) = (Vec::new(), 0, reqwest::StatusCode::OK);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let answer = client.get(route.url.clone()).send().await?;
        if !answer.status().is_success() {
            status = answer.status();
        }
        bytes = bytes.max(answer.bytes().await?.len());
        took.push(started.elapsed());
    }
    let took = Measured::from(took);
    let p95 = took.percentile(95);
    println!(
        "{:<40} {:>6} {bytes:>8} {:>8.1} {:>8.1} {:>9.1}",
        route.name,
        status.as_u16(),
        ms(took.percentile(50)),
        ms(p95),
        ms(first)
    );
    let mut is_met = true;
    if !status.is_success() {
        is_met = target("status", status.as_str(), "200", false);
    }
    if p95 > most {
        is_met = target(
            "p95",
            &format!("{:.1} ms", ms(p95)),
            &format!("{} ms", most.as_millis()),
            false,
        );
    }
    if let Some(most) = route.kind.most_bytes().filter(|most| bytes > *most) {
        is_met = target("size", &format!("{bytes} bytes"), &format!("{most} bytes"), false);
    }
    Ok(is_met)
}
