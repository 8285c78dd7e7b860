//! What a comparison says in its first sentence, before the words of a language.

use super::{Build, Comparison, Verdict};

/// Why two sides cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// No deployment is known.
    NoDeployment,
    /// A has no run.
    NoRunOfA,
    /// B has no run.
    NoRunOfB,
    /// Fewer than half of the personas of the smaller side ran on both.
    TooFewPersonas,
}

impl Comparison {
    /// How many facts have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|it| it.verdict == verdict).count()
    }

    /// The build that B is about, if it is a newer one than those of A. `None` if both sides may be days of the same
    /// build, or B is the older one.
    pub fn since(&self) -> Option<&Build> {
        let [build] = &self.b.deployments[..] else { return None };
        let is_newer = |it: &Build| it.id != build.id && it.from <= build.from;
        self.a.deployments.iter().all(is_newer).then_some(build)
    }

    /// Whether a larger share of the runs ended at login, space or session in B than in A. No fact shows them.
    pub fn is_more_locked_out(&self) -> bool {
        self.b.locked_out * self.a.runs > self.a.locked_out * self.b.runs
    }

    /// Why the sides are not comparable, if they are not.
    pub fn why_not(&self) -> WhyNot {
        match (self.a.runs, self.b.runs) {
            _ if !self.knows_deployments => WhyNot::NoDeployment,
            (_, 0) => WhyNot::NoRunOfB,
            (0, _) => WhyNot::NoRunOfA,
            _ => WhyNot::TooFewPersonas,
        }
    }
}
