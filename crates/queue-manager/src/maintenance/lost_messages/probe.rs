//! One question to a pool's queues: has everything before the marker been
//! delivered?

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::Broker as _;
use drumline_backend::broker::Backlog;
use drumline_backend::store::{self, Stamp};
use drumline_protocol::OperationId;
use drumline_protocol::message::{Marker, Message, Route, Source};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::maintenance::MaintenanceOptions;
use crate::service::QueueManager;

/// The rounds that a work queue is asked at most while it is not empty. Each
/// time some of its offers are passed on to its end by workers that have no
/// free slot: with a fifth, three operations in two thousand are still there
/// after the last.
const ROUNDS: u32 = 4;
/// The time that workers have for the deliveries before a marker, if the broker
/// was lost and is back.
const SETTLED_AFTER_LOSS: Duration = Duration::from_secs(1);

/// Operations that may be lost, and when each was offered.
pub(super) type Candidates = Vec<(OperationId, Stamp)>;

/// A question to a queue, or to all queues of a pool at once.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) candidates: Candidates,
    /// The marker that is awaited now; a later one will do as well.
    marker: Marker,
    /// Markers through the other queues of the pool, if all are asked at the
    /// same time.
    others: Vec<Marker>,
    sent: Instant,
    /// The time after `sent` at which the marker is looked for.
    patience: Duration,
    returned: Option<Instant>,
    /// The number of times that the work queue was asked before this one.
    rounds: u32,
}

/// The next step of a probe.
pub(super) enum NextStep {
    /// Nothing yet.
    Wait,
    /// Send one more marker through the same queue: the marker may be lost, or
    /// far behind. The probe waits for either.
    Urge,
    /// Send a probe through this queue: the next one of the pool; or the same,
    /// if the marker is lost itself, or once more for the offers that were put to
    /// the end of a work queue.
    Ask {
        /// The queue.
        route: Route,
        /// The number of times that it was asked before.
        rounds: u32,
    },
    /// The operations that still wait are lost.
    Lost,
}

impl Probe {
    /// The probe whose markers were sent just now; `None` if the broker took none of
    /// them: a later sweep will find the candidates again. `rounds` is the number of
    /// times that the queue was asked before.
    pub(super) fn of(
        options: &MaintenanceOptions,
        sent: Vec<Marker>,
        rounds: u32,
        candidates: Candidates,
    ) -> Option<Self> {
        let mut sent = sent.into_iter();
        Some(Self {
            candidates,
            marker: sent.next()?,
            others: sent.collect(),
            sent: Instant::now(),
            patience: options.marker_patience,
            returned: None,
            rounds,
        })
    }

    /// The times that a step has changed when it is decided.
    pub(super) const fn times(&self) -> (Instant, Duration) {
        (self.sent, self.patience)
    }

    /// Sets them back: the step has failed, and is to be decided again.
    pub(super) const fn set_times(&mut self, (sent, patience): (Instant, Duration)) {
        self.sent = sent;
        self.patience = patience;
    }

    /// Sends one more marker through the same queue. If that fails, or is lost
    /// too, there will be another.
    pub(super) async fn urge(&self, manager: &QueueManager) -> store::Result<()> {
        send_marker(manager, self.marker.route.clone(), &self.candidates).await?;
        Ok(())
    }

    /// Decides the next step. `returned` has the latest marker that came back
    /// through each queue.
    pub(super) async fn next_step(
        &mut self,
        manager: &QueueManager,
        options: &MaintenanceOptions,
        returned: &HashMap<Route, u64>,
    ) -> NextStep {
        let is_back = |marker: &Marker| {
            let latest = returned.get(&marker.route);
            latest.is_some_and(|latest| *latest >= marker.stamp)
        };
        let route = &self.marker.route;
        if !self.others.is_empty() {
            let is_open =
                |marker: &Marker| !is_back(marker) && !is_bypassed(manager, &marker.route);
            if !is_open(&self.marker) && !self.others.iter().any(is_open) {
                return if self.has_settled(SETTLED_AFTER_LOSS) {
                    NextStep::Lost
                } else {
                    NextStep::Wait
                };
            }
            if self.sent.elapsed() < self.patience {
                return NextStep::Wait;
            }
            // A long backlog, or a lost marker: one after the other, as always.
            return self.ask(route.clone());
        }
        if is_back(&self.marker) {
            if !self.has_settled(options.reconcile_settle) {
                return NextStep::Wait;
            }
            let route = &self.marker.route;
            let is_work = route.source == Source::Work;
            if is_work && self.rounds + 1 < ROUNDS && !is_empty(manager, route).await {
                return self.ask(route.clone());
            }
            return self.ask_next(manager).await;
        }
        if is_bypassed(manager, route) {
            return self.ask_next(manager).await;
        }
        if self.sent.elapsed() < self.patience {
            return NextStep::Wait;
        }
        self.sent = Instant::now();
        let route = &self.marker.route;
        match manager.backend().broker.backlog(route).await {
            Ok(None | Some(Backlog { messages: 0, .. })) => NextStep::Ask {
                route: route.clone(),
                rounds: self.rounds,
            },
            // Without a consumer, another marker would not come back either.
            Ok(Some(Backlog { consumers: 0, .. })) | Err(_) => NextStep::Wait,
            Ok(Some(Backlog { .. })) => {
                self.patience = self.patience.saturating_mul(2);
                NextStep::Urge
            }
        }
    }

    /// Returns true if the marker was seen to be back for so long: the
    /// deliveries before it may be in workers' hands until then.
    fn has_settled(&mut self, time: Duration) -> bool {
        let since = self.returned.get_or_insert_with(Instant::now);
        since.elapsed() >= time
    }

    /// Asks the queue behind the one that was asked, if there is one. It holds
    /// the offers that this queue does not take, or that busy workers have
    /// passed on.
    async fn ask_next(&self, manager: &QueueManager) -> NextStep {
        let asked = &self.marker.route;
        let of_pool = |source| Route {
            queue: asked.queue.clone(),
            source,
        };
        let (work, spare) = (of_pool(Source::Work), of_pool(Source::Spare));
        match asked.source {
            Source::Lane(_) if !is_bypassed(manager, &work) => self.ask(work),
            // Nearly always the spare queue is empty, and need not be asked.
            Source::Lane(_) | Source::Work
                if !is_bypassed(manager, &spare) && !is_empty(manager, &spare).await =>
            {
                self.ask(spare)
            }
            Source::Lane(_) | Source::Work | Source::Spare => NextStep::Lost,
        }
    }

    fn ask(&self, route: Route) -> NextStep {
        let is_again = self.marker.route == route;
        let rounds = if is_again { self.rounds + 1 } else { 0 };
        NextStep::Ask { route, rounds }
    }
}

/// Returns true if offers go round a queue, because it does not work.
pub(super) fn is_bypassed(manager: &QueueManager, route: &Route) -> bool {
    manager.bypass().trouble(route).is_some()
}

/// Returns true if a queue holds nothing, and false if the broker does not answer.
async fn is_empty(manager: &QueueManager, route: &Route) -> bool {
    let backlog = manager.backend().broker.backlog(route).await;
    matches!(backlog, Ok(None | Some(Backlog { messages: 0, .. })))
}

/// Sends markers through all queues that offers of a route may be in, at the same time.
pub(super) async fn send_to_all(
    manager: &QueueManager,
    route: &Route,
    candidates: &Candidates,
) -> store::Result<Vec<Marker>> {
    let mut ways = route.ways();
    ways.retain(|way| !is_bypassed(manager, way));
    if let Some(last) = ways.pop_if(|way| way.source == Source::Spare)
        && !is_empty(manager, &last).await
    {
        ways.push(last);
    }
    let markers = ways
        .into_iter()
        .map(|way| send_marker(manager, way, candidates));
    let mut sent = Vec::new();
    for marker in join_all(markers).await {
        sent.extend(marker?);
    }
    Ok(sent)
}

/// Sends a marker through a queue, behind these operations. Returns `None` if
/// the broker did not take it, or if there are no operations.
pub(super) async fn send_marker(
    manager: &QueueManager,
    route: Route,
    candidates: &Candidates,
) -> store::Result<Option<Marker>> {
    let Some((first, _)) = candidates.first() else {
        return Ok(None);
    };
    let stamp = manager.store().stamp(first.partition()).await?;
    let marker = Marker {
        route: route.clone(),
        stamp: stamp.0,
    };
    let message = Message::Marker(marker.clone());
    let answers = manager.backend().broker.publish(&[(route, message)]).await;
    if !answers.iter().all(Result::is_ok) {
        return Ok(None);
    }
    manager.metrics().markers.inc();
    Ok(Some(marker))
}
