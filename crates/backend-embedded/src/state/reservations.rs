//! Idempotency keys: the first request with a key decides the operation's id.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_backend::store::Reservation;
use drumline_protocol::Timestamp;

use super::State;

/// Key → the reservation and its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservations(BTreeMap<[u8; 16], (Reservation, Timestamp)>);

impl State {
    /// Reserves a key, unless it is reserved, and returns the reservation that
    /// holds.
    pub fn reserve(
        &mut self,
        key: [u8; 16],
        reservation: Reservation,
        keep: Duration,
        now: Timestamp,
    ) -> Reservation {
        let held = &mut self.reservations.0;
        // Looking at all keys each time is fast enough for one process.
        held.retain(|_, (_, until)| *until > now);
        let until = now.saturating_add(keep);
        held.entry(key).or_insert((reservation, until)).0
    }
}
