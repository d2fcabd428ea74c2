//! Outbox → broker.
//!
//! ```text
//! publish() ─┐           ┌─ batch ─ Broker::publish ─ answers ─┐
//! enqueue() ─┴─ batcher ─┼─ batch ─ …                          ├─ Store::remove_from_outbox
//!                        └─ …                                  ┘  now and then
//! ```
//!
//! No offer waits for company: a lone offer is published at once. While the
//! broker works on some batches, the offers behind them gather into the next
//! [batch](crate::batcher), so that a burst costs the broker few messages and
//! few confirms.
//!
//! Confirmed entries are removed from the outbox lazily; the relay looks
//! at them later than that. Most are claimed by then: the claim removes them as
//! well, and there is nothing left to write.
//!
//! Offers that fail stay in the outbox, and the relay of a queue manager
//! publishes them later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::OperationId;
use drumline_protocol::message::{Message, Offer, Route};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::batcher::{Batcher, Bounds, Request};
use crate::broker;
use crate::{Backend, CriticalTasks};

use crate::store::{Promoted, Stamp, Store};

/// The offers in one batch, as many as the broker confirms in about a
/// millisecond; and enough batches to keep it busy during a round trip, few
/// enough that they grow under load.
const BOUNDS: Bounds = Bounds {
    waiting: 4096,
    batch: 512,
    in_flight: 4,
};
/// Offers in one message. One worker gets a whole message, so a large one would
/// keep work from other workers; a small one costs the broker more.
const PER_MESSAGE: usize = 16;
/// The longest time that a confirm waits to be noted. The relay takes entries
/// that are a second old; a worker that has a free slot claims in some
/// milliseconds.
const NOTED_AFTER: Duration = Duration::from_millis(100);
/// Confirms that are noted at once.
const NOTED_AT_ONCE: usize = 512;
/// The most batches that may wait to be noted. Beyond it, publishing waits too.
const UNNOTED: usize = 64;

/// Entries of the outbox.
type Entries = Vec<(OperationId, Stamp)>;

/// The reason why an offer was not published. It is still in the outbox.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not take it.
    #[error(transparent)]
    Broker(Arc<broker::Error>),
    /// The dispatcher was stopped.
    #[error("the dispatcher has stopped")]
    Stopped,
}

/// A handle to the task; cheap to clone. The task ends when all handles are
/// gone, after it has published all the offers that it was given.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    batcher: Batcher<Entry, Result<(), Error>>,
}

/// An offer, and the stamp of its entry in the outbox.
type Entry = (Offer, Stamp);

impl Dispatcher {
    /// Starts the task on `tasks`. A panic is reported to `critical`.
    #[must_use]
    pub fn start(backend: Backend, critical: &CriticalTasks, tasks: &TaskTracker) -> Self {
        let (confirmed, unnoted) = mpsc::channel(UNNOTED);
        let noting = note(Arc::clone(&backend.store), unnoted);
        tasks.spawn(critical.contain("confirms", noting));
        let batches = tasks.clone();
        let (batcher, run) = Batcher::new(BOUNDS, move |batch, permit| {
            let (backend, confirmed) = (backend.clone(), confirmed.clone());
            batches.spawn(async move {
                let entries = publish(&backend, batch).await;
                if !entries.is_empty() && confirmed.send(entries).await.is_err() {
                    tracing::error!("nothing notes confirms");
                }
                drop(permit);
            });
        });
        tasks.spawn(critical.contain("dispatcher", run));
        Self { batcher }
    }

    /// Publishes an offer and waits until the broker has confirmed it. If the
    /// future is dropped, the offer may still be published.
    ///
    /// # Errors
    /// When the broker did not take the offer. It is still in the outbox.
    pub async fn publish(&self, offer: Offer, stamp: Stamp) -> Result<(), Error> {
        let answer = self.batcher.ask((offer, stamp)).await;
        answer.unwrap_or(Err(Error::Stopped))
    }

    /// Does the same as [`Self::publish`] for many offers: all are on their way
    /// before the first answer is waited for. The answers are in the order of
    /// the offers.
    pub async fn publish_all(&self, offers: Vec<(Offer, Stamp)>) -> Vec<Result<(), Error>> {
        let mut waiting = Vec::with_capacity(offers.len());
        for entry in offers {
            waiting.push(self.batcher.send(entry).await);
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for answered in waiting {
            answers.push(answered.await.unwrap_or(Err(Error::Stopped)));
        }
        answers
    }

    /// Publishes an operation soon, without waiting. If there is no room now,
    /// the relay publishes it.
    pub fn enqueue(&self, promoted: &Promoted) {
        let offer = promoted.operation.offer();
        if !self.batcher.try_tell((offer, promoted.stamp)) {
            tracing::debug!(id = %promoted.operation.id, "an offer is left to the relay");
        }
    }
}

/// Removes confirmed entries from the outbox.
async fn note(store: Arc<dyn Store>, mut confirmed: mpsc::Receiver<Entries>) {
    while let Some(mut entries) = confirmed.recv().await {
        let soon = Instant::now() + NOTED_AFTER;
        while entries.len() < NOTED_AT_ONCE
            && let Ok(Some(more)) = timeout_at(soon, confirmed.recv()).await
        {
            entries.extend(more);
        }
        // All waiting confirms go along: an entry that is noted too late has
        // been published once more by the relay.
        while let Ok(more) = confirmed.try_recv() {
            entries.extend(more);
        }
        if let Err(error) = store.remove_from_outbox(&entries).await {
            // The relay will publish them once more; the claim drops the
            // duplicates.
            tracing::debug!(%error, count = entries.len(), "confirms were not noted");
        }
    }
}

/// Publishes one batch, answers each request, and returns the confirmed
/// entries.
async fn publish(backend: &Backend, batch: Vec<Request<Entry, Result<(), Error>>>) -> Entries {
    let mut by_route: BTreeMap<Route, Vec<_>> = BTreeMap::new();
    for request in batch {
        by_route
            .entry(request.item.0.route())
            .or_default()
            .push(request);
    }
    let mut messages = Vec::new();
    let mut waiting = Vec::new();
    for (route, mut requests) in by_route {
        while !requests.is_empty() {
            let rest = requests.split_off(requests.len().min(PER_MESSAGE));
            let offers = requests.iter().map(|request| request.item.0.clone());
            messages.push((route.clone(), Message::Offers(offers.collect())));
            waiting.push(std::mem::replace(&mut requests, rest));
        }
    }
    let answers = backend.broker.publish(&messages).await;
    let mut confirmed = Entries::new();
    for (requests, answer) in waiting.into_iter().zip(answers) {
        let answer = answer.map_err(|error| Error::Broker(Arc::new(error)));
        for request in requests {
            let (offer, stamp) = &request.item;
            match &answer {
                Ok(()) => confirmed.push((offer.id, *stamp)),
                Err(error) if !request.wants_answer() => {
                    tracing::debug!(id = %offer.id, %error, "an offer is left to the relay");
                }
                Err(_) => {}
            }
            request.answer(answer.clone());
        }
    }
    confirmed
}
