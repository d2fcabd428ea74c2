//! One task: look, rest, look again, until stopped.

use std::future::Future;
use std::time::Duration;

use drumline_backend::store;
use drumline_protocol::{Backoff, Partition};
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::changes::{Known, LOOK_ANYWAY};
use super::heartbeat::Share;
use crate::service::QueueManager;

/// Partitions that are looked at at the same time: enough to hide the round
/// trips, few enough not to be a burst.
const AT_ONCE: usize = 32;
/// The shortest rest before a time that work waits for: such times follow each other
/// closely where much waits for its time.
const NEXT_MIN: Duration = Duration::from_millis(10);
/// The longest rest while the store is unavailable.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All work is done: rest.
    Clear,
    /// There is none before this time has passed, or the store has changed. `None`:
    /// none waits for a time.
    Nothing(Option<Duration>),
    /// A batch was full: look again at once.
    More,
}

/// A kind of work that is done in rounds.
pub(super) trait Task: Send + 'static {
    /// The name in logs and metrics.
    const NAME: &'static str;

    /// One look at the partitions in `share`.
    fn look(
        &mut self,
        manager: &QueueManager,
        share: &[Partition],
    ) -> impl Future<Output = store::Result<Look>> + Send;
}

/// The surroundings that tasks run in.
pub(super) struct Tasks {
    pub(super) manager: QueueManager,
    pub(super) share: watch::Receiver<Share>,
    /// The number of changes of the store, as far as it is known.
    pub(super) changes: watch::Receiver<Known>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Tasks {
    /// Starts a task, which rests so long between two looks.
    pub(super) fn start<T: Task>(&self, rest: Duration, task: T) {
        let stop = self.stop.clone();
        let manager = self.manager.clone();
        let news = News {
            share: self.share.clone(),
            changes: self.changes.clone(),
        };
        let critical = manager.critical().clone();
        let run = run(task, rest, manager, news);
        let run = critical.guard(T::NAME, &stop, run);
        self.tasks.spawn(async move {
            // Every step is a compare-and-set, so it may be dropped anywhere.
            stop.run_until_cancelled(run).await;
        });
    }
}

/// The reasons for which a task looks again that has found nothing.
struct News {
    share: watch::Receiver<Share>,
    changes: watch::Receiver<Known>,
}

impl News {
    /// Waits until this time, or for news that come earlier: the number of changes is not
    /// the one that was known before the look, or not known, or the share is another one.
    async fn until(&mut self, latest: Instant, seen: Known) {
        let has_changed = |now: &Known| now.is_none() || *now != seen;
        tokio::select! {
            () = tokio::time::sleep_until(latest) => {}
            _ = self.changes.wait_for(has_changed) => {}
            _ = self.share.changed() => {}
        }
    }
}

async fn run<T: Task>(mut task: T, rest: Duration, manager: QueueManager, mut news: News) {
    let mut failures = 0_u32;
    // Managers that have lost the same store do not come back to it together.
    let mut backoff = Backoff::new(rest.saturating_mul(2), LONGEST_REST);
    loop {
        let mine = news.share.borrow_and_update().clone();
        let seen = *news.changes.borrow();
        let look = match task.look(&manager, &mine).await {
            Ok(look) => look,
            Err(error) => {
                manager.metrics().failed(T::NAME);
                if failures == 0 {
                    tracing::warn!(chore = T::NAME, %error, "a maintenance task failed");
                }
                failures = failures.saturating_add(1);
                tokio::time::sleep(backoff.jittered(manager.jitter())).await;
                continue;
            }
        };
        if failures > 0 {
            tracing::info!(chore = T::NAME, failures, "a maintenance task works again");
            failures = 0;
            backoff.reset();
        }
        match look {
            Look::More => tokio::task::yield_now().await,
            Look::Clear => tokio::time::sleep(rest).await,
            Look::Nothing(next) => {
                let until = next.map_or(LOOK_ANYWAY, |next| next.clamp(NEXT_MIN, LOOK_ANYWAY));
                let until = Instant::now() + until;
                tokio::time::sleep_until(until.min(Instant::now() + rest)).await;
                news.until(until, seen).await;
            }
        }
    }
}

/// Does something for each partition, some at a time. The first error ends it.
pub(super) async fn for_each<F, T>(
    share: &[Partition],
    work: impl FnMut(Partition) -> F,
) -> store::Result<Vec<T>>
where
    F: Future<Output = store::Result<T>>,
{
    let results: Vec<_> = stream::iter(share.iter().copied())
        .map(work)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    results.into_iter().collect()
}
