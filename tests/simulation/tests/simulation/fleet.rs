//! The processes of the fleet: managers and workers as they are.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::{Ids, Random};
use drumline_protocol::{Fence, OperationId, QueueName, State};
use drumline_queue_manager::maintenance::MaintenanceOptions;
use drumline_queue_manager::{Maintenance, Options, QueueManager};
use drumline_simulation::Judge;
use drumline_worker::{Context, HandlerError, LeaseStore, RunningWorker, Worker};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::link::{CrashAt, Link, Trace};
use crate::ports::Servers;

/// The lease of the workers: short, so that a run sees many take-overs.
pub(crate) const LEASE: Duration = Duration::from_secs(4);

/// The common parts of all processes.
pub(crate) struct World {
    pub(crate) servers: Servers,
    pub(crate) random: Random,
    pub(crate) trace: Arc<Trace>,
    pub(crate) judge: Mutex<Judge>,
    /// The operations of each token, as far as clients were answered.
    pub(crate) tokens: Mutex<std::collections::BTreeMap<String, Vec<(u64, OperationId)>>>,
    /// The maintenance of all managers.
    pub(crate) maintenance: MaintenanceOptions,
}

impl World {
    /// The number of operations of the token that were created before, and those of
    /// them that are not Completed now.
    async fn earlier(&self, token: &str, sequence: u64) -> (usize, Vec<OperationId>) {
        let earlier: Vec<OperationId> = {
            let tokens = self.tokens.lock();
            let of_token = tokens.get(token).into_iter().flatten();
            let earlier = of_token.filter(|(number, _)| *number < sequence);
            earlier.map(|(_, id)| *id).collect()
        };
        let found = self.servers.backend.store.get(&earlier).await;
        let found = found.expect("the embedded store is there");
        let open = found
            .iter()
            .flatten()
            .filter(|one| one.header.status.state() != State::Completed);
        (earlier.len(), open.map(|one| one.id).collect())
    }

    fn below(&self, end: u64) -> u64 {
        self.random.below(end)
    }
}

/// A manager or a worker.
pub(crate) struct Process {
    pub(crate) link: Arc<Link>,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Manager {
        manager: QueueManager,
        _maintenance: Maintenance,
    },
    Worker {
        _worker: RunningWorker,
    },
}

impl Process {
    pub(crate) async fn manager(world: &Arc<World>, name: String, crash: Option<CrashAt>) -> Self {
        let link = Link::new(name, Arc::clone(&world.trace), world.random.clone(), crash);
        let backend = world.servers.through(&link);
        let ids = Ids::new(world.random.clone());
        let manager = QueueManager::new(backend, ids, Options::default());
        let maintenance = Maintenance::start_with(&manager, &world.maintenance);
        tokio::task::yield_now().await;
        Self {
            link,
            kind: Kind::Manager {
                manager,
                _maintenance: maintenance,
            },
        }
    }

    pub(crate) async fn worker(world: &Arc<World>, name: String, crash: Option<CrashAt>) -> Self {
        let link = Link::new(
            name.clone(),
            Arc::clone(&world.trace),
            world.random.clone(),
            crash,
        );
        let backend = world.servers.through(&link);
        let leases = LeaseStore::from(Arc::clone(&backend.store)).on_current_runtime();
        let handler = |world: &Arc<World>| {
            let (world, link) = (Arc::clone(world), Arc::clone(&link));
            move |data: Value, context: Context| {
                let (world, link) = (Arc::clone(&world), Arc::clone(&link));
                async move { work(&world, &link, &data, &context).await }
            }
        };
        let worker = Worker::builder()
            .random(world.random.clone())
            .queue(QueueName::default())
            .host(name)
            .concurrency(3)
            .lease(LEASE)
            .grace(Duration::from_millis(500))
            .handler("Work", handler(world))
            .start(backend, leases)
            .await
            .expect("a worker");
        Self {
            link,
            kind: Kind::Worker { _worker: worker },
        }
    }
}

/// A write to a resource.
struct Write {
    resource: String,
    id: OperationId,
    fence: Fence,
    begun: Instant,
}

impl Write {
    fn arrive(&self, world: &World, link: &Link, is_late: bool) -> bool {
        let excused = is_late || link.stood_still_since(self.begun);
        let Self {
            resource,
            id,
            fence,
            begun: _,
        } = self;
        let mut judge = world.judge.lock();
        let accepted = judge.wrote(resource, *id, *fence, excused);
        let line = format_args!("{id} fence {fence} accepted {accepted}");
        world.trace.note(&link.name, "writes", line);
        accepted
    }
}

/// A handler: some steps, each a write to the resource of its token; it stops when
/// it is asked to.
async fn work(
    world: &Arc<World>,
    link: &Arc<Link>,
    data: &Value,
    context: &Context,
) -> Result<(), HandlerError> {
    let begun = Instant::now();
    let operation = context.operation();
    let id = operation.id;
    let fence = context.fence();
    let resource = context
        .dependency_token()
        .map_or_else(|| id.to_string(), str::to_owned);
    link.gate().await;
    let (earlier, unfinished) = match context.dependency_token() {
        Some(token) => world.earlier(token, operation.sequence).await,
        None => (0, Vec::new()),
    };
    world
        .trace
        .note(&link.name, "starts", format_args!("{id} fence {fence}"));
    if link.stood_still_since(begun) {
        // Its lock may be another's by now. It has not begun, for the world.
        return Err(HandlerError::retry("stood still"));
    }
    world.judge.lock().started(id, earlier, &unfinished);
    let number = |name: &str| data.get(name).and_then(Value::as_u64);
    for _ in 0..number("steps").unwrap_or(1) {
        let step = number("stepMs").unwrap_or_else(|| 1 + world.below(700));
        let step = Duration::from_millis(step);
        tokio::select! {
            biased;
            _ = context.stop_requested() => return Err(HandlerError::stopped()),
            () = sleep(step) => {}
        }
        link.gate().await;
        let write = Write {
            resource: resource.clone(),
            id,
            fence,
            begun,
        };
        if world.below(30) == 0 {
            // It is on its way for long, whatever becomes of its sender.
            let (world, link) = (Arc::clone(world), Arc::clone(link));
            let late = Duration::from_millis(world.below(15_000));
            TaskTracker::new().spawn(async move {
                sleep(late).await;
                write.arrive(&world, &link, true);
            });
        } else if !write.arrive(world, link, false) {
            return Err(HandlerError::stopped());
        }
    }
    if world.below(100) < number("fails").unwrap_or(0) {
        return Err(HandlerError::retry("as drawn"));
    }
    if u64::from(context.attempt()) < number("failsUntil").unwrap_or(0) {
        return Err(HandlerError::retry("as told"));
    }
    Ok(())
}
