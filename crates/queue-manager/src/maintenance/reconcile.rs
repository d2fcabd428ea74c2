//! Reconcile: operations that the broker has lost are offered again.
//!
//! A broker that lost its data looks healthy, and an operation whose message
//! is gone looks like one that waits its turn. Its age tells nothing: a long
//! healthy backlog is old too, and must not be published once more. So we ask
//! the queue itself:
//!
//! ```text
//! sweep ─ operations that wait for long ─ by route ─ marker through the route
//!          … the marker comes back: what was before it has been delivered …
//!          … a moment for the workers that hold it …
//! (a lane: the same through the work queue, where busy workers put lane work)
//! (a work queue that is not empty then: the same once more)
//!          … and what still waits, as it was: lost. Offer it again.
//! ```
//!
//! A marker is sent after its candidates were seen in the broker's hands, so
//! none of them can be behind it, but for those that a busy worker has put
//! there since; hence the further rounds through a work queue that is not
//! empty. A queue that nobody consumes gives no marker back, and nothing is
//! done: there is nobody to deliver to. A queue that *is* consumed and gives
//! none back for long may have lost the marker itself, and gets another; each
//! time we wait twice as long. Should we be wrong all the same, it costs a
//! duplicate, which the claim drops; and an operation that was offered again
//! gets twice the time before the next.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use drumline_backend::broker::Backlog;
use drumline_backend::store::{self, Stamp};
use drumline_protocol::message::{Marker, Message, Offer, Route, Source};
use drumline_protocol::{OperationId, Partition};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Rhythm;
use super::chore::{Chore, Look, for_each};
use crate::manager::QueueManager;

/// Looks at markers between two sweeps.
const LOOKS_PER_SWEEP: u32 = 5;
/// How often a work queue is asked at most while it is not empty. Each time
/// some of what was in it is passed on to its end by workers that have no free
/// slot: with a fifth, three operations in two thousand are still there after
/// the last.
const ROUNDS: u32 = 4;
/// How many operations' histories are remembered. Forgetting one costs a
/// duplicate.
const REMEMBERED: usize = 100_000;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Reconcile {
    /// When the last sweep was.
    swept: Option<Instant>,
    /// Where the sweep of a partition goes on; missing: at the beginning.
    cursors: HashMap<Partition, OperationId>,
    /// What is under suspicion, by the route it was published to.
    probes: HashMap<Route, Probe>,
    /// How often an operation was offered again from here.
    again: HashMap<OperationId, u32>,
}

/// A question to a route.
#[derive(Debug)]
struct Probe {
    candidates: Vec<(OperationId, Stamp)>,
    /// The marker that we wait for now; a later one will do as well.
    marker: Marker,
    sent: Instant,
    /// How long after `sent` we look where it is.
    patience: Duration,
    returned: Option<Instant>,
    /// How often the work queue was asked before this time.
    rounds: u32,
}

/// What to do with a probe.
enum Verdict {
    /// Nothing yet.
    Wait,
    /// Ask again: the marker is lost itself.
    Resend,
    /// Ask a second time: the marker may be lost, or far behind.
    Urge,
    /// The lane is through, or the work queue but for what was put to its end;
    /// now the work queue.
    AskWorkQueue,
    /// What still waits is lost.
    Lost,
}

impl Chore for Reconcile {
    const NAME: &'static str = "reconcile";

    fn rest(rhythm: &Rhythm) -> Duration {
        rhythm.reconcile / LOOKS_PER_SWEEP
    }

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        if manager.backend().broker.check().is_err() {
            return Ok(Look::Clear);
        }
        self.follow_up(manager).await?;
        let rest = manager.options().rhythm.reconcile;
        if self.swept.is_none_or(|swept| swept.elapsed() >= rest) {
            self.swept = Some(Instant::now());
            self.sweep(manager, share).await?;
        }
        Ok(Look::Clear)
    }
}

impl Reconcile {
    /// Looks which markers have come back, and acts on it.
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
                    // Should it fail, or be lost too: there will be another.
                    send_marker(manager, &probe.marker.route, &probe.candidates).await?;
                    self.probes.insert(route, probe);
                    continue;
                }
                Verdict::Lost => {
                    self.offer_again(manager, &probe.candidates).await?;
                    continue;
                }
                Verdict::Resend => (probe.marker.route.clone(), probe.rounds),
                Verdict::AskWorkQueue => {
                    let work = Route {
                        queue: route.queue.clone(),
                        source: Source::Work,
                    };
                    let again = u32::from(probe.marker.route == work);
                    (work, probe.rounds + again)
                }
            };
            if let Some(sent) = send(manager, ask, probe.candidates).await? {
                self.probes.insert(route, Probe { rounds, ..sent });
            }
        }
        Ok(())
    }

    /// One page of each partition: who waits for too long in the broker?
    async fn sweep(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<()> {
        let batch = manager.options().rhythm.batch;
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
                    .filter(|(id, stamp)| self.is_old(manager, *id, *stamp)),
            );
        }
        let by_route = self.by_route(manager, suspects).await?;
        let markers = by_route
            .into_iter()
            .map(|(route, candidates)| send(manager, route, candidates));
        for sent in join_all(markers).await {
            if let Some(probe) = sent? {
                self.probes.insert(probe.marker.route.clone(), probe);
            }
        }
        Ok(())
    }

    /// Whether an operation has waited for longer than usual; each time it was
    /// offered again doubles what is usual for it.
    fn is_old(&self, manager: &QueueManager, id: OperationId, stamp: Stamp) -> bool {
        let grace = manager.options().rhythm.reconcile_grace;
        let times = self.again.get(&id).copied().unwrap_or(0).min(16);
        let usual = grace.saturating_mul(2_u32.saturating_pow(times));
        let now_us = u64::try_from(manager.store().now().as_millis())
            .unwrap_or(0)
            .saturating_mul(1000);
        u128::from(now_us.saturating_sub(stamp.0)) >= usual.as_micros()
    }

    /// The suspects of routes that are not being asked already.
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
        for some in suspects.chunks(manager.options().rhythm.batch) {
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
        for some in candidates.chunks(manager.options().rhythm.batch) {
            let offers = some
                .iter()
                .map(|(id, stamp)| manager.store().reoffer(*id, *stamp, Duration::ZERO));
            for ((id, _), offered) in some.iter().zip(join_all(offers).await) {
                if offered?.is_some() {
                    *self.again.entry(*id).or_default() += 1;
                    lost += 1;
                }
            }
        }
        if lost > 0 {
            manager.metrics().reoffered.inc_by(lost);
            tracing::warn!(
                count = lost,
                "the broker had lost operations; offered again"
            );
        }
        Ok(())
    }
}

/// Where a probe stands.
async fn judge(
    manager: &QueueManager,
    probe: &mut Probe,
    returned: &HashMap<Route, u64>,
) -> Verdict {
    let rhythm = &manager.options().rhythm;
    let latest = returned.get(&probe.marker.route);
    if latest.is_some_and(|latest| *latest >= probe.marker.stamp) {
        let since = probe.returned.get_or_insert_with(Instant::now);
        return match probe.marker.route.source {
            _ if since.elapsed() < rhythm.reconcile_settle => Verdict::Wait,
            Source::Lane(_) => Verdict::AskWorkQueue,
            Source::Work if probe.rounds + 1 < ROUNDS && !is_empty(manager, probe).await => {
                Verdict::AskWorkQueue
            }
            Source::Work => Verdict::Lost,
        };
    }
    if probe.sent.elapsed() < probe.patience {
        return Verdict::Wait;
    }
    probe.sent = Instant::now();
    match manager.backend().broker.backlog(&probe.marker.route).await {
        Ok(None | Some(Backlog { messages: 0, .. })) => Verdict::Resend,
        // Nobody will give back another one either.
        Ok(Some(Backlog { consumers: 0, .. })) | Err(_) => Verdict::Wait,
        Ok(Some(Backlog { .. })) => {
            probe.patience = probe.patience.saturating_mul(2);
            Verdict::Urge
        }
    }
}

/// Whether the queue that was asked holds nothing. One that cannot say so is
/// not known to.
async fn is_empty(manager: &QueueManager, probe: &Probe) -> bool {
    let backlog = manager.backend().broker.backlog(&probe.marker.route).await;
    matches!(backlog, Ok(None | Some(Backlog { messages: 0, .. })))
}

/// Asks a route after operations. `None` where the broker did not take the
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
        sent: Instant::now(),
        patience: manager.options().rhythm.marker_patience,
        returned: None,
        rounds: 0,
    }))
}

/// Sends a marker through a route, behind these operations. `None` where the
/// broker did not take it, or where there are none.
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
        .publish(vec![(route.clone(), message)])
        .await;
    if !answers.iter().all(Result::is_ok) {
        return Ok(None);
    }
    manager.metrics().markers.inc();
    Ok(Some(marker))
}
