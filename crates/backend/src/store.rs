//! The store: where every decision is made, atomically.
//!
//! A store keeps records, chains, locks, due times and the dispatch set, and
//! executes [`Commit`]s: "if this is still version 7, write this header and do
//! these effects". It knows effects, not states. Each verb may be repeated
//! after an unclear answer (a timeout is not a failure): it recognises its own
//! first write and answers as it did then.
//!
//! All futures are cancel-safe in the sense that matters here: dropping one
//! leaves it open whether the write was made, and repeating it is harmless.

use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::transition::{Effects, Transition};
use drumline_protocol::{
    Body, ChainKey, CommitId, Fence, Header, Operation, OperationId, OperationType, Partition,
    PartitionCount, Report, State, Status, Timestamp,
};
use tokio::sync::broadcast;

use crate::membership::MemberId;

/// What can go wrong with a store. A refusal is not an error: see
/// [`Committed`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer, or answers that it cannot now (loading, read-only,
    /// out of memory or disk). Whether a write was made is open; try again.
    #[error("the store is not available: {message}")]
    Unavailable {
        /// What it said, or what was tried.
        message: String,
        /// What lies beneath.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It holds bytes that this release did not write.
    #[error("the store holds a record that this release cannot read")]
    Corrupt(#[from] drumline_protocol::codec::Error),
    /// It is set up in a way that would lose data, or for another release.
    #[error("the store must not be used: {0}")]
    Unfit(String),
}

/// The store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The name of one entry in the dispatch set, or of one moment of a partition:
/// it only ever grows. Microseconds of the store's clock where that moves on,
/// the last one + 1 where it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// An operation that is to be created.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// Its id; the chain's partition where it has a chain.
    pub id: OperationId,
    /// Its first header.
    pub header: Header,
    /// Its body.
    pub body: Body,
}

/// What became of a create.
#[derive(Clone, Debug)]
pub enum Created {
    /// It is stored (now, or by an earlier try of the same create).
    New {
        /// Its place in the order of submission.
        sequence: u64,
        /// Its entry in the dispatch set: publish it. `None` where it is
        /// Suspended, or parked behind its predecessors.
        offer: Option<Stamp>,
    },
    /// Another create has used this id before.
    Exists(Box<Operation>),
}

/// Which lock a commit relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// None: clients, due times.
    Open,
    /// The lock is taken for this owner; a claim.
    Taking {
        /// The worker.
        owner: MemberId,
        /// How long the lock may stand still before others may take over.
        lease: Duration,
    },
    /// The lock must still have this fence: writes of the holder.
    Holder(Fence),
    /// The lock must still stand exactly as it was watched: a take-over.
    Watched {
        /// The fence that was seen.
        fence: Fence,
        /// The beat that was seen.
        beat: u64,
    },
}

/// One atomic change of one operation.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Which operation.
    pub id: OperationId,
    /// The version that the decision was made on.
    pub expected: u64,
    /// The commit that wrote that version. A store that has lost its last
    /// writes gives out version numbers twice, and a message may still carry a
    /// header of the lost past.
    pub after: CommitId,
    /// The state at that version.
    pub from: State,
    /// The header to write. Its `commit` is what a repetition recognises.
    pub header: Header,
    /// What to do in the same step.
    pub effects: Effects,
    /// The lock that it relies on.
    pub guard: Guard,
    /// A report to write, where it has changed.
    pub report: Option<Report>,
    /// Whether the answer is to bring body, report and sequence along.
    pub want_record: bool,
}

impl Commit {
    /// The commit of a transition from `before`.
    #[must_use]
    pub fn new(id: OperationId, before: &Header, transition: &Transition, guard: Guard) -> Self {
        Self {
            id,
            expected: before.version,
            after: before.commit,
            from: before.status.state(),
            header: transition.header.clone(),
            effects: transition.effects,
            guard,
            report: None,
            want_record: false,
        }
    }
}

/// What became of a commit.
#[derive(Clone, Debug)]
pub enum Committed {
    /// It is made (now, or by an earlier try of the same commit).
    Done(Box<Done>),
    /// It required the head of the chain, and the operation is not: nothing is
    /// written, but the operation is parked: its entry in the dispatch set is
    /// withdrawn, and it will be offered when it becomes the head.
    NotHead,
    /// Somebody was faster: this is the header now. Decide anew.
    Conflict(Box<Header>),
    /// The lock is not the one that the guard names: the caller is stale.
    Fenced,
    /// There is no such operation (any more).
    Missing,
}

/// The answer to a commit that was made.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// The fence of a lock that was taken.
    pub fence: Option<Fence>,
    /// What [`Commit::want_record`] asked for.
    pub record: Option<Record>,
    /// The operation's own entry in the dispatch set, where it got one.
    pub offer: Option<Stamp>,
    /// The chain's new head, where this commit put it into the dispatch set.
    pub promoted: Option<Promoted>,
}

/// The parts of an operation that a claim brings along.
#[derive(Clone, Debug)]
pub struct Record {
    /// The body.
    pub body: Body,
    /// The report as it stands.
    pub report: Report,
    /// The order of submission.
    pub sequence: u64,
}

/// An operation that may run now, and its entry in the dispatch set.
#[derive(Clone, Debug)]
pub struct Promoted {
    /// The operation.
    pub operation: Operation,
    /// Its entry.
    pub stamp: Stamp,
}

/// A lock as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What it locks.
    pub id: OperationId,
    /// Who holds it.
    pub owner: MemberId,
    /// Which holding this is.
    pub fence: Fence,
    /// Moves with every renewal.
    pub beat: u64,
    /// How long it may stand still.
    pub lease: Duration,
}

/// The answer to a renewal of one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Held for another lease.
    Held {
        /// The handler has been asked to stop: read the header to see why.
        asked_to_stop: bool,
    },
    /// Not the caller's lock any more: stop at once, write nothing.
    Lost,
}

/// What a listing selects. Empty selects everything; several conditions must
/// all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exactly this name.
    pub name: Option<String>,
    /// This state.
    pub state: Option<State>,
    /// This status.
    pub status: Option<Status>,
    /// Exactly this message name.
    pub message_name: Option<String>,
    /// This operation type.
    pub operation_type: Option<OperationType>,
    /// This chain (the dependency token in the caller's organization).
    pub chain: Option<ChainKey>,
    /// Created after this time.
    pub created_after: Option<Timestamp>,
    /// With this correlation id.
    pub correlation_id: Option<uuid::Uuid>,
}

impl Filter {
    /// Whether an operation is selected.
    #[must_use]
    pub fn selects(&self, operation: &Operation) -> bool {
        fn holds<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        let Operation { header, body, .. } = operation;
        holds(self.name.as_ref(), &body.name)
            && holds(self.state.as_ref(), &header.status.state())
            && holds(self.status.as_ref(), &header.status)
            && holds(self.message_name.as_ref(), &body.message_name)
            && holds(self.operation_type.as_ref(), &header.rules.operation_type)
            && self
                .chain
                .is_none_or(|chain| header.rules.chain == Some(chain))
            && self.created_after.is_none_or(|time| body.created_on > time)
            && holds(self.correlation_id.as_ref(), &body.correlation_id)
    }

    /// The states that a selected operation can be in.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        let by_status = self.status.map(Status::state);
        State::ALL
            .into_iter()
            .filter(|state| self.state.is_none_or(|wanted| wanted == *state))
            .filter(|state| by_status.is_none_or(|wanted| wanted == *state))
            .collect()
    }
}

/// One page of a listing, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The operations.
    pub operations: Vec<Operation>,
    /// Where the next page starts (exclusive): everything listed further on is
    /// older. `None`: that was all. A page may be short, even empty, and still
    /// have a next one, because one call looks at a bounded number of records.
    pub next: Option<OperationId>,
}

/// How many operations there are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready.
    pub ready: u64,
    /// Suspended.
    pub suspended: u64,
    /// Locked.
    pub locked: u64,
    /// Completed and not yet removed.
    pub completed: u64,
    /// In the dispatch set.
    pub undispatched: u64,
}

/// An idempotency key's reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The id under which the operation is, or will be, created.
    pub id: OperationId,
    /// The fingerprint of the request that reserved it.
    pub content: [u8; 16],
}

/// The store: see the module's text.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// How many partitions it has. Fixed when it was first used.
    fn partitions(&self) -> PartitionCount;

    /// The store's time. Read from a running estimate: no round trip.
    fn now(&self) -> Timestamp;

    /// Hears the id of each operation that is Completed, as far as this
    /// process can know: best effort, for waiters that also look themselves.
    fn completions(&self) -> broadcast::Receiver<OperationId>;

    /// Stores operations, in the order given; each by itself is atomic:
    /// record, place in its chain, indexes, due set, dispatch set.
    ///
    /// # Errors
    /// When the store is away. Some may have been stored; repeat with the same ids.
    async fn create(&self, operations: Vec<NewOperation>) -> Result<Vec<Created>>;

    /// Makes commits; each by itself is atomic, and they are answered in order.
    ///
    /// # Errors
    /// When the store is away. Some may have been made; repeat the same commits.
    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>>;

    /// Reads operations; `None` for those that are not there.
    ///
    /// # Errors
    /// When the store is away or a record cannot be read.
    async fn get(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>>;

    /// Writes the holder's report, if it still is the holder: `false` if not.
    /// The header and its version stay.
    ///
    /// # Errors
    /// When the store is away.
    async fn report(&self, id: OperationId, fence: Fence, report: &Report) -> Result<bool>;

    /// Moves the beat of locks; answers in order.
    ///
    /// # Errors
    /// When the store is away: the locks are as good as not renewed.
    async fn renew(&self, locks: &[(OperationId, Fence)]) -> Result<Vec<Renewal>>;

    /// All locks of a partition.
    ///
    /// # Errors
    /// When the store is away.
    async fn locks(&self, partition: Partition) -> Result<Vec<Lock>>;

    /// Removes entries from the dispatch set: they are confirmed by the
    /// broker. An entry with another stamp is another entry, and stays.
    ///
    /// # Errors
    /// When the store is away: they will be published once more.
    async fn dispatched(&self, entries: &[(OperationId, Stamp)]) -> Result<()>;

    /// Entries of the dispatch set of a partition that are older than `age`,
    /// oldest first, with their operations; fewer than `limit` where they are
    /// large.
    ///
    /// # Errors
    /// When the store is away.
    async fn undispatched(
        &self,
        partition: Partition,
        age: Duration,
        limit: usize,
    ) -> Result<Vec<Promoted>>;

    /// Operations whose due time has come, by the store's clock, earliest first.
    ///
    /// # Errors
    /// When the store is away.
    async fn due(&self, partition: Partition, limit: usize) -> Result<Vec<OperationId>>;

    /// Ready operations of a partition that ought to be in the broker (not in
    /// the dispatch set, and a head or without a chain), with the stamp of
    /// their last offer; oldest first, ids after `after`. At most `limit` Ready
    /// operations are looked at; the second value is where to go on, `None` at
    /// the end.
    ///
    /// # Errors
    /// When the store is away.
    async fn offered(
        &self,
        partition: Partition,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OperationId>)>;

    /// Puts an operation into the dispatch set again, if it still is Ready and
    /// was last offered with `seen`. `delay` keeps it from the relay for so
    /// long. The new stamp; `None` where somebody was faster.
    ///
    /// # Errors
    /// When the store is away.
    async fn reoffer(&self, id: OperationId, seen: Stamp, delay: Duration)
    -> Result<Option<Stamp>>;

    /// A fresh stamp of a partition, for a marker.
    ///
    /// # Errors
    /// When the store is away.
    async fn stamp(&self, partition: Partition) -> Result<Stamp>;

    /// Notes that a marker has come back through the broker; the latest counts.
    ///
    /// # Errors
    /// When the store is away.
    async fn marker_returned(&self, marker: &drumline_protocol::message::Marker) -> Result<()>;

    /// The latest markers that have come back.
    ///
    /// # Errors
    /// When the store is away.
    async fn markers(&self) -> Result<Vec<drumline_protocol::message::Marker>>;

    /// One page of operations, newest first (by id).
    ///
    /// # Errors
    /// When the store is away or a record cannot be read.
    async fn list(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page>;

    /// How many operations there are.
    ///
    /// # Errors
    /// When the store is away.
    async fn counts(&self) -> Result<Counts>;

    /// Reserves an idempotency key, unless it is reserved: the reservation
    /// that holds. Kept for `keep`.
    ///
    /// # Errors
    /// When the store is away.
    async fn reserve(
        &self,
        key: [u8; 16],
        reservation: Reservation,
        keep: Duration,
    ) -> Result<Reservation>;

    /// What tells one life of the store from the next: it changes when the
    /// store has restarted and may have lost its last writes.
    ///
    /// # Errors
    /// When the store is away.
    async fn incarnation(&self) -> Result<String>;
}
