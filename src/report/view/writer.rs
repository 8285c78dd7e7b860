//! Puts a report into words: what all sections share.

use jiff::{Timestamp, civil::Date};

use super::{
    Key, QuoteView, Section,
    words::{Subject, Words},
};
use crate::{
    domain::{Label, Outcome, clipped_line},
    facts::{
        compare::Build,
        detect::Detector,
        frictions::{Friction, Quote},
        line::Sighting,
        report::Report,
    },
};

/// Longest title of a friction, in characters.
const TITLE: usize = 160;
/// Longest template in the first sentence, in characters.
const QUOTED: usize = 80;
/// Longest id of a friction or a deployment, in characters.
pub(crate) const ID: usize = 40;
/// Longest name of a tool or module, in characters.
pub(crate) const NAME: usize = 48;
/// Longest label of a persona, in characters.
pub(crate) const LABEL: usize = 32;
/// Longest version of a build, in characters.
const VERSION: usize = 40;
/// Longest id of a run, in characters. It must be whole for `show`.
const RUN: usize = 72;

/// A text of a peer: one line of printable characters, at most so many. One that is written from right to left is
/// isolated, so that it does not turn the words around it.
pub(crate) fn text(raw: &str, most: usize) -> String {
    let line = clipped_line(raw, most);
    match line.chars().any(is_written_from_right) {
        true => format!("\u{2068}{line}\u{2069}"),
        false => line,
    }
}

/// Whether `c` belongs to the blocks of Unicode for scripts that are written from right to left.
fn is_written_from_right(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// The first `most` of these names, and how many others there are.
pub(crate) fn some<'n>(
    names: impl ExactSizeIterator<Item = &'n str>,
    most: usize,
    length: usize,
) -> (Vec<String>, u64) {
    let others = names.len().saturating_sub(most) as u64;
    (names.take(most).map(|name| text(name, length)).collect(), others)
}

/// Puts a report into the words of a language.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'r> {
    pub(crate) report: &'r Report,
    pub(crate) words: &'static dyn Words,
}

impl Writer<'_> {
    /// A section with these items, of which at most `most` are shown. The note is what an empty one means.
    pub(crate) fn section<T>(
        &self,
        heading: &str,
        mut items: Vec<T>,
        most: usize,
        empty: &str,
    ) -> Section<T> {
        let others = items.len().saturating_sub(most) as u64;
        items.truncate(most);
        let note = items.is_empty().then(|| self.when_empty(empty));
        let rest = (others > 0).then(|| self.words.not_shown(others, ""));
        Section { heading: heading.to_owned(), columns: Vec::new(), items, note, rest }
    }

    /// What it means that there is nothing: not much if nobody ran.
    pub(crate) fn when_empty(&self, otherwise: &str) -> String {
        match self.report.fleet.runs {
            0 => self.words.notes().nobody_ran.to_owned(),
            _ => otherwise.to_owned(),
        }
    }

    /// The names, separated by commas, and how many others there are.
    pub(crate) fn names<'n>(
        &self,
        names: impl ExactSizeIterator<Item = &'n str>,
        most: usize,
    ) -> String {
        let (mut names, others) = some(names, most, NAME);
        names.extend((others > 0).then(|| self.words.not_shown(others, "")));
        names.join(", ")
    }

    /// Things with how often they occurred, the most frequent one first.
    pub(crate) fn frequent<'n>(&self, counts: impl Iterator<Item = (&'n str, u32)>) -> String {
        let mut counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let counted =
            |(what, count): &(&str, u32)| format!("{what} {}", self.words.number((*count).into()));
        counts.iter().map(counted).collect::<Vec<_>>().join(", ")
    }

    /// A day; with its year if that is not the one of the window.
    pub(crate) fn date(&self, day: Date) -> String {
        let year = self.report.window.to.map(Date::year);
        self.words.date(day, year.is_some_and(|year| year != day.year()))
    }

    /// A time in the zone of the facts.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        let at = self.report.zone.to_datetime(at);
        format!("{}, {}", self.date(at.date()), at.strftime("%H:%M"))
    }

    /// How many days the window has.
    pub(crate) fn days_of_window(&self) -> Option<i64> {
        let (from, to) = self.report.window.from.zip(self.report.window.to)?;
        Some(to.duration_since(from).as_hours() / 24 + 1)
    }

    /// The day of a time.
    pub(crate) fn day_of(&self, at: Timestamp) -> Date {
        self.report.zone.to_datetime(at).date()
    }

    pub(crate) fn build(&self, build: &Build) -> String {
        format!("{} ({})", text(&build.version, VERSION), text(&build.id, ID))
    }

    /// The deployment with this id, with its version if that is known.
    pub(crate) fn build_of(&self, id: &str) -> String {
        let known = self.report.deployments.iter().find(|build| build.id == id);
        known.map_or_else(|| text(id, ID), |build| self.build(build))
    }

    /// When and with which build something was seen.
    pub(crate) fn sighting(&self, sighting: &Sighting) -> String {
        let at = self.time(sighting.at);
        match &sighting.deployment {
            Some(id) => self.words.with_build(&at, &self.build_of(id)),
            None => at,
        }
    }

    pub(crate) fn quote(&self, quote: &Quote, most: usize) -> QuoteView {
        let persona = text(&quote.persona, LABEL);
        let call = quote.call.map_or(String::new(), |call| format!(" · {}", self.words.call(call)));
        let who = format!("{persona}, {}", self.time(quote.at));
        QuoteView {
            text: text(&quote.text, most),
            source: format!("{who}, {}{call}", text(&quote.run, RUN)),
            brief: format!("{who}{call}"),
            run: Key(quote.run.clone()),
            call: quote.call,
        }
    }

    /// What a friction is: what is the matter with what, and the template of the error texts.
    pub(crate) fn what(&self, friction: &Friction) -> String {
        self.with_template(&self.matter(friction), friction.template.as_deref())
    }

    /// What a friction is, as a part of a sentence.
    pub(crate) fn told(&self, friction: &Friction) -> String {
        let matter = self.matter(friction);
        match friction.template.as_deref().filter(|template| !template.trim().is_empty()) {
            Some(template) => {
                format!("{matter} ({})", self.words.quoted(&text(template, QUOTED)))
            }
            None => matter,
        }
    }

    /// What an issue is of which no more is known than its tool and its template.
    pub(crate) fn issue(&self, tool: Option<&str>, template: &str) -> String {
        let subject = tool.map_or(Subject::Several, |tool| Subject::Tool(text(tool, NAME)));
        self.with_template(&self.words.matter(&subject, Detector::Fails), Some(template))
    }

    fn with_template(&self, matter: &str, template: Option<&str>) -> String {
        // Names are short: most of the title is left for the template.
        let left = TITLE.saturating_sub(matter.chars().count() + 2);
        match template.filter(|template| !template.trim().is_empty()) {
            Some(template) => format!("{matter}: {}", text(template, left)),
            None => matter.to_owned(),
        }
    }

    fn matter(&self, friction: &Friction) -> String {
        let detector = friction.detector.unwrap_or(Detector::Fails);
        // Of a friction without an issue, the id says what it is about.
        let place = friction.id.split_once(':').map_or("", |(_, place)| place);
        if detector == Detector::LockedOut {
            return self.words.locked_out(Outcome::parse(place));
        }
        let name = |name: &str| text(name, NAME);
        let subject = match (&friction.tool, &friction.module) {
            (Some(tool), _) => Subject::Tool(name(tool)),
            (None, Some(module)) if friction.cause.is_some() => Subject::ToolsOf(name(module)),
            (None, Some(module)) => Subject::Module(name(module)),
            (None, None) => Subject::Several,
        };
        self.words.matter(&subject, detector)
    }
}
