//! What hurts: the issues and other frictions of a window, ranked by how many personas they stop on an average
//! day.

mod case;
mod quote;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{Timestamp, civil::Date};
use serde::{Serialize, Serializer};

use self::case::Case;
pub(super) use self::case::history;
use super::{
    detect::{self, Detector, RunHit},
    exposure::Exposures,
    line::Sighting,
    share::Share,
    state::{Progress, State},
    trend::Trend,
    window::Window,
};
use crate::domain::{Cause, optional_word, word};

/// The schema of [`Frictions`].
const SCHEMA: &str = "frictions/v1";

/// The frictions of a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Frictions {
    /// `frictions/v1`.
    pub schema: &'static str,
    /// The days.
    pub window: DaysOf,
    /// Those that a detector raised, by impact; then the others; muted ones last.
    #[serde(serialize_with = "shared")]
    pub frictions: Vec<Arc<Friction>>,
    /// How many are muted.
    pub muted: usize,
}

/// The first and the last day of a window; `None` if there is no fact to count days back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DaysOf {
    pub from: Option<Date>,
    pub to: Option<Date>,
}

/// One thing that hurts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Friction {
    /// The id of the issue, or the detector and what it is about: `slow:todo.list`.
    pub id: String,
    /// The tool, if the friction is one of a single tool.
    pub tool: Option<String>,
    /// The module, if the friction is one of a single module.
    pub module: Option<String>,
    /// Why calls failed, if the friction is an issue.
    #[serde(with = "optional_word")]
    pub cause: Option<Cause>,
    /// The heaviest detector that raised the friction.
    #[serde(with = "optional_word")]
    pub detector: Option<Detector>,
    /// All detectors that raised the friction, heaviest first.
    #[serde(serialize_with = "words")]
    pub detectors: BTreeSet<Detector>,
    /// The template of the error texts, if the friction is an issue.
    pub template: Option<String>,
    /// The state at the window's end. That of a friction without an issue follows from the window alone: it is new only
    /// if the window has seven days before its first hit.
    #[serde(with = "word")]
    pub state: State,
    /// How far it is from being resolved.
    #[serde(skip)]
    pub progress: Progress,
    /// How many personas it stops on an average day, with four digits.
    pub impact: f64,
    /// The labels of the personas that had it.
    #[serde(serialize_with = "shared")]
    pub personas: Vec<Arc<str>>,
    /// How many personas could have had it.
    pub personas_exposed: usize,
    /// How many runs had it.
    pub runs: u32,
    /// How many runs could have had it.
    pub runs_exposed: u32,
    /// `runs` of `runs_exposed`, which are never 0.
    pub share: Option<Share>,
    /// How many calls had it.
    pub calls: u32,
    /// How many of the runs recovered from it.
    pub recovered: u32,
    /// How many failed calls were followed by what: each [`crate::domain::Next`] with a number.
    pub next: BTreeMap<&'static str, u32>,
    /// The first time. Of an issue: the very first one, which may be before the window.
    pub first_seen: Sighting,
    /// The last time in the window.
    pub last_seen: Sighting,
    /// A persona's own words.
    pub quote: Option<Quote>,
}

/// A persona's own words. Each persona is quoted once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// The label of the persona.
    pub persona: String,
    /// At most 240 characters, on one line.
    pub text: String,
    /// The id of the run.
    pub run: String,
    /// The number of the call that the words are about.
    pub call: Option<u32>,
    /// When the run began.
    #[serde(skip)]
    pub at: Timestamp,
}

/// The frictions of a window.
pub fn frictions(window: &Window) -> Frictions {
    with_trends(window, |_| ()).0
}

/// An issue with all its hits and exposed runs up to the window's end, in the order in which the runs began.
pub(super) struct Seen<'s> {
    /// The position of the issue in [`Window::issues`].
    pub(super) issue: u32,
    pub(super) hits: &'s [RunHit],
    pub(super) exposed: &'s [u32],
}

/// The frictions of a window, and for each how many runs had it by day. `look` is shown each issue on the way, also
/// those that are no friction of the window.
pub(super) fn with_trends(
    window: &Window,
    mut look: impl FnMut(Seen<'_>),
) -> (Frictions, Vec<Trend>) {
    let mut exposures = Exposures::new(window);
    let mut raised = detect::raised_by_issues(window).into_iter();
    let mut cases: Vec<_> = exposures
        .of_issues()
        .filter_map(|(issue, hits, exposed)| {
            let detectors = raised.next()?;
            look(Seen { issue, hits: &hits, exposed: &exposed });
            Case::of_issue(window, issue, hits, exposed, detectors)
        })
        .collect();
    cases.extend(detect::findings(window).into_iter().map(|found| Case::of_finding(window, found)));
    let key = |case: &Case| (case.state == State::Muted, case.detectors.is_empty());
    cases.sort_by(|a, b| {
        key(a).cmp(&key(b)).then(b.impact.total_cmp(&a.impact)).then_with(|| a.id.cmp(&b.id))
    });
    let mut quoted = BTreeSet::new();
    let labels: Vec<_> = window.personas().iter().map(|it| Arc::from(&*it.label)).collect();
    let mut friction = |case: &Case| {
        Arc::new(case.friction(window, &labels, quote::quote(window, case, &mut quoted)))
    };
    let days = window.days();
    let frictions = Frictions {
        schema: SCHEMA,
        window: DaysOf { from: days.map(|(from, _)| from), to: days.map(|(_, to)| to) },
        muted: cases.iter().filter(|case| case.state == State::Muted).count(),
        frictions: cases.iter().map(&mut friction).collect(),
    };
    (frictions, cases.into_iter().map(|case| case.trend).collect())
}

/// Writes detectors as their words.
fn words<S: Serializer>(detectors: &BTreeSet<Detector>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(detectors.iter().map(|detector| detector.as_str()))
}

/// Writes values that others hold as well.
pub(super) fn shared<T, S>(values: &[Arc<T>], serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + ?Sized,
    S: Serializer,
{
    serializer.collect_seq(values.iter().map(|value| &**value))
}
