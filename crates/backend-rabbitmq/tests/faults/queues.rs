//! Queues that another program has deleted or declared otherwise, and messages
//! that it has put into them.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::num::NonZeroU16;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use drumline_backend::Broker;
use drumline_backend::broker::{Error, Trouble};
use drumline_backend_rabbitmq::Options;
use drumline_test_servers::amqp_url;
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use crate::fixtures::{
    back_door, connect, lane, message, next, number, options, publish, soon, subscribe, trouble,
    within, work,
};

#[tokio::test]
async fn a_queue_deleted_under_its_consumer_ends_the_subscription() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let options = options(&url);
    let broker = connect(&options).await;
    let mut subscription = subscribe(&broker, &lane(0)).await;
    let (_connection, channel) = back_door(&url).await?;
    let queue = format!("{}.lane.default.0", namespace(&options));
    channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await?;
    assert!(within(subscription.next()).await.is_none());
    assert!(within(subscription.next()).await.is_none(), "and stays so");

    let mut again = subscribe(&broker, &lane(0)).await;
    soon(async || Ok(publish(&broker, &lane(0), 7).await?)).await;
    assert_eq!(number(&next(&mut *again).await), 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_goes_away_early_leaves_no_consumer_behind() -> anyhow::Result<()> {
    let options = options(&amqp_url().await?);
    let broker = connect(&options).await;
    let prefetch = NonZeroU16::new(4).expect("4 is not 0");
    let route = lane(0);
    // Declared once; from here on each subscribing waits at the same places.
    subscribe(&broker, &route).await.close().await;
    // Each time it is left at a later one of them.
    let mut polls = 0;
    while given_up_after(polls, broker.subscribe(&route, prefetch)).await {
        polls += 1;
    }
    let mut subscription = subscribe(&broker, &route).await;
    for sent in 0..20 {
        publish(&broker, &route, sent).await?;
    }
    let mut missing: BTreeSet<_> = (0..20).collect();
    while !missing.is_empty() {
        let delivery = next(&mut *subscription).await;
        missing.remove(&number(&delivery));
        delivery.receipt.acknowledge().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_routed_is_told_of_the_right_messages() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let options = options(&url);
    let broker = connect(&options).await;
    publish(&broker, &lane(0), 0).await?;
    publish(&broker, &lane(1), 0).await?;
    let (_connection, channel) = back_door(&url).await?;
    for round in 0..20 {
        let queue = format!("{}.lane.default.0", namespace(&options));
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await?;
        // Mixed, for the returns come in between the confirms.
        let routes = (0..200).map(|n| lane(u16::from(n % 3 != 0)));
        let messages = routes.clone().map(|route| message(&route, round));
        let messages: Vec<_> = messages.collect();
        let answers = broker.publish(&messages).await;
        for (route, answer) in routes.zip(answers) {
            match answer {
                Ok(()) => assert_eq!(route, lane(1)),
                Err(Error::Unroutable { route: told }) => {
                    assert_eq!((&told, &route), (&lane(0), &lane(0)));
                }
                Err(other) => panic!("{other}"),
            }
        }
        publish(&broker, &lane(0), round).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_nobody_can_read_is_put_aside() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let options = options(&url);
    let broker = connect(&options).await;
    let mut subscription = subscribe(&broker, &work()).await;
    let (_connection, channel) = back_door(&url).await?;
    let queue = format!("{}.work.default", namespace(&options));
    // It is in the queue when it is confirmed, before the next one is sent.
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    channel
        .basic_publish(
            "".into(),
            queue.clone().into(),
            BasicPublishOptions::default(),
            b"not one of ours",
            BasicProperties::default(),
        )
        .await?
        .await?;
    publish(&broker, &work(), 5).await?;
    let delivery = next(&mut *subscription).await;
    assert_eq!(number(&delivery), 5);
    delivery.receipt.acknowledge().await?;

    let quarantine = format!("{}.quarantine", namespace(&options));
    let found = soon(async || {
        let (_connection, channel) = back_door(&url).await?;
        let no_ack = BasicGetOptions { no_ack: true };
        let message = channel.basic_get(quarantine.clone().into(), no_ack).await?;
        message.ok_or_else(|| anyhow::anyhow!("it is not there"))
    })
    .await;
    assert_eq!(found.delivery.data, b"not one of ours");
    let headers = found.delivery.properties.headers().clone();
    let from = headers
        .as_ref()
        .and_then(|headers| headers.inner().get("drumline-queue"));
    let expected = AMQPValue::LongString(queue.into());
    assert_eq!(from, Some(&expected));

    subscription.close().await;
    let left = broker.backlog(&work()).await?;
    assert_eq!(left.map(|backlog| backlog.messages), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_queue_that_is_declared_otherwise_hurts_its_own_messages_only() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    // Enough for a slow broker to declare all of them.
    let options = Options {
        patience: Duration::from_secs(60),
        ..options(&url)
    };
    let (_connection, channel) = back_door(&url).await?;
    let queue = format!("{}.lane.default.0", namespace(&options));
    let classic = QueueDeclareOptions::durable();
    channel
        .queue_declare(queue.into(), classic, FieldTable::default())
        .await?;
    let broker = connect(&options).await;
    let bad = async || {
        let answer = publish(&broker, &lane(0), 1).await;
        assert!(
            matches!(trouble(&answer), Some(Trouble::Refused(_))),
            "{answer:?}"
        );
    };
    let good = async || publish(&broker, &lane(1), 1).await.expect("it is taken");
    tokio::join!(bad(), good(), good(), bad(), good(), bad());
    // In one call, too, and with others that are still to be declared.
    let messages: Vec<_> = (0..64).map(|number| message(&lane(number), 2)).collect();
    let answers = broker.publish(&messages).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(failed, 1, "{answers:?}");
    assert!(answers[0].is_err());
    broker.check()?;
    let bypassed = broker.bypassed();
    assert_eq!(bypassed.len(), 1, "{bypassed:?}");
    assert_eq!(bypassed[0].route, lane(0));
    let said = bypassed[0].trouble.to_string();
    assert!(said.contains("PRECONDITION_FAILED"), "{said}");

    // It works again as soon as it is deleted.
    let (_connection, channel) = back_door(&url).await?;
    let queue = format!("{}.lane.default.0", namespace(&options));
    channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await?;
    soon(async || Ok(publish(&broker, &lane(0), 3).await?)).await;
    assert_eq!(broker.bypassed(), []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_to_queues_that_others_just_create_succeeds() -> anyhow::Result<()> {
    const BROKERS: usize = 4;
    let options = options(&amqp_url().await?);
    let mut brokers = Vec::new();
    for _ in 0..BROKERS {
        brokers.push(connect(&options).await);
    }
    for partition in 0..8 {
        let publishing = brokers.iter().map(|broker| async move {
            for number in 0..5 {
                publish(broker, &lane(partition), number).await?;
            }
            anyhow::Ok(())
        });
        for published in join_all(publishing).await {
            published?;
        }
    }
    Ok(())
}

/// Polls a future so many times and drops it: whether it was not done by then.
async fn given_up_after(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(false),
            // At once, while the broker's answer is still on its way.
            Poll::Pending if polled > polls => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn namespace(options: &Options) -> String {
    options.namespace.to_string()
}
