//! Words of the comparison.

use crate::{
    domain::{Language, clipped_line, printable_line},
    facts::compare::{Comparison, Fact, NoSide, Overall, SideSummary, Verdict, WhyNot},
    report::view::{languages, words::percent},
};

/// Longest text of a side within a sentence, in characters.
const SIDE: usize = 128;

pub(in crate::ui) struct Words {
    language: Language,
    pub(in crate::ui) title: &'static str,
    pub(in crate::ui) form: &'static str,
    pub(in crate::ui) a: &'static str,
    pub(in crate::ui) b: &'static str,
    pub(in crate::ui) apply: &'static str,
    pub(in crate::ui) current: &'static str,
    pub(in crate::ui) form_note: &'static str,
    pub(in crate::ui) sides: &'static str,
    /// The side, its deployments, days, runs and personas.
    pub(in crate::ui) side_columns: [&'static str; 5],
    pub(in crate::ui) unknown: &'static str,
    pub(in crate::ui) findings: &'static str,
    pub(in crate::ui) changed: &'static str,
    pub(in crate::ui) no_finding: &'static str,
    /// The verdict, what it is about, A, B, the difference, the p-value, for whom.
    pub(in crate::ui) columns: [&'static str; 7],
    pub(in crate::ui) several: &'static str,
    pub(in crate::ui) not_in_a: &'static str,
    pub(in crate::ui) before: &'static str,
    pub(in crate::ui) after: &'static str,
    pub(in crate::ui) limits: &'static str,
}

const GERMAN: Words = Words {
    language: Language::German,
    title: "Vergleich",
    form: "Seiten des Vergleichs",
    a: "A (vorher)",
    b: "B (nachher)",
    apply: "Vergleichen",
    current: "Aktuelle Version",
    form_note: "Eine Seite ist die ID oder Version eines Deployments, ein Tag (2026-11-18) oder mehrere (2026-11-02..2026-11-08). \
                Ohne B: die aktuelle Version. Ohne A: die 28 Tage vor B.",
    sides: "Die beiden Seiten",
    side_columns: ["Seite", "Versionen", "Tage", "Läufe", "Personas"],
    unknown: "nicht bekannt",
    findings: "Was verglichen wurde",
    changed: "Alles, was sich geändert hat oder haben könnte",
    no_finding: "Nichts davon hat sich merklich geändert. Das ist keine Entwarnung für das, was nicht getestet oder nicht \
                 entschieden ist.",
    columns: ["Urteil", "Was", "A", "B", "Unterschied", "p", "Bei wem"],
    several: "Werkzeugen mehrerer Module",
    not_in_a: "(in A nie)",
    before: "vorher",
    after: "nachher",
    limits: "Was zu sehen gewesen wäre",
};

const ENGLISH: Words = Words {
    language: Language::English,
    title: "Comparison",
    form: "Sides of the comparison",
    a: "A (before)",
    b: "B (after)",
    apply: "Compare",
    current: "Current version",
    form_note: "A side is the id or the version of a deployment, a day (2026-11-18), or several days (2026-11-02..2026-11-08). \
                Without B: the current version. Without A: the 28 days before B.",
    sides: "The two sides",
    side_columns: ["Side", "Versions", "Days", "Runs", "Personas"],
    unknown: "not known",
    findings: "What was compared",
    changed: "Everything that changed or may have",
    no_finding: "None of it has changed noticeably. That is no all-clear for what is untested or undecided.",
    columns: ["Verdict", "What", "A", "B", "Difference", "p", "For whom"],
    several: "tools of several modules",
    not_in_a: "(never in A)",
    before: "before",
    after: "after",
    limits: "What would have been seen",
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    fn of<T>(&self, [german, english]: [T; 2]) -> T {
        match self.language {
            Language::German => german,
            Language::English => english,
        }
    }

    fn number(&self, count: usize) -> String {
        languages::words(self.language).number(count as u64)
    }

    /// What the comparison comes to. `since` names the build that B is about.
    pub(in crate::ui) fn sentence(&self, comparison: &Comparison, since: Option<&str>) -> String {
        let since = match since {
            Some(build) => self.of(["seit", "since"]).to_owned() + " " + build,
            None => self.of(["auf Seite B", "on side B"]).to_owned(),
        };
        let but = match comparison.is_more_locked_out() {
            true => format!(", {} {}", self.of(["aber", "but"]), self.locked_out(&comparison.b)),
            false => String::new(),
        };
        let worse = self.number(comparison.count(Verdict::Worse));
        let facts = self.number(comparison.findings.len());
        let watch = comparison.count(Verdict::Watch);
        let told = match comparison.verdict {
            Overall::Worse => self.of([
                format!("Schlechter {since}: {worse} von {facts} Vergleichen{but}"),
                format!("Worse {since}: {worse} of {facts} facts{but}"),
            ]),
            Overall::NothingWorse => {
                let watch = match watch {
                    0 => String::new(),
                    watch => {
                        let watch = self.number(watch);
                        self.of([
                            format!(", {watch} im Auge behalten"),
                            format!(", {watch} to watch"),
                        ])
                    }
                };
                self.of([
                    format!("Nichts schlechter {since}: 0 von {facts} Vergleichen{watch}{but}"),
                    format!("Nothing worse {since}: 0 of {facts} facts{watch}{but}"),
                ])
            }
            Overall::NotComparable => self.of([
                format!("Nicht vergleichbar: {}", self.why_not(comparison.why_not())),
                format!("Not comparable: {}", self.why_not(comparison.why_not())),
            ]),
            Overall::NothingTestable => {
                let why = match comparison.is_more_locked_out() {
                    true => self.locked_out(&comparison.b),
                    false => self.of([
                        format!("keiner von {facts} Vergleichen hat auf beiden Seiten genug Läufe"),
                        format!("none of {facts} facts has enough runs on both sides"),
                    ]),
                };
                self.of([
                    format!("Nichts prüfbar {since}: {why}"),
                    format!("Nothing testable {since}: {why}"),
                ])
            }
        };
        format!("{told}.")
    }

    fn why_not(&self, why: WhyNot) -> &'static str {
        self.of(match why {
            WhyNot::NoDeployment => [
                "Es ist kein Deployment bekannt; „mana-persona-runner release VERSION“ meldet eines",
                "no deployment is known; “mana-persona-runner release VERSION” tells of one",
            ],
            WhyNot::NoRunOfA => ["Seite A hat keinen Lauf", "side A has no run"],
            WhyNot::NoRunOfB => ["Seite B hat keinen Lauf", "side B has no run"],
            WhyNot::TooFewPersonas => [
                "Weniger als die Hälfte der Personas der kleineren Seite lief auf beiden",
                "fewer than half of the personas of the smaller side ran on both",
            ],
        })
    }

    /// How many runs of side B were kept out of the product.
    fn locked_out(&self, side: &SideSummary) -> String {
        let [out, runs] = [side.locked_out, side.runs].map(|count| self.number(count));
        self.of([
            format!(
                "{out} von {runs} Läufen der Seite B endeten an Anmeldung, Space oder Sitzung und haben vom Produkt nichts benutzt"
            ),
            format!(
                "{out} of {runs} runs of side B ended at login, space or session and used nothing of the product"
            ),
        ])
    }

    /// Why there is no such side.
    pub(in crate::ui) fn no_side(&self, no_side: &NoSide) -> String {
        match no_side {
            NoSide::Unknown(text, known) => {
                let (text, known) = (clipped_line(text, SIDE), printable_line(known));
                self.of([
                    format!(
                        "„{text}“ ist weder ID noch Version eines Deployments, kein Tag und kein Zeitraum wie \
                         2026-11-02..2026-11-08. Bekannte Deployments: {known}"
                    ),
                    format!(
                        "“{text}” is no deployment's id or version, no day and no range of days such as \
                         2026-11-02..2026-11-08. Known deployments: {known}"
                    ),
                ])
            }
            NoSide::Reversed(from, to) => self.of([
                format!("{from}..{to} enthält keinen Tag: Der letzte liegt vor dem ersten."),
                format!("{from}..{to} has no day: the last one is before the first."),
            ]),
            NoSide::Same => self.of([
                "Beide Seiten sind dieselbe; bitte zwei verschiedene nennen.".to_owned(),
                "Both sides are the same; please name two that differ.".to_owned(),
            ]),
        }
    }

    /// How many deployments are not named.
    pub(in crate::ui) fn earlier(&self, count: usize) -> String {
        let count = self.number(count);
        self.of([format!("{count} frühere"), format!("{count} earlier")])
    }

    /// Since when a setting has another value.
    pub(in crate::ui) fn since(&self, setting: &str, day: &str) -> String {
        self.of([format!("{setting} seit {day}"), format!("{setting} since {day}")])
    }

    /// That other things have changed too.
    pub(in crate::ui) fn confounded(&self, changed: &str) -> String {
        self.of([
            format!("Auch anderes hat sich geändert und kann der Grund sein: {changed}"),
            format!("Other things changed too, and may be the reason: {changed}"),
        ])
    }

    /// The verdict on a fact.
    pub(in crate::ui) fn verdict(&self, verdict: Verdict) -> &'static str {
        self.of(match verdict {
            Verdict::Worse => ["schlechter", "worse"],
            Verdict::Watch => ["im Auge behalten", "watch"],
            Verdict::Better => ["besser", "better"],
            Verdict::Unchanged => ["unverändert", "unchanged"],
            Verdict::Undecided => ["nicht entschieden", "undecided"],
            Verdict::Untested => ["nicht getestet", "untested"],
        })
    }

    /// How many facts have a verdict.
    pub(in crate::ui) fn counted(&self, verdict: Verdict, count: usize) -> String {
        format!("{} {}", self.number(count), self.verdict(verdict))
    }

    /// What stands before and after the name of the tool or module that a fact is about.
    pub(in crate::ui) fn what(&self, fact: Fact) -> [&'static str; 2] {
        self.of(match fact {
            Fact::Issue => [["Problem an ", ""], ["issue of ", ""]],
            Fact::Tool => [["", " scheitert"], ["", " fails"]],
            Fact::DeadEnd => [["", " wird zur Sackgasse"], ["", " is a dead end"]],
            Fact::Module => [["Werkzeuge von ", " scheitern"], ["tools of ", " fail"]],
            Fact::Rating => [["Note von ", ""], ["rating of ", ""]],
        })
    }

    /// A share of runs.
    pub(in crate::ui) fn share_of(&self, share: f64, of_runs: &str) -> String {
        format!("{} {of_runs}", percent(share).replace(' ', "\u{a0}"))
    }

    /// A number of percentage points.
    pub(in crate::ui) fn points(&self, number: &str) -> String {
        self.of([format!("{number} Punkte"), format!("{number} points")])
    }

    /// The smallest changes to the worse that would have been seen; `None` for none.
    pub(in crate::ui) fn detectable(&self, share: Option<&str>, rating: Option<&str>) -> String {
        let none = self.of(["keine", "none"]);
        let (share, rating) = (share.unwrap_or(none), rating.unwrap_or(none));
        self.of([
            format!(
                "Kleinste Verschlechterung, die mit einer Wahrscheinlichkeit von 0,8 aufgefallen wäre: {share} bei den Läufen eines \
                 gewöhnlichen Werkzeugs, {rating} bei einer gewöhnlichen Note."
            ),
            format!(
                "Smallest change to the worse that would have been seen with a probability of 0.8: {share} of the runs of an \
                 ordinary tool, {rating} of an ordinary rating."
            ),
        ])
    }
}
