//! Measures the cost of the journal: writing one step, and a whole tick with the journal in a file compared
//! with a journal in memory. The file is on a tmpfs where there is one, so that no disk is measured.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot be set up may panic")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the daemon")]

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use devstack::{
    Devstack, Options, auth::SeedPersona, catalog, claude::ClaudeOptions, clock::Clock as PeerClock,
};
use jiff::Timestamp;
use mana_persona_runner::{
    app::App,
    clock::Clock,
    config::Config,
    domain::{Cadence, ModuleMix, Persona, RunId, Slot, UserId, derive_password},
    journal::{Journal, NewRun, RunSettings},
};
use serde_json::Value;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Size of a step that holds a model's reply.
const STEP_BYTES: usize = 1_400;
const PERSONAS: usize = 200;
const CONCURRENCY: usize = 50;
/// Number of ticks that are measured on each journal, alternately.
const ROUNDS: usize = 9;
/// By how many percent a tick may be slower with the journal in a file.
const GOAL: f64 = 20.0;
/// A Monday: every persona is due.
const MONDAY: &str = "2026-03-09T11:00:00Z";
const SEED_SECRET: &str = "benchmark-seed-secret";

fn main() -> ExitCode {
    let runtime = Runtime::new().unwrap();
    let folder = Folder::new();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("journal");
    step_write(&runtime, &mut group, "step on tmpfs", &runtime.block_on(folder.journal()));
    let in_memory = runtime.block_on(Journal::in_memory()).unwrap();
    step_write(&runtime, &mut group, "step in memory", &in_memory);
    group.finish();
    criterion.final_summary();
    runtime.block_on(ticks())
}

fn step_write(
    runtime: &Runtime,
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    journal: &Journal,
) {
    let now: Timestamp = MONDAY.parse().unwrap();
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(STEP_BYTES));
    let id = runtime.block_on(begin_run(journal, now));
    let (mut number, mut took) = (0, Vec::new());
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let before = took.len();
            runtime.block_on(async {
                for _ in 0..rounds {
                    let started = Instant::now();
                    journal.append_step(id, number, &body, now).await.unwrap();
                    took.push(started.elapsed());
                    number += 1;
                }
            });
            took[before..].iter().sum()
        });
    });
    if !took.is_empty() {
        println!("{name}: median {:.3} ms of {}\n", ms(median(&mut took)), took.len());
    }
}

async fn begin_run(journal: &Journal, now: Timestamp) -> RunId {
    let id = RunId::new();
    let persona = Persona {
        user_id: UserId::parse("anna").unwrap(),
        email: "persona.anna@mana.test".into(),
        system_prompt: "Du bist Anna.".into(),
        module_mix: ModuleMix::new([]),
        cadence: Cadence::Daily,
        archetype: None,
    };
    let slot = Slot::of(Cadence::Daily, now);
    let begun = RunSettings::unknown(now);
    let model = "claude-haiku-5-5";
    let run = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model, begun };
    journal.begin_run(run, now).await.unwrap();
    id
}

/// Runs ticks on the two journals alternately, so that other load of the machine affects both.
async fn ticks() -> ExitCode {
    let peers = peers().await;
    let (mut on_file, mut in_memory) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = Folder::new();
        on_file.push(tick(&peers, folder.journal().await).await);
        in_memory.push(tick(&peers, Journal::in_memory().await.unwrap()).await);
    }
    let (on_file, in_memory) = (median(&mut on_file), median(&mut in_memory));
    let slower = 100.0 * (on_file.as_secs_f64() / in_memory.as_secs_f64() - 1.0);
    println!(
        "a tick of {PERSONAS} personas at concurrency {CONCURRENCY}, zero model latency, devstack included \
         (median of {ROUNDS}): journal on tmpfs {:.0} ms, in memory {:.0} ms, {slower:+.1} % (goal: at most \
         {GOAL:.0} %)",
        ms(on_file),
        ms(in_memory),
    );
    if slower <= GOAL { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The peers of a fleet like the catalog's ten personas, but larger.
async fn peers() -> Devstack {
    let clock = PeerClock::starting_at(MONDAY.parse().unwrap());
    // If they were kept, the requests of all ticks would be gigabytes.
    let claude = ClaudeOptions { keeps_requests: false, ..ClaudeOptions::default() };
    let options = Options { claude, ..Options::default() };
    let peers = Devstack::start(options, clock).await.unwrap();
    peers.stop_recording();
    let fleet: Vec<_> = (0..PERSONAS)
        .zip(catalog::personas().into_iter().cycle())
        .map(|(n, persona)| SeedPersona {
            name: format!("{} {n}", persona.name),
            email: format!("persona.{n}@mana.test"),
            cadence: "daily".into(),
            ..persona
        })
        .collect();
    peers.auth.seed(&fleet, |email| derive_password(SEED_SECRET, email)).await.unwrap();
    peers
}

async fn tick(peers: &Devstack, journal: Journal) -> Duration {
    peers.clock.advance(Duration::from_secs(25 * 3_600));
    let own = [
        ("PORT", "0".to_owned()),
        ("PERSONA_SEED_SECRET", SEED_SECRET.to_owned()),
        ("TICK_INTERVAL_MS", "86400000".to_owned()),
        ("PERSONA_CONCURRENCY", CONCURRENCY.to_string()),
        ("BUDGET_DAILY_USD", "1000".to_owned()),
    ];
    let vars = peers.environment().iter().cloned().chain(own);
    let config = Config::from_vars(vars.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let app = App::build_on(journal, config, Clock::system()).await.unwrap();
    let url = format!("http://{}/diag/tick", app.local_addr().unwrap());
    let shutdown = app.shutdown();
    let daemon = tokio::spawn(app.run());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let started = Instant::now();
    let answer = client.post(url).send().await.unwrap().bytes().await.unwrap();
    let took = started.elapsed();
    shutdown.stop();
    daemon.await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["result"]["ranSuccessfully"], PERSONAS, "{answer}");
    took
}

fn median(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// A folder for a journal; it is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let tmpfs = PathBuf::from("/dev/shm");
        let base = if tmpfs.is_dir() { tmpfs } else { std::env::temp_dir() };
        Self(base.join(format!("mana-benchmark-{}", Uuid::now_v7())))
    }

    async fn journal(&self) -> Journal {
        Journal::open(&self.0).await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
