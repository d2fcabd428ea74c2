//! RabbitMQ itself: killed, emptied, stopped, out of memory.
//!
//! A server takes some seconds to start, so that several stories share one,
//! each under a namespace of its own.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use drumline_backend::Broker;
use drumline_backend::broker::{Error, Trouble};
use drumline_backend_rabbitmq::Options;
use drumline_protocol::codec;
use drumline_protocol::message::Route;
use drumline_test_servers::RabbitServer;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::{Instant, sleep, timeout};

use crate::fixtures::{
    back_door, connect, is_unavailable, lane, message, next, number, options, publish, soon,
    subscribe, trouble, within, work,
};

/// The time that a busy machine may need besides.
const BUSY: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn crashes_lose_nothing_that_was_confirmed() -> anyhow::Result<()> {
    let server = RabbitServer::start().await?;
    nothing_confirmed_is_lost_when_the_server_is_killed(&server).await?;
    a_crash_soon_after_queues_were_created_leaves_them_usable(&server).await?;
    a_server_that_has_lost_everything_is_used_as_a_new_one(&server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_and_silence_are_told_in_bounded_time() -> anyhow::Result<()> {
    let server = RabbitServer::start().await?;
    a_memory_alarm_is_told_at_once_and_stops_publishing_only(&server).await?;
    unreadable_messages_do_not_deafen_a_lane_during_an_alarm(&server).await?;
    for channels in [NonZeroUsize::MIN, NonZeroUsize::MAX] {
        a_silent_queue_holds_up_nobody_else(&server, channels).await?;
        a_consumer_that_was_forgotten_is_replaced(&server, channels).await?;
    }
    a_server_that_stands_still_is_told_in_bounded_time(&server).await
}

async fn nothing_confirmed_is_lost_when_the_server_is_killed(
    server: &RabbitServer,
) -> anyhow::Result<()> {
    const PUBLISHERS: u64 = 4;
    let broker = connect(&options(&server.url())).await;
    let counter = AtomicU64::new(0);
    let confirmed = Mutex::new(BTreeSet::new());
    let done = AtomicBool::new(false);
    let publisher = async |_: u64| {
        while !done.load(Ordering::Relaxed) {
            let start = counter.fetch_add(10, Ordering::Relaxed);
            let numbers = start..start + 10;
            let routes = [work(), lane(1), lane(2)];
            let routes = routes.iter().cycle();
            let messages = numbers.clone().zip(routes);
            let messages: Vec<_> = messages.map(|(n, route)| message(route, n)).collect();
            let answers = broker.publish(&messages).await;
            for (n, answer) in numbers.zip(answers) {
                match answer {
                    Ok(()) => drop(confirmed.lock().expect("not poisoned").insert(n)),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        }
    };
    let so_far = || confirmed.lock().expect("not poisoned").len();
    let killing = async {
        // The queues have been there for longer than RabbitMQ takes to note it.
        sleep(Duration::from_secs(1)).await;
        let before = so_far();
        soon(async || {
            anyhow::ensure!(so_far() > before + 500, "publishing goes on");
            Ok(())
        })
        .await;
        server.kill()?;
        server.restart().await?;
        let before = so_far();
        soon(async || {
            anyhow::ensure!(so_far() > before + 500, "publishing goes on");
            Ok(())
        })
        .await;
        done.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let (_, _, _, _, killed) = tokio::join!(
        publisher(0),
        publisher(1),
        publisher(2),
        publisher(PUBLISHERS),
        killing
    );
    killed?;

    let drain = async |route: Route| {
        let mut found = BTreeSet::new();
        let mut subscription = subscribe(&broker, &route).await;
        // The rest of its queue, until nothing more comes.
        while let Ok(Some(delivery)) = timeout(Duration::from_secs(2), subscription.next()).await {
            found.insert(number(&delivery));
            delivery.receipt.acknowledge().await.expect("it goes on");
        }
        found
    };
    let (a, b, c) = tokio::join!(drain(work()), drain(lane(1)), drain(lane(2)));
    let mut missing = confirmed.into_inner()?;
    missing.retain(|n| ![&a, &b, &c].iter().any(|found| found.contains(n)));
    assert!(missing.is_empty(), "{} are lost", missing.len());
    Ok(())
}

async fn a_server_that_has_lost_everything_is_used_as_a_new_one(
    server: &RabbitServer,
) -> anyhow::Result<()> {
    let broker = connect(&options(&server.url())).await;
    publish(&broker, &work(), 1).await?;
    let mut subscription = subscribe(&broker, &work()).await;
    let old = next(&mut *subscription).await;
    server.wipe()?;
    assert!(within(subscription.next()).await.is_none());
    assert!(is_unavailable(&publish(&broker, &work(), 2).await));
    assert!(broker.check().is_err());
    server.restart().await?;
    soon(async || Ok(broker.connected().await?)).await;
    assert_eq!(broker.backlog(&work()).await?, None, "it is empty");
    publish(&broker, &work(), 3).await?;
    let mut subscription = subscribe(&broker, &work()).await;
    let new = next(&mut *subscription).await;
    assert_eq!(number(&new), 3);
    // The old one's number means nothing to the new server.
    drop(old.receipt.acknowledge().await);
    new.receipt.acknowledge().await?;
    publish(&broker, &work(), 4).await?;
    assert_eq!(number(&next(&mut *subscription).await), 4);
    Ok(())
}

async fn a_memory_alarm_is_told_at_once_and_stops_publishing_only(
    server: &RabbitServer,
) -> anyhow::Result<()> {
    let options = Options {
        patience: Duration::from_secs(60),
        ..options(&server.url())
    };
    // Neither is an end of the patience.
    let prompt = options.patience / 4;
    let broker = connect(&options).await;
    publish(&broker, &work(), 1).await?;
    let watermark = async |fraction: &str| {
        server
            .rabbitmqctl(&["set_vm_memory_high_watermark", fraction])
            .await
    };
    watermark("0.000001").await?;
    // The server says so to a connection that publishes, and not before.
    let started = Instant::now();
    let blocked = publish(&broker, &work(), 2).await;
    assert!(matches!(blocked, Err(Error::Blocked { .. })), "{blocked:?}");
    assert!(started.elapsed() < prompt);
    assert!(matches!(broker.check(), Err(Error::Blocked { .. })));
    let started = Instant::now();
    for answer in broker.publish(&vec![message(&work(), 3); 10]).await {
        assert!(matches!(answer, Err(Error::Blocked { .. })), "{answer:?}");
    }
    assert!(started.elapsed() < prompt, "at once");

    // Consumers go on: they free the memory.
    let mut subscription = subscribe(&broker, &lane(0)).await;
    subscription.close().await;
    subscription = subscribe(&broker, &work()).await;
    let delivery = next(&mut *subscription).await;
    assert_eq!(number(&delivery), 1);
    delivery.receipt.acknowledge().await?;
    subscription.close().await;
    assert_eq!(
        broker
            .backlog(&work())
            .await?
            .map(|backlog| backlog.messages),
        Some(0),
        "it was acknowledged during the alarm"
    );

    watermark("0.4").await?;
    soon(async || Ok(broker.check()?)).await;
    publish(&broker, &work(), 4).await?;
    Ok(())
}

async fn unreadable_messages_do_not_deafen_a_lane_during_an_alarm(
    server: &RabbitServer,
) -> anyhow::Result<()> {
    const BAD: usize = 200;
    let options = options(&server.url());
    let broker = connect(&options).await;
    publish(&broker, &lane(0), 0).await?;
    let (_connection, channel) = back_door(&server.url()).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let readable = codec::encode(&message(&lane(0), 1).1)?;
    let queue = format!("{}.lane.default.0", options.namespace);
    for number in 0..BAD {
        let payload = match number % 4 {
            0 => b"not one of ours".to_vec(),
            1 => readable[..readable.len() / 2].to_vec(),
            2 => Vec::new(),
            // As a later release would write it.
            _ => [&[readable[0] + 1], &readable[1..]].concat(),
        };
        channel
            .basic_publish(
                "".into(),
                queue.clone().into(),
                BasicPublishOptions::default(),
                &payload,
                BasicProperties::default(),
            )
            .await?
            .await?;
    }
    publish(&broker, &lane(0), 7).await?;
    let watermark = async |fraction: &str| {
        server
            .rabbitmqctl(&["set_vm_memory_high_watermark", fraction])
            .await
    };
    watermark("0.000001").await?;
    soon(async || {
        drop(publish(&broker, &lane(1), 1).await);
        anyhow::ensure!(broker.check().is_err(), "there is no alarm yet");
        Ok(())
    })
    .await;
    let four = NonZeroU16::new(4).expect("4 is not 0");
    let mut lane = within(broker.subscribe(&lane(0), four)).await?;
    let first = next(&mut *lane).await;
    assert_eq!(number(&first), 0);
    first.receipt.acknowledge().await?;
    // The alarm holds everything up for as long as it lasts.
    let during = timeout(Duration::from_secs(1), lane.next()).await;
    assert!(during.is_err(), "{during:?}");
    watermark("0.4").await?;
    let last = next(&mut *lane).await;
    assert_eq!(number(&last), 7);
    last.receipt.acknowledge().await?;

    let count = async |queue: String| {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::durable()
        };
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
        anyhow::Ok(declared.await?.message_count() as usize)
    };
    soon(async || {
        let aside = count(format!("{}.quarantine", options.namespace)).await?;
        let given_back = count(format!("{}.work.default", options.namespace)).await?;
        let expected = (BAD / 4 * 3, BAD / 4);
        anyhow::ensure!(
            (aside, given_back) == expected,
            "{aside} put aside, {given_back} given back"
        );
        Ok(())
    })
    .await;
    Ok(())
}

async fn a_server_that_stands_still_is_told_in_bounded_time(
    server: &RabbitServer,
) -> anyhow::Result<()> {
    let options = options(&server.url());
    let broker = connect(&options).await;
    publish(&broker, &work(), 1).await?;
    server.stop_signal()?;
    let limit = options.patience + BUSY;
    let started = Instant::now();
    let answer = publish(&broker, &work(), 2).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(started.elapsed() < limit);
    let started = Instant::now();
    assert!(broker.backlog(&work()).await.is_err());
    assert!(started.elapsed() < limit);
    server.cont()?;
    soon(async || Ok(publish(&broker, &work(), 3).await?)).await;
    Ok(())
}

async fn a_silent_queue_holds_up_nobody_else(
    server: &RabbitServer,
    consumer_channels: NonZeroUsize,
) -> anyhow::Result<()> {
    let options = Options {
        consumer_channels,
        ..options(&server.url())
    };
    let broker = connect(&options).await;
    publish(&broker, &lane(0), 1).await?;
    publish(&broker, &lane(1), 1).await?;
    let queue = format!("%2F_{}.lane.default.0", options.namespace);
    let process = async |what: &str| {
        let call = format!("sys:{what}(whereis('{queue}')).");
        server.rabbitmqctl(&["eval", &call]).await
    };
    process("suspend").await?;
    let both = async || {
        let messages = vec![message(&lane(0), 2), message(&lane(1), 2)];
        let started = Instant::now();
        let answers = broker.publish(&messages).await;
        assert_eq!(trouble(&answers[0]), Some(&Trouble::Silent), "{answers:?}");
        assert!(answers[1].is_ok(), "{answers:?}");
        started.elapsed()
    };
    // The first waits to see; from then on it is known.
    both().await;
    for _ in 0..10 {
        assert!(both().await < options.patience / 2);
    }
    let started = Instant::now();
    let prefetch = NonZeroU16::MIN;
    assert!(broker.subscribe(&lane(0), prefetch).await.is_err());
    assert!(started.elapsed() < options.patience + BUSY);
    let mut other = subscribe(&broker, &lane(1)).await;
    assert_eq!(number(&next(&mut *other).await), 1);
    broker.check()?;

    process("resume").await?;
    soon(async || Ok(publish(&broker, &lane(0), 3).await?)).await;
    Ok(())
}

async fn a_consumer_that_was_forgotten_is_replaced(
    server: &RabbitServer,
    consumer_channels: NonZeroUsize,
) -> anyhow::Result<()> {
    let options = Options {
        consumer_channels,
        ask_after: Duration::from_millis(300),
        ..options(&server.url())
    };
    let broker = connect(&options).await;
    let mut subscription = subscribe(&broker, &lane(0)).await;
    let _neighbour = subscribe(&broker, &lane(1)).await;
    publish(&broker, &lane(0), 1).await?;
    assert_eq!(number(&next(&mut *subscription).await), 1);
    // As RabbitMQ deletes a queue without a majority: the consumer is not told. RabbitMQ 3.10
    // deletes by name, and finds no queue by another term. RabbitMQ 4.0 deletes the queue itself.
    let name = format!("{}.lane.default.0", options.namespace);
    let call = format!(
        "Name = rabbit_misc:r(<<\"/\">>, queue, <<\"{name}\">>), \
         {{ok, Queue}} = rabbit_amqqueue:lookup(Name), \
         ra:force_delete_server(quorum_queues, amqqueue:get_pid(Queue)), \
         [(catch rabbit_amqqueue:internal_delete(One, <<\"test\">>)) || One <- [Name, Queue]]."
    );
    server.rabbitmqctl(&["eval", &call]).await?;
    soon(async || Ok(publish(&broker, &lane(0), 2).await?)).await;
    assert!(within(subscription.next()).await.is_none());
    let mut again = subscribe(&broker, &lane(0)).await;
    assert_eq!(number(&next(&mut *again).await), 2);
    Ok(())
}

async fn a_crash_soon_after_queues_were_created_leaves_them_usable(
    server: &RabbitServer,
) -> anyhow::Result<()> {
    let ours = connect(&options(&server.url())).await;
    publish(&ours, &work(), 1).await?;
    // Time for the decoy that is made after it; RabbitMQ's own takes 3 s.
    sleep(Duration::from_millis(700)).await;
    let mut confirmed = subscribe(&ours, &work()).await;

    // Without a decoy: RabbitMQ will not find the log of this one again, and
    // no node will be its leader.
    let options = Options {
        replace_queue_after: Duration::from_secs(2),
        ..options(&server.url())
    };
    let (_connection, channel) = back_door(&server.url()).await?;
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    let name = format!("{}.work.default", options.namespace);
    let durable = QueueDeclareOptions::durable();
    channel
        .queue_declare(name.into(), durable, arguments)
        .await?;
    server.kill()?;
    server.restart().await?;

    while confirmed.next().await.is_some() {}
    let mut confirmed = subscribe(&ours, &work()).await;
    assert_eq!(number(&next(&mut *confirmed).await), 1);

    let broker = connect(&options).await;
    soon(async || Ok(publish(&broker, &work(), 2).await?)).await;
    let mut subscription = subscribe(&broker, &work()).await;
    assert_eq!(number(&next(&mut *subscription).await), 2);
    Ok(())
}
