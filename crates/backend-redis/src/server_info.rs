//! The facts that a Redis, or a Valkey, reports about itself, and the objections to
//! using it.

use drumline_backend::store::{Error, Result};

use crate::link::{Link, Place};
use crate::options::Options;
use crate::reply::{self, Parts};

/// The oldest release that has every command that the scripts use.
const OLDEST: (u32, u32) = (6, 2);
/// The oldest release of a node of a cluster that refuses a script before it begins when its
/// slot moves.
const OLDEST_NODE: (u32, u32) = (7, 0);

/// The facts that a Redis reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// `Redis` or `Valkey`.
    pub product: &'static str,
    /// The release of the product.
    pub version: String,
    /// `redis_version`: the release of Redis whose commands it has.
    pub compatible: String,
    /// `run_id`: another one after each start.
    pub run_id: String,
    /// `redis_mode`, or `server_mode`: `standalone`, `sentinel` or `cluster`.
    pub mode: String,
    /// `role`: `master` or `slave`.
    pub role: String,
    /// The number of replicas that are connected.
    pub replicas: u64,
    /// True if writes are refused while too few replicas follow closely
    /// (`min-replicas-to-write`, `min-replicas-max-lag`).
    pub waits_for_replicas: bool,
    /// `used_memory`, in bytes.
    pub used_memory: u64,
    /// `maxmemory`, in bytes; 0 = no limit of its own.
    pub max_memory: u64,
    /// `maxmemory_policy`: any policy but `noeviction` discards records.
    pub max_memory_policy: String,
    /// True if the append-only file is on.
    pub append_only: bool,
    /// `appendfsync`: `always`, `everysec` or `no`; `None` if the server does
    /// not report it (hosted servers often do not).
    pub append_fsync: Option<String>,
}

/// Asks a Redis about itself, without judging or changing it: for `drumline
/// doctor`. [`RedisStore::connect`](crate::RedisStore::connect) judges.
///
/// # Errors
/// When the server is unavailable or refuses the credentials.
pub async fn inspect(options: &Options) -> Result<ServerInfo> {
    read(&Link::new(options)?).await
}

/// Does the same as [`inspect`] over an existing link.
pub(crate) async fn read(link: &Link) -> Result<ServerInfo> {
    let text = reply::text(link.run_one("info", redis::cmd("INFO")).await?)?;
    let mut info = from_info(&text);
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg("appendfsync");
    // Hosted servers know no CONFIG; that is a fact, too.
    if let Ok(answer) = link.run_one("config", config).await {
        let mut parts = Parts::of(answer)?;
        if parts.len() == 2 {
            parts.value()?;
            info.append_fsync = Some(reply::text(parts.value()?)?);
        }
    }
    Ok(info)
}

/// Asks each node of a cluster about itself, as [`inspect`] does, or the one server.
/// Returns the nodes that have slots, with their places.
///
/// # Errors
/// When no node names the others.
pub async fn inspect_each(options: &Options) -> Result<Vec<(Option<String>, Result<ServerInfo>)>> {
    let mut servers = Vec::new();
    for (place, link) in Link::new(options)?.each().await? {
        servers.push((place.map(|place| place.to_string()), read(&link).await));
    }
    Ok(servers)
}

/// The run ids of the servers alone.
pub(crate) async fn run_id(link: &Link) -> Result<String> {
    let mut ids = Vec::new();
    for (place, server) in link.each().await? {
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let answer = match place {
            None => server.run_one("info", info).await,
            Some(_) => server.run_once("info", info).await,
        };
        match answer {
            Ok(text) => ids.push(field(&reply::text(text)?, "run_id").to_owned()),
            // It counts as another server when it comes back.
            Err(error) if place.is_none() => return Err(error),
            Err(error) => tracing::debug!(?place, %error, "a node does not answer"),
        }
    }
    ids.sort_unstable();
    Ok(ids.join("+"))
}

impl ServerInfo {
    /// The reasons why this server must not be used, each with its remedy.
    /// Empty: it may be used.
    #[must_use]
    pub fn objections(&self) -> Vec<String> {
        self.objections_to(false)
    }

    /// Does the same as [`Self::objections`] for a node of a cluster.
    #[must_use]
    pub fn objections_to_node(&self) -> Vec<String> {
        self.objections_to(true)
    }

    fn objections_to(&self, is_node: bool) -> Vec<String> {
        let mut objections = Vec::new();
        let oldest = if is_node { OLDEST_NODE } else { OLDEST };
        if self.release() < oldest {
            objections.push(format!(
                "{} {} is too old: Redis {}.{} or later is needed",
                self.product, self.version, oldest.0, oldest.1
            ));
        }
        if self.max_memory_policy != "noeviction" {
            objections.push(format!(
                "maxmemory-policy is {}, which deletes operations when memory is short: \
                 set it to noeviction",
                self.max_memory_policy
            ));
        }
        if self.mode == "sentinel" {
            objections.push(
                "it is a sentinel: use redis+sentinel://HOST:PORT/NAME in --redis-url, with the name of the primary"
                    .to_owned(),
            );
        } else if is_node && self.mode != "cluster" {
            objections
                .push("it belongs to no cluster: use redis://HOST:PORT in --redis-url".to_owned());
        } else if !is_node && self.mode == "cluster" {
            objections.push(
                "it is a node of a cluster: use redis+cluster://HOST:PORT,HOST:PORT in --redis-url, with some of the nodes"
                    .to_owned(),
            );
        } else if !matches!(self.mode.as_str(), "standalone" | "cluster") {
            objections.push(format!(
                "it runs as {}, which this release cannot use: point Drumline to a single server, to sentinels, or to a cluster",
                self.mode
            ));
        } else if self.role != "master" {
            objections.push("it is a replica: point Drumline to its primary".to_owned());
        }
        objections
    }

    /// The data that this server may lose, each with the remedy. Empty: a power
    /// cut loses no write that was answered.
    #[must_use]
    pub fn risks(&self) -> Vec<String> {
        if !self.append_only {
            return vec![
                "appendonly is no: a restart loses every operation since the last snapshot; \
                 set appendonly yes and appendfsync always"
                    .to_owned(),
            ];
        }
        match self.append_fsync.as_deref() {
            Some("always") => Vec::new(),
            Some("everysec") => vec![
                "appendfsync is everysec: a power cut loses the last second and more on a slow \
                 disk; set it to always"
                    .to_owned(),
            ],
            Some(other) => vec![format!(
                "appendfsync is {other}: a power cut loses what the system has not written yet; \
                 set it to always"
            )],
            None => vec![
                "the server does not report its appendfsync: only with always does a power cut \
                 lose nothing"
                    .to_owned(),
            ],
        }
    }

    /// The risk of a fail-over, with the remedy; `None` if there are no replicas, or
    /// the server takes care.
    #[must_use]
    pub fn failover_risk(&self) -> Option<String> {
        (self.replicas > 0 && !self.waits_for_replicas).then(|| {
            format!(
                "{} replicas and no min-replicas-to-write: a primary that is cut off goes on taking operations, and a \
                 fail-over loses them; set min-replicas-to-write 1 and min-replicas-max-lag 1",
                self.replicas
            )
        })
    }

    /// Fails if there are objections to the server, or to the node at a place.
    pub(crate) fn judge(&self, node: Option<&Place>) -> Result<()> {
        let objections = self.objections_to(node.is_some());
        if objections.is_empty() {
            return Ok(());
        }
        let node = node.map(|place| format!("{place}: ")).unwrap_or_default();
        Err(Error::Unfit(format!("{node}{}", objections.join("; "))))
    }

    fn release(&self) -> (u32, u32) {
        let mut numbers = self
            .compatible
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

fn from_info(text: &str) -> ServerInfo {
    let words = |name| field(text, name).to_owned();
    let number = |name| field(text, name).parse().unwrap_or(0);
    // Valkey keeps the version of the Redis that it was made of, and renames the mode
    // unless `extended-redis-compatibility` is on.
    let either = |name, other| match field(text, name) {
        "" => words(other),
        found => found.to_owned(),
    };
    let is_valkey = !field(text, "valkey_version").is_empty();
    ServerInfo {
        product: if is_valkey { "Valkey" } else { "Redis" },
        version: either("valkey_version", "redis_version"),
        compatible: words("redis_version"),
        run_id: words("run_id"),
        mode: either("redis_mode", "server_mode"),
        role: words("role"),
        replicas: number("connected_slaves"),
        // The line is there if both settings are.
        waits_for_replicas: !field(text, "min_slaves_good_slaves").is_empty(),
        used_memory: number("used_memory"),
        max_memory: number("maxmemory"),
        max_memory_policy: words("maxmemory_policy"),
        append_only: field(text, "aof_enabled") == "1",
        append_fsync: None,
    }
}

/// The value of one line of INFO; empty if there is no such line.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| *found == name)
        .map_or("", |(_, value)| value.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\n\
        # Memory\r\nused_memory:1000\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
        # Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:master\r\n";

    fn info() -> ServerInfo {
        ServerInfo {
            append_fsync: Some("always".to_owned()),
            ..from_info(INFO)
        }
    }

    #[test]
    fn a_server_as_it_should_be_is_neither_refused_nor_a_risk() {
        assert_eq!(info().objections(), Vec::<String>::new());
        assert_eq!(info().risks(), Vec::<String>::new());
        assert_eq!(info().used_memory, 1000);
        assert_eq!(info().run_id, "abc");
    }

    #[test]
    fn what_loses_operations_is_refused() {
        let refused = |text: &str| from_info(text).objections().len();
        assert_eq!(refused(&INFO.replace("noeviction", "allkeys-lru")), 1);
        assert_eq!(refused(&INFO.replace("7.0.15", "6.0.16")), 1);
        assert_eq!(refused(&INFO.replace("7.0.15", "5.9")), 1);
        assert_eq!(refused(&INFO.replace("7.0.15", "8.2.1")), 0);
        assert_eq!(refused(&INFO.replace("standalone", "cluster")), 1);
        let node = from_info(&INFO.replace("standalone", "cluster"));
        assert_eq!(node.objections_to_node(), Vec::<String>::new());
        assert_eq!(from_info(INFO).objections_to_node().len(), 1);
        assert_eq!(refused(&INFO.replace("master", "slave")), 1);
        let sentinel = from_info(&INFO.replace("standalone", "sentinel")).objections();
        assert!(
            sentinel.join("").contains("redis+sentinel://"),
            "{sentinel:?}"
        );
    }

    #[test]
    fn a_valkey_is_taken_for_the_redis_that_it_was_made_of() {
        let valkey = INFO.replace(
            "redis_mode",
            "server_name:valkey\r\nvalkey_version:8.1.1\r\nserver_mode",
        );
        let info = from_info(&valkey.replace("7.0.15", "7.2.4"));
        assert_eq!(info.objections(), Vec::<String>::new());
        assert_eq!((info.product, info.version.as_str()), ("Valkey", "8.1.1"));
        let cluster = from_info(&valkey.replace("standalone", "cluster"));
        assert_eq!(cluster.objections().len(), 1);
    }

    #[test]
    fn replicas_that_a_primary_does_not_wait_for_are_a_risk() {
        let with = |more: &str| from_info(&format!("{INFO}{more}")).failover_risk();
        assert_eq!(with(""), None);
        assert_eq!(with("connected_slaves:0\r\n"), None);
        let risk = with("connected_slaves:2\r\n").unwrap();
        assert!(risk.contains("2 replicas"), "{risk}");
        assert_eq!(
            with("connected_slaves:2\r\nmin_slaves_good_slaves:2\r\n"),
            None
        );
    }

    #[test]
    fn each_weaker_durability_is_a_risk() {
        for weak in ["everysec", "no"] {
            let append_fsync = Some(weak.to_owned());
            assert_eq!(
                ServerInfo {
                    append_fsync,
                    ..info()
                }
                .risks()
                .len(),
                1
            );
        }
        assert_eq!(
            ServerInfo {
                append_fsync: None,
                ..info()
            }
            .risks()
            .len(),
            1
        );
        assert_eq!(
            ServerInfo {
                append_only: false,
                ..info()
            }
            .risks()
            .len(),
            1
        );
    }
}
