//! Windows: a limited number, and a limited busy time, within a sliding window.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::limiter::{Acquired, Limit, Limits};
use tokio::task::JoinSet;

use super::{HOUR, SOON, acquire, pass, reached, release};
use crate::LimiterHarness;
use crate::wait::eventually;

/// Limits with a window that no case sees the end of.
const LIMITS: Limits = Limits {
    concurrent: 0,
    requests: 4,
    execution: Duration::from_secs(10),
    window: HOUR,
    lease: HOUR,
};

/// As many enter as may, through any process; a refused caller gets the time
/// until there will be room, and is not counted.
pub async fn no_more_are_granted_than_the_window_allows(harness: &dyn LimiterHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    for (number, limiter) in [(1, &one), (2, &other), (3, &one)] {
        assert_eq!(
            acquire(&**limiter, number, &LIMITS).await,
            Acquired::Granted
        );
        release(&**limiter, number, &LIMITS, Duration::ZERO).await;
    }
    assert_eq!(pass(&*other, &LIMITS).await, Acquired::Granted);
    for limiter in [&one, &other, &one, &other] {
        let Acquired::Refused { limit, retry_after } = acquire(&**limiter, 9, &LIMITS).await else {
            panic!("a fifth one");
        };
        assert_eq!(limit, Limit::Requests);
        let longest = HOUR + HOUR / 30;
        assert!(
            retry_after > HOUR / 2 && retry_after <= longest,
            "{retry_after:?}"
        );
    }
    assert_eq!(reached(pass(&*one, &LIMITS).await), Some(Limit::Requests));
    // Another limit counts the same requests.
    let more = Limits {
        requests: 5,
        ..LIMITS
    };
    assert_eq!(acquire(&*one, 9, &more).await, Acquired::Granted);
    assert_eq!(
        reached(acquire(&*one, 10, &more).await),
        Some(Limit::Requests)
    );
}

/// The time that holders were busy is added up; unreported time is unknown.
pub async fn none_are_granted_when_the_time_is_used_up(harness: &dyn LimiterHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    assert_eq!(acquire(&*one, 1, &LIMITS).await, Acquired::Granted);
    assert_eq!(acquire(&*other, 2, &LIMITS).await, Acquired::Granted);
    let almost = LIMITS.execution - Duration::from_micros(1);
    // The second of these is the repetition of the first.
    for _ in 0..2 {
        release(&*one, 1, &LIMITS, almost).await;
    }
    assert_eq!(acquire(&*other, 3, &LIMITS).await, Acquired::Granted);
    release(&*other, 2, &LIMITS, Duration::from_micros(1)).await;
    let Acquired::Refused { limit, retry_after } = acquire(&*one, 4, &LIMITS).await else {
        panic!("the time is used up");
    };
    assert_eq!(limit, Limit::Execution);
    assert!(retry_after > HOUR / 2, "{retry_after:?}");
}

/// Asking again after a lost answer is not a second request.
pub async fn a_repeated_request_is_counted_once(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    for _ in 0..10 {
        assert_eq!(acquire(&*limiter, 1, &LIMITS).await, Acquired::Granted);
    }
    for number in 2..=4 {
        assert_eq!(acquire(&*limiter, number, &LIMITS).await, Acquired::Granted);
    }
    assert_eq!(
        reached(acquire(&*limiter, 5, &LIMITS).await),
        Some(Limit::Requests)
    );
}

/// Of many permits at once, as many enter as may.
pub async fn of_racing_requests_as_many_are_granted_as_the_window_allows(
    harness: &dyn LimiterHarness,
) {
    const MOST: u64 = 7;
    let limiters = [harness.connect().await, harness.connect().await];
    let mut racing = JoinSet::new();
    for (number, limiter) in (0..40_u128).zip(limiters.iter().cycle()) {
        let limiter = Arc::clone(limiter);
        racing.spawn(async move {
            let limits = Limits {
                requests: MOST,
                ..LIMITS
            };
            let acquired = acquire(&*limiter, number, &limits).await;
            release(&*limiter, number, &limits, Duration::ZERO).await;
            u64::from(acquired == Acquired::Granted)
        });
    }
    let acquired: u64 = racing.join_all().await.into_iter().sum();
    assert_eq!(acquired, MOST);
}

/// The window slides: a caller that waits for the reported time gets a permit.
pub async fn there_is_room_when_it_was_said_to_be(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let limits = Limits {
        requests: 3,
        execution: Duration::ZERO,
        window: SOON,
        ..LIMITS
    };
    for _ in 0..2 {
        let retry_after = eventually("a refusal", async || match pass(&*limiter, &limits).await {
            Acquired::Granted => None,
            Acquired::Refused { limit, retry_after } => {
                assert_eq!(limit, Limit::Requests);
                Some(retry_after)
            }
        })
        .await;
        assert!(retry_after <= SOON * 2, "{retry_after:?}");
        // This waits for the time itself.
        tokio::time::sleep(retry_after + Duration::from_millis(1)).await;
        assert_eq!(pass(&*limiter, &limits).await, Acquired::Granted);
    }
}

/// The first limit that is reached is named, in order; zero is no limit.
pub async fn each_limit_stands_for_itself(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let all = Limits {
        concurrent: 1,
        requests: 1,
        execution: Duration::from_secs(1),
        ..LIMITS
    };
    assert_eq!(acquire(&*limiter, 1, &all).await, Acquired::Granted);
    assert_eq!(
        acquire(&*limiter, 2, &Limits::at_once(0, HOUR)).await,
        Acquired::Granted
    );
    release(&*limiter, 1, &all, Duration::from_secs(1)).await;
    let cases = [
        (all, Some(Limit::Requests)),
        (Limits { requests: 0, ..all }, Some(Limit::Execution)),
        (
            Limits {
                requests: 0,
                execution: Duration::ZERO,
                ..all
            },
            Some(Limit::Concurrent),
        ),
        (
            Limits {
                execution: Duration::ZERO,
                concurrent: 0,
                ..all
            },
            Some(Limit::Requests),
        ),
        (Limits::at_once(0, HOUR), None),
    ];
    for (limits, expected) in cases {
        assert_eq!(
            reached(pass(&*limiter, &limits).await),
            expected,
            "{limits:?}"
        );
    }
}
