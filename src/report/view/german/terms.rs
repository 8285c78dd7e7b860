//! German: the terms.

use super::German;
use crate::{
    domain::{Next, UnratedWhy, WhyNotRun},
    facts::{
        coverage::{DayStatus, ModuleStatus},
        detect::Detector,
        state::State,
    },
    report::view::words::{Columns, Headings, Notes, Terms},
};

const HEADINGS: Headings = Headings {
    hurts: "Was weh tut",
    changes: "Was sich geändert hat",
    modules: "Module",
    missing: "Was sie vermisst haben",
    slow: "Langsam",
    not_tested: "Nicht getestet",
    coverage: "Tage",
    reliability: "Wie verlässlich ist das",
    cost: "Kosten",
};

const COLUMNS: Columns = Columns {
    modules: [
        "Modul",
        "Note, verglichen mit den eigenen acht Wochen davor",
        "Mittel",
        "Läufe mit Fehlern",
        "28 Tage",
        "Zitat",
    ],
    missing: ["Gesucht", "Personas", "Aufrufe"],
    slow: ["Werkzeug", "Hälfte der Aufrufe bis", "95 % bis", "Aufrufe"],
    persona: "Persona",
    by_day: ["Tag", "Personas"],
};

const NOTES: Notes = Notes {
    nobody_ran: "Niemand lief: Dazu ist nichts bekannt.",
    nothing_hurts: "Kein Detektor meldet etwas, das nicht stumm geschaltet ist. Das ist keine Entwarnung: Was niemand benutzt hat, ist \
                    nicht geprüft.",
    all_resolved: "Nichts davon ist offen. Das ist keine Entwarnung: Was niemand benutzt hat, ist nicht geprüft.",
    no_change: "Keine Reibung ist neu, wieder da oder behoben.",
    modules: "Verglichen wird mit den Noten, die dieselben Personas in den acht Wochen davor gaben; Noten ohne Beleg zählen \
              nicht.",
    no_modules: "Welche Module es gibt, ist nicht bekannt.",
    nothing_missing: "Keine zwei Personas suchten dasselbe fehlende Werkzeug.",
    nothing_slow: "Kein Werkzeug war oft genug langsam, um hier zu stehen.",
    all_tested: "Jedes Modul und jedes Werkzeug wurde von mehreren Personas benutzt.",
    no_tools: "Welche Werkzeuge es gibt, ist nicht bekannt.",
    no_days: "Es gibt keinen Tag, über den etwas bekannt ist.",
    no_version: "Version des Produkts: nicht bekannt.",
    no_past: "noch kein Vergleich",
    only_ungrounded: "nur Noten ohne Beleg",
    too_kind_unknown: "Zu freundlich: nicht bekannt, denn kein Modul, das zur Sackgasse wurde, hat eine Note mit Beleg.",
};

impl Terms for German {
    fn tag(&self) -> &'static str {
        "de"
    }

    fn marks(&self) -> [char; 2] {
        [',', '.']
    }

    fn headings(&self) -> &'static Headings {
        &HEADINGS
    }

    fn columns(&self) -> &'static Columns {
        &COLUMNS
    }

    fn notes(&self) -> &'static Notes {
        &NOTES
    }

    fn state(&self, state: State) -> &'static str {
        match state {
            State::Muted => "stumm",
            State::Resolved => "behoben",
            State::Untested => "nicht mehr getestet",
            State::Regressed => "wieder da",
            State::Rare => "einmalig",
            State::New => "neu",
            State::Open => "offen",
        }
    }

    fn kind(&self, detector: Detector) -> &'static str {
        match detector {
            Detector::DeadEnd => "Sackgasse: ging auch später im selben Lauf nicht",
            Detector::LockedOut => "ausgesperrt: vor dem ersten Aufruf zu Ende",
            Detector::Fails => "scheitert immer wieder",
            Detector::Repeated => "derselbe Aufruf noch einmal, trotz Fehler",
            Detector::Fumbling => "Probieren: erst mit anderer Eingabe ging es",
            Detector::FieldTrap => "Feldfalle: dasselbe Feld wird immer wieder abgelehnt",
            Detector::Slow => "langsame Antworten",
            Detector::Unsure => "ungewiss: ohne Antwort abgebrochen",
            Detector::Flood => "Flut: mehr, als eine Persona lesen kann",
            Detector::GaveUp => "aufgegeben: Lieblingsmodul, nach einem Fehler nicht mehr benutzt",
            Detector::SilentPain => "stiller Schmerz: schlechte Note, obwohl jeder Aufruf gelang",
        }
    }

    fn absence(&self, status: ModuleStatus) -> &'static str {
        match status {
            ModuleStatus::Rated => "bewertet",
            ModuleStatus::Used => "benutzt, nicht bewertet",
            ModuleStatus::Unused => "nicht benutzt",
            ModuleStatus::NotOffered => "nicht angeboten",
            ModuleStatus::TooFew => "zu wenig",
        }
    }

    fn day(&self, status: DayStatus) -> &'static str {
        match status {
            DayStatus::Ran => "gelaufen",
            DayStatus::FailedProduct => "am Produkt gescheitert",
            DayStatus::FailedRunner => "an uns gescheitert",
            DayStatus::Idle => "untätig",
            DayStatus::Paused => "pausiert",
            DayStatus::Budget => "Budget aufgebraucht",
            DayStatus::HeldBack => "zurückgestellt",
            DayStatus::RunnerDown => "Runner aus",
            DayStatus::ModelStopped => "Modell gesperrt",
            DayStatus::Other => "anderes",
            DayStatus::NotDue => "nicht fällig",
        }
    }

    fn not_run(&self, why: WhyNotRun) -> &'static str {
        match why {
            WhyNotRun::SlotUsed => "schon gelaufen",
            WhyNotRun::HeldBack => "nach Fehlern zurückgestellt",
            WhyNotRun::Unfinished => "voriger Lauf nicht zu Ende",
            WhyNotRun::Paused => "Runner pausiert",
            WhyNotRun::Budget => "Budget aufgebraucht",
            WhyNotRun::PersonaBudget => "Budget der Persona aufgebraucht",
            WhyNotRun::ModelStopped => "Modell gesperrt",
            WhyNotRun::RunnerDown => "Runner aus",
            WhyNotRun::Other => "anderes",
        }
    }

    fn next(&self, next: Next) -> &'static str {
        match next {
            Next::AgainOk => "noch einmal, gelang",
            Next::AgainFailed => "noch einmal, scheiterte",
            Next::OtherOk => "anders versucht, gelang",
            Next::OtherFailed => "anders versucht, scheiterte",
            Next::OtherModule => "anderes Modul",
            Next::Ended => "aufgehört",
        }
    }

    fn unrated(&self, why: UnratedWhy) -> &'static str {
        match why {
            UnratedWhy::Refused => "verweigert",
            UnratedWhy::Unreadable => "unlesbar",
            UnratedWhy::Forgotten => "vergessen",
            UnratedWhy::NoMoney => "Budget aufgebraucht",
            UnratedWhy::Stopped => "Lauf angehalten",
            UnratedWhy::NotReached => "vor der Frage zu Ende",
            UnratedWhy::ModelFailed => "Modell ausgefallen",
        }
    }

    fn setting<'s>(&self, what: &'s str) -> &'s str {
        match what {
            "model" => "Modell",
            "effort" => "Denkaufwand",
            "prompt" => "Anweisung",
            "runner" => "Runner",
            "policy" => "Regeln für Werkzeuge",
            other => other,
        }
    }
}
