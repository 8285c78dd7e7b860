//! Whether the product has become worse between two sides, A and B: before and after a deployment, or any two others.
//!
//! Each fact of [`Fact`] is tested within the personas that have it on both sides ([`crate::statistics`]). All facts
//! are one family, so that a comparison of a hundred facts in which nothing has changed says "worse" in at most one of
//! twenty cases.

mod confounded;
mod evidence;
mod judge;
mod measured;
mod reference;
mod sides;
mod source;
mod strata;
#[cfg(test)]
mod tests;
mod told;

pub use self::{confounded::Confounder, reference::NoSide, told::WhyNot};
pub(super) use self::{
    confounded::confounded,
    sides::{Side, seed},
    strata::strata,
};

use jiff::{Timestamp, civil::Date};
use serde::Serialize;

use self::{
    evidence::describe,
    judge::{Judged, Judgement, judge, noise},
    reference::Chosen,
    sides::Sides,
    source::Source,
    strata::Weeks,
};
use super::{digits, line, window::Window};
use crate::{
    domain::{labels, word},
    statistics::Noise,
};

/// The schema of [`Comparison`].
const SCHEMA: &str = "compare/v1";

labels! {
    /// What is compared.
    pub Fact {
        /// Runs that hit an issue, of those that used a tool at which it was seen.
        Issue = "issue",
        /// Runs in which a tool failed, of those that used it.
        Tool = "tool",
        /// Runs in which a tool failed and did not succeed later, of those that used it and ended by themselves.
        DeadEnd = "dead-end",
        /// Runs in which a tool of a module failed, of those that used the module.
        Module = "module",
        /// Grounded ratings of a module.
        Rating = "rating",
    }
}

labels! {
    /// What is said of a fact, in the order in which facts are listed.
    pub Verdict {
        /// B is worse, and by more than chance explains among all facts.
        Worse = "worse",
        /// B may be worse.
        Watch = "watch",
        /// B is better, and by more than chance explains among all facts.
        Better = "better",
        /// A change by 10 points, or by 0.3 of a rating, would have been seen.
        Unchanged = "unchanged",
        /// There are too few runs to see such a change.
        Undecided = "undecided",
        /// No persona has runs on both sides.
        Untested = "untested",
    }
}

labels! {
    /// What a comparison comes to.
    pub Overall {
        /// At least one fact is worse.
        Worse = "worse",
        /// No fact is worse.
        NothingWorse = "nothing-worse",
        /// Too few personas ran on both sides.
        NotComparable = "not-comparable",
        /// Whatever had changed, no test would have seen it.
        NothingTestable = "nothing-testable",
    }
}

impl Fact {
    /// Of which noise floor: 0 for shares, 1 for ratings.
    fn kind(self) -> usize {
        usize::from(self == Self::Rating)
    }

    /// A mean of this fact with the digits that are printed.
    fn rounded(self, value: f64) -> f64 {
        if self == Self::Rating { digits::mean(value) } else { digits::share(value) }
    }
}

/// The result of a comparison: `compare/v1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// `compare/v1`.
    pub schema: &'static str,
    /// The side before.
    pub a: SideSummary,
    /// The side after.
    pub b: SideSummary,
    /// What the comparison comes to.
    #[serde(with = "word")]
    pub verdict: Overall,
    /// What else differs between the sides, and may be the reason.
    pub confounded: Vec<Confounder>,
    /// The noise floors; `None` where one is not known and 1 is used.
    pub lambda: Pair,
    /// All facts that any run of a side has, those with a verdict first. None if the sides are not comparable.
    pub findings: Vec<Finding>,
    /// The smallest changes to the worse that could have been seen, with a power of 0.8; `None` where nothing is
    /// testable.
    pub detectable: Pair,
    /// Whether any deployment is known.
    #[serde(skip)]
    pub knows_deployments: bool,
}

/// A number for shares of runs and one for ratings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Pair {
    pub share: Option<f64>,
    pub rating: Option<f64>,
}

impl Pair {
    fn of_noise(noise: [Noise; 2]) -> Self {
        let [share, rating] = noise.map(|noise| noise.lambda.map(digits::share));
        Self { share, rating }
    }
}

/// The runs of a side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideSummary {
    /// The deployments of the runs, and the one that was asked for, in the order in which the runner met them.
    pub deployments: Vec<Build>,
    /// The day of the first run; `None` without a run.
    pub from: Option<Date>,
    /// The day of the last run.
    pub to: Option<Date>,
    /// How many runs.
    pub runs: usize,
    /// Of how many personas.
    pub personas: usize,
    /// How many of the runs ended at login, space or session, and used nothing of the product. No fact shows them.
    #[serde(skip)]
    pub locked_out: usize,
}

/// A deployment of the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The id of the deployment.
    pub id: String,
    /// The version of the product.
    pub version: String,
    /// When the runner first met it.
    pub from: Timestamp,
}

/// What the comparison says of one fact.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What is compared.
    #[serde(with = "word")]
    pub fact: Fact,
    /// The id of the issue, or the fact and what it is about: `tool:todo.list`.
    pub id: String,
    /// The tool, if the fact is one of a single tool.
    pub tool: Option<String>,
    /// The module, if the fact is one of a single module.
    pub module: Option<String>,
    /// What is said of it.
    #[serde(with = "word")]
    pub verdict: Verdict,
    /// The runs of A, of personas with such runs on both sides.
    pub a: Value,
    /// The same of B.
    pub b: Value,
    /// B less A, within personas; `None` if no persona has runs on both sides.
    pub effect: Option<Effect>,
    /// The p-value of the test in the direction of the effect; `None` without a test.
    pub p: Option<f64>,
    /// The p-value without noise, adjusted for all facts that can be tested; `None` if this one cannot.
    pub p_adjusted: Option<f64>,
    /// The labels of the personas for whom it changed as the verdict says; empty without such a verdict.
    pub personas: Vec<String>,
    /// A run of one of these personas before the change.
    pub before: Option<Example>,
    /// A run of the same persona after the change.
    pub after: Option<Example>,
    /// The label of the persona of both runs.
    #[serde(skip)]
    pub shown_by: Option<String>,
    /// Whether it is an issue that no run of A hit.
    #[serde(skip)]
    pub is_new: bool,
}

/// A share of runs, or a mean rating.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Value {
    /// A share with four digits or a mean with one; `None` without a run.
    pub value: Option<f64>,
    /// The number of runs, or of ratings.
    pub n: u32,
}

/// A difference, and the interval that contains the true one with a confidence of 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Of a share with four digits, of a mean with one.
    pub value: f64,
    /// The lower end; `None` with fewer than five personas.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

impl From<&line::Deployment> for Build {
    fn from(deployment: &line::Deployment) -> Self {
        let line::Deployment { id, version, at, .. } = deployment;
        Self { id: id.clone(), version: version.clone(), from: *at }
    }
}

/// A run that shows a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The id of the run.
    pub run: String,
}

/// Compares two sides of `window`. `a` and `b` are each the id or the version of a deployment, a day, or the first and
/// the last day with `..` between them. Without `b`, B is the current deployment; without `a`, A is the 28 days before
/// it.
///
/// # Errors
/// If there is no such side.
pub fn compare(window: &Window, a: Option<&str>, b: Option<&str>) -> Result<Comparison, NoSide> {
    let sides = Sides::new(window, Chosen::both(window, a, b)?);
    let comparison = Comparison {
        schema: SCHEMA,
        a: sides.summary(window, Side::A),
        b: sides.summary(window, Side::B),
        verdict: Overall::NotComparable,
        confounded: confounded(window, |run| sides.of(run)),
        lambda: Pair::default(),
        findings: Vec::new(),
        detectable: Pair::default(),
        knows_deployments: !window.deployments().is_empty(),
    };
    if !sides.are_comparable(window) {
        return Ok(comparison);
    }
    let source = Source::new(window);
    let Judgement { facts, noise, detectable, is_testable } = judge(window, &sides, &source);
    let describe = |judged: &Judged| describe(window, &sides, &source, judged);
    let mut findings: Vec<_> = facts.iter().map(describe).collect();
    findings.sort_by(|a, b| {
        let p = |finding: &Finding| finding.p_adjusted.or(finding.p).unwrap_or(1.0);
        let by_verdict = a.verdict.cmp(&b.verdict).then(p(a).total_cmp(&p(b)));
        by_verdict.then_with(|| (a.fact, &a.id).cmp(&(b.fact, &b.id)))
    });
    Ok(Comparison {
        verdict: match findings.first().map(|finding| finding.verdict) {
            Some(Verdict::Worse) => Overall::Worse,
            _ if !is_testable => Overall::NothingTestable,
            _ => Overall::NothingWorse,
        },
        lambda: Pair::of_noise(noise),
        findings,
        detectable,
        ..comparison
    })
}

/// The noise floors that the weeks up to `end` show.
pub(super) fn noise_before(window: &Window, end: Timestamp) -> Pair {
    Pair::of_noise(noise(&Source::new(window), &Weeks::before(window, end, |_| true)))
}
