//! The identity of a child: the same in every run of its parent.
//!
//! The id is made of the parent's id and a key, so a run that creates a child
//! again gets the existing child. The time in the id is the time of the parent's
//! id, because the clock differs in each run. So children stand beside their
//! parent in lists.
//!
//! A child without a key is known by its content, and by the number of equal
//! children that its run has created before. A number without the content would
//! do only for handlers that create the same children in the same order each
//! time. If a later run found one more item at the head of its list, all numbers
//! behind that item would mean other children, and one child would never be
//! created.
//!
//! The commit follows from the identity, and also from the rules, which are in
//! the header. By the commit the store recognises a create that it has seen
//! before, for a while even after the child was removed. The store never takes
//! one header for another.

use drumline_api::CreateOperation;
use drumline_protocol::{ChainKey, CommitId, OperationId, PartitionCount, QueueName, Rules};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The 256 bits that name a child for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity([u8; 32]);

/// The hash of the attributes that a child asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Content([u8; 32]);

impl Identity {
    /// The child with a key that the handler gave.
    pub(super) fn of_key(parent: OperationId, key: &str) -> Self {
        let mut hash = Hash::new("child by key", parent.as_bytes());
        hash.field(key.as_bytes());
        Self(hash.finish())
    }

    /// The child with a content that has `before` equal children before it.
    pub(super) fn of_content(parent: OperationId, content: &Content, before: u32) -> Self {
        let mut hash = Hash::new("child by content", parent.as_bytes());
        hash.field(&content.0);
        hash.field(&before.to_be_bytes());
        Self(hash.finish())
    }

    /// The child's id. A child with a chain is in the partition of the chain.
    /// The other children of a parent spread over all partitions.
    pub(super) fn operation(
        &self,
        parent: OperationId,
        chain: Option<ChainKey>,
        partitions: PartitionCount,
    ) -> OperationId {
        let (random, place) = halves(self.0);
        let partition = chain.map_or_else(
            || partitions.of_hash(first_u64(place)),
            |chain| chain.partition(partitions),
        );
        OperationId::new(parent.created(), partition, random)
    }

    /// The name of the commit that creates the child with these rules, to be
    /// offered under this message name in this queue. Other rules make another
    /// commit: the store then answers with the existing child, which is not
    /// offered to a pool that it is not for.
    pub(super) fn commit(&self, rules: &Rules, message: &str, queue: &QueueName) -> CommitId {
        let mut hash = Hash::new("create", &self.0);
        hash.field(message.as_bytes());
        hash.field(queue.as_str().as_bytes());
        // Rules are numbers, words and a hash: JSON can write them all.
        let rules = serde_json::to_vec(rules).unwrap_or_default();
        hash.field(&rules);
        let (bytes, _rest) = halves(hash.finish());
        CommitId(first_u64(bytes))
    }
}

impl Content {
    /// Hashes the attributes of a child. Leaves out the name for people, the times
    /// of start and the retry policy, which may well differ in a later run.
    pub(super) fn of(child: &CreateOperation) -> Self {
        let mut hash = Hash::new("content", child.message_name.as_bytes());
        hash.field(&child.operation_type.0.to_be_bytes());
        hash.field(child.queue.as_str().as_bytes());
        let token = child.dependency_token.as_ref();
        hash.option(token.map(|token| token.as_str().as_bytes()));
        let data = child.data.as_deref().map(in_order);
        hash.option(data.as_deref().map(str::as_bytes));
        hash.option(child.primary_entity_type.as_deref().map(str::as_bytes));
        let record = child.regarding_object_id.as_ref();
        hash.option(record.map(|id| &id.as_bytes()[..]));
        Self(hash.finish())
    }
}

/// The same JSON with the members of its objects in order, because the members
/// of a hash map have another order in each run. A text that is nested too deeply
/// to be read is left unchanged.
fn in_order(json: &str) -> String {
    fn write(value: &Value, to: &mut String) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                to.push_str(&value.to_string());
            }
            Value::Array(elements) => {
                to.push('[');
                for element in elements {
                    write(element, to);
                    to.push(',');
                }
                to.push(']');
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(name, _value)| *name);
                to.push('{');
                for (name, value) in members {
                    to.push_str(&Value::from(name.as_str()).to_string());
                    to.push(':');
                    write(value, to);
                    to.push(',');
                }
                to.push('}');
            }
        }
    }
    match serde_json::from_str(json) {
        Ok(value) => {
            let mut ordered = String::with_capacity(json.len());
            write(&value, &mut ordered);
            ordered
        }
        Err(_too_deep) => json.to_owned(),
    }
}

/// SHA-256 over fields, each with its length, so that no two lists of fields have
/// the same bytes.
struct Hash(Sha256);

impl Hash {
    fn new(purpose: &str, first: &[u8]) -> Self {
        let mut hash = Self(Sha256::new());
        hash.field(b"drumline");
        hash.field(purpose.as_bytes());
        hash.field(first);
        hash
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn option(&mut self, bytes: Option<&[u8]>) {
        self.field(&[u8::from(bytes.is_some())]);
        self.field(bytes.unwrap_or_default());
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

fn halves(bytes: [u8; 32]) -> ([u8; 16], [u8; 16]) {
    let mut halves = ([0; 16], [0; 16]);
    let (first, second) = bytes.split_at(16);
    halves.0.copy_from_slice(first);
    halves.1.copy_from_slice(second);
    halves
}

const fn first_u64(bytes: [u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use drumline_protocol::{
        DependencyToken, Organization, Partition, QueueName, RetryPolicy, Timestamp,
    };
    use serde::Serialize;

    use super::*;
    use crate::context::children::NewChild;
    use crate::context::children::new_child::Checked;

    const PARENT_MS: i64 = 1_795_000_000_000;

    fn parent(random: u8) -> OperationId {
        let now = Timestamp::from_millis(PARENT_MS);
        OperationId::new(now, Partition::new(5), [random; 16])
    }

    fn checked(child: NewChild) -> Checked {
        let checked = child.check(&QueueName::default());
        checked.unwrap_or_else(|error| panic!("{error}"))
    }

    fn content(child: NewChild) -> Content {
        Content::of(&checked(child).request)
    }

    fn data<T: Serialize>(data: &T) -> Content {
        content(NewChild::new("A").data(data))
    }

    #[test]
    fn ids_are_the_same_in_every_run_and_differ_by_parent_key_and_number() {
        let identities = || {
            let same = data(&1);
            [
                Identity::of_key(parent(1), "a"),
                Identity::of_key(parent(1), "b"),
                Identity::of_key(parent(2), "a"),
                Identity::of_content(parent(1), &same, 0),
                Identity::of_content(parent(1), &same, 1),
                Identity::of_content(parent(1), &data(&2), 0),
            ]
        };
        assert_eq!(identities(), identities());
        let ids: BTreeSet<_> = identities()
            .iter()
            .map(|identity| identity.operation(parent(1), None, PartitionCount::DEFAULT))
            .collect();
        assert_eq!(ids.len(), identities().len());
    }

    #[test]
    fn children_have_their_parents_time_and_their_chains_partition() {
        let partitions = PartitionCount::DEFAULT;
        let identity = Identity::of_key(parent(1), "a");
        let id = identity.operation(parent(1), None, partitions);
        assert_eq!(id.created(), parent(1).created());
        let token = DependencyToken::try_from("t".to_owned()).unwrap();
        let chain = ChainKey::new(&Organization::default(), &token);
        let id = identity.operation(parent(1), Some(chain), partitions);
        assert_eq!(id.partition(), chain.partition(partitions));
        let spread: BTreeSet<_> = (0..100)
            .map(|number| Identity::of_key(parent(1), &number.to_string()))
            .map(|identity| identity.operation(parent(1), None, partitions).partition())
            .collect();
        assert!(spread.len() > 30, "{}", spread.len());
    }

    #[test]
    fn a_commit_is_known_again_while_what_it_offers_is_the_same() {
        let identity = Identity::of_key(parent(1), "a");
        let commit = |identity: &Identity, child| {
            let child = checked(child);
            let request = &child.request;
            identity.commit(&child.rules(None), &request.message_name, &request.queue)
        };
        let plain = || NewChild::new("A");
        let first = commit(&identity, plain());
        assert_eq!(commit(&identity, plain()), first);
        let retry = RetryPolicy {
            max_retries: 1,
            ..RetryPolicy::default()
        };
        let queue = "other".parse().unwrap();
        for other in [
            plain().retry(retry),
            plain().queue(queue),
            NewChild::new("B"),
        ] {
            assert_ne!(commit(&identity, other), first);
        }
        let another = Identity::of_key(parent(1), "b");
        assert_ne!(commit(&another, plain()), first);
    }

    #[test]
    fn content_is_what_is_asked_for_and_nothing_else() {
        let same = content(NewChild::new("A").data(&1));
        assert_eq!(content(NewChild::new("A").data(&1).name("x")), same);
        for other in [
            NewChild::new("B").data(&1),
            NewChild::new("A"),
            NewChild::new("A").data(&"1"),
            NewChild::new("A").data(&1).token(""),
            NewChild::new("A").data(&1).regarding("", uuid::Uuid::nil()),
        ] {
            assert_ne!(content(other), same);
        }
    }

    #[test]
    fn the_order_of_members_is_no_content() {
        let pairs: Vec<_> = (0..50).map(|n| (n.to_string(), vec![n])).collect();
        let forth: HashMap<_, _> = pairs.iter().cloned().collect();
        let back: HashMap<_, _> = pairs.into_iter().rev().collect();
        assert_eq!(data(&[forth]), data(&[back]));
        assert_ne!(data(&[1, 2]), data(&[2, 1]));
        assert_ne!(data(&["a", "b"]), data(&["a\",\"b"]));
    }
}
