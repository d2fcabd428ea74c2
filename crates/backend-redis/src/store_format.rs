//! The shape of a store, fixed when it is made: its format and its partition
//! count.
//!
//! The link holds every later server to it: two processes with different counts
//! would put one token into two partitions, and its order would be lost.

use drumline_backend::store::{Error, Result};
use drumline_protocol::PartitionCount;

use crate::keys;
use crate::link::{Link, StoreIdentity};
use crate::reply;

/// The layout of keys, records and locks that this release reads and writes.
const FORMAT: u32 = 4;

/// Writes down `wanted` in a store that is new; returns the count that holds.
pub(crate) async fn settle(
    link: &Link,
    namespace: &str,
    wanted: PartitionCount,
) -> Result<PartitionCount> {
    let key = keys::meta(namespace);
    let mut commands = redis::pipe();
    commands.cmd("SET").arg(&key).arg(write(wanted)).arg("NX");
    commands.cmd("GET").arg(&key);
    let answers = link.run("meta", &commands).await?;
    let found = answers.into_iter().nth(1).ok_or_else(reply::unexpected)?;
    let value = reply::text(found)?;
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

fn write(count: PartitionCount) -> String {
    format!("format={FORMAT} partitions={}", count.get())
}

fn read(text: &str) -> Result<PartitionCount> {
    let field = |name: &str| -> Option<u32> {
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
        .and_then(|count| PartitionCount::new(u16::try_from(count).ok()?))
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
