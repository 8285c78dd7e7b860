//! Pictures of numbers, as SVG within a page.
//!
//! They have their size in attributes and their colours from the classes of the page's style sheet. Equal numbers give
//! equal bytes: lengths are rounded to a tenth of a pixel. A picture that only repeats words beside it is hidden from
//! screen readers; any other has a title.

use std::{fmt::Write, ops::RangeInclusive};

use maud::{Markup, html};

use crate::report::view::IntervalView;

/// The range of ratings.
pub(super) const RATINGS: RangeInclusive<f64> = 1.0..=5.0;

/// Width of a day in a trend, of which one pixel is the gap to the next day.
const DAY: f64 = 5.0;
/// The gap between two weeks in a trend. Weeks are counted back from the last day.
const WEEK_GAP: f64 = 3.0;
const TREND_HEIGHT: f64 = 32.0;
/// The range of differences of ratings on the axis of [`interval`].
const DIFFERENCES: RangeInclusive<f64> = -2.0..=2.0;
const INTERVAL: (f64, f64) = (120.0, 16.0);

/// A bar for a share of 0 to 1 of the width. The share must also be told in words.
pub(super) fn bar(share: f64) -> Markup {
    let width = px(100.0 * position(share, &(0.0..=1.0)));
    html! {
        svg.bar aria-hidden="true" viewBox="0 0 100 6" width="100%" height="6" preserveAspectRatio="none" {
            rect.track width="100" height="6" {}
            rect.value width=(width) height="6" {}
        }
    }
}

/// A column for each day's count, from zero to the largest count. A day with a count of zero has a flat line, a day
/// without a count has nothing.
pub(super) fn columns(days: &[Option<f64>], title: &str) -> Markup {
    let largest = days.iter().flatten().copied().fold(1.0, f64::max);
    let (mut counts, mut zeros) = (String::new(), String::new());
    for (day, count) in (0..).zip(days) {
        let x = px(day_start(day, days.len()));
        let (width, bottom) = (DAY - 1.0, TREND_HEIGHT - 1.0);
        let _ = match count {
            None => Ok(()),
            Some(count) if *count > 0.0 => {
                // The smallest column is higher than the line of a zero.
                let height = px((bottom * position(*count, &(0.0..=largest))).max(3.0));
                write!(counts, "M{x} {TREND_HEIGHT}v-{height}h{width}v{height}z")
            }
            Some(_) => write!(zeros, "M{x} {bottom}h{width}"),
        };
    }
    trend(
        days.len(),
        title,
        html! {
            @if !zeros.is_empty() { path.zero d=(zeros) {} }
            @if !counts.is_empty() { path.count d=(counts) {} }
        },
    )
}

/// A point for each day's value, and a line between the values of neighbouring days. `range` is the height.
pub(super) fn line(days: &[Option<f64>], range: RangeInclusive<f64>, title: &str) -> Markup {
    let (mut line, mut points) = (String::new(), String::new());
    let mut is_joined = false;
    for (day, value) in (0..).zip(days) {
        if let Some(value) = value {
            let x = px(day_start(day, days.len()) + (DAY - 1.0) / 2.0);
            let y = px(3.0 + (TREND_HEIGHT - 6.0) * (1.0 - position(*value, &range)));
            let _ = write!(line, "{}{x} {y}", if is_joined { 'L' } else { 'M' });
            let _ = write!(points, "M{x} {y}h0");
        }
        is_joined = value.is_some();
    }
    let width = px(trend_width(days.len()));
    trend(
        days.len(),
        title,
        html! {
            path.scale d=(format!("M0 3h{width}M0 {}h{width}", TREND_HEIGHT - 3.0)) {}
            path.line d=(line) {}
            path.points d=(points) {}
        },
    )
}

fn trend(days: usize, title: &str, content: Markup) -> Markup {
    let width = px(trend_width(days));
    html! {
        svg.trend role="img" viewBox={ "0 0 " (width) " " (TREND_HEIGHT) } width=(width) height=(TREND_HEIGHT) {
            title { (title) }
            (content)
        }
    }
}

fn day_start(day: usize, days: usize) -> f64 {
    // Whole weeks between this day and the last one; the oldest week may have fewer days.
    let weeks = |day: usize| (days - 1 - day) / 7;
    DAY * day as f64 + WEEK_GAP * (weeks(0) - weeks(day)) as f64
}

fn trend_width(days: usize) -> f64 {
    days.checked_sub(1).map_or(1.0, |last| day_start(last, days) + DAY - 1.0)
}

/// A difference on an axis from -2 to 2, with a line at 0: its interval, or else its points. It must also be told in
/// words: what lies beyond the axis is drawn at its end.
pub(super) fn interval(view: &IntervalView) -> Markup {
    let (width, height) = INTERVAL;
    let middle = height / 2.0;
    let x = |value: f64| px(4.0 + (width - 8.0) * position(value, &DIFFERENCES));
    html! {
        svg.interval aria-hidden="true" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
            path.scale d={ "M4 " (middle) "H" (width - 4.0) } {}
            path.zero d={ "M" (x(0.0)) " 1V" (height - 1.0) } {}
            @if let Some((low, high)) = view.ends {
                path.ends d={ "M" (x(low)) " " (middle) "H" (x(high)) } {}
            }
            @for point in &view.points { circle.point cx=(x(*point)) cy=(middle) r="2.5" {} }
            circle.value cx=(x(view.value)) cy=(middle) r="4" {}
        }
    }
}

/// Where a value lies in a range, from 0 to 1. Values outside are at an end; what is no number is at the beginning.
fn position(value: f64, range: &RangeInclusive<f64>) -> f64 {
    let share = (value - range.start()) / (range.end() - range.start());
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

/// A length rounded to a tenth of a pixel.
fn px(length: f64) -> f64 {
    (length * 10.0).round() / 10.0
}
