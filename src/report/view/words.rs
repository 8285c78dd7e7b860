//! What a language has to say: the words of [`super::View`] and the sentences around numbers.
//!
//! Texts of peers that come into a sentence have passed [`super::writer::text`].

use jiff::civil::Date;

use crate::{
    domain::{Next, Outcome, UnratedWhy, Week, WhyNotRun},
    facts::{
        coverage::{DayStatus, ModuleStatus, WhyNotTested},
        detect::Detector,
        state::State,
    },
};

/// The headings of the sections.
pub(crate) struct Headings {
    pub(crate) hurts: &'static str,
    pub(crate) changes: &'static str,
    pub(crate) modules: &'static str,
    pub(crate) missing: &'static str,
    pub(crate) slow: &'static str,
    pub(crate) not_tested: &'static str,
    pub(crate) coverage: &'static str,
    pub(crate) reliability: &'static str,
    pub(crate) cost: &'static str,
}

/// The names of columns.
pub(crate) struct Columns {
    pub(crate) modules: [&'static str; 6],
    pub(crate) missing: [&'static str; 3],
    pub(crate) slow: [&'static str; 4],
    pub(crate) persona: &'static str,
    pub(crate) by_day: [&'static str; 2],
}

/// Sentences without numbers.
pub(crate) struct Notes {
    pub(crate) nobody_ran: &'static str,
    pub(crate) nothing_hurts: &'static str,
    pub(crate) all_resolved: &'static str,
    pub(crate) no_change: &'static str,
    pub(crate) modules: &'static str,
    pub(crate) no_modules: &'static str,
    pub(crate) nothing_missing: &'static str,
    pub(crate) nothing_slow: &'static str,
    pub(crate) all_tested: &'static str,
    pub(crate) no_tools: &'static str,
    pub(crate) no_days: &'static str,
    pub(crate) no_version: &'static str,
    pub(crate) no_past: &'static str,
    pub(crate) only_ungrounded: &'static str,
    pub(crate) too_kind_unknown: &'static str,
}

/// What a friction is about.
pub(crate) enum Subject {
    /// A tool.
    Tool(String),
    /// Several tools of a module.
    ToolsOf(String),
    /// A module.
    Module(String),
    /// Tools of several modules.
    Several,
}

impl Subject {
    /// Whether it is more than one thing.
    pub(crate) fn is_plural(&self) -> bool {
        matches!(self, Self::ToolsOf(_) | Self::Several)
    }
}

/// So many of so many.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) n: u64,
    pub(crate) of: u64,
}

/// What the first sentence tells.
pub(crate) enum Told {
    NoFacts,
    /// The most frequent reason, and whether it is the only one.
    NobodyRan {
        why: Option<&'static str>,
        is_only: bool,
    },
    LockedOut {
        runs: Part,
    },
    Unreachable {
        calls: Part,
    },
    FailedByUs {
        runs: Part,
    },
    NothingUsed {
        runs: u64,
    },
    TooFew {
        runs: u64,
        personas: u64,
        failed: Part,
    },
    MostCallsFail {
        calls: Part,
        worst: Option<String>,
    },
    Hurts {
        what: String,
        personas: Part,
        runs: Part,
        since: Option<String>,
        others: u64,
    },
    NothingRaised {
        runs: u64,
        personas: u64,
        resolved: u64,
        muted: u64,
        failed: Part,
        untested: Part,
    },
}

/// A lack of reachability.
pub(crate) struct Away {
    pub(crate) from: String,
    /// `None` if it was a single moment.
    pub(crate) to: Option<String>,
    pub(crate) minutes: u64,
    pub(crate) runs: u64,
}

/// The terms of a language.
pub(crate) trait Terms: Sync {
    /// The tag of HTML.
    fn tag(&self) -> &'static str;
    /// What separates the digits after the decimal point, and groups of three digits.
    fn marks(&self) -> [char; 2];
    fn headings(&self) -> &'static Headings;
    fn columns(&self) -> &'static Columns;
    fn notes(&self) -> &'static Notes;

    fn state(&self, state: State) -> &'static str;
    /// Why the detector raised a friction.
    fn kind(&self, detector: Detector) -> &'static str;
    fn absence(&self, status: ModuleStatus) -> &'static str;
    /// The word of the module whose state is the same.
    fn untested(&self, why: WhyNotTested) -> &'static str {
        self.absence(match why {
            WhyNotTested::NotOffered => ModuleStatus::NotOffered,
            WhyNotTested::Unused => ModuleStatus::Unused,
            WhyNotTested::Unrated => ModuleStatus::Used,
            WhyNotTested::TooFew => ModuleStatus::TooFew,
        })
    }
    fn day(&self, status: DayStatus) -> &'static str;
    fn not_run(&self, why: WhyNotRun) -> &'static str;
    fn next(&self, next: Next) -> &'static str;
    fn unrated(&self, why: UnratedWhy) -> &'static str;
    /// The name of a setting of the runner.
    fn setting<'s>(&self, what: &'s str) -> &'s str;
}

/// A language: its sentences. Counts of nouns agree with their numbers.
pub(crate) trait Words: Terms {
    /// A day of the week and a date.
    fn date(&self, day: Date, with_year: bool) -> String;
    /// A day of the week in full and a date.
    fn long_date(&self, day: Date) -> String;
    /// The days from the first to the last.
    fn days(&self, from: Date, to: Date) -> String;
    fn title(&self, week: Option<Week>, days: &str) -> String;
    fn untitled(&self) -> &'static str;

    /// The first sentence, without its full stop.
    fn headline(&self, told: Told) -> String;
    /// What is added to the first sentence if many due runs did not take place.
    fn missed(&self, runs: Part, why: &str) -> String;
    /// That a friction is new since a build or a day.
    fn new_since(&self, since: &str) -> String;
    fn fleet(&self, personas: u64, runs: u64, days: u64) -> String;
    fn absent(&self, runs: u64, why: &str) -> String;
    /// On how many days of personas the runner was down.
    fn runner_down(&self, days: u64) -> String;
    /// How many runs did not come to their end.
    fn unfinished(&self, failed: u64, locked_out: u64) -> String;
    fn builds(&self, builds: &str, earlier: u64) -> String;
    fn build_since(&self, build: &str, since: &str) -> String;
    fn away(&self, away: Away) -> String;
    fn more_outages(&self, count: u64) -> String;

    /// Words of a peer within a sentence.
    fn quoted(&self, text: &str) -> String;
    /// What a friction is: its subject and what is the matter with it.
    fn matter(&self, subject: &Subject, detector: Detector) -> String;
    /// What a friction is that keeps personas out.
    fn locked_out(&self, outcome: Option<Outcome>) -> String;
    fn impact(&self, stopped: &str, personas: u64) -> String;
    fn counts(&self, personas: Part, runs: Part) -> String;
    fn then(&self, what: &str) -> String;
    fn seen(&self, first: &str, last: &str) -> String;
    fn seen_in_window(&self, first: &str, last: &str) -> String;
    fn with_build(&self, at: &str, build: &str) -> String;
    fn call(&self, number: u32) -> String;
    fn hits_by_day(&self, runs: u64, days: u64) -> String;
    fn hits_by_day_of_window(&self, runs: u64, days: u64) -> String;
    fn not_shown(&self, count: u64, names: &str) -> String;
    /// When a resolved issue was last seen.
    fn last_hit(&self, day: &str) -> String;
    fn tools_added(&self, count: u64, names: &str) -> String;
    fn tools_removed(&self, count: u64, names: &str) -> String;
    fn tools_changed(&self, count: u64, names: &str) -> String;
    fn tool_list(&self) -> &'static str;

    fn usage(&self, personas: u64, runs: u64) -> String;
    fn of_personas(&self, personas: u64) -> String;
    fn singly(&self, points: &str) -> String;
    fn mean(&self, mean: &str, ratings: u64, ungrounded: u64) -> String;
    fn of_runs(&self, runs: u64) -> String;
    fn ratings_by_day(&self, lowest: &str, highest: &str) -> String;

    fn not_tested(&self, why: &str, modules: u64, tools: u64) -> String;
    fn last_days(&self, shown: u64, of: u64) -> String;

    fn noise(&self, share: Option<&str>, rating: Option<&str>) -> String;
    fn too_kind(&self, share: &str, interval: &str, ratings: u64) -> String;
    fn ungrounded(&self, ratings: u64) -> String;
    fn without_rating(&self, uses: Part, why: &str) -> String;
    /// What changed since which days: days with the names of settings.
    fn confounded(&self, changes: &[(String, String)]) -> String;
    fn muted(&self, count: u64) -> String;
    fn calls_lost(&self, runs: u64) -> String;
    fn cost(&self, usd: &str, per_day: Option<&str>) -> String;
    fn footer(&self, zone: &str) -> String;

    /// A whole number in groups of three digits.
    fn number(&self, number: u64) -> String {
        grouped(&number.to_string(), self.marks()[1])
    }

    /// A number with so many digits after the decimal point.
    fn decimal(&self, number: f64, digits: usize) -> String {
        let [point, group] = self.marks();
        let text = format!("{:.digits$}", number.abs());
        let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
        // Not for what is rounded to zero.
        let sign = if number < 0.0 && text.contains(|c| c > '0') { "−" } else { "" };
        let rest = if rest.is_empty() { String::new() } else { format!("{point}{rest}") };
        format!("{sign}{}{rest}", grouped(whole, group))
    }

    /// A difference with its sign.
    fn signed(&self, difference: f64) -> String {
        let text = self.decimal(difference, 1);
        match text.contains(|c: char| ('1'..='9').contains(&c)) {
            true if difference > 0.0 => format!("+{text}"),
            true => text,
            false => format!("±{text}"),
        }
    }

    /// A number with a noun in the singular or the plural.
    fn counted(&self, count: u64, [one, many]: [&str; 2]) -> String {
        format!("{} {}", self.number(count), if count == 1 { one } else { many })
    }
}

pub(crate) fn grouped(digits: &str, mark: char) -> String {
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(mark);
        }
        grouped.push(digit);
    }
    grouped
}

/// A share as a percentage. Only none is 0 %, and only all is 100 %.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => "<1 %".to_owned(),
        percent if percent > 99.0 && percent < 100.0 => ">99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// The ends of the interval of a share.
pub(crate) fn between(low: f64, high: f64) -> String {
    format!("[{:.0}–{:.0} %]", low * 100.0, high * 100.0)
}
