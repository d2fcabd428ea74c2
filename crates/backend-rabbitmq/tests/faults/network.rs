//! Silence, cuts, and brokers that are not there (yet).

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use drumline_backend::Broker;
use drumline_backend_rabbitmq::{AmqpUrl, Options, RabbitBroker, Warning};
use drumline_test_servers::{Direction, TcpProxy, amqp_url};
use tokio::time::{Instant, timeout};

use crate::fixtures::{
    connect, is_unavailable, message, next, number, options, publish, soon, subscribe, within, work,
};

/// The time that a busy machine may need besides.
const BUSY: Duration = Duration::from_secs(5);

/// A proxy before a server, and options that go through it.
pub(crate) async fn proxied() -> anyhow::Result<(TcpProxy, Options)> {
    let (proxy, url) = proxied_url().await?;
    Ok((proxy, options(&url)))
}

/// A proxy before a server, and the URL that goes through it.
pub(crate) async fn proxied_url() -> anyhow::Result<(TcpProxy, String)> {
    let url = amqp_url().await?;
    let rest = url.strip_prefix("amqp://").context("not amqp://")?;
    let (authority, _) = rest.split_once('/').context("no vhost")?;
    let address = authority.rsplit('@').next().context("no address")?;
    let proxy = TcpProxy::start(address).await?;
    let url = proxy.url(&url, address);
    Ok((proxy, url))
}

#[tokio::test]
async fn silence_is_noticed_by_publishers() -> anyhow::Result<()> {
    let (proxy, options) = proxied().await?;
    let options = Options {
        patience: Duration::from_secs(3),
        ..options
    };
    let broker = connect(&options).await;
    publish(&broker, &work(), 1).await?;
    for direction in [None, Some(Direction::ToClient), Some(Direction::ToServer)] {
        match direction {
            None => proxy.blackhole(),
            Some(direction) => proxy.silence(direction),
        }
        let started = Instant::now();
        let answer = publish(&broker, &work(), 2).await;
        assert!(is_unavailable(&answer), "{answer:?}");
        assert!(started.elapsed() < options.patience + BUSY);
        soon(async || {
            anyhow::ensure!(broker.check().is_err(), "it says that all is well");
            Ok(())
        })
        .await;
        proxy.heal();
        soon(async || Ok(publish(&broker, &work(), 3).await?)).await;
        broker.check()?;
    }
    Ok(())
}

#[tokio::test]
async fn silence_ends_subscriptions_after_two_heartbeats() -> anyhow::Result<()> {
    let (proxy, options) = proxied().await?;
    let options = Options {
        heartbeat_seconds: NonZeroU16::MIN,
        ..options
    };
    let broker = connect(&options).await;
    publish(&broker, &work(), 1).await?;
    let mut subscription = subscribe(&broker, &work()).await;
    let unacknowledged = next(&mut *subscription).await;
    proxy.blackhole();
    let ended = timeout(Duration::from_secs(10), subscription.next()).await;
    assert!(ended.context("it does not end")?.is_none());
    proxy.heal();
    let mut again = subscribe(&broker, &work()).await;
    assert_eq!(number(&next(&mut *again).await), 1);
    // It does nothing, and above all not to the other subscription.
    drop(unacknowledged.receipt.acknowledge().await);
    Ok(())
}

#[tokio::test]
async fn cuts_cost_neither_messages_nor_failures() -> anyhow::Result<()> {
    const CUTS: usize = 5;
    let (proxy, options) = proxied().await?;
    let options = Options {
        patience: Duration::from_secs(20),
        ..options
    };
    let broker = connect(&options).await;
    let done = AtomicBool::new(false);
    let published = AtomicU64::new(0);
    let publishing = async {
        while !done.load(Ordering::Relaxed) {
            let start = published.load(Ordering::Relaxed);
            let messages: Vec<_> = (start..start + 5).map(|n| message(&work(), n)).collect();
            for answer in broker.publish(&messages).await {
                answer.expect("it is published again on the next connection");
            }
            published.fetch_add(5, Ordering::Relaxed);
        }
        // Something comes after the last cut, for the consumer to see the end.
        let last = published.fetch_add(1, Ordering::Relaxed);
        publish(&broker, &work(), last).await.expect("it is taken");
    };
    let cutting = async {
        for _ in 0..CUTS {
            let before = published.load(Ordering::Relaxed);
            soon(async || {
                let now = published.load(Ordering::Relaxed);
                anyhow::ensure!(now > before + 20, "publishing goes on");
                Ok(())
            })
            .await;
            proxy.cut();
        }
        done.store(true, Ordering::Relaxed);
    };
    let consuming = async {
        let mut found = BTreeSet::new();
        loop {
            let mut subscription = subscribe(&broker, &work()).await;
            while let Some(delivery) = subscription.next().await {
                found.insert(number(&delivery));
                // A lost acknowledgement brings it again.
                drop(delivery.receipt.acknowledge().await);
                let all = published.load(Ordering::Relaxed);
                if done.load(Ordering::Relaxed) && (0..all).all(|n| found.contains(&n)) {
                    return;
                }
            }
        }
    };
    within(async { tokio::join!(publishing, cutting, consuming) }).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_says_nothing_is_given_up_and_found_later() -> anyhow::Result<()> {
    let (proxy, options) = proxied().await?;
    let options = Options {
        patience: Duration::from_secs(2),
        connect_timeout: Duration::from_millis(100),
        ..options
    };
    proxy.blackhole();
    let broker = RabbitBroker::start(options);
    assert!(broker.connected().await.is_err());
    assert!(broker.check().is_err());
    assert!(broker.backlog(&work()).await.is_err());
    // Many attempts later there is not a thread for each of them.
    let threads = lapin_threads()?;
    assert!(threads <= 6, "{threads} threads");
    proxy.heal();
    soon(async || Ok(broker.connected().await?)).await;
    publish(&broker, &work(), 1).await?;
    Ok(())
}

/// The threads of lapin's connections in this process.
fn lapin_threads() -> anyhow::Result<usize> {
    let mut count = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let name = std::fs::read_to_string(task?.path().join("comm"));
        count += usize::from(name.is_ok_and(|name| name.starts_with("lapin-io-loop")));
    }
    Ok(count)
}

#[tokio::test]
async fn nobody_at_the_address_is_told_with_its_cause() -> anyhow::Result<()> {
    let url: AmqpUrl = "amqp://127.0.0.1:1".parse()?;
    let broker = RabbitBroker::start(Options {
        patience: Duration::from_millis(300),
        ..Options::new(url)
    });
    let answer = publish(&broker, &work(), 1).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    let error = broker.check().unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
    Ok(())
}

#[tokio::test]
async fn after_the_stop_everything_has_ended() -> anyhow::Result<()> {
    let (_proxy, options) = proxied().await?;
    let broker = connect(&options).await;
    publish(&broker, &work(), 1).await?;
    let mut subscription = subscribe(&broker, &work()).await;
    let delivery = next(&mut *subscription).await;
    broker.stop().await;
    assert!(within(subscription.next()).await.is_none());
    assert!(is_unavailable(&publish(&broker, &work(), 2).await));
    drop(delivery);
    let other = connect(&options).await;
    let mut subscription = subscribe(&other, &work()).await;
    assert_eq!(number(&next(&mut *subscription).await), 1);
    Ok(())
}

#[tokio::test]
async fn the_broker_says_which_release_it_is() -> anyhow::Result<()> {
    let broker = connect(&options(&amqp_url().await?)).await;
    let greeting = broker.inspect().await?;
    assert_eq!(greeting.product, "RabbitMQ");
    assert!(!greeting.version.is_empty());
    assert!(!greeting.warnings.contains(&Warning::TooOld));
    Ok(())
}
