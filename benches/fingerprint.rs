//! Measures how long the fingerprint of a failed call takes, and that its time is linear in the text and in the
//! input.

#![allow(missing_docs, reason = "a benchmark has no interface")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is no part of the daemon")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use mana_persona_runner::{
    domain::Cause,
    facts::{Fingerprint, template},
};
use serde_json::{Value, json};

const TOOL: &str = "todo.create";
/// Of a text of 300 characters and an input of 2 kB.
const GOAL: Duration = Duration::from_micros(20);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (text, input) in
        [(300, 2_000), (300, 20_000), (300, 200_000), (4_000, 2_000), (4_000, 200_000)]
    {
        measure(&mut criterion, text, input);
    }
    criterion.final_summary();
    println!("goal for 300 characters and 2 kB: at most {GOAL:?}\n");
}

fn measure(criterion: &mut Criterion, text_chars: usize, input_bytes: usize) {
    let (text, input) = failure(text_chars, input_bytes);
    let fingerprint = || {
        let template = template(Cause::Handler, black_box(&text), black_box(&input));
        Fingerprint::of(Cause::Handler, Some(TOOL), &template)
    };
    // Checks that the measured texts are replaced.
    assert!(template(Cause::Handler, &text, &input).contains("‹items.*.title›"));

    let mut took = Vec::new();
    let mut group = criterion.benchmark_group("fingerprint");
    group.throughput(Throughput::Bytes((text.len() + input.len()) as u64));
    group.bench_function(format!("{text_chars} characters, {input_bytes} bytes"), |bencher| {
        bencher.iter_custom(|rounds| {
            let started = Instant::now();
            for _ in 0..rounds {
                black_box(fingerprint());
            }
            let all = started.elapsed();
            took.push(all / u32::try_from(rounds).unwrap_or(u32::MAX));
            all
        });
    });
    group.finish();
    took.sort_unstable();
    if let Some(median) = took.get(took.len() / 2) {
        println!(
            "fingerprint of {text_chars} characters and an input of {input_bytes} bytes: median {median:.1?}\n"
        );
    }
}

/// A text of `text_chars` characters with ids, times and the titles of its input, a JSON text of `input_bytes`.
fn failure(text_chars: usize, input_bytes: usize) -> (String, String) {
    let item = |n: usize| json!({"id": format!("{n:08x}-5cd5-7b1c-9f57-2d1d7a3c81aa"), "title": format!("Müsli kaufen Nummer {n:03}"), "done": n.is_multiple_of(2)});
    let mut items: Vec<Value> = Vec::new();
    let mut length = 0;
    while length < input_bytes {
        items.push(item(items.len()));
        length += items[items.len() - 1].to_string().len() + 1;
    }
    let sentence = |n: usize| {
        format!(
            "Die Aufgabe „Müsli kaufen Nummer {n:03}“ vom 2026-11-18T14:00:05Z gibt es nicht ({n:08x}-5cd5-7b1c-9f57-2d1d7a3c81aa, HTTP 404 nach {n} ms). "
        )
    };
    let text: String = (0..)
        .map(sentence)
        .flat_map(|text| text.chars().collect::<Vec<_>>())
        .take(text_chars)
        .collect();
    (text, json!({"items": items}).to_string())
}
