//! A manager that is far from Redis, whose clock is set back, and a broker that loses
//! everything: what waited is offered again as quickly as without the step of the clock,
//! and nothing runs before its time.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use drumline_protocol::Timestamp;
use drumline_test_servers::{RabbitServer, RedisServer, TcpProxy};
use drumline_tests::data_set::{Answer, Redis};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{
    all_completed, lost_offers, occupy, request, until_the_broker_has_messages,
};
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const SIZE: Size = Size {
    managers: 1,
    workers: 2,
    concurrency: 4,
    lease: Duration::from_secs(3),
    partitions: 16,
    queues: &[],
    handlers: None,
    redis_bytes_per_second: None,
};

/// The time to Redis, each way: 160 ms there and back.
const FAR: Duration = Duration::from_millis(80);
/// Operations of a round, and the number of the first that keeps the slots occupied until the
/// broker has lost what waits in it.
const COUNT: usize = 300;
const OCCUPYING: usize = 1_000_000;
const RUNS_MS: u64 = 300;
/// Creates at the same time.
const AT_ONCE: usize = 32;
/// Of the operations of a round, so many wait for a time.
const POSTPONED: usize = 40;
const WAITS: Duration = Duration::from_secs(12);
/// The time by which Redis is set back, in microseconds.
const HOUR_US: i64 = 3_600_000_000;
/// The time within which the load fills the broker, and that in which a round that
/// stands still fails.
const FILLED: Duration = Duration::from_secs(120);
const LIMIT: Duration = Duration::from_secs(120);
/// A round may take so much longer than the one before the step: a marker that was lost is
/// sent again after 15 s, and once more after 30 s. The step is an hour.
const MARKERS: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_delays_no_repair_of_a_manager_far_away() -> Result<()> {
    let (redis, rabbit) = tokio::try_join!(RedisServer::start(), RabbitServer::start())?;
    let line = TcpProxy::start(&redis.address()).await?;
    line.delay(FAR);
    let far = line.url(&redis.url(), &redis.address());
    let mut fleet = Fleet::start_on("far", SIZE, redis, rabbit, Vec::new()).await?;
    fleet.add_manager_with(&[("DRUMLINE_REDIS_URL", far)])?;
    let managers = async {
        while fleet.api(1).read("/readyz").await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, managers).await.context("the far manager")?;
    let before = round(&fleet, 0).await?;
    set_back(&fleet).await?;
    let after = round(&fleet, 1).await?;
    let told = format!("repaired {before:.1?} before the step of the clock, {after:.1?} after it");
    std::fs::write(fleet.folder().join("summary.txt"), &told)?;
    ensure!(after <= before + MARKERS, "{told}");
    let lost = lost_offers(&fleet).await?;
    ensure!(lost > 0.0, "the broker had no messages to lose");
    Ok(())
}

/// Has operations wait in the broker, which loses them; returns the time until all are
/// Completed.
async fn round(fleet: &Fleet, number: usize) -> Result<Duration> {
    let first = number * COUNT;
    occupy(fleet, OCCUPYING + first).await?;
    let until = now(fleet).await?.saturating_add(WAITS);
    let bodies = (0..COUNT).map(|place| {
        let mut body = request(first + place, 0, RUNS_MS, false);
        if place < POSTPONED {
            body["postponeUntil"] = json!(until.to_string());
        }
        (place, body)
    });
    // Half of them through the far manager.
    let apis = fleet.apis();
    let created: Vec<Result<String>> = stream::iter(bodies)
        .map(async |(place, body)| {
            let key = format!("far/{number}/{place}");
            let api = apis.get(place % apis.len()).context("a manager")?;
            let created = api.create(&key, &body).await?;
            Ok(created["id"].as_str().context("an id")?.to_owned())
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let ids: Vec<String> = created.into_iter().collect::<Result<_>>()?;
    let api = fleet.api(0);
    let filled = timeout(FILLED, until_the_broker_has_messages(&api)).await;
    filled.context("the broker is empty")??;
    fleet.rabbit.kill()?;
    fleet.rabbit.wipe()?;
    fleet.rabbit.restart().await?;
    fleet.release()?;
    let lost = Instant::now();
    all_completed(&api, LIMIT).await?;
    let took = lost.elapsed();
    never_early(fleet, &ids, until).await?;
    Ok(took)
}

/// No handler has begun before the time of its operation.
async fn never_early(fleet: &Fleet, ids: &[String], until: Timestamp) -> Result<()> {
    for id in ids.iter().take(POSTPONED) {
        let operation: Value = fleet.api(0).read(&format!("/v1/operations/{id}")).await?;
        let begun = operation["startedOn"].as_str().context("a start")?;
        let begun = Timestamp::parse_rfc3339(begun)?;
        ensure!(begun >= until, "{operation}");
    }
    Ok(())
}

/// The time of the service.
async fn now(fleet: &Fleet) -> Result<Timestamp> {
    let mut redis = Redis::connect(&fleet.redis.address()).await?;
    let Answer::Array(parts) = redis.call(&[b"TIME".to_vec()]).await? else {
        bail!("no time");
    };
    let Some(Answer::Bytes(Some(seconds))) = parts.into_iter().next() else {
        bail!("no seconds");
    };
    let seconds: i64 = String::from_utf8(seconds)?.parse()?;
    Ok(Timestamp::from_millis(seconds * 1_000))
}

/// The numbers in a Redis whose clock is set back by an hour: they are an hour
/// ahead.
async fn set_back(fleet: &Fleet) -> Result<()> {
    let mut redis = Redis::connect(&fleet.redis.address()).await?;
    let ahead = now(fleet).await?.as_millis() * 1_000 + HOUR_US;
    for partition in 0..SIZE.partitions {
        let key = format!("drumline:{{{partition}}}:tick");
        let words = ["SET", &key, &ahead.to_string(), "XX"];
        let words = words.map(|word| word.as_bytes().to_vec());
        let answer = redis.call(&words).await?;
        ensure!(
            matches!(answer, Answer::Word(_) | Answer::Bytes(None)),
            "{answer:?}"
        );
    }
    Ok(())
}
