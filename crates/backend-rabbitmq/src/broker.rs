//! The port, on RabbitMQ.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use drumline_backend::Broker;
use drumline_backend::broker::{Backlog, Bypassed, Error, Result, Subscription, Trouble};
use drumline_protocol::message::{Message, Route};
use drumline_protocol::{PartitionCount, QueueName, codec};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acker::AckMode;
use crate::backlog;
use crate::confirm::Outgoing;
use crate::connection_supervisor::ConnectionSupervisor;
use crate::error::silent;
use crate::intake::RabbitIntake;
use crate::options::Options;
use crate::publisher::Publisher;
use crate::quarantine::Quarantine;
use crate::removal;
use crate::repair::Repair;
use crate::server_info::{self, ServerInfo};
use crate::subscription::Subscriber;
use crate::topology::Target;
use crate::unresponsive_queues::UnresponsiveQueues;

/// A broker on RabbitMQ. Dropping it closes its connections in the background;
/// [`RabbitBroker::stop`] does so and waits.
///
/// It has two connections, because an alarm stops everything on a connection
/// that publishes, acknowledgements too.
#[derive(Debug)]
pub struct RabbitBroker {
    options: Arc<Options>,
    publisher: Publisher,
    consuming: ConnectionSupervisor,
    unresponsive: Arc<UnresponsiveQueues>,
    /// True if this process has consumed a queue of offers.
    consumes: Arc<AtomicBool>,
    quarantine: Quarantine,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl RabbitBroker {
    /// Starts to connect, and returns at once. A broker that comes up later is
    /// found; [`Broker::check`] shows it. Must be called in a Tokio runtime, which
    /// has to stay.
    #[must_use]
    pub fn start(options: Options) -> Self {
        options.url.begin_anywhere(&options.random);
        let options = Arc::new(options);
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let supervisor = |purpose| {
            ConnectionSupervisor::start(Arc::clone(&options), purpose, &tasks, stop.clone())
        };
        let (publishing, consuming) = (supervisor("publishing"), supervisor("consuming"));
        let unresponsive = Arc::new(UnresponsiveQueues::new(options.random.clone()));
        let consumes = Arc::new(AtomicBool::new(false));
        let repair = Repair {
            options: Arc::clone(&options),
            unresponsive: Arc::clone(&unresponsive),
            publishing: publishing.clone(),
            consumes: Arc::clone(&consumes),
            stop: stop.clone(),
        };
        tasks.spawn(
            options
                .critical
                .guard("repair of queues", &stop, repair.run()),
        );
        let publisher = Publisher::start(&options, &publishing, &unresponsive, &tasks);
        let quarantine = Quarantine {
            publisher: publisher.clone(),
            namespace: options.namespace.clone(),
            random: options.random.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        Self {
            options,
            publisher,
            consuming,
            unresponsive,
            consumes,
            quarantine,
            tasks,
            stop,
        }
    }

    /// Waits until both connections are up. Cancel-safe.
    ///
    /// # Errors
    /// The reason, when they are not up within the patience of the options.
    pub async fn connected(&self) -> Result<()> {
        let deadline = Instant::now() + self.options.patience;
        self.publisher.supervisor().connection(deadline).await?;
        self.consuming.connection(deadline).await?;
        Ok(())
    }

    /// Asks the broker for its product and release, on a connection of its own,
    /// without a login.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn inspect(&self) -> Result<ServerInfo> {
        server_info::fetch(&self.options).await
    }

    /// The intake of this installation, over a connection of its own: a request
    /// may end the connection that it comes over, and must not end the others.
    /// The intake lives as long as the broker does.
    #[must_use]
    pub fn intake(&self) -> RabbitIntake {
        let options = Arc::clone(&self.options);
        let supervisor =
            ConnectionSupervisor::start(options, "requests", &self.tasks, self.stop.clone());
        let subscriber = self.subscriber(supervisor, AckMode::Immediate);
        RabbitIntake::new(subscriber, self.publisher.supervisor().clone())
    }

    fn subscriber(&self, supervisor: ConnectionSupervisor, ack_mode: AckMode) -> Subscriber {
        Subscriber {
            options: Arc::clone(&self.options),
            supervisor,
            quarantine: self.quarantine.clone(),
            publisher: self.publisher.clone(),
            unresponsive: Arc::clone(&self.unresponsive),
            ack_mode,
            tasks: self.tasks.clone(),
        }
    }

    /// Closes the connections and waits until everything has ended. Messages that
    /// are not acknowledged go back to their queues, subscriptions end, and
    /// publishing fails. Safe to call again.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(self.options.patience, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the connections to RabbitMQ were not closed in time");
        }
    }
}

impl Drop for RabbitBroker {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<Result<()>> {
        // A message that cannot be encoded is answered here. The answers to the
        // rest are put into the places between.
        let mut outgoing = Vec::with_capacity(messages.len());
        let mut places: Vec<Result<()>> = Vec::with_capacity(messages.len());
        for (route, message) in messages {
            places.push(match codec::encode(message) {
                Ok(payload) => {
                    outgoing.push(Outgoing {
                        target: Target::Route(route.clone()),
                        payload,
                        headers: None,
                        expires_after: None,
                    });
                    Ok(())
                }
                Err(error) => Err(Error::Encode(error)),
            });
        }
        let mut answers = self.publisher.publish(outgoing).await.into_iter();
        places
            .into_iter()
            .map(|place| place.and_then(|()| answers.next().unwrap_or(Err(Error::Refused))))
            .collect()
    }

    async fn subscribe(
        &self,
        route: &Route,
        prefetch: NonZeroU16,
    ) -> Result<Box<dyn Subscription>> {
        self.consumes.store(true, Ordering::Relaxed);
        let subscriber = self.subscriber(self.consuming.clone(), AckMode::Batched);
        let target = Target::Route(route.clone());
        Ok(Box::new(subscriber.subscribe(&target, prefetch).await?))
    }

    async fn backlog(&self, route: &Route) -> Result<Option<Backlog>> {
        let patience = self.options.patience;
        let deadline = Instant::now() + patience;
        let connection = self.consuming.connection(deadline).await?;
        let target = Target::Route(route.clone());
        let counted = backlog::count(&connection, &target, &self.options);
        match timeout_at(deadline, counted).await {
            Ok(counted) => counted.inspect_err(|error| connection.doubt_after(error)),
            Err(_elapsed) => {
                self.tasks
                    .spawn(async move { connection.is_responsive().await });
                Err(silent("asking for a queue's length", patience))
            }
        }
    }

    async fn remove_queue(&self, queue: &QueueName, partitions: PartitionCount) -> Result<bool> {
        removal::remove(&self.options, queue, partitions).await
    }

    fn check(&self) -> Result<()> {
        self.publisher.supervisor().check()
    }

    fn connection_number(&self) -> u64 {
        self.publisher.supervisor().connections()
    }

    fn bypassed(&self) -> Vec<Bypassed> {
        self.unresponsive.bypassed()
    }

    fn trouble(&self, route: &Route) -> Option<Trouble> {
        self.unresponsive.trouble(&Target::Route(route.clone()))
    }
}
