//! The baseline: the speed of the bare libraries on this machine and these
//! servers.
//!
//! ```text
//! feeders ─ store: create ─ publish + confirm ─▶ quorum queue ─▶ consume
//!    ▲                                                              │
//!    └── room ◀── store: complete ◀── acknowledge ◀── store: claim ─┘
//! ```
//!
//! Per operation one persistent, mandatory message of 512 bytes and three
//! small steps of the store that do about the work of a create, a claim and a
//! completion, without a line of Drumline. Everything is batched as a reasonable
//! client batches: a batch is everything that has come together while the last
//! one was on its way.
//!
//! The steps themselves are the adapters': [`drumline_backend::baseline`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drumline_backend::baseline::{
    BaselineBroker, BaselineConsumer, BaselinePublisher, BaselineStore,
};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Operations in a batch at most.
pub(crate) const BATCH: usize = 256;
/// Feeders, each with one batch on its way: enough to keep the servers busy
/// during a round trip.
const FEEDERS: usize = 4;
/// Batches that the consuming side works on at the same time.
const WORKERS: usize = 4;
/// Operations between create and completion at most.
const OUTSTANDING: usize = 4096;

/// Both servers, without Drumline.
pub struct Baseline {
    pub(crate) store: Arc<dyn BaselineStore>,
    pub(crate) broker: Box<dyn BaselineBroker>,
    /// The next operation's number; a later round goes on behind the first.
    pub(crate) next: Arc<AtomicU64>,
}

/// The shared state of one round's tasks.
struct Round {
    end: Instant,
    next: Arc<AtomicU64>,
    completed: AtomicU64,
    room: Semaphore,
    /// Notified at each completion, for the task that waits for the last.
    progress: Notify,
}

impl fmt::Debug for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Baseline").finish_non_exhaustive()
    }
}

impl Baseline {
    /// Makes a baseline of a store and a broker.
    #[must_use]
    pub fn new(store: impl BaselineStore + 'static, broker: impl BaselineBroker + 'static) -> Self {
        Self {
            store: Arc::new(store),
            broker: Box::new(broker),
            next: Arc::default(),
        }
    }

    /// Operations per second, over one round of this length and its tail.
    pub(crate) async fn round(&self, length: Duration) -> anyhow::Result<f64> {
        let start = Instant::now();
        let round = Arc::new(Round {
            end: start + length,
            next: Arc::clone(&self.next),
            completed: AtomicU64::new(0),
            room: Semaphore::new(OUTSTANDING),
            progress: Notify::new(),
        });
        let mut feeders = JoinSet::new();
        for _ in 0..FEEDERS {
            let feeder = Feeder {
                publisher: self.broker.publisher().await?,
                store: Arc::clone(&self.store),
                round: Arc::clone(&round),
            };
            feeders.spawn(feeder.run());
        }
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(work(
                self.broker.consumer().await?,
                Arc::clone(&self.store),
                Arc::clone(&round),
            ));
        }
        let mut fed = 0;
        while let Some(feeder) = feeders.join_next().await {
            fed += feeder??;
        }
        let all = async {
            loop {
                let progress = round.progress.notified();
                if round.completed.load(Ordering::Acquire) >= fed {
                    return;
                }
                progress.await;
            }
        };
        tokio::select! {
            () = all => {}
            Some(worker) = workers.join_next() => worker??,
        }
        let took = start.elapsed();
        workers.shutdown().await;
        Ok(crate::rate(fed, took))
    }

    /// Removes the queue, and disconnects. Records go with the namespace.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        Ok(self.broker.close().await?)
    }
}

/// Creates and publishes; one publisher belongs to one feeder.
struct Feeder {
    publisher: Box<dyn BaselinePublisher>,
    store: Arc<dyn BaselineStore>,
    round: Arc<Round>,
}

impl Feeder {
    async fn run(self) -> anyhow::Result<u64> {
        let mut fed = 0;
        while Instant::now() < self.round.end {
            let batch = self.room().await?;
            let first = self.round.next.fetch_add(batch, Ordering::Relaxed);
            let numbers: Vec<u64> = (first..first + batch).collect();
            self.store.create(&numbers).await?;
            self.publisher.publish(&numbers).await?;
            fed += batch;
        }
        Ok(fed)
    }

    /// Takes the room that there is; waits for the first place only.
    async fn room(&self) -> anyhow::Result<u64> {
        self.round.room.acquire().await?.forget();
        let mut taken = 1;
        while taken < BATCH as u64
            && let Ok(permit) = self.round.room.try_acquire()
        {
            permit.forget();
            taken += 1;
        }
        Ok(taken)
    }
}

/// Claims, acknowledges and completes deliveries, until the consumer ends.
async fn work(
    mut consumer: Box<dyn BaselineConsumer>,
    store: Arc<dyn BaselineStore>,
    round: Arc<Round>,
) -> anyhow::Result<()> {
    loop {
        let batch = consumer.next(BATCH).await?;
        store.claim(&batch.numbers).await?;
        batch.receipt.acknowledge().await?;
        store.complete(&batch.numbers).await?;
        round.room.add_permits(batch.numbers.len());
        let completed = batch.numbers.len() as u64;
        round.completed.fetch_add(completed, Ordering::AcqRel);
        round.progress.notify_one();
    }
}
