//! The modules at a glance.

use maud::{Markup, html};

use crate::{
    report::{
        html::{
            links::{Links, linked},
            sections::unbroken,
            shapes,
        },
        view::ModuleRow,
    },
    ui::{asked::Asked, frame, words},
};

/// A line for each module: its rating as a difference, or the word for its absence, and how often it failed.
pub(super) fn modules(asked: &Asked, rows: &[ModuleRow], label: &str) -> Markup {
    let words = words::front::words(asked.language);
    let columns = [words.module, words.usage, words.rating, words.friction];
    frame::wide(
        label,
        html! {
            table {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { @for row in rows { (line(asked, row)) } }
            }
        },
    )
}

fn line(asked: &Asked, row: &ModuleRow) -> Markup {
    html! {
        tr data-item {
            th.whole scope="row" { (linked(asked.module(&row.name.0), html! { bdi { (row.module) } })) }
            td { (row.usage) }
            td {
                @if let Some(absence) = &row.absence { span.grey { (absence) } }
                @if let Some(interval) = &row.interval { (shapes::interval(interval)) }
                @if let Some(delta) = &row.delta { (unbroken(delta)) }
            }
            td { (unbroken(row.friction.as_deref().unwrap_or_default())) }
        }
    }
}
