//! The keys of the namespace, some at a time.

use std::collections::BTreeMap;

use drumline_backend::store::{CheckStep, Result};
use drumline_protocol::{OperationId, Partition};

use super::RedisStore;
use super::stage::Chain;
use crate::reply::{self, Parts};

/// The keys of one answer, by what they are.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) records: BTreeMap<Partition, Vec<OperationId>>,
    pub(super) parts: Vec<(Partition, OperationId, Vec<u8>)>,
    pub(super) chains: Vec<Chain>,
    pub(super) reservations: Vec<(Partition, [u8; 16])>,
}

impl Seen {
    fn add(&mut self, partition: Partition, name: &[u8]) {
        if let Some(rest) = name.strip_prefix(b"op:") {
            let Some((id, part)) = rest.split_first_chunk() else {
                return;
            };
            let Some(id) = OperationId::from_bytes(*id) else {
                return;
            };
            if part.is_empty() {
                self.records.entry(partition).or_default().push(id);
            } else if part.starts_with(b":") {
                self.parts.push((partition, id, part.to_vec()));
            }
        } else if let Some(key) = name.strip_prefix(b"chain:") {
            self.chains.extend(key.try_into().ok().map(|key| Chain {
                partition: partition.get(),
                key,
                from: "0".to_owned(),
            }));
        } else if let Some(key) = name.strip_prefix(b"key:") {
            let key = key.try_into().ok();
            self.reservations.extend(key.map(|key| (partition, key)));
        }
    }
}

impl RedisStore {
    /// Reads the names of some keys. Returns the next cursor, and nothing at the end. The
    /// cursor of a cluster has the epoch and the number of the node before it. After a change
    /// of the cluster all nodes are read again: keys may have moved to one that was read.
    pub(super) async fn scan(
        &self,
        step: &CheckStep,
        cursor: &str,
    ) -> Result<(Option<String>, Seen)> {
        // The epoch first: after a change in between, the next step begins again.
        let epoch = self.link.epoch();
        let nodes = self.link.each().await?;
        let parts: Vec<&str> = cursor.split('.').collect();
        let (node, at) = match (epoch, parts.as_slice()) {
            (Some(epoch), [known, node, at]) if *known == epoch.to_string() => {
                let node = node.parse::<usize>();
                (node.map_err(|_error| reply::unexpected())?, *at)
            }
            (Some(_), _) => (0, "0"),
            (None, _) => (0, cursor),
        };
        let Some((_place, link)) = nodes.get(node) else {
            return Err(reply::unexpected());
        };
        let mut scan = redis::cmd("SCAN");
        scan.arg(at)
            .arg("MATCH")
            .arg(format!("{}:{{*", self.keys.namespace()))
            .arg("COUNT")
            .arg(step.limit.max(1));
        let mut answer = Parts::of(link.run_one("check", scan).await?)?;
        let at = reply::text(answer.value()?)?;
        let cursor = match (epoch, at.as_str()) {
            (None, "0") => None,
            (None, _) => Some(at),
            (Some(epoch), "0") => Some(node + 1)
                .filter(|next| *next < nodes.len())
                .map(|next| format!("{epoch}.{next}.0")),
            (Some(epoch), _) => Some(format!("{epoch}.{node}.{at}")),
        };
        let (mut keys, mut seen) = (answer.parts()?, Seen::default());
        while keys.len() > 0 {
            let key = keys.bytes()?;
            if let Some((partition, name)) = self.name_of(step, &key) {
                seen.add(partition, name);
            }
        }
        Ok((cursor, seen))
    }

    /// The partition of a key and its name there, if the partition is checked.
    fn name_of<'a>(&self, step: &CheckStep, key: &'a [u8]) -> Option<(Partition, &'a [u8])> {
        let rest = key.strip_prefix(self.keys.namespace().as_bytes())?;
        let rest = rest.strip_prefix(b":{")?;
        let end = rest.iter().position(|byte| *byte == b'}')?;
        let (number, name) = rest.split_at_checked(end)?;
        let number: u16 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let partition = Partition::new(number);
        let is_checked = step.partitions.contains(&partition);
        Some((partition, name.strip_prefix(b"}:")?)).filter(|_| is_checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_its_name_says() {
        let mut seen = Seen::default();
        let partition = Partition::new(3);
        let id = OperationId::new(
            drumline_protocol::Timestamp::from_millis(1),
            partition,
            [7; 16],
        );
        let record = [b"op:".as_slice(), id.as_bytes()].concat();
        seen.add(partition, &record);
        seen.add(partition, &[&record, b":history".as_slice()].concat());
        seen.add(partition, b"chain:0123456789abcdef");
        seen.add(partition, b"key:0123456789abcdef");
        seen.add(partition, b"chain:short");
        seen.add(partition, b"usage");
        assert_eq!(seen.records[&partition], [id]);
        assert_eq!(seen.parts, [(partition, id, b":history".to_vec())]);
        assert_eq!((seen.chains.len(), seen.reservations.len()), (1, 1));
    }
}
