//! A Redis Cluster under a fleet: a primary is killed, another one stands still, and slots
//! move, all under load. Order is kept, nothing has two holders, and everything accepted is
//! Completed, but for what replication has lost and the managers have counted.

mod cost;
mod keys;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_oracle::Promise;
use drumline_oracle::journal::{Entry, now_ns};
use drumline_test_servers::{RabbitServer, RedisCluster, RedisOptions, RedisServer};
use drumline_tests::clients::{Accepted, Clients, Stream, counted_lost, gap};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::load::rest;
use drumline_tests::losses::judged_with_losses;
use drumline_tests::secrets;
use tokio::time::Instant;

const SIZE: Size = Size {
    managers: 2,
    workers: 2,
    concurrency: 8,
    lease: Duration::from_secs(3),
    partitions: 32,
    queues: &[],
    handlers: None,
    redis_bytes_per_second: None,
};

/// A handler takes so long with a token that the next operation waits for it.
const STREAM: Stream = Stream {
    callers: 6,
    rest: Duration::from_millis(50),
    token_ms: 120,
    alone_ms: 5,
};

/// A slot of each primary: the first one, one in the middle, and the last one.
const FIRST: usize = 0;
const MIDDLE: usize = 8_000;
const LAST: usize = 16_383;
/// The slots that move: the first ones of the primary in the middle, which three partitions
/// are in.
const MOVED: usize = 2_000;
const FIRST_MOVED: usize = 5_461;

/// The time in which everything that was created is Completed.
const COMPLETED: Duration = Duration::from_secs(150);
/// The time around a fault in which answers may be lost: a client or a worker of a busy machine
/// notices an answer that much later. A promotion takes longer.
const MOMENT: Duration = Duration::from_secs(2);

/// The end of a primary.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is killed, and comes back with its data.
    Killed,
    /// It stands still, and goes on with what it was sent meanwhile.
    Stopped,
}

impl Fault {
    const fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped",
        }
    }

    fn begin(self, node: &RedisServer) -> Result<()> {
        match self {
            Self::Killed => node.kill(),
            Self::Stopped => node.stop_signal(),
        }
    }

    async fn end(self, node: &RedisServer) -> Result<()> {
        match self {
            Self::Killed => node.restart().await,
            Self::Stopped => node.cont(),
        }
    }
}

/// A change of the owner of slots.
struct Change {
    /// The fault before it, in which the old owner has lost what it had not sent to its
    /// replica; `None`: the slots were moved.
    fault: Option<Fault>,
    /// The ports of the node that had the slots, and of the one that has them.
    from: u16,
    to: u16,
    /// The time of the change, also on the clock of the journal.
    begun: Instant,
    begun_ns: u64,
    /// The time that it took, as far as the nodes agree.
    took: Duration,
    /// The time at which all nodes agreed and creates went on.
    ended: Instant,
}

impl Change {
    /// Returns true if a create may be lost: it was under way, or was answered a moment before.
    fn exposes(&self, one: &Accepted) -> bool {
        self.fault.is_some() && one.answered + MOMENT >= self.begun && one.begun <= self.ended
    }

    /// Returns true if a handler may have started by a claim that is lost: the old primary gives
    /// none any more when another one is promoted.
    fn exposes_start(&self, start: &Entry) -> bool {
        let apart = Duration::from_nanos(start.at_ns.abs_diff(self.begun_ns));
        self.fault.is_some() && apart <= MOMENT
    }
}

/// A fleet on a cluster, and its clients.
struct Loaded {
    // Dropped before its servers.
    fleet: Fleet,
    cluster: RedisCluster,
    clients: Clients,
    changes: Vec<Change>,
}

/// Starts a fleet on three primaries and three replicas, and a steady stream of creates.
async fn start(name: &str) -> Result<Loaded> {
    let options = RedisOptions {
        arguments: secrets::redis_arguments(),
        ..RedisOptions::default()
    };
    let cluster = RedisCluster::start_with(options);
    let (cluster, rabbit) = tokio::try_join!(cluster, RabbitServer::start())?;
    let url = secrets::with_user(&cluster.url());
    let environment = vec![("DRUMLINE_REDIS_URL".to_owned(), url)];
    let node = Arc::clone(&cluster.nodes()[0]);
    let fleet = Fleet::start_on(name, SIZE, node, rabbit, environment).await?;
    let clients = Clients::start(&fleet, "cluster", STREAM);
    Ok(Loaded {
        fleet,
        cluster,
        clients,
        changes: Vec::new(),
    })
}

impl Loaded {
    /// Has the primary of a slot suffer a fault until another node is promoted, and ends the
    /// fault.
    async fn suffers(&mut self, fault: Fault, slot: usize) -> Result<()> {
        self.clients.go_on().await?;
        let old = self.cluster.owner_of(slot).await?;
        let (begun, begun_ns) = (Instant::now(), now_ns());
        fault.begin(&self.cluster.nodes()[old])?;
        let new = self.cluster.promoted(slot, old).await?;
        let took = begun.elapsed();
        self.clients.go_on().await?;
        fault.end(&self.cluster.nodes()[old]).await?;
        self.note(Some(fault), (old, new), (begun, begun_ns, took))
            .await
    }

    /// Moves slots from one primary to that of another slot.
    async fn moves(&mut self, from: usize, to: usize) -> Result<()> {
        self.clients.go_on().await?;
        let old = self.cluster.owner_of(from).await?;
        let new = self.cluster.owner_of(to).await?;
        let (begun, begun_ns) = (Instant::now(), now_ns());
        self.cluster.move_slots(old, new, MOVED).await?;
        let took = begun.elapsed();
        self.note(None, (old, new), (begun, begun_ns, took)).await?;
        let owner = self.cluster.owner_of(FIRST_MOVED).await?;
        ensure!(owner == new, "slot {FIRST_MOVED} has not moved");
        Ok(())
    }

    /// Notes a change when the cluster is whole again and creates go on.
    async fn note(
        &mut self,
        fault: Option<Fault>,
        (old, new): (usize, usize),
        (begun, begun_ns, took): (Instant, u64, Duration),
    ) -> Result<()> {
        self.cluster.settled().await?;
        self.cluster.agreed().await?;
        self.clients.go_on().await?;
        let nodes = self.cluster.nodes();
        self.changes.push(Change {
            fault,
            from: nodes[old].port(),
            to: nodes[new].port(),
            begun,
            begun_ns,
            took,
            ended: Instant::now(),
        });
        Ok(())
    }

    /// The changes in words, a line each.
    fn figures(&self, accepted: &[Accepted]) -> Result<String> {
        let mut told = String::new();
        for change in &self.changes {
            let Change {
                fault,
                from,
                to,
                took,
                ..
            } = change;
            let what = fault.map_or("has given slots away", Fault::word);
            let gap = gap(accepted, change.begun, change.ended);
            writeln!(
                told,
                "port {from} {what}, port {to} after {took:.1?}; no create for {gap:.1?} at the most"
            )?;
        }
        writeln!(told, "{} creates accepted", accepted.len())?;
        Ok(told)
    }

    /// Writes the figures down for a person.
    fn write_down(&self, figures: &str) -> Result<()> {
        let file = self.fleet.folder().join("redis-cluster.txt");
        std::fs::write(file, figures)?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_on_a_cluster_survives_its_nodes() -> Result<()> {
    let mut loaded = start("cluster").await?;
    let killed = loaded.suffers(Fault::Killed, FIRST).await;
    killed.context("a primary killed")?;
    let stopped = loaded.suffers(Fault::Stopped, LAST).await;
    stopped.context("a primary stopped")?;
    let moved = loaded.moves(MIDDLE, FIRST).await;
    moved.context("slots moved")?;
    let accepted = loaded.clients.finish().await?;
    let mut figures = loaded.figures(&accepted)?;
    loaded.write_down(&figures)?;

    let operations = rest(&loaded.fleet, COMPLETED, false).await?;
    let (verdict, losses) = judged_with_losses(&loaded.fleet, &operations).await?;
    let (lost, starts) = (losses.creates.len(), losses.starts.len());
    let counted = counted_lost(&loaded.fleet, lost).await?;
    let tally = verdict.tally;
    writeln!(
        figures,
        "{lost} of them lost, {counted} counted; {starts} starts by a lost claim\n{tally:?}"
    )?;
    loaded.write_down(&figures)?;
    ensure!(
        operations.len() + lost == accepted.len(),
        "{} are listed\n{figures}",
        operations.len()
    );
    ensure!(tally.failed == 0, "failed\n{figures}");
    for promise in [Promise::P1, Promise::P2, Promise::P3] {
        let tested = verdict.of(promise).map_or(0, |tested| tested.tested);
        ensure!(tested > 0, "{promise:?} was not tested\n{figures}");
    }
    let changes = &loaded.changes;
    for one in accepted
        .iter()
        .filter(|one| losses.creates.contains(&one.id))
    {
        let is_exposed = changes.iter().any(|change| change.exposes(one));
        ensure!(is_exposed, "{} is lost without a fault\n{figures}", one.id);
    }
    for start in &losses.starts {
        let is_exposed = changes.iter().any(|change| change.exposes_start(start));
        ensure!(is_exposed, "{start:?} has no claim\n{figures}");
    }
    Ok(())
}
