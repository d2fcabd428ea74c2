//! Batches on real servers: the speed of a thousand creates, and the presence
//! and order of their operations.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_tests::fleet::{Fleet, Size};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// No worker executes: the rates are those of creating.
const CREATING: Size = Size {
    managers: 1,
    workers: 0,
    concurrency: 1,
    lease: Duration::from_secs(3),
    partitions: 64,
    queues: &[],
    redis_bytes_per_second: None,
    handlers: None,
};
/// Operations in a batch.
const BATCH: usize = 1000;
/// Callers that create one by one at the same time: fewer leave the service
/// idle, more do not make it faster.
const CALLERS: usize = 64;
/// Rounds of each; the better round counts, so that another program that runs
/// on the machine for a moment decides nothing.
const ROUNDS: usize = 3;

fn target(index: usize) -> Value {
    let mut target =
        json!({"messageName": "Step", "name": index.to_string(), "data": {"index": index}});
    if !index.is_multiple_of(4) {
        target["dependencyToken"] = json!(format!("token {}", index % 16));
    }
    target
}

async fn post(http: &Client, address: &str, body: &Value) -> Result<Value> {
    let answer = http.post(address).json(body).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// Creates so many operations at once, each with a request of its own.
async fn one_by_one(base: &str) -> Result<Duration> {
    let address = format!("{base}/v1/operations");
    let http = Client::new();
    // Connections are made before the clock starts.
    http.get(format!("{base}/readyz")).send().await?;
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (http, address) = (http.clone(), address.clone());
        callers.spawn(async move {
            for index in (caller..BATCH).step_by(CALLERS) {
                post(&http, &address, &target(index)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(start.elapsed())
}

/// Creates them with one request; returns their ids.
async fn in_a_batch(base: &str) -> Result<(Duration, Vec<String>)> {
    let create = |index| json!({"requestName": "Create", "parameters": {"target": target(index)}});
    let requests: Vec<Value> = (0..BATCH).map(create).collect();
    let settings = json!({"continueOnError": false, "returnResponses": true});
    let parameters = json!({"requests": requests, "settings": settings});
    let body = json!({"requestName": "ExecuteMultiple", "parameters": parameters});
    let http = Client::new();
    http.get(format!("{base}/readyz")).send().await?;
    let start = Instant::now();
    let answer = post(&http, &format!("{base}/v1/execute"), &body).await?;
    let took = start.elapsed();
    let responses = answer["results"]["responses"]
        .as_array()
        .context("a list")?;
    let id = |response: &Value| {
        response["response"]["results"]["id"]
            .as_str()
            .map(str::to_owned)
    };
    Ok((took, responses.iter().filter_map(id).collect()))
}

/// Cancels two operations of other partitions and creates a third, first in a
/// transaction of which one request cannot be done, then without this request.
async fn all_or_nothing(base: &str, ids: &[String]) -> Result<()> {
    let address = format!("{base}/v1/execute");
    let http = Client::new();
    let (one, other) = (&ids[0], ids.last().context("an id")?);
    let cancel = |id: &str| json!({"requestName": "Update", "parameters": {"target": {"id": id, "stateCode": 3}}});
    let name = "of the transaction";
    let create = json!({"requestName": "Create", "parameters": {"target": {"messageName": "Step", "name": name}}});
    let transaction = |requests: Value| json!({"requestName": "ExecuteTransaction", "parameters": {"requests": requests}});
    let states = async || {
        let mut states = Vec::new();
        for id in [one, other] {
            let shown = http
                .get(format!("{base}/v1/operations/{id}"))
                .send()
                .await?;
            let shown: Value = serde_json::from_str(&shown.text().await?)?;
            states.push(shown["state"].as_str().unwrap_or_default().to_owned());
        }
        let search =
            json!({"requestName": "RetrieveMultiple", "parameters": {"filter": {"name": name}}});
        let found = post(&http, &address, &search).await?;
        let found = found["results"]["operations"]
            .as_array()
            .map_or(0, Vec::len);
        anyhow::Ok((states, found))
    };

    let delete = json!({"requestName": "Delete", "parameters": {"id": ids[1]}});
    let bad = transaction(json!([create, cancel(one), cancel(other), delete]));
    let answer = http.post(&address).json(&bad).send().await?.text().await?;
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(answer["faultedRequestIndex"] == 3, "{answer}");
    let (before, found) = states().await?;
    ensure!(
        before == ["Ready", "Ready"] && found == 0,
        "{before:?}, {found}"
    );

    let good = transaction(json!([create, cancel(one), cancel(other)]));
    post(&http, &address, &good).await?;
    let (after, found) = states().await?;
    ensure!(
        after == ["Completed", "Completed"] && found == 1,
        "{after:?}, {found}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_its_order_and_a_transaction_is_all_or_nothing() -> Result<()> {
    let fleet = Fleet::start("batches", CREATING).await?;
    let base = fleet.base(0);
    let (mut single, mut batched) = (Duration::MAX, Duration::MAX);
    let mut ids = Vec::new();
    for _ in 0..ROUNDS {
        single = single.min(one_by_one(base).await?);
        let (took, created) = in_a_batch(base).await?;
        ensure!(
            created.len() == BATCH,
            "{} of {BATCH} came back",
            created.len()
        );
        batched = batched.min(took);
        ids = created;
    }
    // Reported, and not asserted: the load of the machine must not fail a test.
    let ratio = single.as_secs_f64() / batched.as_secs_f64();
    let summary = format!(
        "{BATCH} creates: one by one {single:?}, in a batch {batched:?}: {ratio:.2} times as fast"
    );
    println!("{summary}");
    std::fs::write(fleet.folder().join("summary.txt"), &summary)?;

    // The order of the list is the order of submission within each token.
    let mut last = [0; 16];
    let http = Client::new();
    for (index, id) in ids
        .iter()
        .enumerate()
        .filter(|(index, _)| !index.is_multiple_of(4))
    {
        let shown = http
            .get(format!("{base}/v1/operations/{id}"))
            .send()
            .await?;
        let shown: Value = serde_json::from_str(&shown.text().await?)?;
        let name = shown["name"].as_str();
        ensure!(name == Some(&index.to_string()), "{index}: {shown}");
        let sequence = shown["sequence"].as_u64().context("a sequence")?;
        let before = &mut last[index % 16];
        ensure!(sequence > *before, "{index} was overtaken");
        *before = sequence;
    }
    // The runnable operations are with the broker, not left to the relay.
    let queues = http
        .get(format!("{base}/v1/queues"))
        .send()
        .await?
        .text()
        .await?;
    let queues: Value = serde_json::from_str(&queues)?;
    ensure!(queues["operations"]["undispatched"] == 0, "{queues}");
    all_or_nothing(base, &ids).await?;
    Ok(())
}
