//! The permits of requests and batches that this manager has admitted and that
//! are not done yet.
//!
//! One task keeps the limiter up to date: it renews the leases of permits that
//! are held for long, and releases dropped permits, many in one round trip when
//! they are many. Most are dropped before their first renewal, which then costs
//! nothing.
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
const UNSENT_MAX: usize = 10_000;
/// Releases that are sent in one round trip.
const AT_ONCE: usize = 256;
/// Leases are renewed when this part of them is over: two renewals may be lost.
const THIRD: u32 = 3;

/// The permits of one manager. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::service) struct Permits(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // Held for a moment, never across an await.
    state: Mutex<State>,
    /// Notified of each release.
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<PermitId, Held>,
    releases: Vec<Release>,
}

/// A permit that is to be renewed.
#[derive(Clone, Copy, Debug)]
struct Held {
    key: LimitKey,
    since: Instant,
}

/// The right of one request or batch to be executed. Dropping the permit
/// releases it.
#[must_use = "dropping the permit releases it"]
#[derive(Debug)]
pub struct Permit {
    /// `None`: nothing is limited.
    limited: Option<Limited>,
}

#[derive(Debug)]
struct Limited {
    permits: Permits,
    key: LimitKey,
    id: PermitId,
    limits: Limits,
    since: Instant,
}

impl Permits {
    /// Creates the permit of a request that is about to be admitted.
    pub(super) fn permit(&self, key: LimitKey, id: Uuid, limits: Limits) -> Permit {
        let id = PermitId(id);
        let since = Instant::now();
        self.state().held.insert(id, Held { key, since });
        Permit {
            limited: Some(Limited {
                permits: self.clone(),
                key,
                id,
                limits,
                since,
            }),
        }
    }

    /// Keeps the limiter up to date until `closing`, and then once more sends the
    /// releases. All permits have the same lease.
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
                () = self.0.released.notified() => self.flush_releases(&*limiter).await,
                _ = renewals.tick() => self.renew(&*limiter, lease).await,
                () = closing.cancelled() => break,
            }
        }
        self.flush_releases(&*limiter).await;
    }

    /// Sends the releases of dropped permits.
    pub(super) async fn flush_releases(&self, limiter: &dyn Limiter) {
        loop {
            let some = {
                let releases = &mut self.state().releases;
                let count = releases.len().min(AT_ONCE);
                releases.drain(..count).collect::<Vec<_>>()
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
        let held: Vec<(LimitKey, PermitId)> = self
            .state()
            .held
            .iter()
            .filter(|(_, held)| held.since.elapsed() >= old)
            .map(|(id, held)| (held.key, *id))
            .collect();
        if held.is_empty() {
            return;
        }
        match limiter.renew(&held, lease).await {
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
    /// The permit of a request that nothing limits.
    pub(super) const fn unlimited() -> Self {
        Self { limited: None }
    }

    /// The id under which the limiter holds it.
    pub(super) fn id(&self) -> Option<PermitId> {
        self.limited.as_ref().map(|limited| limited.id)
    }

    /// Consumes the permit of a refused request: there is nothing to release.
    pub(super) fn discard(mut self) {
        if let Some(limited) = self.limited.take() {
            limited.permits.state().held.remove(&limited.id);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(limited) = self.limited.take() else {
            return;
        };
        let mut state = limited.permits.state();
        state.held.remove(&limited.id);
        if state.releases.len() < UNSENT_MAX {
            state.releases.push(Release {
                key: limited.key,
                permit: limited.id,
                busy: limited.since.elapsed(),
                limits: limited.limits,
            });
        }
        drop(state);
        limited.permits.0.released.notify_one();
    }
}
