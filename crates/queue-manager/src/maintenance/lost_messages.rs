//! Reconcile: operations that the broker has lost are offered again.
//!
//! A broker that lost its data looks healthy, and an operation whose message is
//! gone looks like one that waits its turn. Its age proves nothing: a long
//! healthy backlog is old too, and must not be published once more. So the
//! manager asks the queue itself:
//!
//! ```text
//! sweep ─ operations that wait for long ─ by route ─ marker through the route
//!          … the marker comes back: what was before it has been delivered …
//!          … a moment for the workers that hold it …
//! (a lane: the same through the work queue, where busy workers put lane work)
//! (a work queue that is not empty then: the same once more)
//! (a spare queue that is not empty: the same through it)
//!          … and what still waits, as it was: lost. Offer it again.
//! ```
//!
//! After a loss of the broker's connection all earlier offers are doubted at
//! once, whatever their age. All queues of a pool are asked at the same time,
//! and the wait afterwards is short: everything that was in workers' hands went
//! back with their connections. A healthy backlog is still distinguished from a
//! loss, for its markers come back after it.
//!
//! A queue that is by-passed is not asked: no marker would come back.
//! [`super::redirect`] has repeated the offers made before the by-pass. Later
//! offers have gone through the next queue, which is asked instead.
//!
//! A marker is sent after its candidates were seen in the broker's hands. So
//! none of them can be behind it, but for those that a busy worker has put
//! there since; hence the further rounds through a work queue that is not
//! empty. A queue without a consumer gives no marker back, and nothing is done:
//! there is no worker to deliver to. A queue that *is* consumed and gives no
//! marker back for long may have lost the marker itself, and gets another; each
//! time the wait doubles. A wrong conclusion costs a duplicate, which the claim
//! drops; and an operation that was offered again gets twice the time before
//! the next.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use drumline_backend::Broker as _;
use drumline_backend::broker::Backlog;
use drumline_backend::store::{self, Promoted, Stamp};
use drumline_protocol::message::{Marker, Message, Offer, Route, Source};
use drumline_protocol::{OperationId, Partition};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::MaintenanceOptions;
use super::task::{Look, Task, for_each};
use crate::service::QueueManager;

/// Looks at markers between two sweeps.
const LOOKS_PER_SWEEP: u32 = 5;
/// The rounds that a work queue is asked at most while it is not empty. Each
/// time some of its offers are passed on to its end by workers that have no
/// free slot: with a fifth, three operations in two thousand are still there
/// after the last.
const ROUNDS: u32 = 4;
/// The time that workers have for the deliveries before a marker, if the broker
/// was lost and is back.
const SETTLED_AFTER_LOSS: Duration = Duration::from_secs(1);
/// The number of operations whose histories are remembered. Forgetting one
/// costs a duplicate.
const REMEMBERED: usize = 100_000;

/// The task that offers operations again that the broker has lost.
#[derive(Debug, Default)]
pub(super) struct LostMessages {
    /// The time of the last sweep.
    swept: Option<Instant>,
    /// The broker's connection when it was last looked at.
    connection: Option<u64>,
    /// The place where the sweep of a partition goes on; missing: at the
    /// beginning.
    cursors: HashMap<Partition, OperationId>,
    /// The probes that are under way, by the route that was published to.
    probes: HashMap<Route, Probe>,
    /// The number of times that each operation was offered again from here.
    again: HashMap<OperationId, u32>,
}

/// A question to a route.
#[derive(Debug)]
struct Probe {
    candidates: Vec<(OperationId, Stamp)>,
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
enum Verdict {
    /// Nothing yet.
    Wait,
    /// Ask again: the marker is lost itself.
    Resend,
    /// Ask a second time: the marker may be lost, or far behind.
    Urge,
    /// This queue is done, or is by-passed; now another one, or the work queue
    /// once more for the offers that were put to its end.
    Ask(Route),
    /// The operations that still wait are lost.
    Lost,
}

impl Task for LostMessages {
    const NAME: &'static str = "reconcile";

    fn rest(maintenance: &MaintenanceOptions) -> Duration {
        maintenance.reconcile / LOOKS_PER_SWEEP
    }

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        if manager.backend().broker.check().is_err() {
            return Ok(Look::Clear);
        }
        self.follow_up(manager).await?;
        let now = manager.backend().broker.connection_number();
        let was_lost = self.connection.replace(now).is_some_and(|then| then != now);
        let rest = manager.options().maintenance.reconcile;
        if was_lost || self.swept.is_none_or(|swept| swept.elapsed() >= rest) {
            self.swept = Some(Instant::now());
            self.sweep(manager, share, was_lost).await?;
        }
        Ok(Look::Clear)
    }
}

impl LostMessages {
    /// Finds the markers that have come back, and acts on them.
    async fn follow_up(&mut self, manager: &QueueManager) -> store::Result<()> {
        if self.probes.is_empty() {
            return Ok(());
        }
        let returned: HashMap<Route, u64> = manager
            .store()
            .markers()
            .await?
            .into_iter()
            .map(|marker| (marker.route, marker.stamp))
            .collect();
        let routes: Vec<Route> = self.probes.keys().cloned().collect();
        for route in routes {
            let Some(mut probe) = self.probes.remove(&route) else {
                continue;
            };
            let (ask, rounds) = match judge(manager, &mut probe, &returned).await {
                Verdict::Wait => {
                    self.probes.insert(route, probe);
                    continue;
                }
                Verdict::Urge => {
                    // If it fails, or is lost too, there will be another.
                    send_marker(manager, &probe.marker.route, &probe.candidates).await?;
                    self.probes.insert(route, probe);
                    continue;
                }
                Verdict::Lost => {
                    self.offer_again(manager, &probe.candidates).await?;
                    continue;
                }
                Verdict::Resend => (probe.marker.route.clone(), probe.rounds),
                Verdict::Ask(next) => {
                    let is_again = probe.marker.route == next;
                    (next, if is_again { probe.rounds + 1 } else { 0 })
                }
            };
            if let Some(sent) = send(manager, ask, probe.candidates).await? {
                self.probes.insert(route, Probe { rounds, ..sent });
            }
        }
        Ok(())
    }

    /// Looks at one page of each partition for operations that have waited too
    /// long in the broker; for all of them if the broker was lost.
    async fn sweep(
        &mut self,
        manager: &QueueManager,
        share: &[Partition],
        was_lost: bool,
    ) -> store::Result<()> {
        if was_lost {
            // The markers may be lost with the rest, and everything is asked
            // again.
            self.probes.clear();
            self.cursors.clear();
        }
        let batch = manager.options().maintenance.batch;
        let cursors = &self.cursors;
        let pages = for_each(share, |partition| async move {
            let after = cursors.get(&partition).copied();
            let (offered, next) = manager.store().offered(partition, after, batch).await?;
            Ok((partition, offered, next))
        })
        .await?;
        self.cursors.clear();
        let mut suspects = Vec::new();
        for (partition, offered, next) in pages {
            self.cursors.extend(next.map(|next| (partition, next)));
            suspects.extend(
                offered
                    .into_iter()
                    .filter(|(id, stamp)| was_lost || self.is_old(manager, *id, *stamp)),
            );
        }
        let by_route = self.by_route(manager, suspects).await?;
        let asked = by_route.into_iter().filter_map(|(route, candidates)| {
            // A pool whose queues are all by-passed cannot be asked.
            let mut ways = route.ways().into_iter();
            let first = ways.find(|way| !is_bypassed(manager, way))?;
            Some((route, first, candidates))
        });
        let markers = asked.map(|(route, first, candidates)| async move {
            let sent = if was_lost {
                send_to_all(manager, &route, candidates).await
            } else {
                send(manager, first, candidates).await
            };
            (route, sent)
        });
        for (route, sent) in join_all(markers).await {
            self.probes.extend(sent?.map(|probe| (route, probe)));
        }
        Ok(())
    }

    /// Returns true if an operation has waited for longer than usual. Each time
    /// that it was offered again doubles its usual time.
    fn is_old(&self, manager: &QueueManager, id: OperationId, stamp: Stamp) -> bool {
        let grace = manager.options().maintenance.reconcile_grace;
        let times = self.again.get(&id).copied().unwrap_or(0).min(16);
        let usual = grace.saturating_mul(2_u32.saturating_pow(times));
        let now_us = u64::try_from(manager.store().now().as_millis())
            .unwrap_or(0)
            .saturating_mul(1000);
        u128::from(now_us.saturating_sub(stamp.0)) >= usual.as_micros()
    }

    /// The candidates of routes that are not being asked already.
    async fn by_route(
        &self,
        manager: &QueueManager,
        suspects: Vec<(OperationId, Stamp)>,
    ) -> store::Result<HashMap<Route, Vec<(OperationId, Stamp)>>> {
        let asked: HashSet<OperationId> = self
            .probes
            .values()
            .flat_map(|probe| probe.candidates.iter().map(|(id, _)| *id))
            .collect();
        let suspects: Vec<_> = suspects
            .into_iter()
            .filter(|(id, _)| !asked.contains(id))
            .collect();
        let mut by_route: HashMap<Route, Vec<_>> = HashMap::new();
        for some in suspects.chunks(manager.options().maintenance.batch) {
            let ids: Vec<OperationId> = some.iter().map(|(id, _)| *id).collect();
            let operations = manager.readable(&ids).await?;
            for (suspect, operation) in some.iter().zip(operations) {
                let Some(operation) = operation else {
                    continue;
                };
                let route = Offer::of(&operation).route();
                if !self.probes.contains_key(&route) {
                    by_route.entry(route).or_default().push(*suspect);
                }
            }
        }
        Ok(by_route)
    }

    async fn offer_again(
        &mut self,
        manager: &QueueManager,
        candidates: &[(OperationId, Stamp)],
    ) -> store::Result<()> {
        if self.again.len() > REMEMBERED {
            self.again.clear();
        }
        let mut lost = 0;
        for some in candidates.chunks(manager.options().maintenance.batch) {
            let offers = some
                .iter()
                .map(|(id, stamp)| manager.store().reoffer(*id, *stamp, Duration::ZERO));
            let mut stamps = HashMap::new();
            for ((id, _), offered) in some.iter().zip(join_all(offers).await) {
                if let Some(stamp) = offered? {
                    *self.again.entry(*id).or_default() += 1;
                    stamps.insert(*id, stamp);
                    lost += 1;
                }
            }
            // Now and not when the relay gets to it: they have waited for long.
            let ids: Vec<OperationId> = stamps.keys().copied().collect();
            for operation in manager.readable(&ids).await?.into_iter().flatten() {
                if let Some(stamp) = stamps.get(&operation.id).copied() {
                    manager.dispatcher().enqueue(&Promoted { operation, stamp });
                }
            }
        }
        if lost > 0 {
            manager.metrics().reoffered.inc_by(lost);
            tracing::warn!(
                count = lost,
                "the broker lost messages; their operations are offered again"
            );
        }
        Ok(())
    }
}

/// Decides the next step of a probe.
async fn judge(
    manager: &QueueManager,
    probe: &mut Probe,
    returned: &HashMap<Route, u64>,
) -> Verdict {
    let maintenance = &manager.options().maintenance;
    let is_back = |marker: &Marker| {
        let latest = returned.get(&marker.route);
        latest.is_some_and(|latest| *latest >= marker.stamp)
    };
    if !probe.others.is_empty() {
        let all = std::iter::once(&probe.marker).chain(&probe.others);
        let is_open = |marker: &&Marker| !is_back(marker) && !is_bypassed(manager, &marker.route);
        if all.clone().any(|marker| is_open(&marker)) {
            if probe.sent.elapsed() < probe.patience {
                return Verdict::Wait;
            }
            // A long backlog, or a lost marker: one after the other, as always.
            return Verdict::Ask(probe.marker.route.clone());
        }
        let since = probe.returned.get_or_insert_with(Instant::now);
        return if since.elapsed() < SETTLED_AFTER_LOSS {
            Verdict::Wait
        } else {
            Verdict::Lost
        };
    }
    if is_back(&probe.marker) {
        let since = probe.returned.get_or_insert_with(Instant::now);
        if since.elapsed() < maintenance.reconcile_settle {
            return Verdict::Wait;
        }
        let is_work = probe.marker.route.source == Source::Work;
        if is_work && probe.rounds + 1 < ROUNDS && !is_empty(manager, &probe.marker.route).await {
            return Verdict::Ask(probe.marker.route.clone());
        }
        return next_queue(manager, &probe.marker.route).await;
    }
    if is_bypassed(manager, &probe.marker.route) {
        return next_queue(manager, &probe.marker.route).await;
    }
    if probe.sent.elapsed() < probe.patience {
        return Verdict::Wait;
    }
    probe.sent = Instant::now();
    match manager.backend().broker.backlog(&probe.marker.route).await {
        Ok(None | Some(Backlog { messages: 0, .. })) => Verdict::Resend,
        // Without a consumer, another marker would not come back either.
        Ok(Some(Backlog { consumers: 0, .. })) | Err(_) => Verdict::Wait,
        Ok(Some(Backlog { .. })) => {
            probe.patience = probe.patience.saturating_mul(2);
            Verdict::Urge
        }
    }
}

/// The queue to ask after this one. It holds the offers that this queue does
/// not take, or that busy workers have passed on.
async fn next_queue(manager: &QueueManager, asked: &Route) -> Verdict {
    let of_pool = |source| Route {
        queue: asked.queue.clone(),
        source,
    };
    let (work, spare) = (of_pool(Source::Work), of_pool(Source::Spare));
    match asked.source {
        Source::Lane(_) if !is_bypassed(manager, &work) => Verdict::Ask(work),
        // Nearly always the spare queue is empty, and need not be asked.
        Source::Lane(_) | Source::Work
            if !is_bypassed(manager, &spare) && !is_empty(manager, &spare).await =>
        {
            Verdict::Ask(spare)
        }
        Source::Lane(_) | Source::Work | Source::Spare => Verdict::Lost,
    }
}

fn is_bypassed(manager: &QueueManager, route: &Route) -> bool {
    manager.bypass().trouble(route).is_some()
}

/// Returns true if a queue holds nothing, and false if the broker does not answer.
async fn is_empty(manager: &QueueManager, route: &Route) -> bool {
    let backlog = manager.backend().broker.backlog(route).await;
    matches!(backlog, Ok(None | Some(Backlog { messages: 0, .. })))
}

/// Asks a route after operations. Returns `None` if the broker did not take the
/// marker: a later sweep will find the candidates again.
async fn send(
    manager: &QueueManager,
    route: Route,
    candidates: Vec<(OperationId, Stamp)>,
) -> store::Result<Option<Probe>> {
    let sent = send_marker(manager, &route, &candidates).await?;
    Ok(sent.map(|marker| Probe {
        candidates,
        marker,
        others: Vec::new(),
        sent: Instant::now(),
        patience: manager.options().maintenance.marker_patience,
        returned: None,
        rounds: 0,
    }))
}

/// Asks all queues that offers of a route may be in, at the same time. Returns
/// `None` if none of them takes a marker.
async fn send_to_all(
    manager: &QueueManager,
    route: &Route,
    candidates: Vec<(OperationId, Stamp)>,
) -> store::Result<Option<Probe>> {
    let mut ways = route.ways();
    ways.retain(|way| !is_bypassed(manager, way));
    if let Some(last) = ways.pop_if(|way| way.source == Source::Spare)
        && !is_empty(manager, &last).await
    {
        ways.push(last);
    }
    let markers = ways.into_iter().map(|way| {
        let candidates = &candidates;
        async move { send_marker(manager, &way, candidates).await }
    });
    let mut sent = Vec::new();
    for marker in join_all(markers).await {
        sent.extend(marker?);
    }
    let mut sent = sent.into_iter();
    Ok(sent.next().map(|marker| Probe {
        candidates,
        marker,
        others: sent.collect(),
        sent: Instant::now(),
        patience: manager.options().maintenance.marker_patience,
        returned: None,
        rounds: 0,
    }))
}

/// Sends a marker through a route, behind these operations. Returns `None` if
/// the broker did not take it, or if there are no operations.
async fn send_marker(
    manager: &QueueManager,
    route: &Route,
    candidates: &[(OperationId, Stamp)],
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
    let answers = manager
        .backend()
        .broker
        .publish(&[(route.clone(), message)])
        .await;
    if !answers.iter().all(Result::is_ok) {
        return Ok(None);
    }
    manager.metrics().markers.inc();
    Ok(Some(marker))
}
