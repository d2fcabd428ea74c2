//! The guards of events, as their callers have them.

use drumline_backend::store::Guard;
use drumline_protocol::{Event, Fence};

use super::Planned;
use crate::fixtures::Fixture;
use crate::store::locks::{lock_of, watched};

/// The guard of an event, without the numbers of a store.
pub(super) fn wanted(event: &Event, side: &Fixture) -> Guard {
    match event {
        Event::Claim { .. } => side.taking(),
        event if is_holders(event) => Guard::Holder(side.holding(Fence(0))),
        Event::LeaseExpired => Guard::Unchanged {
            holding: side.holding(Fence(0)),
            beat: 0,
        },
        _ => Guard::None,
    }
}

/// The guard of an event as its caller on this side has it.
pub(super) async fn guard_of(side: &Fixture, planned: &Planned) -> Guard {
    let wanted = wanted(&planned.event, side);
    if planned.is_stale {
        return wanted;
    }
    let lock = lock_of(side, planned.commit.id).await;
    match (wanted, lock) {
        (Guard::Holder(_), Some(lock)) => Guard::Holder(lock.holding()),
        (Guard::Unchanged { .. }, Some(lock)) => watched(&lock),
        (wanted, _) => wanted,
    }
}

/// Returns true if only the holder of the lock may bring the event about.
const fn is_holders(event: &Event) -> bool {
    matches!(
        event,
        Event::Succeed
            | Event::Fail(_)
            | Event::Retry { .. }
            | Event::Suspend(_)
            | Event::Stopped
            | Event::Release
            | Event::ReleaseUnstarted
    )
}
