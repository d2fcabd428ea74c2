//! The CPU time of Redis for one load: on a cluster of one node, on one of three, and on a
//! Redis alone. The commands and the records of each node show how evenly they are spread.
//!
//! The time is written down and not judged, because it depends on the machine.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use drumline_oracle::journal::Event;
use drumline_test_servers::{RabbitServer, RedisCluster, RedisServer};
use drumline_tests::data_set::{Answer, Redis};
use drumline_tests::fleet::{Fleet, Size, summary};
use drumline_tests::load::{all_completed, completed};
use serde_json::{Value, json};
use tokio::time::Instant;

const SIZE: Size = Size {
    managers: 2,
    workers: 2,
    concurrency: 16,
    lease: Duration::from_secs(3),
    partitions: 64,
    queues: &[],
    handlers: None,
    redis_bytes_per_second: None,
};
/// The time in which everything that was created is Completed.
const COMPLETED: Duration = Duration::from_secs(120);
/// The operations of a load, and those before it that make connections and load scripts.
const COUNT: usize = 5_000;
const WARM: usize = 500;
/// The operations of a batch.
const BATCH: usize = 1_000;
/// Loads on each kind of servers. The kinds take turns, so that a machine that is slow for a
/// while is slow for all of them.
const ROUNDS: usize = 3;
/// The most by which the records of a node may differ from an even share, in percent. One
/// node has 22 of 64 partitions and the others have 21, and the rest is chance.
const UNEVEN: f64 = 10.0;

/// The servers that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Alone,
    One,
    Three,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Alone, Self::One, Self::Three];

    const fn words(self) -> &'static str {
        match self {
            Self::Alone => "a Redis alone",
            Self::One => "a cluster of one node",
            Self::Three => "a cluster of three nodes",
        }
    }
}

enum Servers {
    Alone(Arc<RedisServer>),
    Cluster(RedisCluster),
}

impl Servers {
    async fn start(kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Alone => Self::Alone(Arc::new(RedisServer::start().await?)),
            Kind::One => Self::Cluster(RedisCluster::start_one().await?),
            Kind::Three => Self::Cluster(RedisCluster::start_primaries().await?),
        })
    }

    fn nodes(&self) -> &[Arc<RedisServer>] {
        match self {
            Self::Alone(server) => std::slice::from_ref(server),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Alone(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }
}

/// The work of a node: seconds of CPU time, and commands.
struct Work {
    cpu: f64,
    commands: f64,
}

/// The cost of a load.
struct Cost {
    /// The CPU time of all nodes for one operation.
    cpu: Duration,
    /// The time from the first create until all are Completed.
    took: Duration,
    /// The commands and the records of each node.
    commands: Vec<f64>,
    records: Vec<f64>,
}

/// The work of each node since it was started.
async fn work(servers: &Servers) -> Result<Vec<Work>> {
    let mut all = Vec::new();
    for node in servers.nodes() {
        let mut redis = Redis::connect(&node.address()).await?;
        let info = redis.call(&[b"INFO".to_vec()]).await?;
        let Answer::Bytes(Some(info)) = info else {
            bail!("no information: {info:?}");
        };
        let info = String::from_utf8(info)?;
        let number = |name: &str| -> Result<f64> {
            let mut lines = info.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(value.with_context(|| name.to_owned())?.trim().parse()?)
        };
        all.push(Work {
            cpu: number("used_cpu_user")? + number("used_cpu_sys")?,
            commands: number("total_commands_processed")?,
        });
    }
    Ok(all)
}

/// The number of records of each node.
async fn records(servers: &Servers) -> Result<Vec<f64>> {
    // The name of a record ends with the 16 bytes of its id.
    let pattern = format!("drumline:*:op:{}", "?".repeat(16));
    let mut all = Vec::new();
    for node in servers.nodes() {
        let mut redis = Redis::connect(&node.address()).await?;
        let words = [b"KEYS".to_vec(), pattern.clone().into_bytes()];
        let Answer::Array(keys) = redis.call(&words).await? else {
            bail!("no keys");
        };
        all.push(keys.len() as f64);
    }
    Ok(all)
}

/// Creates operations in batches, and waits until they are Completed.
async fn run(fleet: &Fleet, numbers: Range<usize>) -> Result<()> {
    for (turn, first) in numbers.clone().step_by(BATCH).enumerate() {
        let last = numbers.end.min(first + BATCH);
        let create = |number: usize| {
            let data = json!({"token": number, "index": 0, "ms": 0});
            let target = json!({"messageName": "Step", "name": number.to_string(), "data": data});
            json!({"requestName": "Create", "parameters": {"target": target}})
        };
        let requests: Vec<Value> = (first..last).map(create).collect();
        let parameters = json!({"requests": requests});
        let body = json!({"requestName": "ExecuteMultiple", "parameters": parameters});
        let answer = fleet.api(turn).post("/v1/execute", &body).await?;
        ensure!(answer["results"]["isFaulted"] == false, "{answer}");
    }
    all_completed(&fleet.api(0), COMPLETED).await
}

/// Runs the load on new servers, and judges that all of it has run.
async fn measure(kind: Kind, round: usize) -> Result<Cost> {
    let (servers, rabbit) = tokio::try_join!(Servers::start(kind), RabbitServer::start())?;
    let environment = vec![("DRUMLINE_REDIS_URL".to_owned(), servers.url())];
    let node = Arc::clone(&servers.nodes()[0]);
    let name = format!("cluster-cost-{kind:?}-{round}").to_lowercase();
    let fleet = Fleet::start_on(&name, SIZE, node, rabbit, environment).await?;
    run(&fleet, 0..WARM).await?;
    let (before, begun) = (work(&servers).await?, Instant::now());
    run(&fleet, WARM..WARM + COUNT).await?;
    let (after, took) = (work(&servers).await?, begun.elapsed());
    let nodes = || before.iter().zip(&after);
    let cpu: f64 = nodes().map(|(before, after)| after.cpu - before.cpu).sum();
    let commands = nodes().map(|(before, after)| after.commands - before.commands);

    let all = WARM + COUNT;
    let records = records(&servers).await?;
    let stored: f64 = records.iter().sum();
    ensure!(stored == all as f64, "{stored} records of {all} operations");
    let done = completed(&fleet.api(0)).await?;
    ensure!(done == all as u64, "{done} of {all} are Completed");
    let runs = fleet.history()?.runs;
    let starts = runs.iter().filter(|entry| entry.event == Event::Start);
    let ids: HashSet<&str> = starts.map(|entry| entry.id.as_str()).collect();
    ensure!(ids.len() == all, "{} of {all} have run", ids.len());
    Ok(Cost {
        cpu: Duration::from_secs_f64(cpu / COUNT as f64),
        took,
        commands: commands.collect(),
        records,
    })
}

/// The most by which a share differs from an even one, in percent.
fn spread(shares: &[f64]) -> f64 {
    let even = shares.iter().sum::<f64>() / shares.len() as f64;
    let most = shares.iter().map(|share| (share / even - 1.0).abs());
    100.0 * most.fold(0.0, f64::max)
}

/// The ratios of the costs of two kinds, round by round, and the one in the middle.
fn ratio(costs: &BTreeMap<Kind, Vec<Duration>>, of: Kind, to: Kind) -> String {
    let costs_of = |kind| costs.get(&kind).into_iter().flatten();
    let pairs = costs_of(of).zip(costs_of(to));
    let rounds = pairs.map(|(of, to)| of.as_secs_f64() / to.as_secs_f64());
    let rounds: Vec<f64> = rounds.collect();
    let mut sorted = rounds.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let (of, to) = (of.words(), to.words());
    format!("{of} / {to}: {middle:.2}; by round {rounds:.2?}")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes: `make soak` runs it"]
async fn a_cluster_costs_no_more_than_one_node() -> Result<()> {
    let file = summary("redis-cluster-cost.txt");
    let mut figures = format!("CPU time of Redis, {COUNT} operations in batches of {BATCH}\n");
    let mut costs: BTreeMap<Kind, Vec<Duration>> = BTreeMap::new();
    for round in 1..=ROUNDS {
        for kind in Kind::ALL {
            let cost = measure(kind, round).await;
            let cost = cost.with_context(|| format!("{}, round {round}", kind.words()))?;
            let (of_commands, of_records) = (spread(&cost.commands), spread(&cost.records));
            writeln!(
                figures,
                "round {round}, {}: {:.1?} per operation, {:.1?} in all; commands by node {:.0?} \
                 (± {of_commands:.1} %), records by node {:.0?} (± {of_records:.1} %)",
                kind.words(),
                cost.cpu,
                cost.took,
                cost.commands,
                cost.records
            )?;
            std::fs::write(&file, &figures)?;
            ensure!(of_records <= UNEVEN, "the records are uneven:\n{figures}");
            costs.entry(kind).or_default().push(cost.cpu);
        }
    }
    for (of, to) in [
        (Kind::Three, Kind::One),
        (Kind::Three, Kind::Alone),
        (Kind::One, Kind::Alone),
    ] {
        writeln!(figures, "{}", ratio(&costs, of, to))?;
    }
    std::fs::write(&file, &figures)?;
    Ok(())
}
