//! The lease of one run, as far as this worker knows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The age of a lease's last renewal, shared with the thread that renews it.
#[derive(Debug)]
pub(crate) struct HeldLease {
    length: Duration,
    claimed: Instant,
    /// The time at which the last successful renewal was sent, in µs after
    /// `claimed`.
    renewed_us: AtomicU64,
}

impl HeldLease {
    /// A lease that was taken by a request sent at `claimed`.
    pub(crate) const fn new(length: Duration, claimed: Instant) -> Self {
        Self {
            length,
            claimed,
            renewed_us: AtomicU64::new(0),
        }
    }

    /// Notes a successful renewal. The time of *sending* counts: the store
    /// cannot have seen the renewal any earlier.
    pub(crate) fn renewed(&self, sent: Instant) {
        let after = sent.saturating_duration_since(self.claimed).as_micros();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.renewed_us.fetch_max(after, Ordering::AcqRel);
    }

    /// The time that the run may still act without another renewal: three
    /// quarters of the lease. The last quarter is for stopping the handler.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        let renewed = self.claimed + Duration::from_micros(self.renewed_us.load(Ordering::Acquire));
        (self.length * 3 / 4).saturating_sub(now.saturating_duration_since(renewed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_used_to_three_quarters_since_the_last_renewal_was_sent() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let left = |lease: &HeldLease, seconds| lease.left(at(seconds)).as_secs();
        let lease = HeldLease::new(Duration::from_secs(40), start);
        assert_eq!(
            [left(&lease, 0), left(&lease, 29), left(&lease, 31)],
            [30, 1, 0]
        );
        lease.renewed(at(20));
        // An answer that was overtaken by a later one changes nothing.
        lease.renewed(at(10));
        assert_eq!(
            [left(&lease, 20), left(&lease, 49), left(&lease, 51)],
            [30, 1, 0]
        );
    }
}
