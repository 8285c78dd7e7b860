mod changes;
mod headline;
pub(in crate::facts) mod laws;
mod modules;
mod reliability;
mod shape;
mod unreachable;

use std::collections::BTreeSet;

use super::*;
use crate::{
    domain::{Cause, Label, Outcome},
    facts::{
        coverage::days,
        frictions,
        line::Call,
        state::State,
        window::Days,
        world::{World, day, failed, failed_by, ok},
    },
};

const PERSONAS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// The last whole week of worlds whose newest day is one of 71 to 77.
pub(in crate::facts) const MONDAY: i64 = 61;

/// The report of the week from the day [`MONDAY`] on.
fn week(world: &World) -> Report {
    days(world, MONDAY, MONDAY + 6)
}

/// The report of the days from `from` to `to`.
fn days(world: &World, from: i64, to: i64) -> Report {
    report(&world.days(between(from, to)))
}

pub(in crate::facts) fn between(from: i64, to: i64) -> Days {
    let [from, to] = [from, to].map(|on| days::date(day(on), &TimeZone::UTC));
    Days::Between(from, to)
}

/// A world in which each of these personas makes the same calls on each of the days.
fn every_day(personas: &[&str], days: std::ops::RangeInclusive<i64>, calls: &[Call]) -> World {
    let mut world = World::default();
    for on in days {
        for persona in personas {
            world.run(persona, on, calls.to_vec());
        }
    }
    world
}

fn module<'r>(report: &'r Report, name: &str) -> &'r ModuleReport {
    report.modules.iter().find(|module| module.module == name).unwrap()
}

/// Ten weeks of six personas in which everything happens that a report tells.
pub(in crate::facts) fn rich() -> World {
    let mut world = World::default();
    world.deploy("D-1", "1.4", 1);
    world.deploy("D-2", "1.5", 63);
    let old = [
        ("todo.add", "1"),
        ("todo.list", "1"),
        ("mail.send", "1"),
        ("todo.move", "1"),
        ("old.tool", "1"),
    ];
    let new = [
        ("todo.add", "1"),
        ("todo.list", "2"),
        ("mail.send", "1"),
        ("todo.move", "1"),
        ("new.tool", "1"),
    ];
    world.catalog("C-1", &old, &["admin.drop"]);
    world.catalog("C-2", &new, &["admin.drop"]);
    for on in 1..=MONDAY + 6 {
        world.tick(on);
        for persona in PERSONAS {
            let is_new = on >= 63;
            let mut calls = vec![ok("todo.list"), ok("todo.list"), ok("mail.send")];
            if is_new && persona < "d" {
                calls.push(quoted(failed("todo.add", "F-NEWW"), "It says that it cannot."));
            }
            if on < 50 && persona > "c" {
                calls.push(failed("mail.send", "F-GONE"));
            }
            if on >= MONDAY {
                calls.push(failed("mail.list", "F-MUTE"));
                calls.push(failed_by(Cause::Invented, "todo.snooze", "F-INVE"));
                calls.push(Call { latency_ms: Some(6_000), ..ok("todo.slow") });
            }
            if on == MONDAY + 1 {
                calls.push(failed_by(Cause::Unreachable, "todo.list", "F-AWAY"));
            }
            let run = world.run(persona, on, calls);
            let (build, catalog) = if is_new { ("D-2", "C-2") } else { ("D-1", "C-1") };
            run.deployment = Some(build.to_owned());
            run.deployment_end = Some(build.to_owned());
            run.catalog = Some(catalog.to_owned());
            run.model = Some(if on >= 64 { "newer" } else { "older" }.to_owned());
            run.cost_usd = 0.125;
            let rating = 2 + (on + i64::from(persona.as_bytes()[0])) % 3;
            world.rate("todo", rating as u8, "The list is long.", &[1]);
            world.rate("mail", 4, "It works.", if persona < "d" { &[3] } else { &[] });
        }
    }
    world.persona("a", "calendar", 0.5);
    world.absence("a", "2026-03-03T05", WhyNotRun::Paused);
    world.mute("F-MUTE", MONDAY, 100);
    world
}

fn quoted(call: Call, quote: &str) -> Call {
    Call { quote: Some(quote.to_owned()), ..call }
}
