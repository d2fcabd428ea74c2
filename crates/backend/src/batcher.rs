//! Many callers, few round trips: the requests of many callers in batches, and
//! an answer to each.
//!
//! ```text
//! ask() ─┐                        ┌─ batch ─ … ─ answers
//! ask() ─┼─ bounded queue ─ task ─┼─ batch ─ … ─ answers
//! ask() ─┘                        └─ as many at a time as there are permits
//! ```
//!
//! No request waits for company: a lone request is a batch at once. While all
//! permits are taken, new requests gather into the next batch; so batches grow
//! with the load, and no time to wait has to be configured.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::store::Store;

/// The bounds of a batcher.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most requests that may wait for a batch. Beyond it, callers wait.
    pub waiting: usize,
    /// The most requests in a batch.
    pub batch: usize,
    /// The most batches under way at the same time.
    pub in_flight: usize,
}

impl Bounds {
    /// These bounds, with so many batches under way if the store
    /// [shares writes](Store::shares_writes): what comes while the disk is busy is to be
    /// in its next write, and not in the one after that.
    #[must_use]
    pub fn sharing_writes(self, store: &dyn Store, in_flight: usize) -> Self {
        match store.shares_writes() {
            true => Self { in_flight, ..self },
            false => self,
        }
    }
}

/// The permit of a batch that is under way. When it is dropped, the next batch
/// may start.
#[derive(Debug)]
pub struct BatchPermit {
    _permit: OwnedSemaphorePermit,
}

/// A request in a batch.
#[derive(Debug)]
pub struct Request<T, A> {
    /// The item that the caller handed over.
    pub item: T,
    /// `None`: the caller wants no answer.
    caller: Option<oneshot::Sender<A>>,
}

impl<T, A> Request<T, A> {
    /// Returns true if the caller has gone: it wanted an answer, and does not
    /// wait for it any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.caller.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Returns true if the caller wanted an answer.
    #[must_use]
    pub const fn wants_answer(&self) -> bool {
        self.caller.is_some()
    }

    /// Answers the caller, which is free to have gone.
    pub fn answer(self, answer: A) {
        if let Some(caller) = self.caller {
            drop(caller.send(answer));
        }
    }
}

/// A handle for callers; cheap to clone. The batcher ends when all handles are
/// gone, after the batches of all requests were started.
#[derive(Debug)]
pub struct Batcher<T, A> {
    requests: mpsc::Sender<Request<T, A>>,
}

// Derived, it would ask the same of items and answers.
impl<T, A> Clone for Batcher<T, A> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
        }
    }
}

impl<T, A> Batcher<T, A> {
    /// Makes a batcher, and the future that makes the batches, which is to run
    /// on a task. `start` is given each batch, never an empty one, and must
    /// handle the batch on a task of its own.
    ///
    /// Dropping the future loses the requests in the queue, whose callers get
    /// no answer, and no batch.
    pub fn new(
        bounds: Bounds,
        start: impl FnMut(Vec<Request<T, A>>, BatchPermit),
    ) -> (Self, impl Future<Output = ()>) {
        let (requests, incoming) = mpsc::channel(bounds.waiting);
        (Self { requests }, run(incoming, bounds, start))
    }

    /// Hands an item over, and waits for the answer to it. `None` if the
    /// batcher has ended. If the future is dropped, the item may still be
    /// handled.
    pub async fn ask(&self, item: T) -> Option<A> {
        self.send(item).await.await.ok()
    }

    /// Hands an item over; the answer arrives at the receiver. The receiver
    /// fails if the batcher has ended.
    pub async fn send(&self, item: T) -> oneshot::Receiver<A> {
        let (caller, answered) = oneshot::channel();
        let request = Request {
            item,
            caller: Some(caller),
        };
        // A request that comes too late is dropped here, and its answer with
        // it: the receiver fails.
        drop(self.requests.send(request).await);
        answered
    }

    /// Hands an item over without waiting, and wants no answer. Returns `false`
    /// if there is no room now, or the batcher has ended.
    #[must_use]
    pub fn try_tell(&self, item: T) -> bool {
        let request = Request { item, caller: None };
        self.requests.try_send(request).is_ok()
    }
}

/// Makes batches until all handles are gone.
async fn run<R>(
    mut incoming: mpsc::Receiver<R>,
    bounds: Bounds,
    mut start: impl FnMut(Vec<R>, BatchPermit),
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

    const BOUNDS: Bounds = Bounds {
        waiting: 16,
        batch: 3,
        in_flight: 1,
    };

    /// A batcher whose batches arrive at the receiver.
    #[expect(clippy::type_complexity, reason = "said once, and only here")]
    fn batcher(
        tasks: &mut JoinSet<()>,
    ) -> (
        Batcher<u8, u8>,
        mpsc::UnboundedReceiver<(Vec<Request<u8, u8>>, BatchPermit)>,
    ) {
        let (started, batches) = mpsc::unbounded_channel();
        let (batcher, run) = Batcher::new(BOUNDS, move |batch, permit| {
            started.send((batch, permit)).unwrap();
        });
        tasks.spawn(run);
        (batcher, batches)
    }

    fn items(batch: &[Request<u8, u8>]) -> Vec<u8> {
        batch.iter().map(|request| request.item).collect()
    }

    #[tokio::test]
    async fn a_lone_request_goes_at_once_and_what_comes_meanwhile_goes_together() {
        let mut tasks = JoinSet::new();
        let (batcher, mut batches) = batcher(&mut tasks);
        assert!(batcher.try_tell(1));
        let (first, permit) = batches.recv().await.unwrap();
        assert_eq!(items(&first), [1]);
        assert!(first.iter().all(|request| !request.wants_answer()));
        for number in 2..=5 {
            assert!(batcher.try_tell(number));
        }
        assert!(batches.try_recv().is_err(), "there is no permit");
        drop(permit);
        let (second, permit) = batches.recv().await.unwrap();
        assert_eq!(items(&second), [2, 3, 4], "as many as a batch may have");
        drop((batcher, permit));
        let (last, permit) = batches.recv().await.unwrap();
        assert_eq!(items(&last), [5], "also after the handles are gone");
        drop(permit);
        tasks.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn each_caller_gets_its_own_answer() {
        let mut tasks = JoinSet::new();
        let (batcher, mut batches) = batcher(&mut tasks);
        let (one, two) = (batcher.send(1).await, batcher.send(2).await);
        drop(batcher.send(3).await);
        let mut answered = 0;
        while answered < 3 {
            let (batch, _permit) = batches.recv().await.unwrap();
            for request in batch {
                assert!(request.wants_answer());
                assert_eq!(request.is_abandoned(), request.item == 3);
                let item = request.item;
                request.answer(item * 10);
                answered += 1;
            }
        }
        assert_eq!((one.await, two.await), (Ok(10), Ok(20)));
    }

    #[tokio::test]
    async fn a_caller_waits_for_its_answer() {
        let mut tasks = JoinSet::new();
        let (batcher, mut batches) = batcher(&mut tasks);
        tasks.spawn(async move {
            while let Some((batch, _permit)) = batches.recv().await {
                for request in batch {
                    let item = request.item;
                    request.answer(item * 10);
                }
            }
        });
        assert_eq!(batcher.ask(1).await, Some(10));
    }

    #[tokio::test]
    async fn a_batcher_that_has_ended_answers_nothing() {
        let mut tasks = JoinSet::new();
        let (batcher, _batches) = batcher(&mut tasks);
        tasks.shutdown().await;
        assert_eq!(batcher.ask(1).await, None);
        assert!(!batcher.try_tell(2));
    }
}
