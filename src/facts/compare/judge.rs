//! The verdicts.

use super::{
    Fact, Pair, Verdict,
    measured::{Direction, LEAST_RATING, LEAST_SHARE, Measured},
    sides::Sides,
    source::{Source, Subject},
    strata::{Weeks, strata},
};
use crate::{
    facts::{digits, window::Window},
    statistics::{
        Exposure, Histogram, Noise, Stratum, benjamini_hochberg, deviation, holm, is_at_most,
        testable,
    },
};

/// The probability of any false verdict among all facts, in each direction.
const ALPHA: f64 = 0.05;
/// Fewest runs that hit an issue which no run of A hit.
const FEWEST_HITS: u32 = 3;
/// How many facts a tool that becomes worse adds to those that are tested: an issue, the tool, its dead ends and its
/// module.
const OF_ONE_CHANGE: usize = 4;
/// So many weeks before a deployment, and each smaller number of them, are compared with the week before them.
const WEEKS: i128 = 3;

/// The result of all tests.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) facts: Vec<Judged>,
    /// Of shares and of ratings.
    pub(super) noise: [Noise; 2],
    pub(super) detectable: Pair,
    /// Whether any change to the worse could have been seen: a test could have shown it with these values, or would have
    /// shown it if all runs of B had what no run of A has, of a fact that is not at its worst already.
    pub(super) is_testable: bool,
}

/// A fact with its verdict.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) subject: Subject,
    /// `None` if no persona has the fact on both sides.
    pub(super) measured: Option<Measured>,
    pub(super) verdict: Verdict,
    /// Whether it is an issue that no run of A hit and enough runs of B.
    pub(super) is_new: bool,
    /// The p-value of the test in the direction of the difference, and what the family of tests makes of it.
    pub(super) p: Option<f64>,
    pub(super) adjusted: Option<f64>,
}

/// A fact whose verdict is still open.
struct Case {
    subject: Subject,
    measured: Option<Measured>,
    /// Whether it is an issue that no run of A hit and enough runs of B.
    is_new: bool,
}

/// What a family of tests says of a fact.
#[derive(Clone, Copy)]
struct InFamily {
    holm: f64,
    benjamini_hochberg: f64,
}

/// The verdicts of all facts that any run of a side has.
pub(super) fn judge(window: &Window, sides: &Sides, source: &Source<'_>) -> Judgement {
    let (mut cases, seed) = (Vec::new(), sides.seed(window));
    for subject in source.subjects() {
        let (fact, observations) = (subject.fact(), source.observations(subject));
        let strata = strata(window, &observations, |run| sides.of(run));
        if strata.iter().any(|it| it.a.runs() + it.b.runs() > 0) {
            let is_new = fact == Fact::Issue && is_new(&strata);
            cases.push(Case { subject, measured: Measured::new(fact, &strata, seed), is_new });
        }
    }
    let noise = noise(source, &Weeks::of_a(window, sides));
    let [worse, better] =
        [Direction::Worse, Direction::Better].map(|direction| family(&cases, noise, direction));
    let alpha = ALPHA / (worse.iter().flatten().count() + OF_ONE_CHANGE) as f64;
    let could_show = |case: &Case| {
        let noise = noise[case.subject.fact().kind()];
        case.measured.as_ref().is_some_and(|it| {
            it.can_become_worse() && is_at_most(noise.without(it.of_full_change), alpha)
        })
    };
    let is_testable = worse.iter().any(Option::is_some) || cases.iter().any(could_show);
    let detectable = if is_testable { detectable(&cases, noise, alpha) } else { Pair::default() };
    let facts = cases.into_iter().zip(worse.into_iter().zip(better));
    let facts = facts.map(|(case, families)| case.judged(families, alpha, noise)).collect();
    Judgement { facts, noise, detectable, is_testable }
}

/// The noise floors of shares and of ratings that these weeks show.
pub(super) fn noise(source: &Source<'_>, weeks: &Weeks<'_>) -> [Noise; 2] {
    let mut deviations = [Vec::new(), Vec::new()];
    let subjects = source.subjects().into_iter();
    for subject in subjects.filter(|it| matches!(it.fact(), Fact::Tool | Fact::Rating)) {
        let observations = source.observations(subject);
        let of_weeks = |count| deviation(&weeks.strata(&observations, count));
        deviations[subject.fact().kind()].extend((1..=WEEKS).filter_map(of_weeks));
    }
    deviations.map(Noise::of)
}

/// Whether no run of A and enough runs of B hit an issue.
fn is_new(strata: &[Stratum]) -> bool {
    let hits =
        |side: fn(&Stratum) -> &Histogram| strata.iter().map(|it| side(it).sum()).sum::<u32>();
    hits(|it| &it.a) == 0 && hits(|it| &it.b) >= FEWEST_HITS
}

/// What the family of all tests in this direction says of each fact; `None` for those whose test could show nothing.
fn family(cases: &[Case], noise: [Noise; 2], direction: Direction) -> Vec<Option<InFamily>> {
    let tails = cases.iter().map(|case| {
        let noise = noise[case.subject.fact().kind()];
        let tail = case.measured.as_ref()?.tail(direction);
        Some((noise.without(tail.p), noise.without(tail.smallest)))
    });
    // A test that there is not shows nothing.
    let (p, smallest): (Vec<_>, Vec<_>) = tails.map(|tail| tail.unwrap_or((1.0, 1.0))).unzip();
    let testable = testable(&smallest, ALPHA);
    let p: Vec<_> = testable.iter().map(|position| p[*position]).collect();
    let adjusted = holm(&p).into_iter().zip(benjamini_hochberg(&p));
    let mut family = vec![None; cases.len()];
    for (position, (holm, benjamini_hochberg)) in testable.into_iter().zip(adjusted) {
        family[position] = Some(InFamily { holm, benjamini_hochberg });
    }
    family
}

impl Case {
    fn judged(
        self,
        (worse, better): (Option<InFamily>, Option<InFamily>),
        alpha: f64,
        noise: [Noise; 2],
    ) -> Judged {
        let Self { subject, measured, is_new } = self;
        let Some(fact) = measured else {
            let verdict = if is_new { Verdict::Watch } else { Verdict::Untested };
            return Judged { subject, measured, verdict, is_new, p: None, adjusted: None };
        };
        let direction = fact.direction();
        let (of_family, sure) = match direction {
            Direction::Worse => (worse, Verdict::Worse),
            Direction::Better => (better, Verdict::Better),
        };
        let shows = |p: fn(InFamily) -> f64| {
            fact.is_large(direction) && of_family.is_some_and(|it| is_at_most(p(it), ALPHA))
        };
        let may_be_worse = direction == Direction::Worse && shows(|it| it.benjamini_hochberg);
        let verdict = if shows(|it| it.holm) {
            sure
        } else if is_new || may_be_worse {
            Verdict::Watch
        } else if fact.would_have_shown(alpha, noise[subject.fact().kind()]) {
            Verdict::Unchanged
        } else {
            Verdict::Undecided
        };
        let (p, adjusted) = (Some(fact.tail(direction).p), of_family.map(|it| it.holm));
        Judged { subject, measured: Some(fact), verdict, is_new, p, adjusted }
    }
}

/// The smallest changes that could have been seen of an ordinary tool and of an ordinary rating.
fn detectable(cases: &[Case], noise: [Noise; 2], alpha: f64) -> Pair {
    let median = |fact: Fact, number: fn(&Measured) -> f64| {
        let cases = cases.iter().filter(|case| case.subject.fact() == fact);
        median(cases.filter_map(|case| case.measured.as_ref()).map(number))
    };
    let exposure = |fact| {
        Some(Exposure {
            weight: median(fact, |it| it.exposure.weight)?,
            share_of_b: median(fact, |it| it.exposure.share_of_b)?,
        })
    };
    let share = || {
        let share = median(Fact::Tool, Measured::mean_of_a)?;
        exposure(Fact::Tool)?.smallest_rise(share, alpha, noise[Fact::Tool.kind()])
    };
    let rating = || {
        let variance = median(Fact::Rating, |it| it.variance)?;
        exposure(Fact::Rating)?.smallest_fall(variance, alpha, noise[Fact::Rating.kind()])
    };
    Pair {
        share: share().map(|share| digits::share(share.max(LEAST_SHARE))),
        rating: rating().map(|rating| digits::mean_or_more(rating.max(LEAST_RATING))),
    }
}

/// The middle one; of an even number, the mean of the two in the middle.
fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let (low, high) =
        (numbers.get((numbers.len().checked_sub(1)?) / 2)?, numbers.get(numbers.len() / 2)?);
    Some((low + high) / 2.0)
}
