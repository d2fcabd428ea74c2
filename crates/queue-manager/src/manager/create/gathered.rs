//! Single creates of many callers, [gathered](drumline_backend::gather): one
//! round trip to the store carries whatever has come together during the one
//! before.
//!
//! They have nothing to do with each other: two creates whose order matters are
//! made one after the other, and so are never in one batch.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::gather::{Bounds, gather};
use drumline_backend::store::{self, Created, NewOperation, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Creates that may wait. Over it, callers wait in line.
const WAITING: usize = 1024;
/// Two batches keep the store busy while an answer travels. As large as what
/// shares a [partition](crate::manager::partitions), so that it is one script.
const BOUNDS: Bounds = Bounds {
    batch: 64,
    in_flight: 2,
};

/// How long a create stays with the others. A store that is away would let them
/// wait for all those before them, each batch for as long as the store's patience
/// lasts; alone, each waits for its own.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of data in one call to the store: what it is occupied with for some
/// milliseconds. A single one may have more.
const CALL_BYTES: usize = 8 << 20;

/// A way to the store for single creates.
#[derive(Debug)]
pub(in crate::manager) struct Gathered {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    new: NewOperation,
    answer: oneshot::Sender<store::Result<Created>>,
}

impl Gathered {
    /// Starts the task on `tasks`. It ends when `closing` is cancelled.
    pub(in crate::manager) fn start(
        store: Arc<dyn Store>,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let (requests, incoming) = mpsc::channel(WAITING);
        let batches = tasks.clone();
        tasks.spawn(async move {
            let gathering = gather(incoming, BOUNDS, |batch, place| {
                let store = Arc::clone(&store);
                batches.spawn(async move {
                    create(&*store, batch).await;
                    drop(place);
                });
            });
            closing.run_until_cancelled(gathering).await;
        });
        Self { requests }
    }

    /// [`Store::create`] of one. `None` when it takes too long, or the task has
    /// ended: it is open then whether it was created, and the caller is to try
    /// by itself. Dropping the future leaves that open, too.
    pub(in crate::manager) async fn create(
        &self,
        new: NewOperation,
    ) -> Option<store::Result<Created>> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(Request { new, answer }).await.ok()?;
            answered.await.ok()
        };
        timeout(PATIENCE, asked).await.ok()?
    }
}

/// Creates a batch, in as many calls as its size asks for.
async fn create(store: &dyn Store, mut batch: Vec<Request>) {
    while !batch.is_empty() {
        let rest = batch.split_off(fitting(&batch));
        call(store, batch).await;
        batch = rest;
    }
}

/// How many of a batch, from its start, one call may carry: at least one.
fn fitting(batch: &[Request]) -> usize {
    let mut bytes = 0_usize;
    let fit = batch.iter().take_while(|request| {
        bytes += request.new.body.data.as_ref().map_or(0, String::len);
        bytes <= CALL_BYTES
    });
    fit.count().max(1)
}

async fn call(store: &dyn Store, mut batch: Vec<Request>) {
    batch.retain(is_open);
    if batch.is_empty() {
        return;
    }
    let operations = batch.iter().map(|request| request.new.clone());
    match store.create(operations.collect()).await {
        Ok(created) => {
            for (request, created) in batch.into_iter().zip(created) {
                // Whoever asked may have gone away; that is their right.
                drop(request.answer.send(Ok(created)));
            }
        }
        Err(error) if batch.len() == 1 => {
            for request in batch {
                drop(request.answer.send(Err(error.clone())));
            }
        }
        // It may be the fault of one, and others may be stored: those find
        // themselves when they are tried alone.
        Err(_) => {
            for request in batch {
                Box::pin(call(store, vec![request])).await;
            }
        }
    }
}

/// Whether somebody waits for the answer.
fn is_open(request: &Request) -> bool {
    !request.answer.is_closed()
}
