//! The publisher of operations that this worker has stored or promoted.
//!
//! Every such operation is in the outbox already, so nothing is lost if
//! publishing fails: the relay of a queue manager does it later.

use std::sync::{Mutex, MutexGuard, PoisonError};

use drumline_backend::dispatch::Dispatcher;
use drumline_backend::store::{Promoted, Stamp};
use drumline_protocol::message::Offer;

/// A dispatcher that is given up when the worker ends.
pub(crate) struct Publisher(Mutex<Option<Dispatcher>>);

impl Publisher {
    pub(crate) const fn new(dispatcher: Dispatcher) -> Self {
        Self(Mutex::new(Some(dispatcher)))
    }

    fn dispatcher(&self) -> MutexGuard<'_, Option<Dispatcher>> {
        // Each change is a single call that leaves the option whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a promoted operation that this worker does not run itself.
    /// Does not wait for the broker.
    pub(crate) fn hand_on(&self, promoted: &Promoted) {
        if let Some(dispatcher) = &*self.dispatcher() {
            dispatcher.enqueue(promoted);
        }
    }

    /// Publishes operations that were just stored, and waits for the broker.
    pub(crate) async fn announce(&self, offers: Vec<(Offer, Stamp)>) {
        let Some(dispatcher) = self.dispatcher().clone() else {
            return;
        };
        let count = offers.len();
        let published = dispatcher.publish_all(offers).await;
        let left = published.iter().filter(|answer| answer.is_err()).count();
        if left > 0 {
            tracing::debug!(left, count, "stored, and left to the relay");
        }
    }

    /// Lets the dispatcher end once it has published its backlog.
    pub(crate) fn close(&self) {
        drop(self.dispatcher().take());
    }
}
