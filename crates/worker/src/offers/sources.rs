//! Subscriptions: the work queues of each pool, and the lanes that are ours.
//!
//! One task per subscription. A subscription that has ended, for whatever
//! reason, is made again after a pause. A lane that has become another worker's
//! is handed over by closing the subscription: the messages that were delivered
//! and not acknowledged go back to the lane. A worker that cannot decide closes
//! all subscriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drumline_backend::broker::{Delivery, Subscription};
use drumline_protocol::message::{Route, Source};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lanes::own_lanes;
use crate::backoff;
use crate::heartbeat::{Contact, Members};
use crate::run::shared::Shared;
use crate::run::task_scope::TaskScope;

/// Messages in hand per lane. A lane has few runnable operations at a time,
/// and there are many lanes.
const LANE_PREFETCH: NonZeroU16 = NonZeroU16::new(4).expect("4 is not 0");
/// A subscription that has stood so long was a healthy one.
const HEALTHY: Duration = Duration::from_secs(10);

/// The task that keeps the worker's subscriptions.
pub(crate) struct Sources {
    pub(crate) shared: Arc<Shared>,
    pub(crate) scope: TaskScope,
    pub(crate) members: Members,
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    /// The worker has no room: see [`crate::offers::delivery_queue`].
    pub(crate) saturated: watch::Receiver<bool>,
    pub(crate) contact: watch::Receiver<Contact>,
    /// Has the delivery queue forget the deliveries: see
    /// [`crate::offers::delivery_queue`].
    pub(crate) forget: mpsc::Sender<oneshot::Sender<()>>,
    pub(crate) ready: watch::Sender<bool>,
}

impl Sources {
    /// Consumes until the worker is drained; then every subscription is closed.
    pub(crate) async fn run(mut self) {
        let standing = Arc::new(Standing {
            count: AtomicUsize::new(0),
            ready: self.ready.clone(),
        });
        let draining = self.shared.draining.clone();
        while !draining.is_cancelled() {
            let mut contact = self.contact.clone();
            let is_up = contact.wait_for(|contact| contact.is_up);
            if !matches!(draining.run_until_cancelled(is_up).await, Some(Ok(_))) {
                return;
            }
            let end = draining.child_token();
            let goes_on = self.consume(&standing, &end).await;
            end.cancel();
            if !goes_on {
                return;
            }
            // Before anything is consumed again: deliveries of a subscription
            // that stands must not be forgotten with deliveries that went back.
            let (done, forgotten) = oneshot::channel();
            if self.forget.send(done).await.is_ok() {
                drop(forgotten.await);
            }
        }
    }

    /// Consumes until the worker drains or has lost the store. Returns true if it
    /// is to go on when the store is back.
    async fn consume(&mut self, standing: &Arc<Standing>, end: &CancellationToken) -> bool {
        for queue in &self.shared.options.queues {
            for source in [Source::Work, Source::Spare] {
                let queue = queue.clone();
                self.start(Route { queue, source }, standing, end.clone());
            }
        }
        let mut contact = self.contact.clone();
        let losses = contact.borrow().losses;
        let mut lanes: BTreeMap<Route, CancellationToken> = BTreeMap::new();
        loop {
            let ours = self.own_lanes();
            lanes.retain(|route, end| {
                let keep = ours.contains(route);
                if !keep {
                    end.cancel();
                }
                keep
            });
            for route in ours {
                lanes.entry(route).or_insert_with_key(|route| {
                    let end = end.child_token();
                    self.start(route.clone(), standing, end.clone());
                    end
                });
            }
            tokio::select! {
                changed = self.members.changed() => if changed.is_err() { return false },
                lost = contact.wait_for(|contact| contact.losses != losses) => {
                    return lost.is_ok();
                }
                () = end.cancelled() => return false,
            }
        }
    }

    fn own_lanes(&mut self) -> BTreeSet<Route> {
        let members = Arc::clone(&self.members.borrow_and_update());
        // No members are known yet: our share would be all lanes now, and few
        // in a moment.
        if members.is_empty() {
            return BTreeSet::new();
        }
        let shared = &self.shared;
        let partitions = shared.backend.store.partitions();
        let queues = shared.options.queues.iter();
        queues
            .flat_map(|queue| own_lanes(shared.member, queue, &members, partitions))
            .collect()
    }

    fn start(&self, route: Route, standing: &Arc<Standing>, end: CancellationToken) {
        let source = One {
            shared: Arc::clone(&self.shared),
            prefetch: match route.source {
                Source::Lane(_) => LANE_PREFETCH,
                Source::Work | Source::Spare => work_prefetch(self.shared.options.concurrency),
            },
            saturated: match route.source {
                Source::Lane(_) => None,
                Source::Work | Source::Spare => Some(self.saturated.clone()),
            },
            route,
            deliveries: self.deliveries.clone(),
            standing: Arc::clone(standing),
        };
        self.scope.spawn(source.run(end));
    }
}

/// Messages in hand from a work queue: enough to keep the slots busy during a
/// round trip to the broker even when each carries a single operation, and few
/// enough that one worker does not take a burst from the others.
fn work_prefetch(concurrency: usize) -> NonZeroU16 {
    let count = (concurrency / 4).clamp(4, 64);
    u16::try_from(count)
        .ok()
        .and_then(NonZeroU16::new)
        .unwrap_or(LANE_PREFETCH)
}

/// The number of subscriptions that stand; the worker is ready while one does.
struct Standing {
    count: AtomicUsize,
    ready: watch::Sender<bool>,
}

impl Standing {
    fn stand(self: &Arc<Self>) -> Stand {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.publish();
        Stand(Arc::clone(self))
    }

    fn publish(&self) {
        self.ready.send_if_modified(|ready| {
            let now = self.count.load(Ordering::Acquire) > 0;
            std::mem::replace(ready, now) != now
        });
    }
}

struct Stand(Arc<Standing>);

impl Drop for Stand {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.publish();
    }
}

/// One subscription.
struct One {
    shared: Arc<Shared>,
    route: Route,
    prefetch: NonZeroU16,
    /// Only for subscriptions that pause when the worker has no room.
    saturated: Option<watch::Receiver<bool>>,
    deliveries: mpsc::Sender<Delivery>,
    standing: Arc<Standing>,
}

/// The reason that consuming has ended.
#[derive(PartialEq, Eq)]
enum End {
    /// The broker has ended it.
    Broken,
    /// The worker has no room.
    Saturated,
    /// It is not ours any more, or the worker drains.
    Over,
}

impl One {
    async fn run(mut self, end: CancellationToken) {
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
                    let stand = self.standing.stand();
                    let why = self.consume(subscription, &end).await;
                    match why {
                        End::Over => return,
                        // Pausing on purpose does not make the subscription
                        // unhealthy.
                        End::Saturated => self.wait_for_room(&end).await,
                        End::Broken => {
                            tracing::debug!(route = ?self.route, "a subscription has ended");
                        }
                    }
                    drop(stand);
                    if why == End::Saturated {
                        continue;
                    }
                    if since.elapsed() > HEALTHY {
                        backoff.reset();
                    }
                }
                Some(Err(error)) => {
                    // A queue that is by-passed is in the log already.
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
    ) -> End {
        let why = loop {
            let delivery = tokio::select! {
                biased;
                () = end.cancelled() => break End::Over,
                () = becomes(self.saturated.as_mut(), true) => break End::Saturated,
                delivery = subscription.next() => delivery,
            };
            let Some(delivery) = delivery else {
                return End::Broken;
            };
            tokio::select! {
                biased;
                () = end.cancelled() => break End::Over,
                sent = self.deliveries.send(delivery) => if sent.is_err() { break End::Over },
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

/// Waits until the flag has this value; for ever without a flag. Cancel-safe.
async fn becomes(flag: Option<&mut watch::Receiver<bool>>, value: bool) {
    if let Some(flag) = flag
        && flag.wait_for(|now| *now == value).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
