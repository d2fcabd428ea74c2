//! Measures the share of RabbitMQ's and lapin's speed that this crate leaves.
//!
//! Publishes messages of one offer each to a quorum queue, with confirms, and
//! consumes and acknowledges them: once with bare lapin, as fast as it goes
//! (the floor), and once through the port. Run it on a quiet machine:
//!
//! ```text
//! cargo run --release -p drumline-backend-rabbitmq --example floor [amqp://…]
//! ```
//!
//! Without a URL it starts a private RabbitMQ.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people, with tasks that end with it"
)]

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use drumline_backend::Broker;
use drumline_backend_rabbitmq::{Options, RabbitBroker};
use drumline_protocol::message::{Message, Offer, Route, Source};
use drumline_protocol::operation::{TraceContext, first_header};
use drumline_protocol::{
    CommitId, OperationId, OperationType, Partition, QueueName, RetryPolicy, Rules, Timestamp,
    TokenPolicy, codec,
};
use drumline_test_servers::RabbitServer;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::time::Instant;

/// Messages of one measurement.
const COUNT: u64 = 60_000;
/// Unconfirmed, or unacknowledged, messages at a time.
const WINDOW: u16 = 1_000;
/// Each is measured so often, in turn; the best counts.
const ROUNDS: usize = 3;

/// The lanes of one pool.
const LANES: u16 = 64;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut server = None;
    let url = match std::env::args().nth(1) {
        Some(url) => url,
        None => server.insert(RabbitServer::start().await?).url(),
    };
    println!("{COUNT} messages of {} bytes", payload().len());
    let mut best = [0.0_f64; 7];
    for round in 0..ROUNDS {
        let bare = bare(&url, &format!("floor-bare-{round}")).await?;
        let ours = ours(&url).await?;
        for (best, measured) in best.iter_mut().zip(bare.into_iter().chain(ours)) {
            *best = best.max(measured);
        }
    }
    let [floor_publish, floor_consume, floor_both, ours @ ..] = best;
    let [publish, singles, consume, both] = ours;
    println!("                        bare lapin   this crate   of the floor");
    let line = |what: &str, floor: f64, ours: f64| {
        println!(
            "{what:22} {floor:9.0}/s  {ours:9.0}/s  {:12.2}",
            ours / floor
        );
    };
    line("publish and confirm", floor_publish, publish);
    line("  one at a time, 256x", floor_publish, singles);
    line("consume and ack", floor_consume, consume);
    line("both at once", floor_both, both);
    let (p50, p99) = latency(&url).await?;
    println!("publish to delivery at 200/s: p50 {p50:?}, p99 {p99:?}");
    let (first, second) = lanes(&url).await?;
    println!("{LANES} lanes consumed: {first:?} on a new broker, {second:?} later");
    Ok(())
}

/// Bare lapin: publish, consume, both at once, in messages per second.
async fn bare(url: &str, queue: &str) -> anyhow::Result<[f64; 3]> {
    let connect = || Connection::connect(url, ConnectionProperties::default());
    let (publishing, consuming) = (connect().await?, connect().await?);
    let channel = publishing.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    let durable = QueueDeclareOptions::durable();
    channel
        .queue_declare(queue.into(), durable, arguments)
        .await?;
    let publish = rate(bare_publish(&channel, queue)).await?;
    let other = consuming.create_channel().await?;
    let consume = rate(bare_consume(&other, queue)).await?;
    let other = consuming.create_channel().await?;
    let both = rate(async {
        tokio::try_join!(bare_publish(&channel, queue), bare_consume(&other, queue))?;
        Ok(())
    })
    .await?;
    channel
        .queue_delete(queue.into(), Default::default())
        .await?;
    Ok([publish, consume, both])
}

async fn bare_publish(channel: &Channel, queue: &str) -> anyhow::Result<()> {
    let payload = payload();
    let payload = payload.as_slice();
    stream::iter(0..COUNT)
        .map(|_| {
            channel.basic_publish(
                "".into(),
                queue.into(),
                BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                },
                payload,
                BasicProperties::default().with_delivery_mode(2),
            )
        })
        .buffered(usize::from(WINDOW))
        .try_buffered(usize::from(WINDOW))
        .try_for_each(|confirmation| {
            assert!(confirmation.is_ack(), "it is taken");
            std::future::ready(Ok(()))
        })
        .await?;
    Ok(())
}

async fn bare_consume(channel: &Channel, queue: &str) -> anyhow::Result<()> {
    channel
        .basic_qos(WINDOW, BasicQosOptions::default())
        .await?;
    let consumer = channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let total = usize::try_from(COUNT)?;
    consumer
        .take(total)
        .map(|delivery| async move { delivery?.ack(BasicAckOptions::default()).await })
        .buffer_unordered(usize::from(WINDOW))
        .try_for_each(|done| {
            assert!(done, "it is acknowledged");
            std::future::ready(Ok(()))
        })
        .await?;
    channel.close(200, "OK".into()).await?;
    Ok(())
}

/// Through the port: publish in batches, publish one at a time, consume, both.
async fn ours(url: &str) -> anyhow::Result<[f64; 4]> {
    let broker = Arc::new(start(url).await?);
    let batches = rate(publish(&broker, 16, 64)).await?;
    let consumed = rate(consume(&broker)).await?;
    let singles = rate(publish(&broker, 256, 1)).await?;
    consume(&broker).await?;
    let both = rate(async {
        tokio::try_join!(publish(&broker, 16, 64), consume(&broker))?;
        Ok(())
    })
    .await?;
    broker.stop().await;
    Ok([batches, singles, consumed, both])
}

async fn start(url: &str) -> anyhow::Result<RabbitBroker> {
    let namespace = format!("floor-{:x}", fastrand::u64(..));
    let broker = RabbitBroker::start(Options {
        namespace: namespace.parse()?,
        ..Options::new(url.parse()?)
    });
    broker.connected().await?;
    Ok(broker)
}

/// So many publishers, each with so many messages in a call.
async fn publish(
    broker: &Arc<RabbitBroker>,
    publishers: usize,
    batch: usize,
) -> anyhow::Result<()> {
    let calls = usize::try_from(COUNT)? / batch;
    let tasks = (0..publishers).map(|number| {
        let broker = Arc::clone(broker);
        let own = calls / publishers + usize::from(number < calls % publishers);
        tokio::spawn(async move {
            for _ in 0..own {
                let messages = vec![(route(), message()); batch];
                for answer in broker.publish(&messages).await {
                    answer?;
                }
            }
            anyhow::Ok(())
        })
    });
    for ended in join_all(tasks).await {
        ended??;
    }
    let rest = vec![(route(), message()); usize::try_from(COUNT)? % batch];
    for answer in broker.publish(&rest).await {
        answer?;
    }
    Ok(())
}

async fn consume(broker: &Arc<RabbitBroker>) -> anyhow::Result<()> {
    let window = NonZeroU16::new(WINDOW).context("not zero")?;
    let mut subscription = broker.subscribe(&route(), window).await?;
    for _ in 0..COUNT {
        let delivery = subscription.next().await.context("it goes on")?;
        delivery.receipt.acknowledge().await?;
    }
    subscription.close().await;
    Ok(())
}

/// From before the publish to the delivery, at a gentle rate: p50 and p99.
async fn latency(url: &str) -> anyhow::Result<(Duration, Duration)> {
    let broker = start(url).await?;
    let window = NonZeroU16::new(WINDOW).context("not zero")?;
    let mut subscription = broker.subscribe(&route(), window).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut took = Vec::new();
    for _ in 0..2_000 {
        ticks.tick().await;
        let started = Instant::now();
        let messages = vec![(route(), message())];
        let (answers, delivery) = tokio::join!(broker.publish(&messages), subscription.next());
        took.push(started.elapsed());
        for answer in answers {
            answer?;
        }
        let delivery = delivery.context("it goes on")?;
        delivery.receipt.acknowledge().await?;
    }
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied();
    at(50).zip(at(99)).context("something was measured")
}

/// Measures the start of a worker: the time until it consumes all lanes.
async fn lanes(url: &str) -> anyhow::Result<(Duration, Duration)> {
    let broker = start(url).await?;
    let mut took = Vec::new();
    for _ in 0..2 {
        let started = Instant::now();
        let routes: Vec<Route> = (0..LANES)
            .map(|partition| Route {
                source: Source::Lane(Partition::new(partition)),
                ..route()
            })
            .collect();
        let window = NonZeroU16::MIN;
        let subscribed = join_all(routes.iter().map(|route| broker.subscribe(route, window)));
        for subscription in subscribed.await {
            subscription?;
        }
        took.push(started.elapsed());
    }
    took.first()
        .copied()
        .zip(took.last().copied())
        .context("two")
}

async fn rate(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<f64> {
    let started = Instant::now();
    work.await?;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    Ok(COUNT as f64 / started.elapsed().as_secs_f64())
}

fn route() -> Route {
    Route {
        queue: QueueName::default(),
        source: Source::Work,
    }
}

fn message() -> Message {
    let now = Timestamp::from_millis(1_795_000_000_000);
    let rules = Rules {
        operation_type: OperationType::DEFAULT,
        chain: None,
        token_policy: TokenPolicy::Continue,
        transient: false,
        webhook: false,
        at_most_once: false,
        retry: RetryPolicy::default(),
    };
    Message::Offers(vec![Offer {
        id: OperationId::new(now, Partition::new(1), [7; 16]),
        header: first_header(rules, None, CommitId(1), now),
        message_name: "ImportSolution".to_owned(),
        queue: QueueName::default(),
        trace: TraceContext {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            // As long as brings the message to some 512 bytes.
            tracestate: "vendor=".to_owned() + &"x".repeat(330),
        },
    }])
}

fn payload() -> Vec<u8> {
    codec::encode(&message()).unwrap_or_default()
}
