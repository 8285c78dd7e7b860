//! The days that a page is about, and others to choose from.

use jiff::civil::Date;
use maud::{Markup, html};

use super::{asked::Asked, words};
use crate::{domain::Week, facts::window::Days, report::view::languages};

/// The numbers of last days to choose from.
const CHOICES: [u32; 3] = [7, 28, 90];

/// A line below the heading: the days from the first to the last, by the name of their week if they are one, and links
/// to the same page for other days. `default` are the days of a request that names none.
pub(super) fn told(asked: &Asked, window: Option<(Date, Date)>, default: Days) -> Markup {
    let words = words::days::words(asked.language);
    let shown = asked.days.unwrap_or(default);
    html! {
        p.note {
            (title(asked, window))
            " · " (words.last) ": "
            @for (position, count) in CHOICES.into_iter().enumerate() {
                @if position > 0 { ", " }
                @if shown == Days::Last(count) {
                    b aria-current="true" { (words.days(count)) }
                } @else {
                    a href=(asked.for_days(count)) { (words.days(count)) }
                }
            }
        }
    }
}

/// The days in the words of the report.
fn title(asked: &Asked, window: Option<(Date, Date)>) -> String {
    let words = languages::words(asked.language);
    let Some((from, to)) = window else { return words.untitled().to_owned() };
    let week = Week::of(from);
    let is_week = (week.monday(), week.sunday()) == (from, to);
    words.title(is_week.then_some(week), &words.days(from, to))
}
