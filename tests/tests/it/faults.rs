//! Servers die under load, with and without their data. Nothing is lost, order
//! is kept, and everything is Completed at the end without an operator.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Needs;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{Load, completed, create, fill, lost_offers, settle};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Operations come faster than so many slots take them: messages wait in the
/// broker, and can be lost.
const SIZE: Size = Size {
    managers: 2,
    workers: 4,
    concurrency: 2,
    lease: Duration::from_secs(3),
    partitions: 64,
    queues: &[],
    handlers: None,
    redis_bytes_per_second: None,
};

const LOAD: Load = Load {
    first: 0,
    tokens: 100,
    per_token: 30,
    alone: 500,
    ms_max: 60,
    disturbed: false,
};

/// The number of the first operation that fills the broker: behind those of all loads.
const FILLING: usize = 1_000_000;

/// One fleet, and the loads that it has had.
struct Loaded {
    fleet: Fleet,
    loads: Vec<Load>,
}

impl Loaded {
    /// Creates one more load, lets `fault` happen in the middle of it, and
    /// settles everything before the next fault. A fault may create a load of its own.
    async fn survives(
        &mut self,
        what: &'static str,
        fault: impl AsyncFnOnce(&Fleet) -> Result<Option<Load>>,
    ) -> Result<()> {
        let first = self.loads.len() * (LOAD.tokens + LOAD.alone);
        let load = Load { first, ..LOAD };
        self.loads.push(load);
        let mut creator = JoinSet::new();
        let api = self.fleet.api(0);
        let before = completed(&api).await?;
        creator.spawn(create(self.fleet.apis(), load));
        // In the middle: operations are waiting, running, and being created.
        let mut done = before;
        while done < before + 100 {
            sleep(Duration::from_millis(50)).await;
            done = completed(&api).await?;
        }
        ensure!(
            done < before + (LOAD.tokens * LOAD.per_token + LOAD.alone) as u64,
            "{what}: everything was Completed before"
        );
        self.loads.extend(fault(&self.fleet).await.context(what)?);
        let disturbed = creator.join_next().await.context("a creator")???;
        let settled = settle(&self.fleet, &self.loads, &disturbed, Needs::default());
        settled.await.context(what)?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_die_one_after_the_other() -> Result<()> {
    let mut loaded = Loaded {
        fleet: Fleet::start("faults", SIZE).await?,
        loads: Vec::new(),
    };
    loaded
        .survives("RabbitMQ killed and restarted", async |fleet| {
            fleet.rabbit.kill()?;
            sleep(Duration::from_secs(3)).await;
            fleet.rabbit.restart().await?;
            Ok(None)
        })
        .await?;
    let before = lost_offers(&loaded.fleet).await?;
    loaded
        .survives(
            "RabbitMQ killed with its data folder deleted",
            async |fleet| {
                let filling = fill(fleet, FILLING).await;
                let filling = filling.context("the broker has no messages to lose")?;
                fleet.rabbit.kill()?;
                fleet.rabbit.wipe()?;
                fleet.release()?;
                fleet.rabbit.restart().await?;
                Ok(Some(filling))
            },
        )
        .await?;
    let lost = lost_offers(&loaded.fleet).await? - before;
    ensure!(lost > 0.0, "the broker had no messages to lose");
    loaded
        .survives("Redis killed and restarted", async |fleet| {
            fleet.redis.kill()?;
            sleep(Duration::from_secs(2)).await;
            fleet.redis.restart().await?;
            Ok(None)
        })
        .await
}
