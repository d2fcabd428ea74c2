//! The requests that wait for operations.
//!
//! One task receives completions and wakes the waiters of that operation; a
//! thousand waiters cost nothing while other operations complete. Completions
//! that the task does not receive, waiters find by looking themselves now and
//! then.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use drumline_protocol::OperationId;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// The waiters of one manager; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters {
    by_id: Arc<Mutex<HashMap<OperationId, Waited>>>,
}

/// An operation that has waiters. It is removed with the last of them.
#[derive(Debug, Default)]
struct Waited {
    notify: Arc<Notify>,
    /// Counted under the lock: the handles of `notify` are dropped outside.
    waiters: usize,
}

/// A registered waiter. It is unregistered when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Waiters,
    id: OperationId,
    notify: Arc<Notify>,
}

impl Waiters {
    /// Registers a waiter for `id`. A caller that looks at the operation after
    /// this misses no completion in between.
    pub(crate) fn register(&self, id: OperationId) -> Waiter {
        let mut by_id = self.lock();
        let waited = by_id.entry(id).or_default();
        waited.waiters += 1;
        let notify = Arc::clone(&waited.notify);
        drop(by_id);
        Waiter {
            waiters: self.clone(),
            id,
            notify,
        }
    }

    /// Wakes all waiters, so that each looks for itself.
    pub(crate) fn wake_all(&self) {
        for waited in self.lock().values() {
            waited.notify.notify_waiters();
        }
    }

    /// Wakes waiters until `closing`, or until the store is gone.
    pub(crate) async fn run(
        self,
        mut completions: broadcast::Receiver<OperationId>,
        closing: CancellationToken,
    ) {
        loop {
            let heard = tokio::select! {
                heard = completions.recv() => heard,
                () = closing.cancelled() => return,
            };
            match heard {
                Ok(id) => {
                    if let Some(waited) = self.lock().get(&id) {
                        waited.notify.notify_waiters();
                    }
                }
                // The missed completions are not known.
                Err(broadcast::error::RecvError::Lagged(_)) => self.wake_all(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OperationId, Waited>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Resolves when the operation may have completed since this future was
    /// first enabled. Cancel-safe.
    pub(crate) fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut by_id = self.waiters.lock();
        if let Entry::Occupied(mut entry) = by_id.entry(self.id) {
            entry.get_mut().waiters -= 1;
            if entry.get().waiters == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use drumline_protocol::{Partition, Timestamp};

    use super::*;

    #[test]
    fn waiters_that_leave_together_leave_nothing_behind() {
        const AT_ONCE: usize = 4;
        let waiters = Waiters::default();
        let together = Barrier::new(AT_ONCE);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    for round in 0..20_000 {
                        let now = Timestamp::from_millis(round);
                        let id = OperationId::new(now, Partition::new(0), [0; 16]);
                        let waiter = waiters.register(id);
                        together.wait();
                        drop(waiter);
                    }
                });
            }
        });
        assert_eq!(waiters.lock().len(), 0);
    }
}
