//! Tasks that a process cannot do without, and the report of their end.
//!
//! ```text
//! spawn(guard(name, stopping, task)) ── panic, or a return before `stopping` ──┐
//! spawn(contain(name, task)) ────────── panic ─────────────────────────────────┤
//!                                                                              ▼
//!                                             failed() ─→ the process ends, `run` fails
//! ```
//!
//! A runtime catches the panic of a task and goes on without the task. The process
//! would keep its heartbeats, its partitions and its lanes, and do nothing for
//! them. So the panic is caught here and reported. The owner of the process ends
//! it, and other members take its work over.
//!
//! This module ends nothing by itself: a program may contain a worker, and only
//! that program decides about its process.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The delay of the report of a task that has returned.
const CAUSE_FIRST: Duration = Duration::from_millis(100);

/// The end of a critical task, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {task:?} {end}; without it this process must not go on")]
pub struct TaskFailure {
    /// The name of the task.
    pub task: &'static str,
    /// The way in which it ended.
    pub end: TaskEnd,
}

/// The way in which a critical task has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskEnd {
    /// It panicked with this message.
    #[error("has panicked ({0})")]
    Panicked(String),
    /// It returned although nothing had asked it to.
    #[error("has ended unexpectedly")]
    Returned,
}

/// The critical tasks of one owner. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct CriticalTasks {
    failure: watch::Sender<Option<TaskFailure>>,
}

impl CriticalTasks {
    /// Wraps a task that lasts until `stopping` is cancelled. A panic is reported,
    /// and so is a return before that. Resolves to `None` after a panic.
    ///
    /// Dropping the future reports nothing: the owner has ended the task.
    pub fn guard<T, F: Future<Output = T>>(
        &self,
        name: &'static str,
        stopping: &CancellationToken,
        task: F,
    ) -> impl Future<Output = Option<T>> + use<T, F> {
        let stopping = stopping.clone();
        let task = self.contain(name, task);
        let own = self.clone();
        async move {
            let result = task.await;
            if result.is_some() && !stopping.is_cancelled() {
                // The panic of another task may have closed its channels. The cause
                // is to be reported first.
                tokio::time::sleep(CAUSE_FIRST).await;
                if !stopping.is_cancelled() {
                    own.report(name, TaskEnd::Returned);
                }
            }
            result
        }
    }

    /// Wraps a task that may end by itself. Only a panic is reported. Resolves to
    /// `None` after a panic.
    pub fn contain<T, F: Future<Output = T>>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = Option<T>> + use<T, F> {
        let own = self.clone();
        async move {
            // Nothing looks at the state that the panic has left: the owner ends.
            match AssertUnwindSafe(fail_point::within(name, task))
                .catch_unwind()
                .await
            {
                Ok(result) => Some(result),
                Err(panic) => {
                    own.report(name, TaskEnd::Panicked(message(&*panic)));
                    None
                }
            }
        }
    }

    /// Waits for the first failure. Pending for ever if there is none. Cancel-safe.
    pub async fn failed(&self) -> TaskFailure {
        let mut failures = self.failure.subscribe();
        loop {
            if let Some(failure) = failures.borrow_and_update().clone() {
                return failure;
            }
            if failures.changed().await.is_err() {
                // `self` holds a sender, so the channel stays open.
                std::future::pending::<()>().await;
            }
        }
    }

    fn report(&self, task: &'static str, end: TaskEnd) {
        tracing::error!(task, %end, "a critical task has ended");
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            if is_first {
                *failure = Some(TaskFailure { task, end });
            }
            is_first
        });
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// Panics on demand, for tests with whole processes. A build without debug
/// assertions has none.
///
/// `DRUMLINE_TEST_PANIC=name=file` lets the task of that name panic as soon as
/// the file exists.
mod fail_point {
    use std::future::Future;
    #[cfg(debug_assertions)]
    use std::time::Duration;

    #[cfg(not(debug_assertions))]
    pub(super) fn within<T>(
        _name: &'static str,
        task: impl Future<Output = T>,
    ) -> impl Future<Output = T> {
        task
    }

    #[cfg(debug_assertions)]
    pub(super) async fn within<T>(name: &'static str, task: impl Future<Output = T>) -> T {
        let Some(file) = trigger(name) else {
            return task.await;
        };
        tokio::select! {
            result = task => result,
            () = exists(&file) => panics(name),
        }
    }

    #[cfg(debug_assertions)]
    fn trigger(name: &str) -> Option<std::path::PathBuf> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a fail point for tests is no setting"
        )]
        let wanted = std::env::var("DRUMLINE_TEST_PANIC").ok()?;
        let (task, file) = wanted.split_once('=')?;
        (task == name).then(|| file.into())
    }

    #[cfg(debug_assertions)]
    async fn exists(file: &std::path::Path) {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !file.exists() {
            looks.tick().await;
        }
    }

    #[cfg(debug_assertions)]
    #[expect(clippy::panic, reason = "the purpose of a fail point")]
    fn panics<T>(name: &str) -> T {
        panic!("the fail point of {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_with_its_message() {
        let critical = CriticalTasks::default();
        let stopping = CancellationToken::new();
        let task = critical.guard("relay", &stopping, async {
            panic!("the {} failed", "look")
        });
        let result: Option<()> = task.await;
        assert_eq!(result, None);
        let failure = critical.failed().await;
        assert_eq!(
            failure.to_string(),
            "the task \"relay\" has panicked (the look failed); without it this process must not go on"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_return_is_reported_unless_it_was_asked_for() {
        let critical = CriticalTasks::default();
        let stopping = CancellationToken::new();
        critical.contain("batch", async {}).await;
        assert_eq!(critical.failed().now_or_never(), None);
        critical.guard("due", &stopping, async {}).await;
        let failure = critical.failed().await;
        assert_eq!((failure.task, failure.end), ("due", TaskEnd::Returned));

        let critical = CriticalTasks::default();
        stopping.cancel();
        let asked = tokio::time::Instant::now();
        critical.guard("due", &stopping, async {}).await;
        assert_eq!(critical.failed().now_or_never(), None);
        assert_eq!(asked.elapsed(), Duration::ZERO, "no report is prepared");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_is_kept() {
        let critical = CriticalTasks::default();
        let stopping = CancellationToken::new();
        critical.guard("first", &stopping, async {}).await;
        critical.guard("second", &stopping, async {}).await;
        assert_eq!(critical.failed().await.task, "first");
    }
}
