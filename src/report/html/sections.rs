//! The frame that all sections share, and the sections without a picture of their own.

use maud::{Markup, html};

use super::grid;
use crate::report::view::{Section, Untested, View};

/// A section with its number; `draw` is called if it has items.
pub(crate) fn section<T>(
    number: u32,
    section: &Section<T>,
    draw: impl FnOnce(&[T]) -> Markup,
) -> Markup {
    html! {
        section {
            (heading(number, section))
            (content(section, draw))
        }
    }
}

fn heading<T>(number: u32, section: &Section<T>) -> Markup {
    html! { h2 { span.number { (number) } " " (section.heading) } }
}

pub(crate) fn content<T>(section: &Section<T>, draw: impl FnOnce(&[T]) -> Markup) -> Markup {
    html! {
        @if let Some(note) = &section.note { p.note { (note) } }
        @if !section.items.is_empty() { (draw(&section.items)) }
        @if let Some(rest) = &section.rest { p.rest { (rest) } }
    }
}

pub(crate) fn lines(items: &[String]) -> Markup {
    html! { ul.lines { @for line in items { li { (unbroken(line)) } } } }
}

/// A text in which no line break divides an interval in brackets, or a number from its percent sign.
pub(crate) fn unbroken(text: &str) -> Markup {
    html! {
        @for part in text.replace(" %", "\u{a0}%").split_inclusive(']') {
            @let (before, interval) = part.split_at(part.find('[').unwrap_or(part.len()));
            (before)
            @if !interval.is_empty() { span.whole { (interval) } }
        }
    }
}

/// A table whose first column names the row and whose other columns are numbers.
pub(crate) fn table<const N: usize>(rows: &[[String; N]], columns: &[String]) -> Markup {
    html! { div.wide { (numbers(rows, columns)) } }
}

/// [`table`] without what lets it scroll.
pub(crate) fn numbers<const N: usize>(rows: &[[String; N]], columns: &[String]) -> Markup {
    html! {
        table.numbers {
            thead { tr { @for column in columns { th scope="col" { (column) } } } }
            tbody {
                @for row in rows {
                    tr {
                        @for (position, cell) in row.iter().enumerate() {
                            @if position == 0 {
                                th scope="row" { bdi { (cell) } }
                            } @else {
                                td { (cell) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What was not tested, and below it what each day came to.
pub(crate) fn not_tested(number: u32, view: &View) -> Markup {
    html! {
        section {
            (heading(number, &view.not_tested))
            (content(&view.not_tested, reasons))
            h3 { (view.coverage.heading) }
            (content(&view.coverage, |_| grid::coverage(view)))
        }
    }
}

pub(crate) fn reasons(items: &[Untested]) -> Markup {
    html! {
        dl.reasons {
            @for reason in items {
                dt { (reason.why) }
                @if !reason.modules.is_empty() {
                    dd { (listed(&reason.modules, |name| html! { bdi { (name) } })) }
                }
                @if !reason.tools.is_empty() {
                    dd { (listed(&reason.tools, |name| html! { code { (name) } })) }
                }
                @if let Some(rest) = &reason.rest { dd.rest { (rest) } }
            }
        }
    }
}

fn listed(names: &[String], draw: impl Fn(&str) -> Markup) -> Markup {
    html! {
        @for (position, name) in names.iter().enumerate() {
            @if position > 0 { ", " }
            (draw(name))
        }
    }
}
