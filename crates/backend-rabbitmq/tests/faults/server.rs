//! RabbitMQ itself: killed, emptied, stopped, out of memory.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use drumline_backend::Broker;
use drumline_backend::broker::Error;
use drumline_test_servers::RabbitServer;
use tokio::time::{Instant, timeout};

use crate::props::{
    connect, is_unavailable, lane, message, next, number, options, publish, soon, subscribe,
    within, work,
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_when_the_server_is_killed() -> anyhow::Result<()> {
    const PUBLISHERS: u64 = 4;
    let server = RabbitServer::start().await?;
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
                    Ok(()) => drop(confirmed.lock().unwrap().insert(n)),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        }
    };
    let so_far = || confirmed.lock().unwrap().len();
    let killing = async {
        for _ in 0..2 {
            let before = so_far();
            soon(async || {
                anyhow::ensure!(so_far() > before + 500, "publishing goes on");
                Ok(())
            })
            .await;
            server.kill()?;
            server.restart().await?;
        }
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

    let mut missing = confirmed.into_inner()?;
    for route in [work(), lane(1), lane(2)] {
        let mut subscription = subscribe(&broker, &route).await;
        // The rest of its queue, until nothing more comes.
        while let Ok(Some(delivery)) = timeout(Duration::from_secs(2), subscription.next()).await {
            missing.remove(&number(&delivery));
            delivery.receipt.acknowledge().await?;
        }
    }
    assert!(missing.is_empty(), "{} are lost", missing.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_everything_is_used_as_a_new_one() -> anyhow::Result<()> {
    let server = RabbitServer::start().await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_alarm_is_told_at_once_and_stops_publishing_only() -> anyhow::Result<()> {
    let server = RabbitServer::start().await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_told_in_bounded_time() -> anyhow::Result<()> {
    let server = RabbitServer::start().await?;
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
