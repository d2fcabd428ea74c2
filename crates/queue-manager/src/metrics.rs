//! The metrics of a queue manager, each name once, with unit and meaning.
//!
//! Counters live here and are read by `/metrics`; what is a state of the store
//! (operations by state, members) is read when the metrics are requested.
//! docs/metrics.md has the list: [`page`] writes it.

pub mod page;

use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::broker::Bypassed;
use drumline_backend::limiter::Limit;
use drumline_backend::store::Rollup;
use drumline_protocol::message::Source;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Pause, PauseKind, PauseScope, QueueName};
use drumline_telemetry::metrics::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use crate::quotas::Quota;

drumline_telemetry::metrics! {
    created: Counter,
        "operations_created",
        "operations created by this process";
    ended: Counter by ["outcome"],
        "operations_ended",
        "operations whose end this process has written, by outcome";
    creates_repeated: Counter,
        "creates_repeated",
        "creates answered with the operation of an earlier create with the same idempotency key";
    left_to_relay: Counter,
        "creates_left_to_relay",
        "creates whose first publish failed";
    actions: Counter by ["action", "outcome"],
        "actions",
        "requested actions";
    requests: Counter by ["method", "route", "status"],
        "http_requests",
        "answered requests";
    denied: Counter by ["reason"],
        "http_denied",
        "requests that were refused because of who sent them, by reason";
    handshakes_failed: Counter by ["reason"],
        "http_tls_handshakes_failed",
        "connections to the HTTP port that were not encrypted, by reason";
    certificate_broken: Gauge,
        "http_tls_certificate_broken",
        "1 while the files of the TLS certificate cannot be used and the certificate of before is in force";
    audit_lost: Counter,
        "audit_lost",
        "lines of the audit log that could not be written";
    audit_left_out: Counter by ["reason"],
        "audit_left_out",
        "entries that are not in the audit stream of the store, because so many came in a minute or the store did not take them";
    intake_denied: Counter by ["reason"],
        "intake_denied",
        "requests over AMQP that were refused because of who sent them, by reason";
    request_seconds: Histogram by ["route"],
        "http_request_duration" in Unit::Seconds,
        "time from a request to its answer";
    store_seconds: Histogram by ["call"],
        "store_call_duration" in Unit::Seconds,
        "time from a request to the store to its answer, the wait for other requests before it included";
    publish_seconds: Histogram,
        "publish_duration" in Unit::Seconds,
        "time from the publish of new operations to the broker's confirm of all of them";
    relayed: Counter,
        "relay_published",
        "offers that the relay published in place of another process";
    woken: Counter,
        "due_woken",
        "operations made Ready because their time had come";
    expired: Counter,
        "due_expired",
        "operations that expired because no worker had started them by their `notAfter`, seen by the scheduler";
    occurrences: Counter,
        "occurrences_created",
        "occurrences of series created because their time had come";
    occurrences_skipped: Counter,
        "occurrences_skipped",
        "times of series skipped because the previous occurrence was not Completed";
    taken_over: Counter,
        "leases_expired",
        "operations taken over from lost workers";
    markers: Counter,
        "reconcile_markers",
        "markers sent through the broker to find lost messages";
    reoffered: Counter,
        "reconcile_reoffered",
        "operations offered again because the broker had lost them";
    redirected: Counter,
        "bypass_reoffered",
        "operations offered again because they were in a queue that does not work";
    bypassed: Gauge by ["queue", "kind", "partition", "reason"],
        "bypassed_queues",
        "queues of the broker that do not work and are by-passed, at the last look";
    unreadable: Counter,
        "maintenance_unreadable",
        "records that this release cannot decode and leaves unchanged, counted at each read";
    lost: Counter,
        "store_lost",
        "operations that this manager has accepted and that Redis has lost in a promotion or a restart, found a moment later";
    removed: Counter by ["class"],
        "retention_removed",
        "operations removed by retention, by the class of their outcome";
    removed_for_room: Counter,
        "retention_removed_for_room",
        "operations among these that were removed early, because Completed ones take more than `--max-completed-bytes`";
    completed_bytes: Gauge,
        "completed" in Unit::Bytes,
        "bytes of all Completed operations, at the last look; 0 without `--max-completed-bytes`";
    queues_removed: Counter,
        "queues_removed",
        "queues that were deleted in the broker because they had not been used for long";
    webhook_tries: Counter by ["outcome"],
        "webhook_tries",
        "tries of webhooks, by outcome";
    batches_refused: Counter,
        "batches_refused",
        "batches refused because their organization had reached its limit";
    unprotected: Counter,
        "requests_unprotected",
        "requests that were admitted uncounted because the limiter was unavailable";
    quota_exceeded: Counter by ["quota"],
        "quota_exceeded",
        "creates refused because their organization has as much as it may have";
    rate_limited: Counter by ["limit"],
        "requests_refused",
        "requests refused because their caller had reached a limit";
    intake_received: Counter,
        "intake_received",
        "requests received over AMQP, redelivered ones included";
    intake_answered: Counter by ["status"],
        "intake_answered",
        "answers sent to producers over AMQP, by HTTP status";
    intake_quarantined: Counter by ["code"],
        "intake_quarantined",
        "requests put into the quarantine, by error code";
    failures: Counter by ["chore"],
        "maintenance_failures",
        "rounds of a maintenance task that found the store or the broker unavailable";
    operations: Gauge by ["state"],
        "operations",
        "operations in the store by state, at the last look";
    undispatched: Gauge,
        "undispatched_operations",
        "operations in the outbox, which wait to be published, at the last look";
    pauses: Gauge by ["scope"],
        "pauses",
        "pauses in force by scope, at the last look";
    held: Gauge,
        "held_operations",
        "operations held by pauses in the partitions that this process maintains, at the last look";
    oldest: Gauge by ["queue"],
        "oldest_runnable" in Unit::Seconds,
        "time for which the operation waits that waits longest of those that a worker could claim, by queue (the default one and 63 more), in the partitions that this process maintains, at the last look";
    members: Gauge by ["role"],
        "members",
        "live processes by role, at the last look";
}

impl Default for Metrics {
    fn default() -> Self {
        let (metrics, _described) = register();
        metrics
    }
}

impl Metrics {
    /// An action was asked for.
    pub(crate) fn acted(&self, action: &'static str, done: bool) {
        let outcome = if done { "done" } else { "refused" };
        self.actions.with([action.into(), outcome.into()]).inc();
    }

    /// A request was refused because of who sent it.
    pub(crate) fn denied(&self, reason: &'static str) {
        self.denied.with([reason.into()]).inc();
    }

    /// A connection was not encrypted.
    pub(crate) fn handshake_failed(&self, reason: &'static str) {
        self.handshakes_failed.with([reason.into()]).inc();
    }

    /// Notes whether the files of the certificate can be used.
    pub(crate) fn certificate_is_broken(&self, is_broken: bool) {
        self.certificate_broken.set(i64::from(is_broken));
    }

    /// Lines of the audit log are lost.
    pub(crate) fn audit_lost(&self, lines: usize) {
        self.audit_lost
            .inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
    }

    /// Entries are not in the audit stream.
    pub(crate) fn audit_left_out(&self, reason: &'static str, entries: u64) {
        self.audit_left_out.with([reason.into()]).inc_by(entries);
    }

    /// A request over AMQP was refused because of its sender.
    pub(crate) fn intake_denied(&self, reason: &'static str) {
        self.intake_denied.with([reason.into()]).inc();
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, seconds: f64) {
        let (method, status) = (method.to_owned(), status.to_string());
        let request = [method.into(), route.to_owned().into(), status.into()];
        self.requests.with(request).inc();
        let route = route.to_owned();
        self.request_seconds.with([route.into()]).observe(seconds);
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

    /// Notes the ends that this process has written since its start.
    pub(crate) fn ended(&self, counts: &Rollup) {
        for (outcome, count) in counts.ends() {
            let ended = self.ended.with([outcome.into()]);
            ended.inner().store(count, Ordering::Relaxed);
        }
    }

    /// Retention has removed operations.
    pub(crate) fn removed(&self, class: EndClass, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.removed.with([class.name().into()]).inc_by(count);
    }

    /// Retention has removed operations early, to make room.
    pub(crate) fn removed_for_room(&self, count: usize) {
        self.removed_for_room
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Notes the bytes of all Completed operations.
    pub(crate) fn completed_bytes(&self, bytes: u64) {
        self.completed_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A webhook was tried.
    pub(crate) fn webhook_tried(&self, outcome: &'static str) {
        self.webhook_tries.with([outcome.into()]).inc();
    }

    /// A caller had reached a limit.
    pub(crate) fn rate_limited(&self, limit: Limit) {
        let limit = match limit {
            Limit::Requests => "requests",
            Limit::Execution => "execution",
            Limit::Concurrent => "concurrent",
        };
        self.rate_limited.with([limit.into()]).inc();
    }

    /// An organization had no room for a create.
    pub(crate) fn quota_exceeded(&self, quota: Quota) {
        self.quota_exceeded.with([quota.name().into()]).inc();
    }

    /// A producer was answered.
    pub(crate) fn intake_answered(&self, status: u16) {
        let status = status.to_string();
        self.intake_answered.with([status.into()]).inc();
    }

    /// A request was put into the quarantine.
    pub(crate) fn quarantined(&self, code: String) {
        self.intake_quarantined.with([code.into()]).inc();
    }

    /// A round of maintenance found the store or the broker unavailable.
    pub(crate) fn failed(&self, chore: &'static str) {
        self.failures.with([chore.into()]).inc();
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
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.operations.with([state.into()]).set(count);
        }
        self.undispatched
            .set(i64::try_from(counts.undispatched).unwrap_or(i64::MAX));
    }

    /// Notes the queues that are by-passed now.
    pub(crate) fn bypassed(&self, bypassed: &[Bypassed]) {
        self.bypassed.clear();
        for Bypassed { route, trouble } in bypassed {
            let partition = match route.source {
                Source::Lane(partition) => partition.get().to_string(),
                Source::Work | Source::Spare => String::new(),
            };
            let queue = route.queue.to_string();
            let kind = route.source.kind();
            let reason = trouble.kind();
            self.bypassed
                .with([queue.into(), kind.into(), partition.into(), reason.into()])
                .set(1);
        }
    }

    /// Notes the ages of the oldest operations that could run, by queue.
    pub(crate) fn oldest(&self, ages: &[(QueueName, Duration)]) {
        self.oldest.clear();
        for (queue, age) in ages {
            let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            self.oldest.with([queue.to_string().into()]).set(seconds);
        }
    }

    /// Notes the pauses in force. That of everything is a freeze.
    pub(crate) fn paused(&self, pauses: &[Pause]) {
        let everything = PauseScope::everything().name();
        for name in PauseKind::ALL
            .map(PauseKind::name)
            .into_iter()
            .chain([everything])
        {
            let count = pauses.iter().filter(|pause| pause.scope.name() == name);
            let count = i64::try_from(count.count()).unwrap_or(i64::MAX);
            self.pauses.with([name.into()]).set(count);
        }
    }

    /// Notes the number of operations that pauses hold.
    pub(crate) fn held(&self, count: u64) {
        self.held.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Notes the number of members.
    pub(crate) fn present(&self, workers: usize, managers: usize) {
        for (role, count) in [("worker", workers), ("manager", managers)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.members.with([role.into()]).set(count);
        }
    }

    /// Everything, in the text format that Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        text(&self.registry)
    }
}
