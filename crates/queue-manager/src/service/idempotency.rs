//! Idempotency keys: the same request twice is one operation.
//!
//! A key reserves an *id*, and a create with an id that is taken changes
//! nothing. So the second request, however close and on whichever manager,
//! works with the id of the first, and the store decides which of them creates
//! the operation.
//!
//! An operation may be removed while its key is still remembered, by a person
//! or by retention. If it were created again it would be executed again, so
//! removal leaves a note for as long as a key could name the operation. A key
//! without an operation and without a note belongs to a request that did not get
//! to the create; its repetition creates.

mod content;

use std::time::Duration;

use drumline_api::{CreateOperation, FieldError, Invalid, check_idempotency_key};
use drumline_backend::store::{self, Reservation};
use drumline_protocol::{Operation, OperationId};
use sha2::{Digest, Sha256};

use super::{Actor, QueueManager};
use crate::error::{Error, Result};

use content::fingerprint;

impl QueueManager {
    /// Returns the id that belongs to a key: `fresh`, or that of the first
    /// request.
    pub(super) async fn reserve(
        &self,
        actor: &Actor,
        key: &str,
        request: &CreateOperation,
        fresh: OperationId,
    ) -> Result<OperationId> {
        if let Err(why) = check_idempotency_key(key) {
            return Err(Invalid::arguments(vec![FieldError::new("Idempotency-Key", why)]).into());
        }
        let reservation = Reservation {
            id: fresh,
            content: fingerprint(request),
        };
        let keep = self.options().remember_keys;
        let held = self
            .store()
            .reserve(digest(&actor.organization.0, key), reservation, keep)
            .await?;
        if held.content == reservation.content {
            Ok(held.id)
        } else {
            Err(Error::KeyReused)
        }
    }
}

/// The content of a removal's note.
const REMOVED: [u8; 16] = [1; 16];
/// The content of the reservation that a search for a note makes: the store
/// cannot search without reserving.
const SEARCHED: [u8; 16] = [0; 16];
/// The lifetime of that reservation. The operation that is searched for does not
/// exist. It would have to be created, executed and removed within this time for
/// its note to be missed.
const SEARCH_KEPT: Duration = Duration::from_millis(1);

impl QueueManager {
    /// Notes that an operation is about to be removed. The note comes first: a
    /// crash in between leaves a note about an operation that exists, which no
    /// request searches for.
    pub(crate) async fn note_removal(&self, operation: &Operation) -> store::Result<()> {
        let age = self.store().now().since(operation.body.created_on);
        let keep = self.options().remember_keys.saturating_sub(age);
        // Most operations are older than any key.
        if keep > Duration::ZERO {
            let note = Reservation {
                id: operation.id,
                content: REMOVED,
            };
            self.store()
                .reserve(note_of(operation.id), note, keep)
                .await?;
        }
        Ok(())
    }

    /// Refuses an id whose operation existed and was removed.
    pub(super) async fn refuse_removed(&self, id: OperationId) -> Result<()> {
        let search = Reservation {
            id,
            content: SEARCHED,
        };
        let found = self.store().reserve(note_of(id), search, SEARCH_KEPT);
        let found = found.await?;
        if found.content == REMOVED {
            let id = id.to_string();
            return Err(Error::KeySpent { id });
        }
        Ok(())
    }
}

/// The key of an operation's removal note.
fn note_of(id: OperationId) -> [u8; 16] {
    let mut hash = Sha256::new();
    // Keys of clients have the length of the organization in this place; no name
    // is that long.
    hash.update(u64::MAX.to_be_bytes());
    hash.update(id.as_bytes());
    first_half(hash)
}

/// The key as the store knows it: tenants never meet.
fn digest(organization: &str, key: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hash.update((organization.len() as u64).to_be_bytes());
    hash.update(organization);
    hash.update(key);
    first_half(hash)
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
        assert_ne!(digest("a", "key"), digest("b", "key"));
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }
}
