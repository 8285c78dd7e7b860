//! Creates and registers metric families, and keeps their descriptions for ops/METRICS.md.

use prometheus::{
    Opts, Registry,
    core::{MetricVec, MetricVecBuilder},
};

use crate::domain::Label;

const NAMESPACE: &str = "mana_persona_runner";

/// The description of a metric family.
#[derive(Clone, Debug)]
pub struct Family {
    /// The full name, with the prefix `mana_persona_runner_`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The help text: what the family counts, and what a change of its value means.
    pub help: &'static str,
    /// The names of the labels and their possible values.
    pub labels: &'static [(&'static str, Values)],
}

/// The possible values of a label.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// The listed values. If all labels of a family are closed, all its series exist from the start, so that
    /// the value 0 is visible.
    Closed(fn() -> Vec<&'static str>),
    /// The listed values, but not in every combination with the other labels. The expected combinations exist
    /// from the start.
    Known(fn() -> Vec<&'static str>),
    /// A limited set of values that the text describes.
    Bounded(&'static str),
}

/// All values of a label enum, as a closed set.
pub(super) const fn closed<L: Label>() -> Values {
    Values::Closed(|| L::ALL.iter().map(|value| value.as_str()).collect())
}

/// Declares the families of a topic. The doc comment of a family is its help text and its description in
/// ops/METRICS.md. The field of a family without labels is its only series. A `pub` field is recorded
/// directly where the event happens.
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

/// The registry of the metrics, and the descriptions of all families in it.
#[derive(Debug, Default)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) catalogue: Vec<Family>,
}

impl Families {
    /// Creates and registers a family. If all its labels are closed, all its series are created too.
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

/// Calls `make` with every combination of label values. Does nothing if one of the labels is not closed.
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
