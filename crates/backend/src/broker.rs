//! The broker: carries hints that operations may be runnable.
//!
//! At least once, mostly in order, sometimes not at all: nothing rests on it
//! but speed. What it must not do is claim to have a message that it has not.

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::message::{Message, Route};
use serde::{Deserialize, Serialize};

/// How long a consumer may keep a delivery before what it offers is claimed,
/// dropped, or on its way through the broker once more. Workers keep to it
/// while store and broker answer; a queue manager that wonders whether a
/// message is lost waits for longer than this once all deliveries before a
/// marker were made.
///
/// Longer, and lost messages are found later. Shorter, and a busy worker passes
/// on what it would have had a slot for in a moment.
pub const UNDECIDED_MAX: Duration = Duration::from_millis(2500);

/// What can go wrong with a broker.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or none that answers in time. Whether a message was
    /// taken is open.
    #[error("the broker is not available: {message}")]
    Unavailable {
        /// What was tried.
        message: String,
        /// What lies beneath.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It takes no messages now: a memory or disk alarm.
    #[error("the broker takes no messages now: {reason}")]
    Blocked {
        /// What it said.
        reason: String,
    },
    /// It has no queue for the message.
    #[error("the broker has no queue for {route:?}")]
    Unroutable {
        /// Where it was sent.
        route: Route,
    },
    /// It refused the message.
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
    /// The message cannot be written down.
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

/// Why a queue cannot be used although the broker answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// It takes messages and does not confirm them: it has no leader, or too
    /// few of its nodes are there.
    Silent,
    /// It does not answer consumers.
    Unconsumable,
    /// The broker refuses consumers of it: the user lacks a right, or somebody
    /// has the queue for himself. An operator has to act.
    ConsumerRefused(String),
    /// The broker refuses to declare it: it exists with other arguments, the
    /// user lacks a right, or a limit is reached. An operator has to act.
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
    /// Returns true if the queue will not work before somebody acts.
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

/// For people: the route and what is wrong with it.
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
    /// Takes it off the queue for good. Dropped instead, the message stays
    /// with the subscription until that is closed, and is then delivered again.
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
    /// will come again, and the claim will sort it out.
    ///
    /// # Errors
    /// When the broker is away.
    async fn acknowledge(self: Box<Self>) -> Result<()>;
}

/// A consumer of one queue.
#[async_trait]
pub trait Subscription: Send {
    /// The next delivery; `None` when the subscription has ended, for whatever
    /// reason: subscribe again, after a pause. Cancel-safe.
    async fn next(&mut self) -> Option<Delivery>;

    /// Hands the queue over: what was delivered and not acknowledged goes back
    /// to it, and another consumer may start.
    async fn close(self: Box<Self>);
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that no consumer has been given yet.
    pub messages: u64,
    /// Consumers.
    pub consumers: u64,
}

/// The broker: see the module's text.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes messages; queues are declared when first used. Answers in
    /// order, each after the broker has taken responsibility for the message.
    /// Bounded in time. A queue that fails never fails the messages of others.
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<Result<()>>;

    /// Starts to consume a queue, with at most `prefetch` messages in hand.
    ///
    /// # Errors
    /// When the broker is away, or the queue cannot be used.
    async fn subscribe(&self, route: &Route, prefetch: NonZeroU16)
    -> Result<Box<dyn Subscription>>;

    /// How full a queue is; `None` where it does not exist.
    ///
    /// # Errors
    /// When the broker is away.
    async fn backlog(&self, route: &Route) -> Result<Option<Backlog>>;

    /// Whether a message could be published now.
    ///
    /// # Errors
    /// Why not.
    fn check(&self) -> Result<()>;

    /// The number of the connection over which this process publishes. Another
    /// number means that the broker was lost in between, and may have lost
    /// messages.
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
