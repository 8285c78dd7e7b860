//! Words of the list of runs.

use crate::{domain::Language, report::view::languages};

pub(in crate::ui) struct Words {
    language: Language,
    pub(in crate::ui) title: &'static str,
    pub(in crate::ui) none: &'static str,

    // The filter.
    pub(in crate::ui) filter: &'static str,
    pub(in crate::ui) apply: &'static str,
    pub(in crate::ui) clear: &'static str,
    pub(in crate::ui) all: &'static str,
    pub(in crate::ui) outcome: &'static str,
    pub(in crate::ui) module: &'static str,
    pub(in crate::ui) tool: &'static str,
    pub(in crate::ui) issue: &'static str,
    pub(in crate::ui) deployment: &'static str,
    pub(in crate::ui) days: &'static str,
    pub(in crate::ui) from: &'static str,
    pub(in crate::ui) to: &'static str,
    pub(in crate::ui) model: &'static str,

    // The columns.
    pub(in crate::ui) begun: &'static str,
    pub(in crate::ui) persona: &'static str,
    pub(in crate::ui) came_to: &'static str,
    pub(in crate::ui) turns: &'static str,
    pub(in crate::ui) calls: &'static str,
    pub(in crate::ui) failed: &'static str,
    pub(in crate::ui) ratings: &'static str,
    pub(in crate::ui) took: &'static str,
    pub(in crate::ui) cost: &'static str,
    pub(in crate::ui) product: &'static str,
}

const GERMAN: Words = Words {
    language: Language::German,
    title: "Läufe",
    none: "Kein Lauf passt dazu.",
    filter: "Filter",
    apply: "Zeigen",
    clear: "Alle Läufe",
    all: "alle",
    outcome: "Ausgang",
    module: "Modul",
    tool: "Werkzeug",
    issue: "Reibung",
    deployment: "Version",
    days: "Tage",
    from: "von",
    to: "bis",
    model: "Modell",
    begun: "Begonnen",
    persona: "Persona",
    came_to: "Ausgang",
    turns: "Runden",
    calls: "Aufrufe",
    failed: "gescheitert",
    ratings: "Noten",
    took: "Dauer",
    cost: "Kosten",
    product: "Produkt",
};

const ENGLISH: Words = Words {
    language: Language::English,
    title: "Runs",
    none: "No run fits.",
    filter: "Filter",
    apply: "Show",
    clear: "All runs",
    all: "all",
    outcome: "Came to",
    module: "Module",
    tool: "Tool",
    issue: "Friction",
    deployment: "Version",
    days: "Days",
    from: "from",
    to: "to",
    model: "Model",
    begun: "Begun",
    persona: "Persona",
    came_to: "Came to",
    turns: "Turns",
    calls: "Calls",
    failed: "failed",
    ratings: "Ratings",
    took: "Took",
    cost: "Cost",
    product: "Product",
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    /// The last so many days, as a choice.
    pub(in crate::ui) fn last_days(&self, days: u32) -> String {
        match self.language {
            Language::German => format!("die letzten {days}"),
            Language::English => format!("the last {days}"),
        }
    }

    pub(in crate::ui) fn number(&self, number: usize) -> String {
        languages::words(self.language).number(number as u64)
    }
}
