//! The queues of a data set: their messages, written and read with a bare client.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use drumline_backend::Broker as _;
use drumline_protocol::Partition;
use drumline_protocol::message::{Message, Route, Source};
use drumline_test_servers::RabbitServer;
use drumline_tests::data_set::{Line, MESSAGE};
use drumline_tests::ports::Ports;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::{REQUESTS, WAIT};

/// A channel with publisher confirms. It lives as long as its connection.
pub(super) async fn channel(rabbit: &RabbitServer) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(&rabbit.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok((connection, channel))
}

pub(super) async fn publish(
    channel: &Channel,
    queue: &str,
    content_type: &str,
    content: &[u8],
) -> Result<()> {
    let mut properties = BasicProperties::default().with_delivery_mode(2);
    if !content_type.is_empty() {
        properties = properties.with_content_type(content_type.into());
    }
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    // Requests are told apart by their routing key, so they take their exchange.
    let (exchange, key) = match queue {
        REQUESTS => ("drumline.requests", "create"),
        queue => ("", queue),
    };
    let confirm = channel
        .basic_publish(exchange.into(), key.into(), mandatory, content, properties)
        .await?;
    let confirmation = confirm.await?;
    ensure!(confirmation.take_message().is_none(), "no queue {queue}");
    Ok(())
}

/// Sends a message of a data set.
pub(super) async fn send(channel: &Channel, line: &Line) -> Result<()> {
    let content = line.get(3).context("a content")?;
    publish(channel, &text(line, 1)?, &text(line, 2)?, content).await
}

pub(super) fn text(line: &Line, place: usize) -> Result<String> {
    let word = line.get(place).context("a word")?;
    Ok(String::from_utf8(word.clone())?)
}

/// Declares a queue of offers as every member does: with a message without offers.
pub(super) async fn declare(ports: &Ports, queue: &str) -> Result<()> {
    let parts: Vec<&str> = queue.split('.').collect();
    let (name, source) = match parts.as_slice() {
        [_, "work", name] => (name, Source::Work),
        [_, "lane", name, partition] => (name, Source::Lane(Partition::new(partition.parse()?))),
        _ => anyhow::bail!("not a queue of offers: {queue}"),
    };
    let route = Route {
        queue: name.parse()?,
        source,
    };
    let message = (route, Message::Offers(Vec::new()));
    for answer in ports.broker.publish(&[message]).await {
        answer?;
    }
    Ok(())
}

/// All queues, with the numbers of their messages.
pub(super) async fn queues(rabbit: &RabbitServer) -> Result<BTreeMap<String, usize>> {
    let arguments = [
        "list_queues",
        "--quiet",
        "--no-table-headers",
        "name",
        "messages",
    ];
    let listed = rabbit.rabbitmqctl(&arguments).await?;
    let mut queues = BTreeMap::new();
    for line in listed.lines() {
        if let Some((name, count)) = line.split_once('\t') {
            queues.insert(name.to_owned(), count.trim().parse()?);
        }
    }
    Ok(queues)
}

pub(super) async fn exists(rabbit: &RabbitServer, queue: &str) -> Result<()> {
    let deadline = tokio::time::Instant::now() + WAIT;
    while !queues(rabbit).await?.contains_key(queue) {
        ensure!(tokio::time::Instant::now() < deadline, "no {queue}");
    }
    Ok(())
}

pub(super) async fn until_quarantined(rabbit: &RabbitServer) -> Result<()> {
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        let queues = queues(rabbit).await?;
        if queues.get("drumline.quarantine") == Some(&1) {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < deadline, "{queues:?}");
    }
}

/// All messages in all queues, as lines. They stay in their queues when the channel
/// is closed.
pub(super) async fn messages(rabbit: &RabbitServer, channel: &Channel) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for queue in queues(rabbit).await?.into_keys() {
        let name = || queue.as_str().into();
        // The numbers that the broker lists are some seconds old.
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(name(), options, FieldTable::default());
        let count = declared.await?.message_count();
        if count == 0 {
            continue;
        }
        let options = BasicConsumeOptions::default();
        let mut consumer = channel
            .basic_consume(name(), "".into(), options, FieldTable::default())
            .await?;
        for _ in 0..count {
            let delivery = tokio::time::timeout(WAIT, consumer.next()).await?;
            let delivery = delivery.context("a message")??;
            let content_type = delivery.properties.content_type().as_ref();
            let content_type = content_type.map(ToString::to_string).unwrap_or_default();
            lines.push(vec![
                MESSAGE.as_bytes().to_vec(),
                queue.clone().into_bytes(),
                content_type.into_bytes(),
                delivery.data,
            ]);
        }
    }
    Ok(lines)
}
