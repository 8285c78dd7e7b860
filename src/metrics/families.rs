//! Makes families, registers them and keeps what ops/METRICS.md says of them.

use prometheus::{
    Opts, Registry,
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

/// Declares the families of a topic. What is documented of one is its help text, and its line in
/// ops/METRICS.md. One without labels is its only series; `pub` are those that are recorded without further
/// ado, where that happens.
macro_rules! families {
    (type counter) => { prometheus::Counter };
    (type gauge) => { prometheus::Gauge };
    (type histogram) => { prometheus::Histogram };
    (type counter $($labels:ident)+) => { prometheus::CounterVec };
    (type gauge $($labels:ident)+) => { prometheus::GaugeVec };
    (type histogram $($labels:ident)+) => { prometheus::HistogramVec };
    (made $family:ident) => { $family.with_label_values::<&str>(&[]) };
    (made $family:ident $($labels:ident)+) => { $family };
    (options $options:ident) => { $options };
    (options $options:ident $buckets:ident) => {
        prometheus::HistogramOpts::from($options).buckets($buckets.to_vec())
    };
    ($topic:ident { $(
        $(#[doc = $help:literal])+
        $vis:vis $field:ident: $kind:ident $name:literal { $($label:ident: $values:expr),* } $($buckets:ident)?;
    )+ }) => {
        /// The families of this topic.
        #[derive(Debug)]
        pub(crate) struct $topic {
            $($(#[doc = $help])+ $vis $field: $crate::metrics::families::families!(type $kind $($label)*),)+
        }

        impl $topic {
            pub(super) fn new(
                families: &mut $crate::metrics::families::Families,
            ) -> prometheus::Result<Self> {
                $(let $field = {
                    let labels = const { &[$((stringify!($label), $values)),*] };
                    let help = concat!($($help),+).trim_ascii_start();
                    let family = families.add($name, stringify!($kind), help, labels, |options, names| {
                        let options = $crate::metrics::families::families!(options options $($buckets)?);
                        <$crate::metrics::families::families!(type $kind with_labels)>::new(options, names)
                    })?;
                    $crate::metrics::families::families!(made family $($label)*)
                };)+
                Ok(Self { $($field),+ })
            }
        }
    };
}
pub(super) use families;

/// Makes families in a registry of its own.
#[derive(Debug, Default)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) catalogue: Vec<Family>,
}

impl Families {
    /// Makes and registers a family, with each of its series if all labels are closed.
    pub(super) fn add<M: MetricVecBuilder + 'static>(
        &mut self,
        name: &str,
        kind: &'static str,
        help: &'static str,
        labels: &'static [(&'static str, Values)],
        make: impl FnOnce(Opts, &[&str]) -> prometheus::Result<MetricVec<M>>,
    ) -> prometheus::Result<MetricVec<M>> {
        let name = format!("{NAMESPACE}_{name}");
        let names: Vec<_> = labels.iter().map(|(name, _)| *name).collect();
        let family = make(Opts::new(&name, help), &names)?;
        for_each_child(labels, |values| drop(family.with_label_values(values)));
        self.registry.register(Box::new(family.clone()))?;
        self.catalogue.push(Family { name, kind, help, labels });
        Ok(family)
    }
}

/// Calls `make` with every combination of values, if all labels are closed.
fn for_each_child(labels: &[(&str, Values)], make: impl FnMut(&Vec<&str>)) {
    let mut children: Vec<Vec<&str>> = vec![Vec::new()];
    for (_, values) in labels {
        let Values::Closed(values) = values else { return };
        let longer =
            |child: Vec<_>| values().into_iter().map(move |value| [&child[..], &[value]].concat());
        children = children.into_iter().flat_map(longer).collect();
    }
    children.iter().for_each(make);
}
