//! The address of Redis, and the timeouts of its requests.

use std::fmt;
use std::time::Duration;

use drumline_backend::CriticalTasks;
use drumline_backend::store::{Error, Result};
use drumline_protocol::PartitionCount;
use drumline_tls::Encryption;

/// Settings of a [`RedisStore`](crate::RedisStore).
#[derive(Clone)]
pub struct Options {
    /// The address of Redis: `redis://[user:password@]host[:port][/db]`, `rediss://…`
    /// with TLS, or `unix:///path`; or `redis+sentinel://[user:password@]host[:port],…/name[/db]`
    /// (`rediss+sentinel://…` with TLS), where each connection asks the sentinels for the
    /// primary of that name. Their own password is `?sentinel-password=…`, with
    /// `sentinel-username` if they have users; or `redis+cluster://[user:password@]host[:port],…`
    /// (`rediss+cluster://…` with TLS), with some nodes of a Redis Cluster, which name the
    /// others. Default `redis://127.0.0.1:6379`.
    pub url: String,
    /// The CAs, the client certificate and the server name for `rediss://`. Default:
    /// the CAs of the system, no certificate, and the host of the URL.
    pub encryption: Encryption,
    /// The prefix of all keys, so that installations can share a server: 1 to
    /// 64 of `A-Za-z0-9._-`. Default `drumline`.
    pub namespace: String,
    /// The number of partitions of a new store. An existing store keeps the
    /// number that it was made with, whatever this says. More of them spread
    /// load over more lanes and cost the broker a queue each. Default 64.
    pub partitions: PartitionCount,
    /// The longest time for a connection, handshake included. Default 2 s.
    pub connect_timeout: Duration,
    /// The longest time for one small answer; a large one has a second longer for
    /// each megabyte. After it the request is repeated, and a
    /// connection that has said nothing else meanwhile is given up. A shorter
    /// timeout notices a dead server sooner; one shorter than a slow fsync of
    /// the server repeats in vain. Default 1 s.
    pub response_timeout: Duration,
    /// The longest time that a verb goes on repeating before it reports that
    /// the store is unavailable. A longer patience rides out a restart, and
    /// holds callers as long. A store that only renews leases needs a fraction
    /// of the lease. Default 5 s.
    pub patience: Duration,
    /// The number of replicas that must have received a create, a commit or a pause before
    /// it is answered: then it survives a promotion of one that has it. Each waits for a round
    /// trip between the servers more, and is unavailable while too few replicas follow.
    /// Default 0: none.
    pub wait_replicas: u16,
    /// Reports a task of the store that has panicked. Default: one that nothing
    /// reads.
    pub critical: CriticalTasks,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            encryption: Encryption::default(),
            namespace: "drumline".to_owned(),
            partitions: PartitionCount::DEFAULT,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(1),
            patience: Duration::from_secs(5),
            wait_replicas: 0,
            critical: CriticalTasks::default(),
        }
    }
}

// Written by hand, because the URL may hold a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &without_password(&self.url))
            .field("encryption", &self.encryption)
            .field("namespace", &self.namespace)
            .field("partitions", &self.partitions)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("patience", &self.patience)
            .field("wait_replicas", &self.wait_replicas)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Returns the namespace, if it is valid: a brace in it would move the hash
    /// tag.
    pub(crate) fn checked_namespace(&self) -> Result<&str> {
        let fits = matches!(self.namespace.len(), 1..=64)
            && self.namespace.bytes().all(
                |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-'),
            );
        if fits {
            Ok(&self.namespace)
        } else {
            Err(Error::Unfit(format!(
                "{:?} is not a namespace: expected 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'",
                self.namespace
            )))
        }
    }
}

/// The URL without its passwords: that of sentinels is in the query.
fn without_password(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (Some(_) | None, _) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, place) in [
            ("redis://me:hush@host:1/2", "host:1/2"),
            (
                "redis+sentinel://me:hush@one:1,two/main/2?sentinel-password=hush",
                "one:1,two/main/2",
            ),
            ("redis+cluster://me:hush@one:1,two", "one:1,two"),
        ] {
            let options = Options {
                url: url.to_owned(),
                ..Options::default()
            };
            let shown = format!("{options:?}");
            assert!(!shown.contains("hush") && shown.contains(place), "{shown}");
        }
    }

    #[test]
    fn a_namespace_cannot_move_the_hash_tag() {
        let check = |namespace: &str| {
            let namespace = namespace.to_owned();
            let options = Options {
                namespace,
                ..Options::default()
            };
            options.checked_namespace().is_ok()
        };
        for good in ["drumline", "a", "Test-1.x_y"] {
            assert!(check(good), "{good}");
        }
        for bad in ["", "{a}", "a:b", "ä", &"x".repeat(65)] {
            assert!(!check(bad), "{bad}");
        }
    }
}
