//! The sequence of the test: one slot after another, with kills in between, then a calm end.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use devstack::chance::Chance;
use jiff::{Timestamp, tz::TimeZone};
use mana_persona_runner::{
    domain::{RunId, Slot},
    journal::{Journal, JournalError, RunState},
};
use reqwest::Method;
use tokio::time::sleep;

use crate::{
    Problem,
    daemon::{Daemon, Launcher},
    ledger,
    options::{Options, Signal},
    weather::Weather,
    world::World,
};

/// In this percentage of the lives the lifetime counts from the daemon's first request, because starting
/// takes long on a busy machine. In the others it counts from the start of the process, so that kills also
/// hit the start.
const FROM_FIRST_MOVE: u64 = 75;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Lifetime of a daemon, in milliseconds: mostly short, sometimes long enough to use up all retries.
const SHORT_LIFE: (u64, u64) = (0, 800);
const LONG_LIFE: (u64, u64) = (1_000, 5_000);
/// Percentage of long lives, with and without faults of mana-auth.
const LONG_LIVES: (u64, u64) = (20, 2);
/// Longest time between a SIGTERM and the kill -9 after it, in milliseconds.
const DRAINING: u64 = 150;
/// Time between two checks of the runs' progress.
const POLL_INTERVAL: Duration = Duration::from_millis(80);
/// From this minute of the hour on, the clock is moved into the next hour.
const LATE_IN_THE_HOUR: u64 = 40;
/// Time limit for the calm end.
const CALM_LIMIT: Duration = Duration::from_secs(120);

/// The events of the test.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Number of kills so far.
    pub kills: usize,
    /// Model requests in flight at the kills, according to the journal: the run, and the number of the step.
    pub asking_at_kills: HashSet<(RunId, u32)>,
    /// Number of daemons that ended with a success status, which is impossible with SIGKILL.
    pub in_order: usize,
    /// Number of kills with at least one model request in flight.
    pub kills_while_asking: usize,
    /// How many times the clock was moved to new slots.
    pub rounds: usize,
    /// Duration of the calm end.
    pub calm_end: Duration,
}

/// Kills the daemon as often as requested, then lets a last daemon finish all work.
///
/// # Errors
/// When the daemon ends by itself, does not start or does not finish in time.
pub(crate) async fn run(
    world: &World,
    launcher: &Launcher,
    options: &Options,
) -> Result<Counts, Problem> {
    let mut chance = Chance::new(options.seed, 4);
    let mut counts = Counts { rounds: 1, ..Counts::default() };
    let weather =
        options.auth_faults.then(|| Weather::over(&world.peers.auth.served, options.seed));
    while counts.kills < options.kills {
        let moves_before = moves(world);
        let daemon = launcher.start().await?;
        let long_lives = if options.auth_faults { LONG_LIVES.0 } else { LONG_LIVES.1 };
        let (least, most) = if chance.percent(long_lives) { LONG_LIFE } else { SHORT_LIFE };
        if chance.percent(FROM_FIRST_MOVE) {
            first_move(world, moves_before).await;
        }
        let killed_at = Instant::now() + chance.millis(least, most);
        while Instant::now() < killed_at {
            sleep(POLL_INTERVAL.min(killed_at - Instant::now())).await;
            if is_round_over(world).await? {
                next_round(world, &mut counts, &mut chance);
            }
        }
        let between = chance.millis(0, DRAINING);
        counts.in_order += usize::from(daemon.end(options.signal, between).await?);
        counts.kills += 1;
        // A request that an earlier daemon left is still listed if this daemon did not reach its run, so only
        // new ones count.
        let known = counts.asking_at_kills.len();
        counts.asking_at_kills.extend(asking(world).await?);
        counts.kills_while_asking += usize::from(counts.asking_at_kills.len() > known);
    }
    if let Some(weather) = weather {
        weather.end().await;
    }
    let calm = Instant::now();
    let daemon = launcher.start().await?;
    let settled = settle(world, calm).await;
    counts.calm_end = calm.elapsed();
    end_calmly(daemon, options).await?;
    settled.map(|()| counts)
}

/// Waits until the daemon requests /due or logs a persona in, for at most `LONGEST_WAIT`.
async fn first_move(world: &World, before: usize) {
    let started = Instant::now();
    while moves(world) == before && started.elapsed() < LONGEST_WAIT {
        sleep(Duration::from_millis(5)).await;
    }
}

fn moves(world: &World) -> usize {
    let recorder = &world.peers.auth.served.recorder;
    recorder.count(Method::GET, "/api/v1/internal/personas/due")
        + recorder.count(Method::POST, "/api/v1/auth/login")
}

fn next_round(world: &World, counts: &mut Counts, chance: &mut Chance) {
    // Mostly the next hour; sometimes the next day, for personas with a daily cadence.
    let minutes = if chance.percent(80) { 61 + chance.between(0, 20) } else { 24 * 60 + 5 };
    let clock = &world.peers.clock;
    clock.advance(Duration::from_secs(minutes * 60));
    // The clock keeps running: a slot must not pass while every daemon is too short-lived to use it.
    let minute = u64::from(clock.now().to_zoned(TimeZone::UTC).minute().unsigned_abs());
    if minute >= LATE_IN_THE_HOUR {
        clock.advance(Duration::from_secs((65 - minute) * 60));
    }
    counts.rounds += 1;
}

/// Waits until the daemon has no unfinished work.
async fn settle(world: &World, since: Instant) -> Result<(), Problem> {
    let folder = world.peers.data_folder();
    // Rows in the outbox may wait for minutes between attempts; this does the same as the command `outbox
    // retry`.
    let guest = loop {
        match Journal::open_beside_daemon(folder).await {
            Ok(guest) => break guest,
            Err(error) if since.elapsed() > CALM_LIMIT => return Err(error.into()),
            Err(_) => sleep(POLL_INTERVAL).await,
        }
    };
    if guest.outbox_depth().await?.dead > 0 {
        return Err("a post was refused for good".into());
    }
    guest.retry_posts(Timestamp::now()).await?;
    guest.close().await;
    loop {
        sleep(POLL_INTERVAL).await;
        let depth = match ledger::open(folder).await {
            Ok(journal) => {
                let depth = journal.outbox_depth().await?;
                journal.close().await;
                depth
            }
            Err(error) => return Err(error.into()),
        };
        if depth.actions + depth.feedback == 0 && is_round_over(world).await? {
            return Ok(());
        }
        if since.elapsed() > CALM_LIMIT {
            return Err(format!(
                "the calm end does not come: outbox {depth:?}, {}",
                left(world).await?
            )
            .into());
        }
    }
}

/// Stops the daemon at the end. It has no unfinished work, so it must stop within the grace period.
async fn end_calmly(daemon: Daemon, options: &Options) -> Result<(), Problem> {
    if options.clock_steps {
        daemon.end(Signal::Kill, Duration::ZERO).await?;
    } else if !daemon.end(Signal::Term, Duration::ZERO).await? {
        return Err("the daemon had nothing to do and did not stop in order".into());
    }
    Ok(())
}

/// Whether every due persona has a finished run for its slot, and no run is in flight.
async fn is_round_over(world: &World) -> Result<bool, Problem> {
    Ok(left(world).await?.is_empty())
}

/// The unfinished runs and due personas, as text; empty if there are none.
async fn left(world: &World) -> Result<String, Problem> {
    let journal = match ledger::open(world.peers.data_folder()).await {
        Ok(journal) => journal,
        Err(JournalError::Missing { .. }) => return Ok("no journal yet".into()),
        Err(error) => return Err(error.into()),
    };
    let now = world.peers.clock.now();
    let result = left_in(&journal, world, now).await;
    journal.close().await;
    result
}

async fn left_in(journal: &Journal, world: &World, now: Timestamp) -> Result<String, Problem> {
    let mut left = Vec::new();
    for state in [RunState::Running, RunState::RatingOwed] {
        for run in journal.runs_in(state).await? {
            left.push(format!("run {} of {} is {}", run.id, run.persona_id, state.as_str()));
        }
    }
    let runs = ledger::runs(journal).await?;
    let finished: HashSet<_> = runs
        .iter()
        .filter(|run| run.state == RunState::Finished)
        .map(|run| (run.persona_id.as_str(), run.slot.as_str()))
        .collect();
    for user in world.peers.auth.due_now().await {
        let cadence = *world.cadences.get(&user).ok_or("an unknown persona is due")?;
        let slot = Slot::of(cadence, now);
        if !finished.contains(&(user.as_str(), slot.as_str())) {
            left.push(format!("{user} is due for {slot}"));
        }
    }
    Ok(left.join("; "))
}

/// Model requests that were in flight when the daemon was killed.
async fn asking(world: &World) -> Result<Vec<(RunId, u32)>, Problem> {
    let is_first = world.peers.claude.requests().is_empty();
    let count = async {
        let journal = ledger::open(world.peers.data_folder()).await?;
        let count = ledger::under_way(&journal).await;
        journal.close().await;
        count
    };
    match count.await {
        // The daemon was killed before it had created the journal's tables.
        Err(_) if is_first => Ok(Vec::new()),
        other => other,
    }
}
