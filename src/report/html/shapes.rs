//! Pictures of numbers, as SVG within a page.
//!
//! They have their size in attributes and their colours from the classes of the page's style sheet. Equal numbers give
//! equal bytes: lengths are rounded to a tenth of a pixel. A picture that only repeats words beside it is hidden from
//! screen readers; any other has a title.

use std::{fmt::Write, ops::RangeInclusive};

use maud::{Markup, html};

use crate::report::view::IntervalView;

/// The range of ratings.
pub(crate) const RATINGS: RangeInclusive<f64> = 1.0..=5.0;

/// Width of a day in a trend, of which one pixel is the gap to the next day.
const DAY: f64 = 5.0;
/// The gap between two weeks in a trend. Weeks are counted back from the last day.
const WEEK_GAP: f64 = 3.0;
const TREND_HEIGHT: f64 = 32.0;
/// The range of differences of ratings on the axis of [`interval`].
const DIFFERENCES: RangeInclusive<f64> = -2.0..=2.0;
const INTERVAL: (f64, f64) = (120.0, 16.0);

/// A bar for a share of 0 to 1 of the width. The share must also be told in words.
pub(crate) fn bar(share: f64) -> Markup {
    bar_of(share, "100%")
}

/// [`bar`] in fewer bytes, for long lists: its track is its background.
pub(crate) fn brief_bar(share: f64) -> Markup {
    let width = px(100.0 * position(share, &(0.0..=1.0)));
    html! {
        svg.bar aria-hidden="true" viewBox="0 0 100 6" width="100%" height="6" preserveAspectRatio="none" {
            path.value d={ "M0 0h" (width) "v6H0z" } {}
        }
    }
}

/// A bar for a cell of a table, which has no width before it is filled.
pub(crate) fn short_bar(share: f64) -> Markup {
    bar_of(share, "120")
}

fn bar_of(share: f64, whole: &str) -> Markup {
    let width = px(100.0 * position(share, &(0.0..=1.0)));
    html! {
        svg.bar aria-hidden="true" viewBox="0 0 100 6" width=(whole) height="6" preserveAspectRatio="none" {
            rect.track width="100" height="6" {}
            rect.value width=(width) height="6" {}
        }
    }
}

/// A column for each day's count, from zero to the largest count. A day with a count of zero has a flat line, a day
/// without a count has nothing.
pub(crate) fn columns(days: &[Option<f64>], title: &str) -> Markup {
    trend(days.len(), 1.0, title, counts(days))
}

/// [`columns`] in fewer bytes, for long lists: columns are thick lines, and neighbours of zero are one line.
pub(crate) fn brief_columns(days: &[Option<f64>], title: &str) -> Markup {
    let largest = largest(days);
    let (mut counts, mut zeros) = (String::new(), String::new());
    let start = |day: usize| day_start(day, days.len());
    let mut first = 0;
    for same in days.chunk_by(|a, b| *a == Some(0.0) && *b == Some(0.0)) {
        let last = first + same.len() - 1;
        let _ = match same.first().copied().flatten() {
            None => Ok(()),
            Some(count) if count > 0.0 => {
                let x = px(start(first) + (DAY - 1.0) / 2.0);
                write!(counts, "M{x} {TREND_HEIGHT}v-{}", height(count, largest).round())
            }
            Some(_) => {
                let width = px(start(last) + DAY - 1.0 - start(first));
                write!(zeros, "M{} {}h{width}", px(start(first)), TREND_HEIGHT - 1.0)
            }
        };
        first = last + 1;
    }
    html! {
        svg.trend role="img" width=(px(trend_width(days.len()))) height=(TREND_HEIGHT) {
            title { (title) }
            @if !zeros.is_empty() { path.zero d=(zeros) {} }
            @if !counts.is_empty() { path.counts d=(counts) {} }
        }
    }
}

/// [`columns`] twice as large, with a line where each of the days `marks` begins.
pub(crate) fn marked_columns(days: &[Option<f64>], marks: &[usize], title: &str) -> Markup {
    let mut lines = String::new();
    for day in marks.iter().filter(|day| **day < days.len()) {
        let _ = write!(lines, "M{} 0V{TREND_HEIGHT}", px(day_start(*day, days.len()) - 0.5));
    }
    trend(
        days.len(),
        2.0,
        title,
        html! {
            (counts(days))
            @if !lines.is_empty() { path.mark d=(lines) {} }
        },
    )
}

fn counts(days: &[Option<f64>]) -> Markup {
    let largest = largest(days);
    let (mut counts, mut zeros) = (String::new(), String::new());
    for (day, count) in (0..).zip(days) {
        let x = px(day_start(day, days.len()));
        let (width, bottom) = (DAY - 1.0, TREND_HEIGHT - 1.0);
        let _ = match count {
            None => Ok(()),
            Some(count) if *count > 0.0 => {
                let height = height(*count, largest);
                write!(counts, "M{x} {TREND_HEIGHT}v-{height}h{width}v{height}z")
            }
            Some(_) => write!(zeros, "M{x} {bottom}h{width}"),
        };
    }
    html! {
        @if !zeros.is_empty() { path.zero d=(zeros) {} }
        @if !counts.is_empty() { path.count d=(counts) {} }
    }
}

fn largest(days: &[Option<f64>]) -> f64 {
    days.iter().flatten().copied().fold(1.0, f64::max)
}

/// The height of a column. The smallest one is higher than the line of a zero.
fn height(count: f64, largest: f64) -> f64 {
    px(((TREND_HEIGHT - 1.0) * position(count, &(0.0..=largest))).max(3.0))
}

/// A point for each day's value, and a line between the values of neighbouring days. `range` is the height.
pub(crate) fn line(days: &[Option<f64>], range: RangeInclusive<f64>, title: &str) -> Markup {
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
        1.0,
        title,
        html! {
            path.scale d=(format!("M0 3h{width}M0 {}h{width}", TREND_HEIGHT - 3.0)) {}
            path.line d=(line) {}
            path.points d=(points) {}
        },
    )
}

fn trend(days: usize, scale: f64, title: &str, content: Markup) -> Markup {
    let width = px(trend_width(days));
    let shown = [width, TREND_HEIGHT].map(|length| px(length * scale));
    html! {
        svg.trend role="img" viewBox={ "0 0 " (width) " " (TREND_HEIGHT) } width=(shown[0]) height=(shown[1]) {
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
pub(crate) fn interval(view: &IntervalView) -> Markup {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn days(values: &[Option<f64>]) -> String {
        columns(values, "Runs").into_string()
    }

    #[test]
    fn a_day_with_a_count_of_zero_has_a_line_and_a_day_without_a_count_has_nothing() {
        assert!(days(&[None, None]).ends_with("<title>Runs</title></svg>"));
        assert!(days(&[None, Some(0.0)]).contains("<path class=\"zero\" d=\"M5 31h4\"></path>"));
        assert!(!days(&[None, Some(0.0)]).contains("count"));
    }

    #[test]
    fn the_largest_count_has_the_whole_height_and_the_smallest_is_higher_than_a_zero() {
        let drawn = days(&[Some(0.0), Some(1.0), Some(1_000.0)]);
        assert!(drawn.contains("d=\"M5 32v-3h4v3zM10 32v-31h4v31z\""), "{drawn}");
    }

    #[test]
    fn weeks_are_set_apart_as_counted_from_the_last_day() {
        assert_eq!([0, 1, 7, 8].map(|day| day_start(day, 9)), [0.0, 5.0, 38.0, 43.0]);
        assert!(days(&[None; 28]).contains("width=\"148\""));
    }

    #[test]
    fn a_brief_picture_shows_the_same_in_fewer_bytes() {
        let days = [Some(0.0), Some(0.0), None, Some(1.0), Some(2.0), Some(0.0)];
        let drawn = brief_columns(&days, "Runs").into_string();
        assert!(drawn.contains("<path class=\"zero\" d=\"M0 31h9M25 31h4\"></path>"), "{drawn}");
        assert!(
            drawn.contains("<path class=\"counts\" d=\"M17 32v-16M22 32v-31\"></path>"),
            "{drawn}"
        );
        let always = vec![Some(31.0); 28];
        let [brief, whole] =
            [brief_columns, columns].map(|draw| draw(&always, "").into_string().len());
        assert!(brief + 150 < whole, "{brief} of {whole}");
    }

    #[test]
    fn a_mark_stands_where_its_day_begins_and_a_day_that_is_not_drawn_has_none() {
        let drawn = marked_columns(&[Some(1.0), Some(0.0), None], &[1, 7], "Runs").into_string();
        assert!(drawn.contains("<path class=\"mark\" d=\"M4.5 0V32\"></path>"), "{drawn}");
        assert!(drawn.contains("viewBox=\"0 0 14 32\" width=\"28\" height=\"64\""), "{drawn}");
        assert!(!marked_columns(&[Some(1.0)], &[], "Runs").into_string().contains("mark"));
    }

    #[test]
    fn a_line_joins_no_days_between_which_one_is_missing() {
        let drawn =
            line(&[Some(5.0), Some(1.0), None, Some(3.0)], RATINGS, "Ratings").into_string();
        assert!(drawn.contains("<path class=\"line\" d=\"M2 3L7 29M17 16\"></path>"), "{drawn}");
    }

    #[test]
    fn an_interval_beyond_the_axis_ends_with_the_axis() {
        let view = IntervalView { value: -3.0, ends: Some((-4.0, 2.5)), points: vec![0.0] };
        let drawn = interval(&view).into_string();
        for part in ["d=\"M4 8H116\"", "cx=\"60\"", "class=\"value\" cx=\"4\""] {
            assert!(drawn.contains(part), "{drawn}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_numbers_are_lengths_are_numbers_of_at_most_one_digit_after_the_point(
            values in prop::collection::vec(prop::option::of(prop::num::f64::ANY), 0..60)
        ) {
            let value = values.iter().flatten().next().copied().unwrap_or_default();
            let view = IntervalView { value, ends: Some((value, 1.0)), points: vec![value] };
            let drawn = [bar(value), columns(&values, ""), line(&values, RATINGS, ""), interval(&view)];
            for word in drawn.map(Markup::into_string).concat().split(|c: char| !c.is_ascii_digit() && c != '.') {
                let digits = word.split_once('.').map_or("", |(_, digits)| digits);
                prop_assert!(digits.len() <= 1, "{}", word);
            }
            let drawn = columns(&values, "").into_string() + &line(&values, RATINGS, "").into_string();
            prop_assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{}", drawn);
        }
    }
}
