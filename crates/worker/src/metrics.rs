//! The metrics of a worker, each name once, with unit and meaning.
//!
//! The label `message` is bounded by the handlers: a message name that only the
//! handler for all others takes is shown as `*`.

mod page;

use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::store::Rollup;
use drumline_protocol::operation::TraceContext;
use drumline_telemetry::metrics::{TracedHistogram, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

pub use page::part;

drumline_telemetry::metrics! {
    started: Counter by ["queue", "message"],
        "runs_started",
        "runs of handlers that this worker has started";
    ended: Counter by ["queue", "message", "outcome"],
        "runs_ended",
        "runs that have ended, by outcome; lost: another worker has the operation";
    created: Counter,
        "operations_created",
        "operations that handlers of this worker have created";
    operations_ended: Counter by ["outcome"],
        "operations_ended",
        "operations whose end this worker has written, by outcome";
    refused: Counter by ["write"],
        "writes_refused",
        "writes that the store has refused because their lock belongs to this worker no more: ends of runs, and renewals of leases";
    store_seconds: Histogram by ["call"],
        "store_call_duration" in Unit::Seconds,
        "time from a request to the store to its answer, repetitions and the wait for other requests before it included";
    waited: TracedHistogram by ["queue", "message"],
        "queue_wait" in Unit::Seconds,
        "time from when an operation became Ready to the start of its run, the wait for earlier ones of its token included";
    ran: TracedHistogram by ["queue", "message"],
        "run_duration" in Unit::Seconds,
        "time that a handler took";
    running: Gauge,
        "running_operations",
        "operations that this worker runs";
    slots: Gauge,
        "slots",
        "operations that this worker can run at the same time";
}

impl Default for Metrics {
    fn default() -> Self {
        let (metrics, _described) = register();
        metrics
    }
}

/// The labels of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunLabels {
    /// The queue of the operation.
    pub(crate) queue: String,
    /// Its message name, or `*`.
    pub(crate) message: String,
}

/// The metrics of the runs of one message name in one queue. A look-up by labels copies
/// and hashes them, which is too much for each of several counts of a run.
#[derive(Debug)]
pub(crate) struct RunMetrics {
    labels: RunLabels,
    started: Counter,
    waited: TracedHistogram,
    ran: TracedHistogram,
}

impl RunMetrics {
    pub(crate) const fn labels(&self) -> &RunLabels {
        &self.labels
    }

    /// A handler was started. Its operation has waited so long.
    pub(crate) fn started(&self, waited: Duration, trace: &TraceContext) {
        self.started.inc();
        self.waited.observe(waited.as_secs_f64(), trace);
    }

    /// A handler has ended, or was dropped, after so long.
    pub(crate) fn ran(&self, took: Duration, trace: &TraceContext) {
        self.ran.observe(took.as_secs_f64(), trace);
    }
}

impl RunLabels {
    fn values(&self) -> [std::borrow::Cow<'static, str>; 2] {
        [self.queue.clone().into(), self.message.clone().into()]
    }
}

impl Metrics {
    /// The metrics of the runs with these labels.
    pub(crate) fn of_runs(&self, labels: RunLabels) -> RunMetrics {
        RunMetrics {
            started: self.started.with(labels.values()),
            waited: self.waited.with(labels.values()),
            ran: self.ran.with(labels.values()),
            labels,
        }
    }

    /// The store has refused the end of a run, because another worker may have the
    /// operation.
    pub(crate) fn end_refused(&self) {
        self.refused.with(["end".into()]).inc();
    }

    /// Waits for the answer of the store to a call, and notes the time that it took.
    pub(crate) async fn of_store<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = T>,
    ) -> T {
        let asked = Instant::now();
        let answer = answer.await;
        let took = asked.elapsed().as_secs_f64();
        self.store_seconds.with([call.into()]).observe(took);
        answer
    }

    /// A run has ended, and its outcome is written, or lost.
    pub(crate) fn ended(&self, labels: &RunLabels, outcome: &'static str) {
        let [queue, message] = labels.values();
        self.ended.with([queue, message, outcome.into()]).inc();
    }

    /// Everything, in the text format that Prometheus reads. `counts` are those of this
    /// process since its start, and `renewals` those of leases that were refused.
    #[must_use]
    pub(crate) fn text(
        &self,
        running: usize,
        slots: usize,
        counts: &Rollup,
        renewals: u64,
    ) -> String {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let set = |counter: &Counter, count| counter.inner().store(count, Ordering::Relaxed);
        set(&self.created, counts.created);
        set(&self.refused.with(["renewal".into()]), renewals);
        for (outcome, count) in counts.ends() {
            set(&self.operations_ended.with([outcome.into()]), count);
        }
        self.running.set(number(running));
        self.slots.set(number(slots));
        text(&self.registry)
    }
}
