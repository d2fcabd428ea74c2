//! The stop signal of a running handler, and its reason.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// The reason that a handler is to stop. A reason is replaced only by a reason
/// further down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopReason {
    /// The worker shuts down and gives the operation back to other workers. No
    /// retry is used up.
    Drain,
    /// The handler has run longer than its timeout.
    Timeout,
    /// A client lets the operation wait (pause, or postpone). A checkpoint that
    /// is saved now will be there when the operation is run again.
    Pause,
    /// A client has cancelled the operation.
    Cancel,
    /// This worker has lost the operation, and another worker may run it already.
    /// Nothing that is reported now will be kept.
    LeaseLost,
}

impl StopReason {
    const ALL: [Self; 5] = [
        Self::Drain,
        Self::Timeout,
        Self::Pause,
        Self::Cancel,
        Self::LeaseLost,
    ];

    /// The word in logs, spans and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Timeout => "timeout",
            Self::Pause => "pause",
            Self::Cancel => "cancel",
            Self::LeaseLost => "lease lost",
        }
    }

    /// The reason's number in the list, from 1. 0 stands for "not asked".
    const fn rank(self) -> u8 {
        match self {
            Self::Drain => 1,
            Self::Timeout => 2,
            Self::Pause => 3,
            Self::Cancel => 4,
            Self::LeaseLost => 5,
        }
    }
}

/// One handler's stop signal. The reason only ever gets more serious.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    rank: AtomicU8,
    changed: Notify,
}

impl Stop {
    /// Asks the handler to stop, unless a graver reason was given already.
    pub(crate) fn request(&self, reason: StopReason) {
        if self.rank.fetch_max(reason.rank(), Ordering::AcqRel) < reason.rank() {
            self.changed.notify_waiters();
        }
    }

    /// The reason that the handler is to stop, if it has been asked.
    pub(crate) fn reason(&self) -> Option<StopReason> {
        let rank = self.rank.load(Ordering::Acquire);
        StopReason::ALL
            .into_iter()
            .find(|reason| reason.rank() == rank)
    }

    /// Returns true if this worker has lost the operation.
    pub(crate) fn is_lost(&self) -> bool {
        self.reason() == Some(StopReason::LeaseLost)
    }

    /// Waits until the handler is asked to stop. Returns at once if the handler
    /// has been asked already. Cancel-safe.
    pub(crate) async fn requested(&self) -> StopReason {
        self.at_least(StopReason::Drain).await
    }

    /// Waits until this worker has lost the operation. Cancel-safe.
    pub(crate) async fn lost(&self) {
        self.at_least(StopReason::LeaseLost).await;
    }

    /// Waits until the handler is asked to stop for this reason or a graver one.
    /// Cancel-safe.
    pub(crate) async fn at_least(&self, wanted: StopReason) -> StopReason {
        loop {
            // Listens before it reads, so a change in between is not missed.
            let changed = self.changed.notified();
            if let Some(reason) = self.reason().filter(|reason| *reason >= wanted) {
                return reason;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_ranked_as_they_are_listed() {
        let mut sorted = StopReason::ALL;
        sorted.sort_by_key(|reason| reason.rank());
        assert_eq!(sorted, StopReason::ALL);
        assert!(StopReason::ALL.is_sorted());
    }

    #[test]
    fn a_graver_reason_replaces_a_lighter_one_only() {
        let stop = Stop::default();
        assert_eq!(stop.reason(), None);
        stop.request(StopReason::Pause);
        stop.request(StopReason::Drain);
        assert_eq!(stop.reason(), Some(StopReason::Pause));
        stop.request(StopReason::Cancel);
        assert_eq!(stop.reason(), Some(StopReason::Cancel));
        assert!(!stop.is_lost());
    }

    #[tokio::test]
    async fn waiting_ends_with_the_request() {
        let stop = Stop::default();
        let (reason, ()) = tokio::join!(stop.requested(), async {
            stop.request(StopReason::Cancel);
        });
        assert_eq!(reason, StopReason::Cancel);
    }
}
