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
    IdempotencyKey(first_half(hash))
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
    use super::*;

    #[test]
    fn tenants_do_not_share_keys() {
        let key = |organization: &str, key| key_of(&Organization(organization.to_owned()), key);
        assert_ne!(key("a", "key"), key("b", "key"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }
}
