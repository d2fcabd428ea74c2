//! The service: everything that clients can ask for, without a protocol.
//!
//! A manager is cheap to clone; all clones are one manager. The manager owns
//! the tasks that it starts, and [`QueueManager::close`] waits for them.
//!
//! One file per kind of request: create, read, control, pause. None of them keeps
//! anything between requests but caches of what the store knows.

mod action_page;
mod actions;
mod actor;
mod attempts;
mod audit;
mod bulk;
mod commit_batcher;
mod completion_feed;
mod control;
mod create;
mod dispatcher_handle;
mod explain;
mod failures;
mod freeze;
mod gathering;
mod health;
pub(crate) mod history;
mod idempotency;
mod now;
mod organization_requests;
mod partitions;
mod pauses;
mod preview;
mod queues;
mod quotas;
mod rate_limit;
mod read;
mod run_again;
mod run_again_page;
mod scale;
pub(crate) mod series;
mod shown;
mod stats;
mod watched;
mod workers;

use std::sync::Arc;

use drumline_backend::apply_event::Signature;
use drumline_backend::bypass::Bypass;
use drumline_backend::formats::WrittenFormats;
use drumline_backend::store::{Store, Summary};
use drumline_backend::{Backend, Broker, CriticalTasks, Ids, MemberId, Tally, TaskFailure};
use drumline_protocol::transition::service_fault;
use drumline_protocol::{Author, EventKind, Header, Pause, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access;
use crate::audit::{Audit, PerMinute, Surroundings, Told};
use crate::metrics::Metrics;
use crate::options::Options;

use self::queues::NotedQueues;

pub use actor::Actor;
pub(crate) use audit::{AuditLine, AuditPage, AuditQuery, AuditScope};
pub use bulk::{Bulk, BulkAct, BulkAnswer, BulkRefusal};
pub use completion_feed::{Cursor, InvalidCursor};
pub use create::Creation;
pub use explain::{Explanation, Root, WaitingFor};
pub use failures::Failing;
pub use health::Health;
pub use organization_requests::{Answer, Fault, ItemAnswer};
pub use rate_limit::{Permit, RequestKind};
pub use read::{Listing, Query};
pub use scale::Scale;
pub use stats::{Stats, StatsQuery};

pub(crate) use now::{Finding, NowState, Place, Sight};
pub(crate) use quotas::QuotaUse;
pub(crate) use read::selection;

pub(crate) use action_page::ActionPage;
pub(crate) use actions::OF_ALL as ACTIONS_OF_ALL;
pub(crate) use bulk::SHARE as BULK_SHARE;
pub(crate) use completion_feed::{Completions, Subscriber};
pub(crate) use create::stored_as;
pub(crate) use run_again_page::{RunAgainStep, is_over_soon};

use commit_batcher::CommitBatcher;
use completion_feed::CompletionFeed;
use create::CreateBatcher;
use dispatcher_handle::DispatcherHandle;
use partitions::Partitions;
use quotas::Accounts;
use rate_limit::{LimiterBreaker, Permits};
use shown::Reader;
use watched::Readings;

pub(crate) use shown::Shown;

/// The lines of the log about denied requests in a minute.
const DENIALS_LOGGED: u64 = 10;
/// The lines of the audit log about senders that are not known, in a minute.
const DENIALS_RECORDED: u64 = 600;

/// The codes of sign-ins that are exchanged at the issuer at the same time, and in a
/// minute: far more than people need, and few for an issuer.
const SIGN_INS_AT_ONCE: usize = 8;
const SIGN_INS: u64 = 120;

/// A queue manager: the service behind every protocol.
#[derive(Clone, Debug)]
pub struct QueueManager {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    backend: Backend,
    /// The way round queues that do not work; the backend's broker is behind it.
    bypass: Arc<Bypass>,
    /// The formats that every live member reads.
    formats: WrittenFormats,
    ids: Ids,
    options: Options,
    member: MemberId,
    started_on: Timestamp,
    creates: CreateBatcher,
    /// The commits of actions on many operations.
    commits: CommitBatcher,
    dispatcher: DispatcherHandle,
    partitions: Partitions,
    noted_queues: NotedQueues,
    completions: CompletionFeed,
    /// Reads for requests that wait, and for streams of events: apart, because
    /// streams that catch up must not hold up the others.
    looks: Reader<Summary>,
    reads: Reader<Shown>,
    event_looks: Reader<Summary>,
    event_reads: Reader<Shown>,
    event_streams: Arc<Semaphore>,
    /// Lists of creates that are worked on at the same time.
    lists_at_once: Semaphore,
    /// An action on many operations was started here.
    action_started: Notify,
    /// Operations that people look at.
    readings: Readings,
    /// The freeze, as of the last look.
    frozen: Mutex<Option<Pause>>,
    accounts: Accounts,
    permits: Permits,
    breaker: LimiterBreaker,
    metrics: Arc<Metrics>,
    /// The counts of this process that are not in the store's rollups yet.
    tally: Arc<Tally>,
    audit: Audit,
    /// The issuer of tokens that the file with the keys names.
    issuer: access::Issuer,
    /// Limits the lines of the log about denied requests.
    denials_logged: PerMinute,
    /// Limits the lines of the audit log about senders that are not known.
    denials_recorded: PerMinute,
    /// The codes of sign-ins that are exchanged at the issuer now, and in this minute.
    sign_ins: Arc<Semaphore>,
    sign_ins_counted: PerMinute,
    tasks: TaskTracker,
    /// Cancelled by [`QueueManager::close`].
    closing: CancellationToken,
    critical: CriticalTasks,
    /// Cancelled when load balancers should look elsewhere.
    leaving: CancellationToken,
    /// Cancelled by [`QueueManager::drain`].
    draining: CancellationToken,
}

impl QueueManager {
    /// Creates a manager over a backend. Must be called on a tokio runtime,
    /// which runs its tasks: the dispatcher, the completion feed, and others.
    #[must_use]
    pub fn new(backend: Backend, ids: Ids, options: Options) -> Self {
        let bypass = Bypass::over(Arc::clone(&backend.broker));
        let backend = Backend {
            broker: Arc::clone(&bypass) as Arc<dyn Broker>,
            ..backend
        };
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        let partitions = Partitions::new(backend.store.partitions(), ids.jitter());
        let permits = Permits::default();
        let limiter = Arc::clone(&backend.limiter);
        let lease = options.admission.lease;
        let critical = CriticalTasks::default();
        let keeping = permits.clone().run(limiter, lease, closing.clone());
        tasks.spawn(critical.guard("permits", &closing, keeping));
        let store = || Arc::clone(&backend.store);
        let looks = || Reader::start(store(), &critical, &tasks, closing.clone());
        let reads = || Reader::start(store(), &critical, &tasks, closing.clone());
        let metrics = Arc::new(Metrics::default());
        let tally = Arc::new(Tally::new(store(), ids.source().clone()));
        let (counting, stop) = (Arc::clone(&tally), closing.clone());
        let counting = async move { counting.run(stop).await };
        tasks.spawn(critical.guard("rollups", &closing, counting));
        let audit_log = options.audit_log.clone();
        let around = Surroundings {
            metrics: &metrics,
            critical: &critical,
            tasks: &tasks,
            closing: closing.clone(),
        };
        let audit = Audit::start(audit_log, store(), ids.source().u64(), &around);
        let shared = Shared {
            audit,
            denials_logged: PerMinute::new(DENIALS_LOGGED),
            denials_recorded: PerMinute::new(DENIALS_RECORDED),
            sign_ins: Arc::new(Semaphore::new(SIGN_INS_AT_ONCE)),
            sign_ins_counted: PerMinute::new(SIGN_INS),
            issuer: access::Issuer::default(),
            looks: looks(),
            reads: reads(),
            event_looks: looks(),
            event_reads: reads(),
            action_started: Notify::new(),
            event_streams: Arc::new(Semaphore::new(options.event_streams)),
            lists_at_once: Semaphore::new(create::LISTS_AT_ONCE),
            readings: Readings::default(),
            frozen: Mutex::default(),
            creates: CreateBatcher::start(store(), &critical, &tasks, closing.clone()),
            commits: CommitBatcher::start(store(), &critical, &tasks, closing.clone()),
            completions: CompletionFeed::start(store(), &critical, &tasks, closing.clone()),
            dispatcher: DispatcherHandle::start(&backend, &critical, &tasks),
            member: ids.member(),
            started_on: backend.store.now(),
            metrics,
            tally,
            leaving: CancellationToken::new(),
            draining: CancellationToken::new(),
            backend,
            bypass,
            formats: WrittenFormats::default(),
            ids,
            options,
            partitions,
            accounts: Accounts::default(),
            noted_queues: NotedQueues::default(),
            permits,
            breaker: LimiterBreaker::new(),
            tasks,
            closing,
            critical,
        };
        let manager = Self {
            shared: Arc::new(shared),
        };
        manager.drain_after_a_failure();
        manager.follow_keys();
        manager.follow_quotas();
        manager
    }

    /// Waits until a task has ended that the manager cannot do without: by a
    /// panic, or for no reason. This includes the tasks of maintenance, of
    /// [`Server`](crate::Server) and of [`AmqpIngress`](crate::AmqpIngress). The
    /// manager is not ready any more, and its partitions go to others; the program
    /// is to end. Pending for ever in a healthy manager. Cancel-safe.
    pub async fn failed(&self) -> TaskFailure {
        tokio::select! {
            failure = self.shared.critical.failed() => failure,
            failure = self.shared.backend.critical.failed() => failure,
        }
    }

    /// The tasks that this manager cannot do without.
    pub(crate) fn critical(&self) -> &CriticalTasks {
        &self.shared.critical
    }

    fn drain_after_a_failure(&self) {
        let manager = self.clone();
        self.shared.tasks.spawn(async move {
            tokio::select! {
                _ = manager.failed() => manager.drain(),
                () = manager.shared.closing.cancelled() => {}
            }
        });
    }

    fn follow_keys(&self) {
        if let Some(keys) = self.options().access.keys() {
            let following = access::follow(Arc::clone(keys));
            self.follow("keys", following);
            let asking = self.shared.issuer.clone().follow(Arc::clone(keys));
            self.follow("issuer", asking);
        }
    }

    fn follow_quotas(&self) {
        let quotas = Arc::clone(&self.options().quotas);
        if quotas.may_change() {
            self.follow("quotas", crate::quotas::follow(quotas));
        }
    }

    /// Runs a task that the manager cannot do without until it closes.
    fn follow(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.shared.closing.clone();
        let following = async move {
            closing.run_until_cancelled(task).await;
        };
        let critical = &self.shared.critical;
        let guarded = critical.guard(name, &self.shared.closing, following);
        self.shared.tasks.spawn(guarded);
    }

    /// The backend of this manager.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.shared.backend
    }

    /// The way round queues of the broker that do not work.
    #[must_use]
    pub fn bypass(&self) -> &Bypass {
        &self.shared.bypass
    }

    /// The formats that every live member reads: those that this manager writes.
    #[must_use]
    pub fn formats(&self) -> &WrittenFormats {
        &self.shared.formats
    }

    /// The manager's options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The manager's name among the members.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.shared.member
    }

    /// The manager's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The counts of this process that are not in the store's rollups yet.
    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Counts the end of an operation, if this event of the service has ended it.
    pub(crate) fn count_end(&self, before: &Header, operation: &Summary, event: EventKind) {
        let Summary {
            id, body, header, ..
        } = operation;
        let fault = service_fault(event, header);
        self.tally()
            .changed(*id, body, before, header, fault.as_ref());
    }

    /// Announces the end: `/readyz` says that the manager drains, so that a load balancer
    /// looks elsewhere. Everything is served as before until [`Self::drain`].
    pub fn leave(&self) {
        self.shared.leaving.cancel();
    }

    /// Returns true if the end is announced.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.shared.leaving.is_cancelled() || self.is_draining()
    }

    /// The issuer of tokens that the file with the keys names.
    pub(crate) fn issuer(&self) -> &access::Issuer {
        &self.shared.issuer
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> &Audit {
        &self.shared.audit
    }

    /// The limit of lines of the audit log about senders that are not known.
    pub(crate) fn denials_recorded(&self) -> &PerMinute {
        &self.shared.denials_recorded
    }

    /// Logs a denied request, unless there are too many.
    pub(crate) fn log_denial(&self, reason: &'static str, route: &str, certificate: Option<&str>) {
        match self.shared.denials_logged.next() {
            Told::No => tracing::debug!(reason, route, certificate, "a request was denied"),
            Told::Yes { left_out } => {
                if left_out > 0 {
                    tracing::info!(left_out, "denied requests were not logged");
                }
                tracing::info!(reason, route, certificate, "a request was denied");
            }
        }
    }

    /// Logs why a person was not signed in to the console, unless there are too many.
    pub(crate) fn log_no_sign_in(&self, reason: &str) {
        match self.shared.denials_logged.next() {
            Told::No => tracing::debug!(reason, "not signed in to the console"),
            Told::Yes { left_out } => {
                tracing::info!(reason, left_out, "not signed in to the console");
            }
        }
    }

    /// The turn of a person whose code is exchanged at the issuer. `None` if too many
    /// others have theirs, or have had theirs within the minute: anyone who reaches the
    /// address can bring codes, and the issuer must not be asked as often as they like.
    pub(crate) fn sign_in_turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.shared.sign_ins).try_acquire_owned().ok()?;
        match self.shared.sign_ins_counted.next() {
            Told::Yes { .. } => Some(turn),
            Told::No => None,
        }
    }

    /// Starts draining: the manager reports from now on that it takes nothing
    /// new ([`Self::is_draining`], `/readyz`), so that a load balancer looks
    /// elsewhere. Requests that arrive all the same are served; waits end at
    /// once.
    pub fn drain(&self) {
        self.shared.draining.cancel();
    }

    /// Returns true if [`Self::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }

    /// Ends the manager's tasks, after the dispatcher has published what it was
    /// given. Creates that come later are stored and left to the other
    /// managers.
    pub async fn close(&self) {
        self.drain();
        self.shared.closing.cancel();
        self.shared.dispatcher.close();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// The ends of operations, as they happen.
    pub(crate) fn completions(&self) -> &CompletionFeed {
        &self.shared.completions
    }

    /// The permit of a stream of events; `None` if there are as many as are allowed.
    pub(crate) fn event_stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.event_streams)
            .try_acquire_owned()
            .ok()
    }

    /// Resolves when [`Self::drain`] is called. Cancel-safe.
    pub(crate) async fn drained(&self) {
        self.shared.draining.cancelled().await;
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.shared.backend.store.as_ref()
    }

    /// The source of everything random: ids, the names of commits, and
    /// [`Self::jitter`].
    pub(crate) fn ids(&self) -> &Ids {
        &self.shared.ids
    }

    /// The signature of an author's commits in this process.
    pub(crate) fn signature<'a>(&'a self, author: &'a Author) -> Signature<'a> {
        Signature::new(self.ids(), author)
    }

    /// A random number from 0 up to, and without, 1: for a delay.
    pub(crate) fn jitter(&self) -> f64 {
        self.ids().source().f64()
    }

    /// Waits until an action on many operations was started by this manager, since this was
    /// last called. Cancel-safe.
    pub(crate) async fn action_started(&self) {
        self.shared.action_started.notified().await;
    }

    pub(crate) fn dispatcher(&self) -> &DispatcherHandle {
        &self.shared.dispatcher
    }

    pub(crate) fn started_on(&self) -> Timestamp {
        self.shared.started_on
    }
}
