//! The worker's commits, [gathered](drumline_backend::batcher): one round trip to
//! the store carries all commits that have come together during the round trip
//! before.
//!
//! ```text
//! claim ──┐                         ┌─ perform: one batch ─┐
//! finish ─┼─ requests ─→ committer ─┼─ perform: one batch ─┼─→ store
//! finish ─┘                         └─ …                   ┘
//! ```
//!
//! The committer asks an unavailable store again until it answers, because every
//! commit may be repeated. So an answer always comes, if late. A caller that
//! cannot wait any longer drops the future, and the commit is not tried again.

use std::sync::Arc;

use drumline_backend::Random;
use drumline_backend::apply_event::Commits;
use drumline_backend::batcher::{self, Batcher, Bounds};
use drumline_backend::store::{self, Commit, Committed, Store};
use drumline_protocol::{OperationId, Report, Timestamp};

use super::task_scope::TaskScope;
use crate::backoff;

/// Two batches keep the store busy while an answer travels. With more, batches
/// would be small.
const BOUNDS: Bounds = Bounds {
    waiting: 1024,
    batch: 256,
    in_flight: 2,
};
/// The batches under way of a store that [shares writes](Store::shares_writes).
const SHARED_IN_FLIGHT: usize = 256;

/// A handle to the task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Committer {
    store: Arc<dyn Store>,
    batcher: Batcher<Vec<Commit>, store::Result<Vec<Committed>>>,
}

type Request = batcher::Request<Vec<Commit>, store::Result<Vec<Committed>>>;

impl Committer {
    /// Starts the task.
    pub(crate) fn start(store: Arc<dyn Store>, random: Random, scope: &TaskScope) -> Self {
        let (to, batches) = (Arc::clone(&store), scope.clone());
        let bounds = BOUNDS.sharing_writes(&*store, SHARED_IN_FLIGHT);
        let (batcher, run) = Batcher::new(bounds, move |batch, permit| {
            let (store, random) = (Arc::clone(&to), random.clone());
            batches.spawn("commits", async move {
                perform(&*store, &random, batch).await;
                drop(permit);
            });
        });
        scope.spawn("committer", run);
        Self { store, batcher }
    }

    /// Makes commits, each atomic by itself, and returns the answers in order.
    ///
    /// # Errors
    /// When a record cannot be read, the store must not be used, or the worker
    /// has been stopped.
    pub(crate) async fn commit(&self, commits: Vec<Commit>) -> store::Result<Vec<Committed>> {
        let answer = self.batcher.ask(commits).await;
        answer.unwrap_or_else(|| Err(stopped()))
    }
}

impl Commits for Committer {
    fn now(&self) -> Timestamp {
        self.store.now()
    }

    async fn commit_one(&self, commit: Commit) -> store::Result<Committed> {
        let answers = self.commit(vec![commit]).await?;
        Ok(answers.into_iter().next().unwrap_or(Committed::Missing))
    }

    async fn report_of(&self, id: OperationId) -> store::Result<Option<Report>> {
        let found = self.store.get(&[id]).await?.pop().flatten();
        Ok(found.map(|operation| operation.report))
    }
}

fn stopped() -> store::Error {
    store::Error::Unavailable {
        message: "the worker has been stopped".to_owned(),
        source: None,
    }
}

/// Makes the commits of a batch, and answers each request.
async fn perform(store: &dyn Store, random: &Random, mut batch: Vec<Request>) {
    let mut backoff = backoff::for_store(random);
    loop {
        batch.retain(|request| !request.is_abandoned());
        if batch.is_empty() {
            return;
        }
        let commits = batch
            .iter()
            .flat_map(|request| request.item.iter().cloned())
            .collect();
        match store.commit(commits).await {
            Ok(answers) => return answer(batch, answers),
            Err(error @ store::Error::Unavailable { .. }) => {
                tracing::debug!(%error, "commits are tried again");
                backoff.sleep().await;
            }
            // One record that cannot be read must not hold back the rest.
            Err(store::Error::Corrupt(_) | store::Error::Unfit(_)) if batch.len() > 1 => {
                let rest = batch.split_off(batch.len() / 2);
                Box::pin(perform(store, random, batch)).await;
                batch = rest;
            }
            Err(error @ (store::Error::Corrupt(_) | store::Error::Unfit(_))) => {
                if let Some(request) = batch.pop() {
                    request.answer(Err(error));
                }
                return;
            }
        }
    }
}

fn answer(batch: Vec<Request>, answers: Vec<Committed>) {
    let mut answers = answers.into_iter();
    for request in batch {
        let own = answers.by_ref().take(request.item.len()).collect();
        request.answer(Ok(own));
    }
}
