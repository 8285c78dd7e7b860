//! When runs had a friction, and which deployments came in that time.

use jiff::{ToSpan, civil::Date};
use maud::{Markup, html};

use crate::{
    domain::clipped_line,
    facts::report::{TREND_DAYS, Trend},
    journal::{DayHits, DeploymentRow},
    report::{html::shapes, view::languages},
    ui::{
        asked::Asked,
        times::Times,
        trouble::{self, Trouble},
        words,
    },
};

/// Longest version, in characters.
const VERSION: usize = 40;

/// The trend of an issue that is no friction of the window. Of a day without a hit nobody knows whether a run was
/// exposed.
pub(super) fn trend(hits: &[DayHits], last: Date) -> Trend {
    let mut trend = vec![None; TREND_DAYS];
    for hit in hits {
        if let Some(day) = position(hit.day, last).and_then(|day| trend.get_mut(day)) {
            *day = Some(f64::from(hit.runs));
        }
    }
    trend
}

/// Where a day stands in a trend that ends with the day `last`; `None` if it is outside.
fn position(day: Date, last: Date) -> Option<usize> {
    let age = usize::try_from(last.duration_since(day).as_hours() / 24).ok()?;
    (day <= last).then(|| (TREND_DAYS - 1).checked_sub(age)).flatten()
}

/// The picture, with a line for each deployment of its days, and these deployments.
pub(super) fn draw(
    asked: &Asked,
    trend: &Result<Trend, Trouble>,
    deployments: &Result<Vec<DeploymentRow>, Trouble>,
    last: Date,
    times: &Times,
) -> Markup {
    let words = words::frictions::words(asked.language);
    let first = last.saturating_sub((TREND_DAYS as i64 - 1).days());
    let all = deployments.as_deref().unwrap_or_default();
    let mut of_days: Vec<_> = all
        .iter()
        .filter_map(|it| {
            let at = it.first_at?;
            Some((position(times.day_of(at), last)?, at, it))
        })
        .collect();
    of_days.reverse();
    let marks: Vec<_> = of_days.iter().map(|(day, ..)| *day).collect();
    html! {
        h2 { (words.hits) }
        (trouble::part(asked, trend, |trend| html! {
            figure {
                (shapes::marked_columns(trend, &marks, &told(asked, trend)))
                figcaption { (times.day(first)) " – " (times.day(last)) ": " (told(asked, trend)) }
            }
        }))
        (trouble::part(asked, deployments, |_| html! {
            @if of_days.is_empty() {
                p.note { (words.no_deployment) }
            } @else {
                p.note { (words.deployments) }
                ul.lines {
                    @for (_, at, deployment) in &of_days {
                        li {
                            (times.minute(*at)) ": " bdi { (clipped_line(&deployment.version, VERSION)) }
                            " (" (deployment.id()) ")"
                        }
                    }
                }
            }
        }))
    }
}

/// The picture in words.
fn told(asked: &Asked, trend: &Trend) -> String {
    let days = trend.iter().flatten().filter(|hits| **hits > 0.0).count() as u64;
    let hits: f64 = trend.iter().flatten().sum();
    languages::words(asked.language).hits_by_day(hits as u64, days)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_day_has_its_place_in_the_trend_and_what_is_older_or_newer_has_none() {
        let last = date(2026, 3, 29);
        let of = |day| position(day, last);
        // A day of 23 hours is a day.
        assert_eq!([of(last), of(date(2026, 3, 28))], [Some(27), Some(26)]);
        assert_eq!([of(date(2026, 3, 2)), of(date(2026, 3, 1))], [Some(0), None]);
        assert_eq!(of(date(2026, 3, 30)), None);
        let hit = |day, runs| DayHits { day, runs, recovered: 0, calls: 9 };
        let trend = trend(&[hit(date(2026, 2, 1), 7), hit(last, 2)], last);
        assert_eq!((trend.len(), trend[27], trend[26]), (28, Some(2.0), None));
    }
}
