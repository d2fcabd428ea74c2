//! The effects that a store performs together with the write of a header.
//!
//! Stores know these, and no states: every rule is decided before, in Rust.

use crate::operation::Header;
use crate::status::Status;
use crate::time::Timestamp;

/// The effects that a store performs in the commit of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The lock.
    pub lock: LockEffect,
    /// The place in the chain, for an operation with a token.
    pub chain: ChainEffect,
    /// The due set.
    pub due: DueEffect,
    /// The outbox.
    pub offer: OfferEffect,
    /// It ends: note when, among those of this class, and notify its waiters.
    pub end: Option<EndClass>,
    /// A notice of the end is owed to a webhook: note that.
    pub tell: bool,
    /// Remove the operation and every trace of it.
    pub remove: bool,
}

impl Effects {
    /// Nothing but the header.
    pub const NONE: Self = Self {
        lock: LockEffect::Keep,
        chain: ChainEffect::Keep,
        due: DueEffect::Keep,
        offer: OfferEffect::Keep,
        end: None,
        tell: false,
        remove: false,
    };
}

/// The effect on the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockEffect {
    /// Nothing.
    Keep,
    /// It is taken, with a fresh fence; the commit names the owner.
    Take,
    /// It is given up.
    Release,
    /// It stays, and its holder is asked to stop: the next renewal says so.
    AskToStop,
}

/// The effect on the place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainEffect {
    /// Nothing.
    Keep,
    /// The commit is refused unless the operation is the head.
    RequireHead,
    /// It leaves; if the next head is Ready, it is put into the outbox.
    Leave,
    /// It ends and stays, so that nothing behind it can start. The commit is
    /// refused unless it is the head: behind others it would stop the chain
    /// before its turn.
    Hold,
}

/// The effect on the due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueEffect {
    /// Nothing.
    Keep,
    /// It wakes or expires at this time.
    Set(Timestamp),
    /// It neither wakes nor expires by itself.
    Clear,
}

/// The effect on the entry in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfferEffect {
    /// Nothing.
    Keep,
    /// It is to be published, if it is a head or has no token; otherwise it is
    /// parked, and published when it becomes the head.
    Add,
    /// It is not to be published.
    Withdraw,
}

/// The kinds of ends between which retention makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndClass {
    /// Succeeded.
    Succeeded,
    /// Failed or Canceled: kept longer, for an operator may want to look at it.
    Unsuccessful,
    /// Succeeded, and its history is not wanted.
    Transient,
}

impl EndClass {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Unsuccessful, Self::Transient];

    /// The class of an operation with this header; `None` if it is not Completed.
    #[must_use]
    pub const fn of(header: &Header) -> Option<Self> {
        match header.status {
            Status::Succeeded if header.rules.transient => Some(Self::Transient),
            Status::Succeeded => Some(Self::Succeeded),
            Status::Failed | Status::Canceled => Some(Self::Unsuccessful),
            Status::WaitingForResources
            | Status::Waiting
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling => None,
        }
    }

    /// The word in metrics and settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Unsuccessful => "unsuccessful",
            Self::Transient => "transient",
        }
    }
}
