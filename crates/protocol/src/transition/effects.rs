//! What a store performs together with the write of a header.
//!
//! Stores know these, and no states: every rule is decided before, in Rust.

use crate::time::Timestamp;

/// What a store performs in the commit of a transition.
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
    /// It ends: note when, among those of this class, and tell those who wait.
    pub end: Option<EndClass>,
    /// A notice of the end is owed to somebody outside: note that.
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

/// What becomes of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockEffect {
    /// Nothing.
    Keep,
    /// It is taken, with a fresh fence; the commit names the owner.
    Take,
    /// It is given up.
    Release,
    /// It stays, and its holder is asked to stop; the next renewal tells it.
    AskToStop,
}

/// What becomes of the place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainEffect {
    /// Nothing.
    Keep,
    /// The commit is refused unless the operation is the head.
    RequireHead,
    /// It leaves; if the next head is Ready, it is put into the outbox.
    Leave,
    /// It ends and stays, so that nobody behind it can start. The commit is
    /// refused unless it is the head: behind others it would stop the chain
    /// before its turn.
    Hold,
}

/// What becomes of the due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueEffect {
    /// Nothing.
    Keep,
    /// It wakes at this time.
    Set(Timestamp),
    /// It does not wake by itself.
    Clear,
}

/// What becomes of the entry in the outbox.
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

/// How an operation has ended, as far as retention makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndClass {
    /// Succeeded.
    Succeeded,
    /// Failed or Canceled: kept longer, somebody may want to look at it.
    Unsuccessful,
    /// Succeeded, and nobody wants its history.
    Transient,
}

impl EndClass {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Unsuccessful, Self::Transient];

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
