//! The counts of what a process does, in memory until they are added to the store's
//! rollups.
//!
//! ```text
//! created, started, ran, ended ─→ Tally ─┬─ a minute is over ─→ add_rollup
//!                                        └─ 2 s after a failure ─→ add_failures
//! ```
//!
//! Counting costs a lock and a look into a map, and never a round trip. A process
//! makes one small write a minute, and one each two seconds while operations fail.
//! Counts that cannot be written are kept for some minutes and tried again. The memory is
//! bounded: what there is no room for is counted without its name, or left out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::failure::{pattern, text_of};
use drumline_protocol::{
    Body, ErrorCode, FailureKey, Fault, Header, OperationId, Organization, QueueName, State, Status,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::random::Random;
use crate::store::{
    BATCH_REMEMBERED, FailureBatch, FailureGroup, ROLLUP_KEYS, Rollup, RollupBatch, RollupKey,
    Store, minute_of,
};

/// The time from a failure to the write of it. A shorter one writes more often while
/// everything fails.
const FAILURES_AFTER: Duration = Duration::from_secs(2);
/// Processes write a minute within so many milliseconds of its end, each at a time of
/// its own.
const SPREAD_MS: u64 = 5_000;
/// Batches that wait for an unavailable store. The oldest goes.
const BATCHES: usize = 10;
/// Failure groups between two writes. Failures of further groups are left out.
const GROUPS: usize = 256;
/// The time for the last write.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// The counts of a process that are not in the store yet.
pub struct Tally {
    store: Arc<dyn Store>,
    random: Random,
    // The lock is held for a moment, never across an await.
    counts: Mutex<Counts>,
    has_failures: Notify,
}

#[derive(Default)]
struct Counts {
    minute: u64,
    /// Everything since the start of the process, but for the minute that is not over.
    earlier: Rollup,
    total: Rollup,
    others: Rollup,
    named_counts: BTreeMap<QueueName, BTreeMap<String, Rollup>>,
    named: usize,
    /// The minutes that are over and not written yet.
    over: VecDeque<RollupBatch>,
    failures: BTreeMap<(Organization, FailureKey), FailureGroup>,
    /// Failures that found no room.
    left_out: u64,
    /// Failures that are not written yet.
    failed: VecDeque<FailureBatch>,
}

impl Tally {
    /// Counts nothing yet. [`Self::run`] writes what is counted.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, random: Random) -> Self {
        Self {
            store,
            random,
            counts: Mutex::default(),
            has_failures: Notify::new(),
        }
    }

    /// An operation was created.
    pub fn created(&self, body: &Body) {
        self.count(body, |rollup| rollup.created += 1);
    }

    /// A run was started. Its operation has waited so long since it was Ready.
    pub fn started(&self, body: &Body, waited: Duration) {
        self.count(body, |rollup| {
            rollup.started += 1;
            rollup.wait.observe(waited);
        });
    }

    /// A run has ended, or was dropped, after so long.
    pub fn ran(&self, body: &Body, took: Duration) {
        self.count(body, |rollup| rollup.run.observe(took));
    }

    /// An operation was changed. Counts its end, if the change has ended it, and its
    /// failure with this fault.
    pub fn changed(
        &self,
        id: OperationId,
        body: &Body,
        before: &Header,
        after: &Header,
        fault: Option<&Fault>,
    ) {
        let is_over = |header: &Header| header.status.state() == State::Completed;
        if is_over(before) || !is_over(after) {
            return;
        }
        let code = fault.map(|fault| fault.code);
        self.count(body, |rollup| match after.status {
            Status::Succeeded => rollup.succeeded += 1,
            Status::Canceled => rollup.canceled += 1,
            Status::Failed if code == Some(ErrorCode::EXPIRED) => rollup.expired += 1,
            Status::Failed => rollup.failed += 1,
            Status::WaitingForResources
            | Status::Waiting
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling => {}
        });
        if let Some(fault) = fault.filter(|_| after.status == Status::Failed) {
            self.failed(id, body, fault);
        }
    }

    /// Everything that was counted since the start of the process.
    #[must_use]
    pub fn since_start(&self) -> Rollup {
        let counts = self.counts.lock();
        Rollup::sum([&counts.earlier, &counts.total])
    }

    fn count(&self, body: &Body, count: impl Fn(&mut Rollup)) {
        let minute = minute_of(self.store.now());
        let mut counts = self.counts.lock();
        counts.begin(minute, &self.random);
        count(&mut counts.total);
        count(counts.of(body));
    }

    fn failed(&self, id: OperationId, body: &Body, fault: &Fault) {
        let (pattern, now) = (pattern(text_of(fault)), self.store.now());
        let key = FailureKey::new(&body.message_name, fault.code, &pattern);
        let group = FailureGroup {
            key,
            message_name: body.message_name.clone(),
            code: fault.code,
            pattern,
            count: 1,
            first: now,
            last: now,
            sample: id,
        };
        let mut counts = self.counts.lock();
        let has_room = counts.failures.len() < GROUPS;
        match counts.failures.get_mut(&(body.organization.clone(), key)) {
            Some(known) => known.add(&group),
            None if has_room => {
                let place = (body.organization.clone(), key);
                counts.failures.insert(place, group);
            }
            None => counts.left_out += 1,
        }
        drop(counts);
        self.has_failures.notify_one();
    }

    /// Writes the counts until `stop` is cancelled, and then once more.
    pub async fn run(&self, stop: CancellationToken) {
        let mut next = self.next_minute();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(next) => {
                    self.write_minutes().await;
                    next = self.next_minute();
                }
                () = self.has_failures.notified() => {
                    let pause = tokio::time::sleep(FAILURES_AFTER);
                    // The rest is written below.
                    if stop.run_until_cancelled(pause).await.is_some() {
                        self.write_failures().await;
                    }
                }
            }
        }
        self.write_all().await;
    }

    /// Writes everything that was counted until now, the minute that is not over
    /// included: for a process that ends. Takes a second at most, and what is not
    /// written by then is lost.
    pub async fn write_all(&self) {
        let writing = async {
            self.counts.lock().close(&self.random);
            self.write_minutes().await;
            self.write_failures().await;
        };
        if timeout(LAST_WRITE, writing).await.is_err() {
            tracing::debug!("the last counts were not written in time");
        }
    }

    /// A time soon after the end of this minute, by the store's clock.
    fn next_minute(&self) -> Instant {
        let now = u64::try_from(self.store.now().as_millis()).unwrap_or(0);
        let left = 60_000 - now % 60_000 + self.random.below(SPREAD_MS);
        Instant::now() + Duration::from_millis(left)
    }

    async fn write_minutes(&self) {
        let minute = minute_of(self.store.now());
        self.counts.lock().begin(minute, &self.random);
        loop {
            let batch = self.counts.lock().over.pop_front();
            let Some(batch) = batch else {
                return;
            };
            if !is_fresh(batch.minute, minute) {
                continue;
            }
            if let Err(error) = self.store.add_rollup(&batch).await {
                tracing::debug!(%error, "the counts of a minute are written later");
                self.counts.lock().over.push_front(batch);
                return;
            }
        }
    }

    async fn write_failures(&self) {
        let minute = minute_of(self.store.now());
        self.counts.lock().close_failures(minute, &self.random);
        loop {
            let batch = self.counts.lock().failed.pop_front();
            let Some(batch) = batch else {
                return;
            };
            if !is_fresh(batch.minute, minute) {
                continue;
            }
            if let Err(error) = self.store.add_failures(&batch).await {
                tracing::debug!(%error, "failures are counted later");
                self.counts.lock().failed.push_front(batch);
                // They are tried again with the next ones, or after the pause.
                self.has_failures.notify_one();
                return;
            }
        }
    }
}

/// Returns true if the store would recognise a repetition of a batch of this minute,
/// with a margin for the minutes of its way.
fn is_fresh(of: u64, now: u64) -> bool {
    of.saturating_add(BATCH_REMEMBERED.as_secs() / 60 - 3) >= now
}

impl Counts {
    /// Begins a minute, if it is another one than the last.
    fn begin(&mut self, minute: u64, random: &Random) {
        if self.minute != minute {
            self.close(random);
            self.minute = minute;
        }
    }

    /// Makes a batch of what was counted.
    fn close(&mut self, random: &Random) {
        let total = std::mem::take(&mut self.total);
        if total == Rollup::default() {
            return;
        }
        self.earlier.add(&total);
        self.named = 0;
        let others = std::mem::take(&mut self.others);
        let named = std::mem::take(&mut self.named_counts).into_iter();
        let named = named.flat_map(|(queue, names)| {
            let names = names.into_iter();
            names.map(move |(message_name, rollup)| {
                let queue = queue.clone();
                let key = RollupKey::Of {
                    queue,
                    message_name,
                };
                (key, rollup)
            })
        });
        let mut counts = vec![(RollupKey::Total, total)];
        if others != Rollup::default() {
            counts.push((RollupKey::Others, others));
        }
        counts.extend(named);
        let batch = RollupBatch {
            id: random.u64(),
            minute: self.minute,
            counts,
        };
        push(&mut self.over, batch);
    }

    fn close_failures(&mut self, minute: u64, random: &Random) {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            tracing::info!(
                left_out,
                "failures of very many kinds; some are in no failure group"
            );
        }
        if self.failures.is_empty() {
            return;
        }
        let groups = std::mem::take(&mut self.failures).into_iter();
        let groups = groups.map(|((organization, _), group)| (organization, group));
        let batch = FailureBatch {
            id: random.u64(),
            minute,
            groups: groups.collect(),
        };
        push(&mut self.failed, batch);
    }

    /// The counts of the key of an operation.
    fn of(&mut self, body: &Body) -> &mut Rollup {
        let is_known = |counts: &BTreeMap<QueueName, BTreeMap<String, Rollup>>| {
            let names = counts.get(&body.queue);
            names.is_some_and(|names| names.contains_key(&body.message_name))
        };
        if !is_known(&self.named_counts) {
            if self.named >= ROLLUP_KEYS {
                return &mut self.others;
            }
            self.named += 1;
        }
        let names = self.named_counts.entry(body.queue.clone()).or_default();
        names.entry(body.message_name.clone()).or_default()
    }
}

fn push<T>(batches: &mut VecDeque<T>, batch: T) {
    if batches.len() >= BATCHES {
        batches.pop_front();
    }
    batches.push_back(batch);
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tally").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
