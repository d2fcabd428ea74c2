//! Rules that can be broken, one at a time, to see that the check notices.
//!
//! The code under test is untouched: the model's own actors break the rule on
//! their way to it.

/// The rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// None.
    None,
    /// A confirm removes any entry, not just the one that was published.
    ConfirmIgnoresStamp,
    /// A completion leaves the next head where it is.
    NobodyIsPromoted,
    /// A claim does not ask whether the operation is the head.
    ClaimIgnoresOrder,
    /// A holder's write does not ask whether it still is the holder.
    WriteIgnoresFence,
    /// A take-over does not ask whether the lock has moved since it was seen.
    TakeOverIgnoresBeat,
    /// An operation that is to hold its chain leaves it.
    HoldLetsGo,
    /// The relay does not publish entries left in the outbox.
    RelaySleeps,
    /// No watcher takes over from a dead worker.
    NobodyWatches,
    /// An offer that its queue does not confirm takes no other way.
    NobodyBypasses,
    /// Offers in a queue that does not work are left there.
    NobodyRedirects,
    /// The scheduler does not end what has not started in time.
    NobodyExpires,
    /// A claim does not ask whether the time to start is over.
    ClaimIgnoresExpiry,
    /// A claim does not ask whether a pause holds the operation.
    ClaimIgnoresPauses,
    /// No manager releases what a lifted pause has held.
    NobodyReleases,
    /// An operation is held, and no held set has it.
    HeldIsForgotten,
    /// A commit writes no entry into the history.
    NothingIsOnRecord,
}
