//! The grid of modules and weeks. The numbers of a cell are tinted the darker the worse they are.

use maud::{Markup, html};

use crate::{
    facts::{
        overview::{ModuleWeek, ModuleWeeks},
        report::ModuleReport,
    },
    report::view::{languages, words::percent},
    ui::{asked::Asked, words},
};

/// A mean rating below these has the first, second and third tint.
const RATINGS: [f64; 3] = [4.0, 3.5, 3.0];
/// A share of runs with failures from these on has the first, second and third tint.
const SHARES: [f64; 3] = [0.05, 0.15, 0.30];
/// The classes of the tints.
const TINTS: [&str; 3] = ["h1", "h2", "h3"];

/// How to read the grid.
pub(super) fn key(asked: &Asked) -> Markup {
    let words = words::modules::words(asked.language);
    let number = |rating: f64| languages::words(asked.language).decimal(rating, 1);
    html! {
        p.note { (words.cells) }
        ul.key {
            @for ((tint, rating), share) in TINTS.iter().zip(RATINGS).zip(SHARES) {
                li { span.(*tint) { (words.tint(&number(rating), &percent(share))) } }
            }
        }
    }
}

pub(super) fn table(asked: &Asked, all: &ModuleWeeks, modules: &[&ModuleReport]) -> Markup {
    let words = words::modules::words(asked.language);
    let column = languages::words(asked.language).columns().modules[0];
    let weeks = |module: &ModuleReport| {
        let found = all.modules.iter().find(|it| *it.module == *module.module);
        found.map(|it| &it.weeks[..]).unwrap_or_default()
    };
    html! {
        table.heat {
            thead {
                tr {
                    th scope="col" { (column) }
                    @for week in &all.weeks { th.n scope="col" { (words.week(*week)) } }
                }
            }
            tbody {
                @for module in modules {
                    tr data-item {
                        th scope="row" { (name(asked, module)) }
                        @for week in weeks(module) { td { (cell(asked, *week)) } }
                    }
                }
            }
        }
    }
}

fn name(asked: &Asked, module: &ModuleReport) -> Markup {
    let (name, shown) = (&module.module, super::one::shown(&module.module));
    html! { a href=(asked.link(&["modules", name], &[])) { bdi { (shown) } } }
}

/// The mean rating above the share of runs with failures; or words, where there are no numbers.
fn cell(asked: &Asked, week: Option<ModuleWeek>) -> Markup {
    let words = words::modules::words(asked.language);
    let Some(week) = week else { return html! { span.grey { (words.unused_week) } } };
    if !week.is_enough() {
        return html! { span.grey { (words.too_few) } };
    }
    let share = f64::from(week.failed) / f64::from(week.runs.max(1));
    html! {
        @match week.ratings.mean() {
            Some(mean) => (tinted(RATINGS, |below| mean < below, &languages::words(asked.language).decimal(mean, 1))),
            None => span.grey { (words.unrated_week) },
        }
        (tinted(SHARES, |from| share >= from, &percent(share)))
    }
}

/// A number with the last tint whose limit it passes.
fn tinted(limits: [f64; 3], passes: impl Fn(f64) -> bool, number: &str) -> Markup {
    let tint = TINTS.iter().zip(limits).rfind(|(_, limit)| passes(*limit)).map(|(tint, _)| *tint);
    html! { span class=[tint] { (number) } }
}
