//! Places: a limited number of visitors at the same time, and no more.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::limiter::{Entered, Limit, Limits, Subject};
use tokio::task::JoinSet;

use super::{HOUR, SECOND, SUBJECT, enter, enter_as, leave, pass, reached, visitor};
use crate::LimiterHarness;
use crate::wait::eventually;

const TWO: Limits = Limits::at_once(2, HOUR);

/// The places of a subject are those of all processes together.
pub async fn no_more_are_inside_than_there_are_places(harness: &dyn LimiterHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    assert_eq!(enter(&*one, 1, &TWO).await, Entered::Admitted);
    assert_eq!(enter(&*other, 2, &TWO).await, Entered::Admitted);
    for limiter in [&one, &other] {
        let third = enter(&**limiter, 3, &TWO).await;
        let retry_after = Duration::ZERO;
        let limit = Limit::Concurrent;
        assert_eq!(third, Entered::Refused { limit, retry_after });
    }
    leave(&*other, 1, &TWO, Duration::ZERO).await;
    assert_eq!(enter(&*one, 3, &TWO).await, Entered::Admitted);
    assert_eq!(
        reached(enter(&*one, 4, &TWO).await),
        Some(Limit::Concurrent)
    );
}

/// An answer may be lost: asking again takes no second place, and leaving
/// again frees none of another's.
pub async fn entering_and_leaving_may_be_repeated(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    for _ in 0..3 {
        assert_eq!(enter(&*limiter, 1, &TWO).await, Entered::Admitted);
    }
    assert_eq!(enter(&*limiter, 2, &TWO).await, Entered::Admitted);
    for _ in 0..3 {
        leave(&*limiter, 1, &TWO, Duration::ZERO).await;
    }
    assert_eq!(enter(&*limiter, 3, &TWO).await, Entered::Admitted);
    assert_eq!(
        reached(enter(&*limiter, 4, &TWO).await),
        Some(Limit::Concurrent)
    );
}

/// Of many visitors at once, as many get in as there are places.
pub async fn of_racing_visitors_as_many_enter_as_there_are_places(harness: &dyn LimiterHarness) {
    const PLACES: u32 = 5;
    let limiters = [harness.connect().await, harness.connect().await];
    let mut racing = JoinSet::new();
    for (number, limiter) in (0..40_u128).zip(limiters.iter().cycle()) {
        let limiter = Arc::clone(limiter);
        racing.spawn(async move {
            let limits = Limits::at_once(PLACES, HOUR);
            enter(&*limiter, number, &limits).await == Entered::Admitted
        });
    }
    let entered = racing.join_all().await;
    let inside = entered.into_iter().filter(|is_inside| *is_inside).count();
    assert_eq!(inside, PLACES as usize);
}

/// A visitor that neither renews nor leaves, because its process is dead, does
/// not hold its place for ever; a visitor that renews does.
pub async fn a_place_is_freed_when_its_lease_ends(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let short = Limits::at_once(1, SECOND);
    let renewed = Subject([1; 16]);
    let first = enter_as(&*limiter, renewed, Some(visitor(1)), &short).await;
    assert_eq!(first, Entered::Admitted);
    let kept = limiter.renew(&[(renewed, visitor(1))], HOUR).await;
    assert_eq!(kept.expect("renew"), [true]);
    assert_eq!(enter(&*limiter, 1, &short).await, Entered::Admitted);
    eventually("the place is free", async || {
        let entered = enter(&*limiter, 2, &short).await;
        (entered == Entered::Admitted).then_some(())
    })
    .await;
    // As long as the lease of the other lasted, and this place is still held.
    let other = enter_as(&*limiter, renewed, Some(visitor(2)), &short).await;
    assert_eq!(reached(other), Some(Limit::Concurrent));
}

/// Renewals answer in order if each visitor is still inside, and bring none
/// back.
pub async fn who_has_left_is_not_renewed(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    for number in [1, 2] {
        assert_eq!(enter(&*limiter, number, &TWO).await, Entered::Admitted);
    }
    leave(&*limiter, 1, &TWO, Duration::ZERO).await;
    let inside = [1, 2, 3].map(|number| (SUBJECT, visitor(number)));
    let renewed = limiter.renew(&inside, HOUR).await;
    assert_eq!(renewed.expect("renew"), [false, true, false]);
    assert_eq!(enter(&*limiter, 4, &TWO).await, Entered::Admitted);
    assert!(limiter.renew(&[], HOUR).await.expect("renew").is_empty());
}

/// A visitor that passes needs a free place to pass, and does not keep it.
pub async fn who_passes_holds_no_place(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let one = Limits::at_once(1, HOUR);
    for _ in 0..3 {
        assert_eq!(pass(&*limiter, &one).await, Entered::Admitted);
    }
    assert_eq!(enter(&*limiter, 1, &one).await, Entered::Admitted);
    assert_eq!(
        reached(pass(&*limiter, &one).await),
        Some(Limit::Concurrent)
    );
}

/// Subjects are independent of each other.
pub async fn subjects_have_places_of_their_own(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let one = Limits::at_once(1, HOUR);
    for subject in [
        Subject([0; 16]),
        Subject([0xff; 16]),
        Subject(*b"{}{}{}{}\r\n*1 :0$"),
    ] {
        let entered = enter_as(&*limiter, subject, Some(visitor(1)), &one).await;
        assert_eq!(entered, Entered::Admitted);
        let second = enter_as(&*limiter, subject, Some(visitor(2)), &one).await;
        assert_eq!(reached(second), Some(Limit::Concurrent));
    }
}

/// Zero is no limit.
pub async fn zero_places_are_any_number(harness: &dyn LimiterHarness) {
    let limiter = harness.connect().await;
    let none = Limits::at_once(0, HOUR);
    for number in 0..100 {
        assert_eq!(enter(&*limiter, number, &none).await, Entered::Admitted);
    }
}
