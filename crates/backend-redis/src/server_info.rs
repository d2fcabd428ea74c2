//! The facts that a Redis reports about itself, and the objections to using it.

use drumline_backend::store::{Error, Result};

use crate::link::Link;
use crate::options::Options;
use crate::reply::{self, Parts};

/// The oldest release that has every command that the scripts use.
const OLDEST: (u32, u32) = (6, 2);

/// The facts that a Redis reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// `redis_version`.
    pub version: String,
    /// `run_id`: another one after each start.
    pub run_id: String,
    /// `redis_mode`: `standalone`, `sentinel` or `cluster`.
    pub mode: String,
    /// `role`: `master` or `slave`.
    pub role: String,
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

/// The run id alone.
pub(crate) async fn run_id(link: &Link) -> Result<String> {
    let mut info = redis::cmd("INFO");
    info.arg("server");
    let text = reply::text(link.run_one("info", info).await?)?;
    Ok(field(&text, "run_id").to_owned())
}

impl ServerInfo {
    /// The reasons why this server must not be used, each with its remedy.
    /// Empty: it may be used.
    #[must_use]
    pub fn objections(&self) -> Vec<String> {
        let mut objections = Vec::new();
        if !self.is_recent() {
            objections.push(format!(
                "Redis {} is too old: {}.{} or later is needed",
                self.version, OLDEST.0, OLDEST.1
            ));
        }
        if self.max_memory_policy != "noeviction" {
            objections.push(format!(
                "maxmemory-policy is {}, which deletes operations when memory is short: \
                 set it to noeviction",
                self.max_memory_policy
            ));
        }
        if self.mode != "standalone" {
            objections.push(format!(
                "it runs as {}, which this release cannot use: point Drumline to a single server",
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

    /// Fails if there are objections.
    pub(crate) fn judge(&self) -> Result<()> {
        let objections = self.objections();
        if objections.is_empty() {
            Ok(())
        } else {
            Err(Error::Unfit(objections.join("; ")))
        }
    }

    fn is_recent(&self) -> bool {
        let mut numbers = self
            .version
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        version >= OLDEST
    }
}

fn from_info(text: &str) -> ServerInfo {
    let words = |name| field(text, name).to_owned();
    let number = |name| field(text, name).parse().unwrap_or(0);
    ServerInfo {
        version: words("redis_version"),
        run_id: words("run_id"),
        mode: words("redis_mode"),
        role: words("role"),
        used_memory: number("used_memory"),
        max_memory: number("maxmemory"),
        max_memory_policy: words("maxmemory_policy"),
        append_only: field(text, "aof_enabled") == "1",
        append_fsync: None,
    }
}

/// The value of one line of INFO; empty if there is no such line.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
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
        assert_eq!(refused(&INFO.replace("master", "slave")), 1);
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
