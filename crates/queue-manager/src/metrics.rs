//! The metrics of a queue manager, each name once, with unit and meaning.
//!
//! Counters live here and are read by `/metrics`; what is a state of the store
//! (operations by state, members) is read when the metrics are requested.
//! docs/metrics.md has the list: [`page`] writes it.

pub mod page;

use drumline_backend::broker::Bypassed;
use drumline_backend::limiter::Limit;
use drumline_protocol::message::Source;
use drumline_protocol::transition::EndClass;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
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

/// The metrics of one queue manager.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(crate) created: Counter,
    pub(crate) creates_repeated: Counter,
    pub(crate) left_to_relay: Counter,
    actions: Family<Action, Counter>,
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram, fn() -> Histogram>,
    pub(crate) relayed: Counter,
    pub(crate) woken: Counter,
    pub(crate) occurrences: Counter,
    pub(crate) occurrences_skipped: Counter,
    pub(crate) taken_over: Counter,
    pub(crate) markers: Counter,
    pub(crate) reoffered: Counter,
    pub(crate) redirected: Counter,
    bypassed: Family<Queue, Gauge>,
    pub(crate) unreadable: Counter,
    removed: Family<Ended, Counter>,
    told: Family<Told, Counter>,
    pub(crate) batches_refused: Counter,
    pub(crate) unprotected: Counter,
    pub(crate) intake_received: Counter,
    intake_answered: Family<Status, Counter>,
    intake_quarantined: Family<Code, Counter>,
    protected: Family<Reached, Counter>,
    failures: Family<Task, Counter>,
    operations: Family<InState, Gauge>,
    undispatched: Gauge,
    members: Family<InRole, Gauge>,
}

/// The labels of a metric, as a set of names.
trait Labels {
    /// The names, in the order in which they are shown.
    const NAMES: &'static [&'static str];
}

macro_rules! labels {
    ($($set:ident { $($label:ident: $value:ty),* })*) => {
        $(
            #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
            struct $set {
                $($label: $value,)*
            }

            impl Labels for $set {
                const NAMES: &'static [&'static str] = &[$(stringify!($label)),*];
            }
        )*
    };
}

labels! {
    Action { action: &'static str, outcome: &'static str }
    Request { method: String, route: String, status: u16 }
    Route { route: String }
    Reached { limit: &'static str }
    Queue { queue: String, kind: &'static str, partition: String, reason: &'static str }
    Status { status: u16 }
    Code { code: String }
    Task { chore: &'static str }
    Ended { class: &'static str }
    Told { outcome: &'static str }
    InState { state: &'static str }
    InRole { role: &'static str }
}

/// A type of metric that describes itself.
trait Shape: Metric + TypedMetric + Clone {
    /// The names of its labels.
    const LABELS: &'static [&'static str] = &[];
}

impl Shape for Counter {}
impl Shape for Gauge {}

impl<S: Labels, M, C> Shape for Family<S, M, C>
where
    Self: Metric + TypedMetric + Clone,
{
    const LABELS: &'static [&'static str] = S::NAMES;
}

/// The description of a metric, for the documentation.
#[derive(Debug)]
struct Described {
    /// The name in `/metrics`, without what its type adds.
    name: String,
    kind: MetricType,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    help: &'static str,
}

/// Registers metrics under one prefix, describes them, and hands them back.
struct Names {
    registry: Registry,
    described: Vec<Described>,
}

impl Names {
    fn add<M: Shape>(&mut self, name: &'static str, help: &'static str, metric: M) -> M {
        self.registry.register(name, help, metric.clone());
        self.describe::<M>(format!("{PREFIX}_{name}"), None, help);
        metric
    }

    /// The unit is the end of the metric's name.
    fn add_with_unit<M: Shape>(
        &mut self,
        name: &'static str,
        unit: Unit,
        help: &'static str,
        metric: M,
    ) -> M {
        self.registry
            .register_with_unit(name, help, unit.clone(), metric.clone());
        let name = format!("{PREFIX}_{name}_{}", unit.as_str());
        self.describe::<M>(name, Some(unit), help);
        metric
    }

    fn describe<M: Shape>(&mut self, name: String, unit: Option<Unit>, help: &'static str) {
        self.described.push(Described {
            name,
            kind: M::TYPE,
            unit,
            labels: M::LABELS,
            help,
        });
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Metrics {
    fn default() -> Self {
        let (metrics, _described) = register();
        metrics
    }
}

/// Registers every metric, and describes it.
fn register() -> (Metrics, Vec<Described>) {
    let mut names = Names {
        registry: Registry::with_prefix(PREFIX),
        described: Vec::new(),
    };
    let metrics = Metrics {
        created: names.add(
            "operations_created",
            "operations created by this process",
            Counter::default(),
        ),
        creates_repeated: names.add(
            "creates_repeated",
            "creates answered with the operation of an earlier create with the same idempotency key",
            Counter::default(),
        ),
        left_to_relay: names.add(
            "creates_left_to_relay",
            "creates whose first publish failed",
            Counter::default(),
        ),
        actions: names.add("actions", "requested actions", Family::default()),
        requests: names.add("http_requests", "answered requests", Family::default()),
        request_seconds: names.add_with_unit(
            "http_request_duration",
            Unit::Seconds,
            "time from a request to its answer",
            Family::new_with_constructor(seconds as fn() -> Histogram),
        ),
        relayed: names.add(
            "relay_published",
            "offers that the relay published in place of another process",
            Counter::default(),
        ),
        woken: names.add(
            "due_woken",
            "operations made Ready because their time had come",
            Counter::default(),
        ),
        occurrences: names.add(
            "occurrences_created",
            "occurrences of series created because their time had come",
            Counter::default(),
        ),
        occurrences_skipped: names.add(
            "occurrences_skipped",
            "times of series skipped because the previous occurrence was not Completed",
            Counter::default(),
        ),
        taken_over: names.add(
            "leases_expired",
            "operations taken over from lost workers",
            Counter::default(),
        ),
        markers: names.add(
            "reconcile_markers",
            "markers sent through the broker to find lost messages",
            Counter::default(),
        ),
        reoffered: names.add(
            "reconcile_reoffered",
            "operations offered again because the broker had lost them",
            Counter::default(),
        ),
        redirected: names.add(
            "bypass_reoffered",
            "operations offered again because they were in a queue that does not work",
            Counter::default(),
        ),
        bypassed: names.add(
            "bypassed_queues",
            "queues of the broker that do not work and are by-passed, at the last look",
            Family::default(),
        ),
        unreadable: names.add(
            "maintenance_unreadable",
            "records that this release cannot decode and leaves unchanged, counted at each read",
            Counter::default(),
        ),
        removed: names.add(
            "retention_removed",
            "operations removed by retention, by the class of their outcome",
            Family::default(),
        ),
        told: names.add(
            "webhook_tries",
            "tries of webhooks, by outcome",
            Family::default(),
        ),
        batches_refused: names.add(
            "batches_refused",
            "batches refused because their organization had reached its limit",
            Counter::default(),
        ),
        unprotected: names.add(
            "requests_unprotected",
            "requests that were admitted uncounted because the limiter was unavailable",
            Counter::default(),
        ),
        protected: names.add(
            "requests_refused",
            "requests refused because their caller had reached a limit",
            Family::default(),
        ),
        intake_received: names.add(
            "intake_received",
            "requests received over AMQP, redelivered ones included",
            Counter::default(),
        ),
        intake_answered: names.add(
            "intake_answered",
            "answers sent to producers over AMQP, by HTTP status",
            Family::default(),
        ),
        intake_quarantined: names.add(
            "intake_quarantined",
            "requests put into the quarantine, by error code",
            Family::default(),
        ),
        failures: names.add(
            "maintenance_failures",
            "rounds of a maintenance task that found the store or the broker unavailable",
            Family::default(),
        ),
        operations: names.add(
            "operations",
            "operations in the store by state, at the last look",
            Family::default(),
        ),
        undispatched: names.add(
            "undispatched_operations",
            "operations in the outbox, which wait to be published, at the last look",
            Gauge::default(),
        ),
        members: names.add(
            "members",
            "live processes by role, at the last look",
            Family::default(),
        ),
        registry: names.registry,
    };
    (metrics, names.described)
}

impl Metrics {
    /// An action was asked for.
    pub(crate) fn acted(&self, action: &'static str, done: bool) {
        let outcome = if done { "done" } else { "refused" };
        self.actions
            .get_or_create(&Action { action, outcome })
            .inc();
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, seconds: f64) {
        let request = Request {
            method: method.to_owned(),
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&request).inc();
        let route = Route {
            route: route.to_owned(),
        };
        self.request_seconds.get_or_create(&route).observe(seconds);
    }

    /// Retention has removed operations.
    pub(crate) fn removed(&self, class: EndClass, count: usize) {
        let class = class.name();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.removed.get_or_create(&Ended { class }).inc_by(count);
    }

    /// A webhook was tried.
    pub(crate) fn told(&self, outcome: &'static str) {
        self.told.get_or_create(&Told { outcome }).inc();
    }

    /// A caller had reached a limit.
    pub(crate) fn protected(&self, limit: Limit) {
        let limit = match limit {
            Limit::Requests => "requests",
            Limit::Execution => "execution",
            Limit::Concurrent => "concurrent",
        };
        self.protected.get_or_create(&Reached { limit }).inc();
    }

    /// A producer was answered.
    pub(crate) fn intake_answered(&self, status: u16) {
        self.intake_answered.get_or_create(&Status { status }).inc();
    }

    /// A request was put into the quarantine.
    pub(crate) fn quarantined(&self, code: String) {
        self.intake_quarantined.get_or_create(&Code { code }).inc();
    }

    /// A round of maintenance met the store or the broker away.
    pub(crate) fn failed(&self, chore: &'static str) {
        self.failures.get_or_create(&Task { chore }).inc();
    }

    /// Notes the store's counts of its operations.
    pub(crate) fn counted(&self, counts: &drumline_backend::store::Counts) {
        let states = [
            ("Ready", counts.ready),
            ("Suspended", counts.suspended),
            ("Locked", counts.locked),
            ("Completed", counts.completed),
        ];
        for (state, count) in states {
            let gauge = self.operations.get_or_create_owned(&InState { state });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.undispatched
            .set(i64::try_from(counts.undispatched).unwrap_or(i64::MAX));
    }

    /// The queues that are by-passed now.
    pub(crate) fn bypassed(&self, bypassed: &[Bypassed]) {
        self.bypassed.clear();
        for Bypassed { route, trouble } in bypassed {
            let partition = match route.source {
                Source::Lane(partition) => partition.get().to_string(),
                Source::Work | Source::Spare => String::new(),
            };
            let queue = Queue {
                queue: route.queue.to_string(),
                kind: route.source.kind(),
                partition,
                reason: trouble.kind(),
            };
            self.bypassed.get_or_create(&queue).set(1);
        }
    }

    /// Notes the number of members.
    pub(crate) fn present(&self, workers: usize, managers: usize) {
        for (role, count) in [("worker", workers), ("manager", managers)] {
            let gauge = self.members.get_or_create_owned(&InRole { role });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Everything, in the text format that Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing to a string does not fail.
            text.clear();
        }
        text
    }
}
