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
    journal::{Journal, TIME_ZONE, TickFacts, persona_line},
};

/// Most personas whose last entries are remembered. If there are more, some entries are written again.
const MAX_REMEMBERED: usize = 20_000;

/// How many personas one transaction writes, so that a long list of changed personas takes little memory.
const AT_ONCE: usize = 200;

/// A due persona in a tick.
#[derive(Clone, Debug)]
pub(super) struct Due {
    /// What the journal keeps of the persona, as JSON: the value would take ten times as much memory.
    pub persona: String,
    pub user: UserId,
    pub slot: Slot,
    /// Why the persona did not run; `None` if it ran, also in an earlier tick.
    pub absent: Option<WhyNotRun>,
}

impl Due {
    /// A persona that is due for this slot, so far without an absence.
    pub(super) fn new(persona: &Persona, slot: &Slot) -> Self {
        let (user, slot) = (persona.user_id.clone(), slot.clone());
        // Texts and numbers always encode.
        let persona = serde_json::to_string(&persona_line(persona)).unwrap_or_default();
        Self { persona, user, slot, absent: None }
    }

    fn absence(&self) -> Option<line::Absence> {
        let (slot, persona) = (self.slot.to_string(), self.user.to_string());
        self.absent.map(|why| line::Absence { slot, persona, why })
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.persona.hash(&mut hasher);
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
    /// The journal's time zone, until it is written.
    time_zone: Option<String>,
    /// The hour of the last tick, in hours since 1970.
    hour: Option<i64>,
    /// For each persona, a hash of its line and of its last absence.
    personas: HashMap<UserId, u64>,
}

impl Absences {
    /// Starts with a time zone in which the journal's days begin.
    pub(super) async fn in_zone(journal: &Journal, time_zone: &str, now: Timestamp) -> Self {
        let mut written = Written { time_zone: Some(time_zone.to_owned()), ..Written::default() };
        written.keep_time_zone(journal, now).await;
        Self(written.into())
    }

    /// Writes what a tick leaves behind, and only what has changed: as a rule in one transaction. `due` is empty for a
    /// tick that did not ask who is due. What cannot be written is written by a later tick.
    pub(super) async fn note(&self, journal: &Journal, time: TickTime, due: &[Due]) {
        let TickTime { at, clock_at } = time;
        let mut written = self.0.lock().await;
        written.keep_time_zone(journal, clock_at).await;
        let hour = at.as_second().div_euclid(3_600);
        let is_news = |due: &Due| written.personas.get(&due.user) != Some(&due.hash());
        let news: Vec<_> = due.iter().filter(|due| is_news(due)).collect();
        if news.is_empty() && written.hour == Some(hour) {
            return;
        }
        if written.personas.len().saturating_add(news.len()) > MAX_REMEMBERED {
            written.personas.clear();
        }
        for news in news.chunks(AT_ONCE).chain(news.is_empty().then_some(&[][..])) {
            let persona = |due: &&Due| serde_json::from_str(&due.persona).ok();
            let personas: Vec<line::Persona> = news.iter().filter_map(persona).collect();
            let absences: Vec<_> = news.iter().filter_map(|due| due.absence()).collect();
            let tick = TickFacts { at, clock_at, personas: &personas, absences: &absences };
            if let Err(error) = journal.note_tick(&tick).await {
                tracing::warn!("{error}; the next tick notes who was absent");
                return;
            }
            written.hour = Some(hour);
            let room = MAX_REMEMBERED.saturating_sub(written.personas.len());
            let news = news.iter().map(|due| (due.user.clone(), due.hash()));
            written.personas.extend(news.take(room));
        }
    }
}

impl Written {
    /// Writes the time zone, unless that was done. What cannot be written is written later.
    async fn keep_time_zone(&mut self, journal: &Journal, now: Timestamp) {
        if let Some(zone) = &self.time_zone
            && journal.keep(TIME_ZONE, Some(zone), now).await.is_ok()
        {
            self.time_zone = None;
        }
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

    async fn note(absences: &Absences, journal: &Journal, at: Timestamp, due: &[Due]) {
        absences.note(journal, TickTime { at, clock_at: at }, due).await;
    }

    /// Whether a tick at this time writes to a journal that has lost its ticks.
    async fn writes(absences: &Absences, journal: &Journal, at: Timestamp, due: &[Due]) -> bool {
        journal.spoil("DELETE FROM ticks").await;
        note(absences, journal, at, due).await;
        journal.last_tick().await.unwrap().is_some()
    }

    #[tokio::test]
    async fn a_tick_writes_only_what_has_changed_and_what_a_failed_write_has_left() {
        let (journal, absences) = (Journal::in_memory().await.unwrap(), Absences::default());
        let writes = async |at, due: &[Due]| writes(&absences, &journal, at, due).await;
        let later = NOON + SignedDuration::from_mins(59);
        let anna = [due("anna", Some(WhyNotRun::Budget))];
        journal.spoil("ALTER TABLE ticks RENAME TO away").await;
        note(&absences, &journal, NOON, &anna).await;
        journal.spoil("ALTER TABLE away RENAME TO ticks").await;
        assert!(writes(NOON, &anna).await, "the write before has failed");
        assert!(!writes(later, &anna).await);
        assert!(!writes(later, &[]).await);
        for news in [due("anna", Some(WhyNotRun::HeldBack)), due("ben", None)] {
            assert!(writes(NOON, &[news]).await);
        }
        assert!(writes(later + SignedDuration::from_mins(1), &[]).await, "another hour");
    }

    #[tokio::test]
    async fn the_time_zone_is_written_once_and_again_by_the_next_note_if_that_failed() {
        let journal = Journal::in_memory().await.unwrap();
        journal.spoil("ALTER TABLE control RENAME TO away").await;
        let absences = Absences::in_zone(&journal, "Europe/Berlin", NOON).await;
        journal.spoil("ALTER TABLE away RENAME TO control").await;
        for later in ["Europe/Berlin", "UTC"] {
            note(&absences, &journal, NOON, &[]).await;
            assert_eq!(journal.kept(TIME_ZONE).await.unwrap().as_deref(), Some(later));
            journal.keep(TIME_ZONE, Some(&"UTC".to_owned()), NOON).await.unwrap();
        }
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
