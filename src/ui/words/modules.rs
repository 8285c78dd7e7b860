//! Words of the pages about modules.

use crate::domain::{Language, Week};

pub(in crate::ui) struct Words {
    language: Language,
    pub(in crate::ui) title: &'static str,
    module: &'static str,
    pub(in crate::ui) weeks: &'static str,
    /// What the two numbers of a cell are.
    pub(in crate::ui) cells: &'static str,
    week: &'static str,
    pub(in crate::ui) unused_week: &'static str,
    pub(in crate::ui) unrated_week: &'static str,
    pub(in crate::ui) too_few: &'static str,
    pub(in crate::ui) compared: &'static str,
    pub(in crate::ui) used: &'static str,

    pub(in crate::ui) status: &'static str,
    pub(in crate::ui) not_in_days: &'static str,
    pub(in crate::ui) all_runs: &'static str,
    /// The week, who used the module, the mean, runs with failures.
    pub(in crate::ui) week_columns: [&'static str; 4],

    pub(in crate::ui) tools: &'static str,
    pub(in crate::ui) no_tools: &'static str,
    /// The tool, who used it, runs with failures, dead ends, two durations, links.
    pub(in crate::ui) tool_columns: [&'static str; 7],
    pub(in crate::ui) unknown: &'static str,
    pub(in crate::ui) runs: &'static str,
    pub(in crate::ui) frictions: &'static str,

    pub(in crate::ui) ratings: &'static str,
    pub(in crate::ui) grounded_note: &'static str,
    pub(in crate::ui) no_ratings: &'static str,
    pub(in crate::ui) no_such_ratings: &'static str,
    pub(in crate::ui) filter: &'static str,
    pub(in crate::ui) rating: &'static str,
    pub(in crate::ui) persona: &'static str,
    pub(in crate::ui) all: &'static str,
    pub(in crate::ui) apply: &'static str,
    pub(in crate::ui) clear: &'static str,
    rated: &'static str,
    pub(in crate::ui) unrated: &'static str,
    pub(in crate::ui) ungrounded: &'static str,
    pub(in crate::ui) is_ungrounded: &'static str,
    pub(in crate::ui) rests_on: &'static str,
}

const GERMAN: Words = Words {
    language: Language::German,
    title: "Module",
    module: "Modul",
    weeks: "Woche für Woche",
    cells: "In jedem Feld: oben das Mittel der Noten mit Beleg (1 bis 5), unten der Anteil der Läufe, in denen ein Werkzeug des \
            Moduls scheiterte.",
    week: "KW",
    unused_week: "nicht benutzt",
    unrated_week: "keine Note",
    too_few: "zu wenig",
    compared: "Verglichen mit davor",
    used: "Benutzt",
    status: "Stand",
    not_in_days: "In diesen Tagen kennt niemand dieses Modul.",
    all_runs: "Läufe, die es benutzten oder bewerteten",
    week_columns: ["Woche", "Benutzt", "Mittel der Noten", "Läufe mit Fehlern"],
    tools: "Werkzeuge",
    no_tools: "Kein Werkzeug dieses Moduls ist bekannt.",
    tool_columns: [
        "Werkzeug",
        "Benutzt",
        "Läufe mit Fehlern",
        "Sackgassen",
        "Hälfte der Aufrufe bis",
        "95 % bis",
        "Mehr",
    ],
    unknown: "nicht bekannt",
    runs: "Läufe",
    frictions: "Was weh tut",
    ratings: "Noten",
    grounded_note: "Eine Note mit Beleg nennt mindestens einen Aufruf des Moduls in diesem Lauf. Noten ohne Beleg sind grau und zählen \
                    in keinem Mittel.",
    no_ratings: "In diesen Tagen hat niemand das Modul benutzt oder bewertet.",
    no_such_ratings: "Keine Note passt zu dieser Auswahl.",
    filter: "Auswahl der Noten",
    rating: "Note",
    persona: "Persona",
    all: "alle",
    apply: "Anwenden",
    clear: "Alle zeigen",
    rated: "Note",
    unrated: "keine Note",
    ungrounded: "ohne Beleg",
    is_ungrounded: "Ohne Beleg: Die Note nennt keinen Aufruf dieses Moduls in diesem Lauf.",
    rests_on: "Stützt sich auf",
};

const ENGLISH: Words = Words {
    language: Language::English,
    title: "Modules",
    module: "Module",
    weeks: "Week by week",
    cells: "In each cell: above, the mean of the grounded ratings (1 to 5); below, the share of runs in which a tool of the \
            module failed.",
    week: "week",
    unused_week: "not used",
    unrated_week: "no rating",
    too_few: "too few",
    compared: "Against the time before",
    used: "Used",
    status: "Status",
    not_in_days: "Nothing is known about this module on these days.",
    all_runs: "Runs that used or rated it",
    week_columns: ["Week", "Used", "Mean rating", "Runs with failures"],
    tools: "Tools",
    no_tools: "No tool of this module is known.",
    tool_columns: [
        "Tool",
        "Used",
        "Runs with failures",
        "Dead ends",
        "Half of the calls within",
        "95 % within",
        "More",
    ],
    unknown: "not known",
    runs: "Runs",
    frictions: "What hurts",
    ratings: "Ratings",
    grounded_note: "A grounded rating names at least one call of the module in its run. Ratings that are not are grey and are in no \
                    mean.",
    no_ratings: "Nobody used or rated the module on these days.",
    no_such_ratings: "No rating fits this choice.",
    filter: "Choice of ratings",
    rating: "Rating",
    persona: "Persona",
    all: "all",
    apply: "Apply",
    clear: "Show all",
    rated: "Rating",
    unrated: "no rating",
    ungrounded: "not grounded",
    is_ungrounded: "Not grounded: the rating names no call of this module in this run.",
    rests_on: "Rests on",
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    /// The title of the page about a module.
    pub(in crate::ui) fn module(&self, name: &str) -> String {
        format!("{} {name}", self.module)
    }

    /// The number of a week in its year.
    pub(in crate::ui) fn week(&self, week: Week) -> String {
        format!("{}\u{a0}{}", self.week, week.number())
    }

    /// What a tint means: a mean below the one number, or a share from the other on.
    pub(in crate::ui) fn tint(&self, rating: &str, share: &str) -> String {
        match self.language {
            Language::German => format!("Note unter {rating}, Fehler ab {share}"),
            Language::English => format!("rating below {rating}, failures from {share} on"),
        }
    }

    /// A rating of 1 to 5.
    pub(in crate::ui) fn rated(&self, rating: u8) -> String {
        format!("{} {rating}", self.rated)
    }
}
