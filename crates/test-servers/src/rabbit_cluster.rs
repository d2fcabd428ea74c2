//! Three nodes of RabbitMQ that are one cluster: each quorum queue has a replica on all.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;

use crate::rabbit::{RabbitOptions, RabbitServer};

/// The smallest number of which a majority survives the loss of one.
const THREE: usize = 3;

/// A cluster of three nodes that lives as long as this value.
#[derive(Debug)]
pub struct RabbitCluster {
    nodes: Vec<Arc<RabbitServer>>,
}

impl RabbitCluster {
    /// Starts three nodes with these settings, and makes them one cluster.
    ///
    /// # Errors
    /// When RabbitMQ is not installed, or a node does not join.
    pub async fn start_with(options: RabbitOptions) -> anyhow::Result<Self> {
        let first = RabbitServer::start_with(options).await?;
        let mut cluster = Self {
            nodes: vec![first.into()],
        };
        for _ in 1..THREE {
            cluster.add().await?;
        }
        Ok(cluster)
    }

    /// Starts one more node, which joins the others.
    async fn add(&mut self) -> anyhow::Result<()> {
        let first = self.node(0)?;
        let node = first.start_beside().await?;
        // A node that was never used has nothing that is lost by a reset.
        for arguments in [
            &["stop_app"][..],
            &["reset"],
            &["join_cluster", &first.node()],
            &["start_app"],
        ] {
            node.rabbitmqctl(arguments).await?;
        }
        self.nodes.push(node.into());
        Ok(())
    }

    /// One of the nodes.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node(&self, number: usize) -> anyhow::Result<&Arc<RabbitServer>> {
        self.nodes.get(number).context("a node of the cluster")
    }

    /// The URL of the whole cluster for clients: those of all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(|node| node.url()).collect();
        urls.join(",")
    }

    /// Kills a node with its data, and puts a new one in its place, with a replica of
    /// every queue: what an operator does who has lost a machine. The name service
    /// belongs to the first node, which cannot be replaced.
    ///
    /// # Errors
    /// When a tool of RabbitMQ fails.
    pub async fn replace(&mut self, number: usize) -> anyhow::Result<()> {
        anyhow::ensure!(number > 0, "the first node has the name service");
        let lost = self.node(number)?.node();
        self.node(number)?.wipe()?;
        let first = self.node(0)?;
        // Every quorum queue forgets the replica, too.
        first.tool("rabbitmq-queues", &["shrink", &lost]).await?;
        first.rabbitmqctl(&["forget_cluster_node", &lost]).await?;
        self.add().await?;
        let added = self.nodes.len() - 1;
        self.nodes.swap(number, added);
        self.nodes.truncate(THREE);
        let new = self.node(number)?.node();
        let grown = self.node(0)?;
        let grow = ["grow", &new, "all"];
        let told = grown.tool("rabbitmq-queues", &grow).await?;
        anyhow::ensure!(!told.contains("error"), "a queue has not grown: {told}");
        Ok(())
    }

    /// Spreads the leaders of the quorum queues over the nodes.
    ///
    /// # Errors
    /// When a tool of RabbitMQ fails.
    pub async fn rebalance(&self) -> anyhow::Result<()> {
        let node = self.node(0)?;
        node.tool("rabbitmq-queues", &["rebalance", "quorum"])
            .await?;
        Ok(())
    }

    /// The queues, consumers and channels of the cluster, for a test that has failed: the
    /// cluster ends with it.
    ///
    /// # Errors
    /// When a tool of RabbitMQ fails.
    pub async fn describe(&self) -> anyhow::Result<String> {
        let node = self.node(0)?;
        let mut told = String::new();
        for columns in [
            "list_queues name state leader online messages_ready messages_unacknowledged consumers",
            "list_consumers queue_name channel_pid consumer_tag prefetch_count active activity_status",
            "list_channels pid connection consumer_count messages_unacknowledged",
        ] {
            let arguments: Vec<&str> = columns.split(' ').collect();
            told += &node.rabbitmqctl(&arguments).await?;
        }
        Ok(told)
    }

    /// The number of queues that each node leads, by the name of the node. A queue that
    /// elects a leader has none.
    ///
    /// # Errors
    /// When a tool of RabbitMQ fails.
    pub async fn leaders(&self) -> anyhow::Result<BTreeMap<String, usize>> {
        let node = self.node(0)?;
        let arguments = ["--quiet", "list_queues", "type", "leader"];
        let listed = node.rabbitmqctl(&arguments).await?;
        let mut leaders = BTreeMap::new();
        for line in listed.lines() {
            if let Some(("quorum", leader)) = line.split_once('\t')
                && !leader.is_empty()
            {
                *leaders.entry(leader.to_owned()).or_default() += 1;
            }
        }
        Ok(leaders)
    }
}
