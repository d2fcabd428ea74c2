//! The ends of operations, for everything in this process that waits for them.
//!
//! ```text
//!  store ── completions ──▶ one task ─┬─ waiters of that operation   (`?wait=`)
//!    ▲                                │
//!    └─────── ended_since ────────────┴─ ring of the latest ─▶ subscriber, …  (events)
//!    ▲            (only while there are subscribers)               │
//!    └─────── ended_since, for subscribers older than the ring ────┘
//! ```
//!
//! Completions only signal when to look: a signal may be lost, and the store says
//! what has ended. So the operations of waiters are read now and then, and
//! subscribers read the order of completions.
//!
//! A subscriber holds a [`Cursor`] and asks for the ends behind it. Nothing is
//! sent to a subscriber, so a slow or idle one costs no memory and misses
//! nothing.
//!
//! Webhooks are no subscribers: a notice outlives the process, and is found in
//! the store by maintenance.

mod cursor;
mod ring;
mod subscriber;
mod waiters;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drumline_backend::CriticalTasks;
use drumline_backend::store::{self, Stamp, Store, Summary};
use drumline_protocol::{OperationId, Partition, State};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use cursor::{Cursor, InvalidCursor};
pub(crate) use ring::Completions;
pub(crate) use subscriber::Subscriber;

use ring::Ring;
use waiters::{Waiter, Waiters};

/// Ends that are read at once. The store has to look at some of every partition
/// for that: more ends cost it more, fewer make more round trips.
const READ: usize = 256;
/// The size from which an answer may have been cut, and the next is read at
/// once. Stores may cut well before [`READ`] if the ends lie in few partitions.
const FULL: usize = READ / 8;
/// The interval of looks without a signal. It bounds the delay if the signal
/// was lost, or the end was brought about by another process.
const LOOK: Duration = Duration::from_secs(1);
/// The time to wait for further ends after the first: a burst costs one look at
/// the store per interval.
const GATHER: Duration = Duration::from_millis(25);
/// The interval at which the operations that requests wait for are read again, in case
/// the signal of a completion did not reach this process. It bounds the delay of rare
/// losses; ordinary completions are signalled at once.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Operations in such a read, which has no data.
const LOOK_AGAIN_CHUNK: usize = 256;
/// Subscribers that read the order of completions from the store at the same time:
/// it costs the store a look at every partition.
const CATCHING_UP: usize = 2;
/// The rest after the store was unavailable.
const REST: Duration = Duration::from_secs(1);
/// The distance of a new cursor from now: clocks in milliseconds give the same
/// stamp to everything within one.
const MILLISECOND: u64 = 1000;

/// The end of one operation: its stamp gives the order.
type End = (Stamp, OperationId);

/// The ends that one manager sees; cheap to clone.
#[derive(Clone)]
pub(crate) struct CompletionFeed {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    waiters: Waiters,
    /// `None` while there are no subscribers.
    ring: Mutex<Option<Ring>>,
    /// Notified of each new subscriber.
    subscribed: Notify,
    /// Changes with each completion.
    signal: watch::Sender<()>,
    /// Changes whenever the ring may have more. Each subscriber has a receiver.
    looked: watch::Sender<()>,
    /// Permits of subscribers that catch up.
    catching_up: Semaphore,
}

impl CompletionFeed {
    /// Starts the task on `tasks`. It ends when `closing` is cancelled.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        critical: &CriticalTasks,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let completions = store.completions();
        let feed = Self::new(store);
        let task = feed.clone();
        let both = async move {
            tokio::select! {
                () = task.listen(completions) => {}
                () = task.fill_ring() => {}
                () = task.look_again() => {}
            }
        };
        let both = critical.guard("completion feed", &closing, both);
        tasks.spawn(async move {
            closing.run_until_cancelled(both).await;
        });
        feed
    }

    fn new(store: Arc<dyn Store>) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                waiters: Waiters::default(),
                ring: Mutex::default(),
                subscribed: Notify::new(),
                signal: watch::Sender::new(()),
                looked: watch::Sender::new(()),
                catching_up: Semaphore::new(CATCHING_UP),
            }),
        }
    }

    /// Registers a waiter for an operation. A caller that looks at the operation
    /// after this misses no completion in between.
    pub(crate) fn waiter(&self, id: OperationId) -> Waiter {
        self.shared.waiters.register(id)
    }

    /// Subscribes to the ends behind a cursor; from now on if none is given.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn subscribe(&self, cursor: Option<Cursor>) -> store::Result<Subscriber> {
        let cursor = match cursor {
            Some(cursor) => cursor,
            None => Cursor::behind(now(self.store()).await?),
        };
        let subscriber = Subscriber::new(self.clone(), self.shared.looked.subscribe(), cursor);
        self.shared.subscribed.notify_one();
        Ok(subscriber)
    }

    /// Passes completions on to those that wait for them, until the store is
    /// gone.
    async fn listen(&self, mut completions: broadcast::Receiver<OperationId>) {
        loop {
            match completions.recv().await {
                Ok(id) => self.shared.waiters.wake(id),
                // The missed completions are not known.
                Err(RecvError::Lagged(_)) => self.shared.waiters.wake_all(),
                Err(RecvError::Closed) => return,
            }
            self.shared.signal.send_replace(());
        }
    }

    /// Wakes the waiters of operations whose end was not signalled. One read serves
    /// all waiters of an operation.
    async fn look_again(&self) {
        loop {
            sleep(LOOK_AGAIN).await;
            for ids in self.shared.waiters.ids().chunks(LOOK_AGAIN_CHUNK) {
                match self.store().summaries(ids).await {
                    Ok(found) => {
                        let is_over = |found: &Option<Summary>| {
                            found
                                .as_ref()
                                .is_none_or(|one| one.header.status.state() == State::Completed)
                        };
                        let over = ids.iter().zip(&found).filter(|(_, found)| is_over(found));
                        over.for_each(|(id, _)| self.shared.waiters.wake(*id));
                    }
                    // One of them cannot be decoded: each waiter finds out by itself.
                    Err(store::Error::Corrupt(_)) => {
                        ids.iter().for_each(|id| self.shared.waiters.wake(*id));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "operations that requests wait for were not read");
                        break;
                    }
                }
            }
        }
    }

    /// Keeps the ring up to date while there are subscribers.
    async fn fill_ring(&self) {
        let mut signal = self.shared.signal.subscribe();
        loop {
            if self.shared.looked.receiver_count() == 0 {
                *self.ring() = None;
                self.shared.subscribed.notified().await;
                signal.mark_unchanged();
                continue;
            }
            let read = match self.look().await {
                Ok(read) => read,
                Err(error) => {
                    tracing::debug!(%error, "completions could not be read");
                    *self.ring() = None;
                    sleep(REST).await;
                    0
                }
            };
            self.shared.looked.send_replace(());
            if read < FULL && timeout(LOOK, signal.changed()).await.is_ok() {
                sleep(GATHER).await;
                signal.mark_unchanged();
            }
        }
    }

    /// Reads what has ended since the last look, and returns how much that was.
    async fn look(&self) -> store::Result<usize> {
        let until = self.ring().as_ref().map(Ring::until);
        let Some(until) = until else {
            let start = now(self.store()).await?;
            *self.ring() = Some(Ring::new(start));
            return Ok(0);
        };
        let (entries, until) = read(self.store(), until, READ).await?;
        let count = entries.len();
        if let Some(ring) = self.ring().as_mut() {
            ring.extend(entries, until);
        }
        Ok(count)
    }

    fn store(&self) -> &dyn Store {
        self.shared.store.as_ref()
    }

    /// Locks the ring, for a moment and never across an await.
    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        let ring = self.shared.ring.lock();
        ring.unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for CompletionFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompletionFeed").finish_non_exhaustive()
    }
}

/// Reads the ends behind a stamp, up to another; in order, also if the stamps
/// are the same.
async fn read(store: &dyn Store, after: Stamp, limit: usize) -> store::Result<(Vec<End>, Stamp)> {
    let store::Ended { mut entries, until } = store.ended_since(after, limit).await?;
    entries.sort_unstable();
    Ok((entries, until))
}

/// The stamp of now, by the store's own clock.
///
/// The store is asked once. One partition may be ahead of the others, by a
/// clock that was set back, and with this stamp no end will be put before the
/// cursor.
async fn now(store: &dyn Store) -> store::Result<Stamp> {
    let Stamp(now) = store.stamp(Partition::new(0)).await?;
    let start = Stamp(now.saturating_sub(MILLISECOND));
    read(store, start, 1).await?;
    Ok(start)
}

#[cfg(test)]
mod tests;
