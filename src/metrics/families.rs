//! Makes families, registers them and keeps what ops/METRICS.md says of them.

use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry,
    core::{MetricVec, MetricVecBuilder},
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
pub(super) const fn closed<L: Label>() -> Values {
    Values::Closed(|| L::ALL.iter().map(|value| value.as_str()).collect())
}

type Labels = &'static [(&'static str, Values)];

/// Declares the families of a topic. What is documented of one is its help text, and its line in
/// ops/METRICS.md.
macro_rules! families {
    (type counter) => { prometheus::CounterVec };
    (type gauge) => { prometheus::GaugeVec };
    (type histogram) => { prometheus::HistogramVec };
    ($topic:ident { $(
        $(#[doc = $help:literal])+
        $field:ident: $kind:ident $name:literal { $($label:ident: $values:expr),* } $($buckets:ident)?;
    )+ }) => {
        #[derive(Debug)]
        pub(super) struct $topic {
            $($(#[doc = $help])+ $field: $crate::metrics::families::families!(type $kind),)+
        }

        impl $topic {
            pub(super) fn new(
                families: &mut $crate::metrics::families::Families,
            ) -> prometheus::Result<Self> {
                $(let $field = {
                    let labels = const { &[$((stringify!($label), $values)),*] };
                    let help = concat!($($help),+).trim_ascii_start();
                    families.$kind($name, help, labels, $($buckets)?)?
                };)+
                Ok(Self { $($field),+ })
            }
        }
    };
}
pub(super) use families;

/// Makes families in a registry of its own.
#[derive(Default)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) catalogue: Vec<Family>,
}

impl Families {
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &'static str,
        labels: Labels,
    ) -> prometheus::Result<CounterVec> {
        let family = CounterVec::new(Opts::new(full_name(name), help), &names(labels))?;
        self.add(Family { name: full_name(name), kind: "counter", help, labels }, family)
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &'static str,
        labels: Labels,
    ) -> prometheus::Result<GaugeVec> {
        let family = GaugeVec::new(Opts::new(full_name(name), help), &names(labels))?;
        self.add(Family { name: full_name(name), kind: "gauge", help, labels }, family)
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
        self.add(Family { name: full_name(name), kind: "histogram", help, labels }, family)
    }

    /// Registers a family, with each of its series if all labels are closed.
    fn add<M: MetricVecBuilder + 'static>(
        &mut self,
        about: Family,
        family: MetricVec<M>,
    ) -> prometheus::Result<MetricVec<M>> {
        for_each_child(about.labels, |values| drop(family.with_label_values(values)));
        self.registry.register(Box::new(family.clone()))?;
        self.catalogue.push(about);
        Ok(family)
    }
}

/// The series of a family with these values of its labels.
pub(super) trait Series {
    type One;

    fn at<const N: usize>(&self, labels: [&str; N]) -> Self::One;
}

impl<M: MetricVecBuilder> Series for MetricVec<M> {
    type One = M::M;

    fn at<const N: usize>(&self, labels: [&str; N]) -> M::M {
        self.with_label_values(&labels)
    }
}

fn full_name(name: &str) -> String {
    format!("{NAMESPACE}_{name}")
}

fn names(labels: Labels) -> Vec<&'static str> {
    labels.iter().map(|(name, _)| *name).collect()
}

/// Calls `make` with every combination of values, if all labels are closed.
fn for_each_child(labels: Labels, make: impl FnMut(&Vec<&str>)) {
    let mut children: Vec<Vec<&str>> = vec![Vec::new()];
    for (_, values) in labels {
        let Values::Closed(values) = values else { return };
        let longer =
            |child: Vec<_>| values().into_iter().map(move |value| [&child[..], &[value]].concat());
        children = children.into_iter().flat_map(longer).collect();
    }
    children.iter().for_each(make);
}
