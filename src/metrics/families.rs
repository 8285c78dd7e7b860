//! Makes families, registers them and keeps what ops/METRICS.md says of them.

use prometheus::{
    CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

use crate::domain::Label;

const NAMESPACE: &str = "mana_persona_runner";

/// What is known of a family before anything was counted.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its full name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it counts, and what a change of it means.
    pub help: &'static str,
    /// Its labels and what they can be.
    pub labels: &'static [(&'static str, Values)],
}

/// What a label can be.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these. A family whose labels are all closed has every series from the start, so that
    /// zero is visible.
    Closed(fn() -> Vec<&'static str>),
    /// One of these, but not in every combination with the other labels: the combinations that can be
    /// foreseen are there from the start.
    Known(fn() -> Vec<&'static str>),
    /// Bounded in a way that words describe.
    Bounded(&'static str),
}

/// The values of a label enum.
pub(super) fn all<L: Label>() -> Vec<&'static str> {
    L::ALL.iter().map(|value| value.as_str()).collect()
}

pub(super) fn full_name(name: &str) -> String {
    format!("{NAMESPACE}_{name}")
}

type Labels = &'static [(&'static str, Values)];

/// Makes families in a registry of its own.
#[derive(Default)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) catalogue: Vec<Family>,
}

impl Families {
    /// Registers a collector under the description of its one family.
    pub(super) fn add<C: Collector + Clone + 'static>(
        &mut self,
        (name, kind, help, labels): (&str, &'static str, &'static str, Labels),
        family: C,
    ) -> prometheus::Result<C> {
        self.registry.register(Box::new(family.clone()))?;
        self.catalogue.push(Family { name: full_name(name), kind, help, labels });
        Ok(family)
    }

    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &'static str,
    ) -> prometheus::Result<IntCounter> {
        self.add((name, "counter", help, &[]), IntCounter::new(full_name(name), help)?)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &'static str) -> prometheus::Result<IntGauge> {
        self.add((name, "gauge", help, &[]), IntGauge::new(full_name(name), help)?)
    }

    /// A gauge of seconds or the like.
    pub(super) fn measure(&mut self, name: &str, help: &'static str) -> prometheus::Result<Gauge> {
        self.add((name, "gauge", help, &[]), Gauge::new(full_name(name), help)?)
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &'static str,
        labels: Labels,
    ) -> prometheus::Result<IntCounterVec> {
        let family = IntCounterVec::new(Opts::new(full_name(name), help), &names(labels))?;
        for_each_child(labels, |values| drop(family.with_label_values(values)));
        self.add((name, "counter", help, labels), family)
    }

    /// Counters of what is not counted in whole numbers.
    pub(super) fn amounts(
        &mut self,
        name: &str,
        help: &'static str,
        labels: Labels,
    ) -> prometheus::Result<CounterVec> {
        let family = CounterVec::new(Opts::new(full_name(name), help), &names(labels))?;
        for_each_child(labels, |values| drop(family.with_label_values(values)));
        self.add((name, "counter", help, labels), family)
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &'static str,
        labels: Labels,
    ) -> prometheus::Result<IntGaugeVec> {
        let family = IntGaugeVec::new(Opts::new(full_name(name), help), &names(labels))?;
        for_each_child(labels, |values| drop(family.with_label_values(values)));
        self.add((name, "gauge", help, labels), family)
    }

    pub(super) fn measures(
        &mut self,
        name: &str,
        help: &'static str,
        labels: Labels,
    ) -> prometheus::Result<GaugeVec> {
        let family = GaugeVec::new(Opts::new(full_name(name), help), &names(labels))?;
        for_each_child(labels, |values| drop(family.with_label_values(values)));
        self.add((name, "gauge", help, labels), family)
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &'static str,
        labels: Labels,
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(full_name(name), help).buckets(buckets.to_vec());
        let family = HistogramVec::new(options, &names(labels))?;
        for_each_child(labels, |values| drop(family.with_label_values(values)));
        self.add((name, "histogram", help, labels), family)
    }
}

fn names(labels: Labels) -> Vec<&'static str> {
    labels.iter().map(|(name, _)| *name).collect()
}

/// Calls `make` with every combination of values, if all labels are closed.
fn for_each_child(labels: Labels, mut make: impl FnMut(&[&str])) {
    let mut children: Vec<Vec<&str>> = vec![Vec::new()];
    for (_, values) in labels {
        let Values::Closed(values) = values else { return };
        let values = values();
        children = children
            .into_iter()
            .flat_map(|child| {
                values.iter().map(move |value| {
                    let mut longer = child.clone();
                    longer.push(value);
                    longer
                })
            })
            .collect();
    }
    children.iter().for_each(|child| make(child));
}
