//! How often `compare` finds what a deployment broke, and how often it finds what is not there, in the simulated worlds
//! of [`devstack::worlds`]: a table, with the figures of an independent implementation beside our own.
//!
//! `cargo run --release --bin worlds -- [COUNT]`, with COUNT worlds in each row (200); `.ci/worlds` calls it. It ends
//! with 1 if something is worse in more than 8 % of the worlds in which nothing changed.

mod rows;

use std::{num::NonZeroUsize, process::ExitCode, thread, time::Instant};

use devstack::worlds::World;
use mana_persona_runner::facts::compare::{Comparison, Overall};
use rows::{Row, rows};

const COUNT: u64 = 200;
const MOST: u64 = 100_000;
/// The largest share of false alarms.
const FALSE: f64 = 0.08;
/// By how much the power may differ from that of the other implementation: with fewer worlds than these, and with more.
const MANY: u64 = 1_000;
const FROM_FEW: f64 = 0.12;
const FROM_MANY: f64 = 0.06;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let count = match &arguments[..] {
        [] => Some(COUNT),
        [count] => count.parse().ok().filter(|count| (1..=MOST).contains(count)),
        _ => None,
    };
    let Some(count) = count else {
        eprintln!("usage: worlds [COUNT], the number of worlds in each row, 1 to {MOST} ({COUNT})");
        return ExitCode::from(64);
    };
    match table(count) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("worlds: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table. Returns whether false alarms are as rare as they must be.
fn table(count: u64) -> Result<bool, String> {
    let started = Instant::now();
    println!(
        "| {count} worlds each | ours | section 3 | | anything worse |\n|---|---|---|---|---|"
    );
    let (mut is_rare, mut world, mut all) = (true, None, Vec::new());
    for row in rows() {
        // Rows about the same worlds come one after the other.
        if world != Some(row.world) {
            (world, all) = (Some(row.world), compared(row.world, count)?);
        }
        let share = |is: &dyn Fn(&Comparison) -> bool| {
            let is = all.iter().filter(|comparison| is(comparison)).count();
            is as f64 / all.len() as f64
        };
        let found = share(&row.found);
        let worse = share(&|comparison| comparison.verdict == Overall::Worse);
        is_rare &= !row.is_false_alarm || found <= FALSE;
        let theirs = row.section_3.map_or("–".to_owned(), |theirs| format!("{theirs:.3}"));
        let remark = remark(&row, found, count);
        println!("| {} | {found:.3} | {theirs} | {remark} | {worse:.3} |", row.what);
    }
    println!("\n{:.0} s", started.elapsed().as_secs_f64());
    Ok(is_rare)
}

fn remark(row: &Row, found: f64, count: u64) -> &'static str {
    let from = if count < MANY { FROM_FEW } else { FROM_MANY };
    match row.section_3 {
        _ if row.is_false_alarm => {
            if found <= FALSE {
                ""
            } else {
                "too often"
            }
        }
        Some(theirs) if (found - theirs).abs() > from => "differs",
        _ => "",
    }
}

/// The comparisons of the worlds with the seeds 1 to `count`.
fn compared(world: World, count: u64) -> Result<Vec<Comparison>, String> {
    let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let of_worker = |worker: usize| {
        let seeds = (1..=count).skip(worker).step_by(workers);
        seeds.map(|seed| World { seed, ..world }.compared()).collect::<Result<Vec<_>, _>>()
    };
    let parts = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..workers).map(|worker| scope.spawn(move || of_worker(worker))).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|_| Err("a worker panicked".to_owned()))
        };
        workers.into_iter().map(join).collect::<Result<Vec<Vec<_>>, _>>()
    })?;
    Ok(parts.into_iter().flatten().collect())
}
