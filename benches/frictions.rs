//! Measures a window of a thousand personas and 28 days, some 500,000 calls: how long its lines take to become a
//! window, how long `frictions` takes, and the most memory that both need.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot be set up may panic")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the daemon")]

#[path = "shared/fleet.rs"]
mod fleet;
mod shared;

use std::{process::ExitCode, time::Instant};

use mana_persona_runner::facts::{
    Line,
    frictions::frictions,
    window::{Builder, Days},
};

use crate::{fleet::fleet, shared::peak_mb};

const PERSONAS: u32 = 1_000;
const DAYS: u32 = 28;
/// The longest that `frictions` may take, in milliseconds.
const GOAL_MS: u128 = 1_000;
/// The most memory that the benchmark may need, in MB.
const GOAL_MB: u64 = 100;

fn main() -> ExitCode {
    let mut builder = Builder::default();
    let (mut calls, began) = (0, Instant::now());
    fleet(PERSONAS, DAYS, |line| {
        calls += u32::from(matches!(line, Line::Call(_)));
        builder.take(line).unwrap();
    });
    let taken = began.elapsed();
    let began = Instant::now();
    let window = builder.finish(Days::Last(DAYS)).unwrap();
    let finished = began.elapsed();
    let began = Instant::now();
    let found = frictions(&window);
    let ranked = began.elapsed();
    let json = serde_json::to_string(&found).unwrap();
    let peak = peak_mb();
    println!(
        "{} runs, {calls} calls, {} frictions of {} kB: lines {} ms (with their making), window {} ms, \
         frictions {} ms, at most {peak} MB in memory (goals: {GOAL_MS} ms, {GOAL_MB} MB)",
        DAYS * PERSONAS,
        found.frictions.len(),
        json.len() / 1_000,
        taken.as_millis(),
        finished.as_millis(),
        ranked.as_millis(),
    );
    let is_met = ranked.as_millis() <= GOAL_MS && peak <= GOAL_MB;
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
