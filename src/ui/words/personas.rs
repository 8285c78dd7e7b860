//! Words of the pages about personas.

use crate::{
    domain::{Cadence, Label, Language, clipped_line},
    report::view::{languages, writer::NAME},
};

pub(in crate::ui) struct Words {
    language: Language,
    pub(in crate::ui) title: &'static str,
    pub(in crate::ui) none: &'static str,
    pub(in crate::ui) no_such: &'static str,
    pub(in crate::ui) filter: &'static str,
    pub(in crate::ui) label: &'static str,
    pub(in crate::ui) apply: &'static str,
    pub(in crate::ui) clear: &'static str,
    /// The persona, its days, its archetype, runs, those with failures, ratings, cost.
    pub(in crate::ui) columns: [&'static str; 7],
    pub(in crate::ui) no_run: &'static str,
    pub(in crate::ui) no_rating: &'static str,
    pub(in crate::ui) unknown: &'static str,

    pub(in crate::ui) archetype: &'static str,
    pub(in crate::ui) cadence: &'static str,
    pub(in crate::ui) likes: &'static str,
    pub(in crate::ui) known: &'static str,
    pub(in crate::ui) all_runs: &'static str,
    pub(in crate::ui) prompt: &'static str,
    pub(in crate::ui) no_prompt: &'static str,
    pub(in crate::ui) days: &'static str,
    pub(in crate::ui) baseline: &'static str,
    pub(in crate::ui) no_modules: &'static str,
    /// The module, runs, those with failures, the mean before, the mean, the difference.
    pub(in crate::ui) module_columns: [&'static str; 6],
    pub(in crate::ui) unused: &'static str,
    pub(in crate::ui) runs: &'static str,
    /// When the run began, what it came to, calls, failed calls, cost, ratings.
    pub(in crate::ui) run_columns: [&'static str; 6],
    pub(in crate::ui) ungrounded: &'static str,
    pub(in crate::ui) absent: &'static str,
    /// The day, what it came to, the reasons that were noted.
    pub(in crate::ui) absent_columns: [&'static str; 3],
}

const GERMAN: Words = Words {
    language: Language::German,
    title: "Personas",
    none: "Der Runner hat noch keine Persona getroffen.",
    no_such: "Kein Name passt dazu.",
    filter: "Personas suchen",
    label: "Name enthält",
    apply: "Suchen",
    clear: "Alle zeigen",
    columns: ["Persona", "Tage", "Art", "Läufe", "mit Fehlern", "Mittel der Noten", "Kosten"],
    no_run: "In diesen Tagen gibt es keinen Lauf.",
    no_rating: "keine Note",
    unknown: "nicht bekannt",
    archetype: "Art",
    cadence: "Fällig",
    likes: "Mag",
    known: "Bekannt",
    all_runs: "alle Läufe",
    prompt: "Was ihr beim letzten Lauf über sie selbst gesagt wurde",
    no_prompt: "Was ihr beim letzten Lauf gesagt wurde, ist nicht mehr aufbewahrt.",
    days: "Tage",
    baseline: "Verglichen mit sich selbst",
    no_modules: "Die Persona hat in diesen Tagen und in den acht Wochen davor kein Modul benutzt oder bewertet.",
    module_columns: [
        "Modul",
        "Läufe",
        "mit Fehlern",
        "Acht Wochen davor",
        "In diesen Tagen",
        "Unterschied",
    ],
    unused: "nicht benutzt",
    runs: "Läufe",
    run_columns: ["Begonnen", "Ergebnis", "Aufrufe", "gescheitert", "Kosten", "Noten"],
    ungrounded: "(ohne Beleg)",
    absent: "Tage ohne Lauf",
    absent_columns: ["Tag", "Was war", "Notierter Grund"],
};

const ENGLISH: Words = Words {
    language: Language::English,
    title: "Personas",
    none: "The runner has met no persona yet.",
    no_such: "No name fits.",
    filter: "Search personas",
    label: "Name contains",
    apply: "Search",
    clear: "Show all",
    columns: ["Persona", "Days", "Kind", "Runs", "with failures", "Mean rating", "Cost"],
    no_run: "There is no run on these days.",
    no_rating: "no rating",
    unknown: "not known",
    archetype: "Kind",
    cadence: "Due",
    likes: "Likes",
    known: "Known",
    all_runs: "all runs",
    prompt: "What it was told about itself in the last run",
    no_prompt: "What it was told in the last run is no longer kept.",
    days: "Days",
    baseline: "Against itself",
    no_modules: "The persona neither used nor rated a module on these days and in the eight weeks before.",
    module_columns: [
        "Module",
        "Runs",
        "with failures",
        "Eight weeks before",
        "On these days",
        "Difference",
    ],
    unused: "not used",
    runs: "Runs",
    run_columns: ["Begun", "Came to", "Calls", "failed", "Cost", "Ratings"],
    ungrounded: "(not grounded)",
    absent: "Days without a run",
    absent_columns: ["Day", "What was", "Noted reason"],
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    /// How many personas the list has.
    pub(in crate::ui) fn count(&self, count: usize) -> String {
        let number = languages::words(self.language).of_personas(count as u64);
        format!("{number}.")
    }

    /// Which days the cells are.
    pub(in crate::ui) fn grid(&self, from: &str, to: &str) -> String {
        match self.language {
            Language::German => format!("Ein Feld ist ein Tag: {from} bis {to}."),
            Language::English => format!("A cell is a day: {from} to {to}."),
        }
    }

    /// How often a persona is due.
    pub(in crate::ui) fn cadence_of(&self, cadence: Option<&str>) -> String {
        let Some(word) = cadence else { return self.unknown.to_owned() };
        let [german, english] = match Cadence::parse(word) {
            Some(Cadence::Hourly) => ["stündlich", "hourly"],
            Some(Cadence::Daily) => ["täglich", "daily"],
            Some(Cadence::Weekdays) => ["an Werktagen", "on weekdays"],
            None => return clipped_line(word, NAME),
        };
        match self.language {
            Language::German => german,
            Language::English => english,
        }
        .to_owned()
    }

    /// Since when a persona is known, and when it was met last.
    pub(in crate::ui) fn since(&self, first: &str, last: &str) -> String {
        match self.language {
            Language::German => format!("seit {first}, zuletzt {last}"),
            Language::English => format!("since {first}, last seen {last}"),
        }
    }
}
