//! Views that are written by hand.

use crate::{
    domain::Label,
    facts::{coverage::DayStatus, state::State},
    report::view::{
        CallView, Change, CoverageRow, Hurt, IntervalView, Key, ModuleRow, QuoteView, Section,
        Untested, View,
    },
};

pub(super) fn section<T>(heading: &str, columns: &[&str], items: Vec<T>) -> Section<T> {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Section { heading: heading.to_owned(), columns, items, note: None, rest: None }
}

pub(super) fn quote(text: &str, source: &str) -> QuoteView {
    let [text, source, brief, run] = [text, source, source, text].map(str::to_owned);
    QuoteView { text, source, brief, run: Key(run), call: Some(7) }
}

/// The view of a window without facts.
pub(in crate::report::html) fn empty() -> View {
    View {
        language: "en",
        thousands: ',',
        title: "No week".into(),
        sentence: "There are no facts yet.".into(),
        summary: vec![],
        hurts: section("What hurts", &[], vec![]),
        changes: section("What changed", &[], vec![]),
        modules: section("Modules", &[], vec![]),
        missing: section("What they missed", &[], vec![]),
        slow: section("Slow", &[], vec![]),
        not_tested: section("Not tested", &[], vec![]),
        coverage: section("Days", &[], vec![]),
        legend: vec![],
        reliability: section("How reliable", &[], vec![]),
        cost: section("Cost", &[], vec![]),
        footer: "The JSON form has everything.".into(),
    }
}

pub(super) fn legend() -> Vec<(DayStatus, String)> {
    let words = [
        "lief",
        "am Produkt gescheitert",
        "am Runner gescheitert",
        "ohne Aufruf",
        "pausiert",
        "Budget aufgebraucht",
        "zurückgehalten",
        "Runner aus",
        "Modell gestoppt",
        "anderes",
        "nicht fällig",
    ];
    DayStatus::ALL.iter().copied().zip(words.map(str::to_owned)).collect()
}

/// Days of which no two neighbours are equal.
pub(super) fn grid(personas: usize, days: usize) -> View {
    let days = |persona: usize| (0..days).map(move |day| DayStatus::ALL[(persona + day * 7) % 11]);
    let row = |persona| CoverageRow::Persona {
        label: format!("persona.{persona}"),
        days: days(persona).collect(),
    };
    let coverage = section(
        "Tage",
        &["Persona", "Mo 2.11.", "Di 3.11.", "So 29.11."],
        (0..personas).map(row).collect(),
    );
    View { coverage, legend: legend(), ..empty() }
}

/// Days with personas in each status.
pub(super) fn counts(days: u32) -> View {
    let counts = |day| DayStatus::ALL.iter().map(|it| (*it, 1_000 + day)).collect();
    let row = |day| CoverageRow::Day { label: format!("Tag {day}"), counts: counts(day) };
    let coverage = section("Tage", &["Tag", "Personas"], (0..days).map(row).collect());
    View { coverage, legend: legend(), ..empty() }
}

/// A view in which each text is `text` and each list has `rows` items.
pub(super) fn filled_with(text: &str, rows: usize) -> View {
    let own = || text.to_owned();
    let words = || quote(text, text);
    let trend =
        || vec![Some(f64::NAN), None, Some(0.0), Some(-1.0), Some(f64::INFINITY), Some(1e300)];
    fn fill<T: Clone>(text: &str, rows: usize, item: T) -> Section<T> {
        let own = || text.to_owned();
        Section {
            heading: own(),
            columns: vec![own(); 6],
            items: vec![item; rows],
            note: Some(own()),
            rest: Some(own()),
        }
    }
    let hurt = Hurt {
        id: own(),
        friction: Key(own()),
        title: own(),
        kind: own(),
        state: State::Regressed,
        state_word: own(),
        bar: f64::NAN,
        impact: own(),
        counts: own(),
        next: own(),
        quote: Some(words()),
        seen: own(),
        last_call: Some(CallView { run: Key(own()), number: 7, word: own() }),
        trend: trend(),
        trend_label: own(),
    };
    let module = ModuleRow {
        module: own(),
        name: Key(own()),
        usage: own(),
        absence: None,
        delta: Some(own()),
        interval: Some(IntervalView {
            value: f64::NAN,
            ends: Some((-9.0, 9.0)),
            points: vec![f64::INFINITY],
        }),
        mean: Some(own()),
        friction: Some(own()),
        trend: trend(),
        trend_label: own(),
        quote: Some(words()),
    };
    let untested =
        Untested { why: own(), modules: vec![own(); 2], tools: vec![own(); 2], rest: Some(own()) };
    let days = CoverageRow::Persona { label: own(), days: DayStatus::ALL.to_vec() };
    View {
        language: "en",
        thousands: ',',
        title: own(),
        sentence: own(),
        summary: vec![own(); rows],
        hurts: fill(text, rows, hurt),
        changes: fill(
            text,
            rows,
            Change { state: None, kind: own(), text: own(), friction: Some(Key(own())) },
        ),
        modules: fill(text, rows, module),
        missing: fill(text, rows, [own(), own(), own()]),
        slow: fill(text, rows, [own(), own(), own(), own()]),
        not_tested: fill(text, rows, untested),
        coverage: fill(text, rows, days),
        legend: DayStatus::ALL.iter().map(|status| (*status, own())).collect(),
        reliability: fill(text, rows, own()),
        cost: fill(text, rows, own()),
        footer: own(),
    }
}
