//! The keys of creates: every create has one, so that it may be repeated.

use drumline_api::draft::NewOperation;
use uuid::Uuid;

/// Makes up a key if there is none.
pub(crate) fn keyed(new: NewOperation) -> NewOperation {
    if new.key().is_some() {
        return new;
    }
    new.idempotency_key(new_key())
}

/// A key that was never used before.
#[expect(
    clippy::disallowed_methods,
    reason = "a client has no generator injected: its keys name requests, and nothing is derived from them"
)]
pub(crate) fn new_key() -> String {
    Uuid::new_v4().to_string()
}
