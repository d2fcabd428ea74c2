//! A Redis Cluster: primaries that share the slots, and replicas that take their place.
//!
//! ```text
//! primary 1 ─ slots 0 to 5460 ────── replica 1
//! primary 2 ─ slots 5461 to 10922 ── replica 2
//! primary 3 ─ slots 10923 to 16383 ─ replica 3
//! ```

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::process::Command;

use crate::port;
use crate::questions::{ask, until};
use crate::redis::{RedisOptions, RedisServer};

/// The number of primaries: the smallest of which a majority survives the loss of one.
const THREE: usize = 3;
const SLOTS: usize = 16_384;
/// The time after which a silent node is taken for dead: short, because tests wait for
/// it, and far longer than a busy machine is silent.
const NODE_TIMEOUT_MS: &str = "3000";

/// Three primaries with a third of the slots each, and perhaps a replica of each, that
/// live as long as this value.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Arc<RedisServer>>,
}

impl RedisCluster {
    /// Starts a cluster whose nodes have these settings, each primary with a replica, and
    /// returns when each node knows all others.
    ///
    /// # Errors
    /// When Redis is not installed, or the cluster does not find itself.
    pub async fn start_with(options: RedisOptions) -> anyhow::Result<Self> {
        Self::of(2 * THREE, options).await
    }

    /// Starts a cluster with append-only files and `appendfsync always`, each primary with a
    /// replica.
    ///
    /// # Errors
    /// As [`RedisCluster::start_with`].
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts three primaries without replicas.
    ///
    /// # Errors
    /// As [`RedisCluster::start_with`].
    pub async fn start_primaries() -> anyhow::Result<Self> {
        Self::of(THREE, RedisOptions::default()).await
    }

    /// Starts one node that has all slots.
    ///
    /// # Errors
    /// As [`RedisCluster::start_with`].
    pub async fn start_one() -> anyhow::Result<Self> {
        Self::of(1, RedisOptions::default()).await
    }

    async fn of(count: usize, options: RedisOptions) -> anyhow::Result<Self> {
        let (mut nodes, mut bus_ports) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mut options = options.clone();
            let bus_port = port::free()?.to_string();
            let own = [
                ["--cluster-enabled", "yes"],
                ["--cluster-port", &bus_port],
                ["--cluster-node-timeout", NODE_TIMEOUT_MS],
                // The other nodes go on without the slots of one that is gone.
                ["--cluster-require-full-coverage", "no"],
                ["--repl-diskless-sync-delay", "0"],
            ];
            let own = own.into_iter().flatten().map(str::to_owned);
            options.arguments.extend(own);
            nodes.push(Arc::new(RedisServer::start_with(options).await?));
            bus_ports.push(bus_port);
        }
        let cluster = Self { nodes };
        let primaries = count.min(THREE);
        for (at, node) in cluster.nodes.iter().take(primaries).enumerate() {
            let (first, next) = (at * SLOTS / primaries, (at + 1) * SLOTS / primaries);
            let order = format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1);
            cluster.order(node.port(), &order).await?;
            // Different epochs from the start: nodes with the same one would have to settle that.
            let order = format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1);
            cluster.order(node.port(), &order).await?;
        }
        let first = cluster.nodes[0].port();
        for (node, bus_port) in cluster.nodes.iter().zip(&bus_ports).skip(1) {
            let order = format!("CLUSTER MEET 127.0.0.1 {} {bus_port}", node.port());
            cluster.order(first, &order).await?;
        }
        cluster.settled().await?;
        for (at, node) in cluster.nodes.iter().enumerate().skip(primaries) {
            let id = cluster.id(at - primaries).await?;
            cluster
                .order(node.port(), &format!("CLUSTER REPLICATE {id}"))
                .await?;
        }
        for node in cluster.nodes.iter().skip(primaries) {
            until("a replica does not follow", async || {
                let info = ask(node.port(), "INFO replication").await?;
                Ok(info.contains("role:slave\r\n") && info.contains("master_link_status:up\r\n"))
            })
            .await?;
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// The URL for clients, which names all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.address()).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The nodes, whatever their roles are now.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<RedisServer>] {
        &self.nodes
    }

    /// The place among the nodes of the primary that has a slot, as most of them say.
    ///
    /// # Errors
    /// When they do not agree.
    pub async fn owner_of(&self, slot: usize) -> anyhow::Result<usize> {
        let mut votes = vec![0; self.nodes.len()];
        for node in &self.nodes {
            let Ok(nodes) = ask(node.port(), "CLUSTER NODES").await else {
                continue;
            };
            if let Some(place) = self.owner_in(&nodes, slot) {
                votes[place] += 1;
            }
        }
        let owner = votes.iter().position(|votes| 2 * votes > self.nodes.len());
        owner.context("the nodes do not agree on the owner of a slot")
    }

    /// Waits until another node than this one has a slot. Returns its place.
    ///
    /// # Errors
    /// When none gets it.
    pub async fn promoted(&self, slot: usize, from: usize) -> anyhow::Result<usize> {
        let mut owner = from;
        until("no other node is promoted", async || {
            owner = self.owner_of(slot).await.unwrap_or(from);
            Ok(owner != from)
        })
        .await?;
        Ok(owner)
    }

    /// Waits until each node knows all others, and that all slots have a node.
    ///
    /// # Errors
    /// When they do not find each other.
    pub async fn settled(&self) -> anyhow::Result<()> {
        let known = format!("cluster_known_nodes:{}\r\n", self.nodes.len());
        for node in &self.nodes {
            until("the nodes do not find each other", async || {
                let info = ask(node.port(), "CLUSTER INFO").await?;
                let is_covered = info.contains("cluster_slots_ok:16384\r\n");
                Ok(info.contains("cluster_state:ok\r\n") && is_covered && info.contains(&known))
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until all nodes name the same owners of the slots, and each replica follows its
    /// primary. `redis-cli` moves no slots before.
    ///
    /// # Errors
    /// When they do not come to agree.
    pub async fn agreed(&self) -> anyhow::Result<()> {
        let replicas = self.nodes.len().saturating_sub(THREE);
        until("the nodes do not agree on the slots", async || {
            let (mut views, mut followers) = (BTreeSet::new(), 0);
            for node in &self.nodes {
                views.insert(owners(&ask(node.port(), "CLUSTER NODES").await?));
                let info = ask(node.port(), "INFO replication").await?;
                followers += usize::from(info.contains("master_link_status:up\r\n"));
            }
            Ok(views.len() == 1 && followers == replicas)
        })
        .await
    }

    /// Moves this many slots from one primary to another while they are in use, as `redis-cli`
    /// does.
    ///
    /// # Errors
    /// When it fails.
    pub async fn move_slots(&self, from: usize, to: usize, count: usize) -> anyhow::Result<()> {
        let mut command = Command::new("redis-cli");
        command
            .args(["--cluster", "reshard", &self.nodes[from].address()])
            .args(["--cluster-from", &self.id(from).await?])
            .args(["--cluster-to", &self.id(to).await?])
            .args(["--cluster-slots", &count.to_string(), "--cluster-yes"])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.context("redis-cli")?;
        anyhow::ensure!(
            output.status.success(),
            "redis-cli --cluster reshard: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    async fn id(&self, place: usize) -> anyhow::Result<String> {
        let answer = ask(self.nodes[place].port(), "CLUSTER MYID").await?;
        let id = answer.lines().nth(1).context("a node without an id")?;
        Ok(id.to_owned())
    }

    async fn order(&self, port: u16, order: &str) -> anyhow::Result<()> {
        let answer = ask(port, order).await?;
        anyhow::ensure!(answer.starts_with("+OK"), "{order}: {answer}");
        Ok(())
    }

    /// The place of the owner of a slot, in an answer to CLUSTER NODES.
    fn owner_in(&self, nodes: &str, slot: usize) -> Option<usize> {
        let owns = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            match (first.parse::<usize>(), last.parse::<usize>()) {
                (Ok(first), Ok(last)) => (first..=last).contains(&slot),
                _ => false,
            }
        };
        let line = nodes.lines().find(|line| {
            let is_primary = line
                .split(' ')
                .nth(2)
                .is_some_and(|flags| flags.contains("master"));
            is_primary && line.split(' ').skip(8).any(owns)
        })?;
        let address = line.split(' ').nth(1)?.split('@').next()?;
        self.nodes.iter().position(|node| node.address() == address)
    }
}

/// The nodes that have slots, each with its slots, in an answer to CLUSTER NODES.
fn owners(nodes: &str) -> BTreeSet<String> {
    let owners = nodes.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let (node, slots) = words.split_at_checked(8)?;
        let id = node.first()?;
        (!slots.is_empty()).then(|| format!("{id} {}", slots.join(" ")))
    });
    owners.collect()
}
