//! Single creates of many callers, [gathered](drumline_backend::batcher): a
//! round trip to the store carries all creates that arrived during the previous
//! one.
//!
//! The creates are independent of each other: two creates whose order matters
//! are made one after the other, and so are never in one batch.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::CriticalTasks;
use drumline_backend::batcher::{self, Batcher, Bounds};
use drumline_backend::store::{self, Created, NewOperation, Store};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::gathering::gather;

/// Two batches keep the store busy while an answer travels. A batch is as large
/// as a run that shares a [partition](crate::service::partitions), so that it
/// is one script.
const BOUNDS: Bounds = Bounds {
    waiting: 1024,
    batch: 64,
    in_flight: 2,
};

/// The batches under way of a store that [shares writes](Store::shares_writes).
const SHARED_IN_FLIGHT: usize = 64;

/// The time that a create waits for its batch. While the store is unavailable, a
/// create would wait for all batches before it, each for as long as the store's
/// timeout lasts. Alone, it waits for its own call only.
const BATCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of data in one call to the store, which occupy it for some
/// milliseconds. A single create may have more.
const CALL_BYTES: usize = 8 << 20;

/// The handle of the batcher.
#[derive(Debug)]
pub(in crate::service) struct CreateBatcher {
    batcher: Batcher<NewOperation, store::Result<Created>>,
}

type Request = batcher::Request<NewOperation, store::Result<Created>>;

impl CreateBatcher {
    /// Starts the task on `tasks`. It ends when `closing` is cancelled.
    pub(in crate::service) fn start(
        store: Arc<dyn Store>,
        critical: &CriticalTasks,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let bounds = BOUNDS.sharing_writes(&*store, SHARED_IN_FLIGHT);
        let perform = move |batch| {
            let store = Arc::clone(&store);
            async move { create(&*store, batch).await }
        };
        Self {
            batcher: gather("creates", bounds, critical, tasks, closing, perform),
        }
    }

    /// [`Store::create`] of one operation. Returns `None` when it takes too
    /// long, or the task has ended. The operation may or may not have been
    /// created then, and the caller is to try by itself; the same holds if the
    /// future is dropped.
    pub(in crate::service) async fn create(
        &self,
        new: NewOperation,
    ) -> Option<store::Result<Created>> {
        timeout(BATCH_TIMEOUT, self.batcher.ask(new)).await.ok()?
    }
}

/// Creates a batch, in as many calls as its size needs.
async fn create(store: &dyn Store, mut batch: Vec<Request>) {
    while !batch.is_empty() {
        let rest = batch.split_off(fitting(&batch));
        call(store, batch).await;
        batch = rest;
    }
}

/// The number of requests that one call may carry, from the start of a batch:
/// at least one.
fn fitting(batch: &[Request]) -> usize {
    let mut bytes = 0_usize;
    let fit = batch.iter().take_while(|request| {
        bytes += request.item.body.data.as_ref().map_or(0, String::len);
        bytes <= CALL_BYTES
    });
    fit.count().max(1)
}

async fn call(store: &dyn Store, mut batch: Vec<Request>) {
    batch.retain(|request| !request.is_abandoned());
    if batch.is_empty() {
        return;
    }
    let operations = batch.iter().map(|request| request.item.clone());
    match store.create(operations.collect()).await {
        Ok(created) => {
            for (request, created) in batch.into_iter().zip(created) {
                request.answer(Ok(created));
            }
        }
        Err(error) if batch.len() == 1 => {
            for request in batch {
                request.answer(Err(error.clone()));
            }
        }
        // One create may be at fault, and others may be stored. Each is tried
        // alone.
        Err(_) => {
            for request in batch {
                Box::pin(call(store, vec![request])).await;
            }
        }
    }
}
