//! The state of an issue: what its history says about it at the end of a window.
//!
//! An issue lives in episodes. An episode begins with a hit. It ends when enough exposed runs were clean, and
//! the issue is then resolved; the next hit begins the next episode. Only runs end an episode, never time:
//! an issue that nobody is exposed to any more is untested, not resolved.
//!
//! Runs count whatever deployments they saw: a run that saw two counts like any other, and going back to an
//! older version is a deployment like any other. Hits and exposures alone decide.

mod episode;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use self::episode::Episode;
pub use self::episode::Progress;
use crate::domain::{Label, labels};

/// How long an issue is called regressed after it came back; also how far back the runs that tell whether an
/// issue is tested may lie.
const RECENT: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long an issue is called new after its very first hit.
pub(super) const NEW: SignedDuration = SignedDuration::from_hours(7 * 24);
/// An issue with fewer recent exposed runs, none of them a hit, is untested.
const TESTED_RUNS: usize = 3;

labels! {
    /// The state of an issue. Of several that hold, the one declared first is the state.
    pub State {
        /// A person has muted the issue, and the mute has not ended.
        Muted = "muted",
        /// So many exposed runs were clean since the last hit that chance does not explain them.
        Resolved = "resolved",
        /// No hit and fewer than 3 exposed runs in 14 days.
        Untested = "untested",
        /// It came back after it was resolved, less than 14 days ago.
        Regressed = "regressed",
        /// One hit in all.
        Rare = "rare",
        /// The very first hit was less than 7 days ago.
        New = "new",
        /// Nothing of the above.
        Open = "open",
    }
}

/// A run that was exposed to the issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// When the run began.
    pub at: Timestamp,
    /// The caller's number for the run's persona.
    pub persona: u32,
    /// Whether the run had the issue.
    pub hit: bool,
}

/// The time in which the issue is muted. A window ends at midnight, so that a mute until midnight holds in the window
/// of the day before and no longer in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Muting {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// The run that changed an issue's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The run's position in the history.
    pub run: usize,
    /// When the run began.
    pub at: Timestamp,
}

/// The state of an issue and the runs that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state at the window's end.
    pub state: State,
    /// The clean run that resolved the issue. `None` if a hit followed or the issue was never resolved; a
    /// value even if the issue is muted.
    pub resolved: Option<Turn>,
    /// The hit that began the newest episode, if the issue was resolved before that episode.
    pub regressed: Option<Turn>,
    /// How far the issue is from being resolved. Of a resolved one, what resolved it.
    pub progress: Progress,
}

/// The state of an issue at the end of a window; `None` if no run of the history had it.
///
/// `history` are the runs exposed to the issue that began before `end`, of all personas, in the order they
/// began. `first_hit` is the time of the very first call that had the issue, also of a run that the history no
/// longer has.
pub fn state(
    history: &[Exposure],
    first_hit: Timestamp,
    mutings: &[Muting],
    end: Timestamp,
) -> Option<Standing> {
    let mut life = Life::default();
    history.iter().for_each(|exposure| life.push(*exposure));
    let last_hit = life.last_hit?;
    let recent = |at: Timestamp| end.duration_since(at) < RECENT;
    // Runs are in order, so that the newest ones tell whether there are enough recent ones.
    let newest = history.iter().rev().take(TESTED_RUNS);
    let is_tested = recent(last_hit) || newest.filter(|run| recent(run.at)).count() >= TESTED_RUNS;
    let holds = |state| match state {
        State::Muted => mutings.iter().any(|muting| muting.from <= end && end <= muting.until),
        State::Resolved => life.resolved.is_some(),
        State::Untested => !is_tested,
        State::Regressed => life.regressed.is_some_and(|hit| recent(hit.at)),
        State::Rare => life.hits == 1 && first_hit >= last_hit,
        State::New => end.duration_since(first_hit) < NEW,
        State::Open => true,
    };
    let progress = life.episode.as_ref().map(Episode::progress).unwrap_or_default();
    let Life { resolved, regressed, .. } = life;
    let state = State::ALL.iter().copied().find(|state| holds(*state))?;
    Some(Standing { state, resolved, regressed, progress })
}

/// What the runs of a history add up to, one run after the other.
#[derive(Clone, Debug, Default)]
struct Life {
    runs: usize,
    hits: u32,
    last_hit: Option<Timestamp>,
    /// The current or last episode.
    episode: Option<Episode>,
    resolved: Option<Turn>,
    regressed: Option<Turn>,
}

impl Life {
    /// Adds the run that began next. Takes constant time on average, so that a state is linear in its history.
    fn push(&mut self, Exposure { at, persona, hit }: Exposure) {
        let turn = Turn { run: self.runs, at };
        self.runs += 1;
        if hit {
            self.hits += 1;
            self.last_hit = Some(at);
            if self.resolved.take().is_some() {
                self.regressed = Some(turn);
                self.episode = None;
            }
            self.episode.get_or_insert_default().hit(persona);
        } else if let Some(episode) = &mut self.episode
            && self.resolved.is_none()
        {
            episode.clean(persona);
            self.resolved = episode.is_over().then_some(turn);
        }
    }
}
