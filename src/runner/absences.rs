//! Which personas were due, why some of them did not run, and that the runner was up at all.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::{
    domain::{Persona, Slot, UserId, WhyNotRun},
    facts::line,
    journal::{Journal, TickFacts, persona_line},
};

/// Most personas whose last entries are remembered. If there are more, some entries are written again.
const MAX_REMEMBERED: usize = 20_000;

/// A due persona in a tick.
#[derive(Debug)]
pub(super) struct Due {
    /// What the journal keeps of the persona.
    pub persona: line::Persona,
    pub user: UserId,
    pub slot: Slot,
    /// Why the persona did not run; `None` if it ran, also in an earlier tick.
    pub absent: Option<WhyNotRun>,
}

impl Due {
    /// A persona that is due for this slot, so far without an absence.
    pub(super) fn new(persona: &Persona, slot: &Slot) -> Self {
        let (user, slot) = (persona.user_id.clone(), slot.clone());
        Self { persona: persona_line(persona), user, slot, absent: None }
    }

    fn absence(&self) -> Option<line::Absence> {
        let (slot, persona) = (self.slot.to_string(), self.user.to_string());
        self.absent.map(|why| line::Absence { slot, persona, why })
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        // Texts and numbers always encode.
        serde_json::to_string(&self.persona).unwrap_or_default().hash(&mut hasher);
        self.absent.map(|why| (self.slot.as_str(), why.as_str())).hash(&mut hasher);
        hasher.finish()
    }
}

/// When a tick was.
#[derive(Clone, Copy, Debug)]
pub(super) struct TickTime {
    /// mana-auth's time.
    pub at: Timestamp,
    /// The time of the daemon's clock.
    pub clock_at: Timestamp,
}

/// What the journal says of the last ticks, so that a tick writes only what has changed.
#[derive(Debug, Default)]
pub(super) struct Absences(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    /// The hour of the last tick, in hours since 1970.
    hour: Option<i64>,
    /// For each persona, a hash of its line and of its last absence.
    personas: HashMap<UserId, u64>,
}

impl Absences {
    /// Writes what a tick leaves behind, in one transaction and only if something has changed. `due` is empty for a
    /// tick that did not ask who is due. What cannot be written is written by a later tick.
    pub(super) async fn note(&self, journal: &Journal, time: TickTime, due: &[Due]) {
        let TickTime { at, clock_at } = time;
        let mut written = self.0.lock().await;
        let hour = at.as_second().div_euclid(3_600);
        let is_news = |due: &Due| written.personas.get(&due.user) != Some(&due.hash());
        let news: Vec<_> = due.iter().filter(|due| is_news(due)).collect();
        if news.is_empty() && written.hour == Some(hour) {
            return;
        }
        let personas: Vec<_> = news.iter().map(|due| due.persona.clone()).collect();
        let absences: Vec<_> = news.iter().filter_map(|due| due.absence()).collect();
        let tick = TickFacts { at, clock_at, personas: &personas, absences: &absences };
        if let Err(error) = journal.note_tick(&tick).await {
            tracing::warn!("{error}; the next tick notes who was absent");
            return;
        }
        written.hour = Some(hour);
        if written.personas.len().saturating_add(news.len()) > MAX_REMEMBERED {
            written.personas.clear();
        }
        let news = news.into_iter().map(|due| (due.user.clone(), due.hash()));
        written.personas.extend(news.take(MAX_REMEMBERED));
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::{Cadence, ModuleMix, ModuleName};

    const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

    fn due(name: &str, absent: Option<WhyNotRun>) -> Due {
        let persona = Persona {
            email: format!("persona.{name}@mana.test"),
            module_mix: ModuleMix::new([(ModuleName::new("todo"), 0.5)]),
            ..Persona::known_by_id(UserId::parse(name).unwrap())
        };
        Due { absent, ..Due::new(&persona, &Slot::of(Cadence::Daily, NOON)) }
    }

    /// Whether a tick at this time writes something to a journal in which it cannot write.
    async fn writes(absences: &Absences, journal: &Journal, at: Timestamp, due: &[Due]) -> bool {
        for table in ["personas", "absences", "ticks"] {
            journal.spoil(format!("ALTER TABLE {table} RENAME TO {table}_away")).await;
        }
        absences.note(journal, TickTime { at, clock_at: at }, due).await;
        let has_failed = journal.trouble().is_some();
        for table in ["personas", "absences", "ticks"] {
            journal.spoil(format!("ALTER TABLE {table}_away RENAME TO {table}")).await;
        }
        journal.check_writable().await.unwrap();
        has_failed
    }

    #[tokio::test]
    async fn a_tick_writes_only_what_has_changed_and_what_a_failed_write_has_left() {
        let (journal, absences) = (Journal::in_memory().await.unwrap(), Absences::default());
        let anna = [due("anna", Some(WhyNotRun::Budget))];
        let note = async |due: &[Due]| {
            absences.note(&journal, TickTime { at: NOON, clock_at: NOON }, due).await;
        };
        assert!(writes(&absences, &journal, NOON, &anna).await, "nothing is written yet");
        assert!(writes(&absences, &journal, NOON, &anna).await, "the write has failed");
        note(&anna).await;
        assert!(!writes(&absences, &journal, NOON, &anna).await);
        let later = NOON + SignedDuration::from_mins(59);
        assert!(!writes(&absences, &journal, later, &[]).await);
        for news in [due("anna", Some(WhyNotRun::HeldBack)), due("ben", None)] {
            assert!(writes(&absences, &journal, NOON, &[news]).await);
        }
        assert!(
            writes(&absences, &journal, later + SignedDuration::from_hours(1), &anna).await,
            "another hour"
        );
    }

    #[tokio::test]
    async fn the_number_of_remembered_personas_is_bounded() {
        let (journal, absences) = (Journal::in_memory().await.unwrap(), Absences::default());
        for round in 0..3 {
            let due: Vec<_> = (0..9_000).map(|n| due(&format!("p{round}-{n}"), None)).collect();
            absences.note(&journal, TickTime { at: NOON, clock_at: NOON }, &due).await;
            assert!(absences.0.lock().await.personas.len() <= MAX_REMEMBERED);
        }
    }
}
