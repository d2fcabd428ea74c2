//! Lost messages: operations whose offers the broker has lost are offered again.
//!
//! A broker that lost its data looks healthy, and an operation whose message is
//! gone looks like one that waits for its turn. Its age proves nothing: a long
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
//! A wrong conclusion costs a duplicate, which the claim drops. An operation that
//! was offered again gets twice the time before the next time.
//!
//! After a loss of the broker's connection all earlier offers are doubted at
//! once, whatever their age: page after page, a page with each look. All queues of
//! a pool are asked at the same time, and the wait afterwards is short, because
//! everything that was in workers' hands went back with their connections. A
//! healthy backlog is still distinguished from a loss: its markers come back after
//! it.
//!
//! While a queue is asked, further suspects of it wait for the next question
//! ([`waiting`]).
//!
//! A queue that is by-passed is not asked, because no marker would come back.
//! [`super::redirect`] has repeated the offers made before the by-pass. Later
//! offers went through the next queue, which is asked instead.
//!
//! A marker is sent after its candidates were seen in the broker's hands, so no
//! candidate can be behind it. The exception are offers that a busy worker has
//! put to the end of a work queue since; hence the further rounds through a work
//! queue that is not empty.
//!
//! A queue without a consumer gives no marker back, and nothing is done: there is
//! no worker to deliver to. A queue that has a consumer and gives no marker back
//! for long may have lost the marker itself. It gets another marker, and the wait
//! doubles each time.

mod ages;
mod doubt;
mod probe;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use drumline_backend::store::{self, OfferedPlace, Promoted, Stamp, Work};
use drumline_protocol::message::Route;
use drumline_protocol::{OperationId, Partition, Timestamp};
use futures_util::future::join_all;
use tokio::time::Instant;

use ages::Ages;
use doubt::{Doubt, Loss};
use probe::{Candidates, NextStep, Probe, is_bypassed, send_marker, send_to_all};
use waiting::{Asking, Waiting};

use super::MaintenanceOptions;
use super::task::{Look, Task, for_each};
use crate::service::QueueManager;

/// Looks at markers between two sweeps.
pub(super) const LOOKS_PER_SWEEP: u32 = 5;
/// The number of operations whose histories are remembered. Forgetting one
/// costs a duplicate.
const REMEMBERED: usize = 100_000;

/// The task that offers operations again that the broker has lost.
#[derive(Debug)]
pub(super) struct LostMessages {
    options: MaintenanceOptions,
    /// The time of the last sweep.
    swept: Option<Instant>,
    /// The broker's connection when it was last looked at.
    connection: Option<u64>,
    /// The place where the sweep of a partition goes on; missing: at the
    /// beginning.
    cursors: HashMap<Partition, OfferedPlace>,
    /// The partitions without operations that an earlier build has left out of the
    /// offered set.
    entered: HashSet<Partition>,
    /// The probes that are under way, by the route that was published to.
    probes: HashMap<Route, Probe>,
    /// The suspects of these routes that came later.
    waiting: Waiting,
    /// The last loss of the connection.
    loss: Option<Loss>,
    /// The doubt after it.
    doubt: Option<Doubt>,
    /// The time since which looks, one after the other, have found that too many of a
    /// queue are being asked about.
    full_since: Option<Instant>,
    /// The partitions of the last look.
    share: HashSet<Partition>,
    /// The number of times that each operation was offered again by this task.
    offered_again: HashMap<OperationId, u32>,
    ages: Ages,
}

impl Task for LostMessages {
    const NAME: &'static str = "reconcile";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        // Looks that fail, and the time without a broker, do not count.
        let full_since = self.full_since.take();
        if manager.backend().broker.check().is_err() {
            return Ok(Look::Clear);
        }
        self.follow_up(manager).await?;
        let now = manager.backend().broker.connection_number();
        if self.connection.replace(now).is_some_and(|then| then != now) {
            self.doubt_all(manager, share);
        } else {
            self.doubt_taken_over(share);
        }
        self.share = share.iter().copied().collect();
        self.ask_waiting(manager).await?;
        let rest = self.options.reconcile;
        if self.doubt.is_some() {
            self.sweep_doubted(manager, share, full_since).await?;
        } else if self.swept.is_none_or(|swept| swept.elapsed() >= rest) {
            self.swept = Some(Instant::now());
            self.enter_offered(manager, share).await?;
            self.sweep(manager, share).await?;
        }
        Ok(Look::Clear)
    }
}

impl LostMessages {
    pub(super) fn new(options: &MaintenanceOptions) -> Self {
        Self {
            options: options.clone(),
            swept: None,
            connection: None,
            cursors: HashMap::new(),
            entered: HashSet::new(),
            probes: HashMap::new(),
            waiting: Waiting::default(),
            loss: None,
            doubt: None,
            full_since: None,
            share: HashSet::new(),
            offered_again: HashMap::new(),
            ages: Ages::default(),
        }
    }

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
        let mut followed = Ok(());
        for route in routes {
            let Some(mut probe) = self.probes.remove(&route) else {
                continue;
            };
            let before = probe.times();
            let next = probe.next_step(manager, &self.options, &returned).await;
            let candidates = &probe.candidates;
            let done = match next {
                NextStep::Wait => Ok(Some(probe)),
                NextStep::Urge => match probe.urge(manager).await {
                    Ok(()) => Ok(Some(probe)),
                    Err(error) => Err((error, probe)),
                },
                NextStep::Ask { route: way, rounds } => {
                    match send_marker(manager, way, candidates).await {
                        Ok(sent) => {
                            let sent = sent.into_iter().collect();
                            Ok(Probe::of(&self.options, sent, rounds, probe.candidates))
                        }
                        Err(error) => Err((error, probe)),
                    }
                }
                NextStep::Lost => match self.offer_again(manager, candidates).await {
                    Ok(()) => Ok(None),
                    Err(error) => Err((error, probe)),
                },
            };
            match done {
                Ok(probe) => self.probes.extend(probe.map(|probe| (route, probe))),
                // The same step once more with the next look: what was found with much
                // patience is not forgotten because the store was unavailable for a moment.
                Err((error, mut probe)) => {
                    probe.set_times(before);
                    self.probes.insert(route, probe);
                    followed = Err(error);
                }
            }
        }
        followed
    }

    /// Looks at one page of the Ready operations of each partition that is new to this
    /// manager and was not looked at to its end.
    async fn enter_offered(
        &mut self,
        manager: &QueueManager,
        share: &[Partition],
    ) -> store::Result<()> {
        self.entered.retain(|partition| share.contains(partition));
        let batch = self.options.batch;
        let open = share.iter().copied();
        let open: Vec<Partition> = open.filter(|one| !self.entered.contains(one)).collect();
        let pages = for_each(&open, |partition| async move {
            let has_more = manager.store().enter_offered(partition, batch).await?;
            Ok((partition, has_more))
        });
        let ended = pages.await?.into_iter().filter(|(_, has_more)| !has_more);
        self.entered.extend(ended.map(|(partition, _)| partition));
        Ok(())
    }

    /// Looks at one page of each partition's offered set for operations that have waited too
    /// long in the broker.
    async fn sweep(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<()> {
        let (mut suspects, mut cursors) = (Vec::new(), HashMap::new());
        let now = manager.store().now();
        let with_offers = manager.store().with_work(Work::Offered, share).await?;
        for (partition, offered, next) in self.pages(manager, &with_offers.partitions).await? {
            cursors.extend(next.map(|next| (partition, next)));
            let stamps = offered.iter().map(|(_, stamp)| *stamp);
            self.ages.note(partition, stamps, now);
            let offered = offered.into_iter();
            suspects.extend(offered.filter(|(id, stamp)| self.is_old(*id, *stamp, now)));
        }
        let suspects = self.by_route(manager, suspects).await?;
        self.cursors = cursors;
        self.suspect(manager, suspects, false).await
    }

    /// Reads one page of the offered set of each of these partitions, and the place to go
    /// on at.
    async fn pages(
        &self,
        manager: &QueueManager,
        partitions: &[Partition],
    ) -> store::Result<Vec<(Partition, Candidates, Option<OfferedPlace>)>> {
        let (batch, cursors) = (self.options.batch, &self.cursors);
        for_each(partitions, |partition| async move {
            let after = cursors.get(&partition).copied();
            let (offered, next) = manager.store().offered(partition, after, batch).await?;
            Ok((partition, offered, next))
        })
        .await
    }

    /// Asks the queues of suspects about them, at once or after the present question. Also
    /// when the store fails meanwhile: they wait for the next question then.
    async fn suspect(
        &mut self,
        manager: &QueueManager,
        suspects: HashMap<Route, Candidates>,
        after_loss: bool,
    ) -> store::Result<()> {
        let mut free = Vec::new();
        for (route, candidates) in suspects {
            let asking = Asking {
                candidates,
                after_loss,
            };
            if self.probes.contains_key(&route) {
                self.waiting.add(route, asking);
            } else {
                free.push((route, asking));
            }
        }
        self.ask(manager, free).await
    }

    /// Asks the queues that others were asked about when these became suspects.
    async fn ask_waiting(&mut self, manager: &QueueManager) -> store::Result<()> {
        let probes = &self.probes;
        let free = self.waiting.take_free(|route| probes.contains_key(route));
        self.ask(manager, free).await
    }

    async fn ask(
        &mut self,
        manager: &QueueManager,
        routes: Vec<(Route, Asking)>,
    ) -> store::Result<()> {
        let asked = routes.into_iter().filter_map(|(route, asking)| {
            // A pool whose queues are all by-passed cannot be asked.
            let mut ways = route.ways().into_iter();
            let first = ways.find(|way| !is_bypassed(manager, way))?;
            Some((route, first, asking))
        });
        let markers = asked.map(|(route, first, asking)| async move {
            let candidates = &asking.candidates;
            let sent = if asking.after_loss {
                send_to_all(manager, &route, candidates).await
            } else {
                let sent = send_marker(manager, first, candidates).await;
                sent.map(|sent| sent.into_iter().collect())
            };
            (route, sent, asking)
        });
        let mut asked = Ok(());
        for (route, sent, asking) in join_all(markers).await {
            match sent {
                Ok(sent) => {
                    let probe = Probe::of(&self.options, sent, 0, asking.candidates);
                    self.probes.extend(probe.map(|probe| (route, probe)));
                }
                Err(error) => {
                    self.waiting.add(route, asking);
                    asked = Err(error);
                }
            }
        }
        asked
    }

    /// Returns true if an operation has waited for longer than usual. Each time
    /// that it was offered again doubles its usual time.
    fn is_old(&self, id: OperationId, stamp: Stamp, now: Timestamp) -> bool {
        let grace = self.options.reconcile_grace;
        let times = self.offered_again.get(&id).copied().unwrap_or(0).min(16);
        let usual = grace.saturating_mul(2_u32.saturating_pow(times));
        self.ages.of(id.partition(), stamp, now) >= usual
    }

    /// The suspects that no question is about already, by route.
    async fn by_route(
        &self,
        manager: &QueueManager,
        suspects: Candidates,
    ) -> store::Result<HashMap<Route, Candidates>> {
        let asked: HashSet<OperationId> = self
            .probes
            .values()
            .flat_map(|probe| probe.candidates.iter().map(|(id, _)| *id))
            .chain(self.waiting.ids())
            .collect();
        let suspects: Vec<_> = suspects
            .into_iter()
            .filter(|(id, _)| !asked.contains(id))
            .collect();
        let mut by_route: HashMap<Route, Vec<_>> = HashMap::new();
        for some in suspects.chunks(self.options.batch) {
            let ids: Vec<OperationId> = some.iter().map(|(id, _)| *id).collect();
            let operations = manager.summaries(&ids).await?;
            for (suspect, operation) in some.iter().zip(operations) {
                let Some(operation) = operation else {
                    continue;
                };
                let route = operation.offer().route();
                by_route.entry(route).or_default().push(*suspect);
            }
        }
        Ok(by_route)
    }

    async fn offer_again(
        &mut self,
        manager: &QueueManager,
        candidates: &Candidates,
    ) -> store::Result<()> {
        if self.offered_again.len() > REMEMBERED {
            self.offered_again.clear();
        }
        let mut lost = 0;
        for some in candidates.chunks(self.options.batch) {
            let offers = some
                .iter()
                .map(|(id, stamp)| manager.store().reoffer(*id, *stamp, Duration::ZERO));
            let mut stamps = HashMap::new();
            for ((id, _), offered) in some.iter().zip(join_all(offers).await) {
                if let Some(stamp) = offered? {
                    *self.offered_again.entry(*id).or_default() += 1;
                    stamps.insert(*id, stamp);
                    lost += 1;
                }
            }
            // At once and not by the relay: they have waited for long.
            let ids: Vec<OperationId> = stamps.keys().copied().collect();
            for operation in manager.summaries(&ids).await?.into_iter().flatten() {
                if let Some(stamp) = stamps.get(&operation.id).copied() {
                    manager
                        .dispatcher()
                        .enqueue(&Promoted::new(operation, stamp));
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
