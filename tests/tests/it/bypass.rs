//! No single queue of RabbitMQ is needed for progress: queues that do not
//! confirm, cannot be consumed, or cannot be declared, while everything else
//! goes on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Needs;
use drumline_test_servers::TcpProxy;
use drumline_tests::api::Api;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{Load, are_completed, create, judged_without_calls, request, settle};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

mod killed;
mod leaderless;

/// Counts the operations that are not Completed.
async fn open(api: &Api) -> Result<u64> {
    let queues = api.read("/v1/queues").await?;
    let count = |state: &str| queues["operations"][state].as_u64().unwrap_or(0);
    Ok(count("ready") + count("suspended") + count("locked"))
}

/// Waits until everything is Completed; returns the time that it took.
async fn all_completed(fleet: &Fleet, limit: Duration) -> Result<Duration> {
    let api = fleet.api(0);
    let started = Instant::now();
    // An operation that changes its state while they are counted may be in none of them.
    while !matches!(open(&api).await, Ok(0)) || !are_completed(&api.list("").await?) {
        ensure!(
            started.elapsed() < limit,
            "it stands still; logs in {}",
            fleet.folder().display()
        );
        sleep(Duration::from_millis(100)).await;
    }
    Ok(started.elapsed())
}

const LOAD: Load = Load {
    first: 0,
    tokens: 60,
    per_token: 15,
    alone: 300,
    ms_max: 10,
    disturbed: false,
};

/// The code of a create for a queue that RabbitMQ refuses to declare.
const QUEUE_UNUSABLE: &str = "0x8D00000B";

/// Creates an operation for the bad queue; the code of the refusal, if it is
/// refused.
async fn create_bad(http: &Client, base: &str, number: usize) -> Result<Option<Value>> {
    let mut body = request(1_000_000 + number, 0, 1, false);
    body["queue"] = json!("bad");
    let post = http.post(format!("{base}/v1/operations")).json(&body);
    let answer = post.send().await?;
    if answer.status().is_success() {
        return Ok(None);
    }
    let problem: Value = answer.json().await?;
    Ok(Some(problem["code"].clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_costs_the_others_nothing() -> Result<()> {
    let size = Size {
        queues: &["bad"],
        workers: 0,
        ..Size::default()
    };
    let mut fleet = Fleet::start("other-arguments", size).await?;
    let call = "rabbit_amqqueue:declare(rabbit_misc:r(<<\"/\">>, queue, <<\"drumline.work.bad\">>), \
                true, false, [], none, <<\"test\">>), ok.";
    fleet.rabbit.rabbitmqctl(&["eval", call]).await?;
    for _ in 0..3 {
        fleet.add_worker()?;
    }
    let others = Load {
        first: 0,
        tokens: 100,
        per_token: 10,
        alone: 500,
        ms_max: 5,
        disturbed: false,
    };
    let mut creator = JoinSet::new();
    creator.spawn(create(fleet.apis(), others));
    let base = fleet.base(0).to_owned();
    let mut bad = JoinSet::new();
    bad.spawn(async move {
        let http = Client::new();
        let mut accepted = 0_usize;
        for number in 0..1_000 {
            let created = create_bad(&http, &base, number).await?;
            accepted += usize::from(created.is_none());
        }
        // The refusal is known soon, and from then on there is no other answer.
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut number = 1_000;
        while create_bad(&http, &base, number).await? != Some(json!(QUEUE_UNUSABLE)) {
            ensure!(Instant::now() < deadline, "creates are still accepted");
            number += 1;
            sleep(Duration::from_millis(200)).await;
        }
        Ok(accepted)
    });
    let api = fleet.api(0);
    while api.list("status=30").await?.len() < 300 {
        sleep(Duration::from_millis(50)).await;
    }
    fleet.rabbit.kill()?;
    sleep(Duration::from_secs(1)).await;
    fleet.rabbit.restart().await?;
    creator.join_next().await.context("a creator")???;
    let accepted = bad.join_next().await.context("a creator")???;
    all_completed(&fleet, Duration::from_secs(180)).await?;
    let operations = api.list("").await?;
    let total = others.tokens * others.per_token + others.alone;
    let of_bad = operations
        .iter()
        .filter(|one| one["queue"] == json!("bad"))
        .count();
    ensure!(
        of_bad >= accepted,
        "accepted and lost: {of_bad} of {accepted}"
    );
    ensure!(operations.len() - of_bad == total, "lost or doubled");
    judged_without_calls(&fleet, &operations).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cut_off_from_redis_keeps_nothing_from_the_others() -> Result<()> {
    let size = Size {
        workers: 2,
        ..Size::default()
    };
    let mut fleet = Fleet::start("cut-off", size).await?;
    let url = fleet.redis.url();
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let address = address.split('/').next().context("an address")?.to_owned();
    let proxy = TcpProxy::start(&address).await?;
    let through = proxy.url(&url, &address);
    fleet.add_worker_with(&[("DRUMLINE_REDIS_URL", through)])?;
    fleet.workers_alive(3).await?;
    // The new worker has its share of the lanes by now, and takes from the work
    // queue.
    create(
        fleet.apis(),
        Load {
            per_token: 1,
            ..LOAD
        },
    )
    .await?;
    proxy.blackhole();
    let disturbed = create(fleet.apis(), LOAD).await?;
    settle(&fleet, &[LOAD], &disturbed, Needs::default()).await?;
    Ok(())
}
