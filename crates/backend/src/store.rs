//! The store makes every decision, atomically.
//!
//! A store keeps records, chains, locks, due times and the outbox, and
//! executes [`Commit`]s: "if this is still version 7, write this header and do
//! these effects". It knows effects, not states. Each verb may be repeated
//! after an unclear answer (a timeout is not a failure): the store recognises
//! its own first write and gives the same answer again.
//!
//! All futures are cancel-safe in this sense: if one is dropped, the write may
//! or may not have been made, and repeating it is harmless.

mod actions;
mod audit;
mod backup;
mod chain;
mod check;
mod commit;
mod create;
mod ends;
mod error;
mod history;
mod imports;
mod listing;
mod lock;
mod outbox;
mod pauses;
mod queues;
mod report;
mod rollups;
mod summary;
mod transact;
mod usage;
mod work;

use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::message::Marker;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    Fence, Operation, OperationId, Output, Partition, PartitionCount, QueueName, Report, Timestamp,
};
use tokio::sync::broadcast;

use crate::member_id::MemberId;

pub use self::actions::{ActionStore, ActionWrite, OpenAction};
pub use self::audit::{
    AUDIT_ENTRIES, AUDIT_ENTRY_BYTES, AUDIT_PAGE, AuditEntry, AuditPlace, AuditStore,
    InvalidAuditPlace, check_audit_entries,
};
pub use self::backup::{Backup, BackupPiece};
pub use self::chain::{ChainPlace, Neighbourhood};
pub use self::check::{
    CHECK_STEP, CheckPage, CheckPlace, CheckStep, CheckStore, Fault, FaultKind, belongs_to_chain,
};
pub use self::commit::{Commit, Committed, Done, Guard, Record};
pub use self::create::{Created, IdempotencyKey, NewOperation, Reservation, Reserved, check_keys};
pub use self::ends::{Ended, Notice};
pub use self::error::{Error, Result};
pub use self::history::Recorded;
pub use self::imports::{Import, ImportStore};
pub use self::listing::{Counts, Filter, Page};
pub use self::lock::{Holding, Lock, Renewal};
pub use self::outbox::{
    FlowEntries, LastOffer, OfferedPlace, OutboxLook, OutboxPage, Promoted, Runnable, Stamp,
};
pub use self::pauses::{PauseCopy, PauseStore, Pauses, Released};
pub use self::queues::{IdleFate, IdleQueue, QueueStore, QueueUse};
pub use self::report::ReportParts;
pub use self::rollups::{
    BATCH_REMEMBERED, BUCKETS, FAILURE_GROUPS, FAILURE_HOURS, FAILURES_KEPT, FailureBatch,
    FailureGroup, FailureHours, Histogram, ROLLUP_KEYS, Resolution, Rollup, RollupBatch, RollupKey,
    RollupStore, day_of, hour_of, minute_of,
};
pub use self::summary::{ALONG_BYTES, ANSWER_BYTES, Room, Summary};
pub use self::transact::{Transacted, check_distinct};
pub use self::usage::{CREATED_WITHIN, OPERATION_BYTES, Usage, UsageStore};
pub use self::work::{Work, WorkFound};

/// The store keeps all operations and makes every decision, atomically.
#[async_trait]
pub trait Store:
    ActionStore
    + AuditStore
    + CheckStore
    + PauseStore
    + QueueStore
    + RollupStore
    + UsageStore
    + Send
    + Sync
    + 'static
{
    /// The number of partitions. Fixed when the store was first used.
    fn partitions(&self) -> PartitionCount;

    /// The store's time, from a running estimate: no round trip.
    fn now(&self) -> Timestamp;

    /// Receives the id of each operation that is Completed, as far as this
    /// process can know: best effort, for waiters that also look themselves.
    fn completions(&self) -> broadcast::Receiver<OperationId>;

    /// Returns the number of records that answers have left out since the last call,
    /// because they cannot be decoded: one record must not keep all others from being
    /// listed, published or committed. A store whose records are never decoded leaves out
    /// none.
    fn take_unreadable(&self) -> u64 {
        0
    }

    /// Names records that answers have left out lately, for a person: the latest few.
    fn unreadable(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the number of operations that this process has created and that the store is
    /// found to have lost since the last call: a replica that was promoted may not have had
    /// them. A store of one server without replicas may lose none.
    fn take_lost(&self) -> u64 {
        0
    }

    /// Begins a backup: the store as of now, in pieces, which are to be read without long
    /// pauses. `None` for a store whose server has backups of its own, and for one that
    /// keeps nothing.
    ///
    /// Cancel-safe: a backup that is not read ends by itself.
    ///
    /// # Errors
    /// When the store is unavailable, or another backup is under way.
    async fn backup(&self) -> Result<Option<Backup>> {
        Ok(None)
    }

    /// Stores operations, in the order given; each by itself is atomic: the
    /// reservation of its key, record, place in its chain, indexes, due set,
    /// outbox.
    ///
    /// # Errors
    /// When the store is unavailable. Some may have been stored: of a chain the
    /// first ones, none without those before it. A repetition with the same ids
    /// stores the rest. [`Error::Unfit`] where a key is of another partition than
    /// its operation.
    async fn create(&self, operations: Vec<NewOperation>) -> Result<Vec<Created>>;

    /// Makes commits; each by itself is atomic, and they are answered in order.
    ///
    /// # Errors
    /// When the store is unavailable. Some may have been made; repeat the same
    /// commits.
    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>>;

    /// Creates operations and makes commits, of any partitions, all or nothing; of one
    /// partition, unless [`Self::spreads_transactions`].
    /// First everything is checked against the state before the transaction.
    /// Then everything is written, creates first. Each operation may be in it
    /// once.
    ///
    /// A repetition recognises its own first write as [`Self::create`] and
    /// [`Self::commit`] do: as long as no other commit has changed the
    /// operations since. After such a change the repetition is refused with the
    /// conflict, and its creates show whether the transaction was made.
    ///
    /// # Errors
    /// When the store is unavailable: the transaction may or may not have been
    /// made; repeat the same. [`Error::Unfit`] where an operation is in it
    /// twice.
    async fn transact(
        &self,
        creates: Vec<NewOperation>,
        commits: Vec<Commit>,
    ) -> Result<Transacted>;

    /// Returns true if calls that come together share a write, and each waits for one: a
    /// store on a disk. Many calls at once cost as much as a single one there, and one
    /// after the other each waits for the disk. So callers make them larger, and send more
    /// at the same time.
    fn shares_writes(&self) -> bool {
        false
    }

    /// Returns true if a transaction may belong to several partitions: they are on one
    /// server.
    fn spreads_transactions(&self) -> bool {
        true
    }

    /// Reads operations; `None` for an operation that does not exist. Large ones
    /// take several answers: see [`ANSWER_BYTES`]. All of them are in memory at
    /// the end, so a caller that reads many reads their [`Self::summaries`], or
    /// asks for a few at a time.
    ///
    /// # Errors
    /// When the store is unavailable or a record cannot be read.
    async fn get(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>>;

    /// Reads operations without their data and reports, which costs the same
    /// however large these are; `None` for an operation that does not exist.
    ///
    /// # Errors
    /// When the store is unavailable or a record cannot be read.
    async fn summaries(&self, ids: &[OperationId]) -> Result<Vec<Option<Summary>>>;

    /// Reads the header of an operation and the stored entries of its history, as
    /// of one moment; `None` for an operation that does not exist. Leaves out entries
    /// that cannot be read. Together with
    /// the body they are the [`History`](drumline_protocol::History).
    ///
    /// # Errors
    /// When the store is unavailable or a record cannot be read.
    async fn history(&self, id: OperationId) -> Result<Option<Recorded>>;

    /// Reads the outputs of the attempts of an operation that are kept, that of the
    /// earliest attempt first; none for an operation that does not exist. At most
    /// some 84 KiB: see [`drumline_protocol::output`]. Leaves out parts that cannot be
    /// read.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn outputs(&self, id: OperationId) -> Result<Vec<Output>>;

    /// Writes these parts of the report of the holder; returns `false` if the lock
    /// is not of this holding any more. The header and its version stay.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn report(
        &self,
        id: OperationId,
        holding: Holding,
        report: &Report,
        parts: ReportParts,
    ) -> Result<bool>;

    /// Moves the beats of locks; answers in order.
    ///
    /// # Errors
    /// When the store is unavailable: the locks are as good as not renewed.
    async fn renew(&self, locks: &[(OperationId, Holding)]) -> Result<Vec<Renewal>>;

    /// Returns the locks of a holder that it was asked to stop, in no order. Costs
    /// the same whatever the holder runs, so a holder may look more often than it
    /// renews. An entry may be missing after a failure of the store: the next
    /// renewal shows the request, too.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn stop_requests(&self, holder: MemberId) -> Result<Vec<(OperationId, Fence)>>;

    /// Returns all locks of a partition.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn locks(&self, partition: Partition) -> Result<Vec<Lock>>;

    /// Returns the lock of an operation; `None` if no run holds the operation. Costs
    /// the same whatever else is locked.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn lock(&self, id: OperationId) -> Result<Option<Lock>>;

    /// Moves entries that the broker has confirmed from the outbox to the offered
    /// set. An entry with another stamp is another entry, and stays. May be repeated.
    ///
    /// # Errors
    /// When the store is unavailable: the entries will be published once more.
    async fn remove_from_outbox(&self, entries: &[(OperationId, Stamp)]) -> Result<()>;

    /// Returns those of `partitions` that have such work. One call for all of them, so
    /// that partitions without work cost maintenance next to nothing.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn with_work(&self, work: Work, partitions: &[Partition]) -> Result<WorkFound>;

    /// Returns a number that is another one after each call, of any process, that may
    /// have given maintenance work: operations that are to be offered, that wait for a
    /// time, that are locked or held, and pauses. Who has found nothing to do needs not
    /// look again while the number stays the same. A store that has
    /// lost its last writes may return a number a second time.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn changes(&self) -> Result<u64>;

    /// Returns entries of a partition's outbox with the summaries of their
    /// operations. The flows that have entries share the answer evenly, each with
    /// its oldest ones, so that a flow's first entry waits for no other flow. May
    /// return fewer than `limit`, to bound the answer in bytes, and may look at a
    /// part of the flows.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn outbox_entries(&self, partition: Partition, look: &OutboxLook) -> Result<OutboxPage>;

    /// Returns the operations of a queue that could run now: Ready, not held by a
    /// pause, and without a predecessor. They are counted up to about `most`, and
    /// about `sample` of them are named. Costs these two numbers, whatever other
    /// queues have.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn runnable(
        &self,
        partition: Partition,
        queue: &QueueName,
        most: usize,
        sample: usize,
    ) -> Result<Runnable>;

    /// Reads the last offer of an operation; `None` if the operation does not
    /// exist or is held by a pause.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn last_offer(&self, id: OperationId) -> Result<Option<LastOffer>>;

    /// Reads the place of an operation in its chain; `None` if the operation does
    /// not exist or is in no chain: it has none, or has left it.
    ///
    /// Redis takes the logarithm of the chain's length for it, and the embedded
    /// store a time that grows with the place (2 ms for each 100,000 before it).
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn chain_place(&self, id: OperationId, near: Neighbourhood)
    -> Result<Option<ChainPlace>>;

    /// Returns the operations whose due time has come, by the store's clock,
    /// earliest first.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn due(&self, partition: Partition, limit: usize) -> Result<Vec<OperationId>>;

    /// Returns the Completed operations of a class that ended after `after` and
    /// at or before `until`, with the stamps of their ends, earliest first: the
    /// candidates of retention. No two ends of a partition have the same stamp,
    /// so a caller that goes on after the last one misses none.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn ended(
        &self,
        partition: Partition,
        class: EndClass,
        after: Stamp,
        until: Stamp,
        limit: usize,
    ) -> Result<Vec<(OperationId, Stamp)>>;

    /// Returns the operations that ended after `after`, of all partitions and
    /// classes, in the order of completion. Every operation that ended up to
    /// [`Ended::until`] is in the answer (or was removed since), and no end
    /// will be put before it later: a caller that goes on from there misses
    /// nothing. Returns about `limit` at most; ends with equal stamps come
    /// together.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn ended_since(&self, after: Stamp, limit: usize) -> Result<Ended>;

    /// Returns the notices of a partition whose time has come, by the store's
    /// clock, earliest first. They stay until they are done.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn notices(&self, partition: Partition, limit: usize) -> Result<Vec<Notice>>;

    /// Returns, for each operation, whether its notice is owed still: due now or later.
    /// One round trip for all of them.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn notices_owed(&self, ids: &[OperationId]) -> Result<Vec<bool>>;

    /// Removes a notice that has arrived or is given up: it is owed no more.
    ///
    /// # Errors
    /// When the store is unavailable: the notice will be sent again.
    async fn notice_done(&self, id: OperationId) -> Result<()>;

    /// Puts off a notice that did not arrive: it is tried again after `delay`,
    /// and the attempt counts. Does nothing if no notice is owed. A repetition
    /// after an unclear answer may count the attempt twice.
    ///
    /// # Errors
    /// When the store is unavailable: the notice will be tried again soon.
    async fn notice_later(&self, id: OperationId, delay: Duration) -> Result<()>;

    /// Puts off a notice that was not tried, because other work must come
    /// first: its time comes again after `delay`, and nothing is counted. Does
    /// nothing if no notice is owed. May be repeated.
    ///
    /// # Errors
    /// When the store is unavailable: the notice keeps its time.
    async fn notice_put_off(&self, id: OperationId, delay: Duration) -> Result<()>;

    /// Returns the operations of a partition's offered set, with the stamps of
    /// their last offers: Ready ones whose last offer the broker has confirmed.
    /// They are in order of flow, then of creation, from behind `after` on. At
    /// most `limit` are looked at, and parked and held operations are not among
    /// them, so a look costs its answer. The second value is the place to go on
    /// behind, `None` at the end.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn offered(
        &self,
        partition: Partition,
        after: Option<OfferedPlace>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OfferedPlace>)>;

    /// Looks at the next `limit` Ready operations of a partition, and enters those into
    /// the offered set that are in no place: a build from before that set has had their
    /// offers confirmed. Returns true if there are more. The store remembers the place,
    /// so each operation is looked at once, whichever managers call. A store that no
    /// earlier build can have written has nothing to do.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn enter_offered(&self, _partition: Partition, _limit: usize) -> Result<bool> {
        Ok(false)
    }

    /// Puts an operation into the outbox again, if it still is Ready, is not held
    /// and was last offered with `seen`. `delay` keeps the entry from the relay for
    /// that long. Returns the new stamp, or `None` if another caller was
    /// faster.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn reoffer(&self, id: OperationId, seen: Stamp, delay: Duration)
    -> Result<Option<Stamp>>;

    /// Returns a fresh stamp of a partition, for a marker.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn stamp(&self, partition: Partition) -> Result<Stamp>;

    /// Notes that a marker has come back through the broker; the latest counts.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn marker_returned(&self, marker: &Marker) -> Result<()>;

    /// Returns the latest markers that have come back.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn markers(&self) -> Result<Vec<Marker>>;

    /// Returns one page of operations, newest first (by id). Operations of more
    /// than some [`ANSWER_BYTES`] end the page early.
    ///
    /// # Errors
    /// When the store is unavailable or a record cannot be read.
    async fn list(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page>;

    /// Does the same as [`Self::list`] without data and reports, which costs the
    /// same however large these are.
    ///
    /// # Errors
    /// As [`Self::list`].
    async fn list_summaries(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page<Summary>>;

    /// Counts the operations.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn counts(&self) -> Result<Counts>;

    /// Reserves idempotency keys, in the order given, each unless it is
    /// reserved, and returns what they stand for. A create reserves its key
    /// itself where both are of one partition ([`NewOperation::key`]).
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn reserve(&self, keys: &[Reservation]) -> Result<Vec<Reserved>>;

    /// Returns for each id whether an operation with it was removed, as far as
    /// the store remembers: see [`Commit::remember`].
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn were_removed(&self, ids: &[OperationId]) -> Result<Vec<bool>>;

    /// Notes that fields up to this minor version of the store's format may be
    /// written from now on; returns the greatest minor version that was noted.
    /// The number never falls, so 0 only reads it.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn note_minor(&self, minor: u16) -> Result<u16>;

    /// Checks once that the store takes new operations: it answers, accepts writes,
    /// and has room.
    ///
    /// # Errors
    /// When the store is unavailable, with its reason.
    async fn check(&self) -> Result<()>;

    /// The name of one life of the store: it changes when the store has
    /// restarted and may have lost its last writes.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn incarnation(&self) -> Result<String>;
}
