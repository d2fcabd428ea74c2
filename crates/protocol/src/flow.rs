//! Flows: the operations of one organization in one queue. Maintenance serves
//! flows in turn, so the backlog of one organization does not delay another.
//!
//! The key of a flow is a hash, and it stands in the record: a store finds the flow
//! of an operation without its body. The queue comes first, so the flows of a queue
//! are neighbours in an ordered set. Two flows with one hash take their turn
//! together, which costs fairness between these two and nothing else.

use sha2::{Digest, Sha256};

use crate::operation::Body;
use crate::token::{Organization, QueueName};

/// The bytes of a key.
pub const FLOW_BYTES: usize = 6;
/// The bytes of a key that are the queue's. A server has some thousand queues at
/// most, and 23 bits keep these apart.
pub const QUEUE_BYTES: usize = 3;

/// The key of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey([u8; FLOW_BYTES]);

impl FlowKey {
    /// The flow of the operations whose records have none: those of builds before
    /// flows. It is before all others.
    pub const NONE: Self = Self([0; FLOW_BYTES]);

    /// The flow of an organization in a queue.
    #[must_use]
    pub fn new(organization: &Organization, queue: &QueueName) -> Self {
        let [a, b, c] = Self::queue_prefix(queue);
        let [d, e, f, ..] = digest(b"organization", organization.0.as_bytes());
        Self([a, b, c, d, e, f])
    }

    /// The flow of an operation.
    #[must_use]
    pub fn of(body: &Body) -> Self {
        Self::new(&body.organization, &body.queue)
    }

    /// The first bytes of the flows of a queue. The first bit is set: no stamp and
    /// no id begins so.
    #[must_use]
    pub fn queue_prefix(queue: &QueueName) -> [u8; QUEUE_BYTES] {
        let [a, b, c, ..] = digest(b"queue", queue.as_str().as_bytes());
        [a | 0x80, b, c]
    }

    /// The bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; FLOW_BYTES] {
        &self.0
    }

    /// A key from its bytes, as [`Self::as_bytes`] gave them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; FLOW_BYTES]) -> Self {
        Self(bytes)
    }
}

fn digest(kind: &[u8], value: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(kind);
    digest.update([0]);
    digest.update(value);
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flows_of_a_queue_are_neighbours() {
        let organizations = ["a", "b", "c"].map(|name| Organization(name.to_owned()));
        let queues: [QueueName; 2] = ["imports".parse().unwrap(), QueueName::default()];
        let mut all = Vec::new();
        for queue in &queues {
            let prefix = FlowKey::queue_prefix(queue);
            assert!(prefix[0] >= 0x80, "behind every stamp and every id");
            for organization in &organizations {
                let flow = FlowKey::new(organization, queue);
                assert!(flow.as_bytes().starts_with(&prefix));
                assert_eq!(FlowKey::from_bytes(*flow.as_bytes()), flow);
                assert!(FlowKey::NONE < flow);
                all.push(flow);
            }
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), organizations.len() * queues.len());
    }

    #[test]
    fn keys_stay_as_they_are() {
        // They stand in the records of every store.
        let flow = FlowKey::new(&Organization("contoso".to_owned()), &QueueName::default());
        assert_eq!(flow.as_bytes(), &[0x9c, 0x43, 0x70, 0x20, 0x3e, 0xf1]);
    }
}
