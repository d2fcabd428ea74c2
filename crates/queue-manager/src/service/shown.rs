//! Operations that many clients of this manager look at at the same time: read once,
//! and written as JSON once.
//!
//! ```text
//! wait=, wait=, … ──┐             ┌─ one batch at a time ─ store
//! events, events, … ┴─ requests ──┤
//!                                 └─ those of a moment ago, for events
//! ```
//!
//! Clients that wait for one operation, or read the same events, ask at the same
//! moment: when it ends. The first request is a batch of its own, and the others are
//! one batch behind it. So a thousand clients cost the store two reads.
//!
//! An operation that was shown is kept for the streams that are a moment behind. It
//! is Completed, so it hardly changes any more. Requests that wait always read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drumline_api::view::OperationView;
use drumline_backend::CriticalTasks;
use drumline_backend::batcher::{self, Batcher, Bounds};
use drumline_backend::store::{self, Store, Summary};
use drumline_protocol::{Operation, OperationId, State, Status};
use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gathering::gather;

/// One batch at a time: with two, the same operation would be read twice.
const BOUNDS: Bounds = Bounds {
    waiting: 4096,
    batch: 4096,
    in_flight: 1,
};
/// Operations in one call to the store: with the largest payloads some MiB.
const CHUNK: usize = 8;
/// Calls of a batch at the same time, to hide the round trips.
const CALLS: usize = 4;
/// The memory of a summary, without what it has on the heap that matters little.
const SUMMARY_BYTES: usize = 2 << 10;
/// Bytes that are kept for the streams of events. A burst of small operations fits;
/// of large ones, the latest do.
const KEPT_BYTES: usize = 16 << 20;
/// The time for which one is kept: a stream that is further behind is catching up,
/// and the operation may have been removed meanwhile.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// An operation, and the JSON that shows it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) operation: Operation,
    json: OnceLock<String>,
}

impl Shown {
    fn new(operation: Operation) -> Self {
        Self {
            operation,
            json: OnceLock::new(),
        }
    }

    /// The operation as the API shows it, in one line.
    pub(crate) fn json(&self) -> &str {
        let write = || serde_json::to_string(&OperationView::from(&self.operation));
        // A view consists of serializable values only.
        self.json.get_or_init(|| write().unwrap_or_default())
    }
}

/// A form in which operations are read.
pub(super) trait Form: Sized + Send + Sync + 'static {
    fn read(
        store: &dyn Store,
        ids: &[OperationId],
    ) -> impl Future<Output = store::Result<Vec<Option<Self>>>> + Send;

    fn id(&self) -> OperationId;

    fn status(&self) -> Status;

    /// The rough size in memory, in bytes.
    fn bytes(&self) -> usize;
}

impl Form for Shown {
    async fn read(store: &dyn Store, ids: &[OperationId]) -> store::Result<Vec<Option<Self>>> {
        let found = store.get(ids).await?.into_iter();
        Ok(found.map(|found| found.map(Self::new)).collect())
    }

    fn id(&self) -> OperationId {
        self.operation.id
    }

    fn status(&self) -> Status {
        self.operation.header.status
    }

    fn bytes(&self) -> usize {
        // The operation, and its JSON.
        2 * self.json().len()
    }
}

impl Form for Summary {
    async fn read(store: &dyn Store, ids: &[OperationId]) -> store::Result<Vec<Option<Self>>> {
        store.summaries(ids).await
    }

    fn id(&self) -> OperationId {
        self.id
    }

    fn status(&self) -> Status {
        self.header.status
    }

    fn bytes(&self) -> usize {
        SUMMARY_BYTES
    }
}

/// The answer to a request; `None`: there is no such operation.
pub(super) type Answer<T> = store::Result<Option<Arc<T>>>;

/// An operation that a client wants to see.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    id: OperationId,
    /// An operation of a moment ago will do.
    may_be_kept: bool,
}

/// A reader of one form.
#[derive(Debug)]
pub(super) struct Reader<T> {
    requests: Batcher<Wanted, Answer<T>>,
}

impl<T: Form> Reader<T> {
    /// Starts the task on `tasks`. It ends when `closing` is cancelled.
    pub(super) fn start(
        store: Arc<dyn Store>,
        critical: &CriticalTasks,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let kept = Arc::new(Mutex::new(Kept::<T>::default()));
        let perform = move |batch| {
            let (store, kept) = (Arc::clone(&store), Arc::clone(&kept));
            async move { answer(&*store, &kept, batch).await }
        };
        Self {
            requests: gather("reads", BOUNDS, critical, tasks, closing, perform),
        }
    }

    /// The operation as it is now.
    ///
    /// # Errors
    /// When the store is unavailable, or the record cannot be read.
    pub(super) async fn read(&self, id: OperationId) -> Option<Answer<T>> {
        let wanted = Wanted {
            id,
            may_be_kept: false,
        };
        self.requests.ask(wanted).await
    }

    /// Operations that have ended, as they are or were a moment ago, in the order of
    /// `ids`.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(super) async fn ended(&self, ids: &[OperationId]) -> Vec<Option<Answer<T>>> {
        let mut asked = Vec::with_capacity(ids.len());
        for id in ids {
            let wanted = Wanted {
                id: *id,
                may_be_kept: true,
            };
            asked.push(self.requests.send(wanted).await);
        }
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer.await.ok());
        }
        answers
    }
}

/// Answers a batch: each operation is read once.
async fn answer<T: Form>(
    store: &dyn Store,
    kept: &Mutex<Kept<T>>,
    batch: Vec<batcher::Request<Wanted, Answer<T>>>,
) {
    let mut answers: HashMap<OperationId, Answer<T>> = HashMap::new();
    let mut to_read = HashSet::new();
    {
        let kept = kept.lock();
        for request in &batch {
            let Wanted { id, may_be_kept } = request.item;
            match kept.get(id).filter(|_| may_be_kept) {
                Some(found) => drop(answers.insert(id, Ok(Some(found)))),
                None => drop(to_read.insert(id)),
            }
        }
    }
    let to_read: Vec<OperationId> = to_read.into_iter().collect();
    let chunks: Vec<Vec<OperationId>> = to_read.chunks(CHUNK).map(<[_]>::to_vec).collect();
    let read: Vec<_> = stream::iter(chunks)
        .map(|ids| read(store, ids))
        .buffer_unordered(CALLS)
        .collect()
        .await;
    answers.extend(read.into_iter().flatten());
    {
        let mut kept = kept.lock();
        for request in &batch {
            if request.item.may_be_kept
                && let Some(Ok(Some(found))) = answers.get(&request.item.id)
            {
                kept.keep(found);
            }
        }
    }
    for request in batch {
        let answer = answers.get(&request.item.id).cloned();
        request.answer(answer.unwrap_or(Ok(None)));
    }
}

/// Reads operations. One that cannot be decoded does not keep the others from being
/// read.
async fn read<T: Form>(store: &dyn Store, ids: Vec<OperationId>) -> Vec<(OperationId, Answer<T>)> {
    match T::read(store, &ids).await {
        Ok(found) => {
            let found = found.into_iter().map(|found| Ok(found.map(Arc::new)));
            ids.into_iter().zip(found).collect()
        }
        Err(store::Error::Corrupt(_)) if ids.len() > 1 => {
            let mut answers = Vec::with_capacity(ids.len());
            for id in ids {
                let found = T::read(store, &[id]).await;
                let found = found.map(|found| found.into_iter().next().flatten().map(Arc::new));
                answers.push((id, found));
            }
            answers
        }
        Err(error) => ids.into_iter().map(|id| (id, Err(error.clone()))).collect(),
    }
}

/// The latest operations that were asked for by streams of events.
#[derive(Debug)]
struct Kept<T> {
    by_id: HashMap<OperationId, (Instant, Arc<T>)>,
    /// The oldest first.
    order: VecDeque<OperationId>,
    bytes: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T: Form> Kept<T> {
    fn get(&self, id: OperationId) -> Option<Arc<T>> {
        let (since, found) = self.by_id.get(&id)?;
        (since.elapsed() < KEPT_FOR).then(|| Arc::clone(found))
    }

    fn keep(&mut self, found: &Arc<T>) {
        let id = found.id();
        let is_over = found.status().state() == State::Completed;
        // Another read of the same operation, a moment later, is of no use.
        if !is_over || self.get(id).is_some() {
            return;
        }
        let now = Instant::now();
        self.bytes += found.bytes();
        if let Some((_, earlier)) = self.by_id.insert(id, (now, Arc::clone(found))) {
            self.bytes -= earlier.bytes();
            self.order.retain(|kept| *kept != id);
        }
        self.order.push_back(id);
        while let Some(oldest) = self.order.front() {
            let since = self.by_id.get(oldest).map_or(now, |(since, _)| *since);
            if self.bytes <= KEPT_BYTES && since + KEPT_FOR > now {
                return;
            }
            if let Some((_, oldest)) = self.by_id.remove(oldest) {
                self.bytes -= oldest.bytes();
            }
            self.order.pop_front();
        }
    }
}
