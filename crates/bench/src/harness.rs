//! The harness of a measurement: a queue manager with its maintenance, workers
//! if wanted, and a count of completions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drumline_backend::Ids;
use drumline_protocol::OperationId;
use drumline_queue_manager::{Actor, Maintenance, Options, QueueManager};
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::plan::Plan;
use crate::target::{BackendHandle, Disconnect, Target};
use crate::workers::{HELD, Workers};

/// Operations that may be created and not Completed. Enough to keep every part
/// busy, few enough that the last are through soon after the round.
const OUTSTANDING: usize = 8192;
/// Starts that the latency measurement can note in one run.
const STARTS: usize = 1 << 20;

/// A manager, its maintenance, and workers if wanted.
pub(crate) struct Harness {
    pub(crate) manager: QueueManager,
    pub(crate) caller: Actor,
    pub(crate) count: Arc<Count>,
    pub(crate) starts: Arc<Starts>,
    maintenance: Maintenance,
    disconnect: Disconnect,
    workers: Option<Workers>,
    _counting: JoinSet<()>,
}

/// The completions.
pub(crate) struct Count {
    completed: AtomicU64,
    /// Room for operations that are not Completed.
    pub(crate) room: Semaphore,
    /// Notified at each completion.
    pub(crate) progress: Notify,
}

impl Count {
    /// The number so far.
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Acquire)
    }

    fn add(&self, count: u64) {
        self.completed.fetch_add(count, Ordering::AcqRel);
        self.room.add_permits(usize::try_from(count).unwrap_or(0));
        self.progress.notify_one();
    }
}

/// The times at which handlers were started: microseconds after `epoch`, by the
/// number that is the operation's data.
pub(crate) struct Starts {
    pub(crate) epoch: Instant,
    at: Vec<AtomicU64>,
    pub(crate) noted: AtomicU64,
    /// The starts of operations that a pause held.
    pub(crate) of_held: AtomicU64,
    /// Notified at each of them.
    pub(crate) held_go_on: Notify,
}

impl Starts {
    fn new() -> Self {
        Self {
            epoch: Instant::now(),
            at: (0..STARTS).map(|_| AtomicU64::new(0)).collect(),
            noted: AtomicU64::new(0),
            of_held: AtomicU64::new(0),
            held_go_on: Notify::new(),
        }
    }

    /// Microseconds since the epoch.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&self, number: usize) {
        if let Some(slot) = self.at.get(number) {
            slot.store(self.now(), Ordering::Release);
            self.noted.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn note_held(&self) {
        self.of_held.fetch_add(1, Ordering::AcqRel);
        self.held_go_on.notify_one();
    }

    /// The time at which the handler of this number was started, if it was.
    pub(crate) fn of(&self, number: usize) -> Option<u64> {
        let at = self.at.get(number)?.load(Ordering::Acquire);
        (at != 0).then_some(at)
    }
}

impl Harness {
    /// A harness without workers.
    pub(crate) async fn without_workers(target: &dyn Target) -> anyhow::Result<Self> {
        Self::new(target, Arc::new(Starts::new())).await
    }

    /// A harness with workers as the plan wants them.
    pub(crate) async fn with_workers(target: &dyn Target, plan: &Plan) -> anyhow::Result<Self> {
        let mut harness = Self::without_workers(target).await?;
        let workers = if plan.processes == 0 {
            Workers::here(target, plan, |_context| {}).await?
        } else {
            Workers::elsewhere(target, plan).await?
        };
        harness.workers = Some(workers);
        Ok(harness)
    }

    /// A harness with a worker in this process that notes each start.
    pub(crate) async fn with_worker_here(target: &dyn Target, plan: &Plan) -> anyhow::Result<Self> {
        let starts = Arc::new(Starts::new());
        let noting = Arc::clone(&starts);
        let mut harness = Self::new(target, starts).await?;
        let workers = Workers::here(target, plan, move |context| {
            if context.operation().body.message_name == HELD {
                noting.note_held();
            } else if let Some(number) = context.data().and_then(|data| data.parse().ok()) {
                noting.note(number);
            }
        })
        .await?;
        harness.workers = Some(workers);
        Ok(harness)
    }

    /// A harness that hears of completions. Its workers come later: what they complete
    /// before is not heard of, if operations wait for them already.
    async fn new(target: &dyn Target, starts: Arc<Starts>) -> anyhow::Result<Self> {
        let BackendHandle {
            backend,
            leases: _,
            disconnect,
        } = target.connect("bench manager").await?;
        let manager = QueueManager::new(backend.clone(), Ids::random(), Options::default());
        let maintenance = Maintenance::start(&manager);
        let count = Arc::new(Count {
            completed: AtomicU64::new(0),
            room: Semaphore::new(OUTSTANDING),
            progress: Notify::new(),
        });
        let mut counting = JoinSet::new();
        counting.spawn(hear(backend.store.completions(), Arc::clone(&count)));
        Ok(Self {
            manager,
            caller: Actor::default(),
            count,
            starts,
            maintenance,
            disconnect,
            workers: None,
            _counting: counting,
        })
    }

    /// Ends everything in order.
    pub(crate) async fn take_down(self) {
        self.maintenance.stop().await;
        self.manager.close().await;
        if let Some(workers) = self.workers {
            workers.end().await;
        }
        self.disconnect.await;
    }
}

/// Counts completions. Completions that came too fast are counted all the same.
async fn hear(mut completions: broadcast::Receiver<OperationId>, count: Arc<Count>) {
    loop {
        match completions.recv().await {
            Ok(_) => count.add(1),
            Err(broadcast::error::RecvError::Lagged(missed)) => count.add(missed),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
