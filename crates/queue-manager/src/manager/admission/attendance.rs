//! Who is inside, of those who came in through this manager.
//!
//! One task sees to it that the limiter knows: it renews the leases of those
//! who stay for long, and says goodbye for those who have left, many in one
//! round trip when they are many. Most leave before their first renewal, which
//! then costs nothing.
//!
//! When the limiter is away, goodbyes are lost, and the leases end by
//! themselves; the time that those were busy is not counted then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drumline_backend::limiter::{Departure, Limiter, Limits, Subject, Visitor};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Goodbyes that may wait to be said. More come together only when the limiter
/// is slow; their leases end then.
const MOST_WAITING: usize = 10_000;
/// Goodbyes that are said in one round trip.
const AT_ONCE: usize = 256;
/// Leases are renewed when this part of them is over: two renewals may be lost.
const THIRD: u32 = 3;

/// See the module's text. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::manager) struct Attendance(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // Held for a moment, never across an await.
    state: Mutex<State>,
    somebody_left: Notify,
}

#[derive(Debug, Default)]
struct State {
    inside: HashMap<Visitor, Place>,
    departures: Vec<Departure>,
}

/// The place of one who is inside.
#[derive(Clone, Copy, Debug)]
struct Place {
    subject: Subject,
    since: Instant,
}

/// The right to be inside. Whoever drops it leaves.
#[must_use = "whoever drops it leaves"]
#[derive(Debug)]
pub struct Pass {
    /// `None`: nothing is limited.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    attendance: Attendance,
    subject: Subject,
    visitor: Visitor,
    limits: Limits,
    since: Instant,
}

impl Attendance {
    /// A pass for one who is about to come in.
    pub(super) fn pass(&self, subject: Subject, id: Uuid, limits: Limits) -> Pass {
        let visitor = Visitor(id);
        let since = Instant::now();
        self.state()
            .inside
            .insert(visitor, Place { subject, since });
        Pass {
            held: Some(Held {
                attendance: self.clone(),
                subject,
                visitor,
                limits,
                since,
            }),
        }
    }

    /// Tells the limiter until `closing`, and then once more of those who have
    /// left. All have the same lease.
    pub(in crate::manager) async fn run(
        self,
        limiter: Arc<dyn Limiter>,
        lease: Duration,
        closing: CancellationToken,
    ) {
        let mut renewals = interval((lease / THIRD).max(Duration::from_millis(1)));
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.0.somebody_left.notified() => self.say_goodbye(&*limiter).await,
                _ = renewals.tick() => self.renew(&*limiter, lease).await,
                () = closing.cancelled() => break,
            }
        }
        self.say_goodbye(&*limiter).await;
    }

    /// Tells the limiter of those who have left.
    pub(super) async fn say_goodbye(&self, limiter: &dyn Limiter) {
        loop {
            let some = {
                let departures = &mut self.state().departures;
                let count = departures.len().min(AT_ONCE);
                departures.drain(..count).collect::<Vec<_>>()
            };
            if some.is_empty() {
                return;
            }
            if let Err(error) = limiter.leave(&some).await {
                tracing::debug!(%error, count = some.len(), "left without a goodbye");
            }
        }
    }

    async fn renew(&self, limiter: &dyn Limiter, lease: Duration) {
        let old = lease / THIRD;
        let stay: Vec<(Subject, Visitor)> = self
            .state()
            .inside
            .iter()
            .filter(|(_, place)| place.since.elapsed() >= old)
            .map(|(visitor, place)| (place.subject, *visitor))
            .collect();
        if stay.is_empty() {
            return;
        }
        match limiter.renew(&stay, lease).await {
            Ok(renewed) => {
                let lost = renewed.iter().filter(|was_inside| !**was_inside).count();
                if lost > 0 {
                    // They go on: half a batch helps nobody.
                    tracing::debug!(lost, "places were lost to others while we could not renew");
                }
            }
            Err(error) => tracing::debug!(%error, "leases are not renewed"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The pass of one whom nothing limits.
    pub(super) const fn free() -> Self {
        Self { held: None }
    }

    /// By which name its holder enters.
    pub(super) fn visitor(&self) -> Option<Visitor> {
        self.held.as_ref().map(|held| held.visitor)
    }

    /// It was refused, so there is nothing to leave.
    pub(super) fn void(mut self) {
        if let Some(held) = self.held.take() {
            held.attendance.state().inside.remove(&held.visitor);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        let mut state = held.attendance.state();
        state.inside.remove(&held.visitor);
        if state.departures.len() < MOST_WAITING {
            state.departures.push(Departure {
                subject: held.subject,
                visitor: held.visitor,
                busy: held.since.elapsed(),
                limits: held.limits,
            });
        }
        drop(state);
        held.attendance.0.somebody_left.notify_one();
    }
}
