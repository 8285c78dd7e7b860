//! Sections 2 and 3: what hurts, and what changed.

use super::{
    CallView, Change, Hurt, Key, Section,
    words::{Part, between},
    writer::{ID, Writer, some, text},
};
use crate::{
    domain::{Label, Next},
    facts::{
        frictions::Friction,
        report::{TREND_DAYS, Trend},
        state::State,
    },
};

/// How many frictions are shown in full.
const HURTS: usize = 5;
/// How many frictions are named below them.
const NAMED: usize = 8;
/// How many changes of a kind are shown, and how many of the tools of each list are named.
const CHANGES: usize = 3;
const TOOLS: usize = 6;
/// How many of the things that personas did next are told.
const NEXT: usize = 3;
/// Longest quote, in characters.
const QUOTE: usize = 240;

impl Writer<'_> {
    /// Section 2: the heaviest frictions that are not resolved.
    pub(super) fn hurts(&self) -> Section<Hurt> {
        let (words, report) = (self.words, self.report);
        let most = report.frictions.iter().map(|it| it.impact).fold(0.0, f64::max);
        let unresolved = report.frictions.iter().zip(&report.trends);
        let mut unresolved = unresolved.filter(|(it, _)| it.state != State::Resolved);
        let shown = unresolved.by_ref().take(HURTS);
        let items: Vec<_> = shown.map(|(it, trend)| self.hurt(it, trend, most)).collect();
        let others: Vec<_> = unresolved.map(|(friction, _)| &*friction.id).collect();
        let empty = match report.frictions.is_empty() {
            true => words.notes().nothing_hurts,
            false => words.notes().all_resolved,
        };
        let mut section = self.section(words.headings().hurts, items, HURTS, empty);
        section.rest = (!others.is_empty()).then(|| {
            let (names, unnamed) = some(others.iter().copied(), NAMED, ID);
            let dots = if unnamed > 0 { ", …" } else { "" };
            words.not_shown(others.len() as u64, &format!("{}{dots}", names.join(", ")))
        });
        section
    }

    pub(crate) fn hurt(&self, friction: &Friction, trend: &Trend, most: f64) -> Hurt {
        let words = self.words;
        let state = friction.state;
        let kinds = friction.detectors.iter().take(2).map(|detector| words.kind(*detector));
        let personas =
            Part { n: friction.personas.len() as u64, of: friction.personas_exposed as u64 };
        let runs = Part { n: friction.runs.into(), of: friction.runs_exposed.into() };
        let interval =
            friction.share.map_or(String::new(), |it| format!(" {}", between(it.low, it.high)));
        let stopped = match friction.impact {
            impact if impact > 0.0 && impact < 0.005 => format!("<{}", words.decimal(0.01, 2)),
            impact => words.decimal(impact, if impact < 0.095 { 2 } else { 1 }),
        };
        Hurt {
            id: text(&friction.id, ID),
            friction: Key(friction.id.clone()),
            title: self.what(friction),
            kind: kinds.collect::<Vec<_>>().join("; "),
            state,
            state_word: words.state(state).to_owned(),
            bar: if most > 0.0 { (friction.impact / most).clamp(0.0, 1.0) } else { 0.0 },
            impact: words.impact(&stopped, self.report.fleet.personas as u64),
            counts: format!("{}{interval}", words.counts(personas, runs)),
            next: self.what_next(friction),
            quote: friction.quote.as_ref().map(|quote| self.quote(quote, QUOTE)),
            seen: self.seen(friction),
            last_call: self.last_call(friction),
            trend: trend.clone(),
            trend_label: self.hits_by_day(friction, trend),
        }
    }

    /// What most personas did next; empty if nothing is known about it.
    fn what_next(&self, friction: &Friction) -> String {
        let count = |next: &Next| friction.next.get(next.as_str()).copied().unwrap_or_default();
        let mut next: Vec<_> = Next::ALL.iter().map(|next| (*next, count(next))).collect();
        next.retain(|(_, count)| *count > 0);
        next.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let told = next.iter().take(NEXT).map(|(next, count)| {
            format!("{} × {}", self.words.number((*count).into()), self.words.next(*next))
        });
        let told = told.collect::<Vec<_>>().join(" · ");
        if told.is_empty() { told } else { self.words.then(&told) }
    }

    /// When it was seen first and last. Of a friction without an issue, only the days of the window are known.
    fn seen(&self, friction: &Friction) -> String {
        let [first, last] = [&friction.first_seen, &friction.last_seen].map(|it| self.sighting(it));
        match friction.cause {
            Some(_) => self.words.seen(&first, &last),
            None => self.words.seen_in_window(&first, &last),
        }
    }

    fn last_call(&self, friction: &Friction) -> Option<CallView> {
        let (run, number) = friction.last_seen.run.as_ref().zip(friction.last_seen.call)?;
        Some(CallView { run: Key(run.clone()), number, word: self.words.call(number) })
    }

    fn hits_by_day(&self, friction: &Friction, trend: &Trend) -> String {
        let days = trend.iter().flatten().filter(|hits| **hits > 0.0).count() as u64;
        let hits: f64 = trend.iter().flatten().sum();
        let is_shorter = self.days_of_window().is_some_and(|days| days < TREND_DAYS as i64);
        match friction.cause {
            None if is_shorter => self.words.hits_by_day_of_window(hits as u64, days),
            _ => self.words.hits_by_day(hits as u64, days),
        }
    }

    /// Section 3: what came back, what is resolved, what is new, and the list of tools.
    pub(super) fn changes(&self) -> Section<Change> {
        let of_state = |state| {
            let frictions = self.report.frictions.iter();
            frictions.filter(move |friction| friction.state == state).map(|friction| &**friction)
        };
        let told = |friction: &Friction| {
            let what = format!("{} {}", text(&friction.id, ID), self.what(friction));
            (what, Key(friction.id.clone()))
        };
        let mut items = Vec::new();
        let mut others = 0;
        let mut add = |state: State, texts: Vec<(String, Key)>| {
            others += texts.len().saturating_sub(CHANGES) as u64;
            items.extend(texts.into_iter().take(CHANGES).map(|(text, id)| Change {
                state: Some(state),
                kind: self.words.state(state).to_owned(),
                text,
                friction: Some(id),
            }));
        };
        add(State::Regressed, of_state(State::Regressed).map(told).collect());
        let without_hit = self.report.resolved_without_hit.iter().map(|it| {
            let what = self.issue(it.tool.as_deref(), &it.template);
            let last = self.words.last_hit(&self.date(self.day_of(it.last_hit)));
            (format!("{} {what} ({last})", text(&it.id, ID)), Key(it.id.clone()))
        });
        add(State::Resolved, of_state(State::Resolved).map(told).chain(without_hit).collect());
        add(State::New, of_state(State::New).map(told).collect());
        items.extend(self.tools());
        let (heading, empty) = (self.words.headings().changes, self.words.notes().no_change);
        let mut section = self.section(heading, items, usize::MAX, empty);
        section.rest = (others > 0).then(|| self.words.not_shown(others, ""));
        section
    }

    /// What changed in the list of tools.
    fn tools(&self) -> impl Iterator<Item = Change> {
        let tools = &self.report.changes.tools;
        let told = |names: &[String], sentence: &dyn Fn(u64, &str) -> String| {
            let text = || {
                let shown = self.names(names.iter().map(String::as_str), TOOLS);
                sentence(names.len() as u64, &shown)
            };
            (!names.is_empty()).then(text)
        };
        let texts = [
            told(&tools.added, &|count, names| self.words.tools_added(count, names)),
            told(&tools.removed, &|count, names| self.words.tools_removed(count, names)),
            told(&tools.changed, &|count, names| self.words.tools_changed(count, names)),
        ];
        let kind = self.words.tool_list();
        texts.into_iter().flatten().map(|text| Change {
            state: None,
            kind: kind.to_owned(),
            text,
            friction: None,
        })
    }
}
