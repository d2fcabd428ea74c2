//! Idempotency keys: the same request twice is one operation.
//!
//! A key reserves an *id*, and a create with an id that is taken changes
//! nothing. So the second request, however close and on whichever manager,
//! works with the id of the first, and the store decides which of them creates
//! the operation.
//!
//! A key without a token is kept in the partition of the operation, and the
//! create reserves it. A token is in a partition of its own, so the key of such
//! a create is reserved one call before.
//!
//! An operation may be removed while its key is still remembered, by a person
//! or by retention. If it were created again it would be executed again, so the
//! store remembers a removed operation that a key could name ([`Body::is_keyed`]) for as
//! long as that may be. A key
//! without an operation, of which the store does not remember that it was
//! removed, belongs to a request that did not get to the create; its repetition
//! creates.

mod content;

use std::time::Duration;

use drumline_api::{CreateOperation, FieldError, Invalid, check_idempotency_key};
use drumline_backend::apply_event::Commits;
use drumline_backend::store::{
    self, Commit, Committed, IdempotencyKey, Reservation, Reserved, Store,
};
use drumline_protocol::{Body, OperationId, Organization, Report, Timestamp};
use sha2::{Digest, Sha256};
use uuid::fmt::Hyphenated;
use uuid::{Uuid, Variant};

use super::{Actor, QueueManager};
use crate::error::Result;

use content::fingerprint;

impl QueueManager {
    /// The reservation of a request's key for an operation.
    pub(super) fn reservation(
        &self,
        actor: &Actor,
        key: &str,
        request: &CreateOperation,
        id: OperationId,
    ) -> Result<Reservation> {
        if let Err(why) = check_idempotency_key(key) {
            return Err(Invalid::arguments(vec![FieldError::new("Idempotency-Key", why)]).into());
        }
        Ok(Reservation {
            key: key_of(&actor.organization, key),
            reserved: Reserved {
                id,
                content: fingerprint(request),
            },
            keep: self.options().remember_keys,
        })
    }

    /// The time for which the store is to remember an operation that is removed now: as
    /// long as a key may name it. Without a key, only a repetition of the same call must
    /// find that it was removed, and the store sees to that by itself.
    pub(crate) fn remembered(&self, body: &Body) -> Duration {
        if !body.is_keyed() {
            return Duration::ZERO;
        }
        let age = self.store().now().since(body.created_on);
        // Most operations are older than any key.
        self.options().remember_keys.saturating_sub(age)
    }
}

/// The store, for a commit that removes an operation.
pub(super) struct Removal<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) remember: Duration,
}

impl Commits for Removal<'_> {
    fn now(&self) -> Timestamp {
        self.store.now()
    }

    async fn commit_one(&self, mut commit: Commit) -> store::Result<Committed> {
        commit.remember = self.remember;
        self.store.commit_one(commit).await
    }

    async fn report_of(&self, id: OperationId) -> store::Result<Option<Report>> {
        self.store.report_of(id).await
    }
}

/// The key as the store knows it: tenants never meet.
pub(super) fn key_of(organization: &Organization, key: &str) -> IdempotencyKey {
    let mut hash = Sha256::new();
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hash.update((organization.0.len() as u64).to_be_bytes());
    hash.update(&organization.0);
    hash.update(key);
    let mut half = first_half(hash);
    if let (Some([a, b, c, d]), Some(place)) = (run_of(key), half.first_chunk_mut()) {
        // The other eight bytes tell the few keys of a run from each other.
        *place = [0, 0, 0, 0, a, b, c, d];
    }
    IdempotencyKey(half)
}

/// The run of creates that a key belongs to: the first four bytes of a UUID of version 8, whose
/// bytes mean what an application wants (RFC 9562, section 5.8). The creates of a run
/// share a partition, so that one call to the store holds them.
fn run_of(key: &str) -> Option<[u8; 4]> {
    // The other forms of UUIDs have other lengths.
    let uuid = (key.len() == Hyphenated::LENGTH).then(|| Uuid::try_parse(key).ok())??;
    let (8, Variant::RFC4122, [a, b, c, d, ..]) =
        (uuid.get_version_num(), uuid.get_variant(), uuid.as_bytes())
    else {
        return None;
    };
    Some([*a, *b, *c, *d])
}

fn first_half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    half
}

#[cfg(test)]
mod tests {
    use drumline_protocol::PartitionCount;

    use super::*;

    #[test]
    fn tenants_do_not_share_keys() {
        let key = |organization: &str, key| key_of(&Organization(organization.to_owned()), key);
        assert_ne!(key("a", "key"), key("b", "key"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }

    #[test]
    fn the_keys_of_a_run_share_a_partition_and_nothing_else() {
        let count = PartitionCount::new(1_000).unwrap();
        let key = |organization: &str, key| key_of(&Organization(organization.to_owned()), key);
        let first = key("a", "12345678-0000-8000-8000-000000000001");
        let second = key("a", "12345678-0000-8000-8000-000000000002");
        let elsewhere = key("b", "12345678-0000-8000-8000-000000000001");
        assert_eq!(first.partition(count), second.partition(count));
        assert_ne!(first.0[8..], second.0[8..]);
        assert_ne!(first.0[8..], elsewhere.0[8..]);
        let other = key("a", "12345679-0000-8000-8000-000000000001");
        assert_ne!(first.partition(count), other.partition(count));
    }

    #[test]
    fn other_keys_are_spread_whatever_they_begin_with() {
        for pair in [
            // Versions 4 and 7, version 8 of another variant, and no UUIDs.
            ["12345678-0000-4000-8000-00000000000", "a"],
            ["12345678-0000-7000-8000-00000000000", "a"],
            ["12345678-0000-8000-0000-00000000000", "a"],
            ["1234567800008000800000000000000", "a"],
            ["12345678-0000-8000-8000-0000000000", "x"],
            ["orders/", "a"],
        ] {
            let [start, end] = pair;
            let [first, second] = ["1", "2"].map(|number| {
                let end = if end == "a" {
                    number.to_owned()
                } else {
                    format!("{end}{number}")
                };
                key_of(&Organization("a".to_owned()), &format!("{start}{end}"))
            });
            assert_ne!(first.0[..8], second.0[..8], "{start}");
        }
    }
}
