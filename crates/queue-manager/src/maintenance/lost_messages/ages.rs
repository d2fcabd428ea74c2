//! The ages of offers, also while the store's clock is behind their stamps.
//!
//! A stamp is a time of the store, so its age follows from the store's time. It
//! does not after that clock was set back: the stamps of before lie in the future
//! then, and so do later ones, because a partition's stamps only grow. Their age
//! is what this process has observed: a stamp is as old as any look, by this
//! process's monotonic clock, that saw it or a higher one of its partition.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::store::Stamp;
use drumline_protocol::{Partition, Timestamp};
use tokio::time::Instant;

/// Looks that are remembered of each partition. The older an offer is, the
/// coarser is its age.
const LOOKS: usize = 32;

/// The observations.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// The highest stamp of each look at a partition whose stamps lie in the
    /// future, in their order.
    looks: HashMap<Partition, Vec<(Stamp, Instant)>>,
}

impl Ages {
    /// Notes the stamps that a look at a partition has found.
    pub(super) fn note(
        &mut self,
        partition: Partition,
        stamps: impl Iterator<Item = Stamp>,
        now: Timestamp,
    ) {
        let now = stamp_of(now);
        if let Some(looks) = self.looks.get(&partition)
            && looks.last().is_some_and(|(last, _)| *last <= now)
        {
            // The clock has caught up.
            self.looks.remove(&partition);
        }
        let Some(highest) = stamps.max().filter(|highest| *highest > now) else {
            return;
        };
        let looks = self.looks.entry(partition).or_default();
        if looks.last().is_none_or(|(last, _)| highest > *last) {
            looks.push((highest, Instant::now()));
        }
        if looks.len() > LOOKS {
            forget_one(looks);
        }
    }

    /// Returns the least age of an offer with this stamp.
    pub(super) fn of(&self, partition: Partition, stamp: Stamp, now: Timestamp) -> Duration {
        let by_clock = Duration::from_micros(stamp_of(now).0.saturating_sub(stamp.0));
        let looks = self.looks.get(&partition).map_or(&[][..], Vec::as_slice);
        let first = looks.iter().find(|(highest, _)| *highest >= stamp);
        let observed = first.map_or(Duration::ZERO, |(_, at)| at.elapsed());
        by_clock.max(observed)
    }
}

/// Forgets the look without which ages differ least in proportion; never the
/// first and the last.
fn forget_one(looks: &mut Vec<(Stamp, Instant)>) {
    let loss = |around: &[(Stamp, Instant)]| match around {
        [(_, before), (_, at), (_, behind)] => {
            (*behind - *before).as_secs_f64() / at.elapsed().as_secs_f64().max(0.001)
        }
        _ => f64::INFINITY,
    };
    let losses = looks.windows(3).map(loss).enumerate();
    let least = losses.min_by(|(_, one), (_, other)| one.total_cmp(other));
    if let Some((before, _)) = least {
        looks.remove(before + 1);
    }
}

/// The stamp of a time.
pub(super) fn stamp_of(time: Timestamp) -> Stamp {
    let ms = u64::try_from(time.as_millis()).unwrap_or(0);
    Stamp(ms.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PARTITION: Partition = Partition::new(3);
    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn after_now(seconds: u64) -> Stamp {
        Stamp(stamp_of(NOW).0 + seconds * 1_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn by_the_clock_a_stamp_is_as_old_as_it_says() {
        let ages = Ages::default();
        let stamp = stamp_of(Timestamp::from_millis(990_000));
        assert_eq!(ages.of(PARTITION, stamp, NOW), 10 * SECOND);
        assert_eq!(ages.of(PARTITION, after_now(5), NOW), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_in_the_future_ages_from_the_look_that_saw_it() {
        let mut ages = Ages::default();
        ages.note(PARTITION, [3_600, 3_601].map(after_now).into_iter(), NOW);
        advance(10 * SECOND).await;
        ages.note(PARTITION, [3_605].map(after_now).into_iter(), NOW);
        advance(SECOND).await;
        let age = |seconds| ages.of(PARTITION, after_now(seconds), NOW);
        assert_eq!(age(3_600), 11 * SECOND);
        // It was not on that page, and a higher one was.
        assert_eq!(age(3_590), 11 * SECOND);
        assert_eq!(age(3_605), SECOND);
        assert_eq!(age(3_606), Duration::ZERO);
        assert_eq!(
            ages.of(Partition::new(4), after_now(1), NOW),
            Duration::ZERO
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_looks_are_remembered_in_little_room() {
        let mut ages = Ages::default();
        for second in 0..1_000 {
            ages.note(PARTITION, [after_now(3_600 + second)].into_iter(), NOW);
            advance(SECOND).await;
        }
        assert!(ages.looks[&PARTITION].len() <= LOOKS);
        assert_eq!(ages.of(PARTITION, after_now(3_600), NOW), 1_000 * SECOND);
        assert_eq!(ages.of(PARTITION, after_now(4_599), NOW), SECOND);
        let old = ages.of(PARTITION, after_now(4_000), NOW);
        assert!((400 * SECOND..=600 * SECOND).contains(&old), "{old:?}");
        // A page of older offers changes nothing.
        ages.note(PARTITION, [stamp_of(NOW)].into_iter(), NOW);
        assert_eq!(ages.of(PARTITION, after_now(4_599), NOW), SECOND);
        let caught_up = NOW.saturating_add(4_599 * SECOND);
        ages.note(PARTITION, [stamp_of(NOW)].into_iter(), caught_up);
        assert!(ages.looks.is_empty());
    }
}
