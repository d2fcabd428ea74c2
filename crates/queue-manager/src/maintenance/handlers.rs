//! Handlers: operations that no worker took go on when a worker takes them.
//!
//! Two kinds of operations wait without a time and for no person: those whose message
//! name no worker had a handler for, and those whose handler fails so often that its
//! worker takes none of them for a while. Both are Suspended, so they cost nothing
//! while they wait.
//!
//! ```text
//! heartbeat ── workers ──→ has a message name found a worker? ──→ sweep
//! sweep: pages of what waits without a time ─→ is it taken now? ─→ resume
//! ```
//!
//! One manager sweeps, the one that maintains the first partition. A sweep reads the
//! headers of the Suspended operations once, from the newest on, and there is none
//! while nothing changes. An operation may be suspended behind a sweep. So sweeps are
//! repeated for some time after the last change, each at least twenty times as long
//! after the one before as that one took.
//!
//! Operations of a handler that has failed too often come back slowly at first,
//! because it may fail again: a few in the first look, then twice as many with each.
//!
//! A person may have paused an operation that has waited for a handler before. The
//! history tells the two waits apart.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::apply_event::prepare_without_report;
use drumline_backend::membership::Group;
use drumline_backend::store::{self, Committed, Filter, Summary};
use drumline_backend::{MemberId, Role, Roster};
use drumline_protocol::transition::EventKind;
use drumline_protocol::{Author, Body, Event, OperationId, Partition, QueueName, Status};
use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::MaintenanceOptions;
use super::task::{Look, Task};
use crate::service::QueueManager;
use crate::service::history::last_event;

/// The live workers by their profiles, as the heartbeat has last seen them.
pub(super) type Workers = Arc<[Group]>;

/// The time after a change in which sweeps are repeated: longer than a worker may
/// act on an old list of members.
const UNSETTLED: Duration = Duration::from_secs(15);
/// The shortest time between two sweeps without a change.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The pause behind a sweep, as a multiple of the time that the sweep took.
const REST_FACTOR: u32 = 20;
/// The number of operations of throttled handlers in the first look of a sweep.
const FIRST_RESUMED: usize = 8;

/// The task that resumes what has found a worker.
pub(super) struct Handlers {
    workers: watch::Receiver<Workers>,
    batch: usize,
    known: Known,
    /// The time until which sweeps are repeated.
    unsettled_until: Option<Instant>,
    /// The time before which no sweep is repeated.
    rests_until: Instant,
    sweep: Option<Sweep>,
    /// The number of operations of throttled handlers that the next look resumes at
    /// most.
    allowance: usize,
}

/// The workers' handlers, as far as their changes matter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    /// The message names that workers take, by queue.
    taken: BTreeSet<(QueueName, String)>,
    /// The message names that workers have handlers for and do not take.
    throttled: BTreeSet<(MemberId, String)>,
}

/// A sweep that is under way.
struct Sweep {
    since: Instant,
    before: Option<OperationId>,
}

impl Handlers {
    pub(super) fn new(options: &MaintenanceOptions, workers: watch::Receiver<Workers>) -> Self {
        Self {
            workers,
            batch: options.batch,
            known: Known::default(),
            unsettled_until: None,
            rests_until: Instant::now(),
            sweep: None,
            allowance: FIRST_RESUMED,
        }
    }

    /// Begins a sweep if a message name may have found a worker.
    fn note(&mut self, workers: &[Group]) {
        let now = Instant::now();
        let known = Known::of(workers);
        let has_more = !known.taken.is_subset(&self.known.taken)
            || !self.known.throttled.is_subset(&known.throttled);
        if has_more {
            self.allowance = FIRST_RESUMED;
            self.sweep = Some(Sweep::new(now));
        }
        if has_more || !known.throttled.is_empty() {
            self.unsettled_until = Some(now + UNSETTLED);
        }
        self.known = known;
        let is_unsettled = self.unsettled_until.is_some_and(|until| now < until);
        if self.sweep.is_none() && is_unsettled && now >= self.rests_until {
            self.sweep = Some(Sweep::new(now));
        }
    }
}

impl Sweep {
    const fn new(since: Instant) -> Self {
        Self {
            since,
            before: None,
        }
    }
}

impl Known {
    fn of(workers: &[Group]) -> Self {
        let mut known = Self::default();
        for Group { profile, ids } in workers {
            for name in &profile.throttled {
                for id in ids {
                    known.throttled.insert((*id, name.clone()));
                }
            }
            for name in &profile.messages {
                if profile.throttled.contains(name) {
                    continue;
                }
                for queue in &profile.queues {
                    known.taken.insert((queue.clone(), name.clone()));
                }
            }
        }
        known
    }
}

impl Task for Handlers {
    const NAME: &'static str = "handlers";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        if !share.contains(&Partition::new(0)) {
            // The manager that takes over begins with a sweep of its own.
            self.known = Known::default();
            self.sweep = None;
            return Ok(Look::Clear);
        }
        let workers = Arc::clone(&self.workers.borrow_and_update());
        self.note(&workers);
        let Some(sweep) = &mut self.sweep else {
            return Ok(Look::Clear);
        };
        let filter = Filter {
            status: Some(Status::Waiting),
            waits_without_time: Some(true),
            ..Filter::default()
        };
        let store = manager.store();
        let page = store.list_summaries(&filter, sweep.before, self.batch);
        let page = page.await?;
        let takes = |operation: &Summary| {
            let Body {
                queue,
                message_name,
                ..
            } = &operation.body;
            workers
                .iter()
                .any(|one| one.profile.takes(queue, message_name))
        };
        let mut taken = page.operations;
        taken.retain(takes);
        let last = taken
            .iter()
            .map(|operation| last_event(store, operation.id));
        let last = try_join_all(last).await?;
        let mut next = page.next;
        let mut chosen = Vec::new();
        let mut throttled = 0;
        for (operation, last) in taken.into_iter().zip(last) {
            match last {
                Some(EventKind::Unhandled) => {}
                Some(EventKind::Throttle) if throttled < self.allowance => {
                    throttled += 1;
                    next = Some(operation.id);
                }
                Some(EventKind::Throttle) => break,
                // A person has paused it, or its handler asks for one.
                Some(_) | None => continue,
            }
            chosen.push(operation);
        }
        // The next look goes on behind the last one that it may resume.
        let is_slow = throttled >= self.allowance;
        if !is_slow {
            next = page.next;
        }
        resume(manager, chosen).await?;
        sweep.before = next;
        if next.is_none() {
            let now = Instant::now();
            let took = now.duration_since(sweep.since);
            self.rests_until = now + AGAIN_AFTER.max(took * REST_FACTOR);
            self.sweep = None;
            return Ok(Look::Clear);
        }
        if is_slow {
            self.allowance = self.allowance.saturating_mul(2).min(self.batch);
            return Ok(Look::Clear);
        }
        Ok(Look::More)
    }
}

/// Resumes operations.
async fn resume(manager: &QueueManager, chosen: Vec<Summary>) -> store::Result<()> {
    let store = manager.store();
    let author = Author::manager(Handlers::NAME);
    let by = manager.signature(&author);
    let (mut resumed, mut commits) = (Vec::new(), Vec::new());
    for operation in chosen {
        // Refused: a client has moved the operation meanwhile.
        if let Ok(commit) = prepare_without_report(store, by, &operation, Event::Resume) {
            resumed.push(Summary {
                header: commit.header.clone(),
                ..operation
            });
            commits.push(commit);
        }
    }
    if commits.is_empty() {
        return Ok(());
    }
    let answers = store.commit(commits).await?;
    let mut count = 0_u64;
    for (operation, answer) in resumed.iter().zip(answers) {
        if let Committed::Done(done) = answer {
            count += 1;
            manager.dispatcher().enqueue_summary(operation, &done);
        }
    }
    manager.metrics().woken.inc_by(count);
    tracing::info!(
        count,
        "operations go on: a worker takes their message names now"
    );
    Ok(())
}

/// The workers among the members.
pub(super) fn workers(roster: &Roster) -> Workers {
    let is_worker = |group: &&Group| group.profile.role == Role::Worker && !group.profile.draining;
    roster.groups().iter().filter(is_worker).cloned().collect()
}
