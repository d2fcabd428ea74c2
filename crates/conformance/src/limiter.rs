//! The limiter's cases. A lease or window that must not end in time is given an
//! hour; one that must end is given a second, and waited for.

use std::time::Duration;

use drumline_backend::Limiter;
use drumline_backend::limiter::{Departure, Entered, Limit, Limits, Subject, Visitor};
use uuid::Uuid;

pub mod places;
pub mod window;

/// A span that no case waits for.
const HOUR: Duration = Duration::from_secs(3600);
/// A span that cases wait for: long enough to see that it has begun.
const SECOND: Duration = Duration::from_secs(1);

/// The subject of a case; every case has a world of its own.
const SUBJECT: Subject = Subject([0x7b; 16]);

fn visitor(number: u128) -> Visitor {
    Visitor(Uuid::from_u128(number))
}

/// Enters as the visitor with this number.
async fn enter(limiter: &dyn Limiter, number: u128, limits: &Limits) -> Entered {
    enter_as(limiter, SUBJECT, Some(visitor(number)), limits).await
}

/// Passes through.
async fn pass(limiter: &dyn Limiter, limits: &Limits) -> Entered {
    enter_as(limiter, SUBJECT, None, limits).await
}

async fn enter_as(
    limiter: &dyn Limiter,
    subject: Subject,
    visitor: Option<Visitor>,
    limits: &Limits,
) -> Entered {
    let entered = limiter.enter(subject, visitor, limits).await;
    entered.expect("the limiter is there")
}

/// Leaves after having been busy.
async fn leave(limiter: &dyn Limiter, number: u128, limits: &Limits, busy: Duration) {
    let departure = Departure {
        subject: SUBJECT,
        visitor: visitor(number),
        busy,
        limits: *limits,
    };
    let left = limiter.leave(&[departure]).await;
    left.expect("the limiter is there");
}

/// The limit that is reached; `None`: the visitor was let in.
fn reached(entered: Entered) -> Option<Limit> {
    match entered {
        Entered::Admitted => None,
        Entered::Refused { limit, .. } => Some(limit),
    }
}
