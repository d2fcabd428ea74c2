//! The registration of metrics, and the description of each for the
//! documentation.

use std::borrow::Cow;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry, Unit};

/// The prefix of every name.
const PREFIX: &str = "drumline";
/// Upper bounds in seconds: from a store that answers at once to the longest
/// wait.
const SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0,
];

/// Declares the struct of all metrics, and the function that registers them.
///
/// `field: Type by ["label", …], "name" in Unit, "help";`: without `by`, the
/// metric has no labels; a unit is the end of the metric's name.
macro_rules! metrics {
    ($(
        $field:ident: $metric:ident $(by [$($label:literal),+])?,
            $name:literal $(in $unit:expr)?,
            $help:literal;
    )*) => {
        /// The metrics of one queue manager.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $(pub(crate) $field: metrics!(@type $metric $([$($label),+])?),)*
        }

        /// Registers every metric, and describes it.
        fn register() -> (Metrics, Vec<Described>) {
            let mut names = Names::new();
            let metrics = Metrics {
                $($field: metrics!(
                    @add names ($name, metrics!(@unit $($unit)?), $help) $([$($label),+])?
                ),)*
                registry: names.registry,
            };
            (metrics, names.described)
        }
    };
    (@type $metric:ident) => { $metric };
    (@type $metric:ident $labels:tt) => { Labelled<$metric, { $labels.len() }> };
    (@add $names:ident ($($about:expr),+)) => { $names.add($($about),+) };
    (@add $names:ident ($($about:expr),+) $labels:tt) => {
        $names.add_labelled($($about),+, $labels)
    };
    (@unit) => { None };
    (@unit $unit:expr) => { Some($unit) };
}

pub(super) use metrics;

/// A metric with labels: one of its kind for each set of values.
#[derive(Clone, Debug)]
pub(crate) struct Labelled<M, const N: usize> {
    names: [&'static str; N],
    family: Family<[Label; N], M>,
}

/// The name and the value of a label.
type Label = (&'static str, Cow<'static, str>);

impl<M: Kind, const N: usize> Labelled<M, N> {
    /// The metric with these values, in the order of the names.
    pub(super) fn with(&self, values: [Cow<'static, str>; N]) -> M {
        let mut values = values.into_iter();
        let labels = self
            .names
            .map(|name| (name, values.next().unwrap_or_default()));
        self.family.get_or_create_owned(&labels)
    }

    /// Forgets all values.
    pub(super) fn clear(&self) {
        self.family.clear();
    }
}

/// A kind of metric that can be registered.
pub(crate) trait Kind: Metric + TypedMetric + Clone {
    fn new() -> Self;
}

impl Kind for Counter {
    fn new() -> Self {
        Self::default()
    }
}

impl Kind for Gauge {
    fn new() -> Self {
        Self::default()
    }
}

impl Kind for Histogram {
    fn new() -> Self {
        Self::new(SECONDS)
    }
}

/// The description of a metric, for the documentation.
#[derive(Debug)]
pub(super) struct Described {
    /// The name in `/metrics`, without what its type adds.
    pub(super) name: String,
    pub(super) kind: MetricType,
    pub(super) unit: Option<Unit>,
    pub(super) labels: Vec<&'static str>,
    pub(super) help: &'static str,
}

/// Registers metrics under one prefix, describes them, and hands them back.
pub(super) struct Names {
    pub(super) registry: Registry,
    pub(super) described: Vec<Described>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::with_prefix(PREFIX),
            described: Vec::new(),
        }
    }

    pub(super) fn add<M: Kind>(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
    ) -> M {
        let metric = M::new();
        self.register(name, unit, help, &[], metric.clone());
        metric
    }

    pub(super) fn add_labelled<M: Kind, const N: usize>(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
        names: [&'static str; N],
    ) -> Labelled<M, N> {
        let family = Family::new_with_constructor(M::new as fn() -> M);
        self.register(name, unit, help, &names, family.clone());
        Labelled { names, family }
    }

    fn register<M: Metric + TypedMetric>(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
        labels: &[&'static str],
        metric: M,
    ) {
        let shown = match &unit {
            Some(unit) => format!("{PREFIX}_{name}_{}", unit.as_str()),
            None => format!("{PREFIX}_{name}"),
        };
        self.described.push(Described {
            name: shown,
            kind: M::TYPE,
            unit: unit.clone(),
            labels: labels.to_vec(),
            help,
        });
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, metric),
            None => self.registry.register(name, help, metric),
        }
    }
}
