//! The intake, on RabbitMQ: an exchange for producers, a queue behind it, and
//! a quarantine beside it.
//!
//! ```text
//! producer ── {namespace}.requests ─ # ─► {namespace}.requests.in ──► requests ──► manager
//!     ▲          (topic, durable)          │ 20 deliveries            │ acknowledged last
//!     │                                    ▼                          │
//!     │                          {namespace}.requests.quarantine ◄────┤ refused
//!     └──────────────── reply_to (default exchange) ◄─ replies ◄──────┘
//! ```
//!
//! The queue is declared with the connection, as all are: a broker that has
//! lost its data has the exchange again as soon as a manager is connected.

mod envelope;
mod reply_publisher;

use std::num::NonZeroU16;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::broker::{Error, Result, Subscription as _};
use drumline_backend::intake::{Intake, Refused, Reply, Request, Requests};
use lapin::Confirmation;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use tokio::time::{Instant, timeout_at};

use crate::connection::{self, Connection};
use crate::connection_supervisor::ConnectionSupervisor;
use crate::error::{failed, is_refusal, silent};
use crate::options::Namespace;
use crate::subscription::{Subscriber, Subscription};
use crate::topology::{Target, is_ours};

use reply_publisher::{OutgoingReply, ReplyPublisher};

/// The intake of requests over AMQP.
#[derive(Debug)]
pub struct RabbitIntake {
    subscriber: Subscriber,
    /// The connection for publishing. Requests come in over another connection:
    /// an alarm stops everything on a connection that publishes,
    /// acknowledgements too.
    publishing: ConnectionSupervisor,
    replies: ReplyPublisher,
}

impl RabbitIntake {
    pub(crate) fn new(subscriber: Subscriber, publishing: ConnectionSupervisor) -> Self {
        let patience = subscriber.options.patience;
        let replies = ReplyPublisher::start(
            publishing.clone(),
            patience,
            &subscriber.options.critical,
            &subscriber.tasks,
        );
        Self {
            subscriber,
            publishing,
            replies,
        }
    }

    fn namespace(&self) -> &Namespace {
        &self.subscriber.options.namespace
    }

    fn patience(&self) -> Duration {
        self.subscriber.options.patience
    }

    async fn put_aside(&self, connection: &Connection, refused: &Refused) -> Result<()> {
        const DOING: &str = "putting a request into the quarantine";
        let target = Target::RefusedRequests;
        connection
            .declare(&connection.undeclared(std::iter::once(&target)))
            .await?;
        // A channel of its own, so that a returned message can only be this one.
        let channel = connection.confirm_channel().await?;
        let options = BasicPublishOptions {
            // Otherwise the broker confirms a message that it cannot route.
            mandatory: true,
            immediate: false,
        };
        let published = async {
            let name = target.name(self.namespace());
            let properties = envelope::of_refused(refused);
            let confirm = channel
                .basic_publish(
                    ShortString::default(),
                    name,
                    options,
                    &refused.payload,
                    properties,
                )
                .await?;
            confirm.await
        };
        let confirmation = published.await.map_err(|error| failed(DOING, error))?;
        connection::close(&channel).await;
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_returned)) => {
                // The queue was deleted; the next try declares it.
                connection.forget(&target);
                Err(Error::Refused)
            }
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Refused),
        }
    }
}

#[async_trait]
impl Intake for RabbitIntake {
    async fn open(&self, prefetch: NonZeroU16) -> Result<Box<dyn Requests>> {
        // First the queue into which RabbitMQ puts requests that it cannot
        // deliver.
        let deadline = Instant::now() + self.patience();
        let connection = self.subscriber.supervisor.connection(deadline).await?;
        let quarantine = connection.undeclared(std::iter::once(&Target::RefusedRequests));
        match timeout_at(deadline, connection.declare(&quarantine)).await {
            Ok(declared) => declared.inspect_err(|error| connection.doubt_after(error))?,
            Err(_elapsed) => {
                connection.is_responsive().await;
                return Err(silent("declaring the quarantine", self.patience()));
            }
        }
        let target = Target::Requests;
        let subscription = self.subscriber.subscribe(&target, prefetch).await?;
        let subscription = Box::new(subscription);
        let namespace = self.namespace().clone();
        Ok(Box::new(Open {
            subscription,
            namespace,
        }))
    }

    async fn reply(&self, reply: Reply) -> Result<()> {
        self.replies
            .send(OutgoingReply {
                properties: envelope::of_reply(&reply)?,
                queue: envelope::short(&reply.to)?,
                payload: reply.payload,
            })
            .await
    }

    async fn quarantine(&self, refused: Refused) -> Result<()> {
        // During an alarm a publish would wait for its end.
        self.publishing.check()?;
        let deadline = Instant::now() + self.patience();
        let connection = self.publishing.connection(deadline).await?;
        match timeout_at(deadline, self.put_aside(&connection, &refused)).await {
            Ok(Err(error)) if is_refusal(&error) => {
                tracing::warn!(%error, "RabbitMQ does not allow the use of the quarantine");
                Err(Error::Refused)
            }
            Ok(put) => put.inspect_err(|error| connection.doubt_after(error)),
            Err(_elapsed) => {
                connection.is_responsive().await;
                Err(silent(
                    "putting a request into the quarantine",
                    self.patience(),
                ))
            }
        }
    }
}

/// Requests as they come in.
struct Open {
    subscription: Box<Subscription>,
    namespace: Namespace,
}

#[async_trait]
impl Requests for Open {
    async fn next(&mut self) -> Option<Request> {
        let (mut delivery, receipt) = self.subscription.next_delivery().await?;
        let payload = std::mem::take(&mut delivery.data);
        let mut envelope = envelope::of_delivery(&delivery);
        // A request without an address for the answer shows up in the quarantine.
        envelope
            .reply_to
            .take_if(|queue| is_ours(queue, &self.namespace));
        Some(Request {
            envelope,
            payload,
            receipt: Box::new(receipt),
        })
    }

    async fn close(self: Box<Self>) {
        self.subscription.close().await;
    }
}
