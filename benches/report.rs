//! Measures the report of all days of a fleet in its three forms, from an export: for ten personas and 90 days and for a
//! thousand and 28.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot be set up may panic")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the daemon")]

#[path = "shared/fleet.rs"]
mod fleet;
mod shared;

use std::{
    env,
    fs::{self, File},
    io::{BufReader, BufWriter, Write},
    process::{self, ExitCode},
    time::Instant,
};

use mana_persona_runner::{
    domain::Language,
    facts::{
        Line, export,
        line::{Meta, SCHEMA},
        window::{Builder, Days},
    },
    report::{Document, Form},
};

use crate::{fleet::fleet, shared::peak_mb};

/// The number of personas and of days, and the longest that their report may take from an export, in milliseconds.
const FLEETS: [(u32, u32, u128); 2] = [(10, 90, 300), (1_000, 28, 5_000)];
const FORMS: [Form; 3] = [Form::Html, Form::Markdown, Form::Json];
/// The most memory that the benchmark may need, in MB.
const GOAL_MB: u64 = 150;

fn main() -> ExitCode {
    let measured: Vec<_> = FLEETS.into_iter().map(measure).collect();
    let peak = peak_mb();
    println!("at most {peak} MB in memory (goal: {GOAL_MB} MB)");
    let is_met = peak <= GOAL_MB && measured.iter().all(|is_met| *is_met);
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reports the days of a fleet; returns whether that took no longer than `goal` milliseconds.
fn measure((personas, days, goal): (u32, u32, u128)) -> bool {
    let export = export_of(personas, days);
    let began = Instant::now();
    let mut builder = Builder::default();
    export::read(BufReader::new(export), |line| builder.take(line)).unwrap();
    let window = builder.finish(Days::Last(days)).unwrap();
    let read = began.elapsed();
    let document = Document::new(&window, Language::German);
    let sizes = FORMS.map(|form| document.text(form).len() / 1_000);
    let took = began.elapsed();
    println!(
        "{personas} personas, {days} days: {} ms, of which the window {} ms; {} of {sizes:?} kB (goal: {goal} ms)",
        took.as_millis(),
        read.as_millis(),
        FORMS.map(Form::as_str).join(", "),
    );
    took.as_millis() <= goal
}

/// An export with the lines of a fleet. The file has no name any more.
fn export_of(personas: u32, days: u32) -> File {
    let path = env::temp_dir().join(format!("report-bench-{}.jsonl", process::id()));
    let file = File::create_new(&path).unwrap();
    let reading = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let mut lines = BufWriter::new(&file);
    let mut write = |line: &Line| {
        serde_json::to_writer(&mut lines, line).unwrap();
        lines.write_all(b"\n").unwrap();
    };
    write(&Line::Meta(Meta { schema: SCHEMA.to_owned(), tz: "Europe/Berlin".to_owned() }));
    fleet(personas, days, |line| write(&line));
    lines.into_inner().unwrap();
    reading
}
