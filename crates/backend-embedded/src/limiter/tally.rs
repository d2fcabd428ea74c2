//! Counts of a sliding window, in a ring of buckets: one that is being filled,
//! and as many full ones as make up the window.

use std::time::Duration;

use drumline_backend::limiter::{BUCKETS, Limit, Limits};
use drumline_protocol::Timestamp;

const RING: usize = BUCKETS as usize + 1;

/// The counts of one key.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bucket_ms: u64,
    /// The number of the bucket that is being filled, since 1970.
    latest: u64,
    buckets: [Bucket; RING],
    /// All buckets together.
    sum: Bucket,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    requests: u64,
    busy: Duration,
}

impl Tally {
    /// Drops the buckets that have left the window.
    pub(super) fn slide(&mut self, bucket_ms: u64, now: Timestamp) {
        let latest = number(now, bucket_ms);
        let is_far = latest.abs_diff(self.latest) >= RING as u64;
        if is_far || bucket_ms != self.bucket_ms {
            // After a pause, or when the clock was set: no bucket is in the
            // window.
            *self = Self {
                bucket_ms,
                latest,
                ..Self::default()
            };
        }
        // When the clock was set back a little, the latest bucket is filled
        // further.
        while self.latest < latest {
            self.latest += 1;
            let gone = std::mem::take(&mut self.buckets[place(self.latest)]);
            self.sum.requests -= gone.requests;
            self.sum.busy -= gone.busy;
        }
    }

    /// Returns the limit that is reached, and the time until there will be
    /// room.
    pub(super) fn objection(&self, limits: &Limits, now: Timestamp) -> Option<(Limit, Duration)> {
        if limits.requests > 0 && self.sum.requests >= limits.requests {
            let room = self.room_in(now, |left| left.requests < limits.requests);
            return Some((Limit::Requests, room));
        }
        if !limits.execution.is_zero() && self.sum.busy >= limits.execution {
            let room = self.room_in(now, |left| left.busy < limits.execution);
            return Some((Limit::Execution, room));
        }
        None
    }

    /// Counts into the latest bucket.
    pub(super) fn count(&mut self, requests: u64, busy: Duration) {
        self.sum.add(requests, busy);
        self.buckets[place(self.latest)].add(requests, busy);
    }

    /// Returns true if no count is in the window any more.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        number(now, self.bucket_ms.max(1)).abs_diff(self.latest) >= RING as u64
    }

    /// The time until enough of the oldest buckets have left that `fits`.
    fn room_in(&self, now: Timestamp, fits: impl Fn(&Bucket) -> bool) -> Duration {
        let mut left = self.sum;
        let mut leaves = self.latest + 1;
        for number in self.latest + 1..=self.latest + RING as u64 {
            // The place in the ring that `number` will take is the oldest's.
            let oldest = self.buckets[place(number)];
            left.requests -= oldest.requests;
            left.busy -= oldest.busy;
            leaves = number;
            if fits(&left) {
                break;
            }
        }
        let at = leaves.saturating_mul(self.bucket_ms);
        let now = u64::try_from(now.as_millis()).unwrap_or_default();
        Duration::from_millis(at.saturating_sub(now))
    }
}

impl Bucket {
    fn add(&mut self, requests: u64, busy: Duration) {
        self.requests += requests;
        self.busy = self.busy.saturating_add(busy);
    }
}

fn number(now: Timestamp, bucket_ms: u64) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or_default() / bucket_ms
}

fn place(number: u64) -> usize {
    usize::try_from(number % RING as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        concurrent: 0,
        requests: 3,
        execution: Duration::from_secs(2),
        window: Duration::from_secs(300),
        lease: Duration::from_secs(10),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000 + seconds * 1_000)
    }

    fn tally() -> Tally {
        let mut tally = Tally::default();
        tally.slide(LIMITS.bucket_ms(), at(0));
        tally
    }

    fn objection(tally: &mut Tally, seconds: i64) -> Option<(Limit, u64)> {
        tally.slide(LIMITS.bucket_ms(), at(seconds));
        let objection = tally.objection(&LIMITS, at(seconds));
        objection.map(|(limit, wait)| (limit, wait.as_secs()))
    }

    #[test]
    fn a_request_is_counted_for_the_window_and_at_most_a_bucket_longer() {
        let mut tally = tally();
        tally.count(3, Duration::ZERO);
        assert_eq!(objection(&mut tally, 0), Some((Limit::Requests, 310)));
        assert_eq!(objection(&mut tally, 300), Some((Limit::Requests, 10)));
        assert_eq!(objection(&mut tally, 309), Some((Limit::Requests, 1)));
        assert_eq!(objection(&mut tally, 310), None);
        assert_eq!(tally.sum, Bucket::default());
    }

    #[test]
    fn what_has_entered_later_leaves_later() {
        let mut tally = tally();
        tally.count(1, Duration::ZERO);
        assert_eq!(objection(&mut tally, 100), None);
        tally.count(2, Duration::ZERO);
        // Room for one entry comes when the first bucket leaves.
        assert_eq!(objection(&mut tally, 200), Some((Limit::Requests, 110)));
        assert_eq!(objection(&mut tally, 310), None);
        tally.count(1, Duration::ZERO);
        assert_eq!(objection(&mut tally, 310), Some((Limit::Requests, 100)));
    }

    #[test]
    fn the_time_that_was_used_is_limited_too() {
        let mut tally = tally();
        tally.count(1, Duration::from_millis(1_999));
        assert_eq!(objection(&mut tally, 0), None);
        tally.count(0, Duration::from_millis(1));
        assert_eq!(objection(&mut tally, 0), Some((Limit::Execution, 310)));
        assert_eq!(objection(&mut tally, 310), None);
    }

    #[test]
    fn a_clock_that_is_set_back_frees_nothing_and_blocks_nobody_for_long() {
        let mut tally = tally();
        tally.count(3, Duration::ZERO);
        assert!(objection(&mut tally, -20).is_some());
        assert!(objection(&mut tally, 20).is_some());
        assert_eq!(objection(&mut tally, -86_400), None);
    }
}
