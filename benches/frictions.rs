//! Measures a window of a thousand personas and 28 days, some 500,000 calls: how long its lines take to become a
//! window, how long `frictions` takes, and the most memory that both need.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot be set up may panic")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the daemon")]

use std::{fs, process::ExitCode, time::Instant};

use jiff::{SignedDuration, Timestamp};
use mana_persona_runner::{
    domain::{Cause, Outcome},
    facts::{
        Line,
        frictions::frictions,
        line::{Call, Module, Run},
        window::{Builder, Days},
    },
};

const PERSONAS: u32 = 1_000;
const DAYS: u32 = 28;
const CALLS: u32 = 18;
const TOOLS: u64 = 33;
/// The longest that `frictions` may take, in milliseconds.
const GOAL_MS: u128 = 1_000;
/// The most memory that the benchmark may need, in MB.
const GOAL_MB: u64 = 100;

/// SplitMix64: numbers that are the same on each machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit
    }
}

fn main() -> ExitCode {
    let mut builder = Builder::default();
    let mut chance = Chance(1);
    let (mut calls, began) = (0, Instant::now());
    for day in 0..DAYS {
        for persona in 0..PERSONAS {
            calls += add_run(&mut builder, &mut chance, day, persona);
        }
    }
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

/// Adds a run with its calls and modules; returns the number of calls. Tools and hits follow from the calls.
fn add_run(builder: &mut Builder, chance: &mut Chance, day: u32, persona: u32) -> u32 {
    let begin: Timestamp = "2026-11-01T06:00:00Z".parse().unwrap();
    let minutes = i64::from(day) * 1_440 + i64::from(persona % 600);
    let at = begin + SignedDuration::from_mins(minutes);
    let id = format!("0198c0de-0000-7000-8000-{:012}", day * PERSONAS + persona);
    builder.take(Line::Run(run(&id, persona, at))).unwrap();
    // A run uses eight tools again and again.
    let first = chance.below(TOOLS);
    let calls = CALLS / 2 + chance.below(u64::from(CALLS) + 1) as u32;
    for number in 1..=calls {
        let tool = (first + chance.below(8)) % TOOLS;
        builder.take(Line::Call(call(&id, number, at, tool, chance))).unwrap();
    }
    for module in 0..4 {
        let module = (first / 4 + module) % (TOOLS / 4 + 1);
        let rating = 1 + chance.below(5) as u8;
        builder.take(Line::Module(rated(&id, module, rating, chance))).unwrap();
    }
    calls
}

fn run(id: &str, persona: u32, at: Timestamp) -> Run {
    let text = |text: &str| Some(text.to_owned());
    Run {
        id: id.to_owned(),
        persona: format!("persona-{persona:04}"),
        at,
        ended_at: Some(at + SignedDuration::from_mins(4)),
        slot: None,
        server_time: Some(at),
        deployment: text("D-1"),
        deployment_end: text("D-1"),
        model: text("claude-sonnet-4-5"),
        effort: text("medium"),
        policy: text("all~0123abcd"),
        runner: text("0.1.0 (0123abcd)"),
        prompt: text("0123456789abcdef"),
        catalog: text("fedcba9876543210"),
        outcome: Outcome::Done,
        cost_usd: 0.1,
    }
}

/// A call. One of twenty fails, in one of ten ways a tool; one of a thousand in a way of its own.
fn call(run: &str, number: u32, begin: Timestamp, tool: u64, chance: &mut Chance) -> Call {
    let (module, name) = (format!("module{}", tool / 4), format!("module{}.tool{tool}", tool / 4));
    let issue = match chance.below(1_000) {
        0 => Some(format!("F-{:06}", chance.below(900_000))),
        1..50 => Some(format!("F-{:02}{:02}", tool, chance.below(10))),
        _ => None,
    };
    Call {
        run: run.to_owned(),
        number,
        at: begin + SignedDuration::from_secs(i64::from(number) * 7),
        tool: name,
        module,
        ok: issue.is_none(),
        cause: issue.as_ref().map(|_| Cause::Handler),
        template: issue.as_ref().map(|issue| format!("the record of {issue} could not be stored")),
        input_hash: Some(format!("{:016x}", chance.below(u64::MAX))),
        latency_ms: chance.below(900),
        tries: 1,
        chars: chance.below(4_000),
        cut: false,
        limit_offered: true,
        next: None,
        quote: issue.as_ref().map(|issue| format!("That did not work, I saw {issue} {number}.")),
        issue,
    }
}

fn rated(run: &str, module: u64, rating: u8, chance: &mut Chance) -> Module {
    let number = chance.below(1_000_000);
    Module {
        run: run.to_owned(),
        module: format!("module{module}"),
        rating: Some(rating),
        grounded: true,
        unrated_why: None,
        notes: Some(format!(
            "It took me {number} steps to find what I was looking for in this list."
        )),
        calls: vec![1, 2],
        reads: 2,
        writes: 2,
        failed: 0,
        dead_end: false,
    }
}

/// The most memory that this process had at once, in MB.
fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_000
}
