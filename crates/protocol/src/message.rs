//! Messages travel through the broker: hints that operations may be runnable.
//!
//! A message decides nothing. It may be lost, late, doubled or forged; the
//! claim in the store resolves that.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::extensions::Extensions;
use crate::id::{OperationId, Partition};
use crate::operation::{Body, Header, Operation, TraceContext};
use crate::pause::{ScopeKey, scope_keys};
use crate::token::{Organization, QueueName};

/// The content of one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Operations that may be runnable. Several in one message under load.
    Offers(Vec<Offer>),
    /// Sent through a queue by a manager; when it comes back, everything that
    /// was published to that queue before it has been delivered or lost.
    Marker(Marker),
}

/// One operation that may be runnable, with what a claim needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// The operation that is offered.
    pub id: OperationId,
    /// Its header when it was offered: the claim commits against its version.
    pub header: Header,
    /// The message name, so that a worker without a handler can decline without
    /// asking the store.
    pub message_name: String,
    /// The pool of workers that the operation is for.
    pub queue: QueueName,
    /// The tenant, so that the claim can name the scopes of pauses that the
    /// operation is in.
    pub organization: Organization,
    /// The creating span, so that even a declined delivery can be traced.
    pub trace: TraceContext,
    /// The fields that a later minor version has added.
    #[serde(default)]
    pub extensions: Extensions,
}

impl Offer {
    /// The offer of an operation as it stands.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        Self::new(operation.id, &operation.header, &operation.body)
    }

    /// The offer of an operation with these parts. The body's data is not in it.
    #[must_use]
    pub fn new(id: OperationId, header: &Header, body: &Body) -> Self {
        Self {
            id,
            header: header.clone(),
            message_name: body.message_name.clone(),
            queue: body.queue.clone(),
            organization: body.organization.clone(),
            trace: body.trace.clone(),
            // An offer is made from the record again whenever it is needed.
            extensions: Extensions::default(),
        }
    }

    /// The keys of the scopes that the operation is in, for its claim.
    #[must_use]
    pub fn scope_keys(&self) -> Vec<ScopeKey> {
        scope_keys(
            &self.organization,
            &self.queue,
            &self.message_name,
            self.header.rules.chain,
        )
    }

    /// The queue that the offer is published to: the lane of its partition if
    /// it has a token, else the work queue.
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

/// A manager's probe of one queue: see [`Message::Marker`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The queue that the marker was sent to.
    pub route: Route,
    /// The store's stamp when it was sent.
    pub stamp: u64,
}

/// One queue of the broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The pool of workers.
    pub queue: QueueName,
    /// The kind of broker queue in that pool.
    pub source: Source,
}

impl Route {
    /// The queues that an offer for this one may travel through, the usual one
    /// first. The claim keeps the order on any of them, so no single queue is
    /// needed for progress.
    #[must_use]
    pub fn ways(&self) -> Vec<Self> {
        let sources: &[Source] = match self.source {
            Source::Lane(_) => &[self.source, Source::Work, Source::Spare],
            Source::Work => &[Source::Work, Source::Spare],
            Source::Spare => &[Source::Spare, Source::Work],
        };
        let through = |source: &Source| Self {
            queue: self.queue.clone(),
            source: *source,
        };
        sources.iter().map(through).collect()
    }
}

/// For people: `work queue of default`, `lane 17 of default`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Work => write!(f, "work queue of {}", self.queue),
            Source::Spare => write!(f, "spare queue of {}", self.queue),
            Source::Lane(partition) => write!(f, "lane {} of {}", partition.get(), self.queue),
        }
    }
}

/// The kinds of broker queue that a pool of workers has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Operations without a token; every worker of the pool consumes it.
    Work,
    /// Heads of the chains of one partition; one worker at a time consumes it.
    Lane(Partition),
    /// The second work queue, for offers that the first one does not take.
    /// Every worker of the pool consumes it.
    Spare,
}

impl Source {
    /// The kind, for labels and views.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Lane(_) => "lane",
            Self::Spare => "spare",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(source: Source) -> Route {
        let queue = QueueName::default();
        Route { queue, source }
    }

    #[test]
    fn a_lane_is_bypassed_through_the_work_queue_and_that_through_the_spare_queue() {
        let lane = route(Source::Lane(Partition::new(3)));
        let (work, spare) = (route(Source::Work), route(Source::Spare));
        assert_eq!(lane.ways(), [lane.clone(), work.clone(), spare.clone()]);
        assert_eq!(work.ways(), [work.clone(), spare.clone()]);
        assert_eq!(spare.ways(), [spare, work]);
    }

    #[test]
    fn a_route_is_written_for_people() {
        let lane = route(Source::Lane(Partition::new(3)));
        assert_eq!(lane.to_string(), "lane 3 of default");
        assert_eq!(route(Source::Spare).to_string(), "spare queue of default");
    }

    #[test]
    fn a_source_is_named_for_labels() {
        let sources = [Source::Work, Source::Lane(Partition::new(3)), Source::Spare];
        assert_eq!(sources.map(Source::kind), ["work", "lane", "spare"]);
    }
}
