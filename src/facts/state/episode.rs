//! One episode of an issue: from a hit until enough runs were clean.

use std::collections::{BTreeSet, HashMap};

use crate::facts::share::lower_bound;

/// The chance that an issue which never changed is called resolved after its last hit, if its true rate is
/// at least the lower bound of its rate.
const CHANCE: f64 = 0.005;
/// No issue is resolved by fewer clean runs.
const AT_LEAST: f64 = 3.0;
/// An issue so rare that it needed more clean runs is never resolved by counting.
const AT_MOST: f64 = 300.0;

/// What the runs of an episode add up to. Only runs of personas that were hit in the episode count: those of
/// the others say nothing about an issue that the others may never meet.
#[derive(Clone, Debug, Default)]
pub(super) struct Episode {
    personas: HashMap<u32, Persona>,
    /// Number of personas that were hit.
    affected: usize,
    hits: u32,
    /// Runs of the affected personas from the first to the last hit.
    runs: u32,
    /// Runs of the affected personas since the last hit.
    clean: u32,
    /// The affected personas with a run since the last hit.
    clean_personas: BTreeSet<u32>,
}

/// How far an issue is from being resolved, in runs that were clean since its last hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Clean runs of the personas that had the issue in its newest episode.
    pub clean: u32,
    /// How many of them resolve the issue; `None`: it is too rare for any number of them.
    pub needed: Option<u32>,
    /// Of how many personas the clean runs are.
    pub personas: usize,
    /// Of how many they must be.
    pub personas_needed: usize,
}

impl Progress {
    /// Whether enough runs were clean, of two affected personas, where there are two, because one of them may only
    /// have stopped doing what fails.
    fn is_enough(&self) -> bool {
        self.personas >= self.personas_needed
            && self.needed.is_some_and(|needed| self.clean >= needed)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Persona {
    /// Exposed runs since the episode began.
    runs: u32,
    is_affected: bool,
}

impl Episode {
    /// Adds a run of `persona` that had the issue.
    pub(super) fn hit(&mut self, persona: u32) {
        let of = self.personas.entry(persona).or_default();
        of.runs += 1;
        self.runs += self.clean;
        // A persona's earlier runs count from its first hit on.
        self.runs += if of.is_affected { 1 } else { of.runs };
        self.affected += usize::from(!of.is_affected);
        of.is_affected = true;
        self.hits += 1;
        self.clean = 0;
        self.clean_personas.clear();
    }

    /// Adds a run of `persona` that was exposed to the issue and did not have it.
    pub(super) fn clean(&mut self, persona: u32) {
        let of = self.personas.entry(persona).or_default();
        of.runs += 1;
        if of.is_affected {
            self.clean += 1;
            self.clean_personas.insert(persona);
        }
    }

    /// Whether enough runs were clean since the last hit.
    pub(super) fn is_over(&self) -> bool {
        self.progress().is_enough()
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            clean: self.clean,
            needed: clean_runs_needed(self.hits, self.runs),
            personas: self.clean_personas.len(),
            personas_needed: self.affected.min(2),
        }
    }
}

/// How many clean runs in a row resolve an issue that `hits` of `runs` had; `None`: no number does.
pub(super) fn clean_runs_needed(hits: u32, runs: u32) -> Option<u32> {
    let needed = (CHANCE.ln() / (-lower_bound(hits, runs)).ln_1p()).ceil().max(AT_LEAST);
    (needed <= AT_MOST).then_some(needed as u32)
}
