//! The tools for a broker and a namespace as a whole, and the baseline.

use std::collections::BTreeSet;

use anyhow::Context as _;
use drumline_backend::Broker as _;
use drumline_backend::baseline::{BaselineBroker as _, MESSAGE_BYTES};
use drumline_backend::broker::Backlog;
use drumline_backend_rabbitmq::{
    Options, RabbitBaseline, RabbitBroker, delete_queues, inspect, purge_work_queue,
    try_quorum_queue,
};
use drumline_protocol::message::{Marker, Message, Route, Source};
use drumline_protocol::{Partition, PartitionCount, QueueName};
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

/// A namespace of its own on the server of the whole test run.
async fn options() -> anyhow::Result<Options> {
    let url = drumline_test_servers::amqp_url().await?;
    Ok(Options {
        namespace: format!("test-{:016x}", fastrand::u64(..)).parse()?,
        ..Options::new(url.parse()?)
    })
}

async fn channel() -> anyhow::Result<Channel> {
    let url = drumline_test_servers::amqp_url().await?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    Ok(connection.create_channel().await?)
}

fn route(source: Source) -> Route {
    Route {
        queue: QueueName::default(),
        source,
    }
}

#[tokio::test]
async fn a_broker_is_examined_without_a_trace() -> anyhow::Result<()> {
    let options = options().await?;
    assert_eq!(inspect(&options).await?.product, "RabbitMQ");
    try_quorum_queue(&options).await?;
    Ok(())
}

#[tokio::test]
async fn all_queues_of_a_pool_are_emptied_and_deleted() -> anyhow::Result<()> {
    let options = options().await?;
    let partitions = PartitionCount::new(2).context("not zero")?;
    let broker = RabbitBroker::start(options.clone());
    broker.connected().await?;
    let lanes = partitions.all().map(Source::Lane);
    let sources = [Source::Work, Source::Spare].into_iter().chain(lanes);
    let routes: Vec<Route> = sources.map(route).collect();
    for route in &routes {
        let marker = Marker {
            route: route.clone(),
            stamp: 1,
        };
        for answer in broker
            .publish(&[(route.clone(), Message::Marker(marker))])
            .await
        {
            answer?;
        }
    }
    purge_work_queue(&options, &QueueName::default()).await?;
    let empty = Backlog::default();
    let work = broker.backlog(&route(Source::Work)).await?;
    assert_eq!(work, Some(empty));
    let lane = broker
        .backlog(&route(Source::Lane(Partition::new(1))))
        .await?;
    assert_eq!(lane.context("it exists")?.messages, 1);
    delete_queues(&options, &QueueName::default(), partitions).await?;
    for route in &routes {
        assert_eq!(broker.backlog(route).await?, None, "{route}");
    }
    broker.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_messages_of_a_baseline_are_as_large_as_it_says() -> anyhow::Result<()> {
    let options = options().await?;
    let baseline = RabbitBaseline::connect(&options).await?;
    baseline.publisher().await?.publish(&[7]).await?;
    let queue = format!("{}.floor", options.namespace);
    let got = channel()
        .await?
        .basic_get(queue.into(), BasicGetOptions { no_ack: true })
        .await?
        .context("a message")?;
    assert_eq!(got.delivery.data.len(), MESSAGE_BYTES);
    Box::new(baseline).close().await?;
    Ok(())
}

#[tokio::test]
async fn a_baseline_delivers_everything_and_deletes_its_queue() -> anyhow::Result<()> {
    let options = options().await?;
    let baseline = RabbitBaseline::connect(&options).await?;
    let numbers: BTreeSet<u64> = (0..500).collect();
    let published: Vec<u64> = numbers.iter().copied().collect();
    baseline.publisher().await?.publish(&published).await?;
    let mut consumer = baseline.consumer().await?;
    let mut delivered = BTreeSet::new();
    while delivered.len() < numbers.len() {
        let batch = consumer.next(100).await?;
        delivered.extend(&batch.numbers);
        batch.receipt.acknowledge().await?;
    }
    assert_eq!(delivered, numbers);
    Box::new(baseline).close().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = format!("{}.floor", options.namespace);
    let asked = channel()
        .await?
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await;
    assert!(asked.is_err(), "it is gone");
    Ok(())
}
