//! The facts of a comparison.

use maud::{Markup, html};

use super::SIDE;
use crate::{
    domain::{Label, clipped_line},
    facts::compare::{Comparison, Effect, Fact, Finding, Value, Verdict},
    report::{
        html::shapes,
        view::{
            IntervalView, languages,
            writer::{LABEL, NAME},
        },
    },
    ui::{asked::Asked, frame, pager, trouble::Trouble, words},
};

/// How many personas of a finding are named.
const NAMED: usize = 3;
/// The axis of the picture reaches from -2 to 2. That of a share is one from -1 to 1.
const SCALE_OF_SHARES: f64 = 2.0;

/// Which facts are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// Those that have changed, or may have.
    Changed,
    /// Those with this verdict.
    With(Verdict),
}

impl Listed {
    /// As the parameter `verdict` says.
    pub(super) fn of(asked: &Asked) -> Result<Self, Trouble> {
        let Some(word) = asked.parameter("verdict") else { return Ok(Self::Changed) };
        Verdict::parse(word).map(Self::With).ok_or(Trouble::Parameter("verdict"))
    }

    fn has(self, verdict: Verdict) -> bool {
        match self {
            Self::Changed => {
                matches!(verdict, Verdict::Worse | Verdict::Watch | Verdict::Better)
            }
            Self::With(wanted) => verdict == wanted,
        }
    }
}

pub(super) fn section(
    asked: &Asked,
    comparison: &Comparison,
    listed: Listed,
    page: usize,
) -> Markup {
    let words = words::compare::words(asked.language);
    let all: Vec<_> = comparison.findings.iter().filter(|it| listed.has(it.verdict)).collect();
    let shown = pager::rows(&all, page);
    html! {
        @if !comparison.findings.is_empty() {
            section {
                h2 { (words.findings) }
                (choices(asked, comparison, listed))
                @if shown.is_empty() {
                    p { (words.no_finding) }
                } @else {
                    (frame::wide(words.findings, table(asked, shown)))
                }
                (pager::of_rows(asked, page, all.len()))
            }
        }
    }
}

/// How many facts have which verdict, as links to them.
fn choices(asked: &Asked, comparison: &Comparison, listed: Listed) -> Markup {
    let words = words::compare::words(asked.language);
    let verdicts = Verdict::ALL.iter().copied();
    let counts = verdicts.map(|verdict| (verdict, comparison.count(verdict)));
    let with = |value: Option<&str>| {
        let added = value.map(|value| ("verdict", value));
        asked.here_without(&["verdict", "page"], added.as_slice())
    };
    let current = |it: Listed| (it == listed).then_some("true");
    html! {
        p.note {
            a href=(with(None)) aria-current=[current(Listed::Changed)] { (words.changed) }
            @for (verdict, count) in counts.filter(|(_, count)| *count > 0) {
                " · "
                a href=(with(Some(verdict.as_str()))) aria-current=[current(Listed::With(verdict))] {
                    (words.counted(verdict, count))
                }
            }
        }
    }
}

fn table(asked: &Asked, findings: &[&Finding]) -> Markup {
    let columns = words::compare::words(asked.language).columns;
    html! {
        table {
            (frame::head(&columns, &[5]))
            tbody { @for finding in findings { tr data-item { (row(asked, finding)) } } }
        }
    }
}

fn row(asked: &Asked, finding: &Finding) -> Markup {
    let words = words::compare::words(asked.language);
    html! {
        th scope="row" { (words.verdict(finding.verdict)) }
        td { (what(asked, finding)) }
        td { (value(asked, finding.fact, finding.a)) }
        td { (value(asked, finding.fact, finding.b)) }
        td { @if let Some(effect) = finding.effect { (difference(asked, finding.fact, effect)) } }
        td.n { (finding.p_adjusted.map_or_else(|| "–".to_owned(), |p| probability(asked, p))) }
        td { (evidence(asked, finding)) }
    }
}

/// What the fact is about, with a link to the page that has more of it.
fn what(asked: &Asked, finding: &Finding) -> Markup {
    let words = words::compare::words(asked.language);
    let place = finding.tool.as_deref().or(finding.module.as_deref());
    let place = place.map_or_else(|| words.several.to_owned(), |name| clipped_line(name, NAME));
    let more = match finding.fact {
        Fact::Issue => Some(asked.link(&["frictions", &finding.id], &[])),
        _ => finding.module.as_deref().map(|module| asked.link(&["modules", module], &[])),
    };
    let [before, after] = words.what(finding.fact);
    html! {
        (before)
        @match more {
            Some(more) => a href=(more) { bdi { (place) } },
            None => bdi { (place) },
        }
        (after)
        @if finding.fact == Fact::Issue {
            " " span.id { (clipped_line(&finding.id, SIDE)) }
            @if finding.is_new { " " (words.not_in_a) }
        }
    }
}

/// A share or a mean, and of how many.
fn value(asked: &Asked, fact: Fact, Value { value, n }: Value) -> String {
    let (words, terms) = (words::compare::words(asked.language), languages::words(asked.language));
    match (value, fact) {
        (None, _) => "–".to_owned(),
        (Some(mean), Fact::Rating) => terms.mean(&terms.decimal(mean, 1), n.into(), 0),
        (Some(share), _) => words.share_of(share, &terms.of_runs(n.into())),
    }
}

/// A difference, drawn and in words.
fn difference(asked: &Asked, fact: Fact, effect: Effect) -> Markup {
    let scale = if fact == Fact::Rating { 1.0 } else { SCALE_OF_SHARES };
    let ends = effect.low.zip(effect.high);
    let view = IntervalView {
        value: effect.value * scale,
        ends: ends.map(|(low, high)| (low * scale, high * scale)),
        points: Vec::new(),
    };
    let signed = |difference: f64| signed(asked, fact, difference);
    html! {
        (shapes::interval(&view))
        span.whole {
            (unit(asked, fact, &signed(effect.value)))
            @if let Some((low, high)) = ends { " [" (signed(low)) "; " (signed(high)) "]" }
        }
    }
}

fn unit(asked: &Asked, fact: Fact, number: &str) -> String {
    match fact {
        Fact::Rating => number.to_owned(),
        _ => words::compare::words(asked.language).points(number),
    }
}

/// A difference with its sign: of a rating with one digit, of a share in whole points.
fn signed(asked: &Asked, fact: Fact, difference: f64) -> String {
    let terms = languages::words(asked.language);
    if fact == Fact::Rating {
        return terms.signed(difference);
    }
    let points = (difference * 100.0).round();
    let sign = match points {
        points if points > 0.0 => "+",
        points if points < 0.0 => "",
        _ => "±",
    };
    format!("{sign}{}", terms.decimal(points, 0))
}

fn probability(asked: &Asked, p: f64) -> String {
    let terms = languages::words(asked.language);
    match p < 1e-4 {
        true => format!("<{}", terms.decimal(1e-4, 4)),
        false => terms.decimal(p, 4),
    }
}

/// For whom the fact changed, and in which runs one can see it.
fn evidence(asked: &Asked, finding: &Finding) -> Markup {
    let words = words::compare::words(asked.language);
    let named = finding.personas.iter().take(NAMED);
    let more = finding.personas.len().saturating_sub(NAMED) as u64;
    let runs = [(words.before, &finding.before), (words.after, &finding.after)];
    let runs = runs.into_iter().filter_map(|(word, run)| Some((word, run.as_ref()?)));
    html! {
        @for (position, label) in named.enumerate() {
            @if position > 0 { ", " }
            bdi { (clipped_line(label, LABEL)) }
        }
        @if more > 0 { " " (languages::words(asked.language).not_shown(more, "")) }
        @for (word, example) in runs {
            " · " a href=(asked.run_named(&example.run, None)) { (word) }
        }
        @if let (Some(label), true) = (&finding.shown_by, finding.personas.len() > 1) {
            " (" bdi { (clipped_line(label, LABEL)) } ")"
        }
    }
}
