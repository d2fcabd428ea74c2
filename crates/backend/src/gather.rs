//! Many callers, few round trips.
//!
//! ```text
//! caller ─┐                        ┌─ batch ─ …
//! caller ─┼─ bounded queue ─ here ─┼─ batch ─ …
//! caller ─┘                        └─ as many at a time as there are places
//! ```
//!
//! Nothing waits for company: a lone request is a batch at once. While all
//! places are taken, what comes gathers into the next batch; so batches grow
//! with the load, and nobody has to choose a time to wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How much is gathered.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests in a batch, at most.
    pub batch: usize,
    /// Batches under way at the same time.
    pub in_flight: usize,
}

/// The place of a batch that is under way. The next one gets it when this is
/// dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Gathers until all senders are gone. `start` is given each batch, never an
/// empty one, and is to see to it on a task of its own.
///
/// Dropping the future loses what is in the queue, and no batch.
pub async fn gather<T>(
    mut incoming: mpsc::Receiver<T>,
    bounds: Bounds,
    mut start: impl FnMut(Vec<T>, Place),
) {
    let places = Arc::new(Semaphore::new(bounds.in_flight));
    loop {
        // The place first, the batch then: while we wait, the batch grows.
        let Ok(permit) = Arc::clone(&places).acquire_owned().await else {
            // Nobody closes it.
            return;
        };
        let mut batch = Vec::new();
        if incoming.recv_many(&mut batch, bounds.batch).await == 0 {
            return;
        }
        start(batch, Place { _permit: permit });
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn a_lone_request_goes_at_once_and_what_comes_meanwhile_goes_together() {
        let (requests, incoming) = mpsc::channel(16);
        let (started, mut batches) = mpsc::unbounded_channel();
        let bounds = Bounds {
            batch: 3,
            in_flight: 1,
        };
        let mut gathering = JoinSet::new();
        gathering.spawn(gather(incoming, bounds, move |batch, place| {
            started.send((batch, place)).unwrap();
        }));
        requests.send(1).await.unwrap();
        let (first, place) = batches.recv().await.unwrap();
        assert_eq!(first, [1]);
        for number in 2..=5 {
            requests.send(number).await.unwrap();
        }
        assert!(batches.try_recv().is_err(), "there is no place");
        drop(place);
        let (second, place) = batches.recv().await.unwrap();
        assert_eq!(second, [2, 3, 4], "as many as a batch may have");
        drop((requests, place));
        let (last, place) = batches.recv().await.unwrap();
        assert_eq!(last, [5], "also after the senders are gone");
        drop(place);
        gathering.join_next().await.unwrap().unwrap();
    }
}
