//! What travels through the broker: hints that operations may be runnable.
//!
//! A message decides nothing. It may be lost, late, doubled or forged; the
//! claim in the store sorts that out.

use serde::{Deserialize, Serialize};

use crate::id::{OperationId, Partition};
use crate::operation::{Header, Operation, TraceContext};
use crate::token::QueueName;

/// The content of one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// These operations may be runnable. Several in one message under load.
    Offers(Vec<Offer>),
    /// Sent through a queue by a manager; when it comes back, everything that
    /// was published to that queue before it has been delivered or lost.
    Marker(Marker),
}

/// One operation that may be runnable, with what a claim needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Which operation.
    pub id: OperationId,
    /// Its header when it was offered: the claim commits against its version.
    pub header: Header,
    /// Lets a worker without a handler decline without asking the store.
    pub message_name: String,
    /// The pool of workers that it is for.
    pub queue: QueueName,
    /// The creating span, so that even a declined delivery can be traced.
    pub trace: TraceContext,
}

impl Offer {
    /// The offer of an operation as it stands.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        Self {
            id: operation.id,
            header: operation.header.clone(),
            message_name: operation.body.message_name.clone(),
            queue: operation.body.queue.clone(),
            trace: operation.body.trace.clone(),
        }
    }

    /// Where it is published: the lane of its partition where it has a token,
    /// else the work queue.
    #[must_use]
    pub fn route(&self) -> Route {
        Route {
            queue: self.queue.clone(),
            source: match self.header.rules.chain {
                Some(_) => Source::Lane(self.id.partition()),
                None => Source::Work,
            },
        }
    }
}

/// A marker: see [`Message::Marker`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Where it was sent.
    pub route: Route,
    /// The store's stamp when it was sent.
    pub stamp: u64,
}

/// One queue of the broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The pool of workers.
    pub queue: QueueName,
    /// Which of its queues.
    pub source: Source,
}

/// The two kinds of broker queue that a pool of workers has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Operations without a token; every worker of the pool consumes it.
    Work,
    /// Heads of the chains of one partition; one worker at a time consumes it.
    Lane(Partition),
}
