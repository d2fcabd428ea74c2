//! The limiter's cases. A lease or window that must not end in time is given an
//! hour; one that must end is given some seconds, and waited for.

use std::time::Duration;

use drumline_backend::Limiter;
use drumline_backend::limiter::{Acquired, Limit, LimitKey, Limits, PermitId, Release};
use uuid::Uuid;

pub mod permits;
pub mod window;

/// A span that no case waits for.
const HOUR: Duration = Duration::from_secs(3600);
/// A span that cases wait for: long enough to see on a busy machine that it has begun.
const SOON: Duration = Duration::from_secs(3);

/// The key of a case; every case has a world of its own.
const KEY: LimitKey = LimitKey([0x7b; 16]);

fn permit(number: u128) -> PermitId {
    PermitId(Uuid::from_u128(number))
}

/// Acquires the permit with this number.
async fn acquire(limiter: &dyn Limiter, number: u128, limits: &Limits) -> Acquired {
    acquire_as(limiter, KEY, Some(permit(number)), limits).await
}

/// Asks without a permit.
async fn pass(limiter: &dyn Limiter, limits: &Limits) -> Acquired {
    acquire_as(limiter, KEY, None, limits).await
}

async fn acquire_as(
    limiter: &dyn Limiter,
    key: LimitKey,
    permit: Option<PermitId>,
    limits: &Limits,
) -> Acquired {
    let acquired = limiter.acquire(key, permit, limits).await;
    acquired.expect("the limiter is there")
}

/// Releases a permit after having been busy.
async fn release(limiter: &dyn Limiter, number: u128, limits: &Limits, busy: Duration) {
    let release = Release {
        key: KEY,
        permit: permit(number),
        busy,
        limits: *limits,
    };
    let released = limiter.release(&[release]).await;
    released.expect("the limiter is there");
}

/// The limit that is reached; `None`: the permit was granted.
fn reached(acquired: Acquired) -> Option<Limit> {
    match acquired {
        Acquired::Granted => None,
        Acquired::Refused { limit, .. } => Some(limit),
    }
}
