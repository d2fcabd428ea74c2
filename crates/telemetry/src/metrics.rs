//! The registration of metrics, and the description of each for the
//! documentation.
//!
//! Each service declares its metrics with [`metrics!`](crate::metrics!) and has a
//! registry of its own.

use std::borrow::Cow;
use std::fmt::Write as _;

use opentelemetry::trace::SpanContext;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry, Unit};

use drumline_protocol::operation::TraceContext;

use crate::w3c;

/// The prefix of every name.
const PREFIX: &str = "drumline";
/// Upper bounds in seconds: from a store that answers at once to a handler that
/// runs for an hour.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0, 600.0, 3600.0,
];

/// Declares the struct of all metrics, and the function that registers them.
///
/// `field: Type by ["label", …], "name" in Unit, "help";`: without `by`, the
/// metric has no labels; a unit is the end of the metric's name.
#[macro_export]
macro_rules! metrics {
    ($(
        $field:ident: $metric:ident $(by [$($label:literal),+])?,
            $name:literal $(in $unit:expr)?,
            $help:literal;
    )*) => {
        /// The metrics of this process.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $(pub(crate) $field: $crate::metrics!(@type $metric $([$($label),+])?),)*
        }

        /// Registers every metric, and describes it.
        fn register() -> (Metrics, Vec<$crate::metrics::Described>) {
            let mut names = $crate::metrics::Names::new();
            let metrics = Metrics {
                $($field: $crate::metrics!(
                    @add names ($name, $crate::metrics!(@unit $($unit)?), $help) $([$($label),+])?
                ),)*
                registry: names.registry,
            };
            (metrics, names.described)
        }
    };
    (@type $metric:ident) => { $metric };
    (@type $metric:ident $labels:tt) => { $crate::metrics::Labelled<$metric, { $labels.len() }> };
    (@add $names:ident ($($about:expr),+)) => { $names.add($($about),+) };
    (@add $names:ident ($($about:expr),+) $labels:tt) => {
        $names.add_labelled($($about),+, $labels)
    };
    (@unit) => { None };
    (@unit $unit:expr) => { Some($unit) };
}

/// A metric with labels: one of its kind for each set of values.
#[derive(Clone, Debug)]
pub struct Labelled<M, const N: usize> {
    names: [&'static str; N],
    family: Family<[Label; N], M>,
}

/// The name and the value of a label.
type Label = (&'static str, Cow<'static, str>);

impl<M: Kind, const N: usize> Labelled<M, N> {
    /// The metric with these values, in the order of the names.
    pub fn with(&self, values: [Cow<'static, str>; N]) -> M {
        let mut values = values.into_iter();
        let labels = self
            .names
            .map(|name| (name, values.next().unwrap_or_default()));
        self.family.get_or_create_owned(&labels)
    }

    /// Forgets all values.
    pub fn clear(&self) {
        self.family.clear();
    }
}

/// A kind of metric that can be registered.
pub trait Kind: Metric + TypedMetric + Clone {
    /// A metric without values.
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

/// A histogram that remembers for each bucket a trace of its latest time, which leads
/// from a slow time to its spans.
#[derive(Clone, Debug)]
pub struct TracedHistogram(HistogramWithExemplars<[Label; 1]>);

impl TracedHistogram {
    /// Counts a time in seconds. `context` is that of the operation, whose trace is
    /// remembered if it is recorded.
    pub fn observe(&self, seconds: f64, context: &TraceContext) {
        let recorded = w3c::parse(context).filter(SpanContext::is_sampled);
        let exemplar = recorded.map(|found| [("trace_id", found.trace_id().to_string().into())]);
        self.0.observe(seconds, exemplar, None);
    }
}

impl EncodeMetric for TracedHistogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}

impl TypedMetric for TracedHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl Kind for TracedHistogram {
    fn new() -> Self {
        Self(HistogramWithExemplars::new(SECONDS.into_iter()))
    }
}

/// The description of a metric, for the documentation.
#[derive(Debug)]
pub struct Described {
    /// The name in `/metrics`, without what its type adds.
    pub name: String,
    /// The type.
    pub kind: MetricType,
    /// The unit, which is the end of the name.
    pub unit: Option<Unit>,
    /// The names of the labels.
    pub labels: Vec<&'static str>,
    /// The meaning.
    pub help: &'static str,
}

/// Registers metrics under one prefix, describes them, and hands them back.
#[derive(Debug)]
pub struct Names {
    /// The metrics.
    pub registry: Registry,
    /// Their descriptions.
    pub described: Vec<Described>,
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl Names {
    /// No metrics yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            registry: Registry::with_prefix(PREFIX),
            described: Vec::new(),
        }
    }

    /// Registers a metric.
    pub fn add<M: Kind>(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
    ) -> M {
        let metric = M::new();
        self.register(name, unit, help, &[], metric.clone());
        metric
    }

    /// Registers a metric with labels.
    pub fn add_labelled<M: Kind, const N: usize>(
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

/// Everything in a registry, in the text format that Prometheus reads.
#[must_use]
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    if encode(&mut text, registry).is_err() {
        // Writing to a string does not fail.
        text.clear();
    }
    text
}

/// The table of metrics for the documentation.
#[must_use]
pub fn table(described: &[Described]) -> String {
    let mut text = "\
| metric | type | unit | labels | meaning |
|---|---|---|---|---|
"
    .to_owned();
    for metric in described {
        let name = shown_name(metric);
        let kind = metric.kind.as_str();
        let unit = metric.unit.as_ref().map_or("", |unit| unit.as_str());
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let (labels, help) = (labels.join(", "), metric.help);
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
    }
    text
}

/// The name as a query has it: a counter is marked at the end.
#[must_use]
pub fn shown_name(metric: &Described) -> String {
    let end = match metric.kind {
        MetricType::Counter => "_total",
        MetricType::Gauge | MetricType::Histogram | MetricType::Info | MetricType::Unknown => "",
    };
    format!("{}{end}", metric.name)
}
