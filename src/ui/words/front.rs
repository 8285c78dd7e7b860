//! Words of the first page.

use crate::{
    domain::{Language, printable_line},
    journal::{Pause, PauseMode},
    report::view::languages,
    runner::{Hindrance, PausedBy},
};

pub(in crate::ui) struct Words {
    language: Language,
    /// The title while the report is not there.
    pub(in crate::ui) title: &'static str,
    pub(in crate::ui) all_frictions: &'static str,
    pub(in crate::ui) all_modules: &'static str,
    pub(in crate::ui) module: &'static str,
    pub(in crate::ui) rating: &'static str,
    pub(in crate::ui) friction: &'static str,
    pub(in crate::ui) usage: &'static str,
    pub(in crate::ui) all_personas: &'static str,

    pub(in crate::ui) now: &'static str,
    pub(in crate::ui) in_flight: &'static str,
    pub(in crate::ui) nothing_in_flight: &'static str,
    pub(in crate::ui) today: &'static str,
    pub(in crate::ui) this_month: &'static str,
    pub(in crate::ui) outbox: &'static str,
    pub(in crate::ui) outbox_empty: &'static str,
    pub(in crate::ui) list_outbox: &'static str,
}

const GERMAN: Words = Words {
    language: Language::German,
    title: "Übersicht",
    all_frictions: "Alles, was weh tut",
    all_modules: "Module nach Wochen, mit Noten und Belegen",
    module: "Modul",
    rating: "Note, verglichen mit den acht Wochen davor",
    friction: "Läufe mit Fehlern",
    usage: "Benutzt",
    all_personas: "Personas und ihre Tage",
    now: "Jetzt",
    in_flight: "Unterwegs",
    nothing_in_flight: "kein Lauf",
    today: "Heute ausgegeben",
    this_month: "Im Monat ausgegeben",
    outbox: "Postausgang",
    outbox_empty: "leer",
    list_outbox: "Im Einzelnen:",
};

const ENGLISH: Words = Words {
    language: Language::English,
    title: "Overview",
    all_frictions: "Everything that hurts",
    all_modules: "Modules by week, with ratings and evidence",
    module: "Module",
    rating: "Rating, against the eight weeks before",
    friction: "Runs with failures",
    usage: "Used",
    all_personas: "Personas and their days",
    now: "Now",
    in_flight: "In flight",
    nothing_in_flight: "no run",
    today: "Spent today",
    this_month: "Spent this month",
    outbox: "Outbox",
    outbox_empty: "empty",
    list_outbox: "In detail:",
};

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &GERMAN,
        Language::English => &ENGLISH,
    }
}

impl Words {
    fn is_german(&self) -> bool {
        self.language == Language::German
    }

    pub(in crate::ui) fn runs(&self, count: usize) -> String {
        let nouns = if self.is_german() { ["Lauf", "Läufe"] } else { ["run", "runs"] };
        languages::words(self.language).counted(count as u64, nouns)
    }

    /// How many of the runs in flight are not named.
    pub(in crate::ui) fn more_runs(&self, count: usize) -> String {
        let others = languages::words(self.language).number(count as u64);
        if self.is_german() {
            format!("und {others} weitere")
        } else {
            format!("and {others} more")
        }
    }

    /// Since when a run is in flight.
    pub(in crate::ui) fn since(&self, time: &str) -> String {
        if self.is_german() { format!("seit {time}") } else { format!("since {time}") }
    }

    /// What was spent, of how much.
    pub(in crate::ui) fn spent(&self, spent: f64, cap: Option<f64>) -> String {
        let usd = |usd: f64| languages::words(self.language).decimal(usd, 2);
        match (cap, self.is_german()) {
            (Some(cap), true) => format!("{} von {} USD", usd(spent), usd(cap)),
            (Some(cap), false) => format!("{} of {} USD", usd(spent), usd(cap)),
            (None, true) => format!("{} USD, ohne Grenze", usd(spent)),
            (None, false) => format!("{} USD, no cap", usd(spent)),
        }
    }

    /// Posts that wait, since when, and posts that were refused for good.
    pub(in crate::ui) fn waiting(&self, waiting: u64, oldest: &str) -> String {
        let number = languages::words(self.language).number(waiting);
        match self.is_german() {
            true => format!("{number} warten, seit {oldest}"),
            false => format!("{number} waiting, since {oldest}"),
        }
    }

    pub(in crate::ui) fn refused(&self, refused: u64) -> String {
        let number = languages::words(self.language).number(refused);
        match self.is_german() {
            true => format!("{number} endgültig abgelehnt"),
            false => format!("{number} refused for good"),
        }
    }

    /// Why ticks do not do their work, as one sentence. `since` is when a requested pause began.
    pub(in crate::ui) fn hindrance(&self, hindrance: &Hindrance, since: Option<&str>) -> String {
        let line = |text: &str| printable_line(text);
        match (hindrance, self.is_german()) {
            (Hindrance::Paused(PausedBy::Request(pause)), _) => {
                self.paused(pause, since.unwrap_or_default())
            }
            (_, false) => sentence(&line(&hindrance.to_string())),
            (Hindrance::Stopping, _) => "Der Dienst wird gerade beendet.".to_owned(),
            (Hindrance::Unset(names), _) => format!(
                "{} {} nicht gesetzt; es gibt keine Ticks.",
                names.join(" und "),
                if names.len() == 1 { "ist" } else { "sind" }
            ),
            (Hindrance::ModelStopped(why), _) => {
                format!("Das Modell wird zurzeit nicht benutzt: {}", line(why))
            }
            (Hindrance::Journal(why), _) => {
                format!("Das Journal ist nicht beschreibbar: {}", line(why))
            }
            (Hindrance::Budget(why), _) => format!("Ein Budget ist aufgebraucht: {}", line(why)),
            (Hindrance::Due(why), _) => {
                format!("Der letzte Tick erfuhr nicht, wer fällig ist: {}", line(why))
            }
            (Hindrance::SeedSecret, _) => {
                "Jede Anmeldung wurde abgelehnt: PERSONA_SEED_SECRET passt nicht.".to_owned()
            }
            (Hindrance::NoSession(why), _) => {
                format!("Kein Lauf des letzten Ticks kam zu mana-mcp: {}", line(why))
            }
            (Hindrance::Paused(PausedBy::Environment), _) => {
                "Pausiert: RUNNER_PAUSED ist gesetzt.".to_owned()
            }
        }
    }

    fn paused(&self, pause: &Pause, since: &str) -> String {
        let by = printable_line(&pause.by);
        let reason = pause.reason.as_deref().map(printable_line).filter(|it| !it.is_empty());
        let (begin, no_reason, ends) = match (self.is_german(), pause.mode) {
            (true, PauseMode::Pause) => (
                format!("Pausiert seit {since} von {by}"),
                "ohne Angabe eines Grundes",
                "Läufe, die unterwegs sind, enden nach ihrer Antwort.",
            ),
            (true, PauseMode::Drain) => (
                format!("Pausiert seit {since} von {by}"),
                "ohne Angabe eines Grundes",
                "Läufe, die unterwegs sind, kommen noch zu Ende.",
            ),
            (false, PauseMode::Pause) => (
                format!("Paused since {since} by {by}"),
                "without a reason",
                "Runs in flight end after their current turn.",
            ),
            (false, PauseMode::Drain) => (
                format!("Paused since {since} by {by}"),
                "without a reason",
                "Runs in flight still come to their end.",
            ),
        };
        match reason {
            Some(reason) => format!("{begin}: {}. {ends}", reason.trim_end_matches('.')),
            None => format!("{begin}, {no_reason}. {ends}"),
        }
    }
}

/// This text as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let sentence: String = first.chain(letters).collect();
    if sentence.ends_with('.') { sentence } else { sentence + "." }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hindrance_is_a_sentence_in_both_languages() {
        use Hindrance::*;
        let why = || "nobody@mana.test \u{202e}knows\n".to_owned();
        let pause = |reason: Option<&str>| {
            Paused(PausedBy::Request(Pause {
                mode: PauseMode::Drain,
                reason: reason.map(str::to_owned),
                by: "127.0.0.1".into(),
                since: jiff::Timestamp::UNIX_EPOCH,
            }))
        };
        for hindrance in [
            Stopping,
            Unset(vec!["A", "B"]),
            ModelStopped(why()),
            Journal(why()),
            Budget(why()),
            Due(why()),
            SeedSecret,
            NoSession(why()),
            Paused(PausedBy::Environment),
            pause(None),
            pause(Some("deploy")),
        ] {
            let told = [&GERMAN, &ENGLISH].map(|it| it.hindrance(&hindrance, Some("09:12")));
            assert_ne!(told[0], told[1]);
            assert!(told.iter().all(|it| !it.contains(['\n', '\u{202e}'])), "{told:?}");
            assert!(told.iter().all(|it| !it.starts_with(char::is_lowercase)), "{told:?}");
        }
        assert_eq!(
            GERMAN.hindrance(&pause(Some("Deploy.")), Some("Mo, 09:12")),
            "Pausiert seit Mo, 09:12 von 127.0.0.1: Deploy. Läufe, die unterwegs sind, kommen noch zu Ende."
        );
        assert_eq!(ENGLISH.hindrance(&Unset(vec!["A"]), None), "A is not set; ticks are disabled.");
    }

    #[test]
    fn what_was_spent_is_told_with_its_cap_or_that_there_is_none() {
        assert_eq!(GERMAN.spent(1.5, Some(1_000.0)), "1,50 von 1.000,00 USD");
        assert_eq!(ENGLISH.spent(0.0, None), "0.00 USD, no cap");
    }
}
