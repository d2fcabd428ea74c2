//! The broker: carries hints that operations may be runnable.
//!
//! The broker delivers at least once, mostly in order, sometimes not at all:
//! only speed rests on it. A broker must never claim to have a message that it
//! has not.

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::message::{Message, Route};
use drumline_protocol::{PartitionCount, QueueName};
use serde::{Deserialize, Serialize};

/// The longest time that a consumer may keep a delivery before the offers in it
/// are claimed, dropped, or sent through the broker once more. Workers keep to
/// this limit while store and broker answer. A queue manager that suspects a
/// lost message waits for longer than this once all deliveries before a marker
/// were made.
///
/// A longer limit would find lost messages later. With a shorter one, a busy
/// worker would pass on an offer that it had a slot for a moment later.
pub const UNDECIDED_MAX: Duration = Duration::from_millis(2500);

/// The errors of a broker.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker has no connection, or does not answer in time. A message may
    /// or may not have been taken.
    #[error("the broker is not available: {message}")]
    Unavailable {
        /// The action that was tried.
        message: String,
        /// The underlying error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The broker takes no messages now, because of a memory or disk alarm.
    #[error("the broker takes no messages now: {reason}")]
    Blocked {
        /// The reason that the broker gave.
        reason: String,
    },
    /// The broker has no queue for the message.
    #[error("the broker has no queue for {route:?}")]
    Unroutable {
        /// The route that the message was sent to.
        route: Route,
    },
    /// The broker refused the message.
    #[error("the broker refused the message")]
    Refused,
    /// The broker answers, and this queue of it cannot be used.
    #[error("the {route} {trouble}")]
    Queue {
        /// The queue.
        route: Route,
        /// The reason.
        trouble: Trouble,
    },
    /// The message cannot be encoded.
    #[error("the message cannot be encoded")]
    Encode(#[from] drumline_protocol::codec::Error),
}

impl Error {
    /// Returns true if the queue is at fault and not the broker: another queue
    /// may well take the message.
    #[must_use]
    pub const fn is_of_queue(&self) -> bool {
        match self {
            Self::Queue { .. } | Self::Unroutable { .. } | Self::Refused => true,
            Self::Unavailable { .. } | Self::Blocked { .. } | Self::Encode(_) => false,
        }
    }
}

/// The reason why a queue cannot be used although the broker answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// The queue takes messages and does not confirm them: it has no leader, or
    /// too few of its nodes are there.
    Silent,
    /// The queue does not answer consumers.
    Unconsumable,
    /// The broker refuses consumers of the queue: the user lacks a right, or
    /// another consumer holds the queue exclusively. An operator has to act.
    ConsumerRefused(String),
    /// The broker refuses to declare the queue: it exists with other arguments,
    /// the user lacks a right, or a limit is reached. An operator has to act.
    Refused(String),
}

impl Trouble {
    /// The kind, for labels and views.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Unconsumable => "unconsumable",
            Self::ConsumerRefused(_) => "consumer-refused",
            Self::Refused(_) => "refused",
        }
    }
}

impl Trouble {
    /// Returns true if the queue will not work before an operator acts.
    #[must_use]
    pub const fn needs_operator(&self) -> bool {
        match self {
            Self::ConsumerRefused(_) | Self::Refused(_) => true,
            Self::Silent | Self::Unconsumable => false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("does not confirm messages"),
            Self::Unconsumable => f.write_str("does not answer consumers"),
            Self::ConsumerRefused(why) => write!(f, "cannot be consumed: {why}"),
            Self::Refused(why) => write!(f, "cannot be declared: {why}"),
        }
    }
}

/// A queue that a process by-passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bypassed {
    /// The queue.
    pub route: Route,
    /// The reason.
    pub trouble: Trouble,
}

/// For people: the route and its trouble.
impl fmt::Display for Bypassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, trouble } = self;
        write!(f, "the {route} {trouble}")
    }
}

/// The broker's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A message that was delivered and waits to be acknowledged.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Takes the message off the queue for good. If the receipt is dropped
    /// instead, the message stays with the subscription until the subscription
    /// is closed, and is then delivered again.
    pub receipt: Box<dyn Receipt>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// The right to acknowledge one delivery.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// Acknowledges. Failure needs no handling beyond a log line: the message
    /// will come again, and the claim drops the duplicate.
    ///
    /// # Errors
    /// When the broker is unavailable.
    async fn acknowledge(self: Box<Self>) -> Result<()>;
}

/// A consumer of one queue.
#[async_trait]
pub trait Subscription: Send {
    /// Returns the next delivery, or `None` when the subscription has ended,
    /// for any reason: subscribe again, after a pause. Cancel-safe.
    async fn next(&mut self) -> Option<Delivery>;

    /// Hands the queue over: deliveries that were not acknowledged go back to
    /// the queue, and another consumer may start. It may get them behind messages that
    /// were published later.
    async fn close(self: Box<Self>);
}

/// The fill level of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The number of messages that no consumer has been given yet.
    pub messages: u64,
    /// The number of consumers.
    pub consumers: u64,
}

/// The broker delivers messages: hints that operations may be runnable.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes messages; queues are declared when first used. Answers in
    /// order, each after the broker has taken responsibility for the message.
    /// Bounded in time. A queue that fails never fails the messages of other
    /// queues.
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<Result<()>>;

    /// Starts to consume a queue, with at most `prefetch` messages in hand.
    ///
    /// # Errors
    /// When the broker is unavailable, or the queue cannot be used.
    async fn subscribe(&self, route: &Route, prefetch: NonZeroU16)
    -> Result<Box<dyn Subscription>>;

    /// Returns the fill level of a queue; `None` where the queue does not
    /// exist.
    ///
    /// # Errors
    /// When the broker is unavailable.
    async fn backlog(&self, route: &Route) -> Result<Option<Backlog>>;

    /// Deletes everything that a pool of workers has in the broker. Returns false, and
    /// deletes nothing, where a queue has messages or consumers. What is published at the
    /// same time may be lost: the store offers it again. The next use of the queue
    /// declares it.
    ///
    /// # Errors
    /// When the broker is unavailable: some may be deleted. May be repeated.
    async fn remove_queue(&self, queue: &QueueName, partitions: PartitionCount) -> Result<bool>;

    /// Checks that a message could be published now.
    ///
    /// # Errors
    /// The reason why no message could be published.
    fn check(&self) -> Result<()>;

    /// The number of the connection over which this process publishes. A
    /// changed number means that the broker was lost in between, and may have
    /// lost messages.
    fn connection_number(&self) -> u64 {
        0
    }

    /// The queues that this process cannot use although the broker answers.
    fn bypassed(&self) -> Vec<Bypassed> {
        Vec::new()
    }

    /// The reason why this process cannot use a queue, if it cannot.
    fn trouble(&self, route: &Route) -> Option<Trouble> {
        let all = self.bypassed().into_iter();
        let of_route = all.filter(|one| one.route == *route);
        of_route.map(|one| one.trouble).next()
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::message::Source;

    use super::*;

    #[test]
    fn a_trouble_has_a_kind_and_a_text_and_may_need_an_operator() {
        let why = "no right".to_owned();
        for (trouble, kind, text, needs_operator) in [
            (
                Trouble::Silent,
                "silent",
                "does not confirm messages",
                false,
            ),
            (
                Trouble::Unconsumable,
                "unconsumable",
                "does not answer consumers",
                false,
            ),
            (
                Trouble::ConsumerRefused(why.clone()),
                "consumer-refused",
                "cannot be consumed: no right",
                true,
            ),
            (
                Trouble::Refused(why),
                "refused",
                "cannot be declared: no right",
                true,
            ),
        ] {
            assert_eq!(trouble.kind(), kind);
            assert_eq!(trouble.to_string(), text);
            assert_eq!(trouble.needs_operator(), needs_operator, "{kind}");
            let route = Route {
                queue: QueueName::default(),
                source: Source::Work,
            };
            let bypassed = Bypassed {
                route: route.clone(),
                trouble,
            };
            assert_eq!(bypassed.to_string(), format!("the {route} {text}"));
        }
    }

    #[test]
    fn another_queue_is_no_help_where_the_broker_is_away() {
        let reason = String::new();
        assert!(Error::Refused.is_of_queue());
        assert!(!Error::Blocked { reason }.is_of_queue());
    }
}
