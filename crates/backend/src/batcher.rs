//! Many callers, few round trips.
//!
//! ```text
//! caller ─┐                        ┌─ batch ─ …
//! caller ─┼─ bounded queue ─ here ─┼─ batch ─ …
//! caller ─┘                        └─ as many at a time as there are permits
//! ```
//!
//! No request waits for company: a lone request is a batch at once. While all
//! permits are taken, new requests gather into the next batch; so batches grow
//! with the load, and no time to wait has to be configured.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The bounds of a batcher.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most requests in a batch.
    pub batch: usize,
    /// The most batches under way at the same time.
    pub in_flight: usize,
}

/// The permit of a batch that is under way. When it is dropped, the next batch
/// may start.
#[derive(Debug)]
pub struct BatchPermit {
    _permit: OwnedSemaphorePermit,
}

/// Makes batches until all senders are gone. `start` is given each batch, never
/// an empty one, and must handle the batch on a task of its own.
///
/// Dropping the future loses the requests in the queue, and no batch.
pub async fn run_batches<T>(
    mut incoming: mpsc::Receiver<T>,
    bounds: Bounds,
    mut start: impl FnMut(Vec<T>, BatchPermit),
) {
    let permits = Arc::new(Semaphore::new(bounds.in_flight));
    loop {
        // The permit first, then the batch: it grows while we wait.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            // The semaphore is never closed.
            return;
        };
        let mut batch = Vec::new();
        if incoming.recv_many(&mut batch, bounds.batch).await == 0 {
            return;
        }
        start(batch, BatchPermit { _permit: permit });
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
        gathering.spawn(run_batches(incoming, bounds, move |batch, permit| {
            started.send((batch, permit)).unwrap();
        }));
        requests.send(1).await.unwrap();
        let (first, permit) = batches.recv().await.unwrap();
        assert_eq!(first, [1]);
        for number in 2..=5 {
            requests.send(number).await.unwrap();
        }
        assert!(batches.try_recv().is_err(), "there is no permit");
        drop(permit);
        let (second, permit) = batches.recv().await.unwrap();
        assert_eq!(second, [2, 3, 4], "as many as a batch may have");
        drop((requests, permit));
        let (last, permit) = batches.recv().await.unwrap();
        assert_eq!(last, [5], "also after the senders are gone");
        drop(permit);
        gathering.join_next().await.unwrap().unwrap();
    }
}
