//! The handle of the dispatcher, which can be closed.
//!
//! The dispatcher's task ends when its last handle is dropped, and clones of a
//! manager may live on in servers and requests. So all of them share this
//! handle, and closing drops it.

use std::sync::{PoisonError, RwLock};

use drumline_backend::dispatch::{Dispatcher, Error};
use drumline_backend::store::{Done, Promoted, Stamp, Summary};
use drumline_backend::{Backend, CriticalTasks};
use drumline_protocol::Operation;
use drumline_protocol::message::Offer;
use tokio_util::task::TaskTracker;

/// The handle of the dispatcher: the way to the broker.
#[derive(Debug)]
pub(crate) struct DispatcherHandle {
    dispatcher: RwLock<Option<Dispatcher>>,
}

impl DispatcherHandle {
    /// Starts the dispatcher on `tasks`.
    pub(crate) fn start(backend: &Backend, critical: &CriticalTasks, tasks: &TaskTracker) -> Self {
        let dispatcher = Dispatcher::start(backend.clone(), critical, tasks);
        Self {
            dispatcher: RwLock::new(Some(dispatcher)),
        }
    }

    fn dispatcher(&self) -> Option<Dispatcher> {
        self.dispatcher
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Publishes an offer and waits for the broker.
    ///
    /// # Errors
    /// When the broker did not take it: the operation stays in the outbox,
    /// and the relay of some manager will publish it.
    pub(crate) async fn publish(&self, offer: Offer, stamp: Stamp) -> Result<(), Error> {
        match self.dispatcher() {
            Some(dispatcher) => dispatcher.publish(offer, stamp).await,
            None => Err(Error::Stopped),
        }
    }

    /// Publishes offers and waits for the broker; the answers in their order.
    pub(crate) async fn publish_all(&self, offers: Vec<(Offer, Stamp)>) -> Vec<Result<(), Error>> {
        match self.dispatcher() {
            Some(dispatcher) => dispatcher.publish_all(offers).await,
            None => offers.iter().map(|_offer| Err(Error::Stopped)).collect(),
        }
    }

    /// Publishes an operation soon; if the publish fails, the relay repeats it.
    pub(crate) fn enqueue(&self, promoted: &Promoted) {
        if let Some(dispatcher) = self.dispatcher() {
            dispatcher.enqueue(promoted);
        }
    }

    /// Publishes what a commit put into the outbox: the operation itself
    /// as it is after the commit, and the new head of its chain.
    pub(crate) fn enqueue_all(&self, operation: &Operation, done: &Done) {
        self.enqueue_summary(&Summary::of(operation), done);
    }

    /// Does the same as [`Self::enqueue_all`] for an operation whose summary was
    /// read.
    pub(crate) fn enqueue_summary(&self, operation: &Summary, done: &Done) {
        if let Some(stamp) = done.offer {
            self.enqueue(&Promoted::new(operation.clone(), stamp));
        }
        if let Some(promoted) = &done.promoted {
            self.enqueue(promoted);
        }
    }

    /// Lets the dispatcher end after what it has been given.
    pub(crate) fn close(&self) {
        drop(
            self.dispatcher
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}
