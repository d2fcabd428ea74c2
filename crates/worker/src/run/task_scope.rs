//! Tasks with an owner, which can wait for its tasks and end them at once.

use std::future::Future;

use drumline_backend::CriticalTasks;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An owner of tasks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TaskScope {
    critical: CriticalTasks,
    tasks: TaskTracker,
    end: CancellationToken,
}

impl TaskScope {
    /// A scope without tasks. The panics of its tasks are reported to `critical`.
    pub(crate) fn new(critical: &CriticalTasks) -> Self {
        Self {
            critical: critical.clone(),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
        }
    }

    /// Starts a task that is dropped when the scope is ended.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        // A run is a future of some kilobytes. Without the box, every future around
        // it would hold it once or twice more, and each would copy it into its place.
        self.start(self.critical.contain(name, Box::pin(task)));
    }

    /// Starts a task that is to last until `stopping`. A return before that is
    /// reported, too.
    pub(crate) fn spawn_lasting(
        &self,
        name: &'static str,
        stopping: &CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.start(self.critical.guard(name, stopping, Box::pin(task)));
    }

    fn start(&self, task: impl Future<Output = Option<()>> + Send + 'static) {
        let end = self.end.clone();
        self.tasks.spawn(async move {
            // The failure is reported already.
            let _failed_or_ended = end.run_until_cancelled(task).await;
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
