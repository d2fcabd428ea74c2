//! The shape of a store, fixed when it is made: the major version of its format
//! and its partition count. The minor version stands in a key of its own, because
//! it grows.
//!
//! The link holds every later server to it: two processes with different counts
//! would put one token into two partitions, and its order would be lost.

use drumline_backend::store::{Error, Result};
use drumline_protocol::{PartitionCount, version};
use redis::Value;

use crate::keys::{self, Keys};
use crate::link::{Link, StoreIdentity};
use crate::reply;

/// The layout of keys, records and locks that this release reads and writes.
const FORMAT: u16 = version::CURRENT.store.major;
/// The life of the key that a check writes.
const PROBE_SECONDS: u16 = 60;
/// The one member of the set whose score is the minor version.
const MINOR: &str = "minor";

/// Writes down `wanted` in a store that is new; returns the count that holds.
pub(crate) async fn settle(
    link: &Link,
    namespace: &str,
    wanted: PartitionCount,
) -> Result<PartitionCount> {
    let key = keys::meta(namespace);
    let mut get = redis::cmd("GET");
    get.arg(&key);
    // A store that is there is only read: a user without the right to write may look at it.
    let value = match reply::maybe_bytes(link.run_one("meta", get.clone()).await?)? {
        Some(value) => reply::text(Value::BulkString(value))?,
        None => {
            has_no_partitions(link, namespace).await?;
            let mut commands = redis::pipe();
            commands.cmd("SET").arg(&key).arg(write(wanted)).arg("NX");
            commands.add_command(get);
            let answers = link.run("meta", &commands).await?;
            reply::text(answers.into_iter().nth(1).ok_or_else(reply::unexpected)?)?
        }
    };
    let count = read(&value)?;
    if count != wanted {
        tracing::info!(
            stored = count.get(),
            wanted = wanted.get(),
            "the store keeps the number of partitions that it was created with"
        );
    }
    link.require_identity(StoreIdentity { key, value });
    Ok(count)
}

/// Fails if a cluster has partitions of a store whose shape is gone with its node: with another
/// number of partitions, tokens would change theirs.
async fn has_no_partitions(link: &Link, namespace: &str) -> Result<()> {
    if !link.is_cluster() {
        return Ok(());
    }
    let all = Keys::spread(namespace, PartitionCount::MAX);
    let mut commands = redis::pipe();
    for of in all.partitions() {
        commands.cmd("EXISTS").arg(of.tick());
    }
    for answer in link.run("meta", &commands).await? {
        if reply::number(answer)? > 0 {
            return Err(Error::Unfit(format!(
                "the cluster has operations and has lost {}, the shape of their store: restore that node, or write the \
                 key as it was",
                keys::meta(namespace)
            )));
        }
    }
    Ok(())
}

/// Raises the minor version that the store holds, unless it is as high; returns
/// what the store holds then.
pub(crate) async fn note_minor(link: &Link, keys: &Keys, minor: u16) -> Result<u16> {
    let key = keys.minor();
    let mut commands = redis::pipe();
    // The score of a sorted set can be raised without a script. Nothing is written
    // by a caller that only reads.
    if minor > 0 {
        let raise = commands.cmd("ZADD").arg(&key).arg("GT");
        raise.arg(minor).arg(MINOR);
    }
    commands.cmd("ZSCORE").arg(&key).arg(MINOR);
    let answers = link.run("minor", &commands).await?;
    let found = answers.into_iter().last().ok_or_else(reply::unexpected)?;
    match reply::maybe_bytes(found)? {
        Some(score) => {
            let text = std::str::from_utf8(&score).ok();
            text.and_then(|text| text.parse().ok())
                .ok_or_else(reply::unexpected)
        }
        None => Ok(0),
    }
}

/// Writes a key that expires, once: a server that is full, a replica, or without a
/// disk to write to refuses it as it refuses a create.
pub(crate) async fn check(link: &Link, keys: &Keys) -> Result<()> {
    let mut set = redis::cmd("SET");
    set.arg(keys.probe()).arg("").arg("EX").arg(PROBE_SECONDS);
    link.run_once("check", set).await.map(drop)
}

fn write(count: PartitionCount) -> String {
    format!("format={FORMAT} partitions={}", count.get())
}

fn read(text: &str) -> Result<PartitionCount> {
    let field = |name: &str| -> Option<u16> {
        let mut fields = text.split(' ').filter_map(|field| field.split_once('='));
        let (_, value) = fields.find(|(found, _)| *found == name)?;
        value.parse().ok()
    };
    match field("format") {
        Some(FORMAT) => {}
        Some(other) => {
            return Err(Error::Unfit(format!(
                "it has format {other}; this release reads {FORMAT}"
            )));
        }
        None => {
            return Err(Error::Unfit(format!(
                "it is not a store of Drumline: {text:?}"
            )));
        }
    }
    field("partitions")
        .and_then(PartitionCount::new)
        .ok_or_else(|| Error::Unfit(format!("its partition count cannot be read: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let count = PartitionCount::new(7).unwrap();
        assert_eq!(read(&write(count)).unwrap(), count);
        for other in [
            "",
            "format=2 partitions=7",
            "partitions=7",
            "format=4 partitions=0",
        ] {
            assert!(matches!(read(other), Err(Error::Unfit(_))), "{other}");
        }
    }
}
