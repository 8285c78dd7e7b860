//! What the days of a persona came to, as cells and in words.

use std::collections::BTreeMap;

use jiff::civil::Date;
use maud::{Markup, html};

use crate::{
    facts::coverage::DayStatus,
    report::{html::grid, view::languages},
    ui::{asked::Asked, times::Times, words},
};

/// The first and the last of the days that a grid shows.
pub(super) fn told(asked: &Asked, times: &Times, days: &[Date]) -> String {
    let words = words::personas::words(asked.language);
    let ends = days.first().zip(days.last());
    ends.map_or(String::new(), |(from, to)| words.grid(&times.day(*from), &times.day(*to)))
}

/// What the cells of these days mean.
pub(super) fn key<'d>(asked: &Asked, days: impl Iterator<Item = &'d DayStatus>) -> Markup {
    let used: BTreeMap<_, _> = days.map(|day| (*day, word(asked, *day))).collect();
    grid::key(&used.into_iter().collect::<Vec<_>>())
}

/// The days of a persona in a row, and how often each status occurs.
pub(super) fn row(asked: &Asked, days: &[DayStatus]) -> Markup {
    html! { div.day { (grid::cells(days)) span.grey { (counts(asked, days)) } } }
}

fn counts(asked: &Asked, days: &[DayStatus]) -> String {
    let mut counts = BTreeMap::<_, u64>::new();
    days.iter().for_each(|day| *counts.entry(*day).or_default() += 1);
    let number = |count| languages::words(asked.language).number(count);
    let counts = counts.into_iter();
    let counts = counts.map(|(day, count)| format!("{} {}", number(count), word(asked, day)));
    counts.collect::<Vec<_>>().join(" · ")
}

fn word(asked: &Asked, day: DayStatus) -> String {
    languages::words(asked.language).day(day).to_owned()
}
