//! The keys of creates: every create has one, so that it may be repeated.
//!
//! The service keeps a key beside its operation, in a partition that the key chooses. Keys
//! that are UUIDs of version 8 choose it by their first four bytes. Creates that come together
//! get the same, so that the service stores them in one step.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use drumline_api::draft::NewOperation;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

/// Keys in a row that share their first bytes: about what arrives together in a burst.
const RUN: u32 = 64;
/// The longest that keys share them. The operations of one partition are run by one worker, so
/// those of a slow producer are to be spread.
const LONGEST: Duration = Duration::from_millis(20);

/// The keys of a client.
#[derive(Debug)]
pub(crate) struct Keys(Mutex<Run>);

/// Keys that share their first bytes.
#[derive(Clone, Copy, Debug)]
struct Run {
    shared: [u8; 4],
    left: u32,
    ends: Instant,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Run {
            shared: [0; 4],
            left: 0,
            ends: Instant::now(),
        }))
    }

    /// A key that was never used before.
    #[expect(
        clippy::disallowed_methods,
        reason = "a client has no generator injected: its keys name requests, and nothing is derived from them"
    )]
    pub(crate) fn fresh(&self) -> String {
        let mut bytes = Uuid::new_v4().into_bytes();
        if let Some(first) = bytes.first_chunk_mut::<4>() {
            *first = self.shared(*first, Instant::now());
        }
        Builder::from_custom_bytes(bytes).into_uuid().to_string()
    }

    /// Makes up a key if there is none.
    pub(crate) fn keyed(&self, new: NewOperation) -> NewOperation {
        if new.key().is_some() {
            return new;
        }
        new.idempotency_key(self.fresh())
    }

    /// The first bytes of a key: those of the run, or those that are given for a new one.
    fn shared(&self, given: [u8; 4], now: Instant) -> [u8; 4] {
        let mut run = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if run.left == 0 || now >= run.ends {
            *run = Run {
                shared: given,
                left: RUN,
                ends: now + LONGEST,
            };
        }
        run.left -= 1;
        run.shared
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_differ_and_are_uuids_of_version_8() {
        let keys = Keys::new();
        let made: BTreeSet<String> = (0..1_000).map(|_| keys.fresh()).collect();
        assert_eq!(made.len(), 1_000);
        for key in &made {
            let uuid = Uuid::try_parse(key).unwrap();
            assert_eq!(uuid.get_version_num(), 8);
            assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn a_run_ends_with_its_number_and_with_its_time() {
        let keys = Keys::new();
        let now = Instant::now();
        for _ in 0..RUN {
            assert_eq!(keys.shared([1; 4], now), [1; 4]);
        }
        assert_eq!(keys.shared([2; 4], now), [2; 4]);
        let later = now + LONGEST - Duration::from_millis(1);
        assert_eq!(keys.shared([3; 4], later), [2; 4]);
        assert_eq!(keys.shared([3; 4], now + LONGEST), [3; 4]);
    }
}
