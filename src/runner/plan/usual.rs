//! What runs usually cost.

use std::collections::HashMap;

use crate::domain::{Expected, Usd};

/// What a run of each persona usually costs.
pub(super) struct Usual {
    of: HashMap<String, Expected>,
    /// For a persona without a run: what is usual among the others. `None` if there are no runs at all.
    pub fleet: Option<Expected>,
}

impl Usual {
    /// By the costs of the last runs of each persona, which has at least one.
    pub(super) fn of(costs: HashMap<String, Vec<Usd>>) -> Self {
        let usual =
            |costs: &mut [Usd]| Expected { median: quantile(costs, 50), p90: quantile(costs, 90) };
        let of = costs.into_iter().map(|(persona, mut costs)| (persona, usual(&mut costs)));
        let of: HashMap<_, _> = of.collect();
        let among = |each: fn(&Expected) -> Usd| {
            quantile(&mut of.values().map(each).collect::<Vec<_>>(), 50)
        };
        let fleet = Expected { median: among(|it| it.median), p90: among(|it| it.p90) };
        let fleet = (!of.is_empty()).then_some(fleet);
        Self { of, fleet }
    }

    /// What a run of this persona usually costs, of which `spent` has been spent already.
    pub(super) fn cost(&self, persona: &str, spent: Usd) -> Expected {
        let usual = self.of.get(persona).copied().or(self.fleet);
        let Expected { median, p90 } = usual.unwrap_or_default();
        Expected { median: median.saturating_sub(spent), p90: p90.saturating_sub(spent) }
    }
}

/// The quantile by the nearest rank; zero of nothing.
fn quantile(costs: &mut [Usd], percent: usize) -> Usd {
    costs.sort_unstable();
    let rank = (costs.len() * percent).div_ceil(100);
    costs.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let of = |costs: &[f64], percent| {
            quantile(&mut costs.iter().copied().map(usd).collect::<Vec<_>>(), percent).dollars()
        };
        let ten: Vec<_> = (1..=10).rev().map(f64::from).collect();
        assert_eq!((of(&ten, 50), of(&ten, 90)), (5.0, 9.0));
        assert_eq!((of(&[3.0], 50), of(&[3.0], 90)), (3.0, 3.0));
        assert_eq!((of(&[3.0, 1.0], 50), of(&[3.0, 1.0], 90)), (1.0, 3.0));
        assert_eq!(of(&[], 90), 0.0);
    }

    #[test]
    fn a_persona_without_a_run_costs_what_is_usual_among_the_others() {
        let costs = [("anna", &[1.0, 9.0][..]), ("ben", &[2.0]), ("carla", &[4.0, 5.0])];
        let costs = costs
            .map(|(persona, costs)| (persona.to_owned(), costs.iter().copied().map(usd).collect()));
        let usual = Usual::of(costs.into());
        let expected = |median, p90| Expected { median: usd(median), p90: usd(p90) };
        assert_eq!(usual.cost("anna", Usd::ZERO), expected(1.0, 9.0));
        assert_eq!(usual.cost("dan", Usd::ZERO), expected(2.0, 5.0));
        assert_eq!(usual.cost("anna", usd(3.0)), expected(0.0, 6.0), "what is spent is spent");
        assert_eq!(Usual::of(HashMap::new()).fleet, None);
    }
}
