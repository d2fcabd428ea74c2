//! Subscriptions: the work queues of each pool, and the lanes of this worker.
//!
//! ```text
//! members ──────→ sources ─┬─→ subscription ─┐
//! lost contact ─→          ├─→ subscription ─┼─→ delivery queue
//! draining ─────→          └─→ subscription ─┘
//! ```
//!
//! Each subscription is a task. A subscription that has ended, for any reason, is
//! made again after a pause. A lane that has become another worker's is handed
//! over by closing its subscription: the broker puts the messages that were
//! delivered and not acknowledged back into the lane. A worker that has lost the
//! store closes all subscriptions.

mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use drumline_backend::broker::Delivery;
use drumline_protocol::message::{Route, Source};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::subscription::{OpenSubscriptions, SubscriptionTask};
use super::lanes::own_lanes;
use crate::heartbeat::{Contact, Members};
use crate::run::shared::Shared;
use crate::run::task_scope::TaskScope;

/// The number of unacknowledged messages per lane. A lane has few runnable
/// operations at a time, and there are many lanes.
const LANE_PREFETCH: NonZeroU16 = NonZeroU16::new(4).expect("4 is not 0");

/// The task that keeps the worker's subscriptions.
pub(crate) struct Sources {
    pub(crate) shared: Arc<Shared>,
    pub(crate) scope: TaskScope,
    pub(crate) members: Members,
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    /// True while the worker has no room: see [`super::delivery_queue`].
    pub(crate) saturated: watch::Receiver<bool>,
    pub(crate) contact: watch::Receiver<Contact>,
    /// Asks the delivery queue to forget the deliveries: see
    /// [`super::delivery_queue`].
    pub(crate) forget: mpsc::Sender<oneshot::Sender<()>>,
    pub(crate) ready: watch::Sender<bool>,
}

impl Sources {
    /// Consumes until the worker drains. Every subscription is closed then.
    pub(crate) async fn run(mut self) {
        let open = Arc::new(OpenSubscriptions::new(self.ready.clone()));
        let draining = self.shared.draining.clone();
        while !draining.is_cancelled() {
            let mut contact = self.contact.clone();
            let is_up = contact.wait_for(|contact| contact.is_up);
            // Those of the contact that was seen to be up: a loss that comes before the first
            // look at it would be taken for an old one, and the worker would consume without
            // a store for ever.
            let losses = match draining.run_until_cancelled(is_up).await {
                Some(Ok(up)) => up.losses,
                Some(Err(_ended)) => return,
                None => return,
            };
            let end = draining.child_token();
            let goes_on = self.consume(&open, losses, &end).await;
            end.cancel();
            if !goes_on {
                return;
            }
            // The old deliveries are forgotten before anything is consumed again,
            // so that no delivery of a new subscription is forgotten with them.
            let (done, forgotten) = oneshot::channel();
            if self.forget.send(done).await.is_ok() {
                drop(forgotten.await);
            }
        }
    }

    /// Consumes until the worker drains or has lost the store once more than `losses`.
    /// Returns true if the worker is to consume again when the store is back.
    async fn consume(
        &mut self,
        open: &Arc<OpenSubscriptions>,
        losses: u64,
        end: &CancellationToken,
    ) -> bool {
        for queue in &self.shared.options.queues {
            for source in [Source::Work, Source::Spare] {
                let queue = queue.clone();
                self.start(Route { queue, source }, open, end.clone());
            }
        }
        let mut contact = self.contact.clone();
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
                    self.start(route.clone(), open, end.clone());
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
        let roster = Arc::clone(&self.members.borrow_and_update());
        // No members are known yet. The share of this worker would be all lanes
        // now, and few in a moment.
        if roster.is_empty() {
            return BTreeSet::new();
        }
        let shared = &self.shared;
        let partitions = shared.backend.store.partitions();
        let queues = shared.options.queues.iter();
        queues
            .flat_map(|queue| own_lanes(shared.member, queue, &roster, partitions))
            .collect()
    }

    fn start(&self, route: Route, open: &Arc<OpenSubscriptions>, end: CancellationToken) {
        let source = SubscriptionTask {
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
            open: Arc::clone(open),
        };
        let stopping = end.clone();
        self.scope
            .spawn_lasting("subscription", &stopping, source.run(end));
    }
}

/// The number of unacknowledged messages from a work queue. Enough to keep the
/// slots busy during a round trip to the broker, even if each message has a single
/// operation. Few enough that one worker does not take a whole burst.
fn work_prefetch(concurrency: usize) -> NonZeroU16 {
    let count = (concurrency / 4).clamp(4, 64);
    u16::try_from(count)
        .ok()
        .and_then(NonZeroU16::new)
        .unwrap_or(LANE_PREFETCH)
}
