//! Lanes: one consumer at a time, in order, handed over without a gap.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::fixtures::{PLENTY, lane, publish, subscribe, take, take_all};
use crate::BrokerHarness;
use crate::wait::never;

/// While the first consumer of a lane is there, other consumers get nothing.
pub async fn a_lane_has_one_consumer_at_a_time(harness: &dyn BrokerHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let mut active = subscribe(&*one, &lane(0), PLENTY).await;
    let mut standby = subscribe(&*other, &lane(0), PLENTY).await;
    publish(&*other, &lane(0), 0..5).await;
    assert_eq!(take_all(&mut *active, 5).await, [0, 1, 2, 3, 4]);
    publish(&*other, &lane(0), 5..8).await;
    never("the second consumer gets one", standby.next()).await;
    assert_eq!(take_all(&mut *active, 3).await, [5, 6, 7]);
}

/// The next consumer gets the messages that the first had in hand, then the
/// rest, in order if the broker gives back in order.
pub async fn a_lane_is_handed_over_with_what_was_in_hand(harness: &dyn BrokerHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let mut active = subscribe(&*one, &lane(0), 4).await;
    let mut standby = subscribe(&*other, &lane(0), PLENTY).await;
    publish(&*one, &lane(0), 0..10).await;
    assert_eq!(take_all(&mut *active, 2).await, [0, 1]);
    let in_hand = [take(&mut *active).await, take(&mut *active).await];
    assert_eq!(in_hand.each_ref().map(|(number, _)| *number), [2, 3]);
    active.close().await;
    let rest = handed_over(harness, take_all(&mut *standby, 8).await);
    assert_eq!(rest, (2..10).collect::<Vec<_>>());
}

/// A consumer that is dropped counts as closed.
pub async fn a_lane_is_handed_over_when_its_consumer_is_dropped(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    let mut active = subscribe(&*broker, &lane(0), 1).await;
    let mut standby = subscribe(&*broker, &lane(0), 1).await;
    publish(&*broker, &lane(0), 0..3).await;
    let (number, receipt) = take(&mut *active).await;
    assert_eq!(number, 0);
    drop((active, receipt));
    let all = take_all(&mut *standby, 3).await;
    assert_eq!(handed_over(harness, all), [0, 1, 2]);
    // A consumer that comes later waits in turn.
    let mut third = subscribe(&*broker, &lane(0), 1).await;
    publish(&*broker, &lane(0), 3..4).await;
    never("the third consumer gets one", third.next()).await;
    assert_eq!(take_all(&mut *standby, 1).await, [3]);
}

/// The numbers of messages that were handed over, sorted where their order is not kept.
fn handed_over(harness: &dyn BrokerHarness, mut numbers: Vec<u64>) -> Vec<u64> {
    if !harness.gives_back_in_order() {
        numbers.sort_unstable();
    }
    numbers
}

/// Messages of one publisher come in the order of their confirms, over many
/// calls.
pub async fn a_lane_keeps_its_order(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    let mut subscription = subscribe(&*broker, &lane(0), 50).await;
    for start in (0..600).step_by(60) {
        publish(&*broker, &lane(0), start..start + 60).await;
    }
    let found = take_all(&mut *subscription, 600).await;
    assert_eq!(found, (0..600).collect::<Vec<_>>());
}

/// Several publishers share a lane: nothing is lost, and the messages of each
/// keep their order.
pub async fn a_lane_takes_from_several_publishers(harness: &dyn BrokerHarness) {
    const PUBLISHERS: u64 = 4;
    const EACH: u64 = 25;
    let mut tasks = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let broker = harness.connect().await;
        tasks.spawn(async move {
            let start = publisher * 1_000;
            for number in start..start + EACH {
                publish(&*broker, &lane(0), number..number + 1).await;
            }
        });
    }
    let broker = harness.connect().await;
    let mut subscription = subscribe(&*broker, &lane(0), 20).await;
    let mut found = Vec::new();
    for _ in 0..PUBLISHERS * EACH {
        found.extend(take_all(&mut *subscription, 1).await);
    }
    tasks.join_all().await;
    for publisher in 0..PUBLISHERS {
        let own = found.iter().filter(|number| *number / 1_000 == publisher);
        let own: Vec<_> = own.collect();
        assert_eq!(own.len() as u64, EACH);
        assert!(own.is_sorted());
    }
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len());
}
