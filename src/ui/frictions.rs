//! /ui/frictions: everything that hurts, ranked, with a filter that is all in the address. Its JSON is `frictions/v1`,
//! which has everything whatever the filter is.

mod case;
mod evidence;
mod filter;
mod history;
mod one;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use maud::{Markup, html};
use serde_json::json;

use self::filter::Filter;
pub(super) use self::one::show;
use super::{
    Answer, Page, Place, Ui,
    asked::Asked,
    days,
    overviews::Found,
    pager,
    times::Times,
    trouble::{self, Trouble},
    words,
};
use crate::{
    domain::clipped_line,
    facts::{
        frictions::{Friction, Frictions},
        line::Mute,
        overview::Overview,
        report::Trend,
        state::State,
        window::Days,
    },
    report::{
        html::findings,
        view::{languages, writer::Writer},
    },
};

/// The days that are shown if the request names none.
const DAYS: Days = Days::Last(28);
/// Longest reason of a mute, in characters.
const REASON: usize = 300;

/// The mutes by the id of their issue.
type Mutes = HashMap<String, Mute>;

/// Why a friction is in its place of the list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    /// A detector has raised it.
    Raised,
    Unraised,
    Muted,
}

impl Group {
    fn of(friction: &Friction) -> Self {
        match friction.state {
            State::Muted => Self::Muted,
            _ if friction.detector.is_none() => Self::Unraised,
            _ => Self::Raised,
        }
    }
}

/// The list.
pub(super) async fn list(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let (filter, number) = (Filter::of(&asked)?, asked.page()?);
    let found = ui.overviews.overview(asked.days.unwrap_or(DAYS)).await?;
    if asked.is_json {
        return Ok(Answer::JsonText(format!("{}\n", json!(found.frictions))));
    }
    let mutes = if found.frictions.muted > 0 { mutes(&ui).await } else { Ok(Mutes::new()) };
    Ok(page(&asked, &found, (&filter, number), &mutes, &ui.times(&asked).await?))
}

/// The page with this number of what the filter lets through.
fn page(
    asked: &Asked,
    found: &Found<Overview>,
    (filter, number): (&Filter<'_>, usize),
    mutes: &Result<Mutes, Trouble>,
    times: &Times,
) -> Answer {
    let words = words::frictions::words(asked.language);
    let all = found.frictions.frictions.iter().zip(&found.trends);
    let listed: Vec<_> =
        all.filter(|(it, _)| filter.lets_through(it)).map(|(it, trend)| (&**it, trend)).collect();
    let main = html! {
        (days::told(asked, window(&found.frictions), DAYS))
        (found.notice(asked.language, times))
        (filter.form(asked, &found.frictions))
        @if listed.is_empty() {
            p { (if filter.is_set() { words.nothing_matches } else { words.nothing }) " " (words.no_all_clear) }
        } @else {
            p.note { (words.listed(listed.len(), found.frictions.frictions.len())) }
        }
        (groups(asked, found, pager::rows(&listed, number), mutes, times))
        (trouble::part(asked, mutes, |_| html! {}))
        (pager::of_rows(asked, number, listed.len()))
    };
    let title = words.title.to_owned();
    Answer::Page(Page { place: Place::Frictions, title, main, live: None })
}

/// The first and the last day.
fn window(frictions: &Frictions) -> Option<(jiff::civil::Date, jiff::civil::Date)> {
    frictions.window.from.zip(frictions.window.to)
}

async fn mutes(ui: &Ui) -> Result<Mutes, Trouble> {
    let mutes = ui.journal.mutes().await?;
    Ok(mutes.into_iter().map(|mute| (mute.issue.clone(), mute)).collect())
}

/// The frictions of a page: raised ones, then the others, muted ones last.
fn groups(
    asked: &Asked,
    overview: &Overview,
    shown: &[(&Friction, &Trend)],
    mutes: &Result<Mutes, Trouble>,
    times: &Times,
) -> Markup {
    let words = words::frictions::words(asked.language);
    let writer = Writer { report: &overview.report, words: languages::words(asked.language) };
    let most = overview.frictions.frictions.iter().map(|it| it.impact).fold(0.0, f64::max);
    html! {
        @for of_group in shown.chunk_by(|(a, _), (b, _)| Group::of(a) == Group::of(b)) {
            @match of_group.first().map(|(it, _)| Group::of(it)) {
                Some(Group::Unraised) => h2 { (words.unraised) },
                Some(Group::Muted) => h2 { (words.muted) },
                _ => {}
            }
            ol.hurts {
                @for (friction, trend) in of_group {
                    li data-item {
                        (findings::brief(&writer.hurt(friction, trend, most), asked))
                        @let mute = mutes.as_ref().ok().and_then(|mutes| mutes.get(&friction.id));
                        @if let Some(mute) = mute.filter(|_| friction.state == State::Muted) {
                            p.note { (muted(asked, mute, times)) }
                        }
                    }
                }
            }
        }
    }
}

/// Until when something is muted, and why.
fn muted(asked: &Asked, mute: &Mute, times: &Times) -> String {
    let until = times.day(times.day_of(mute.until));
    let reason = clipped_line(&mute.reason, REASON);
    words::frictions::words(asked.language).muted_until(&until, &reason)
}
