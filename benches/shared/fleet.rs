//! The facts of a fleet: runs of some 18 calls in 33 tools, with ratings.

use jiff::{SignedDuration, Timestamp};
use mana_persona_runner::{
    domain::{Cause, Outcome},
    facts::{
        Line,
        line::{Call, Module, Run},
    },
};

use crate::shared::Chance;

const CALLS: u32 = 18;
const TOOLS: u64 = 33;

/// Gives `take` the lines of so many days of so many personas: a run a day with its calls and modules. Tools and hits
/// follow from the calls.
pub(crate) fn fleet(personas: u32, days: u32, mut take: impl FnMut(Line)) {
    let mut chance = Chance(1);
    for number in 0..days * personas {
        let (day, persona) = (number / personas, number % personas);
        run_of(number, day, persona, &mut chance, &mut take);
    }
}

fn run_of(number: u32, day: u32, persona: u32, chance: &mut Chance, take: &mut impl FnMut(Line)) {
    let begin: Timestamp = "2026-11-01T06:00:00Z".parse().unwrap();
    let minutes = i64::from(day) * 1_440 + i64::from(persona % 600);
    let at = begin + SignedDuration::from_mins(minutes);
    let id = format!("0198c0de-0000-7000-8000-{number:012}");
    take(Line::Run(run(&id, persona, at)));
    // A run uses eight tools again and again.
    let first = chance.below(TOOLS);
    let calls = CALLS / 2 + chance.below(u64::from(CALLS) + 1) as u32;
    for number in 1..=calls {
        let tool = (first + chance.below(8)) % TOOLS;
        take(Line::Call(call(&id, number, at, tool, chance)));
    }
    for module in 0..4 {
        let module = (first / 4 + module) % (TOOLS / 4 + 1);
        let rating = 1 + chance.below(5) as u8;
        take(Line::Module(rated(&id, module, rating, chance)));
    }
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
        latency_ms: Some(chance.below(900)),
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
