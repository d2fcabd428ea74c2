//! The requests that wait for one operation each.
//!
//! A completion wakes the waiters of that operation: a thousand waiters cost
//! nothing while other operations complete.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drumline_protocol::OperationId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The waiters of one manager; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
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
    pub(super) fn register(&self, id: OperationId) -> Waiter {
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

    /// Wakes the waiters of an operation.
    pub(super) fn wake(&self, id: OperationId) {
        if let Some(waited) = self.lock().get(&id) {
            waited.notify.notify_waiters();
        }
    }

    /// Wakes all waiters, so that each looks for itself.
    pub(super) fn wake_all(&self) {
        for waited in self.lock().values() {
            waited.notify.notify_waiters();
        }
    }

    /// The operations that have waiters.
    pub(super) fn ids(&self) -> Vec<OperationId> {
        self.lock().keys().copied().collect()
    }

    /// The number of operations that have waiters.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OperationId, Waited>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Resolves when the operation may have completed since this future was
    /// first enabled. Cancel-safe.
    pub(crate) fn woken(&self) -> Notified<'_> {
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
