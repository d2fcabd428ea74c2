//! The fixtures of the cases: brokers, and messages that can be told apart.

use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::Context as _;
use drumline_backend::Broker;
use drumline_backend::broker::{Delivery, Error, Result, Subscription, Trouble};
use drumline_backend_rabbitmq::{Options, RabbitBroker};
use drumline_protocol::message::{Marker, Message, Route, Source};
use drumline_protocol::{Partition, QueueName};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, interval, timeout};

/// The time within which an event must come, on a loaded machine too.
const DEADLINE: Duration = Duration::from_secs(120);

/// The work queue of the default pool.
pub(crate) fn work() -> Route {
    Route {
        queue: QueueName::default(),
        source: Source::Work,
    }
}

/// A lane of the default pool.
pub(crate) fn lane(partition: u16) -> Route {
    Route {
        source: Source::Lane(Partition::new(partition)),
        ..work()
    }
}

/// A message with a number.
pub(crate) fn message(route: &Route, stamp: u64) -> (Route, Message) {
    let marker = Marker {
        route: route.clone(),
        stamp,
    };
    (route.clone(), Message::Marker(marker))
}

/// The number of a message.
pub(crate) fn number(delivery: &Delivery) -> u64 {
    match &delivery.message {
        Message::Marker(marker) => marker.stamp,
        Message::Offers(_) => u64::MAX,
    }
}

/// Defaults for a test: a fresh namespace, and as much patience as a broker on a busy machine
/// needs to declare a queue.
pub(crate) fn options(url: &str) -> Options {
    // The log is shown when the test fails.
    let logs = tracing_subscriber::fmt()
        .with_env_filter("drumline=debug,warn,lapin=off")
        .with_test_writer();
    drop(logs.try_init());
    let namespace = format!("test-{:016x}", fastrand::u64(..));
    Options {
        namespace: namespace.parse().expect("a namespace"),
        patience: Duration::from_secs(8),
        connect_timeout: Duration::from_secs(4),
        reconnect_max: Duration::from_millis(300),
        ..Options::new(url.parse().expect("a URL"))
    }
}

/// A broker that is up.
pub(crate) async fn connect(options: &Options) -> RabbitBroker {
    let broker = RabbitBroker::start(options.clone());
    soon(async || Ok(broker.connected().await?)).await;
    broker
}

/// Publishes one message.
pub(crate) async fn publish(broker: &RabbitBroker, route: &Route, number: u64) -> Result<()> {
    let mut answers = broker.publish(&[message(route, number)]).await;
    answers.pop().expect("an answer")
}

/// Starts to consume.
pub(crate) async fn subscribe(broker: &RabbitBroker, route: &Route) -> Box<dyn Subscription> {
    let prefetch = NonZeroU16::MAX;
    soon(async || Ok(broker.subscribe(route, prefetch).await?)).await
}

/// The next delivery, which must come.
pub(crate) async fn next(subscription: &mut dyn Subscription) -> Delivery {
    within(subscription.next())
        .await
        .expect("the subscription goes on")
}

/// Waits for what must come.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("it comes in time")
}

/// Tries until it succeeds.
pub(crate) async fn soon<T>(mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    let mut ticks = interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "not in time: {error:#}"),
        }
    }
}

/// A channel that goes behind the broker's back.
pub(crate) async fn back_door(url: &str) -> anyhow::Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .context("the back door is closed")?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Why a publish failed though the broker answers.
pub(crate) fn trouble(answer: &Result<()>) -> Option<&Trouble> {
    match answer {
        Err(Error::Queue { trouble, .. }) => Some(trouble),
        Ok(()) | Err(_) => None,
    }
}

/// Returns true if a publish failed for want of a broker that answers.
pub(crate) fn is_unavailable(answer: &Result<()>) -> bool {
    matches!(answer, Err(Error::Unavailable { .. }))
}
