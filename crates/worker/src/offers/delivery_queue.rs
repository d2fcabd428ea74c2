//! From deliveries to slots.
//!
//! ```text
//! subscriptions ─→ deliveries ─→ pending ─ a slot is free ──→ slot: claim, run
//!                                  │  └──── none for a while ─→ redistribute
//!                                  └─ no handler ─→ unhandled
//! ```
//!
//! A worker must not keep offers that it has no room for, because no other worker
//! can have a message that is held. When no slot has come free for a while, the
//! offers in hand go to the work queue of their pool, which every worker consumes.
//! This is safe even for heads of chains, because the claim keeps the order. Until
//! a slot is free again, the worker takes nothing from the work queue, and passes
//! the offers of its lanes on at once. Offers that the broker does not take stay
//! here and wait for a slot.
//!
//! A worker that has lost the store has no offers. Their deliveries go back to the
//! broker with its subscriptions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::broker::{Delivery, Receipt, UNDECIDED_MAX};
use drumline_protocol::message::{Marker, Message, Offer};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::delivery_ack::{Pending, Receipts, acknowledge};
use super::redistribute::redistribute;
use super::slot::occupy;
use crate::backoff;
use crate::run::shared::Shared;
use crate::run::task_scope::TaskScope;

/// The time without a free slot after which offers go to other workers. A shorter
/// time would shuffle messages around whenever the worker gets busy. A longer time
/// would be long even against real work.
const SATURATED_AFTER: Duration = Duration::from_secs(1);
/// The longest time that an offer is kept, even if slots do come free now and
/// then. Half a second less than is promised, for the next check, and for the
/// broker to take the offers that are passed on.
const HELD_MAX: Duration = UNDECIDED_MAX.saturating_sub(Duration::from_millis(500));
/// The pause before offers that the broker did not take are passed on again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The interval at which the ages of waiting offers are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The task that takes deliveries to free slots, or passes them on.
pub(crate) struct DeliveryQueue {
    pub(crate) shared: Arc<Shared>,
    pub(crate) scope: TaskScope,
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    /// Offers that could not be passed on.
    pub(crate) return_offers: mpsc::UnboundedSender<Pending>,
    pub(crate) returned: mpsc::UnboundedReceiver<Pending>,
    /// Requests to forget all deliveries. Each is answered when that is done.
    pub(crate) forget: mpsc::Receiver<oneshot::Sender<()>>,
    pub(crate) receipts: Receipts,
    pub(crate) unhandled: mpsc::UnboundedSender<Offer>,
    pub(crate) saturated: watch::Sender<bool>,
    pub(crate) pending: VecDeque<Pending>,
    /// The last time that a slot was free.
    pub(crate) last_slot: Instant,
    /// The time before which nothing is passed on, because the broker has just
    /// refused an offer.
    pub(crate) pass_on_after: Instant,
    /// Cancelled when the deliveries of until then are forgotten.
    pub(crate) has_deliveries: CancellationToken,
}

impl DeliveryQueue {
    /// Works until the worker is drained. The offers that are pending then are
    /// delivered to other workers once the subscriptions are closed.
    pub(crate) async fn run(mut self) {
        let draining = self.shared.draining.clone();
        draining.run_until_cancelled(self.work()).await;
        // Markers that cannot be noted go back with the subscriptions.
        self.has_deliveries.cancel();
    }

    async fn work(&mut self) {
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.fill_slots();
            self.shared
                .waiting
                .store(self.pending.len(), Ordering::Relaxed);
            let is_saturated = *self.saturated.borrow();
            let wants_slot = is_saturated || !self.pending.is_empty();
            let slots = Arc::clone(&self.shared.slots);
            tokio::select! {
                delivery = self.deliveries.recv() => match delivery {
                    Some(delivery) => self.accept(delivery),
                    None => return,
                },
                slot = slots.acquire_owned(), if wants_slot => match slot {
                    Ok(slot) => self.slot_came_free(slot),
                    Err(_closed) => return,
                },
                Some(pending) = self.returned.recv() => {
                    self.pass_on_after = Instant::now() + TRY_AGAIN;
                    // The oldest offers are in front.
                    self.pending.push_front(pending);
                }
                Some(done) = self.forget.recv() => {
                    self.give_back();
                    if done.send(()).is_err() {
                        tracing::debug!("the subscriptions have ended meanwhile");
                    }
                }
                _now = checks.tick(), if !self.pending.is_empty() => self.check(),
            }
        }
    }

    fn accept(&mut self, delivery: Delivery) {
        match delivery.message {
            Message::Offers(offers) if offers.is_empty() => {
                acknowledge(&self.receipts, delivery.receipt);
            }
            Message::Offers(offers) => {
                for pending in Pending::of(offers, delivery.receipt, &self.receipts) {
                    let name = &pending.offer.message_name;
                    if self.shared.handlers.find(name).is_some() {
                        self.pending.push_back(pending);
                    } else {
                        drop(self.unhandled.send(pending.decided()));
                    }
                }
                self.fill_slots();
                if *self.saturated.borrow() {
                    self.pass_on(self.pending.len());
                }
            }
            Message::Marker(marker) => self.return_marker(marker, delivery.receipt),
        }
    }

    /// Forgets all deliveries. The broker gives them to other workers when the
    /// subscriptions are closed.
    fn give_back(&mut self) {
        self.pending.clear();
        // Nor are its markers noted later: what was before them comes again.
        std::mem::take(&mut self.has_deliveries).cancel();
        while self.deliveries.try_recv().is_ok() {}
    }

    /// Starts as many pending offers as there are free slots.
    fn fill_slots(&mut self) {
        while !self.pending.is_empty() {
            match Arc::clone(&self.shared.slots).try_acquire_owned() {
                Ok(slot) => self.slot_came_free(slot),
                Err(_none_or_closed) => return,
            }
        }
    }

    fn slot_came_free(&mut self, slot: OwnedSemaphorePermit) {
        self.last_slot = Instant::now();
        self.saturated.send_if_modified(|saturated| {
            let before = std::mem::replace(saturated, false);
            before != *saturated
        });
        if let Some(pending) = self.pending.pop_front() {
            let shared = Arc::clone(&self.shared);
            self.shared
                .runs
                .spawn("operation", occupy(shared, pending, slot));
        }
    }

    /// Passes on the offers that have waited too long.
    fn check(&mut self) {
        let waited = |pending: &Pending| pending.since.elapsed();
        let longest = self.pending.front().map(waited).unwrap_or_default();
        if longest >= SATURATED_AFTER && self.last_slot.elapsed() >= SATURATED_AFTER {
            tracing::debug!(
                pending = self.pending.len(),
                "no slot is free; deliveries are forwarded"
            );
            self.saturated.send_replace(true);
            self.pass_on(self.pending.len());
            return;
        }
        // The oldest offers are in front.
        let overdue = self
            .pending
            .iter()
            .take_while(|pending| waited(pending) >= HELD_MAX);
        let overdue = overdue.count();
        self.pass_on(overdue);
    }

    fn pass_on(&mut self, count: usize) {
        if count > 0 && Instant::now() >= self.pass_on_after {
            let pending: Vec<_> = self.pending.drain(..count).collect();
            let shared = Arc::clone(&self.shared);
            let returned = self.return_offers.clone();
            self.scope
                .spawn("redistribution", redistribute(shared, pending, returned));
        }
    }

    fn return_marker(&self, marker: Marker, receipt: Box<dyn Receipt>) {
        let shared = Arc::clone(&self.shared);
        let receipts = self.receipts.clone();
        let has_it = self.has_deliveries.clone();
        self.scope.spawn("markers", async move {
            // Until it is noted it is not acknowledged: a worker without a store would swallow
            // one marker after the other, and with its subscriptions they go back.
            let mut backoff = backoff::for_store(&shared.random);
            let noting = async {
                while let Err(error) = shared.backend.store.marker_returned(&marker).await {
                    tracing::debug!(%error, "a marker is noted later");
                    backoff.sleep().await;
                }
            };
            if has_it.run_until_cancelled(noting).await.is_some() {
                acknowledge(&receipts, receipt);
            }
        });
    }
}
