//! The names of everything in Redis: one small function per structure.
//!
//! The number of the partition is the hash tag, so that all keys of a partition
//! are in one slot. No user-supplied string is part of a key; ids and hashes
//! are, as bytes.
//!
//! A "set in buckets" takes several keys, which begin with its name:
//! `lib_buckets.lua` describes them.
//!
//! The keys of the partitions are made once, when the store connects: a script
//! is called with most of them, some ten thousand times a second.

use drumline_backend::MemberId;
use drumline_backend::store::{IdempotencyKey, Resolution};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{ChainKey, CommitId, OperationId, Partition, PartitionCount, State};

use crate::record;

/// The keys of one namespace.
#[derive(Debug)]
pub(crate) struct Keys {
    namespace: String,
    partitions: Vec<PartitionKeys>,
    /// True if the partitions may be on several servers.
    is_spread: bool,
}

/// The keys of one partition. A name that ends in `_prefix` is followed by
/// bytes.
#[derive(Debug)]
pub(crate) struct PartitionKeys {
    prefix: String,
    tombstone_prefix: String,
    reservation_prefix: String,
    record_prefix: String,
    index_prefix: String,
    ends_prefix: String,
    due: String,
    outbox: String,
    locks: String,
    tick: String,
    notices: String,
    held: String,
    pauses: String,
    changes: String,
    stops_prefix: String,
}

impl Keys {
    /// The keys of a store on one server.
    pub(crate) fn new(namespace: &str, count: PartitionCount) -> Self {
        Self::made(namespace, count, false)
    }

    /// The keys of a store on a cluster: a script has the keys of one slot, so what scripts
    /// of a partition write beside it is there, too.
    pub(crate) fn spread(namespace: &str, count: PartitionCount) -> Self {
        Self::made(namespace, count, true)
    }

    fn made(namespace: &str, count: PartitionCount, is_spread: bool) -> Self {
        let partitions = count
            .all()
            .map(|partition| PartitionKeys::new(namespace, partition, is_spread))
            .collect();
        Self {
            namespace: namespace.to_owned(),
            partitions,
            is_spread,
        }
    }

    /// Returns true if the partitions may be on several servers.
    pub(crate) const fn is_spread(&self) -> bool {
        self.is_spread
    }

    /// The number of partitions that one script may touch, if it may touch many on one
    /// server.
    pub(crate) const fn at_once(&self, many: usize) -> usize {
        if self.is_spread { 1 } else { many }
    }

    /// The keys of all partitions.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &PartitionKeys> {
        self.partitions.iter()
    }

    /// The tick of each partition.
    pub(crate) fn ticks(&self) -> Vec<String> {
        self.partitions().map(|of| of.tick.clone()).collect()
    }

    /// For each partition, a key that is never there, and the tick.
    pub(crate) fn ticks_with_probes(&self) -> Vec<[String; 2]> {
        let keys = |of: &PartitionKeys| [format!("{}probe", of.prefix), of.tick.clone()];
        self.partitions().map(keys).collect()
    }

    /// Returns the keys of a partition; `None` if the store does not have it.
    pub(crate) fn partition(&self, partition: Partition) -> Option<&PartitionKeys> {
        self.partitions.get(usize::from(partition.get()))
    }

    /// Hash: route → the latest stamp of a marker that has come back.
    pub(crate) fn markers(&self) -> String {
        format!("{}:{{meta}}:markers", self.namespace)
    }

    /// Set: the letters of the further indexes that no list reads, because they
    /// are switched off or being rebuilt.
    pub(crate) fn unread_indexes(&self) -> String {
        format!("{}:{{meta}}:indexes", self.namespace)
    }

    /// Hash: letter of an index → `+` if it is switched on or `-`, and the id
    /// down to which its rebuild has come, or nothing at its start.
    pub(crate) fn rebuilds(&self) -> String {
        format!("{}:{{meta}}:rebuilds", self.namespace)
    }

    /// Hash: scope → the pause of it, and `v` → the version of all pauses.
    pub(crate) fn pauses(&self) -> String {
        format!("{}:{{meta}}:pauses", self.namespace)
    }

    /// The actions on many: a hash of id → revision and record; sorted sets of id and
    /// hash of the organization: of all of them, and of those that have not ended.
    pub(crate) fn actions(&self) -> [String; 3] {
        ["actions", "actions:order", "actions:open"]
            .map(|name| format!("{}:{{meta}}:{name}", self.namespace))
    }

    /// The number of changes of the store itself that may have given maintenance work.
    pub(crate) fn changes(&self) -> String {
        changes(&self.namespace)
    }

    /// The numbers of all changes that may have given maintenance work.
    pub(crate) fn all_changes(&self) -> Vec<String> {
        let of_partitions = self.partitions().filter(|_| self.is_spread);
        let of_partitions = of_partitions.map(|of| of.changes.clone());
        std::iter::once(self.changes())
            .chain(of_partitions)
            .collect()
    }

    /// Hash: name of an export → the mark of its import.
    pub(crate) fn imports(&self) -> String {
        format!("{}:imports", meta(&self.namespace))
    }

    /// The queues that organizations use: sorted sets by time and by name, and the most
    /// queues of an organization: `use_queue.lua`.
    pub(crate) fn queues(&self) -> [String; 3] {
        ["queues", "queues:places", "queues:limit"]
            .map(|name| format!("{}:{{meta}}:{name}", self.namespace))
    }

    /// Stream: the entries of the audit, oldest first.
    pub(crate) fn audit(&self) -> String {
        format!("{}:audit", meta(&self.namespace))
    }

    /// String: a batch of audit entries that was added; expires.
    pub(crate) fn audit_batch(&self, batch: CommitId) -> Vec<u8> {
        let prefix = format!("{}:", self.audit());
        [prefix.as_bytes(), &batch.0.to_be_bytes()].concat()
    }

    /// Set: the batches of rollups and failures of a minute; expires.
    pub(crate) fn rollup_batches(&self, minute: u64) -> String {
        format!("{}:{{meta}}:rollups:batches:{minute}", self.namespace)
    }

    /// Hash: rollup key → its name; expires.
    pub(crate) fn rollup_names(&self, day: u64) -> String {
        format!("{}:{{meta}}:rollups:names:{day}", self.namespace)
    }

    /// Hash: rollup key → its counts in a slot; expires.
    pub(crate) fn rollups(&self, resolution: Resolution, slot: u64) -> String {
        let (namespace, minutes) = (&self.namespace, resolution.minutes());
        format!("{namespace}:{{meta}}:rollups:{minutes}:{slot}")
    }

    /// The prefix of the failure groups of all organizations; `add_failures.lua` has
    /// the rest.
    pub(crate) fn failures_prefix(&self) -> Vec<u8> {
        format!("{}:{{meta}}:failures:", self.namespace).into_bytes()
    }

    /// The prefix of everything.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The prefix of the keys of a limited party; all of them expire.
    pub(crate) fn limited(namespace: &str, key: &[u8; 16]) -> String {
        format!("{namespace}:{{l:{}}}", hex(key))
    }

    /// Channel: ids that are Completed, 16 bytes each, one or several.
    pub(crate) fn completions(&self) -> String {
        completions(&self.namespace)
    }

    /// Sorted set of one member, whose score is the minor version of the format.
    pub(crate) fn minor(&self) -> String {
        format!("{}:minor", meta(&self.namespace))
    }

    /// String: a key that a check of the server writes; expires.
    pub(crate) fn probe(&self) -> String {
        format!("{}:probe", meta(&self.namespace))
    }

    /// Sets: id and fence of an operation that this holder runs and was asked to
    /// stop; each expires.
    pub(crate) fn stops(&self, holder: MemberId) -> Vec<Vec<u8>> {
        let some = if self.is_spread {
            self.partitions.len()
        } else {
            1
        };
        let prefixes = self
            .partitions()
            .take(some)
            .map(|of| of.stops_prefix.as_bytes());
        prefixes
            .map(|prefix| [prefix, holder.0.as_bytes()].concat())
            .collect()
    }

    /// The keys of the members, in the order that `lib_members.lua` gives them.
    pub(crate) fn members(&self) -> [String; 8] {
        let names = [
            "beats", "reports", "running", "roster", "left", "profiles", "version", "drains",
        ];
        names.map(|name| format!("{}:{{m}}:{name}", self.namespace))
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

/// Number: the members of a set in buckets that are not in its tail, the key of
/// which is the set's name.
pub(crate) fn in_buckets(set: &str) -> String {
    format!("{set}#")
}

/// String: the format and the partition count; written once.
pub(crate) fn meta(namespace: &str) -> String {
    format!("{namespace}:{{meta}}")
}

/// See [`Keys::completions`].
pub(crate) fn completions(namespace: &str) -> String {
    format!("{namespace}:completions")
}

/// The kind of a key of a namespace, for people.
pub(crate) fn kind(key: &[u8]) -> &'static str {
    let behind_tag = key.windows(2).position(|pair| pair == b"}:");
    let name = behind_tag.and_then(|at| key.get(at + 2..)).unwrap_or(key);
    let kinds: [(&[u8], &'static str); 13] = [
        (b"op:", "records"),
        (b"chain:", "chains"),
        (b"index:", "indexes"),
        (b"due", "due"),
        (b"dispatch", "outbox"),
        (b"offered", "offered"),
        (b"locks", "locks"),
        (b"held", "held"),
        (b"ended:", "ends"),
        (b"gone:", "tombstones"),
        (b"key:", "idempotency keys"),
        (b"rollups:", "rollups"),
        (b"failures:", "failure groups"),
    ];
    if name.starts_with(b"op:") && name.ends_with(b":history") {
        return "histories";
    }
    if name.starts_with(b"op:") && name.ends_with(b":output") {
        return "outputs";
    }
    let known = kinds.iter().find(|(start, _)| name.starts_with(start));
    known.map_or("others", |(_, kind)| kind)
}

/// See [`Keys::changes`].
fn changes(namespace: &str) -> String {
    format!("{namespace}:{{meta}}:changes")
}

impl PartitionKeys {
    fn new(namespace: &str, partition: Partition, is_spread: bool) -> Self {
        let key = |name: &str| format!("{namespace}:{{{partition}}}:{name}");
        Self {
            prefix: key(""),
            tombstone_prefix: key("gone:"),
            reservation_prefix: key("key:"),
            record_prefix: key("op:"),
            index_prefix: key("index:"),
            ends_prefix: key("ended:"),
            due: key("due"),
            outbox: key("dispatch"),
            locks: key("locks"),
            tick: key("tick"),
            notices: key("notices"),
            held: key("held"),
            pauses: key("pauses"),
            changes: if is_spread {
                key("changes")
            } else {
                changes(namespace)
            },
            stops_prefix: if is_spread {
                key("stops:")
            } else {
                format!("{namespace}:{{m}}:stops:")
            },
        }
    }

    /// The number of changes that may have given maintenance work.
    pub(crate) fn changes(&self) -> &str {
        &self.changes
    }

    /// The prefix of the sets of requests to stop; the id of a holder follows.
    pub(crate) fn stops_prefix(&self) -> &str {
        &self.stops_prefix
    }

    /// The prefix of all keys of the partition, which `prelude.lua` expects.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// String: one operation.
    pub(crate) fn record(&self, id: OperationId) -> Vec<u8> {
        [self.record_prefix.as_bytes(), id.as_bytes()].concat()
    }

    /// Strings: the parts of an operation that are too large for its record.
    pub(crate) fn parts(&self, id: OperationId) -> [Vec<u8>; 3] {
        [":data", ":report", ":checkpoint"].map(|name| [&self.record(id), name.as_bytes()].concat())
    }

    /// List: the outputs of the attempts of an operation.
    pub(crate) fn output(&self, id: OperationId) -> Vec<u8> {
        [&self.record(id), b":output".as_slice()].concat()
    }

    /// String: a removed operation; expires.
    pub(crate) fn tombstone(&self, id: OperationId) -> Vec<u8> {
        [self.tombstone_prefix.as_bytes(), id.as_bytes()].concat()
    }

    /// String: the reservation of an idempotency key; expires.
    pub(crate) fn reservation(&self, key: IdempotencyKey) -> Vec<u8> {
        [self.reservation_prefix.as_bytes(), key.0.as_slice()].concat()
    }

    /// Set in buckets: the ids of the operations in one state other than
    /// Locked, which are in [`Self::locks`].
    pub(crate) fn index(&self, state: State) -> String {
        format!("{}{}", self.index_prefix, char::from(record::index(state)))
    }

    /// Set: the letters of the further indexes that no operation enters.
    pub(crate) fn indexes_off(&self) -> String {
        format!("{}off", self.index_prefix)
    }

    /// Followed by the letter of a class, the key of its ends.
    pub(crate) fn ends_prefix(&self) -> &str {
        &self.ends_prefix
    }

    /// Set in buckets: stamp of the end and id of a Completed operation.
    pub(crate) fn ends(&self, class: EndClass) -> String {
        format!("{}{}", self.ends_prefix, char::from(record::end(class)))
    }

    /// Sorted set: 256 × milliseconds + number of tries → id of an operation
    /// whose end a receiver outside is notified of, next at that time.
    pub(crate) fn notices(&self) -> &str {
        &self.notices
    }

    /// Sorted set: milliseconds → id of a Suspended operation that wakes then.
    pub(crate) fn due(&self) -> &str {
        &self.due
    }

    /// Set in buckets: flow, stamp and id of an operation that ought to be in the
    /// broker.
    pub(crate) fn outbox(&self) -> &str {
        &self.outbox
    }

    /// Set in buckets: flow and id of an operation whose last offer the broker has
    /// confirmed.
    pub(crate) fn offered(&self) -> String {
        format!("{}offered", self.prefix)
    }

    /// Set in buckets: scope and id of an operation that a pause holds.
    pub(crate) fn held(&self) -> &str {
        &self.held
    }

    /// Hash: scope → the end of its pause. A copy of the pauses.
    pub(crate) fn pauses(&self) -> &str {
        &self.pauses
    }

    /// Number: the version of the pauses that the copy was made of.
    pub(crate) fn pauses_version(&self) -> String {
        format!("{}:version", self.pauses)
    }

    /// Hash: id → lock.
    pub(crate) fn locks(&self) -> &str {
        &self.locks
    }

    /// Number: the last sequence, stamp or fence that was given out.
    pub(crate) fn tick(&self) -> &str {
        &self.tick
    }

    /// Sorted set: sequence → id, the operations of a chain.
    pub(crate) fn chain(&self, chain: ChainKey) -> Vec<u8> {
        [self.prefix.as_bytes(), b"chain:", chain.as_bytes()].concat()
    }

    /// Hash: key of an organization and a letter → a number; `lib_usage.lua` has the
    /// letters.
    pub(crate) fn usage(&self) -> String {
        format!("{}usage", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::Timestamp;

    use super::*;

    #[test]
    fn all_keys_of_a_partition_share_one_hash_tag() {
        let keys = Keys::new("drumline", PartitionCount::new(18).unwrap());
        let partition = Partition::new(17);
        let of = keys.partition(partition).unwrap();
        let braces = *b"{}{}{}{}{}{}{}{}";
        let id = OperationId::new(Timestamp::from_millis(1), partition, braces);
        let index = of.index(State::Completed);
        let ends = of.ends(EndClass::Succeeded);
        let named = [of.due(), of.outbox(), of.locks(), of.tick(), of.notices()];
        let named = named.into_iter().chain([of.held(), of.pauses()]);
        let named = named.map(|key| key.as_bytes().to_vec());
        let key = of.reservation(IdempotencyKey(braces));
        let mut found = vec![of.record(id), of.tombstone(id), key];
        found.extend([index.into_bytes(), ends.into_bytes()]);
        found.extend(named);
        found.push(of.pauses_version().into_bytes());
        assert_eq!(of.prefix(), "drumline:{17}:");
        for key in found {
            assert!(key.starts_with(b"drumline:{17}:"), "{key:?}");
        }
        assert!(keys.partition(Partition::new(18)).is_none());
        let spread = Keys::spread("drumline", PartitionCount::new(18).unwrap());
        let of = spread.partition(partition).unwrap();
        for key in [of.changes(), of.stops_prefix()] {
            assert!(key.starts_with("drumline:{17}:"), "{key:?}");
        }
        let holder = MemberId(uuid::Uuid::nil());
        assert_eq!(
            (keys.stops(holder).len(), spread.stops(holder).len()),
            (1, 18)
        );
        assert_eq!(
            (keys.all_changes().len(), spread.all_changes().len()),
            (1, 19)
        );
    }

    #[test]
    fn the_scripts_give_the_keys_the_same_names() {
        let keys = Keys::new("n", PartitionCount::new(1).unwrap());
        let of = keys.partition(Partition::new(0)).unwrap();
        let prelude = include_str!("scripts/prelude.lua");
        for key in [
            &of.record_prefix,
            &of.tombstone_prefix,
            &of.reservation_prefix,
            &of.index_prefix,
            of.ends_prefix(),
            of.due(),
            of.outbox(),
            of.locks(),
            of.tick(),
            of.notices(),
            of.held(),
            of.pauses(),
            &of.offered(),
        ] {
            let name = key.strip_prefix(of.prefix()).unwrap();
            assert!(prelude.contains(&format!("'{name}'")), "{name}");
        }
        let id = OperationId::new(Timestamp::from_millis(1), Partition::new(0), [0; 16]);
        for key in of.parts(id) {
            let name = String::from_utf8_lossy(&key[of.record(id).len()..]);
            assert!(prelude.contains(&format!("'{name}'")), "{name}");
        }
        let usage = include_str!("scripts/lib_usage.lua");
        assert!(usage.contains("USAGE, CREATES, BYTES = 'usage', 'm', 'b'"));
        assert!(of.usage().ends_with("}:usage"));
        let key = of.output(id);
        let name = String::from_utf8_lossy(&key[of.record(id).len()..]);
        let commits = include_str!("scripts/lib_commit.lua");
        assert!(commits.contains(&format!("'{name}'")), "{name}");
    }
}
