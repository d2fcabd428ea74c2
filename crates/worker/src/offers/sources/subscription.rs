//! One subscription: made, consumed, and made again when it ends.
//!
//! ```text
//! subscribe ─→ consume ─┬─ broken, or refused ─→ a pause ─→ subscribe
//!                       ├─ no room in the worker ─→ closed until there is room
//!                       └─ another worker's lane, or draining ─→ closed
//! ```

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drumline_backend::broker::{Delivery, Subscription};
use drumline_protocol::message::Route;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::run::shared::Shared;

/// The age from which on a subscription was a healthy one.
const HEALTHY: Duration = Duration::from_secs(10);

/// The number of open subscriptions. The worker is ready while it is not 0.
pub(super) struct OpenSubscriptions {
    count: AtomicUsize,
    ready: watch::Sender<bool>,
}

impl OpenSubscriptions {
    pub(super) const fn new(ready: watch::Sender<bool>) -> Self {
        Self {
            count: AtomicUsize::new(0),
            ready,
        }
    }

    fn add(self: &Arc<Self>) -> OpenSubscription {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.publish();
        OpenSubscription(Arc::clone(self))
    }

    fn publish(&self) {
        self.ready.send_if_modified(|ready| {
            let now = self.count.load(Ordering::Acquire) > 0;
            std::mem::replace(ready, now) != now
        });
    }
}

/// One open subscription, counted until it is dropped.
struct OpenSubscription(Arc<OpenSubscriptions>);

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.publish();
    }
}

/// The task of one subscription.
pub(super) struct SubscriptionTask {
    pub(super) shared: Arc<Shared>,
    pub(super) route: Route,
    pub(super) prefetch: NonZeroU16,
    /// Set for subscriptions that pause when the worker has no room.
    pub(super) saturated: Option<watch::Receiver<bool>>,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) open: Arc<OpenSubscriptions>,
}

/// The reason that consuming has ended.
#[derive(PartialEq, Eq)]
enum EndReason {
    /// The broker has ended the subscription.
    Broken,
    /// The worker has no room.
    Saturated,
    /// The lane is another worker's now, or this worker drains.
    Over,
}

impl SubscriptionTask {
    /// Consumes until `end`.
    pub(super) async fn run(mut self, end: CancellationToken) {
        let mut backoff = backoff::for_subscription(&self.shared.random);
        while !end.is_cancelled() {
            let broker = &self.shared.backend.broker;
            let subscribed = end
                .run_until_cancelled(broker.subscribe(&self.route, self.prefetch))
                .await;
            match subscribed {
                None => return,
                Some(Ok(subscription)) => {
                    let since = Instant::now();
                    let counted = self.open.add();
                    let why = self.consume(subscription, &end).await;
                    match why {
                        EndReason::Over => return,
                        // A pause on purpose says nothing about the health of the
                        // subscription.
                        EndReason::Saturated => self.wait_for_room(&end).await,
                        EndReason::Broken => {
                            tracing::debug!(route = ?self.route, "a subscription has ended");
                        }
                    }
                    drop(counted);
                    if why == EndReason::Saturated {
                        continue;
                    }
                    if since.elapsed() > HEALTHY {
                        backoff.reset();
                    }
                }
                Some(Err(error)) => {
                    // The log has a by-passed queue already.
                    if error.is_of_queue() {
                        tracing::debug!(route = %self.route, %error, "cannot subscribe; trying again");
                    } else {
                        tracing::warn!(route = %self.route, %error, "cannot subscribe; trying again");
                    }
                }
            }
            end.run_until_cancelled(backoff.sleep()).await;
        }
    }

    async fn consume(
        &mut self,
        mut subscription: Box<dyn Subscription>,
        end: &CancellationToken,
    ) -> EndReason {
        let why = loop {
            let delivery = tokio::select! {
                biased;
                () = end.cancelled() => break EndReason::Over,
                () = becomes(self.saturated.as_mut(), true) => break EndReason::Saturated,
                delivery = subscription.next() => delivery,
            };
            let Some(delivery) = delivery else {
                return EndReason::Broken;
            };
            tokio::select! {
                biased;
                () = end.cancelled() => break EndReason::Over,
                sent = self.deliveries.send(delivery) => if sent.is_err() { break EndReason::Over },
            }
        };
        subscription.close().await;
        why
    }

    async fn wait_for_room(&mut self, end: &CancellationToken) {
        let room = becomes(self.saturated.as_mut(), false);
        end.run_until_cancelled(room).await;
    }
}

/// Waits until the flag has this value. Without a flag, waits for ever.
/// Cancel-safe.
async fn becomes(flag: Option<&mut watch::Receiver<bool>>, value: bool) {
    if let Some(flag) = flag
        && flag.wait_for(|now| *now == value).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
