//! What devstack counted, as `compare` should say it.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::{Value, json};

use super::{
    lived::{ACROSS, Compared, LAST, Lived, Run, day},
    module,
};

/// One fact that is compared.
pub(super) struct Counted<'a> {
    fact: &'a str,
    tool: Option<&'a str>,
    module: &'a str,
}

/// Number and sum of the values of some runs.
#[derive(Clone, Copy, Default)]
struct Sum {
    runs: u64,
    total: f64,
}

impl Sum {
    fn add(&mut self, runs: u64, total: f64) {
        self.runs += runs;
        self.total += total;
    }

    fn mean(self) -> f64 {
        self.total / self.runs as f64
    }
}

impl<'a> Counted<'a> {
    pub(super) fn of(finding: &'a Value) -> Self {
        Self {
            fact: finding["fact"].as_str().unwrap(),
            tool: finding["tool"].as_str(),
            module: finding["module"].as_str().unwrap(),
        }
    }

    /// The value of a run: 1 or 0, or a rating; `None` if the run does not have the fact. A tool is called once in a
    /// run and always fails with the same message, so that an issue, a failure and a dead end are the same.
    pub(super) fn value(&self, run: &Run) -> Option<f64> {
        match self.tool {
            Some(tool) => run.tools.get(tool).map(|failed| f64::from(u8::from(*failed))),
            None if self.fact == "rating" => run.ratings.get(self.module).map(|it| *it as f64),
            None => {
                let tools = run.tools.iter().filter(|(tool, _)| module(tool) == self.module);
                tools.map(|(_, failed)| f64::from(u8::from(*failed))).reduce(f64::max)
            }
        }
    }

    /// A mean as `compare` prints it.
    fn rounded(&self, mean: f64) -> f64 {
        let scale = if self.fact == "rating" { 10.0 } else { 10_000.0 };
        (mean * scale).round() / scale
    }
}

/// Compares an answer with what devstack counted of these days, which belong to these deployments.
pub(super) fn check(
    lived: &Lived,
    compared: &Compared,
    days: [RangeInclusive<i32>; 2],
    deployments: [&[&str]; 2],
) {
    let answer = compared.json();
    let is_across = |run: &Run| run.persona == Lived::label(ACROSS) && run.day == day(LAST[0]);
    let sides = days.clone().map(|days| {
        let is_of_side = |run: &&Run| (day(*days.start())..=day(*days.end())).contains(&run.day);
        lived.runs.iter().filter(is_of_side).filter(|run| !is_across(run)).collect::<Vec<_>>()
    });
    for ((name, runs), (days, ids)) in
        ["a", "b"].into_iter().zip(&sides).zip(days.iter().zip(deployments))
    {
        let side = &answer[name];
        assert_eq!(side["runs"], runs.len(), "{name}: {side:#}");
        assert_eq!(side["personas"], 10, "{name}: {side:#}");
        assert_eq!(
            [side["from"].clone(), side["to"].clone()],
            [days.start(), days.end()].map(|it| json!(day(*it)))
        );
        let met = side["deployments"].as_array().unwrap().iter();
        assert_eq!(met.map(|it| it["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    }
    let findings = answer["findings"].as_array().unwrap();
    assert!(findings.len() > 25, "all tools and modules, and issues: {}", findings.len());
    findings.iter().for_each(|finding| has_the_numbers(finding, &sides));
}

fn has_the_numbers(finding: &Value, sides: &[Vec<&Run>; 2]) {
    let counted = Counted::of(finding);
    let mut personas: BTreeMap<&str, [Sum; 2]> = BTreeMap::new();
    for (side, runs) in sides.iter().enumerate() {
        for run in runs {
            if let Some(value) = counted.value(run) {
                personas.entry(&run.persona).or_default()[side].add(1, value);
            }
        }
    }
    // Who does not have the fact on both sides tells nothing of a change.
    personas.retain(|_, sums| sums.iter().all(|sum| sum.runs > 0));
    for (side, name) in ["a", "b"].into_iter().enumerate() {
        let mut sum = Sum::default();
        personas.values().for_each(|sums| sum.add(sums[side].runs, sums[side].total));
        let expected = json!({"value": counted.rounded(sum.mean()), "n": sum.runs});
        assert_eq!(finding[name], expected, "{finding:#}");
    }
    let is_less = match finding["verdict"].as_str().unwrap() {
        "worse" => counted.fact == "rating",
        "better" => counted.fact != "rating",
        _ => return assert_eq!(finding["personas"], json!([]), "{finding:#}"),
    };
    let changed = personas
        .iter()
        .filter(|(_, [a, b])| if is_less { b.mean() < a.mean() } else { b.mean() > a.mean() });
    let changed: Vec<_> = changed.map(|(persona, _)| persona).collect();
    assert_eq!(finding["personas"], json!(changed), "{finding:#}");
}

impl Run {
    /// Checks that `show` tells of this run what devstack knows of it.
    pub(super) fn is_told_in(&self, shown: &str) {
        assert!(shown.contains(&format!(" {}@mana.test ", self.persona)), "{shown}");
        assert!(shown.contains(&format!(" {}, attempt 1\n", self.day)), "{shown}");
        for (tool, failed) in &self.tools {
            let mut calls = shown.split("\n  → ");
            let call = calls.find(|call| call.starts_with(&format!("{tool}\n"))).unwrap();
            let outcome = call.split_once("← call ").and_then(|(_, call)| call.split_once(": "));
            let expected = if *failed { "error, " } else { "ok, " };
            assert!(outcome.is_some_and(|(_, it)| it.starts_with(expected)), "{tool} in {shown}");
        }
        for (module, rating) in &self.ratings {
            assert!(
                shown.contains(&format!("\n  {module}: {rating} of 5 ")),
                "{module} in {shown}"
            );
        }
    }
}
