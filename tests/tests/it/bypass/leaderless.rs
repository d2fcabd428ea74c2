//! A quorum queue without a leader: it takes nothing and gives nothing, and
//! nothing waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_protocol::OperationId;
use drumline_test_servers::RabbitServer;
use drumline_tests::api::Api;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{judged_without_calls, request};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::all_completed;

/// Has a process in RabbitMQ suspend a quorum queue's server whenever it runs,
/// also after the server was made again. Every other process finds the queue
/// without a leader.
async fn silence(rabbit: &RabbitServer, queue: &str) -> Result<()> {
    let call = format!(
        "F = fun(F) -> case whereis('%2F_{queue}') of undefined -> ok; \
         P -> catch sys:suspend(P, 1000) end, timer:sleep(50), F(F) end, \
         spawn(fun() -> F(F) end), ok."
    );
    rabbit.rabbitmqctl(&["eval", &call]).await.map(drop)
}

/// The 99th percentile of the time from a create to its start, in milliseconds,
/// of the operations that `selects` picks.
fn p99(operations: &[Value], selects: impl Fn(&Value) -> bool) -> Result<i64> {
    let time = |one: &Value, name: &str| {
        let text = one[name].as_str().context("a time")?;
        anyhow::Ok(drumline_protocol::Timestamp::parse_rfc3339(text)?.as_millis())
    };
    let mut waits = Vec::new();
    for one in operations.iter().filter(|one| selects(one)) {
        waits.push(time(one, "startedOn")? - time(one, "createdOn")?);
    }
    waits.sort_unstable();
    let at = (waits.len() * 99 / 100).min(waits.len().saturating_sub(1));
    waits.get(at).copied().context("nothing was started")
}

/// Creates operations through all managers, and waits until everything is
/// Completed. Returns the new ones.
async fn run_some(fleet: &Fleet) -> Result<Vec<Value>> {
    let api = fleet.api(0);
    let before = api.list("").await?;
    let mut creators = JoinSet::new();
    for api in fleet.apis() {
        creators.spawn(create_all(api));
    }
    let mut created = 0;
    while let Some(done) = creators.join_next().await {
        created += done??;
    }
    all_completed(fleet, Duration::from_secs(180)).await?;
    let mut operations = api.list("").await?;
    ensure!(
        operations.len() == before.len() + created,
        "lost or doubled"
    );
    operations.retain(|one| !before.iter().any(|old| old["id"] == one["id"]));
    Ok(operations)
}

/// Runs operations with every queue at work, and then while a queue has no
/// leader.
async fn runs_without(name: &str, queue: impl AsyncFn(&Fleet) -> Result<String>) -> Result<()> {
    let fleet = Fleet::start(name, Size::default()).await?;
    // Every queue is declared, and has been used.
    run_some(&fleet).await?;
    let in_peace = run_some(&fleet).await?;
    let queue = queue(&fleet).await?;
    silence(&fleet.rabbit, &queue).await?;
    let without = run_some(&fleet).await?;
    let api = fleet.api(0);
    let operations = api.list("").await?;
    judged_without_calls(&fleet, &operations).await?;
    let bypassed = until_bypassed(&api).await?;
    let (_, lane) = queue.rsplit_once('.').context("a name")?;
    // Operations without a token go through the work queue.
    let is_other = |one: &Value| {
        if one["dependencyToken"].is_null() {
            return false;
        }
        let id = one["id"]
            .as_str()
            .and_then(|id| id.parse::<OperationId>().ok());
        id.is_some_and(|id| id.partition().get().to_string() != lane)
    };
    let summary = format!(
        "{queue}: others' p99 from create to start {} ms in peace, {} ms without; {bypassed:?}",
        p99(&in_peace, is_other)?,
        p99(&without, is_other)?
    );
    // For people who run the test to see.
    std::fs::write(fleet.folder().join("summary.txt"), summary)?;
    Ok(())
}

/// Waits until a queue is by-passed that does not answer, and returns all that are. A manager may
/// hear of it from others.
async fn until_bypassed(api: &Api) -> Result<Vec<Value>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let queues = api.read_patiently("/v1/queues").await?;
        let bypassed = queues["queues"][0]["bypassed"].as_array();
        let bypassed = bypassed.context("queues that are by-passed")?;
        if bypassed.iter().any(|one| one["reason"] != json!("refused")) {
            return Ok(bypassed.clone());
        }
        ensure!(Instant::now() < deadline, "{queues}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Creates two operations of each of many new tokens, and as many without.
async fn create_all(api: Api) -> Result<usize> {
    // No two calls of a process create operations of the same token.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let base = 10_000 + run * 1_000;
    let mut created = 0;
    for token in 0..100 {
        for index in 0..2 {
            let with = request(base + token, index, 3, true);
            api.create(&format!("{run}/{token}/{index}"), &with).await?;
            let number = base + 1_000_000 + token * 2 + index;
            let without = request(number, 0, 3, false);
            api.create(&format!("{run}/alone/{number}"), &without)
                .await?;
            created += 2;
        }
    }
    Ok(created)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_without_a_leader_is_bypassed() -> Result<()> {
    runs_without("lane-silent", async |fleet| {
        // A lane that is used: the lane of some operation's token.
        let all = fleet.api(0).list("").await?;
        let in_order = all.iter().find(|one| !one["dependencyToken"].is_null());
        let id = in_order.and_then(|one| one["id"].as_str());
        let id: OperationId = id.context("an operation with a token")?.parse()?;
        Ok(format!("drumline.lane.default.{}", id.partition().get()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_without_a_leader_is_bypassed() -> Result<()> {
    let queue = "drumline.work.default";
    runs_without("work-silent", async |_| Ok(queue.to_owned())).await
}
