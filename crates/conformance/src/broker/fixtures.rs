//! The fixtures of the broker's cases: messages that can be told apart, and
//! consumers that read them.

use std::num::NonZeroU16;

use drumline_backend::Broker;
use drumline_backend::broker::{Delivery, Receipt, Subscription};
use drumline_protocol::extensions::Field;
use drumline_protocol::message::{Message, Offer, Route, Source};
use drumline_protocol::operation::{TraceContext, first_header};
use drumline_protocol::{
    ChainKey, CommitId, Extensions, FormatVersion, OperationId, OperationType, Organization,
    Partition, QueueName, RetryPolicy, Rules, Timestamp, TokenPolicy,
};

use crate::wait::soon;

/// A prefetch that is more than any case has in hand.
pub(crate) const PLENTY: u16 = 1_000;

/// The work queue of the default pool.
pub(crate) fn work() -> Route {
    Route {
        queue: QueueName::default(),
        source: Source::Work,
    }
}

/// The spare queue of the default pool.
pub(crate) fn spare() -> Route {
    Route {
        queue: QueueName::default(),
        source: Source::Spare,
    }
}

/// A lane of the default pool.
pub(crate) fn lane(partition: u16) -> Route {
    Route {
        queue: QueueName::default(),
        source: Source::Lane(Partition::new(partition)),
    }
}

/// The message with this number: one offer whose id has it.
pub(crate) fn message(number: u64) -> Message {
    Message::Offers(vec![offer(number)])
}

/// An offer with every field set.
pub(crate) fn offer(number: u64) -> Offer {
    let now = Timestamp::from_millis(1_795_000_000_000);
    let mut random = [0; 16];
    random[2..10].copy_from_slice(&number.to_be_bytes());
    let rules = Rules {
        operation_type: OperationType(203),
        chain: Some(ChainKey::from_bytes([9; 16])),
        token_policy: TokenPolicy::Continue,
        transient: false,
        webhook: false,
        at_most_once: true,
        retry: RetryPolicy::default(),
        not_after: Some(now),
    };
    Offer {
        id: OperationId::new(now, Partition::new(7), random),
        header: first_header(rules, None, CommitId(number), now),
        message_name: "Überweisen".to_owned(),
        queue: QueueName::default(),
        organization: Organization::default(),
        trace: TraceContext {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            tracestate: "vendor=1".to_owned(),
        },
        extensions: extensions(),
    }
}

/// A field that no release has yet: every broker carries what a later one adds.
fn extensions() -> Extensions {
    let since = FormatVersion::new(0, 1);
    let field: Field<String> = Field::new(7, since);
    let mut extensions = Extensions::default();
    let was_set = extensions.set(&field, &"of a later release".to_owned(), since);
    assert!(was_set.expect("a text can be encoded"));
    extensions
}

/// The number of a message made by [`message`].
pub(crate) fn number(message: &Message) -> u64 {
    match message {
        Message::Offers(offers) => offers
            .first()
            .map_or(u64::MAX, |offer| offer.header.commit.0),
        Message::Marker(marker) => panic!("no marker was sent: {marker:?}"),
    }
}

/// Publishes messages to one route; all must be taken.
pub(crate) async fn publish(
    broker: &dyn Broker,
    route: &Route,
    numbers: impl Iterator<Item = u64>,
) {
    let messages: Vec<_> = numbers.map(|n| (route.clone(), message(n))).collect();
    let count = messages.len();
    let answers = soon("the broker answers", broker.publish(&messages)).await;
    assert_eq!(answers.len(), count, "an answer for each");
    for answer in answers {
        answer.expect("the message is taken");
    }
}

/// Starts to consume.
pub(crate) async fn subscribe(
    broker: &dyn Broker,
    route: &Route,
    prefetch: u16,
) -> Box<dyn Subscription> {
    let prefetch = NonZeroU16::new(prefetch).expect("not zero");
    let subscribed = broker.subscribe(route, prefetch).await;
    subscribed.expect("the broker lets us consume")
}

/// The next delivery, which must come.
pub(crate) async fn next(subscription: &mut dyn Subscription) -> Delivery {
    let next = soon("a message comes", subscription.next()).await;
    next.expect("the subscription goes on")
}

/// The number of the next delivery, and the right to acknowledge it.
pub(crate) async fn take(subscription: &mut dyn Subscription) -> (u64, Box<dyn Receipt>) {
    let delivery = next(subscription).await;
    (number(&delivery.message), delivery.receipt)
}

/// The numbers of the next deliveries, each acknowledged.
pub(crate) async fn take_all(subscription: &mut dyn Subscription, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let (number, receipt) = take(subscription).await;
        receipt.acknowledge().await.expect("acknowledged");
        numbers.push(number);
    }
    numbers
}
