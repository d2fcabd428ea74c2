//! The view of a Redis Cluster as a whole: for `drumline doctor`.

use std::time::Duration;

use drumline_backend::store::Result;

use crate::clock;
use crate::link::Link;
use crate::options::Options;
use crate::reply::{self, Parts};
use crate::server_info;

/// The slots of a cluster.
const SLOTS: u64 = 16_384;

/// The facts about a cluster that no node reports about itself alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// The number of slots that no node has, or that a node that is gone had.
    pub uncovered: u64,
    /// True if the nodes refuse everything while slots have no node
    /// (`cluster-require-full-coverage`); `None` if they do not report it.
    pub requires_coverage: Option<bool>,
    /// The difference between the clocks of the nodes, at least.
    pub clocks_apart: Duration,
}

/// The view of the cluster that the URL names; `None` where it names none.
///
/// # Errors
/// When a node is unavailable or refuses the credentials.
pub async fn cluster_view(options: &Options) -> Result<Option<ClusterView>> {
    let link = Link::new(options)?;
    if !link.is_cluster() {
        return Ok(None);
    }
    let mut info = redis::cmd("CLUSTER");
    info.arg("INFO");
    let info = reply::text(link.run_one("cluster", info).await?)?;
    let covered = server_info::field(&info, "cluster_slots_ok")
        .parse()
        .unwrap_or(0);
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg("cluster-require-full-coverage");
    let mut requires_coverage = None;
    // Hosted servers know no CONFIG.
    if let Ok(answer) = link.run_one("config", config).await {
        let mut parts = Parts::of(answer)?;
        if parts.len() == 2 {
            parts.value()?;
            requires_coverage = Some(reply::text(parts.value()?)? == "yes");
        }
    }
    // The offset of each clock is between these two, in microseconds.
    let (mut latest, mut earliest) = (i128::MIN, i128::MAX);
    let begun = tokio::time::Instant::now();
    for (_place, node) in link.each().await? {
        // A connection first: it takes longer than the answer. A node that does not answer is
        // told by its own facts.
        if node.run_one("ping", redis::cmd("PING")).await.is_err() {
            continue;
        }
        let asked = begun.elapsed();
        let answer = node.run_one("time", redis::cmd("TIME")).await?;
        let answered = begun.elapsed();
        let time = i128::from(clock::micros(answer).ok_or_else(reply::unexpected)?);
        let since = |moment: Duration| i128::try_from(moment.as_micros()).unwrap_or(i128::MAX);
        latest = latest.max(time - since(answered));
        earliest = earliest.min(time - since(asked));
    }
    let apart = u64::try_from(latest.saturating_sub(earliest)).unwrap_or(0);
    Ok(Some(ClusterView {
        uncovered: SLOTS.saturating_sub(covered),
        requires_coverage,
        clocks_apart: Duration::from_micros(apart),
    }))
}
