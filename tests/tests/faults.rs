//! Servers die under load, with and without their data. Nothing is lost, order
//! is kept, and everything is Completed at the end without an operator.

use std::time::Duration;

use anyhow::{Context as _, Result};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{Load, create, settle};
use tokio::task::JoinSet;
use tokio::time::sleep;

const LOAD: Load = Load {
    tokens: 100,
    per_token: 30,
    alone: 500,
    ms_max: 20,
    disturbed: false,
};

/// Creates the load, lets `fault` happen in the middle of it, and settles.
async fn under_load(name: &str, fault: impl AsyncFnOnce(&mut Fleet) -> Result<()>) -> Result<()> {
    let mut fleet = Fleet::start(name, Size::default()).await?;
    let mut creator = JoinSet::new();
    creator.spawn(create(fleet.apis(), LOAD));
    // In the middle: operations are waiting, running, and being created.
    let api = fleet.api(0);
    while api.list("status=30").await?.len() < 100 {
        sleep(Duration::from_millis(50)).await;
    }
    fault(&mut fleet).await?;
    let disturbed = creator.join_next().await.context("a creator")???;
    settle(&fleet, LOAD, &disturbed, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_killed_and_restarted() -> Result<()> {
    under_load("rabbit-killed", async |fleet| {
        fleet.rabbit.kill()?;
        sleep(Duration::from_secs(3)).await;
        fleet.rabbit.restart().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_killed_with_its_data_folder_deleted() -> Result<()> {
    under_load("rabbit-wiped", async |fleet| {
        fleet.rabbit.kill()?;
        fleet.rabbit.wipe()?;
        fleet.rabbit.restart().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_and_restarted() -> Result<()> {
    under_load("redis-killed", async |fleet| {
        fleet.redis.kill()?;
        sleep(Duration::from_secs(2)).await;
        fleet.redis.restart().await
    })
    .await
}
