//! Routes: every pool has a work queue and lanes, and each is a queue of its
//! own.

use std::collections::BTreeSet;

use drumline_backend::broker::Backlog;
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{PartitionCount, QueueName};

use super::fixtures::{PLENTY, lane, message, publish, spare, subscribe, take, take_all, work};
use crate::BrokerHarness;
use crate::wait::{eventually, never};

/// Messages for one route come from no other.
pub async fn every_route_is_a_queue_of_its_own(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    let imports = |source| Route {
        queue: "imports".parse::<QueueName>().expect("a queue name"),
        source,
    };
    let routes = [
        work(),
        lane(0),
        lane(1),
        lane(63),
        spare(),
        imports(Source::Work),
        imports(Source::Spare),
        imports(lane(0).source),
    ];
    for (number, route) in (0..).zip(&routes) {
        publish(&*broker, route, number..number + 1).await;
    }
    for (number, route) in (0_u64..).zip(&routes) {
        let mut subscription = subscribe(&*broker, route, PLENTY).await;
        assert_eq!(take_all(&mut *subscription, 1).await, [number]);
        never("another route's message comes", subscription.next()).await;
    }
}

/// All workers of a pool consume its work queue, each message one of them.
pub async fn workers_share_the_work_queue(harness: &dyn BrokerHarness) {
    all_workers_share(harness, &work()).await;
}

/// All workers of a pool consume its spare queue, each message one of them.
pub async fn workers_share_the_spare_queue(harness: &dyn BrokerHarness) {
    all_workers_share(harness, &spare()).await;
}

async fn all_workers_share(harness: &dyn BrokerHarness, route: &Route) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let mut first = subscribe(&*one, route, 1).await;
    let mut second = subscribe(&*other, route, 1).await;
    publish(&*one, route, 0..4).await;
    // With one in hand each, neither can take it all.
    let (a, receipt_a) = take(&mut *first).await;
    let (b, receipt_b) = take(&mut *second).await;
    receipt_a.acknowledge().await.expect("acknowledged");
    let (c, receipt_c) = take(&mut *first).await;
    receipt_b.acknowledge().await.expect("acknowledged");
    let (d, receipt_d) = take(&mut *second).await;
    receipt_c.acknowledge().await.expect("acknowledged");
    receipt_d.acknowledge().await.expect("acknowledged");
    assert_eq!(BTreeSet::from([a, b, c, d]), (0..4).collect());
}

/// A queue that was never used does not exist, and a look does not make it.
pub async fn a_queue_that_nobody_used_has_no_backlog(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    for _ in 0..2 {
        for route in [work(), lane(5), spare()] {
            assert_eq!(broker.backlog(&route).await.expect("backlog"), None);
        }
    }
}

/// The backlog is the messages that no consumer has been given, for any caller.
pub async fn a_backlog_counts_what_waits_and_who_consumes(harness: &dyn BrokerHarness) {
    let (one, other) = (harness.connect().await, harness.connect().await);
    let becomes = async |messages, consumers| {
        let expected = Backlog {
            messages,
            consumers,
        };
        // Brokers count with some delay.
        eventually("the backlog is right", async || {
            let backlog = other.backlog(&work()).await.expect("backlog");
            (backlog == Some(expected)).then_some(())
        })
        .await;
    };
    publish(&*one, &work(), 0..5).await;
    becomes(5, 0).await;
    let mut subscription = subscribe(&*one, &work(), 2).await;
    let (_, receipt) = take(&mut *subscription).await;
    let (_, kept) = take(&mut *subscription).await;
    becomes(3, 1).await;
    receipt.acknowledge().await.expect("acknowledged");
    take(&mut *subscription).await;
    becomes(2, 1).await;
    subscription.close().await;
    drop(kept);
    becomes(4, 0).await;
}

/// A broker that takes messages reports so.
pub async fn a_broker_that_is_up_says_so(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    publish(&*broker, &work(), 0..1).await;
    broker.check().expect("it is up");
}

/// The queues of a pool are removed when none of them is in use, and are there again with
/// the next message.
pub async fn an_unused_queue_is_removed(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    let queue: QueueName = "imports".parse().expect("a queue name");
    let partitions = PartitionCount::new(8).expect("in range");
    let route = |source| Route {
        queue: queue.clone(),
        source,
    };
    let (lane, spare) = (route(lane(3).source), route(Source::Spare));
    let remove = async || {
        let removed = broker.remove_queue(&queue, partitions).await;
        removed.expect("the broker is up")
    };
    assert!(remove().await, "there is none");
    publish(&*broker, &spare, 0..1).await;
    publish(&*broker, &lane, 0..1).await;
    publish(&*broker, &work(), 7..8).await;
    let is_kept = async |what: &str| {
        // Brokers count with some delay.
        eventually(what, async || {
            let backlog = broker.backlog(&lane).await.expect("backlog");
            backlog
                .is_some_and(|backlog| backlog.messages > 0 || backlog.consumers > 0)
                .then_some(())
        })
        .await;
        assert!(!remove().await, "{what}");
        assert!(broker.backlog(&spare).await.expect("backlog").is_some());
    };
    is_kept("a message").await;
    let mut subscription = subscribe(&*broker, &lane, PLENTY).await;
    assert_eq!(take_all(&mut *subscription, 1).await, [0]);
    is_kept("a consumer").await;
    subscription.close().await;
    let mut subscription = subscribe(&*broker, &spare, PLENTY).await;
    assert_eq!(take_all(&mut *subscription, 1).await, [0]);
    subscription.close().await;
    eventually("it is removed", async || remove().await.then_some(())).await;
    for route in [&lane, &spare] {
        assert_eq!(broker.backlog(route).await.expect("backlog"), None);
    }
    // A process that has used it may find out with its first message.
    eventually("it is there again", async || {
        let answers = broker.publish(&[(lane.clone(), message(9))]).await;
        answers
            .into_iter()
            .all(|answer| answer.is_ok())
            .then_some(())
    })
    .await;
    let mut subscription = subscribe(&*broker, &lane, PLENTY).await;
    assert_eq!(take_all(&mut *subscription, 1).await, [9]);
    // Other pools keep what they have.
    let mut subscription = subscribe(&*broker, &work(), PLENTY).await;
    assert_eq!(take_all(&mut *subscription, 1).await, [7]);
}
