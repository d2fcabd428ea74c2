//! Published → delivered → acknowledged, and the ways a message can take
//! between.

use std::collections::BTreeSet;

use drumline_protocol::message::{Marker, Message};

use super::fixtures::{
    PLENTY, lane, message, next, offer, publish, subscribe, take, take_all, work,
};
use crate::BrokerHarness;
use crate::wait::{never, soon};

/// A message with several offers arrives with every field as it was.
pub async fn a_message_is_delivered_as_it_was_published(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    let sent = Message::Offers((0..64).map(offer).collect());
    for route in [work(), lane(3)] {
        let mut subscription = subscribe(&*broker, &route, PLENTY).await;
        let answers = broker.publish(&[(route, sent.clone())]).await;
        assert!(matches!(answers.as_slice(), [Ok(())]), "{answers:?}");
        let delivery = next(&mut *subscription).await;
        assert_eq!(delivery.message, sent);
        delivery.receipt.acknowledge().await.expect("acknowledged");
        subscription.close().await;
    }
}

/// Markers travel like offers.
pub async fn a_marker_is_delivered_as_it_was_published(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    let sent = Message::Marker(Marker {
        route: lane(3),
        stamp: u64::MAX,
    });
    let answers = broker.publish(&[(lane(3), sent.clone())]).await;
    assert!(matches!(answers.as_slice(), [Ok(())]), "{answers:?}");
    let mut subscription = subscribe(&*broker, &lane(3), 1).await;
    assert_eq!(next(&mut *subscription).await.message, sent);
}

/// The queue is there before its first consumer.
pub async fn messages_wait_for_their_first_consumer(harness: &dyn BrokerHarness) {
    let publisher = harness.connect().await;
    publish(&*publisher, &work(), 0..10).await;
    publish(&*publisher, &lane(1), 10..20).await;
    let consumer = harness.connect().await;
    let mut subscription = subscribe(&*consumer, &work(), PLENTY).await;
    let found: BTreeSet<_> = take_all(&mut *subscription, 10).await.into_iter().collect();
    assert_eq!(found, (0..10).collect());
    let mut subscription = subscribe(&*consumer, &lane(1), PLENTY).await;
    let found = take_all(&mut *subscription, 10).await;
    assert_eq!(found, (10..20).collect::<Vec<_>>());
}

/// Messages for several routes in one call: an answer for each.
pub async fn answers_come_in_order_one_for_each(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    let routes = [work(), lane(0), work(), lane(1), lane(0)];
    let messages = (0..).zip(routes).map(|(n, route)| (route, message(n)));
    let messages: Vec<_> = messages.collect();
    let answers = broker.publish(&messages).await;
    assert_eq!(answers.len(), 5);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(broker.publish(&[]).await.is_empty());
    let mut subscription = subscribe(&*broker, &lane(0), PLENTY).await;
    assert_eq!(take_all(&mut *subscription, 2).await, [1, 4]);
}

/// An acknowledged message is gone, with any end of the subscription.
pub async fn an_acknowledged_message_does_not_come_again(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    publish(&*broker, &work(), 0..5).await;
    let mut subscription = subscribe(&*broker, &work(), PLENTY).await;
    take_all(&mut *subscription, 5).await;
    subscription.close().await;
    let mut again = subscribe(&*broker, &work(), PLENTY).await;
    never("an acknowledged message comes again", again.next()).await;
}

/// Messages in hand when a subscription is closed are delivered to the next.
pub async fn unacknowledged_messages_come_back_on_close(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    publish(&*broker, &work(), 0..6).await;
    let mut subscription = subscribe(&*broker, &work(), PLENTY).await;
    let mut receipts = Vec::new();
    for _ in 0..6 {
        receipts.push(take(&mut *subscription).await);
    }
    let kept = receipts.split_off(2);
    let mut expected: BTreeSet<u64> = kept.iter().map(|(number, _)| *number).collect();
    for (_, receipt) in receipts {
        receipt.acknowledge().await.expect("acknowledged");
    }
    subscription.close().await;
    drop(kept);
    let mut again = subscribe(&*broker, &work(), PLENTY).await;
    for number in take_all(&mut *again, 4).await {
        assert!(expected.remove(&number), "{number} was acknowledged");
    }
    assert!(expected.is_empty());
}

/// A subscription that is dropped is closed.
pub async fn unacknowledged_messages_come_back_on_drop(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    publish(&*broker, &work(), 0..3).await;
    let mut subscription = subscribe(&*broker, &work(), PLENTY).await;
    let delivery = next(&mut *subscription).await;
    drop(subscription);
    drop(delivery);
    let mut again = subscribe(&*broker, &work(), PLENTY).await;
    let found: BTreeSet<_> = take_all(&mut *again, 3).await.into_iter().collect();
    assert_eq!(found, (0..3).collect());
}

/// A receipt that is dropped acknowledges nothing: its message stays with the
/// subscription, and comes again after it.
pub async fn a_dropped_receipt_keeps_its_message_in_hand(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    publish(&*broker, &work(), 0..1).await;
    let mut subscription = subscribe(&*broker, &work(), 1).await;
    drop(next(&mut *subscription).await);
    publish(&*broker, &work(), 1..2).await;
    never(
        "a second one within the prefetch of one comes",
        subscription.next(),
    )
    .await;
    subscription.close().await;
    let mut again = subscribe(&*broker, &work(), PLENTY).await;
    let found: BTreeSet<_> = take_all(&mut *again, 2).await.into_iter().collect();
    assert_eq!(found, (0..2).collect());
}

/// After the close the message is another consumer's, and a late
/// acknowledgement takes it from no consumer.
pub async fn a_late_acknowledgement_takes_nothing_from_others(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    publish(&*broker, &lane(0), 0..2).await;
    let mut subscription = subscribe(&*broker, &lane(0), PLENTY).await;
    let (number, late) = take(&mut *subscription).await;
    assert_eq!(number, 0);
    subscription.close().await;
    // Failure and success are both fine: the acknowledgement must only do
    // nothing.
    drop(soon("it is answered", late.acknowledge()).await);
    let mut again = subscribe(&*broker, &lane(0), PLENTY).await;
    assert_eq!(take_all(&mut *again, 2).await, [0, 1]);
}

/// With all of the prefetch in hand nothing more comes; with each
/// acknowledgement one.
pub async fn no_more_than_the_prefetch_is_in_hand(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    publish(&*broker, &work(), 0..10).await;
    let mut subscription = subscribe(&*broker, &work(), 3).await;
    let mut in_hand = Vec::new();
    for _ in 0..3 {
        in_hand.push(take(&mut *subscription).await.1);
    }
    never("a fourth one comes", subscription.next()).await;
    let one = in_hand.pop().expect("three are in hand");
    one.acknowledge().await.expect("acknowledged");
    in_hand.push(take(&mut *subscription).await.1);
    never("one too many comes", subscription.next()).await;
    for receipt in in_hand {
        receipt.acknowledge().await.expect("acknowledged");
    }
    take_all(&mut *subscription, 6).await;
}

/// A caller that waits for a message and gives up loses none.
pub async fn waiting_for_the_next_can_be_given_up(harness: &dyn BrokerHarness) {
    let broker = harness.connect().await;
    let mut subscription = subscribe(&*broker, &lane(0), PLENTY).await;
    never("a message comes from nowhere", subscription.next()).await;
    let publisher = harness.connect().await;
    let publishing = async {
        for number in 0..50 {
            publish(&*publisher, &lane(0), number..number + 1).await;
        }
    };
    let consuming = async {
        let mut found = Vec::new();
        while found.len() < 50 {
            tokio::select! {
                biased;
                delivery = subscription.next() => {
                    let delivery = delivery.expect("the subscription goes on");
                    found.push(super::fixtures::number(&delivery.message));
                    delivery.receipt.acknowledge().await.expect("acknowledged");
                }
                () = tokio::task::yield_now() => {}
            }
        }
        found
    };
    let consuming = soon("all of them come", consuming);
    let ((), found) = tokio::join!(publishing, consuming);
    assert_eq!(found, (0..50).collect::<Vec<_>>());
}

/// Some thousand messages in one call are all taken and all delivered.
pub async fn a_burst_arrives_whole(harness: &dyn BrokerHarness) {
    const BURST: u64 = 3_000;
    let broker = harness.connect().await;
    let mut subscription = subscribe(&*broker, &work(), 200).await;
    publish(&*broker, &work(), 0..BURST).await;
    let mut found = BTreeSet::new();
    while (found.len() as u64) < BURST {
        let (number, receipt) = take(&mut *subscription).await;
        receipt.acknowledge().await.expect("acknowledged");
        found.insert(number);
    }
    assert_eq!(found, (0..BURST).collect());
}
