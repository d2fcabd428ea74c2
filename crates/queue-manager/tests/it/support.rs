//! The common parts of the tests: a manager with a backend of its own, a client
//! for its HTTP face, and a worker by hand.

pub(crate) mod client;
pub(crate) mod faulty;
pub(crate) mod post;
pub(crate) mod sse;
pub(crate) mod worker;

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::{Backend, Ids};
use drumline_backend_embedded::{Clock, backend_with_clock};
use drumline_protocol::{Operation, OperationId, PartitionCount, Timestamp};
use drumline_queue_manager::{Options, QueueManager};
use tokio::time::Instant;

/// A clock that follows tokio's, which stands still while a task works.
#[derive(Debug)]
struct Paused {
    begun: Instant,
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000).saturating_add(self.begun.elapsed())
    }
}

/// An empty embedded backend with a few partitions, in paused time.
pub(crate) fn backend() -> Backend {
    let clock = Paused {
        begun: Instant::now(),
    };
    let partitions = PartitionCount::new(8).expect("8 is in range");
    backend_with_clock(partitions, Arc::new(clock))
}

/// A manager with the usual options.
pub(crate) fn manager(backend: &Backend) -> QueueManager {
    QueueManager::new(backend.clone(), Ids::random(), Options::default())
}

/// The operation as the store has it.
pub(crate) async fn stored(backend: &Backend, id: OperationId) -> Operation {
    let found = backend.store.get(&[id]).await.expect("the store is there");
    let found = found.into_iter().next().flatten();
    found.expect("the operation is there")
}

/// Waits until a condition holds; in paused time this costs none. Ten minutes
/// without it are a failure.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(600);
    while !holds().await {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
