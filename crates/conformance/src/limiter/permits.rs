//! Permits: a limited number at the same time, and no more.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::limiter::{Acquired, Limit, LimitKey, Limits};
use tokio::task::JoinSet;

use super::{HOUR, KEY, SOON, acquire, acquire_as, pass, permit, reached, release};
use crate::LimiterHarness;
use crate::wait::eventually;

const TWO: Limits = Limits::at_once(2, HOUR);

/// The permits of a key are those of all processes together.
pub async fn no_more_permits_are_held_than_the_limit_allows(harness: &dyn LimiterHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    assert_eq!(acquire(&*one, 1, &TWO).await, Acquired::Granted);
    assert_eq!(acquire(&*other, 2, &TWO).await, Acquired::Granted);
    for limiter in [&one, &other] {
        let third = acquire(&**limiter, 3, &TWO).await;
        let retry_after = Duration::ZERO;
        let limit = Limit::Concurrent;
        assert_eq!(third, Acquired::Refused { limit, retry_after });
    }
    release(&*other, 1, &TWO, Duration::ZERO).await;
    assert_eq!(acquire(&*one, 3, &TWO).await, Acquired::Granted);
    assert_eq!(
        reached(acquire(&*one, 4, &TWO).await),
        Some(Limit::Concurrent)
    );
}

/// An answer may be lost: asking again takes no second permit, and
/// releasing again frees none of another holder.
pub async fn acquiring_and_releasing_may_be_repeated(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    for _ in 0..3 {
        assert_eq!(acquire(&*limiter, 1, &TWO).await, Acquired::Granted);
    }
    assert_eq!(acquire(&*limiter, 2, &TWO).await, Acquired::Granted);
    for _ in 0..3 {
        release(&*limiter, 1, &TWO, Duration::ZERO).await;
    }
    assert_eq!(acquire(&*limiter, 3, &TWO).await, Acquired::Granted);
    assert_eq!(
        reached(acquire(&*limiter, 4, &TWO).await),
        Some(Limit::Concurrent)
    );
}

/// Of many requests at once, as many get a permit as the limit allows.
pub async fn of_racing_requests_as_many_get_a_permit_as_the_limit_allows(
    harness: &dyn LimiterHarness,
) {
    const PERMITS: u32 = 5;
    let limiters = [harness.connect().await, harness.connect().await];
    let mut racing = JoinSet::new();
    for (number, limiter) in (0..40_u128).zip(limiters.iter().cycle()) {
        let limiter = Arc::clone(limiter);
        racing.spawn(async move {
            let limits = Limits::at_once(PERMITS, HOUR);
            acquire(&*limiter, number, &limits).await == Acquired::Granted
        });
    }
    let acquired = racing.join_all().await;
    let held = acquired.into_iter().filter(|is_inside| *is_inside).count();
    assert_eq!(held, PERMITS as usize);
}

/// A permit that is neither renewed nor released, because its process is dead,
/// ends with its lease; a renewed permit is kept.
pub async fn a_permit_ends_with_its_lease(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let short = Limits::at_once(1, SOON);
    let renewed = LimitKey([1; 16]);
    let first = acquire_as(&*limiter, renewed, Some(permit(1)), &short).await;
    assert_eq!(first, Acquired::Granted);
    let kept = limiter.renew(&[(renewed, permit(1))], HOUR).await;
    assert_eq!(kept.expect("renew"), [true]);
    // A key that has a permit of a dead holder beside one that is still held.
    let both = LimitKey([2; 16]);
    for (number, lease) in [(1, SOON), (2, HOUR)] {
        let limits = Limits::at_once(2, lease);
        let acquired = acquire_as(&*limiter, both, Some(permit(number)), &limits).await;
        assert_eq!(acquired, Acquired::Granted);
    }
    assert_eq!(acquire(&*limiter, 1, &short).await, Acquired::Granted);
    eventually("the permit is free", async || {
        let acquired = acquire(&*limiter, 2, &short).await;
        (acquired == Acquired::Granted).then_some(())
    })
    .await;
    // As long as the lease of the other lasted, and this permit is still held.
    let other = acquire_as(&*limiter, renewed, Some(permit(2)), &short).await;
    assert_eq!(reached(other), Some(Limit::Concurrent));
    // The permit of the dead holder began before the one that has ended.
    let third = acquire_as(&*limiter, both, Some(permit(3)), &TWO).await;
    assert_eq!(third, Acquired::Granted);
}

/// Renewals answer in order if each permit is still held, and bring none
/// back.
pub async fn a_released_permit_is_not_renewed(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    for number in [1, 2] {
        assert_eq!(acquire(&*limiter, number, &TWO).await, Acquired::Granted);
    }
    release(&*limiter, 1, &TWO, Duration::ZERO).await;
    let held = [1, 2, 3].map(|number| (KEY, permit(number)));
    let renewed = limiter.renew(&held, HOUR).await;
    assert_eq!(renewed.expect("renew"), [false, true, false]);
    assert_eq!(acquire(&*limiter, 4, &TWO).await, Acquired::Granted);
    assert!(limiter.renew(&[], HOUR).await.expect("renew").is_empty());
}

/// A request without a permit needs a free one, and does not keep it.
pub async fn a_request_without_a_permit_holds_none(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let one = Limits::at_once(1, HOUR);
    for _ in 0..3 {
        assert_eq!(pass(&*limiter, &one).await, Acquired::Granted);
    }
    assert_eq!(acquire(&*limiter, 1, &one).await, Acquired::Granted);
    assert_eq!(
        reached(pass(&*limiter, &one).await),
        Some(Limit::Concurrent)
    );
}

/// Keys are independent of each other.
pub async fn keys_have_permits_of_their_own(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let one = Limits::at_once(1, HOUR);
    for key in [
        LimitKey([0; 16]),
        LimitKey([0xff; 16]),
        LimitKey(*b"{}{}{}{}\r\n*1 :0$"),
    ] {
        let acquired = acquire_as(&*limiter, key, Some(permit(1)), &one).await;
        assert_eq!(acquired, Acquired::Granted);
        let second = acquire_as(&*limiter, key, Some(permit(2)), &one).await;
        assert_eq!(reached(second), Some(Limit::Concurrent));
    }
}

/// Zero is no limit.
pub async fn a_limit_of_zero_is_no_limit(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let none = Limits::at_once(0, HOUR);
    for number in 0..100 {
        assert_eq!(acquire(&*limiter, number, &none).await, Acquired::Granted);
    }
}
