//! RabbitMQ itself: killed, emptied, stopped, out of memory.
//!
//! A server takes some seconds to start, so that several stories share one,
//! each under a namespace of its own.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use drumline_backend::Broker;
use drumline_backend::broker::Error;
use drumline_backend_rabbitmq::Options;
use drumline_protocol::message::Route;
use drumline_test_servers::RabbitServer;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::{Instant, sleep, timeout};

use crate::props::{
    back_door, connect, is_unavailable, lane, message, next, number, options, publish, soon,
    subscribe, within, work,
};

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
    a_silent_queue_holds_up_nobody_else(&server).await?;
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
            let messages = messages.map(|(n, route)| message(route, n)).collect();
            let answers = broker.publish(messages).await;
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
    let broker = connect(&options(&server.url())).await;
    publish(&broker, &work(), 1).await?;
    let watermark = async |fraction: &str| {
        server
            .rabbitmqctl(&["set_vm_memory_high_watermark", fraction])
            .await
    };
    watermark("0.000001").await?;
    // The server says so to whoever publishes; until then nobody knows.
    let started = Instant::now();
    let blocked = publish(&broker, &work(), 2).await;
    assert!(matches!(blocked, Err(Error::Blocked { .. })), "{blocked:?}");
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(matches!(broker.check(), Err(Error::Blocked { .. })));
    let started = Instant::now();
    for answer in broker.publish(vec![message(&work(), 3); 10]).await {
        assert!(matches!(answer, Err(Error::Blocked { .. })), "{answer:?}");
    }
    assert!(started.elapsed() < Duration::from_millis(50), "at once");

    // Whoever consumes goes on: that is what frees the memory.
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

async fn a_server_that_stands_still_is_told_in_bounded_time(
    server: &RabbitServer,
) -> anyhow::Result<()> {
    let options = options(&server.url());
    let broker = connect(&options).await;
    publish(&broker, &work(), 1).await?;
    server.stop_signal()?;
    let limit = options.patience + Duration::from_secs(1);
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

async fn a_silent_queue_holds_up_nobody_else(server: &RabbitServer) -> anyhow::Result<()> {
    let options = options(&server.url());
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
        let answers = broker.publish(messages).await;
        assert!(is_unavailable(&answers[0]), "{answers:?}");
        assert!(answers[1].is_ok(), "{answers:?}");
        started.elapsed()
    };
    // The first waits to see; from then on it is known.
    both().await;
    for _ in 0..10 {
        assert!(both().await < Duration::from_millis(500));
    }
    let started = Instant::now();
    let prefetch = NonZeroU16::MIN;
    assert!(broker.subscribe(&lane(0), prefetch).await.is_err());
    assert!(started.elapsed() < options.patience + Duration::from_secs(3));
    let mut other = subscribe(&broker, &lane(1)).await;
    assert_eq!(number(&next(&mut *other).await), 1);
    broker.check()?;

    process("resume").await?;
    soon(async || Ok(publish(&broker, &lane(0), 3).await?)).await;
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
    // nobody will be its leader.
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
