//! The days on which a persona was due and did not run.

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date};
use maud::{Markup, html};

use crate::{
    facts::{coverage::DayStatus, line, overview::Overview},
    report::view::languages,
    ui::{asked::Asked, frame, times::Times, words},
};

/// How many days are listed.
const MOST: usize = 50;

/// The days, newest first, with what they came to and the reasons that were noted.
pub(super) fn section(
    asked: &Asked,
    times: &Times,
    found: Option<&Overview>,
    id: &str,
    noted: &[line::Absence],
) -> Markup {
    let (words, terms) = (words::personas::words(asked.language), languages::words(asked.language));
    let persona = found.and_then(|found| Some((&found.days, &found.persona(id)?.days)));
    let days = persona.into_iter().flat_map(|(days, statuses)| days.iter().zip(statuses));
    let absent: Vec<_> = days.filter(|(_, status)| is_absence(**status)).collect();
    let why = |day: Date| {
        let of_day = noted.iter().filter(|it| day_of(times, &it.slot) == Some(day));
        let whys: BTreeSet<_> = of_day.map(|it| terms.not_run(it.why)).collect();
        whys.into_iter().collect::<Vec<_>>().join(", ")
    };
    let rows = html! {
        table {
            (frame::head(&words.absent_columns, &[]))
            tbody {
                @for (day, status) in absent.iter().rev().take(MOST) {
                    tr {
                        th.whole scope="row" { (times.day(**day)) }
                        td { (terms.day(**status)) }
                        td.grey { (why(**day)) }
                    }
                }
            }
        }
    };
    html! {
        @if !absent.is_empty() {
            section {
                h2 { (words.absent) }
                (frame::wide(words.absent, rows))
            }
        }
    }
}

/// Whether the persona was due and did not run.
fn is_absence(status: DayStatus) -> bool {
    match status {
        DayStatus::Ran | DayStatus::Idle | DayStatus::FailedProduct | DayStatus::FailedRunner => {
            false
        }
        DayStatus::NotDue => false,
        DayStatus::Paused
        | DayStatus::Budget
        | DayStatus::HeldBack
        | DayStatus::RunnerDown
        | DayStatus::ModelStopped
        | DayStatus::Other => true,
    }
}

/// The day of a slot: its date, or for an hour, which is one of UTC, the date when it begins.
fn day_of(times: &Times, slot: &str) -> Option<Date> {
    match slot.contains('T') {
        true => Some(times.day_of(format!("{slot}:00Z").parse::<Timestamp>().ok()?)),
        false => slot.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::domain::Language;

    #[test]
    fn an_hour_of_utc_belongs_to_the_day_of_the_zone() {
        let times = Times::new(TimeZone::get("Europe/Berlin").unwrap(), Language::German);
        let day = |slot| day_of(&times, slot).map(|day| day.to_string());
        assert_eq!(day("2026-11-18").as_deref(), Some("2026-11-18"));
        assert_eq!(day("2026-11-18T22").as_deref(), Some("2026-11-18"));
        assert_eq!(day("2026-11-18T23").as_deref(), Some("2026-11-19"));
        assert_eq!(day("never"), None);
    }
}
