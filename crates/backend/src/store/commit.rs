//! A commit: one atomic change of one operation, and its answer.

use std::time::Duration;

use drumline_protocol::history::{self, Author, Entry};
use drumline_protocol::transition::{Effects, Transition};
use drumline_protocol::{
    Body, CommitId, Fence, Header, OperationId, OutputParts, Report, ScopeKey, State,
};

use super::lock::Holding;
use super::outbox::{Promoted, Stamp};
use crate::member_id::MemberId;

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
    /// The lock must still have this owner and fence: writes of the holder.
    Holder(Holding),
    /// The lock must still stand exactly as it was watched: a take-over.
    Unchanged {
        /// The owner and the fence that were seen.
        holding: Holding,
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
    /// The entries of the history to write in the same step: see
    /// [`history::to_store`].
    pub entries: Vec<Entry>,
    /// The output of the attempt that ends, to write in the same step; `None` if its
    /// handler has printed nothing.
    pub output: Option<OutputParts>,
    /// The scopes that the operation is in, for a claim: a lock is not taken
    /// while one of them is paused. Empty for a claim that no pause stops.
    pub scopes: Vec<ScopeKey>,
    /// True if the answer is to bring body, report and sequence along, unless
    /// they are too large for it.
    pub want_record: bool,
    /// The least time for which an operation that the commit removes is remembered: a
    /// create whose key stands for it must find that it was removed.
    pub remember: Duration,
}

impl Commit {
    /// The commit of a transition from `before`, made by this author.
    #[must_use]
    pub fn new(
        id: OperationId,
        before: &Header,
        transition: &Transition,
        guard: Guard,
        author: &Author,
    ) -> Self {
        let entries = history::to_store(before, transition, author);
        let mut header = transition.header.clone();
        header.sign(author);
        Self {
            id,
            expected: before.version,
            after: before.commit,
            from: before.status.state(),
            header,
            effects: transition.effects,
            guard,
            report: None,
            entries,
            output: None,
            scopes: Vec::new(),
            want_record: false,
            remember: Duration::ZERO,
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
    /// and it will be offered when it becomes the head. A store without room for the
    /// outcome of a start answers a claim so, too, and offers the operation again when
    /// there is room.
    NotHead,
    /// The commit takes a lock, and this scope of the operation is paused.
    /// Nothing is written, but the operation is held: it is in the held set
    /// instead of the outbox, and will be offered when the pause is lifted.
    Held(ScopeKey),
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
    /// The record, if [`Commit::want_record`] asked for it and the answer has
    /// room for it: see [`ALONG_BYTES`](super::ALONG_BYTES). Otherwise the caller
    /// reads it, with [`Store::get`](super::Store::get).
    pub record: Option<Record>,
    /// The operation's own entry in the outbox, if it got one.
    pub offer: Option<Stamp>,
    /// The chain's new head, if this commit put it into the outbox.
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
