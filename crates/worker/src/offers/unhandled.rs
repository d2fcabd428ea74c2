//! Operations that this worker has no handler for.
//!
//! The messages of such operations are acknowledged at once, because messages that
//! are held back in the broker would keep the lane from every other worker. The
//! worker keeps the offers in memory instead:
//!
//! ```text
//!         ┌─ another live worker knows the name ─→ work queue, after a rest
//! offer ─→┼─ no worker knows it ────────────────→ kept
//!         └─ no worker has known it for long ───→ suspended, for a person
//! ```
//!
//! An offer in the work queue may reach this worker again first, hence the rest.
//! Offers that are lost with the worker are found by reconciliation, like all lost
//! messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Random;
use drumline_backend::apply_event::{Applied, apply_event_to_summary};
use drumline_backend::store::{self, Guard};
use drumline_protocol::OperationId;
use drumline_protocol::message::Offer;
use drumline_protocol::transition::Event;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::redistribute::to_work_queue;
use crate::heartbeat::Members;
use crate::run::shared::Shared;

/// The average time that an offer rests before it goes round again.
const REST: Duration = Duration::from_millis(500);
/// The interval at which the offers are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The most offers that are kept. Further offers are left to reconciliation.
const KEPT_MAX: usize = 10_000;
/// The most offers that one check deals with. The next check finds the rest.
const BATCH: usize = 256;

/// The offers that this worker has no handler for.
pub(crate) struct Unhandled {
    pub(crate) shared: Arc<Shared>,
    pub(crate) offers: mpsc::UnboundedReceiver<Offer>,
    pub(crate) members: Members,
    pub(crate) kept: BTreeMap<OperationId, Kept>,
}

/// One offer. An operation that is delivered several times is kept once.
pub(crate) struct Kept {
    offer: Offer,
    since: Instant,
    rests_until: Instant,
}

impl Unhandled {
    /// Works until the worker drains. All offers go to other workers then.
    pub(crate) async fn run(mut self) {
        let draining = self.shared.draining.clone();
        draining.run_until_cancelled(self.work()).await;
        self.offers.close();
        while let Some(offer) = self.offers.recv().await {
            self.keep(offer);
        }
        let all = self.kept.keys().copied().collect();
        self.republish(all).await;
    }

    async fn work(&mut self) {
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                offer = self.offers.recv() => match offer {
                    Some(offer) => self.keep(offer),
                    None => return,
                },
                _now = checks.tick(), if !self.kept.is_empty() => self.check().await,
            }
        }
    }

    fn keep(&mut self, offer: Offer) {
        if self.kept.len() >= KEPT_MAX && !self.kept.contains_key(&offer.id) {
            tracing::warn!(id = %offer.id, "too many operations without a handler");
            return;
        }
        let now = Instant::now();
        let kept = self.kept.entry(offer.id).or_insert_with(|| Kept {
            offer: offer.clone(),
            since: now,
            rests_until: now + rest(&self.shared.random),
        });
        // A claim can commit against the latest header only.
        if kept.offer.header.version < offer.header.version {
            kept.offer = offer;
            kept.since = now;
        }
    }

    async fn check(&mut self) {
        let now = Instant::now();
        let roster = Arc::clone(&self.members.borrow());
        let others: Vec<_> = roster.others(self.shared.member).collect();
        let served = |offer: &Offer| {
            let mut others = others.iter();
            others.any(|other| other.serves(&offer.queue, &offer.message_name))
        };
        let mut to_others = Vec::new();
        let mut to_people = Vec::new();
        for (id, kept) in &self.kept {
            if kept.rests_until > now {
                continue;
            }
            if served(&kept.offer) {
                to_others.push(*id);
            } else if now.duration_since(kept.since) >= self.shared.options.unhandled_after {
                to_people.push(*id);
            }
            if to_others.len() + to_people.len() >= BATCH {
                break;
            }
        }
        self.republish(to_others).await;
        if let Err(error) = self.suspend(&to_people).await {
            tracing::debug!(%error, "operations without a handler are suspended later");
        }
    }

    /// Publishes offers to the work queue. Offers that the broker does not take
    /// rest again.
    async fn republish(&mut self, ids: Vec<OperationId>) {
        let offers: Vec<_> = ids
            .iter()
            .filter_map(|id| self.kept.get(id).map(|kept| kept.offer.clone()))
            .collect();
        if offers.is_empty() {
            return;
        }
        let answers = to_work_queue(&self.shared, offers).await;
        for (id, answer) in ids.iter().zip(answers) {
            match answer {
                Ok(()) => drop(self.kept.remove(id)),
                Err(error) => {
                    tracing::debug!(%id, %error, "an offer is forwarded later");
                    if let Some(kept) = self.kept.get_mut(id) {
                        kept.rests_until = Instant::now() + rest(&self.shared.random);
                    }
                }
            }
        }
    }

    async fn suspend(&mut self, ids: &[OperationId]) -> store::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let store = &*self.shared.backend.store;
        for (id, operation) in ids.iter().zip(store.summaries(ids).await?) {
            if let Some(operation) = operation {
                let by = self.shared.signature();
                let event = Event::Unhandled;
                let decided = apply_event_to_summary(store, by, &operation, event, Guard::None);
                let decided = decided.await?;
                if let Applied::Done(..) = decided {
                    let message_name = operation.body.message_name;
                    tracing::warn!(%id, message_name, "an operation is suspended: no worker has a handler");
                }
            }
            self.kept.remove(id);
        }
        Ok(())
    }
}

/// The time that an offer rests. It has jitter, so that two workers do not swap
/// the same offers in step.
fn rest(random: &Random) -> Duration {
    REST.mul_f64(0.5 + random.f64())
}
