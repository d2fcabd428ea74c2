//! Idempotency keys: the first request with a key decides the operation's id.

use drumline_backend::store::{Reservation, Reserved};
use drumline_protocol::{OperationId, Timestamp};

use super::{Contents, State};

impl State {
    /// Reserves a key, unless it is reserved, and returns what it stands for.
    pub fn reserve(&mut self, wanted: Reservation, now: Timestamp) -> Reserved {
        let partition = wanted.key.partition(self.count);
        self.contents_mut(partition).reserve(wanted, now)
    }

    /// Returns true if an operation was removed, as far as that is remembered.
    #[must_use]
    pub fn was_removed(&self, id: OperationId, now: Timestamp) -> bool {
        let contents = self.contents(id.partition());
        contents.is_some_and(|contents| contents.removed.get(id, now).is_some())
    }
}

impl Contents {
    /// [`State::reserve`] in the partition of the key.
    pub(super) fn reserve(&mut self, wanted: Reservation, now: Timestamp) -> Reserved {
        let Reservation {
            key,
            reserved,
            keep,
        } = wanted;
        if let Some(held) = self.reservations.get(key, now) {
            return held;
        }
        let until = now.saturating_add(keep);
        let ended = self.reservations.insert(key, reserved, until, now);
        self.touched.keys(ended.into_iter().chain([key]));
        reserved
    }
}
