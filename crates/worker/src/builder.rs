//! Puts a worker together and starts it.

mod from_file;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::bypass::Bypass;
use drumline_backend::dispatch::Dispatcher;
use drumline_backend::store;
use drumline_backend::{Backend, Broker, CriticalTasks, Ids, Random};
use drumline_protocol::{QueueName, limits};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::Context;
use crate::handlers::function::Typed;
use crate::handlers::outcome::IntoOutcome;
use crate::handlers::registry::{Registered, Registry};
use crate::handlers::{Handler, Limits};
use crate::heartbeat;
use crate::heartbeat::Contact;
use crate::offers::delivery_ack;
use crate::offers::delivery_queue::DeliveryQueue;
use crate::offers::sources::Sources;
use crate::offers::unhandled::Unhandled;
use crate::options::{LEASE_MIN, Options};
use crate::publisher::Publisher;
use crate::run::committer::Committer;
use crate::run::leases::{self, Held, LeaseStore, Renewals};
use crate::run::shared::{Parts, Shared};
use crate::run::task_scope::TaskScope;
use crate::running::RunningWorker;
use crate::throttle::Throttle;

/// The number of deliveries that may wait between the subscriptions and the
/// delivery queue. Few, because a delivery that waits here is not looked at.
const DELIVERIES: usize = 32;

/// The reason that a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are two handlers for one message name.
    #[error("there are two handlers for {0:?}")]
    TwoHandlers(String),
    /// There is no handler.
    #[error("a worker needs a handler")]
    NoHandler,
    /// The worker would have no slot.
    #[error("the concurrency must be 1 or more")]
    NoConcurrency,
    /// The lease is so short that a brief outage of the store would end it.
    #[error("a lease of {given:?} is too short; the minimum is {LEASE_MIN:?}")]
    ShortLease {
        /// The lease that was asked for.
        given: Duration,
    },
    /// The thread that renews leases cannot be started.
    #[error("the lease thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// The store that leases are renewed through is unavailable or unfit.
    #[error("the store for leases cannot be used")]
    Store(#[from] store::Error),
}

/// The worker: see [`Worker::builder`].
#[derive(Debug)]
pub struct Worker(());

impl Worker {
    /// A worker without handlers, with the default [`Options`].
    pub fn builder() -> Builder {
        Builder {
            options: Options::default(),
            random: Random::from_entropy(),
            handlers: Registry::default(),
            twice: None,
        }
    }
}

/// Collects the handlers and settings of a worker.
#[derive(Debug)]
#[must_use = "a worker does nothing before it is started"]
pub struct Builder {
    options: Options,
    random: Random,
    handlers: Registry,
    twice: Option<String>,
}

impl Builder {
    /// Handles a message name with a function of the payload and a [`Context`].
    /// The payload is read as `I`. A payload that is not an `I` makes the
    /// operation fail.
    pub fn handler<F, I, R>(self, message_name: impl Into<String>, function: F) -> Self
    where
        F: Fn(I, Context) -> R + Send + Sync + 'static,
        I: DeserializeOwned + 'static,
        R: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.handler_with(message_name, Limits::new(), function)
    }

    /// Does the same as [`Self::handler`], with limits of the handler's own.
    pub fn handler_with<F, I, R>(
        self,
        message_name: impl Into<String>,
        limits: Limits,
        function: F,
    ) -> Self
    where
        F: Fn(I, Context) -> R + Send + Sync + 'static,
        I: DeserializeOwned + 'static,
        R: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.handler_dyn(message_name, limits, Arc::new(Typed::new(function)))
    }

    /// Handles a message name with any [`Handler`]. The name `*` stands for
    /// all that no other handler takes.
    pub fn handler_dyn(
        mut self,
        message_name: impl Into<String>,
        limits: Limits,
        handler: Arc<dyn Handler>,
    ) -> Self {
        let name = message_name.into();
        if !self
            .handlers
            .add(name.clone(), Registered { handler, limits })
        {
            self.twice = Some(name);
        }
        self
    }

    /// Serves a queue. May be called several times. Without a call, the worker
    /// serves `default`.
    pub fn queue(mut self, queue: QueueName) -> Self {
        if !self.options.queues.contains(&queue) {
            self.options.queues.push(queue);
        }
        self
    }

    /// The number of operations that run at once: see [`Options::concurrency`].
    pub const fn concurrency(mut self, operations: usize) -> Self {
        self.options.concurrency = operations;
        self
    }

    /// The time that a lock may stand still: see [`Options::lease`].
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// `hostId`, for people: see [`Options::host`].
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.options.host = host.into();
        self
    }

    /// The time that a handler may take to stop: see [`Options::grace`].
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// The time that handlers may go on while draining: see
    /// [`Options::drain_timeout`].
    pub const fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// The most bytes that are kept of what an attempt has printed: see
    /// [`Options::max_output`].
    pub const fn max_output(mut self, bytes: usize) -> Self {
        self.options.max_output = bytes;
        self
    }

    /// The most bytes that are kept of what an attempt has printed that has succeeded:
    /// see [`Options::max_output_succeeded`].
    pub const fn max_output_succeeded(mut self, bytes: usize) -> Self {
        self.options.max_output_succeeded = bytes;
        self
    }

    /// The time that a message name may go without a handler: see
    /// [`Options::unhandled_after`].
    pub const fn unhandled_after(mut self, after: Duration) -> Self {
        self.options.unhandled_after = after;
        self
    }

    /// The depth to which handlers may create operations: see
    /// [`Options::depth`].
    pub const fn depth(mut self, depth: u32) -> Self {
        self.options.depth = depth;
        self
    }

    /// Postpones the operations of a message name whose handler fails too often:
    /// see [`Options::throttle`].
    pub const fn throttle(mut self, throttle: Throttle) -> Self {
        self.options.throttle = Some(throttle);
        self
    }

    /// Sets all settings at once. The handlers stay.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Draws ids and delays from this source. For tests and simulations that must
    /// be the same in every run.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Starts the worker on the current runtime, and waits until its lease
    /// thread is connected. Subscriptions are made in the background: see
    /// [`RunningWorker::ready`].
    ///
    /// `leases` should be a connection of its own: see [`LeaseStore`].
    ///
    /// # Errors
    /// When the settings cannot be used, or the lease thread cannot start.
    /// Dropping the future starts nothing.
    pub async fn start(
        self,
        backend: Backend,
        leases: impl Into<LeaseStore>,
    ) -> Result<RunningWorker, Error> {
        let Self {
            mut options,
            random,
            handlers,
            twice,
        } = self;
        if let Some(name) = twice {
            return Err(Error::TwoHandlers(name));
        }
        if handlers.is_empty() {
            return Err(Error::NoHandler);
        }
        if options.concurrency == 0 {
            return Err(Error::NoConcurrency);
        }
        if options.lease < LEASE_MIN {
            return Err(Error::ShortLease {
                given: options.lease,
            });
        }
        if options.queues.is_empty() {
            options.queues.push(QueueName::default());
        }
        options.host = limits::cut(&options.host, limits::HOST_ID_CHARS).to_owned();
        let held = Arc::new(Held::default());
        let critical = CriticalTasks::default();
        let ids = Ids::new(random.clone());
        let member = ids.member();
        let leases = leases.into();
        let lease = options.lease;
        let renewals = Renewals::start(leases, Arc::clone(&held), member, lease, &critical)
            .await
            .map_err(|error| match error {
                leases::StartError::Thread(error) => Error::Thread(error),
                leases::StartError::Store(error) => Error::Store(error),
            })?;
        let bypass = Bypass::over(Arc::clone(&backend.broker));
        let backend = Backend {
            broker: Arc::clone(&bypass) as Arc<dyn Broker>,
            ..backend
        };
        let services = TaskScope::new(&critical);
        let dispatching = TaskTracker::new();
        let dispatcher = Dispatcher::start(backend.clone(), &critical, &dispatching);
        let shared = Arc::new(Shared::new(Parts {
            committer: Committer::start(Arc::clone(&backend.store), random.clone(), &services),
            publisher: Publisher::new(dispatcher),
            member,
            backend,
            bypass,
            ids,
            random,
            options,
            handlers,
            held,
            critical,
        }));
        Ok(run(shared, services, dispatching, renewals))
    }
}

/// Starts the tasks, and ties them together.
fn run(
    shared: Arc<Shared>,
    services: TaskScope,
    dispatching: TaskTracker,
    renewals: Renewals,
) -> RunningWorker {
    let (stopping, taking_ends) = (shared.stopping.clone(), shared.taking_ends.clone());
    let feeds = TaskScope::new(&shared.critical);
    let (members, known_members) = watch::channel(Arc::default());
    let (deliveries, delivered) = mpsc::channel(DELIVERIES);
    let (receipts, to_acknowledge) = mpsc::unbounded_channel();
    let (unhandled, offers) = mpsc::unbounded_channel();
    let (saturated, is_saturated) = watch::channel(false);
    let (ready, is_ready) = watch::channel(false);
    let (contact, contacts) = watch::channel(Contact::UP);
    let (return_offers, returned) = mpsc::unbounded_channel();
    let (forget, to_forget) = mpsc::channel(1);

    let heartbeat = TaskScope::new(&shared.critical);
    let beat = heartbeat::beat(Arc::clone(&shared), members, contact);
    heartbeat.spawn_lasting("heartbeat", &stopping, beat);
    let acknowledger = delivery_ack::acknowledger(to_acknowledge);
    services.spawn("acknowledgements", acknowledger);
    let (tally, stop) = (Arc::clone(&shared.tally), stopping.clone());
    let counting = async move { tally.run(stop).await };
    services.spawn_lasting("rollups", &stopping, counting);
    let sources = Sources {
        shared: Arc::clone(&shared),
        scope: feeds.clone(),
        members: known_members.clone(),
        deliveries,
        saturated: is_saturated,
        contact: contacts,
        forget,
        ready,
    };
    feeds.spawn_lasting("subscriptions", &taking_ends, sources.run());
    let delivery_queue = DeliveryQueue {
        shared: Arc::clone(&shared),
        scope: feeds.clone(),
        deliveries: delivered,
        return_offers,
        returned,
        forget: to_forget,
        receipts,
        unhandled,
        saturated,
        pending: VecDeque::new(),
        last_slot: Instant::now(),
        pass_on_after: Instant::now(),
        has_deliveries: CancellationToken::new(),
    };
    let taking = TaskScope::new(&shared.critical);
    taking.spawn_lasting("deliveries", &taking_ends, delivery_queue.run());
    let unhandled = Unhandled {
        shared: Arc::clone(&shared),
        offers,
        members: known_members,
        kept: std::collections::BTreeMap::new(),
    };
    feeds.spawn_lasting("unhandled", &taking_ends, unhandled.run());
    let worker = RunningWorker {
        shared,
        taking,
        heartbeat,
        feeds,
        services,
        dispatching,
        renewals: Some(renewals),
        ready: is_ready,
    };
    worker.stop_after_a_failure();
    worker
}
