//! The promises about operations while they wait and while they run. Heads hold
//! back their own token only. Long operations live as long as they need. Pause
//! and cancel reach them in under a second.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_tests::api::Api;
use drumline_tests::fleet::{Fleet, Size};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The time in which an action reaches a running handler.
const PROMPT: Duration = Duration::from_secs(1);
/// The rounds of which most decide: a machine that is busy for a moment decides nothing, and a
/// delay that comes again and again does.
const ROUNDS: usize = 5;

pub(crate) const SMALL: Size = Size {
    managers: 1,
    workers: 2,
    concurrency: 8,
    lease: Duration::from_secs(2),
    partitions: 64,
    queues: &[],
    redis_bytes_per_second: None,
    handlers: None,
};

pub(crate) fn step(token: &str, ms: u64) -> Value {
    json!({
        "messageName": "Step",
        "dependencyToken": token,
        "data": {"token": 0, "index": 0, "ms": ms, "retries": 0},
    })
}

pub(crate) async fn create(api: &Api, request: &Value) -> Result<String> {
    let key = format!("{:032x}", fastrand::u128(..));
    let operation = api.create(&key, request).await?;
    Ok(operation["id"].as_str().context("an id")?.to_owned())
}

pub(crate) async fn until_status(api: &Api, id: &str, status: u64) -> Result<Value> {
    until(api, id, |operation| operation["statusCode"] == status)
        .await
        .with_context(|| format!("status {status}"))
}

/// Reads an operation until it is as wanted.
pub(crate) async fn until(
    api: &Api,
    id: &str,
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let operation = api.read(&format!("/v1/operations/{id}")).await?;
        if is_wanted(&operation) {
            return Ok(operation);
        }
        ensure!(Instant::now() < deadline, "in vain: {operation}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_waits_holds_back_its_own_token_only() -> Result<()> {
    // One partition: every token is in the same lane.
    let size = Size {
        partitions: 1,
        ..SMALL
    };
    let fleet = Fleet::start("heads", size).await?;
    let api = fleet.api(0);
    let mut held = Vec::new();

    let mut postponed = step("postponed", 0);
    postponed["postponeUntil"] = json!("2099-01-01T00:00:00Z");
    let head = create(&api, &postponed).await?;
    held.push(create(&api, &step("postponed", 0)).await?);

    let mut retrying = step("retrying", 0);
    retrying["data"]["retries"] = json!(1000);
    retrying["retryPolicy"] = json!({"initialMs": 600_000, "maxMs": 600_000});
    let retrying = create(&api, &retrying).await?;
    held.push(create(&api, &step("retrying", 0)).await?);

    let paused = create(&api, &step("paused", 60_000)).await?;
    until_status(&api, &paused, 20).await?;
    api.act(&paused, "pause", &Value::Null).await?;
    held.push(create(&api, &step("paused", 0)).await?);

    // A thousand others in the same lane all come through.
    let mut others = JoinSet::new();
    for number in 0..1000 {
        let (api, token) = (api.clone(), format!("other {number}"));
        others.spawn(async move { create(&api, &step(&token, 0)).await });
    }
    for id in others.join_all().await {
        let done = api.wait(&id?, Duration::from_secs(60)).await?;
        ensure!(done["statusCode"] == 30, "{done}");
    }
    until_status(&api, &retrying, 10).await?;
    until_status(&api, &paused, 10).await?;
    for id in &held {
        let waiting = api.read(&format!("/v1/operations/{id}")).await?;
        ensure!(
            waiting["statusCode"] == 0 && waiting["startCount"] == 0,
            "{waiting}"
        );
    }

    // Each goes on when its head does.
    for head in [&head, &retrying, &paused] {
        let (status, answer) = api.act(head, "cancel", &Value::Null).await?;
        ensure!(status == 200, "{status} {answer}");
    }
    for id in &held {
        api.wait(id, Duration::from_secs(20)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_operation_outlives_thirty_leases_with_one_start() -> Result<()> {
    long_operation(Duration::from_secs(60), SMALL).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes five minutes: `make soak` runs it"]
async fn a_five_minute_operation_with_a_lease_of_ten_seconds_has_one_start() -> Result<()> {
    let lease = Duration::from_secs(10);
    long_operation(Duration::from_secs(300), Size { lease, ..SMALL }).await
}

async fn long_operation(length: Duration, size: Size) -> Result<()> {
    let fleet = Fleet::start("long", size).await?;
    let api = fleet.api(0);
    let ms = u64::try_from(length.as_millis())?;
    let id = create(&api, &step("long", ms)).await?;
    let done = api.wait(&id, length + Duration::from_secs(20)).await?;
    ensure!(
        done["statusCode"] == 30 && done["startCount"] == 1,
        "{done}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_and_cancel_reach_a_running_handler_in_under_a_second() -> Result<()> {
    let fleet = Fleet::start("control", SMALL).await?;
    let api = fleet.api(0);
    for (action, status) in [("pause", 10), ("cancel", 32)] {
        let (mut took, mut prompt) = (Vec::new(), 0);
        // Until most are in time, or cannot be any more.
        while prompt <= ROUNDS / 2 && took.len() - prompt <= ROUNDS / 2 {
            let last = reached(&api, action, status).await?;
            prompt += usize::from(last < PROMPT);
            took.push(last);
        }
        ensure!(prompt > ROUNDS / 2, "{action} took {took:?}");
    }
    Ok(())
}

/// Runs an operation, and returns the time that an action needs to reach it.
async fn reached(api: &Api, action: &str, status: u64) -> Result<Duration> {
    let id = create(api, &step(action, 600_000)).await?;
    until_status(api, &id, 20).await?;
    let asked = Instant::now();
    let (code, answer) = api.act(&id, action, &Value::Null).await?;
    ensure!(code == 200 || code == 202, "{code} {answer}");
    until_status(api, &id, status).await?;
    let took = asked.elapsed();
    // The next one has the same token.
    if action == "pause" {
        api.act(&id, "cancel", &Value::Null).await?;
    }
    Ok(took)
}
