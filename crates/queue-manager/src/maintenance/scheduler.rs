//! Scheduler: operations that wait for a time go on when it has come.
//!
//! Suspended operations become Ready, operations that have not started by their
//! `notAfter` expire, and series have an occurrence ([`series`]). The store's
//! clock decides whether the time has come. Payloads are not read, except those
//! of series. A batch is one commit per operation in one round trip. After a conflict nothing is
//! repeated: the next look finds in the due set what is left.
//!
//! A series that the store refuses is tried again at each look, and holds up nothing else:
//! a store whose disk is nearly full takes no new operation, and wakes those that it has.

mod series;

use drumline_backend::apply_event::prepare_without_report;
use drumline_backend::store::{self, Committed, Summary, Work};
use drumline_protocol::{Author, Event, EventKind, Header, Partition, State};

use super::MaintenanceOptions;
use super::task::{Look, Task, for_each};
use crate::service::QueueManager;

/// The task that wakes operations whose time has come.
pub(super) struct Scheduler {
    batch: usize,
    /// True if the last look has met a series that the store has refused.
    is_refused: bool,
}

impl Scheduler {
    pub(super) const fn new(options: &MaintenanceOptions) -> Self {
        Self {
            batch: options.batch,
            is_refused: false,
        }
    }
}

impl Task for Scheduler {
    const NAME: &'static str = "due";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        let batch = self.batch;
        let with_due = manager.store().with_work(Work::Due, share).await?;
        if with_due.partitions.is_empty() {
            return Ok(Look::Nothing(with_due.next));
        }
        let looks = for_each(&with_due.partitions, |partition| {
            look(manager, partition, batch)
        })
        .await?;
        let (looks, refused): (Vec<Look>, Vec<Option<store::Error>>) = looks.into_iter().unzip();
        self.note(manager, refused.into_iter().flatten().next());
        Ok(if looks.contains(&Look::More) {
            Look::More
        } else {
            Look::Clear
        })
    }
}

impl Scheduler {
    /// Tells of series that the store refuses, once.
    fn note(&mut self, manager: &QueueManager, refused: Option<store::Error>) {
        let was_refused = std::mem::replace(&mut self.is_refused, refused.is_some());
        match refused {
            Some(error) => {
                manager.metrics().failed(Self::NAME);
                if !was_refused {
                    tracing::warn!(%error, "series whose time has come are tried again");
                }
            }
            None if was_refused => tracing::info!("series go on again"),
            None => {}
        }
    }
}

/// Looks at a partition. Returns an error of its series, too, if one was refused.
async fn look(
    manager: &QueueManager,
    partition: Partition,
    batch: usize,
) -> store::Result<(Look, Option<store::Error>)> {
    let due = manager.store().due(partition, batch).await?;
    if due.is_empty() {
        return Ok((Look::Clear, None));
    }
    let found = manager.summaries(&due).await?.into_iter().flatten();
    let (recurring, waking): (Vec<Summary>, Vec<Summary>) =
        found.partition(|operation| operation.header.is_series());
    let woken = wake(manager, waking).await?;
    let (moved, refused) = series::occur(manager, recurring).await?;
    // Without progress there is no hurry.
    let look = if due.len() >= batch && woken + moved > 0 {
        Look::More
    } else {
        Look::Clear
    };
    Ok((look, refused))
}

/// Makes operations Ready that are due, or ends them if they have expired, and
/// returns their number.
async fn wake(manager: &QueueManager, due: Vec<Summary>) -> store::Result<u64> {
    let (store, author) = (manager.store(), Author::manager("scheduler"));
    let by = manager.signature(&author);
    let mut waking: Vec<(Header, Summary)> = Vec::new();
    let mut commits = Vec::new();
    for operation in due {
        let event = if operation.header.is_expired(store.now()) {
            Event::Expire
        } else {
            Event::Due
        };
        // Refused: it is not (or no longer) due, as its newest header says. There
        // is no report to keep: only an operation that has never started expires.
        if let Ok(commit) = prepare_without_report(store, by, &operation, event) {
            let before = operation.header.clone();
            let operation = Summary {
                header: commit.header.clone(),
                ..operation
            };
            waking.push((before, operation));
            commits.push(commit);
        }
    }
    if commits.is_empty() {
        return Ok(0);
    }
    let answers = store.commit(commits).await?;
    let (mut woken, mut expired) = (0, 0);
    for ((before, operation), answer) in waking.iter().zip(answers) {
        if let Committed::Done(done) = answer {
            if operation.header.status.state() == State::Completed {
                tracing::debug!(id = %operation.id, "an operation has expired before its first start");
                expired += 1;
                manager.count_end(before, operation, EventKind::Expire);
            } else {
                woken += 1;
            }
            manager.dispatcher().enqueue_summary(operation, &done);
        }
    }
    manager.metrics().woken.inc_by(woken);
    manager.metrics().expired.inc_by(expired);
    Ok(woken + expired)
}
