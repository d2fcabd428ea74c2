//! Who waits for which operation.
//!
//! One task hears of completions and wakes those who wait for that operation;
//! a thousand waiters cost nothing while other operations complete. What it
//! does not hear of, waiters find by looking themselves now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use drumline_protocol::OperationId;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// The waiters of one manager; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters {
    by_id: Arc<Mutex<HashMap<OperationId, Arc<Notify>>>>,
}

/// One who waits. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Waiters,
    id: OperationId,
    notify: Arc<Notify>,
}

impl Waiters {
    /// From now on completions of `id` are heard. Look at the operation after
    /// this, and what completes in between is not missed.
    pub(crate) fn register(&self, id: OperationId) -> Waiter {
        let notify = Arc::clone(self.lock().entry(id).or_default());
        Waiter {
            waiters: self.clone(),
            id,
            notify,
        }
    }

    /// Lets everybody look for themselves.
    pub(crate) fn wake_all(&self) {
        for notify in self.lock().values() {
            notify.notify_waiters();
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
                    if let Some(notify) = self.lock().get(&id) {
                        notify.notify_waiters();
                    }
                }
                // We do not know which we have missed.
                Err(broadcast::error::RecvError::Lagged(_)) => self.wake_all(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OperationId, Arc<Notify>>> {
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
        // The map's handle and ours: nobody else waits.
        if Arc::strong_count(&self.notify) == 2 {
            by_id.remove(&self.id);
        }
    }
}
