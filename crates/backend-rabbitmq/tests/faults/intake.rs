//! Requests of producers: answered, quarantined, and delivered again when
//! their consumer is gone.

use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::Context as _;
use drumline_backend::Intake;
use drumline_backend::intake::{Refused, Reply, Request, Requests};
use drumline_backend_rabbitmq::{Options, RabbitBroker, RabbitIntake};
use drumline_test_servers::amqp_url;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::timeout;

use crate::fixtures::{back_door, connect, options, soon, within};
use crate::network::proxied;

/// A producer, with a queue for its answers.
struct Producer {
    _connection: Connection,
    channel: Channel,
    exchange: String,
    answers: String,
}

impl Producer {
    /// The exchange must be there.
    async fn connect(options: &Options, url: &str) -> anyhow::Result<Self> {
        let (connection, channel) = back_door(url).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await?;
        Ok(Self {
            _connection: connection,
            channel,
            exchange: format!("{}.requests", options.namespace),
            answers: queue.name().to_string(),
        })
    }

    /// Publishes a request with a number.
    async fn publish(&self, number: u32) -> anyhow::Result<()> {
        let mut headers = FieldTable::default();
        let organization = AMQPValue::LongString("contoso".into());
        headers.insert("Drumline-Organization".into(), organization);
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_correlation_id(format!("c{number}").into())
            .with_message_id(format!("m{number}").into())
            .with_reply_to(self.answers.as_str().into())
            .with_headers(headers);
        self.publish_as(&number.to_string(), properties).await
    }

    async fn publish_as(&self, text: &str, properties: BasicProperties) -> anyhow::Result<()> {
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let exchange = self.exchange.as_str().into();
        let confirm = self
            .channel
            .basic_publish(
                exchange,
                "create".into(),
                options,
                text.as_bytes(),
                properties,
            )
            .await?;
        anyhow::ensure!(confirm.await?.is_ack(), "it is not taken");
        Ok(())
    }

    /// A message of a queue, which must come.
    async fn take(&self, queue: &str) -> BasicGetMessage {
        soon(async || {
            let options = BasicGetOptions { no_ack: true };
            let got = self.channel.basic_get(queue.into(), options).await?;
            got.context("nothing is there")
        })
        .await
    }
}

/// A broker, its intake with requests that come in, and a producer.
async fn stage(
    options: &Options,
    url: &str,
) -> anyhow::Result<(RabbitBroker, RabbitIntake, Box<dyn Requests>, Producer)> {
    let broker = connect(options).await;
    let intake = broker.intake();
    let requests = open(&intake, 64).await;
    let producer = Producer::connect(options, url).await?;
    Ok((broker, intake, requests, producer))
}

async fn open(intake: &RabbitIntake, prefetch: u16) -> Box<dyn Requests> {
    let prefetch = NonZeroU16::new(prefetch).expect("not zero");
    soon(async || Ok(intake.open(prefetch).await?)).await
}

async fn next(requests: &mut dyn Requests) -> Request {
    within(requests.next()).await.expect("there are more")
}

fn text(request: &Request) -> &str {
    std::str::from_utf8(&request.payload).expect("a number")
}

fn reply(to: &str) -> Reply {
    Reply {
        to: to.to_owned(),
        correlation_id: Some("c1".to_owned()),
        status: 201,
        content_type: "application/json",
        payload: b"{}".to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_comes_with_what_is_written_on_it_and_is_answered() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let options = options(&url);
    let (_broker, intake, mut requests, producer) = stage(&options, &url).await?;
    producer.publish(1).await?;
    let request = next(&mut *requests).await;
    let envelope = &request.envelope;
    assert_eq!(text(&request), "1");
    assert_eq!(envelope.kind, "create");
    assert_eq!(envelope.content_type.as_deref(), Some("application/json"));
    assert_eq!(envelope.message_id.as_deref(), Some("m1"));
    assert_eq!(envelope.header("drumline-organization"), Some("contoso"));
    let to = envelope.reply_to.clone().context("an address")?;
    intake.reply(reply(&to)).await?;
    request.receipt.acknowledge().await?;

    let answer = producer.take(&producer.answers).await;
    let properties = &answer.delivery.properties;
    assert_eq!(answer.delivery.data, b"{}");
    let id = properties.correlation_id().as_ref();
    assert_eq!(id.map(|id| id.as_str()), Some("c1"));
    let headers = properties.headers().as_ref().context("headers")?;
    let status = headers.inner().get("status");
    assert_eq!(status, Some(&AMQPValue::LongInt(201)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_waits_for_an_answer_is_no_error() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let (_broker, intake, _requests, producer) = stage(&options(&url), &url).await?;
    intake.reply(reply("nobody-has-this-queue")).await?;
    let to = producer.answers.clone();
    producer
        .channel
        .queue_delete(to.as_str().into(), QueueDeleteOptions::default())
        .await?;
    intake.reply(reply(&to)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_queues_are_no_address_for_answers() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let options = options(&url);
    let (_broker, _intake, mut requests, producer) = stage(&options, &url).await?;
    let ours = format!("{}.requests.in", options.namespace);
    let properties = BasicProperties::default().with_reply_to(ours.into());
    producer.publish_as("1", properties).await?;
    assert_eq!(next(&mut *requests).await.envelope.reply_to, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_kept_as_it_was_with_the_reason() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let options = options(&url);
    let (_broker, intake, mut requests, producer) = stage(&options, &url).await?;
    producer.publish(1).await?;
    let request = next(&mut *requests).await;
    let mut envelope = request.envelope.clone();
    // More than fits beside our own: something is left out, not all.
    for number in 0..100 {
        let (name, value) = (format!("x{number}"), "y".repeat(1000));
        envelope.headers.insert(name, value);
    }
    let refused = Refused {
        envelope,
        payload: request.payload.clone(),
        bytes: 17,
        code: "0x8D000006".to_owned(),
        reason: "not JSON".to_owned(),
    };
    intake.quarantine(refused).await?;
    request.receipt.acknowledge().await?;

    let queue = format!("{}.requests.quarantine", options.namespace);
    let kept = producer.take(&queue).await;
    let properties = &kept.delivery.properties;
    assert_eq!(kept.delivery.data, b"1");
    let id = properties.message_id().as_ref();
    assert_eq!(id.map(|id| id.as_str()), Some("m1"));
    let headers = properties.headers().as_ref().context("headers")?;
    let text = |value: &str| Some(AMQPValue::LongString(value.into()));
    let header = |name: &str| headers.inner().get(name).cloned();
    assert_eq!(header("drumline-code"), text("0x8D000006"));
    assert_eq!(header("drumline-reason"), text("not JSON"));
    assert_eq!(header("drumline-routing-key"), text("create"));
    assert_eq!(header("Drumline-Organization"), text("contoso"));
    let others = headers.inner().keys();
    let others = others.filter(|name| name.as_str().starts_with('x')).count();
    assert!((1..100).contains(&others), "{others}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_comes_again_in_its_order() -> anyhow::Result<()> {
    const ALL: u32 = 50;
    let (proxy, options) = proxied().await?;
    let url = amqp_url().await?;
    let (_broker, intake, mut requests, producer) = stage(&options, &url).await?;
    for number in 0..ALL {
        producer.publish(number).await?;
    }
    let mut held = Vec::new();
    for number in 0..20 {
        let request = next(&mut *requests).await;
        assert_eq!(text(&request), number.to_string());
        match number {
            0..10 => request.receipt.acknowledge().await?,
            _ => held.push(request),
        }
    }
    // The acknowledgements are with the broker before the connection is cut.
    let all_but_ten = async || {
        let queue = format!("{}.requests.in", options.namespace);
        let passive = QueueDeclareOptions {
            passive: true,
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let name = queue.into();
        let state = producer
            .channel
            .queue_declare(name, passive, FieldTable::default());
        anyhow::ensure!(state.await?.message_count() == 0, "not all are delivered");
        Ok(())
    };
    soon(all_but_ten).await;
    proxy.cut();
    while let Some(request) = within(requests.next()).await {
        held.push(request);
    }
    let old = held.swap_remove(0);
    drop(old.receipt.acknowledge().await);
    drop(held);
    drop(requests);

    let mut requests = open(&intake, 64).await;
    let first = next(&mut *requests).await;
    let from: u32 = text(&first).parse()?;
    // An acknowledgement may have been lost on the way; none is made up.
    assert!(from <= 10, "{from}");
    for number in from + 1..ALL {
        let request = next(&mut *requests).await;
        assert_eq!(text(&request), number.to_string());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_takes_requests_and_another_takes_over() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let options = options(&url);
    let (_broker, _intake, mut first, producer) = stage(&options, &url).await?;
    let other = connect(&options).await;
    let mut second = open(&other.intake(), 64).await;
    for number in 0..3 {
        producer.publish(number).await?;
    }
    let done = next(&mut *first).await;
    done.receipt.acknowledge().await?;
    let _held = next(&mut *first).await;
    // With two consumers and three messages, the second would have one by now.
    let early = timeout(Duration::from_millis(300), second.next()).await;
    assert!(early.is_err(), "{early:?}");
    first.close().await;
    for number in 1..3 {
        assert_eq!(text(&next(&mut *second).await), number.to_string());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ends_each_consumer_is_put_into_quarantine_by_the_broker()
-> anyhow::Result<()> {
    let url = amqp_url().await?;
    let options = options(&url);
    let (_broker, intake, mut requests, producer) = stage(&options, &url).await?;
    producer.publish(1).await?;
    let queue = format!("{}.requests.quarantine", options.namespace);
    let mut deliveries = 0;
    let kept = loop {
        tokio::select! {
            kept = producer.take(&queue) => break kept,
            request = requests.next() => {
                deliveries += 1;
                assert!(deliveries <= 30, "it comes for ever");
                drop(request.context("it ended before it was asked to")?);
                requests.close().await;
                requests = open(&intake, 64).await;
            }
        }
    };
    assert_eq!(kept.delivery.data, b"1");
    assert!(deliveries > 10, "{deliveries}: bad luck must not be enough");
    Ok(())
}
