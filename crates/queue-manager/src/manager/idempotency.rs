//! Idempotency keys: the same request twice is one operation.
//!
//! A key reserves an *id*, and a create with an id that is taken changes
//! nothing. So whoever comes second, however close, on whichever manager,
//! works with the id of the first, and the store decides who creates it.

use drumline_backend::store::Reservation;
use drumline_protocol::OperationId;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Caller, QueueManager};
use crate::error::{Error, Invalid, Result, Wrong};
use crate::request::CreateRequest;

/// The longest key, in bytes. A UUID has 36.
const KEY_BYTES: usize = 255;

impl QueueManager {
    /// The id that belongs to a key: `fresh`, or that of the first request.
    pub(super) async fn reserve(
        &self,
        caller: &Caller,
        key: &str,
        request: &CreateRequest,
        fresh: OperationId,
    ) -> Result<OperationId> {
        if key.is_empty() || key.len() > KEY_BYTES {
            let why = format!("must have 1 to {KEY_BYTES} bytes");
            return Err(Invalid::arguments(vec![Wrong::new("Idempotency-Key", why)]).into());
        }
        let reservation = Reservation {
            id: fresh,
            content: fingerprint(request),
        };
        let keep = self.options().remember_keys;
        let held = self
            .store()
            .reserve(digest(&caller.organization.0, key), reservation, keep)
            .await?;
        if held.content == reservation.content {
            Ok(held.id)
        } else {
            Err(Error::KeyReused)
        }
    }
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

/// What tells one request from another. Spaces and the order of members in the
/// payload do not: clients that repeat may well write it anew.
fn fingerprint(request: &CreateRequest) -> [u8; 16] {
    let data = request.data.as_deref();
    let data = data.map(|text| {
        serde_json::from_str::<Value>(text)
            .map_or_else(|_unreadable| text.to_owned(), |value| value.to_string())
    });
    let request = CreateRequest {
        data,
        ..request.clone()
    };
    // The derived text names every field; new ones are covered by themselves.
    let mut hash = Sha256::new();
    hash.update(format!("{request:?}"));
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

    fn with_data(text: &str) -> CreateRequest {
        CreateRequest {
            data: Some(text.to_owned()),
            ..CreateRequest::new("ImportSolution")
        }
    }

    #[test]
    fn what_means_the_same_has_the_same_fingerprint() {
        let first = fingerprint(&with_data(r#"{"a":1,"b":[2]}"#));
        assert_eq!(first, fingerprint(&with_data(r#"{ "b": [2], "a": 1 }"#)));
        assert_ne!(first, fingerprint(&with_data(r#"{"a":1,"b":[3]}"#)));
        assert_ne!(first, fingerprint(&CreateRequest::new("ImportSolution")));
    }

    #[test]
    fn tenants_do_not_share_keys() {
        assert_ne!(digest("a", "key"), digest("b", "key"));
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }
}
