//! The table of modules.

use maud::{Markup, html};

use super::{
    findings::quote,
    links::{Links, linked},
    sections::unbroken,
    shapes::{self, RATINGS},
};
use crate::report::view::ModuleRow;

/// `columns` name the module, the difference, the mean, the share of runs with friction, the trend and the quote.
///
/// A quote has a row of its own below the numbers, which it would press together. Each module is therefore a group of
/// rows. On a narrow screen a module becomes a card, in which each number is preceded by the name of its column.
pub(crate) fn table(rows: &[ModuleRow], columns: &[String], links: &dyn Links) -> Markup {
    let column = |position: usize| columns.get(position).map_or("", String::as_str);
    html! {
        table.modules {
            thead { tr { @for position in 0..5 { th scope="col" { (column(position)) } } } }
            @for row in rows {
                tbody {
                    tr {
                        th scope="rowgroup" rowspan=[row.quote.as_ref().map(|_| 2)] {
                            (linked(links.module(&row.name.0), html! { bdi { (row.module) } }))
                            " "
                            span.use { (row.usage) }
                        }
                        (rating(row, column(1), column(2)))
                        td data-label=(column(3)) { (unbroken(row.friction.as_deref().unwrap_or_default())) }
                        (trend(row, column(4)))
                    }
                    @if let Some(words) = &row.quote {
                        tr { td.words colspan="4" data-label=(column(5)) { (quote(words, links)) } }
                    }
                }
            }
        }
    }
}

/// The difference and the mean, or the word for their absence in the place of both.
fn rating(row: &ModuleRow, delta: &str, mean: &str) -> Markup {
    html! {
        @if let Some(absence) = &row.absence {
            td.absence colspan="2" data-label=(delta) { (absence) }
        } @else {
            td data-label=(delta) {
                @if let Some(interval) = &row.interval { (shapes::interval(interval)) }
                @if let Some(words) = &row.delta { span.delta { (unbroken(words)) } }
            }
            td.raw data-label=(mean) { (row.mean.as_deref().unwrap_or_default()) }
        }
    }
}

fn trend(row: &ModuleRow, column: &str) -> Markup {
    let is_drawn = row.trend.iter().any(Option::is_some);
    html! {
        td.trend data-label=(column) {
            @if is_drawn { (shapes::line(&row.trend, RATINGS, &row.trend_label)) }
        }
    }
}
