//! Tasks with an owner, which can wait for its tasks and end them at once.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An owner of tasks. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskScope {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl TaskScope {
    /// Starts a task that is dropped when the scope is ended.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let end = self.end.clone();
        // A run is a future of some kilobytes. Without the box, every future around
        // it would hold it once or twice more.
        let task = Box::pin(task);
        self.tasks.spawn(async move {
            end.run_until_cancelled(task).await;
        });
    }

    /// Drops all tasks at once.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }

    /// Waits until no task is left. No task may be started after this call.
    /// Cancel-safe.
    pub(crate) async fn done(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The number of tasks.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }
}
