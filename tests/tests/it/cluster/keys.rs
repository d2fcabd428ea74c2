//! Idempotency keys of a transaction on a Redis Cluster: it puts its operations into one
//! partition, and each key has a partition of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_test_servers::{RabbitServer, RedisCluster};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{all_completed, request};
use serde_json::{Value, json};

use super::SIZE;

/// The operations of the transaction: their keys are of several partitions.
const COUNT: usize = 8;
const COMPLETED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_transaction_stands_for_its_operation() -> Result<()> {
    let servers =
        async { tokio::try_join!(RedisCluster::start_primaries(), RabbitServer::start()) };
    let (cluster, rabbit) = servers.await?;
    let environment = vec![("DRUMLINE_REDIS_URL".to_owned(), cluster.url())];
    let size = Size {
        managers: 1,
        workers: 1,
        ..SIZE
    };
    let node = Arc::clone(&cluster.nodes()[0]);
    let fleet = Fleet::start_on("cluster-keys", size, node, rabbit, environment).await?;
    let api = fleet.api(0);
    let target = |number: usize| request(number, 0, 0, false);
    let key = |number: usize| format!("key {number}");
    let create = |number: usize| {
        let parameters = json!({"target": target(number), "idempotencyKey": key(number)});
        json!({"requestName": "Create", "parameters": parameters})
    };
    let requests: Vec<Value> = (0..COUNT).map(create).collect();
    let parameters = json!({"requests": requests, "returnResponses": true});
    let transaction = json!({"requestName": "ExecuteTransaction", "parameters": parameters});
    let answer = api.post("/v1/execute", &transaction).await?;
    let responses = answer["results"]["responses"]
        .as_array()
        .context("responses")?;
    ensure!(responses.len() == COUNT, "{answer}");
    for (number, response) in responses.iter().enumerate() {
        // The same create by itself is the same operation.
        let again = api.create(&key(number), &target(number)).await?;
        ensure!(
            again["id"] == response["results"]["id"],
            "{again} {response}"
        );
    }
    // And the same transaction.
    let repeated = api.post("/v1/execute", &transaction).await?;
    for (one, other) in responses.iter().zip(
        repeated["results"]["responses"]
            .as_array()
            .context("responses")?,
    ) {
        ensure!(
            one["results"]["id"] == other["results"]["id"],
            "{one} {other}"
        );
    }
    all_completed(&api, COMPLETED).await?;
    let listed = api.list("").await?;
    ensure!(listed.len() == COUNT, "{} are listed", listed.len());
    Ok(())
}
