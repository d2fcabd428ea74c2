//! Commits of actions on many operations, [gathered](drumline_backend::batcher): a call to
//! the store carries all commits that came together during the call before. So a page of
//! some hundred operations costs some scripts, and not a script for each of them.
//!
//! The commits are independent of each other: they are of different operations, and
//! commits whose order matters are made one after the other.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::CriticalTasks;
use drumline_backend::apply_event::Commits;
use drumline_backend::batcher::{self, Batcher, Bounds};
use drumline_backend::store::{self, Commit, Committed, Store};
use drumline_protocol::{OperationId, Report, Timestamp};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gathering::gather;

/// Two batches keep the store busy while an answer travels. A batch is one script, so that
/// others wait for no more than that.
const BOUNDS: Bounds = Bounds {
    waiting: 1024,
    batch: 64,
    in_flight: 2,
};

/// The batches under way of a store that [shares writes](Store::shares_writes): all that an
/// action changes at the same time.
const SHARED_IN_FLIGHT: usize = 128;

/// The time that a commit waits for its batch. While the store is unavailable it would wait
/// for all batches before it. Alone, it waits for its own call only.
const BATCH_TIMEOUT: Duration = Duration::from_secs(2);

/// The handle of the batcher.
#[derive(Debug)]
pub(super) struct CommitBatcher {
    batcher: Batcher<Commit, store::Result<Committed>>,
}

type Request = batcher::Request<Commit, store::Result<Committed>>;

impl CommitBatcher {
    /// Starts the task on `tasks`. It ends when `closing` is cancelled.
    pub(super) fn start(
        store: Arc<dyn Store>,
        critical: &CriticalTasks,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let bounds = BOUNDS.sharing_writes(&*store, SHARED_IN_FLIGHT);
        let perform = move |batch| {
            let store = Arc::clone(&store);
            async move { call(&*store, batch).await }
        };
        Self {
            batcher: gather("commits", bounds, critical, tasks, closing, perform),
        }
    }

    /// Makes one commit; `None` if it takes too long, or the task has ended. The commit may
    /// or may not have been made then, and may be repeated: by its name the store knows it.
    async fn commit(&self, commit: Commit) -> Option<store::Result<Committed>> {
        timeout(BATCH_TIMEOUT, self.batcher.ask(commit))
            .await
            .ok()?
    }
}

async fn call(store: &dyn Store, mut batch: Vec<Request>) {
    batch.retain(|request| !request.is_abandoned());
    if batch.is_empty() {
        return;
    }
    let commits = batch.iter().map(|request| request.item.clone());
    match store.commit(commits.collect()).await {
        Ok(answers) => {
            for (request, answer) in batch.into_iter().zip(answers) {
                request.answer(Ok(answer));
            }
        }
        // One record that cannot be read must not hold back the rest.
        Err(store::Error::Corrupt(_) | store::Error::Unfit(_)) if batch.len() > 1 => {
            for request in batch {
                Box::pin(call(store, vec![request])).await;
            }
        }
        Err(error) => {
            for request in batch {
                request.answer(Err(error.clone()));
            }
        }
    }
}

/// The store, for the commits of an action on one of many operations.
pub(super) struct OfMany<'a> {
    pub(super) batcher: &'a CommitBatcher,
    pub(super) store: &'a dyn Store,
    /// The time for which the store is to remember the operation, if it is removed.
    pub(super) remember: Duration,
}

impl Commits for OfMany<'_> {
    fn now(&self) -> Timestamp {
        self.store.now()
    }

    async fn commit_one(&self, mut commit: Commit) -> store::Result<Committed> {
        commit.remember = self.remember;
        match self.batcher.commit(commit.clone()).await {
            Some(answer) => answer,
            None => self.store.commit_one(commit).await,
        }
    }

    async fn report_of(&self, id: OperationId) -> store::Result<Option<Report>> {
        self.store.report_of(id).await
    }
}
