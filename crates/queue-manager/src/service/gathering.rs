//! The tasks of requests that are [gathered](drumline_backend::batcher).

use std::future::Future;

use drumline_backend::CriticalTasks;
use drumline_backend::batcher::{Batcher, Bounds, Request};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts a batcher, and `perform` on a task of its own for each batch. The batcher ends when
/// `closing` is cancelled, and is critical until then. What is under way comes to its end.
pub(super) fn gather<T, A, F>(
    name: &'static str,
    bounds: Bounds,
    critical: &CriticalTasks,
    tasks: &TaskTracker,
    closing: CancellationToken,
    perform: impl Fn(Vec<Request<T, A>>) -> F + Send + 'static,
) -> Batcher<T, A>
where
    T: Send + 'static,
    A: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let batches = tasks.clone();
    let (batcher, run) = Batcher::new(bounds, move |batch, permit| {
        let performed = perform(batch);
        batches.spawn(async move {
            performed.await;
            drop(permit);
        });
    });
    let run = critical.guard(name, &closing, run);
    tasks.spawn(async move {
        closing.run_until_cancelled(run).await;
    });
    batcher
}
