//! The requests and batches that this manager has admitted and that are not
//! done yet.
//!
//! One task keeps the limiter up to date: it renews the leases of those that
//! stay for long, and releases the places of those that have left, many in one
//! round trip when they are many. Most leave before their first renewal, which
//! then costs nothing.
//!
//! When the limiter is unavailable, releases are lost, and the leases end by
//! themselves. The time that those requests were busy is not counted then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drumline_backend::limiter::{LimitKey, Limiter, Limits, PermitId, Release};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Releases that may wait to be sent. More come together only when the limiter
/// is slow; their leases end then.
const MOST_WAITING: usize = 10_000;
/// Releases that are sent in one round trip.
const AT_ONCE: usize = 256;
/// Leases are renewed when this part of them is over: two renewals may be lost.
const THIRD: u32 = 3;

/// The admitted requests and batches of one manager. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::service) struct Permits(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // Held for a moment, never across an await.
    state: Mutex<State>,
    somebody_left: Notify,
}

#[derive(Debug, Default)]
struct State {
    inside: HashMap<PermitId, Place>,
    departures: Vec<Release>,
}

/// The place of one admitted request.
#[derive(Clone, Copy, Debug)]
struct Place {
    subject: LimitKey,
    since: Instant,
}

/// The right to be inside. Dropping the permit gives the place back.
#[must_use = "dropping it releases the permit"]
#[derive(Debug)]
pub struct Permit {
    /// `None`: nothing is limited.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    permits: Permits,
    subject: LimitKey,
    visitor: PermitId,
    limits: Limits,
    since: Instant,
}

impl Permits {
    /// Creates a pass for a request that is about to come in.
    pub(super) fn pass(&self, subject: LimitKey, id: Uuid, limits: Limits) -> Permit {
        let visitor = PermitId(id);
        let since = Instant::now();
        self.state()
            .inside
            .insert(visitor, Place { subject, since });
        Permit {
            held: Some(Held {
                permits: self.clone(),
                subject,
                visitor,
                limits,
                since,
            }),
        }
    }

    /// Keeps the limiter up to date until `closing`, and then once more
    /// releases the places of those that have left. All have the same lease.
    pub(in crate::service) async fn run(
        self,
        limiter: Arc<dyn Limiter>,
        lease: Duration,
        closing: CancellationToken,
    ) {
        let mut renewals = interval((lease / THIRD).max(Duration::from_millis(1)));
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.0.somebody_left.notified() => self.flush_releases(&*limiter).await,
                _ = renewals.tick() => self.renew(&*limiter, lease).await,
                () = closing.cancelled() => break,
            }
        }
        self.flush_releases(&*limiter).await;
    }

    /// Releases the places of those that have left.
    pub(super) async fn flush_releases(&self, limiter: &dyn Limiter) {
        loop {
            let some = {
                let departures = &mut self.state().departures;
                let count = departures.len().min(AT_ONCE);
                departures.drain(..count).collect::<Vec<_>>()
            };
            if some.is_empty() {
                return;
            }
            if let Err(error) = limiter.release(&some).await {
                tracing::debug!(%error, count = some.len(), "permits were not released");
            }
        }
    }

    async fn renew(&self, limiter: &dyn Limiter, lease: Duration) {
        let old = lease / THIRD;
        let stay: Vec<(LimitKey, PermitId)> = self
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
                    // Their requests go on: half a batch is of no use.
                    tracing::debug!(lost, "permits ended because they could not be renewed");
                }
            }
            Err(error) => tracing::debug!(%error, "permits were not renewed"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// A pass for a request that nothing limits.
    pub(super) const fn free() -> Self {
        Self { held: None }
    }

    /// The name by which the holder of the pass enters.
    pub(super) fn visitor(&self) -> Option<PermitId> {
        self.held.as_ref().map(|held| held.visitor)
    }

    /// Consumes the pass of a refused request, which has no place to give back.
    pub(super) fn void(mut self) {
        if let Some(held) = self.held.take() {
            held.permits.state().inside.remove(&held.visitor);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        let mut state = held.permits.state();
        state.inside.remove(&held.visitor);
        if state.departures.len() < MOST_WAITING {
            state.departures.push(Release {
                key: held.subject,
                permit: held.visitor,
                busy: held.since.elapsed(),
                limits: held.limits,
            });
        }
        drop(state);
        held.permits.0.somebody_left.notify_one();
    }
}
