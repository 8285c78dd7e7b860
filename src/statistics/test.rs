//! The one test of everything: whether B's sum is larger or smaller than if the labels were chance.

use super::{distribution::Distribution, normal::upper_tail, stratum::Stratum};

/// Most personas for which a test is exact.
pub const MOST_EXACT: usize = 60;
/// Most runs for which a test is exact, so that none takes longer than half a second: those of sixty personas that run
/// each hour for 35 days are 50,400.
const MOST_RUNS: u64 = 60_000;

/// The result of a test in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// The probability of a sum as far out as that of B, or further, if the labels were chance; above 0, at most 1.
    pub p: f64,
    /// The smallest value that `p` could have taken with these runs, whichever of them were B's.
    pub smallest: f64,
}

/// The result of a test in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// B has more.
    pub more: Tail,
    /// B has less.
    pub less: Tail,
}

/// Tests the sum of B's values. Personas without runs on both sides say nothing; `None` if there are no others.
///
/// For values of 0 and 1 it is the convolution of the personas' hypergeometric distributions, the exact conditional
/// test of a common odds ratio (Gart 1970; `mantelhaen.test(exact = TRUE)` of R). For ratings it is the
/// permutation test of the sum within strata (Good, Permutation, Parametric and Bootstrap Tests of Hypotheses),
/// computed from all choices at once.
///
/// Of more than [`MOST_EXACT`] personas, and of more than 60,000 runs, the tails are those of a normal distribution
/// with the exact mean and variance.
pub fn test(strata: &[Stratum]) -> Option<Test> {
    let strata: Vec<_> = strata.iter().filter(|stratum| stratum.is_on_both_sides()).collect();
    let sum = strata.iter().map(|stratum| stratum.b.sum()).sum();
    let runs = |it: &&Stratum| u64::from(it.a.runs()) + u64::from(it.b.runs());
    let is_exact = strata.len() <= MOST_EXACT && strata.iter().map(runs).sum::<u64>() <= MOST_RUNS;
    let test = if is_exact { exact } else { approximate };
    (!strata.is_empty()).then(|| test(&strata, sum))
}

/// The p-value of [`test()`] if all runs of B had what no run of A has: the smallest that any fact of these runs could
/// have. Of all choices of as many runs of each persona, only one is that of B.
pub fn of_full_change(strata: &[Stratum]) -> f64 {
    let both = strata.iter().filter(|stratum| stratum.is_on_both_sides());
    both.map(|stratum| 1.0 / stratum.choices()).product()
}

fn exact(strata: &[&Stratum], sum: u32) -> Test {
    let certain = Distribution::certain(0);
    let all = strata.iter().fold(certain, |all, stratum| all.plus(&stratum.sum_of_b()));
    let [smallest_less, smallest_more] = all.ends();
    Test {
        more: Tail { p: all.at_least(sum), smallest: smallest_more },
        less: Tail { p: all.at_most(sum), smallest: smallest_less },
    }
}

fn approximate(strata: &[&Stratum], sum: u32) -> Test {
    let (mean, variance) = sum_of(strata.iter().map(|stratum| stratum.moments()));
    let [least, most] = [0, 1].map(|end| strata.iter().map(|it| it.extremes()[end]).sum::<u32>());
    let [sum, least, most] = [sum, least, most].map(f64::from);
    let tail = |distance: f64| match variance > 0.0 {
        true => upper_tail(distance / variance.sqrt()).max(f64::MIN_POSITIVE),
        // Each choice of runs has the same sum.
        false => 1.0,
    };
    Test {
        more: Tail { p: tail(sum - mean), smallest: tail(most - mean) },
        less: Tail { p: tail(mean - sum), smallest: tail(mean - least) },
    }
}

/// Mean and variance of a sum of independent numbers.
pub(super) fn sum_of(moments: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    moments.fold((0.0, 0.0), |(mean, variance), more| (mean + more.0, variance + more.1))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn is_near(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 1e-10
    }

    #[test]
    fn the_rabbits_of_r_have_the_p_value_of_the_exact_conditional_test() {
        // R: mantelhaen.test(Rabbits, exact = TRUE, alternative = "greater") => p = 0.020, here with more digits
        // (scipy 1.17: convolution of hypergeom). A: penicillin at once, B: 1.5 hours later; a hit is a cured rabbit.
        let rabbits = [
            Stratum::of_hits([0, 6], [0, 5]),
            Stratum::of_hits([3, 6], [0, 6]),
            Stratum::of_hits([6, 6], [2, 6]),
            Stratum::of_hits([5, 6], [6, 6]),
            Stratum::of_hits([2, 2], [5, 5]),
        ];
        let Test { more, less } = test(&rabbits).unwrap();
        assert!(is_near(less.p, 0.019_972_451_790_633_61), "{less:?}");
        assert!(is_near(more.p, 0.998_622_589_531_680_5), "{more:?}");
        assert!(is_near(less.smallest, 0.001_377_410_468_319_559));
        assert!(is_near(more.smallest, 0.001_377_410_468_319_559));
    }

    #[test]
    fn ratings_of_three_personas_have_the_p_value_of_all_choices() {
        // Python 3: itertools.combinations of each persona's ratings, convolved as fractions.
        let ratings = [
            Stratum::of(&[5, 4, 4, 3, 5], &[2, 3, 1]),
            Stratum::of(&[3, 3, 4], &[3, 2]),
            Stratum::of(&[5, 5, 4, 1], &[1, 5]),
        ];
        let Test { more, less } = test(&ratings).unwrap();
        assert!(is_near(less.p, 149.0 / 4200.0) && is_near(less.smallest, 1.0 / 1400.0));
        assert!(is_near(more.p, 1377.0 / 1400.0) && is_near(more.smallest, 3.0 / 1400.0));
        let (mean, variance) = sum_of(ratings.iter().map(Stratum::moments));
        assert!(is_near(mean, 185.0 / 8.0) && is_near(variance, 21317.0 / 2240.0));
    }

    #[test]
    fn personas_without_runs_on_both_sides_say_nothing() {
        let both = Stratum::of_hits([1, 9], [3, 4]);
        let one_side = [Stratum::of(&[1, 1], &[]), Stratum::of(&[], &[0]), Stratum::default()];
        assert_eq!(test(&[both, one_side[0], one_side[1]]), test(&[both]));
        assert_eq!(test(&one_side), None);
        assert_eq!(test(&[]), None);
    }

    #[test]
    fn equal_values_show_nothing() {
        let nothing = Tail { p: 1.0, smallest: 1.0 };
        for personas in [1, MOST_EXACT, MOST_EXACT + 1] {
            for value in [0, 1, 5] {
                let equal = vec![Stratum::of(&[value; 9], &[value; 4]); personas];
                assert_eq!(test(&equal), Some(Test { more: nothing, less: nothing }));
            }
        }
    }

    #[test]
    fn extremes_have_a_p_value_above_zero() {
        for (a, b) in [([0, 10_000], [10_000, 10_000]), ([0, 150_000], [50_000, 50_000])] {
            for personas in [1, MOST_EXACT, MOST_EXACT + 1] {
                let Test { more, less } = test(&vec![Stratum::of_hits(a, b); personas]).unwrap();
                assert!(more.p > 0.0 && more.p < 1e-18 && more.smallest > 0.0, "{more:?}");
                assert!((less.p - 1.0).abs() < 1e-9 && less.smallest > 0.0, "{less:?}");
            }
        }
    }

    #[test]
    fn the_approximation_is_close_to_the_exact_test_of_sixty_personas() {
        for hits in 0..5 {
            let mut strata = vec![Stratum::of_hits([4, 16], [1, 4]); MOST_EXACT];
            strata[..12].fill(Stratum::of_hits([4, 16], [hits, 4]));
            let kept: Vec<_> = strata.iter().collect();
            let sum = strata.iter().map(|it| it.b.sum()).sum();
            let (exact, normal) = (exact(&kept, sum), approximate(&kept, sum));
            for (exact, normal) in [(exact.more, normal.more), (exact.less, normal.less)] {
                assert!((exact.p - normal.p).abs() < 0.05, "{exact:?} {normal:?}");
            }
        }
    }

    fn stratum() -> impl Strategy<Value = Stratum> {
        (vec(0u8..=5, 1..8), vec(0u8..=5, 1..8)).prop_map(|(a, b)| Stratum::of(&a, &b))
    }

    proptest! {
        #[test]
        fn b_has_more_where_the_swapped_sides_have_less(
            strata in vec(stratum(), 1..4), copies in prop::sample::select(vec![1, 30]),
        ) {
            // With 30 copies, sometimes more than sixty personas.
            let strata = strata.repeat(copies);
            let swapped: Vec<_> = strata.iter().map(|it| Stratum { a: it.b, b: it.a }).collect();
            let (one, other) = (test(&strata).unwrap(), test(&swapped).unwrap());
            for (one, other) in [(one.more, other.less), (one.less, other.more)] {
                prop_assert!((one.p / other.p - 1.0).abs() < 1e-6, "{one:?} {other:?}");
                prop_assert!((one.smallest / other.smallest - 1.0).abs() < 1e-6);
                prop_assert!(one.smallest <= one.p * (1.0 + 1e-9) && one.p <= 1.0);
            }
        }

        #[test]
        fn if_labels_are_chance_a_p_value_of_at_most_x_has_a_probability_of_at_most_x(
            first in vec(0u8..=5, 2..7), second in vec(0u8..=1, 2..6), b in 1usize..5,
        ) {
            // All choices of B's runs in both personas.
            let sides = |values: &[u8]| {
                let b = b.min(values.len() - 1) as u32;
                (0u32..1 << values.len()).filter(|set| set.count_ones() == b).map(|set| {
                    let side = |of_b| (0..values.len()).filter(|at| (set >> at & 1 == 1) == of_b)
                        .map(|at| values[at]).collect::<Vec<_>>();
                    Stratum::of(&side(false), &side(true))
                }).collect::<Vec<_>>()
            };
            let (first, second) = (sides(&first), sides(&second));
            let worlds = first.iter().flat_map(|one| second.iter().map(|other| test(&[*one, *other])));
            let (more, less): (Vec<_>, Vec<_>) =
                worlds.flatten().map(|test| (test.more.p, test.less.p)).unzip();
            for p in [more, less] {
                for x in &p {
                    let share = p.iter().filter(|p| **p <= *x).count() as f64 / p.len() as f64;
                    prop_assert!(share <= x + 1e-9, "{share} {x}");
                }
            }
        }
    }
}
