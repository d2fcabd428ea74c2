//! The broker in one process: a queue in memory per route.
//!
//! ```text
//! publish ─→ Queue ─ delivered to ─→ subscription ─ acknowledge ─→ gone
//!              ↑                          │
//!              └── close or drop: unacknowledged messages, at their old places
//! ```
//!
//! A lane has a single active consumer, as on RabbitMQ: the first subscriber.
//! The next one takes over when it closes. Messages live as long as the
//! process, and their number is not bounded.

mod queue;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::broker::{Backlog, Broker, Delivery, Error, Receipt, Result, Subscription};
use drumline_protocol::message::{Message, Route, Source};
use drumline_protocol::{PartitionCount, QueueName};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use self::queue::{ConsumerId, Position, Queue, Sent};

/// The broker of the embedded backend: all queues in one map.
#[derive(Debug, Default)]
pub struct EmbeddedBroker {
    queues: Mutex<BTreeMap<Route, Arc<Shared>>>,
}

/// A queue and the signal that there may be something to take from it.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }
}

impl EmbeddedBroker {
    /// Makes a broker without queues.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<Route, Arc<Shared>>> {
        self.queues.lock()
    }

    /// Returns the queue of a route, and declares it if necessary.
    fn declared(&self, route: &Route) -> Arc<Shared> {
        if let Some(shared) = self.queues().get(route) {
            return Arc::clone(shared);
        }
        let single_active = match route.source {
            Source::Lane(_) => true,
            Source::Work | Source::Spare => false,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(single_active)),
            changed: Notify::new(),
        });
        Arc::clone(self.queues().entry(route.clone()).or_insert(shared))
    }

    fn take_charge(&self, route: &Route, message: &Message) -> Result<()> {
        let message = Sent::new(message)?;
        let shared = self.declared(route);
        shared.queue().push(message);
        shared.changed.notify_waiters();
        Ok(())
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<Result<()>> {
        let mut answers = Vec::new();
        for (route, message) in messages {
            answers.push(self.take_charge(route, message));
        }
        answers
    }

    async fn subscribe(
        &self,
        route: &Route,
        prefetch: NonZeroU16,
    ) -> Result<Box<dyn Subscription>> {
        let shared = self.declared(route);
        let consumer = shared.queue().join(prefetch);
        Ok(Box::new(Consumer { shared, consumer }))
    }

    async fn backlog(&self, route: &Route) -> Result<Option<Backlog>> {
        let shared = self.queues().get(route).map(Arc::clone);
        Ok(shared.map(|shared| shared.queue().backlog()))
    }

    async fn remove_queue(&self, queue: &QueueName, _partitions: PartitionCount) -> Result<bool> {
        let mut queues = self.queues();
        let is_of_queue = |route: &Route| route.queue == *queue;
        let in_use = queues.iter().any(|(route, shared)| {
            let Backlog {
                messages,
                consumers,
            } = shared.queue().backlog();
            is_of_queue(route) && (messages > 0 || consumers > 0)
        });
        if !in_use {
            queues.retain(|route, _| !is_of_queue(route));
        }
        Ok(!in_use)
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// One consumer of one queue. Dropping it closes it.
struct Consumer {
    shared: Arc<Shared>,
    consumer: ConsumerId,
}

#[async_trait]
impl Subscription for Consumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            // Registered before the look, so that a change after it is not
            // missed.
            let changed = self.shared.changed.notified();
            // The consumer that was served last yields to the consumers that
            // heard the same signal; otherwise it would take everything.
            if self.shared.queue().was_served_last(self.consumer) {
                tokio::task::yield_now().await;
            }
            let taken = self.shared.queue().take(self.consumer);
            if let Some((position, message)) = taken {
                let message = message.read();
                let receipt = Box::new(Taken {
                    shared: Arc::clone(&self.shared),
                    consumer: self.consumer,
                    position,
                });
                return Some(Delivery { message, receipt });
            }
            changed.await;
        }
    }

    async fn close(self: Box<Self>) {
        drop(self);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.queue().leave(self.consumer);
        self.shared.changed.notify_waiters();
    }
}

/// The right to acknowledge one delivery.
struct Taken {
    shared: Arc<Shared>,
    consumer: ConsumerId,
    position: Position,
}

#[async_trait]
impl Receipt for Taken {
    async fn acknowledge(self: Box<Self>) -> Result<()> {
        let known = self.shared.queue().settle(self.consumer, self.position);
        if !known {
            return Err(Error::Unavailable {
                message: "the subscription is closed, and the message is back in its queue"
                    .to_owned(),
                source: None,
            });
        }
        // There is room for one more.
        self.shared.changed.notify_waiters();
        Ok(())
    }
}
