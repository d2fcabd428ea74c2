//! The harness of a measurement: a queue manager with its maintenance, workers
//! if wanted, and a count of completions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drumline_backend::Ids;
use drumline_protocol::OperationId;
use drumline_queue_manager::{Actor, Maintenance, Options, QueueManager};
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::crew::Crew;
use super::site::{Site, Way};
use crate::cli::tools::Bench;

/// Operations that may be created and not Completed. Enough to keep every part
/// busy, few enough that the last are through soon after the round.
const OUTSTANDING: usize = 8192;
/// Starts that the latency measurement can note in one run.
const STARTS: usize = 1 << 20;

/// A manager, its maintenance, and workers if wanted.
pub(super) struct Rig {
    pub(super) manager: QueueManager,
    pub(super) caller: Actor,
    pub(super) count: Arc<Count>,
    pub(super) starts: Arc<Starts>,
    maintenance: Maintenance,
    way: Way,
    crew: Option<Crew>,
    _counting: JoinSet<()>,
}

/// The completions.
pub(super) struct Count {
    completed: AtomicU64,
    /// Room for operations that are not Completed.
    pub(super) room: Semaphore,
    /// Notified at each completion.
    pub(super) progress: tokio::sync::Notify,
}

impl Count {
    /// The number so far.
    pub(super) fn completed(&self) -> u64 {
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
pub(super) struct Starts {
    pub(super) epoch: Instant,
    at: Vec<AtomicU64>,
    pub(super) noted: AtomicU64,
}

impl Starts {
    fn new() -> Self {
        Self {
            epoch: Instant::now(),
            at: (0..STARTS).map(|_| AtomicU64::new(0)).collect(),
            noted: AtomicU64::new(0),
        }
    }

    /// Microseconds since the epoch.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&self, number: usize) {
        if let Some(slot) = self.at.get(number) {
            slot.store(self.now(), Ordering::Release);
            self.noted.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The time at which the handler of this number was started, if it was.
    pub(super) fn of(&self, number: usize) -> Option<u64> {
        let at = self.at.get(number)?.load(Ordering::Acquire);
        (at != 0).then_some(at)
    }
}

impl Rig {
    /// A rig without workers.
    pub(super) async fn without_workers(site: &Site) -> anyhow::Result<Self> {
        Self::new(site, Arc::new(Starts::new()), None).await
    }

    /// A rig with workers as the flags want them.
    pub(super) async fn with_workers(site: &Site, bench: &Bench) -> anyhow::Result<Self> {
        let crew = if bench.processes == 0 {
            Crew::here(site, bench, |_context| {}).await?
        } else {
            Crew::elsewhere(site, bench).await?
        };
        Self::new(site, Arc::new(Starts::new()), Some(crew)).await
    }

    /// A rig with a worker in this process that notes each start.
    pub(super) async fn with_worker_here(site: &Site, bench: &Bench) -> anyhow::Result<Self> {
        let starts = Arc::new(Starts::new());
        let noting = Arc::clone(&starts);
        let crew = Crew::here(site, bench, move |context| {
            if let Some(number) = context.data().and_then(|data| data.parse().ok()) {
                noting.note(number);
            }
        })
        .await?;
        Self::new(site, starts, Some(crew)).await
    }

    async fn new(site: &Site, starts: Arc<Starts>, crew: Option<Crew>) -> anyhow::Result<Self> {
        let way = site.enter("bench manager").await?;
        let manager = QueueManager::new(way.backend.clone(), Ids::random(), Options::default());
        let maintenance = Maintenance::start(&manager);
        let count = Arc::new(Count {
            completed: AtomicU64::new(0),
            room: Semaphore::new(OUTSTANDING),
            progress: tokio::sync::Notify::new(),
        });
        let mut counting = JoinSet::new();
        counting.spawn(hear(way.backend.store.completions(), Arc::clone(&count)));
        Ok(Self {
            manager,
            caller: Actor::default(),
            count,
            starts,
            maintenance,
            way,
            crew,
            _counting: counting,
        })
    }

    /// Ends everything in order.
    pub(super) async fn take_down(self) {
        self.maintenance.stop().await;
        self.manager.close().await;
        if let Some(crew) = self.crew {
            crew.dismiss().await;
        }
        self.way.part().await;
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
