//! The verdicts.

use jiff::SignedDuration;

use super::{
    Fact, Pair, Verdict,
    sides::{Side, Sides},
    source::{Observation, Source, Subject},
};
use crate::{
    facts::{digits, window::Window},
    statistics::{
        Exposure, Histogram, Noise, Stratum, Test, benjamini_hochberg, deviation, difference, holm,
        test, testable,
    },
};

/// The probability of any false verdict among all facts, in each direction.
const ALPHA: f64 = 0.05;
/// The smallest difference that a verdict needs: of a share of runs, and of a mean rating.
const LEAST_SHARE: f64 = 0.1;
const LEAST_RATING: f64 = 0.3;
/// Fewest personas for whom a fact changed, unless only one has it.
const FEWEST_PERSONAS: usize = 2;
/// Fewest runs that hit an issue which no run of A hit.
const FEWEST_HITS: u32 = 3;
/// Each of the weeks before a deployment up to this one is compared with the week before them.
const WEEKS: i64 = 3;
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The result of all tests.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) facts: Vec<Judged>,
    /// Of shares and of ratings.
    pub(super) noise: [Noise; 2],
    pub(super) detectable: Pair,
    /// Whether any test could have shown anything.
    pub(super) is_testable: bool,
}

/// A fact with its verdict.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) subject: Subject,
    pub(super) verdict: Verdict,
    pub(super) p: Option<f64>,
    pub(super) adjusted: Option<f64>,
}

/// A fact with its numbers.
struct Measured {
    subject: Subject,
    test: Test,
    /// B less A.
    difference: f64,
    exposure: Exposure,
    /// The mean of A, and the variance of a run's value within personas.
    a: f64,
    variance: f64,
    /// How many personas have it on both sides, and for how many of them it became worse and better.
    personas: usize,
    worse: usize,
    better: usize,
    /// An issue of which A knows nothing and B enough.
    is_new: bool,
}

/// What a family of tests says of a fact.
#[derive(Clone, Copy)]
struct InFamily {
    holm: f64,
    benjamini_hochberg: f64,
}

pub(super) fn judge(window: &Window, sides: &Sides, source: &Source<'_>) -> Judgement {
    let mut strata = Strata::new(window, sides);
    let (mut measured, mut untested) = (Vec::new(), Vec::new());
    let mut deviations = [Vec::new(), Vec::new()];
    for subject in source.subjects() {
        let observations = source.observations(subject);
        let noise_of = match subject.fact() {
            Fact::Tool => Some(0),
            Fact::Rating => Some(1),
            _ => None,
        };
        if let Some(kind) = noise_of {
            deviations[kind]
                .extend((1..=WEEKS).filter_map(|weeks| strata.week(&observations, weeks)));
        }
        match measure(subject, &observations, &mut strata) {
            Ok(fact) => measured.push(fact),
            Err(is_new) => {
                let verdict = if is_new { Verdict::Watch } else { Verdict::Untested };
                untested.push(Judged { subject, verdict, p: None, adjusted: None });
            }
        }
    }
    let noise = deviations.map(Noise::of);
    let noise_of = |fact: &Measured| noise[usize::from(fact.subject.fact() == Fact::Rating)];
    let family = |towards: fn(&Measured) -> Tails| {
        family(&measured, |fact| {
            let tails = towards(fact);
            (noise_of(fact).without(tails.p), noise_of(fact).without(tails.smallest))
        })
    };
    let (worse, better) = (family(Measured::worse), family(Measured::better));
    let tests = worse.iter().flatten().count().max(1);
    let alpha = ALPHA / tests as f64;
    let detectable = detectable(&measured, &worse, noise, alpha);
    let is_testable = worse.iter().chain(&better).any(Option::is_some);
    let judged = measured.iter().zip(worse.iter().zip(&better)).map(|(fact, (worse, better))| {
        let is_towards_worse = fact.towards_worse() >= 0.0;
        let (tails, of_family) =
            if is_towards_worse { (fact.worse(), worse) } else { (fact.better(), better) };
        Judged {
            subject: fact.subject,
            verdict: fact.verdict(*worse, *better, alpha, noise_of(fact)),
            p: Some(tails.p),
            adjusted: of_family.map(|it| it.holm),
        }
    });
    let facts = judged.chain(untested).collect();
    Judgement { facts, noise, detectable, is_testable }
}

type Tails = crate::statistics::Tail;

/// What the family of the facts' tests says of each; `None` for those that could show nothing. `p` gives the p-value
/// and its smallest attainable value.
fn family(facts: &[Measured], p: impl Fn(&Measured) -> (f64, f64)) -> Vec<Option<InFamily>> {
    let (p, smallest): (Vec<_>, Vec<_>) = facts.iter().map(p).unzip();
    let testable = testable(&smallest, ALPHA);
    let p: Vec<_> = testable.iter().map(|position| p[*position]).collect();
    let mut family = vec![None; facts.len()];
    for (position, (holm, benjamini_hochberg)) in
        testable.into_iter().zip(holm(&p).into_iter().zip(benjamini_hochberg(&p)))
    {
        family[position] = Some(InFamily { holm, benjamini_hochberg });
    }
    family
}

/// The numbers of a fact.
///
/// # Errors
/// If no persona has it on both sides: whether it is an issue that is new all the same.
fn measure(
    subject: Subject,
    observations: &[Observation],
    strata: &mut Strata<'_>,
) -> Result<Measured, bool> {
    let all = strata.of(observations);
    let hits = |side: fn(&Stratum) -> &Histogram| all.iter().map(|it| side(it).sum()).sum::<u32>();
    let is_new =
        subject.fact() == Fact::Issue && hits(|it| &it.a) == 0 && hits(|it| &it.b) >= FEWEST_HITS;
    let both: Vec<_> = all.iter().copied().filter(Stratum::is_on_both_sides).collect();
    let (Some(test), Some(difference), Some(exposure)) =
        (test(&both), difference(&both), Exposure::of(&both))
    else {
        return Err(is_new);
    };
    let of_a = both.iter().fold(Histogram::default(), |sum, it| sum.plus(&it.a));
    let count = |is: fn(f64) -> bool| {
        let changes = both.iter().filter_map(|it| Some(it.b.mean()? - it.a.mean()?));
        changes.filter(|change| is(*change)).count()
    };
    let (more, less) = (count(|change| change > 0.0), count(|change| change < 0.0));
    let (worse, better) = if subject.fact().more_is_worse() { (more, less) } else { (less, more) };
    Ok(Measured {
        subject,
        test,
        difference,
        exposure,
        a: of_a.mean().unwrap_or_default(),
        variance: variance_within(&both),
        personas: both.len(),
        worse,
        better,
        is_new,
    })
}

impl Measured {
    /// The test for "worse".
    fn worse(&self) -> Tails {
        if self.subject.fact().more_is_worse() { self.test.more } else { self.test.less }
    }

    /// The test for "better".
    fn better(&self) -> Tails {
        if self.subject.fact().more_is_worse() { self.test.less } else { self.test.more }
    }

    /// How much worse B is than A.
    fn towards_worse(&self) -> f64 {
        if self.subject.fact().more_is_worse() { self.difference } else { -self.difference }
    }

    /// The difference that a verdict needs.
    fn least(&self) -> f64 {
        if self.subject.fact() == Fact::Rating { LEAST_RATING } else { LEAST_SHARE }
    }

    fn verdict(
        &self,
        worse: Option<InFamily>,
        better: Option<InFamily>,
        alpha: f64,
        noise: Noise,
    ) -> Verdict {
        let fewest = FEWEST_PERSONAS.min(self.personas);
        let is_worse = self.towards_worse() >= self.least() && self.worse >= fewest;
        let is_better = -self.towards_worse() >= self.least() && self.better >= fewest;
        let is_sure = |it: InFamily| it.holm <= ALPHA;
        if is_worse && worse.is_some_and(is_sure) {
            Verdict::Worse
        } else if is_better && better.is_some_and(is_sure) {
            Verdict::Better
        } else if self.is_new || is_worse && worse.is_some_and(|it| it.benjamini_hochberg <= ALPHA)
        {
            Verdict::Watch
        } else if self.would_have_shown(alpha, noise) {
            Verdict::Unchanged
        } else {
            Verdict::Undecided
        }
    }

    fn would_have_shown(&self, alpha: f64, noise: Noise) -> bool {
        match self.subject.fact() {
            Fact::Rating => self.exposure.sees_fall(LEAST_RATING, self.variance, alpha, noise),
            _ => self.exposure.sees_rise(LEAST_SHARE, self.a, alpha, noise),
        }
    }
}

/// The smallest changes that could have been seen of an ordinary tool and of an ordinary rating.
fn detectable(
    facts: &[Measured],
    worse: &[Option<InFamily>],
    [shares, ratings]: [Noise; 2],
    alpha: f64,
) -> Pair {
    let of = |fact: Fact| {
        let is_rating = |it: &Measured| it.subject.fact() == Fact::Rating;
        let is_testable = facts
            .iter()
            .zip(worse)
            .any(|(it, family)| family.is_some() && is_rating(it) == (fact == Fact::Rating));
        let ordinary: Vec<_> = facts.iter().filter(|it| it.subject.fact() == fact).collect();
        let median = |number: fn(&Measured) -> f64| median(ordinary.iter().map(|it| number(it)));
        let exposure = Exposure {
            weight: median(|it| it.exposure.weight)?,
            share_of_b: median(|it| it.exposure.share_of_b)?,
        };
        let (a, variance) = (median(|it| it.a)?, median(|it| it.variance)?);
        is_testable.then_some((exposure, a, variance))
    };
    let share = of(Fact::Tool).and_then(|(it, a, _)| it.smallest_rise(a, alpha, shares));
    let rating =
        of(Fact::Rating).and_then(|(it, _, variance)| it.smallest_fall(variance, alpha, ratings));
    Pair {
        share: share.map(|share| digits::share(share.max(LEAST_SHARE))),
        rating: rating.map(|rating| digits::mean(rating.max(LEAST_RATING))),
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

/// The variance of a run's value within its persona and side, over all of them.
fn variance_within(strata: &[Stratum]) -> f64 {
    let sides = || strata.iter().flat_map(|it| [it.a, it.b]);
    let squares: f64 = sides().map(|side| side.variance() * f64::from(side.runs())).sum();
    let free: u32 = sides().map(|side| side.runs().saturating_sub(1)).sum();
    squares / f64::from(free.max(1))
}

/// Sorts the runs of a fact by persona and side.
pub(super) struct Strata<'w> {
    window: &'w Window,
    sides: &'w Sides,
    /// One of each persona of the window.
    all: Vec<Stratum>,
}

impl<'w> Strata<'w> {
    pub(super) fn new(window: &'w Window, sides: &'w Sides) -> Self {
        Self { window, sides, all: Vec::new() }
    }

    /// The runs of both sides, by persona.
    pub(super) fn of(&mut self, observations: &[Observation]) -> &[Stratum] {
        self.sort(observations, |sides, _, run| sides.of(run))
    }

    /// How far the last `weeks` weeks of A deviate from the week before them.
    fn week(&mut self, observations: &[Observation], weeks: i64) -> Option<f64> {
        let strata = self.sort(observations, |sides, window, run| {
            let is_of_a = sides.of(run) == Some(Side::A);
            let age = sides.end_of_a.duration_since(window.run(run).at);
            // The last moment of A is in week 1.
            let week = (age.as_millis() - 1).div_euclid(WEEK.as_millis()) + 1;
            match week - i128::from(weeks) {
                ..=0 if is_of_a && week >= 1 => Some(Side::B),
                1 if is_of_a => Some(Side::A),
                _ => None,
            }
        });
        deviation(strata)
    }

    fn sort(
        &mut self,
        observations: &[Observation],
        side: impl Fn(&Sides, &Window, u32) -> Option<Side>,
    ) -> &[Stratum] {
        self.all.clear();
        self.all.resize(self.window.personas().len(), Stratum::default());
        for (run, value) in observations {
            let stratum = &mut self.all[self.window.run(*run).persona as usize];
            match side(self.sides, self.window, *run) {
                Some(Side::A) => stratum.a.add(*value),
                Some(Side::B) => stratum.b.add(*value),
                None => {}
            }
        }
        &self.all
    }
}
