//! The worker's heartbeat, and its answer: the roster of the live members.
//!
//! ```text
//!                       ┌─ members ─→ sources (own lanes), unhandled
//! beat ─→ membership ───┼─ contact ─→ sources (consume, or give back)
//!                       └─ asked to drain ─→ take nothing new
//! ```

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::membership::{MEMBER_TIMEOUT, heartbeat_interval};
use drumline_backend::{Member, Profile, Role, Roster};
use drumline_protocol::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::run::shared::Shared;

/// The live members, as far as this worker knows.
pub(crate) type Members = watch::Receiver<Arc<Roster>>;

/// The worker's contact with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    /// True while the store answers.
    pub(crate) is_up: bool,
    /// The number of times that the store was lost. A task that reads this after a
    /// short loss still notices the loss.
    pub(crate) losses: u64,
}

impl Contact {
    /// The contact of a worker that starts.
    pub(crate) const UP: Self = Self {
        is_up: true,
        losses: 0,
    };
}

/// Beats until the future is dropped. Beats at once when the worker begins to
/// drain, so that other workers take its lanes, and when a handler is throttled or
/// goes on.
///
/// A worker that has had no answer for a lease, or for as long as other members
/// list it, cannot decide anything. Such a worker must not keep operations that
/// other workers could decide, so `contact` reports the loss.
pub(crate) async fn beat(
    shared: Arc<Shared>,
    members: watch::Sender<Arc<Roster>>,
    contact: watch::Sender<Contact>,
) {
    let patience = shared.options.lease.min(MEMBER_TIMEOUT);
    let started_on = shared.backend.store.now();
    let mut next = Instant::now();
    let mut was_draining = false;
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(next) => {}
            () = shared.throttles.changed() => {}
            () = shared.draining.cancelled(), if !was_draining => was_draining = true,
        }
        let sent = Instant::now();
        let itself = describe(&shared, started_on);
        let mut beat = pin!(shared.backend.membership.beat(&itself));
        let answer = loop {
            let is_up = contact.borrow().is_up;
            tokio::select! {
                // The answer comes first, because both are there after a pause of
                // the process.
                biased;
                answer = &mut beat => break answer,
                () = sleep_until(heard + patience), if is_up => cut_off(&contact, patience),
            }
        };
        match answer {
            Ok(roster) => {
                heard = sent;
                next = sent + heartbeat_interval(roster.len());
                let membership = &shared.backend.membership;
                if membership.is_asked_to_drain(shared.member) && !shared.draining.is_cancelled() {
                    tracing::info!(
                        running = shared.running(),
                        "the service asks to drain; nothing new is taken"
                    );
                    // The next round of this loop says so at once.
                    shared.take_nothing_new();
                }
                // Nearly always the roster is the one of the beat before.
                members.send_if_modified(|known| {
                    let has_changed = !Arc::ptr_eq(known, &roster);
                    if has_changed {
                        shared.bypass.note(&roster, shared.member);
                        shared.formats.note(&roster);
                        *known = roster;
                    }
                    has_changed
                });
                // An answer that took too long is no contact yet: the next one is due at once.
                let is_in_time = heard.elapsed() < patience;
                let is_back = is_in_time
                    && contact
                        .send_if_modified(|contact| !std::mem::replace(&mut contact.is_up, true));
                if is_back {
                    tracing::info!("the store answers again; taking work");
                }
            }
            // The last roster stays in force.
            Err(error) => {
                next = sent + heartbeat_interval(0);
                tracing::warn!(%error, "the heartbeat failed");
                if heard.elapsed() >= patience && contact.borrow().is_up {
                    cut_off(&contact, patience);
                }
            }
        }
    }
}

fn cut_off(contact: &watch::Sender<Contact>, patience: Duration) {
    tracing::warn!(
        ?patience,
        "the store accepted no heartbeat; giving back undecided operations"
    );
    contact.send_modify(|contact| {
        contact.is_up = false;
        contact.losses = contact.losses.wrapping_add(1);
    });
}

fn describe(shared: &Shared, started_on: Timestamp) -> Member {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Member {
        id: shared.member,
        host: shared.options.host.clone(),
        running: count(shared.running()),
        started_on_ms: started_on.as_millis(),
        profile: Profile {
            queues: shared.options.queues.clone(),
            messages: shared.handlers.names(),
            concurrency: count(shared.options.concurrency),
            draining: shared.draining.is_cancelled(),
            bypassed: shared.bypass.own(),
            throttled: shared.throttles.closed_names(),
            ..Profile::new(Role::Worker)
        },
    }
}
