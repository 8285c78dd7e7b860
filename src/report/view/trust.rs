//! Sections 8 and 9: how reliable the report is, and what the runs cost.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::{
    Section,
    words::{Part, between, percent},
    writer::Writer,
};
use crate::domain::{Label, UnratedWhy};

impl Writer<'_> {
    pub(super) fn reliability(&self) -> Section<String> {
        let (words, report) = (self.words, self.report);
        let of = &report.reliability;
        let floor = |floor: Option<f64>| floor.map(|floor| words.decimal(floor, 2));
        let (share, rating) = (floor(of.lambda.share), floor(of.lambda.rating));
        let mut lines = vec![words.noise(share.as_deref(), rating.as_deref())];
        lines.push(of.too_kind.map_or_else(
            || words.notes().too_kind_unknown.to_owned(),
            |it| words.too_kind(&percent(it.value), &between(it.low, it.high), it.n),
        ));
        let ungrounded: u64 = report.modules.iter().map(|it| u64::from(it.ungrounded)).sum();
        lines.extend((ungrounded > 0).then(|| words.ungrounded(ungrounded)));
        if of.unrated.n > 0 {
            let why = of.unrated.why.iter();
            let why = why.filter_map(|(why, n)| Some((words.unrated(UnratedWhy::parse(why)?), *n)));
            let uses = Part { n: of.unrated.n.into(), of: of.unrated.of.into() };
            lines.push(words.without_rating(uses, &self.frequent(why)));
        }
        lines.extend(self.confounded());
        lines.extend((report.muted > 0).then(|| words.muted(report.muted as u64)));
        let lost = report.runs_without_calls as u64;
        lines.extend((lost > 0).then(|| words.calls_lost(lost)));
        let section = self.section(words.headings().reliability, lines, usize::MAX, "");
        Section { note: (report.fleet.runs == 0).then(|| self.when_empty("")), ..section }
    }

    /// What else has changed, by day.
    fn confounded(&self) -> Option<String> {
        let words = self.words;
        let mut by_day = BTreeMap::<Date, Vec<&str>>::new();
        for it in &self.report.reliability.confounded {
            by_day.entry(self.day_of(it.since)).or_default().push(words.setting(it.what));
        }
        let changes = by_day.into_iter().map(|(day, what)| (words.long_date(day), what.join(", ")));
        let changes: Vec<_> = changes.collect();
        (!changes.is_empty()).then(|| words.confounded(&changes))
    }

    pub(super) fn cost(&self) -> Section<String> {
        let cost = &self.report.cost;
        let per_day = cost.per_persona_day_usd.map(|usd| self.usd(usd));
        let line = self.words.cost(&self.usd(cost.usd), per_day.as_deref());
        self.section(self.words.headings().cost, vec![line], 1, "")
    }

    /// US dollars; small amounts with four digits, so that they are not zero.
    fn usd(&self, usd: f64) -> String {
        let digits = if usd > 0.0 && usd < 0.1 { 4 } else { 2 };
        self.words.decimal(usd, digits)
    }
}
