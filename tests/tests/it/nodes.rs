//! Three nodes of RabbitMQ: one is killed, one is replaced, the majority is lost and comes
//! back, under load. Nothing is lost, order is kept, and creates go on as long as a
//! majority is there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Needs;
use drumline_test_servers::{RabbitCluster, RabbitOptions, RedisServer};
use drumline_tests::api::Api;
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::{Disturbed, Load, completed, create, request, settle};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const SIZE: Size = Size {
    managers: 2,
    workers: 3,
    concurrency: 8,
    lease: Duration::from_secs(3),
    partitions: 16,
    queues: &[],
    handlers: None,
    redis_bytes_per_second: None,
};

const LOAD: Load = Load {
    first: 0,
    tokens: 60,
    per_token: 20,
    alone: 200,
    ms_max: 60,
    disturbed: false,
};

/// The longest time in which a client gets nothing created while one node is lost.
const GAP: Duration = Duration::from_secs(5);
/// The rest between two creates of the client that measures it.
const BEAT: Duration = Duration::from_millis(20);
/// The token numbers of a round, and those of that client in them.
const ROUND: usize = 10_000_000;
const BEATS_FIRST: usize = 5_000_000;
/// The time in which operations are executed, or leaders are spread.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time without a majority: longer than a client waits for an answer.
const WITHOUT_MAJORITY: Duration = Duration::from_secs(15);

/// A fleet on a cluster, and the loads that it has had.
struct Loaded {
    fleet: Fleet,
    cluster: RabbitCluster,
    loads: Vec<Load>,
    gaps: Vec<(&'static str, Duration)>,
}

/// Creates one operation after the other, and returns the number created and the longest
/// time between two answers. While the service cannot, it is asked again under the same key.
async fn beat(api: Api, first: usize, end: watch::Receiver<bool>) -> Result<(usize, Duration)> {
    let (mut count, mut gap, mut last) = (0, Duration::ZERO, Instant::now());
    while !*end.borrow() {
        let number = first + count;
        let body = request(number, 0, 1, false);
        api.create(&format!("beat/{number}"), &body).await?;
        gap = gap.max(last.elapsed());
        (count, last) = (count + 1, Instant::now());
        sleep(BEAT).await;
    }
    Ok((count, gap))
}

/// Creates one load after the other, and returns them.
async fn loads(apis: Vec<Api>, first: usize, end: watch::Receiver<bool>) -> Result<Vec<Load>> {
    let mut loads = Vec::new();
    while loads.is_empty() || !*end.borrow() {
        let first = first + loads.len() * (LOAD.tokens + LOAD.alone);
        let load = Load { first, ..LOAD };
        create(apis.clone(), load).await?;
        loads.push(load);
    }
    Ok(loads)
}

impl Loaded {
    /// Lets `fault` happen under load, and settles everything before the next fault.
    async fn survives(
        &mut self,
        what: &'static str,
        fault: impl AsyncFnOnce(&mut RabbitCluster) -> Result<()>,
    ) -> Result<Duration> {
        let round = self.gaps.len() + 1;
        let (end, ended) = watch::channel(false);
        let first = ROUND * round + BEATS_FIRST;
        let mut beats = JoinSet::new();
        beats.spawn(beat(self.fleet.api(0), first, ended.clone()));
        let mut creator = JoinSet::new();
        creator.spawn(loads(self.fleet.apis(), ROUND * round, ended));
        fault(&mut self.cluster).await.context(what)?;
        end.send_replace(true);
        let created = creator.join_next().await.context("a creator")???;
        let (count, gap) = beats.join_next().await.context("the beats")???;
        self.gaps.push((what, gap));
        self.loads.extend(created);
        // Judged as a load without tokens.
        self.loads.push(Load {
            first,
            tokens: 0,
            per_token: 0,
            alone: count,
            ..LOAD
        });
        let (undisturbed, needs) = (Disturbed::new(), Needs::default());
        let settled = settle(&self.fleet, &self.loads, &undisturbed, needs).await;
        if settled.is_err() {
            let told = self.cluster.describe().await?;
            std::fs::write(self.fleet.folder().join("cluster.txt"), told)?;
        }
        settled.context(what)?;
        let told = format!("longest times without a create: {:?}", self.gaps);
        std::fs::write(self.fleet.folder().join("gaps.txt"), told)?;
        Ok(gap)
    }
}

/// Waits until some operations are Completed besides those that were before.
async fn in_the_middle(api: &Api) -> Result<()> {
    let going_on = async {
        let before = completed(api).await?;
        while completed(api).await? < before + 100 {
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    let went_on = timeout(PATIENCE, going_on).await;
    went_on.context("nothing is executed any more")?
}

/// Spreads the leaders until each of three nodes has some, none more than its part and two.
/// A replica that is behind cannot lead, and a queue that elects has no leader.
async fn spread(cluster: &RabbitCluster) -> Result<BTreeMap<String, usize>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        cluster.rebalance().await?;
        let leaders = cluster.leaders().await?;
        let (least, most) = (leaders.values().min(), leaders.values().max());
        let is_even = least
            .zip(most)
            .is_some_and(|(least, most)| most - least <= 2);
        if leaders.len() == 3 && is_even {
            return Ok(leaders);
        }
        ensure!(Instant::now() < deadline, "the leaders stay at {leaders:?}");
    }
}

/// Starts a fleet on three nodes.
async fn start(name: &str) -> Result<Loaded> {
    let redis = RedisServer::start();
    let cluster = RabbitCluster::start_with(RabbitOptions::default());
    let (redis, cluster) = tokio::try_join!(redis, cluster)?;
    // As the documentation of the servers has it.
    let policy = r#"{"queue-leader-locator":"balanced"}"#;
    let arguments = ["set_policy", "leaders", "^drumline", policy, "--apply-to"];
    let first = cluster.node(0)?;
    first
        .rabbitmqctl(&[&arguments[..], &["queues"]].concat())
        .await?;
    let environment = vec![("DRUMLINE_AMQP_URL".to_owned(), cluster.url())];
    let rabbit = cluster.node(0)?.clone();
    let fleet = Fleet::start_on(name, SIZE, redis, rabbit, environment).await?;
    Ok(Loaded {
        fleet,
        cluster,
        loads: Vec::new(),
        gaps: Vec::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes: `make soak` runs it"]
async fn nodes_of_rabbitmq_are_lost_and_replaced_under_load() -> Result<()> {
    let mut loaded = start("nodes").await?;
    let api = loaded.fleet.api(0);
    for number in 0..3 {
        let gap = loaded
            .survives("a node killed, and back", async |cluster| {
                in_the_middle(&api).await?;
                cluster.node(number)?.kill()?;
                in_the_middle(&api).await?;
                cluster.node(number)?.restart().await
            })
            .await?;
        ensure!(gap <= GAP, "nothing was created for {gap:?}");
    }
    let gap = loaded
        .survives("a node replaced by an empty one", async |cluster| {
            in_the_middle(&api).await?;
            cluster.replace(1).await
        })
        .await?;
    ensure!(gap <= GAP, "nothing was created for {gap:?}");
    // The replicas of the new node are needed for every confirm then.
    spread(&loaded.cluster).await?;
    loaded
        .survives("another one lost beside the new one", async |cluster| {
            in_the_middle(&api).await?;
            cluster.node(2)?.kill()?;
            in_the_middle(&api).await?;
            cluster.node(2)?.restart().await
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes: `make soak` runs it"]
async fn the_majority_of_rabbitmq_is_lost_and_comes_back() -> Result<()> {
    let mut loaded = start("majority").await?;
    let api = loaded.fleet.api(0);
    loaded
        .survives("the majority lost, and back", async |cluster| {
            in_the_middle(&api).await?;
            cluster.node(1)?.kill()?;
            cluster.node(2)?.kill()?;
            sleep(WITHOUT_MAJORITY).await;
            cluster.node(1)?.restart().await?;
            cluster.node(2)?.restart().await
        })
        .await?;
    Ok(())
}
