//! The server's time, without asking for it each time.
//!
//! The clock adds the monotonic time since the server's last answer to that
//! answer. A step of this machine's wall clock is not noticed; a step of the
//! server's is followed within some four seconds. Each beat of a member shows the
//! time, so the server is rarely asked for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use drumline_backend::store::Result;
use drumline_protocol::Timestamp;
use redis::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::link::Link;
use crate::reply::{self, Parts};

/// The interval at which the clock looks whether the server must be asked. Quartz
/// drifts by some 20 µs in a second.
const RESYNC: Duration = Duration::from_secs(1);
/// The age of the last answer at which the server is asked. Members beat more often,
/// and each beat is such an answer.
const STALE: Duration = Duration::from_millis(3_500);
/// The longest answer time that tells the time well: the answer may be off by
/// half of it. A slower answer corrects a clock that is certainly wrong.
const SLOWEST: Duration = Duration::from_millis(100);
/// The most times that the server is asked at the start until an answer is quick. A server
/// that is far away answers none in less: each more of them makes the start there longer.
const QUESTIONS: u32 = 5;

#[derive(Debug)]
pub(crate) struct Clock {
    epoch: Instant,
    /// The offset to add to the time since the epoch, in microseconds.
    offset_us: AtomicI64,
    /// The greatest offset that a server has shown. With it, no server of the store has been
    /// later so far.
    latest_us: AtomicI64,
    /// The time of the server's last answer, in microseconds since the epoch.
    heard_us: AtomicI64,
    /// True once the time was asked for: a store that only renews leases needs none.
    is_used: AtomicBool,
}

impl Clock {
    /// Starts a clock that is right from the start: a busy machine may hold up an answer, so
    /// that it tells the time badly, and the server is asked again.
    pub(crate) async fn start(link: &Link) -> Result<Self> {
        let clock = Self::new();
        clock.set_by_the_quickest(|| ask(link)).await?;
        Ok(clock)
    }

    fn new() -> Self {
        Self {
            epoch: Instant::now(),
            offset_us: AtomicI64::new(0),
            latest_us: AtomicI64::new(i64::MIN),
            heard_us: AtomicI64::new(0),
            is_used: AtomicBool::new(false),
        }
    }

    /// Sets the clock by the quickest of some answers, the last of which is the first that is
    /// quick.
    async fn set_by_the_quickest<A>(&self, mut ask: impl FnMut() -> A) -> Result<()>
    where
        A: Future<Output = Result<(u64, Duration)>>,
    {
        let mut quickest = Duration::MAX;
        for _ in 0..QUESTIONS {
            let (server_us, took) = match ask().await {
                Ok(answer) => answer,
                Err(error) if quickest == Duration::MAX => return Err(error),
                // The server was there a moment ago: an answer that is slow will do.
                Err(_gone) => break,
            };
            self.note_latest(server_us, took);
            if took < quickest {
                quickest = took;
                self.set(server_us, took);
            }
            if took <= SLOWEST {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.is_used.store(true, Ordering::Relaxed);
        let now_us = self
            .elapsed_us()
            .saturating_add(self.offset_us.load(Ordering::Relaxed));
        Timestamp::from_millis(now_us.div_euclid(1_000))
    }

    /// Notes a time that the server has just shown: the clock does not fall
    /// behind it.
    pub(crate) fn at_least(&self, server_us: u64) {
        let offset = signed(server_us).saturating_sub(self.elapsed_us());
        self.offset_us.fetch_max(offset, Ordering::Relaxed);
        self.latest_us.fetch_max(offset, Ordering::Relaxed);
    }

    /// The latest time that a server of the store may have reached so far, in microseconds:
    /// a clock that was set back later is not followed.
    pub(crate) fn latest(&self) -> u64 {
        let latest = self.latest_us.load(Ordering::Relaxed);
        let latest = latest.saturating_add(self.elapsed_us());
        u64::try_from(latest).unwrap_or(0)
    }

    /// Notes a time that the server showed at some moment within the last
    /// `took`.
    pub(crate) fn heard(&self, server_us: u64, took: Duration) {
        self.note_latest(server_us, took);
        if took <= SLOWEST {
            self.set(server_us, took);
        } else {
            self.set_if_wrong(server_us, took);
        }
        self.heard_us.store(self.elapsed_us(), Ordering::Relaxed);
    }

    /// Returns true if the server should be asked for the time.
    fn is_stale(&self) -> bool {
        let age = self.elapsed_us() - self.heard_us.load(Ordering::Relaxed);
        self.is_used.load(Ordering::Relaxed)
            && age >= i64::try_from(STALE.as_micros()).unwrap_or(i64::MAX)
    }

    /// Notes how late the server may be. It showed the time at some moment within the last
    /// `took`.
    pub(crate) fn note_latest(&self, server_us: u64, took: Duration) {
        let took_us = signed(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let offset = signed(server_us)
            .saturating_add(took_us)
            .saturating_sub(self.elapsed_us());
        self.latest_us.fetch_max(offset, Ordering::Relaxed);
    }

    /// Sets the clock by a quick answer.
    fn set(&self, server_us: u64, took: Duration) {
        let half_us = signed(u64::try_from(took.as_micros() / 2).unwrap_or(0));
        let offset = signed(server_us)
            .saturating_add(half_us)
            .saturating_sub(self.elapsed_us());
        self.offset_us.store(offset, Ordering::Relaxed);
    }

    /// Sets the clock by a late answer, if it must. The time is now between the one that the
    /// server showed and that one plus `took`; a clock within these bounds is
    /// likely to be better than the answer.
    fn set_if_wrong(&self, server_us: u64, took: Duration) {
        let now_us = self
            .elapsed_us()
            .saturating_add(self.offset_us.load(Ordering::Relaxed));
        let earliest = signed(server_us);
        let latest =
            earliest.saturating_add(signed(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)));
        if !(earliest..=latest).contains(&now_us) {
            self.set(server_us, took);
        }
    }

    fn elapsed_us(&self) -> i64 {
        i64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// Keeps a clock right, for as long as it is polled.
pub(crate) async fn keep(clock: Arc<Clock>, link: Link) {
    let mut ticks = interval(RESYNC);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !clock.is_stale() {
            continue;
        }
        match ask(&link).await {
            Ok((server_us, took)) => clock.heard(server_us, took),
            // The clock goes on by itself meanwhile.
            Err(error) => tracing::debug!(%error, "the time of the server is unknown"),
        }
    }
}

/// Returns the server's time in microseconds, and the duration of the answer.
async fn ask(link: &Link) -> Result<(u64, Duration)> {
    let asked = Instant::now();
    let answer = link.run_one("time", redis::cmd("TIME")).await?;
    let took = asked.elapsed();
    Ok((micros(answer).ok_or_else(reply::unexpected)?, took))
}

/// The microseconds of an answer to TIME.
pub(crate) fn micros(answer: Value) -> Option<u64> {
    let mut answer = Parts::of(answer).ok()?;
    let mut number = || -> Option<u64> { reply::text(answer.value().ok()?).ok()?.parse().ok() };
    let seconds = number()?;
    Some(seconds.saturating_mul(1_000_000).saturating_add(number()?))
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::new()
    }

    /// A server whose clock began with this one, and which reads it as late as an answer that
    /// takes so long allows: just before it is received.
    async fn set_by_answers(clock: &Clock, took_ms: &[u64]) -> usize {
        let mut left = took_ms.iter();
        let answered = clock.set_by_the_quickest(|| {
            let took = Duration::from_millis(*left.next().expect("it asks no more"));
            async move {
                tokio::time::advance(took).await;
                Ok((u64::try_from(clock.elapsed_us()).unwrap_or(0), took))
            }
        });
        answered.await.expect("an answer");
        took_ms.len() - left.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_at_the_start_is_not_the_last_one() {
        let clock = clock();
        let asked = set_by_answers(&clock, &[2_000, 700, 40, 20]).await;
        assert_eq!(asked, 3, "a quick one is enough");
        let late = clock.now().as_millis() - clock.elapsed_us() / 1_000;
        assert_eq!(late, 20, "half of the answer's time");
    }

    #[tokio::test(start_paused = true)]
    async fn the_quickest_of_slow_answers_sets_the_clock_at_the_start() {
        let clock = clock();
        let asked = set_by_answers(&clock, &[900, 300, 160, 400, 500, 1]).await;
        assert_eq!(asked, 5, "a server far away is not asked for ever");
        let late = clock.now().as_millis() - clock.elapsed_us() / 1_000;
        assert_eq!(late, 80);
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_between_two_answers() {
        let clock = clock();
        clock.set(5_000_000, Duration::from_millis(2));
        assert_eq!(clock.now(), Timestamp::from_millis(5_001));
        tokio::time::advance(Duration::from_millis(700)).await;
        assert_eq!(clock.now(), Timestamp::from_millis(5_701));
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_is_asked_by_a_clock_that_is_used_and_hears_nothing() {
        let clock = clock();
        tokio::time::advance(2 * STALE).await;
        assert!(!clock.is_stale(), "nobody has wanted to know the time");
        clock.now();
        assert!(clock.is_stale());
        clock.heard(5_000_000, Duration::ZERO);
        assert!(!clock.is_stale(), "a beat has shown it");
        tokio::time::advance(STALE).await;
        assert!(clock.is_stale());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_corrects_a_clock_that_is_certainly_wrong() {
        const TOOK: Duration = Duration::from_millis(160);
        let clock = clock();
        clock.set(3_600_000_000, Duration::ZERO);
        // Within the bounds: the clock is likely to be better.
        clock.set_if_wrong(3_599_900_000, TOOK);
        assert_eq!(clock.now(), Timestamp::from_millis(3_600_000));
        // The server's clock was set back by most of an hour.
        clock.set_if_wrong(60_000_000, TOOK);
        assert_eq!(clock.now(), Timestamp::from_millis(60_080));
        // And forward.
        clock.set_if_wrong(7_200_000_000, TOOK);
        assert_eq!(clock.now(), Timestamp::from_millis(7_200_080));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_never_behind_a_time_that_was_shown() {
        let clock = clock();
        clock.set(5_000_000, Duration::ZERO);
        clock.at_least(5_002_000);
        assert_eq!(clock.now(), Timestamp::from_millis(5_002));
        clock.at_least(4_000_000);
        assert_eq!(clock.now(), Timestamp::from_millis(5_002));
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_time_does_not_fall_with_a_clock_that_is_set_back() {
        let clock = clock();
        clock.heard(5_000_000, Duration::from_millis(2));
        assert_eq!(clock.latest(), 5_002_000);
        // Another server, whose clock is behind.
        clock.heard(1_000_000, Duration::ZERO);
        assert_eq!(clock.now(), Timestamp::from_millis(1_000));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.latest(), 6_002_000);
    }
}
