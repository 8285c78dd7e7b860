//! Shows that the journal does not grow without bound: a quarter of a year of a fleet's runs is written to a
//! journal, old steps are deleted as the daemon deletes them, and the file size is measured every week.
//!
//! `cargo run --bin retention -- [EVERY]`, where the fleet runs only every EVERY-th day (default 1). It fails
//! if the file grows in the last month by more than the permanently kept rows explain.
//!
//! `cargo run --release --bin retention -- facts PERSONAS DAYS [FOLDER]` writes the facts of so many personas and days
//! instead, and shows the size of the file and how long it takes to read them. The journal stays in FOLDER.
//!
//! `cargo run --release --bin retention -- browse FOLDER` shows how long the queries of the page take on such a journal. It
//! adds some steps to the journal.

mod browse;
mod facts;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use mana_persona_runner::{
    clients::personas::Batch,
    clock::Clock,
    config::BudgetConfig,
    domain::{Cadence, ModuleMix, ModuleName, Outcome, Persona, RunId, Slot, Usd, UserId},
    facts::RunFacts,
    journal::{
        Booking, EndedRun, FILE_NAME, Journal, JournalError, NewRun, NewStep, PostKey, PostKind,
        RunSettings, RunState, Spending,
    },
};

const PERSONAS: usize = 100;
const DAYS: u32 = 91;
/// The default of JOURNAL_RETENTION_DAYS (30 days).
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Highest relative growth in the last four weeks. Runs and spending are kept, at well below a kilobyte per
/// run.
const MOST_GROWTH: f64 = 0.05;

/// A run of six turns with one call in each turn but the last; sizes in bytes, rounded up from runs against
/// the devstack.
const TURNS: usize = 6;
const OPENED: usize = 700;
const REPLIED: usize = 1_400;
const CALLING: usize = 120;
const CALLED: usize = 2_000;
const TOLD: usize = 200;
const RATED: usize = 800;
const ACTIONS: usize = 1_500;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [word, personas, days, kept @ ..] = &arguments[..]
        && word == "facts"
        && kept.len() <= 1
        && let (Ok(personas), Ok(days)) = (personas.parse::<usize>(), days.parse())
    {
        let folder = Folder::new();
        let place = kept.first().map_or(&*folder.0, Path::new);
        let personas: Result<Vec<_>, _> = (0..personas).map(persona).collect();
        let done = match personas {
            Ok(personas) => facts::simulate(place, &personas, days).await,
            Err(error) => Err(error),
        };
        return exit_code(done);
    }
    if let [word, folder] = &arguments[..]
        && word == "browse"
    {
        return exit_code(browse::measure(Path::new(folder)).await);
    }
    let every = match arguments.first().map(|every| every.parse()) {
        None => 1,
        Some(Ok(every)) if (1..=7).contains(&every) => every,
        Some(_) => {
            eprintln!(
                "usage: retention [EVERY], with EVERY from 1 to 7, retention facts PERSONAS DAYS [FOLDER], or retention browse FOLDER"
            );
            return ExitCode::from(64);
        }
    };
    let folder = Folder::new();
    match simulate(&folder.0, every).await {
        Ok(growth) if growth <= MOST_GROWTH => ExitCode::SUCCESS,
        Ok(_) => {
            println!("retention: that is more than {:.0} %", MOST_GROWTH * 100.0);
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("retention: {error}");
            ExitCode::FAILURE
        }
    }
}

fn exit_code(done: Result<(), Box<dyn Error>>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("retention: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the quarter's runs; returns the relative growth of the file in the last four weeks.
async fn simulate(folder: &Path, every: u32) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let clock = Clock::manual("2026-01-05T06:00:00Z".parse()?);
    let journal = Journal::open(folder).await?;
    let personas = (0..PERSONAS).map(persona).collect::<Result<Vec<_>, _>>()?;
    let mut sizes = Vec::new();
    let mut runs = 0_u32;
    for day in 1..=DAYS {
        for persona in personas.iter().filter(|_| day % every == 0) {
            play(&journal, persona, clock.now()).await?;
            runs += 1;
        }
        // The daemon does the same every hour.
        let now = clock.now();
        let cutoff = now.checked_sub(KEPT)?;
        while journal.prune(cutoff, now).await? > 0 {}
        clock.advance(DAY);
        if day % 7 == 0 {
            let size = size(folder)?;
            println!("week {:>2}: {:>6.1} MB after {runs} runs", day / 7, size / 1e6);
            sizes.push(size);
        }
    }
    journal.close().await;
    let [.., month_ago, _, _, _, last] = sizes[..] else { return Err("too few weeks".into()) };
    let growth = last / month_ago - 1.0;
    println!(
        "{PERSONAS} personas, {DAYS} days, a run every {every} days, steps kept for {} days: {:+.1} % in the last four weeks \
         ({:.1} s)",
        KEPT.as_hours() / 24,
        growth * 100.0,
        started.elapsed().as_secs_f64(),
    );
    Ok(growth)
}

fn persona(number: usize) -> Result<Persona, Box<dyn Error>> {
    Ok(Persona {
        user_id: UserId::parse(&format!("persona-{number:03}-of-the-simulated-fleet"))?,
        email: format!("persona.{number}@mana.test"),
        system_prompt: "Du bist eine Testperson und schreibst kurz. ".repeat(8),
        module_mix: ModuleMix::new([
            (ModuleName::new("todo"), 0.6),
            (ModuleName::new("notes"), 0.4),
        ]),
        cadence: Cadence::Daily,
        archetype: None,
    })
}

/// Writes one run from its start to the confirmation of its rows.
async fn play(journal: &Journal, persona: &Persona, now: Timestamp) -> Result<(), JournalError> {
    let id = RunId::new();
    let slot = Slot::of(Cadence::Daily, now);
    let begun = RunSettings::unknown(now);
    let new = NewRun { id, persona, slot: &slot, attempt: 1, model: "claude-haiku-5-5", begun };
    journal.begin_run(new, now).await?;
    let mut number = 0..;
    let mut next = || number.next().unwrap_or_default();
    let spending = Spending::of(&persona.user_id, now);
    let (reserved, cost) =
        (Usd::from_picodollars(5_000_000_000), Usd::from_picodollars(400_000_000));
    journal.append_step(id, next(), &step(OPENED), now).await?;
    for turn in 1..=TURNS {
        let asking = NewStep {
            number: next(),
            at: now,
            body: r#"{"asking":{"reserved":5000000000}}"#.into(),
            booking: Some(Booking::Reserve {
                spending: spending.clone(),
                amount: reserved,
                caps: BudgetConfig::default(),
            }),
        };
        let replied = NewStep {
            number: next(),
            at: now,
            body: step(REPLIED),
            booking: Some(Booking::Settle {
                spending: spending.clone(),
                asking: asking.number,
                reserved,
                cost,
            }),
        };
        // Without caps the reservation cannot be refused.
        let _ = journal.record(id, &[&asking, &replied]).await?;
        if turn < TURNS {
            for size in [CALLING, CALLED, TOLD] {
                journal.append_step(id, next(), &step(size), now).await?;
            }
        }
    }
    journal.append_step(id, next(), &step(RATED), now).await?;
    let body = step(ACTIONS);
    let post = |number| {
        (number, Batch { kind: PostKind::Actions, rows: TURNS, body: body.clone().into() })
    };
    let ended = EndedRun {
        state: RunState::Finished,
        stage: "done",
        replies: 6,
        calls: TURNS,
        call_errors: 0,
        ratings: 2,
        reason: Some("done".into()),
        next_eligible_at: None,
        outcome: Outcome::Done,
        facts: RunFacts::default(),
        deployment_end: None,
    };
    journal.end_run(id, &ended, &[post(0), post(1)], now).await?;
    for number in [0, 1] {
        journal.confirm_post(PostKey { run: id, number }).await?;
    }
    Ok(())
}

/// A step whose JSON has `size` bytes.
fn step(size: usize) -> String {
    format!(r#"{{"text":"{}"}}"#, "x".repeat(size.saturating_sub(11)))
}

/// Total size of the journal's files in the folder, in bytes.
fn size(folder: &Path) -> Result<f64, Box<dyn Error>> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(FILE_NAME) {
            bytes += entry.metadata()?.len();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "file sizes are far below 2^53")]
    Ok(bytes as f64)
}

/// A folder of its own, in memory where the system has a tmpfs.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        Self(base.join(format!("mana-retention-{}", uuid::Uuid::now_v7())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
