//! The audit stream in the store, which every process adds to and people read.
//!
//! ```text
//! Entry ── share of a minute ── queue (bounded) ── task ── store, in batches
//!             └ used up: counted    └ full: counted   └ away: counted
//!                          └── the counts are told, in an entry of their own
//! ```
//!
//! The stream keeps a fixed number of entries. So each process adds so many in a
//! minute at most: a flood of denials, or of creates, must not push out the changes
//! that people look for, and must not cost the store anything to speak of. The file
//! of the audit log has all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drumline_backend::Store;
use drumline_protocol::CommitId;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::entry::{Entry, Outcome};
use super::limit::PerMinute;
use super::{Surroundings, short};
use crate::metrics::Metrics;

/// Entries that wait for the store: more than the shares of a minute together.
const QUEUE: usize = 1024;
/// Entries of one call: some 100 kB at most.
const BATCH: usize = 64;
/// Entries about changes in a minute.
const CHANGES: u64 = 600;
/// Entries about creates in a minute. Programs create, and each operation has its
/// history.
const CREATES: u64 = 60;
/// Entries about denied requests in a minute.
const DENIALS: u64 = 60;
/// Calls for one batch. After the last one its entries are lost.
const CALLS: u32 = 3;
/// The time that a call may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The rest between two calls.
const REST: Duration = Duration::from_secs(1);
/// The time between two looks for counts that no entry has told.
const TELLING: Duration = Duration::from_secs(60);

/// The kinds of entries, each with a share of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Change,
    Create,
    Denial,
}

impl Kind {
    fn of(action: &str, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Denied => Self::Denial,
            Outcome::Done | Outcome::Refused | Outcome::Failed => match action {
                "POST /v1/operations" | "POST /v1/operations/create" | "POST /v1/execute" => {
                    Self::Create
                }
                _ => Self::Change,
            },
        }
    }

    /// The label of the metric.
    const fn name(self) -> &'static str {
        match self {
            Self::Change => "changes",
            Self::Create => "creates",
            Self::Denial => "denials",
        }
    }

    /// The words of an entry about what was left out.
    const fn left_out(self) -> &'static str {
        match self {
            Self::Change => "changes that have no entry",
            Self::Create => "creates that have no entry",
            Self::Denial => "denied requests that have no entry",
        }
    }
}

/// The label and the words for entries that the store did not take.
const LOST: &str = "store";
const LOST_WORDS: &str = "entries that the store did not take";

/// The stream, as requests see it.
#[derive(Debug)]
pub(super) struct Stream {
    entries: mpsc::Sender<String>,
    shares: Arc<Shares>,
}

#[derive(Debug)]
struct Shares {
    changes: PerMinute,
    creates: PerMinute,
    denials: PerMinute,
    /// Entries that were lost, and that no entry has told yet.
    lost: AtomicU64,
}

impl Shares {
    const fn of(&self, kind: Kind) -> &PerMinute {
        match kind {
            Kind::Change => &self.changes,
            Kind::Create => &self.creates,
            Kind::Denial => &self.denials,
        }
    }
}

impl Stream {
    /// Starts the task that writes.
    pub(super) fn start(
        store: Arc<dyn Store>,
        first_batch: u64,
        trouble: Arc<Mutex<Option<String>>>,
        around: &Surroundings<'_>,
    ) -> Self {
        let (entries, queue) = mpsc::channel(QUEUE);
        let shares = Arc::new(Shares {
            changes: PerMinute::new(CHANGES),
            creates: PerMinute::new(CREATES),
            denials: PerMinute::new(DENIALS),
            lost: AtomicU64::new(0),
        });
        let task = Task {
            queue,
            store,
            batch: first_batch,
            shares: Arc::clone(&shares),
            untold: [0; 4],
            metrics: Arc::clone(around.metrics),
            trouble,
        };
        let run = task.run(around.closing.clone());
        let guarded = around.critical.guard("audit stream", &around.closing, run);
        around.tasks.spawn(guarded);
        Self { entries, shares }
    }

    /// Returns true if an entry of this kind is written: the kind has not used up its
    /// share. Counts it if not.
    pub(super) fn admits(&self, action: &str, outcome: Outcome, metrics: &Metrics) -> bool {
        let kind = Kind::of(action, outcome);
        let is_admitted = self.shares.of(kind).admits();
        if !is_admitted {
            metrics.audit_left_out(kind.name(), 1);
        }
        is_admitted
    }

    /// Has an entry written, soon.
    pub(super) fn add(&self, entry: &Entry, metrics: &Metrics) {
        let line = short::line(entry);
        match self.entries.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.shares.lost.fetch_add(1, Ordering::Relaxed);
                metrics.audit_left_out(LOST, 1);
            }
        }
    }
}

/// The task that writes.
struct Task {
    queue: mpsc::Receiver<String>,
    store: Arc<dyn Store>,
    /// The name of the last batch.
    batch: u64,
    shares: Arc<Shares>,
    /// The numbers that no entry has told yet: of each kind, and of those lost.
    untold: [u64; 4],
    metrics: Arc<Metrics>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Task {
    async fn run(mut self, closing: CancellationToken) {
        let mut looks = interval_at(Instant::now() + TELLING, TELLING);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let (mut is_over, mut is_look) = (false, false);
            tokio::select! {
                count = self.queue.recv_many(&mut batch, BATCH) => is_over = count == 0,
                () = closing.cancelled() => {
                    // Nothing comes any more; what is here is written.
                    self.queue.close();
                    is_over = self.queue.recv_many(&mut batch, BATCH).await == 0;
                }
                _ = looks.tick() => is_look = true,
            }
            let entries = std::mem::take(&mut batch);
            // Once in a while: entries that tell must not be a flood themselves.
            let told = if is_over || is_look {
                self.tell()
            } else {
                Vec::new()
            };
            let is_stored = self.append(entries, told, &closing).await;
            // An unavailable store must not hold up the end for each batch.
            if is_over || (!is_stored && closing.is_cancelled()) {
                return;
            }
        }
    }

    /// The entries about what was left out or lost.
    fn tell(&mut self) -> Vec<String> {
        let kinds = [Kind::Change, Kind::Create, Kind::Denial];
        let [changes, creates, denials] = kinds.map(|kind| self.shares.of(kind).take_left_out());
        let lost = self.shares.lost.swap(0, Ordering::Relaxed);
        let more = [changes, creates, denials, lost];
        for (all, more) in self.untold.iter_mut().zip(more) {
            *all = all.saturating_add(more);
        }
        let words = kinds.map(Kind::left_out).into_iter().chain([LOST_WORDS]);
        let now = self.store.now().to_string();
        let counted = words.zip(self.untold).filter(|(_, count)| *count > 0);
        counted
            .map(|(action, count)| {
                let entry = json!({
                    "time": now,
                    "via": "service",
                    "action": action,
                    "outcome": "leftOut",
                    "count": count,
                });
                entry.to_string()
            })
            .collect()
    }

    /// Writes a batch and returns true, or counts its entries as lost. What was to be told
    /// is told again then.
    async fn append(
        &mut self,
        mut entries: Vec<String>,
        told: Vec<String>,
        closing: &CancellationToken,
    ) -> bool {
        let (count, is_telling) = (entries.len(), !told.is_empty());
        entries.extend(told);
        if entries.is_empty() {
            return true;
        }
        self.batch = self.batch.wrapping_add(1);
        let batch = CommitId(self.batch);
        let mut trouble = String::new();
        for call in 1..=CALLS {
            let appending = self.store.append_audit(batch, &entries);
            match timeout(PATIENCE, appending).await {
                Ok(Ok(())) => {
                    if is_telling {
                        self.untold = [0; 4];
                    }
                    self.recovered();
                    return true;
                }
                Ok(Err(error)) => trouble = error.to_string(),
                Err(_elapsed) => trouble = format!("no answer within {PATIENCE:?}"),
            }
            if call == CALLS || closing.is_cancelled() {
                break;
            }
            closing.run_until_cancelled(sleep(REST)).await;
        }
        self.failed(trouble, count);
        false
    }

    fn recovered(&self) {
        if self.trouble.lock().take().is_some() {
            tracing::info!("the audit stream is written again");
        }
    }

    fn failed(&self, trouble: String, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.shares.lost.fetch_add(count, Ordering::Relaxed);
        self.metrics.audit_left_out(LOST, count);
        let mut known = self.trouble.lock();
        if known.is_none() {
            tracing::warn!(%trouble, "the audit stream cannot be written; its entries are lost until it can");
        }
        *known = Some(format!("the audit stream: {trouble}"));
    }
}
