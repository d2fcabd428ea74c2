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

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::transition::{Effects, EndClass, Transition};
use drumline_protocol::{
    Body, ChainKey, CommitId, Fence, Header, Operation, OperationId, OperationType, Organization,
    Partition, PartitionCount, Report, State, Status, Timestamp, codec,
};
use tokio::sync::broadcast;

use crate::membership::MemberId;

/// The errors of a store. A refusal is not an error: see [`Committed`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer, or answers that it cannot now (loading,
    /// read-only, out of memory or disk). A write may or may not have been
    /// made; try again.
    #[error("the store is not available: {message}")]
    Unavailable {
        /// The store's own message, or the action that was tried.
        message: String,
        /// The underlying error.
        #[source]
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
    /// The store holds bytes that this release did not write.
    #[error("the store holds a record that this release cannot read")]
    Corrupt(#[source] Arc<codec::Error>),
    /// The store is set up in a way that would lose data, or for another
    /// release.
    #[error("the store must not be used: {0}")]
    Unfit(String),
}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Self {
        Self::Corrupt(Arc::new(error))
    }
}

/// The store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The name of one entry in the outbox, or of one moment of a partition.
/// It only ever grows: microseconds of the store's clock where that moves on,
/// the last stamp + 1 where it does not.
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

/// The outcome of a create.
#[derive(Clone, Debug)]
pub enum Created {
    /// The operation is stored (now, or by an earlier try of the same create).
    New {
        /// Its place in the order of submission.
        sequence: u64,
        /// Its entry in the outbox: publish it. `None` where the
        /// operation is Suspended, or parked behind its predecessors.
        offer: Option<Stamp>,
    },
    /// Another create has used this id before.
    Exists(Box<Operation>),
}

/// The lock that a commit relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// None: clients, due times.
    None,
    /// The lock is taken for this owner; a claim.
    Acquire {
        /// The worker.
        owner: MemberId,
        /// The time for which the lock may stand still before a take-over.
        lease: Duration,
    },
    /// The lock must still have this fence: writes of the holder.
    Holder(Fence),
    /// The lock must still stand exactly as it was watched: a take-over.
    Unchanged {
        /// The fence that was seen.
        fence: Fence,
        /// The beat that was seen.
        beat: u64,
    },
}

/// One atomic change of one operation.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The operation that changes.
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
    /// The effects to do in the same step.
    pub effects: Effects,
    /// The lock that the commit relies on.
    pub guard: Guard,
    /// A report to write, if it has changed.
    pub report: Option<Report>,
    /// True if the answer is to bring body, report and sequence along.
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

/// The outcome of a commit.
#[derive(Clone, Debug)]
pub enum Committed {
    /// The commit is made (now, or by an earlier try of the same commit).
    Done(Box<Done>),
    /// The commit required the head of the chain (a claim, or an end that is to
    /// hold the chain), and the operation is not the head. Nothing is written,
    /// but the operation is parked: its entry in the outbox is withdrawn,
    /// and it will be offered when it becomes the head.
    NotHead,
    /// Another commit was faster: this is the header now. Decide again.
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
    /// The record, if [`Commit::want_record`] asked for it.
    pub record: Option<Record>,
    /// The operation's own entry in the outbox, if it got one.
    pub offer: Option<Stamp>,
    /// The chain's new head, if this commit put it into the outbox.
    pub promoted: Option<Promoted>,
}

/// The outcome of a transaction.
#[derive(Clone, Debug)]
pub enum Transacted {
    /// All of it is made (now, or by an earlier try of the same transaction).
    Done {
        /// The creates, in the order given. [`Created::Exists`] refuses
        /// nothing: another create has used the id, and this one wrote nothing.
        created: Vec<Created>,
        /// The commits, in the order given.
        committed: Vec<Done>,
    },
    /// Nothing is written.
    Refused {
        /// The place of the first commit that stands against it, from 0.
        commit: usize,
        /// The answer of that commit: anything but [`Committed::Done`].
        answer: Committed,
    },
}

/// Checks a requirement of every store: no operation is in a transaction twice,
/// because a commit is decided on the state before the transaction.
///
/// # Errors
/// [`Error::Unfit`] with the first operation that is in it twice.
pub fn check_distinct(creates: &[NewOperation], commits: &[Commit]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let creates = creates.iter().map(|new| new.id);
    for id in creates.chain(commits.iter().map(|commit| commit.id)) {
        if !seen.insert(id) {
            return Err(Error::Unfit(format!("{id} is in one transaction twice")));
        }
    }
    Ok(())
}

/// A stretch of the order in which operations have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The operations that ended within the stretch, earliest first, without
    /// the ones that have been removed since.
    pub entries: Vec<(Stamp, OperationId)>,
    /// The end of the stretch (inclusive): the next stretch starts after it.
    pub until: Stamp,
}

/// A notice of an operation's end that is owed to a receiver outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The operation that has ended.
    pub id: OperationId,
    /// The number of earlier tries: 0 for the first try. Stops counting at
    /// [`Self::MOST_ATTEMPTS`].
    pub attempt: u32,
}

impl Notice {
    /// The count at which attempts stop being counted.
    pub const MOST_ATTEMPTS: u32 = 255;
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

/// An operation that may run now, and its entry in the outbox.
#[derive(Clone, Debug)]
pub struct Promoted {
    /// The operation.
    pub operation: Operation,
    /// Its entry.
    pub stamp: Stamp,
}

/// The last offer of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastOffer {
    /// The stamp of its latest entry in the outbox.
    pub stamp: Stamp,
    /// True if that entry is still there: the broker is not known to have the
    /// offer.
    pub is_in_outbox: bool,
}

/// A lock as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The operation that is locked.
    pub id: OperationId,
    /// The owner of the lock.
    pub owner: MemberId,
    /// The fence of this holding.
    pub fence: Fence,
    /// The beat moves with every renewal.
    pub beat: u64,
    /// The time for which the beat may stand still.
    pub lease: Duration,
}

/// The answer to a renewal of one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lock is held for another lease.
    Held {
        /// The handler has been asked to stop: read the header to see why.
        asked_to_stop: bool,
    },
    /// The lock is not the caller's any more: stop at once, write nothing.
    Lost,
}

/// The selection of a listing. An empty filter selects everything; several
/// conditions must all hold.
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
    /// Created before this time.
    pub created_before: Option<Timestamp>,
    /// Completed before this time.
    pub completed_before: Option<Timestamp>,
    /// With this correlation id.
    pub correlation_id: Option<uuid::Uuid>,
    /// True: the operation holds its chain.
    pub holding: Option<bool>,
    /// Of this tenant.
    pub organization: Option<Organization>,
}

impl Filter {
    /// Returns true if an operation is selected.
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
            && self
                .created_before
                .is_none_or(|time| body.created_on < time)
            && self
                .completed_before
                .is_none_or(|time| header.completed_on.is_some_and(|end| end < time))
            && holds(self.correlation_id.as_ref(), &body.correlation_id)
            && holds(self.holding.as_ref(), &header.holding)
            && holds(self.organization.as_ref(), &body.organization)
    }

    /// The time before which every selected operation was created, if the
    /// filter implies one: an operation that ended before a time was created
    /// before it, too.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        let both = [self.created_before, self.completed_before];
        both.into_iter().flatten().min()
    }

    /// The states that a selected operation can be in.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        let by_status = self.status.map(Status::state);
        State::ALL
            .into_iter()
            .filter(|state| self.state.is_none_or(|wanted| wanted == *state))
            .filter(|state| by_status.is_none_or(|wanted| wanted == *state))
            .filter(|state| self.holding != Some(true) || *state == State::Completed)
            .filter(|state| self.completed_before.is_none() || *state == State::Completed)
            .collect()
    }
}

/// One page of a listing, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The operations.
    pub operations: Vec<Operation>,
    /// The start of the next page (exclusive): everything listed further on is
    /// older. `None`: that was all. A page may be short, even empty, and still
    /// have a next one, because one call looks at a bounded number of records.
    pub next: Option<OperationId>,
}

/// The number of operations in each state.
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
    /// In the outbox.
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

/// The store keeps all operations and makes every decision, atomically.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The number of partitions. Fixed when the store was first used.
    fn partitions(&self) -> PartitionCount;

    /// The store's time, from a running estimate: no round trip.
    fn now(&self) -> Timestamp;

    /// Receives the id of each operation that is Completed, as far as this
    /// process can know: best effort, for waiters that also look themselves.
    fn completions(&self) -> broadcast::Receiver<OperationId>;

    /// Stores operations, in the order given; each by itself is atomic:
    /// record, place in its chain, indexes, due set, outbox.
    ///
    /// # Errors
    /// When the store is unavailable. Some may have been stored; repeat with
    /// the same ids.
    async fn create(&self, operations: Vec<NewOperation>) -> Result<Vec<Created>>;

    /// Makes commits; each by itself is atomic, and they are answered in order.
    ///
    /// # Errors
    /// When the store is unavailable. Some may have been made; repeat the same
    /// commits.
    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>>;

    /// Creates operations and makes commits, of any partitions, all or nothing.
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

    /// Reads operations; `None` for an operation that does not exist.
    ///
    /// # Errors
    /// When the store is unavailable or a record cannot be read.
    async fn get(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>>;

    /// Writes the report of the holder; returns `false` if the fence is not the
    /// holder's any more. The header and its version stay.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn report(&self, id: OperationId, fence: Fence, report: &Report) -> Result<bool>;

    /// Moves the beats of locks; answers in order.
    ///
    /// # Errors
    /// When the store is unavailable: the locks are as good as not renewed.
    async fn renew(&self, locks: &[(OperationId, Fence)]) -> Result<Vec<Renewal>>;

    /// Returns all locks of a partition.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn locks(&self, partition: Partition) -> Result<Vec<Lock>>;

    /// Removes entries that the broker has confirmed from the outbox. An
    /// entry with another stamp is another entry, and stays.
    ///
    /// # Errors
    /// When the store is unavailable: the entries will be published once more.
    async fn remove_from_outbox(&self, entries: &[(OperationId, Stamp)]) -> Result<()>;

    /// Returns the entries of a partition's outbox that are older than
    /// `age` and have a stamp above `after`, oldest first, with their
    /// operations. Returns fewer than `limit` where the operations are large.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn outbox_entries(
        &self,
        partition: Partition,
        age: Duration,
        after: Option<Stamp>,
        limit: usize,
    ) -> Result<Vec<Promoted>>;

    /// Reads the last offer of an operation; `None` if the operation does not
    /// exist.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn last_offer(&self, id: OperationId) -> Result<Option<LastOffer>>;

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
    /// classes, in the order of the ends. Every operation that ended up to
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

    /// Returns the Ready operations of a partition that ought to be in the
    /// broker (not in the outbox, and a head or without a chain), with
    /// the stamp of their last offer; oldest first, ids after `after`. At most
    /// `limit` Ready operations are looked at. The second value is the id to go
    /// on from, `None` at the end.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn offered(
        &self,
        partition: Partition,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OperationId>)>;

    /// Puts an operation into the outbox again, if it still is Ready and
    /// was last offered with `seen`. `delay` keeps the entry from the relay for
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
    async fn marker_returned(&self, marker: &drumline_protocol::message::Marker) -> Result<()>;

    /// Returns the latest markers that have come back.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn markers(&self) -> Result<Vec<drumline_protocol::message::Marker>>;

    /// Returns one page of operations, newest first (by id).
    ///
    /// # Errors
    /// When the store is unavailable or a record cannot be read.
    async fn list(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page>;

    /// Counts the operations.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn counts(&self) -> Result<Counts>;

    /// Reserves an idempotency key, unless it is reserved, and returns the
    /// reservation that holds. The reservation is kept for `keep`.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn reserve(
        &self,
        key: [u8; 16],
        reservation: Reservation,
        keep: Duration,
    ) -> Result<Reservation>;

    /// The name of one life of the store: it changes when the store has
    /// restarted and may have lost its last writes.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn incarnation(&self) -> Result<String>;
}
