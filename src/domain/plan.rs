//! What a tick that begins now would do and cost.

use std::{collections::BTreeMap, iter::Sum};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Usd, WhyNotRun};

/// What a tick that begins now would do and cost. Its serialized form is `plan/v1`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The personas that are due, in the order of mana-auth.
    pub due: Vec<DuePersona>,
    /// Why nobody may run now, if so.
    pub nobody: Option<String>,
    /// How many rows of mana-auth's list name no persona, or one for the second time.
    pub unusable: usize,
    /// How many unfinished runs would go on.
    pub go_on: usize,
    /// How many unfinished runs would only be closed, which costs nothing.
    pub closed: usize,
    /// What the tick costs by the personas' last runs; `None` if no run has ended yet that reached the model.
    pub expected: Option<Expected>,
    /// The most that the tick can cost, if it begins before `valid_until`.
    pub ceiling: Usd,
    /// Until when the tick must begin for `ceiling` to hold.
    pub valid_until: Timestamp,
    /// The caps of the fleet, the one with the least left first.
    pub caps: Vec<CapLeft>,
}

/// A persona that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuePersona {
    /// The local part of the persona's e-mail.
    pub label: String,
    /// Why the persona would not run; `None` if it would.
    pub why_not: Option<WhyNotRun>,
}

/// What a run, or all runs of a tick together, usually cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The median, or the sum of the medians.
    pub median: Usd,
    /// The 90th percentile, or the sum of the 90th percentiles.
    pub p90: Usd,
}

impl Expected {
    /// These costs, but none above `most`.
    #[must_use]
    pub fn at_most(self, most: Usd) -> Self {
        Self { median: self.median.min(most), p90: self.p90.min(most) }
    }
}

impl Sum for Expected {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, it| Self {
            median: sum.median + it.median,
            p90: sum.p90 + it.p90,
        })
    }
}

/// What a cap of the fleet has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapLeft {
    /// The variable that sets the cap.
    pub name: &'static str,
    /// The cap.
    pub limit: Usd,
    /// What is neither spent nor reserved under the cap.
    pub left: Usd,
    /// Whether no run begins before the period of the cap ends.
    pub is_reached: bool,
    /// The end of the cap's period.
    pub until: Timestamp,
}

impl Plan {
    /// How many due personas would not run, by the reason.
    pub fn not_run(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for why in self.due.iter().filter_map(|persona| persona.why_not) {
            *counts.entry(why.as_str()).or_default() += 1;
        }
        counts
    }

    /// Whether a cap of the fleet is reached, or has less left than the runs may well cost.
    pub fn is_short(&self) -> bool {
        let p90 = self.expected.map_or(Usd::ZERO, |expected| expected.p90);
        self.caps.iter().any(|cap| cap.is_reached || p90 > cap.left)
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let not_run = self.not_run();
        let expected = self.expected.map(|Expected { median, p90 }| ExpectedJson {
            median: median.dollars(),
            p90: p90.dollars(),
        });
        let cap = self.caps.first();
        let json = PlanJson {
            schema: "plan/v1",
            due: self.due.iter().map(|persona| &*persona.label).collect(),
            not_run: not_run.into_iter().map(|(why, count)| NotRunJson { why, count }).collect(),
            expected_usd: expected,
            ceiling_usd: self.ceiling.dollars(),
            cap: cap.map(|cap| CapJson { name: cap.name, left_usd: cap.left.dollars() }),
        };
        json.serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlanJson<'a> {
    schema: &'static str,
    due: Vec<&'a str>,
    not_run: Vec<NotRunJson>,
    expected_usd: Option<ExpectedJson>,
    ceiling_usd: f64,
    cap: Option<CapJson>,
}

#[derive(Serialize)]
struct NotRunJson {
    why: &'static str,
    count: usize,
}

#[derive(Serialize)]
struct ExpectedJson {
    median: f64,
    p90: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CapJson {
    name: &'static str,
    left_usd: f64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    fn plan() -> Plan {
        let persona = |label: &str, why_not| DuePersona { label: label.into(), why_not };
        let cap = |name, left| CapLeft {
            name,
            limit: usd(5.0),
            left: usd(left),
            is_reached: false,
            until: Timestamp::MAX,
        };
        Plan {
            due: vec![
                persona("anna", Some(WhyNotRun::SlotUsed)),
                persona("ben", None),
                persona("carla", Some(WhyNotRun::HeldBack)),
                persona("dan", Some(WhyNotRun::SlotUsed)),
            ],
            nobody: None,
            unusable: 0,
            go_on: 0,
            closed: 0,
            expected: Some(Expected { median: usd(0.5), p90: usd(1.0) }),
            ceiling: usd(2.5),
            valid_until: Timestamp::UNIX_EPOCH,
            caps: vec![cap("BUDGET_DAILY_USD", 1.0), cap("BUDGET_MONTHLY_USD", 3.0)],
        }
    }

    #[test]
    fn the_json_has_exactly_the_fields_of_plan_v1() {
        let expected = json!({
            "schema": "plan/v1",
            "due": ["anna", "ben", "carla", "dan"],
            "notRun": [{"why": "held-back", "count": 1}, {"why": "slot-used", "count": 2}],
            "expectedUsd": {"median": 0.5, "p90": 1.0},
            "ceilingUsd": 2.5,
            "cap": {"name": "BUDGET_DAILY_USD", "leftUsd": 1.0},
        });
        assert_eq!(json!(plan()), expected);
        let bare = Plan { due: vec![], expected: None, caps: vec![], ..plan() };
        let expected = json!({
            "schema": "plan/v1", "due": [], "notRun": [], "expectedUsd": null, "ceilingUsd": 2.5, "cap": null,
        });
        assert_eq!(json!(bare), expected);
    }

    #[test]
    fn money_is_short_if_a_cap_is_reached_or_has_less_left_than_the_runs_may_well_cost() {
        let with = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.is_short()
        };
        assert!(!with(|_| {}), "it is just enough");
        assert!(with(|plan| plan.caps[1].is_reached = true));
        assert!(with(|plan| plan.caps[0].left = usd(0.999)));
        assert!(with(|plan| plan.caps[1].left = usd(0.999)), "any cap counts");
        assert!(!with(|plan| (plan.caps[0].left, plan.expected) = (Usd::ZERO, None)));
        assert!(!with(|plan| plan.caps.clear()));
    }
}
