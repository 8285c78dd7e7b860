//! What each day came to: a row of cells for each persona, or a stacked bar for each day.

use std::fmt::Write;

use maud::{Markup, html};

use crate::{
    domain::Label,
    facts::coverage::DayStatus,
    report::view::{CoverageRow, View},
};

/// Width of a day and height of a row.
const CELL: usize = 12;
/// Width of a stacked bar.
const BAR: u64 = 240;

pub(crate) fn coverage(view: &View) -> Markup {
    html! {
        (key(&view.legend))
        div.wide.newest {
            table.coverage {
                thead { tr { (head(&view.coverage.columns)) } }
                tbody {
                    @for row in &view.coverage.items {
                        @match row {
                            CoverageRow::Persona { label, days } => {
                                tr { th scope="row" { bdi { (label) } } td { (persona(days, view)) } }
                            }
                            CoverageRow::Day { label, counts } => {
                                tr { th scope="row" { (label) } td { (day(counts, view)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The name of the rows and that of the pictures; of the names of many days, the first and the last.
fn head(columns: &[String]) -> Markup {
    html! {
        @if let [row, first, rest @ ..] = columns {
            th scope="col" { (row) }
            th scope="col" { span { (first) @if let [.., last] = rest { " – " (last) } } }
        }
    }
}

/// What the cells mean.
pub(crate) fn key(legend: &[(DayStatus, String)]) -> Markup {
    html! {
        ul.key {
            @for (status, word) in legend {
                li { (cells(&[*status])) " " (word) }
            }
        }
    }
}

fn persona(days: &[DayStatus], view: &View) -> Markup {
    let count = |status| days.iter().filter(|day| **day == status).count() as u64;
    let counts = view.legend.iter().map(|(status, _)| (*status, count(*status)));
    html! { div.day { (cells(days)) span { (words(counts, view)) } } }
}

fn day(counts: &[(DayStatus, u32)], view: &View) -> Markup {
    let counts = || counts.iter().map(|(status, count)| (*status, u64::from(*count)));
    let all: u64 = counts().map(|(_, count)| count).sum();
    let mut sum = 0;
    let segments: Vec<_> = counts()
        .map(|(status, count)| {
            let start = sum * BAR / all.max(1);
            sum += count;
            (status, start, sum * BAR / all.max(1) - start)
        })
        .collect();
    html! {
        div.day {
            svg.days aria-hidden="true" viewBox={ "0 0 " (BAR) " " (CELL) } width=(BAR) height=(CELL) {
                @for (status, start, width) in segments {
                    rect.(status.as_str()) x=(start) width=(width) height=(CELL) {}
                }
            }
            span { (words(counts(), view)) }
        }
    }
}

/// How often each status occurs, in the words of the legend; without zeros.
fn words(counts: impl Iterator<Item = (DayStatus, u64)>, view: &View) -> String {
    let word =
        |status| view.legend.iter().find(|(known, _)| *known == status).map(|(_, word)| word);
    let mut words = String::new();
    for (status, count) in counts.filter(|(_, count)| *count > 0) {
        let separator = if words.is_empty() { "" } else { " · " };
        let word = word(status).map_or("", String::as_str);
        let _ = write!(words, "{separator}{} {word}", view.number(count));
    }
    words
}

/// A cell for each day. The style sheet gives each status a pattern of its own besides its colour.
///
/// All cells of a status are one path, and neighbours of the same status one line of it, which the pattern divides into
/// cells: the days of fifty personas take few bytes however much they differ.
pub(crate) fn cells(days: &[DayStatus]) -> Markup {
    let width = days.len() * CELL;
    let path = |status: DayStatus| {
        let mut path = String::new();
        let mut start = 0;
        for same in days.chunk_by(|a, b| a == b) {
            if same.first() == Some(&status) {
                let _ = write!(path, "M{} 6h{}", start * CELL, same.len() * CELL);
            }
            start += same.len();
        }
        path
    };
    let paths = DayStatus::ALL.iter().map(|status| (status, path(*status)));
    html! {
        svg.days aria-hidden="true" viewBox={ "0 0 " (width) " " (CELL) } width=(width) height=(CELL) {
            @for (status, path) in paths.filter(|(_, path)| !path.is_empty()) {
                path.(status.as_str()) d=(path) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::tests::samples;

    #[test]
    fn neighbours_of_the_same_status_are_one_line() {
        use DayStatus::{Idle, Ran};
        let drawn = cells(&[Ran, Ran, Idle, Ran]).into_string();
        assert!(drawn.contains("<path class=\"ran\" d=\"M0 6h24M36 6h12\"></path>"), "{drawn}");
        assert!(drawn.contains("<path class=\"idle\" d=\"M24 6h12\"></path>"), "{drawn}");
    }

    #[test]
    fn a_day_is_told_in_words_without_the_statuses_that_did_not_occur() {
        let legend = vec![(DayStatus::Ran, "ran".to_owned()), (DayStatus::Idle, "idle".to_owned())];
        let view = View { legend, ..samples::empty() };
        let drawn = persona(&[DayStatus::Ran, DayStatus::Ran], &view).into_string();
        assert!(drawn.ends_with("<span>2 ran</span></div>"), "{drawn}");
        let drawn = day(&[(DayStatus::Ran, 7_000), (DayStatus::Idle, 2)], &view).into_string();
        assert!(drawn.ends_with("<span>7,000 ran · 2 idle</span></div>"), "{drawn}");
    }

    #[test]
    fn the_segments_of_a_day_fill_the_bar() {
        let counts = [(DayStatus::Ran, 1), (DayStatus::Idle, 1), (DayStatus::Other, u32::MAX)];
        let drawn = day(&counts, &samples::empty()).into_string();
        let widths = drawn.split("\" width=\"").skip(2).filter_map(|rest| rest.split('"').next());
        assert_eq!(widths.filter_map(|width| width.parse::<u64>().ok()).sum::<u64>(), BAR);
        assert!(day(&[], &samples::empty()).into_string().ends_with("</svg><span></span></div>"));
    }
}
