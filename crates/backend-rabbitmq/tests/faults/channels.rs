//! Lanes that share a channel: what happens to one of them must not be noticed by the
//! others, or not for long.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use anyhow::Context as _;
use drumline_backend::Broker as _;
use drumline_backend_rabbitmq::{Options, RabbitBroker};
use drumline_test_servers::{RabbitServer, amqp_url};
use futures_util::future::{join_all, join3};
use lapin::options::QueueDeleteOptions;
use tokio::time::Instant;

use crate::fixtures::{
    back_door, connect, lane, next, number, options, publish, soon, subscribe, within,
};

/// The longest that the neighbours of a channel error may wait, besides some times that which the
/// same messages need when nothing happens: a busy machine needs longer for both.
const DELAY_MAX: Duration = Duration::from_secs(1);
const TIMES: u32 = 5;

/// A broker whose lanes are all on one channel.
async fn crowded() -> anyhow::Result<(Options, RabbitBroker)> {
    let options = Options {
        consumer_channels: NonZeroUsize::MIN,
        ..options(&amqp_url().await?)
    };
    let broker = connect(&options).await;
    Ok((options, broker))
}

async fn delete(options: &Options, partition: u16) -> anyhow::Result<()> {
    let (_connection, channel) = back_door(&amqp_url().await?).await?;
    let queue = format!("{}.lane.default.{partition}", options.namespace);
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    deleted.await.context("it is deleted")?;
    Ok(())
}

#[tokio::test]
async fn a_lane_that_leaves_gives_back_what_it_has_not_settled() -> anyhow::Result<()> {
    let (_options, broker) = crowded().await?;
    let mut stays = subscribe(&broker, &lane(0)).await;
    let mut leaves = subscribe(&broker, &lane(1)).await;
    for sent in 0..4 {
        publish(&broker, &lane(0), sent).await?;
        publish(&broker, &lane(1), sent).await?;
    }
    let held = next(&mut *stays).await;
    let first = next(&mut *leaves).await;
    let second = next(&mut *leaves).await;
    first.receipt.acknowledge().await?;
    leaves.close().await;
    // The rest was delivered, or on its way.
    let late = second.receipt.acknowledge().await;
    assert!(late.is_err(), "it is not ours any more");

    let mut again = subscribe(&broker, &lane(1)).await;
    let mut numbers = Vec::new();
    for _ in 1..4 {
        let delivery = next(&mut *again).await;
        numbers.push(number(&delivery));
        delivery.receipt.acknowledge().await?;
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);

    // The neighbour has noticed nothing: what it held is still its own.
    held.receipt.acknowledge().await?;
    for sent in 1..4 {
        let delivery = next(&mut *stays).await;
        assert_eq!(number(&delivery), sent);
        delivery.receipt.acknowledge().await?;
    }
    stays.close().await;
    again.close().await;
    let mut rest = subscribe(&broker, &lane(0)).await;
    publish(&broker, &lane(0), 9).await?;
    assert_eq!(number(&next(&mut *rest).await), 9, "all else is settled");
    Ok(())
}

#[tokio::test]
async fn a_lane_that_leaves_in_full_flow_loses_nothing() -> anyhow::Result<()> {
    let (options, broker) = crowded().await?;
    let other = connect(&options).await;
    let mut stays = subscribe(&broker, &lane(0)).await;
    let mut wanted: BTreeSet<_> = (0..300).collect();
    let sending = async {
        for sent in 0..300 {
            publish(&broker, &lane(0), sent).await?;
            publish(&other, &lane(1), sent).await?;
        }
        anyhow::Ok(())
    };
    let moving = async {
        // A few deliveries each, and away with the rest in hand. RabbitMQ 4 drops a message that
        // was given back twenty times.
        while !wanted.is_empty() {
            let mut moves = subscribe(&broker, &lane(1)).await;
            for _ in 0..wanted.len().min(30) {
                let delivery = next(&mut *moves).await;
                wanted.remove(&number(&delivery));
                delivery.receipt.acknowledge().await?;
            }
            moves.close().await;
        }
        anyhow::Ok(())
    };
    let staying = async {
        for sent in 0..300 {
            let delivery = next(&mut *stays).await;
            assert_eq!(number(&delivery), sent, "no delivery comes twice");
            delivery.receipt.acknowledge().await?;
        }
        anyhow::Ok(())
    };
    let (sent, moved, stayed) = within(join3(sending, moving, staying)).await;
    sent.and(moved).and(stayed)
}

#[tokio::test]
async fn a_queue_deleted_under_one_lane_does_not_end_its_neighbours() -> anyhow::Result<()> {
    let (options, broker) = crowded().await?;
    let mut stays = subscribe(&broker, &lane(0)).await;
    let mut loses = subscribe(&broker, &lane(1)).await;
    publish(&broker, &lane(1), 1).await?;
    let in_hand = next(&mut *loses).await;
    delete(&options, 1).await?;
    assert!(within(loses.next()).await.is_none());
    drop(loses);
    // Its delivery is given back to a queue that is gone.
    assert_eq!(number(&in_hand), 1);
    for sent in 0..20 {
        soon(async || Ok(publish(&broker, &lane(0), sent).await?)).await;
        let delivery = next(&mut *stays).await;
        assert_eq!(number(&delivery), sent);
        delivery.receipt.acknowledge().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lane_whose_queue_is_gone_is_declared_again_beside_its_neighbours() -> anyhow::Result<()>
{
    let (options, broker) = crowded().await?;
    let mut neighbour = subscribe(&broker, &lane(0)).await;
    // The connection has declared the queue, and does not know that it is gone.
    subscribe(&broker, &lane(1)).await.close().await;
    delete(&options, 1).await?;
    let mut again = subscribe(&broker, &lane(1)).await;
    for (lane, subscription) in [(lane(0), &mut neighbour), (lane(1), &mut again)] {
        publish(&broker, &lane, 7).await?;
        assert_eq!(number(&next(&mut **subscription).await), 7);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_work_is_the_only_one_that_is_blamed() -> anyhow::Result<()> {
    let server = RabbitServer::start().await?;
    one_of_eight_is_refused(&server).await?;
    one_of_three_does_not_answer(&server).await
}

async fn one_of_eight_is_refused(server: &RabbitServer) -> anyhow::Result<()> {
    const LANES: u16 = 8;
    const FORBIDDEN: u16 = 3;
    server.rabbitmqctl(&["add_user", "few", "few"]).await?;
    let readable = format!(r"^(?!.*lane\.default\.{FORBIDDEN}$).*");
    let rights = ["set_permissions", "-p", "/", "few", ".*", ".*", &readable];
    server.rabbitmqctl(&rights).await?;
    let url = server.url().replace("amqp://", "amqp://few:few@");
    let broker = connect(&Options {
        consumer_channels: NonZeroUsize::MIN,
        ..options(&url)
    })
    .await;
    let prefetch = NonZeroU16::MAX;
    let lanes: Vec<_> = (0..LANES).map(lane).collect();
    let started = join_all(lanes.iter().map(|lane| broker.subscribe(lane, prefetch))).await;
    for (number, started) in started.iter().enumerate() {
        let error = started.as_ref().err();
        assert_eq!(
            error.is_some(),
            number == usize::from(FORBIDDEN),
            "{error:?}"
        );
    }
    let began = Instant::now();
    let mut consumed = Vec::new();
    for (lane, started) in lanes.iter().zip(started) {
        if let Ok(subscription) = started {
            publish(&broker, lane, 1).await?;
            consumed.push((lane, subscription));
        }
    }
    for (lane, subscription) in &mut consumed {
        // Those that came before the refusal have lost their channel, once.
        let delivery = match within(subscription.next()).await {
            Some(delivery) => delivery,
            None => {
                *subscription = subscribe(&broker, lane).await;
                next(&mut **subscription).await
            }
        };
        assert_eq!(number(&delivery), 1);
        delivery.receipt.acknowledge().await?;
    }
    let delay = began.elapsed();
    let began = Instant::now();
    for (lane, _) in &consumed {
        publish(&broker, lane, 2).await?;
    }
    for (_, subscription) in &mut consumed {
        assert_eq!(number(&next(&mut **subscription).await), 2);
    }
    let calm = began.elapsed();
    assert!(delay < DELAY_MAX + TIMES * calm, "{delay:?}, {calm:?}");
    let blamed: Vec<_> = broker.bypassed().into_iter().map(|one| one.route).collect();
    assert_eq!(blamed, [lane(FORBIDDEN)]);
    Ok(())
}

async fn one_of_three_does_not_answer(server: &RabbitServer) -> anyhow::Result<()> {
    let options = Options {
        consumer_channels: NonZeroUsize::MIN,
        ..options(&server.url())
    };
    let broker = connect(&options).await;
    let mut neighbour = subscribe(&broker, &lane(0)).await;
    // It has worked until now.
    publish(&broker, &lane(1), 1).await?;
    let queue = format!("%2F_{}.lane.default.1", options.namespace);
    let process = async |what: &str| {
        let call = format!("sys:{what}(whereis('{queue}')).");
        server.rabbitmqctl(&["eval", &call]).await
    };
    process("suspend").await?;
    let prefetch = NonZeroU16::MAX;
    let (silent, works) = (lane(1), lane(2));
    let (silent, works) = tokio::join!(
        broker.subscribe(&silent, prefetch),
        broker.subscribe(&works, prefetch)
    );
    assert!(silent.is_err(), "it does not answer");
    // RabbitMQ would do nothing for the channel if it waited for the queue.
    for (lane, subscription) in [(lane(0), &mut neighbour), (lane(2), &mut works?)] {
        publish(&broker, &lane, 7).await?;
        assert_eq!(number(&next(&mut **subscription).await), 7);
    }
    let blamed = broker.bypassed().into_iter();
    let others: Vec<_> = blamed.filter(|one| one.route != lane(1)).collect();
    assert!(others.is_empty(), "{others:?}");
    process("resume").await?;
    let mut works = subscribe(&broker, &lane(1)).await;
    assert_eq!(number(&next(&mut *works).await), 1);
    Ok(())
}
