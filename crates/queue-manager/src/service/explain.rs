//! The reason that an operation does not run, or does not end: the question of an
//! operator at night.
//!
//! The answer is made on demand from what the store, the broker and the members
//! report at this moment. It is for people: nothing is decided by it, and it may
//! be out of date when it is read. It costs some round trips, and a search
//! through the chain if there is one, so clients that merely poll should not ask
//! for it.

use std::time::Duration;

use drumline_backend::broker::Bypassed;
use drumline_backend::membership::Group;
use drumline_backend::store::{Filter, LastOffer, Summary};
use drumline_backend::{Broker as _, Member};
use drumline_protocol::message::Offer;
use drumline_protocol::transition::EventKind;
use drumline_protocol::{Operation, OperationId, Pause, QueueName, State, Status, Timestamp};
use tokio::time::Instant;

use super::QueueManager;
use super::history::last_event;
use crate::error::Result;

/// The time that a chain may be searched for its head. After that the earliest
/// operation that was found is named: it is in the way too.
const SEARCH: Duration = Duration::from_secs(2);
/// The members that are examined at a time for one that is not busy.
const MEMBERS: usize = 100;
/// The tolerance for ids of earlier operations that look newer than this one:
/// managers make ids, each by its own idea of the store's time.
const SLACK: Duration = Duration::from_secs(1);

/// The reason that an operation does not run, or does not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// A time.
    Time(Timestamp),
    /// The next time of a series.
    Occurrence(Timestamp),
    /// A person who resumes it.
    Person,
    /// A person who resumes the series.
    PersonForSeries,
    /// The end of its handler, which was asked to stop.
    Stop,
    /// An earlier operation of its token.
    Predecessor {
        /// The earlier operation.
        id: OperationId,
        /// The status of the earlier operation.
        status: Status,
    },
    /// An earlier operation of its token, which failed or was cancelled, and
    /// holds the token until a person says how to go on.
    Holder {
        /// The earlier operation.
        id: OperationId,
        /// The status in which it ended.
        status: Status,
    },
    /// The end of a pause, which holds it.
    Pause(Box<Pause>),
    /// A worker that serves its queue: there is none.
    Worker {
        /// The queue.
        queue: QueueName,
    },
    /// A worker with a handler for it: none of those that serve its queue has one,
    /// or had one for a while.
    Handler {
        /// The queue.
        queue: QueueName,
        /// The message name that needs the handler.
        message_name: String,
    },
    /// A worker that takes its message name again: the handler has failed too often.
    Throttle {
        /// The message name whose operations fail.
        message_name: String,
    },
    /// The broker, which takes no messages.
    Broker {
        /// The broker's reason.
        why: String,
    },
    /// A free place: all workers that could run it are busy.
    Slot {
        /// The places of these workers, all together.
        slots: u64,
    },
    /// A queue of the broker that takes its offer: the operation is Ready, and
    /// the broker is not known to have the offer.
    Dispatch {
        /// The queue that its offers usually go through, and that queue's
        /// fault, if it has one.
        bypassed: Option<Bypassed>,
    },
    /// Its turn: there are workers with free places, and the broker has the
    /// offer or had it.
    Delivery {
        /// The age of the offer, by the store's clock.
        offered_ago: Option<Duration>,
        /// The queue that its offers usually go through, if that queue does not
        /// work.
        bypassed: Option<Bypassed>,
    },
}

/// The operations that the workers of a group run at once, all together.
fn slots(group: &Group) -> u64 {
    let workers = u64::try_from(group.ids.len()).unwrap_or(u64::MAX);
    workers.saturating_mul(u64::from(group.profile.concurrency))
}

impl QueueManager {
    /// The reason that an operation waits; `None` if it runs or is Completed.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn explain(&self, operation: &Operation) -> Result<Option<WaitingFor>> {
        Ok(match operation.header.status {
            Status::WaitingForResources => Some(self.why_not_claimed(operation).await?),
            Status::Waiting => Some(match operation.header.postpone_until {
                None => self.why_no_time(operation).await?,
                Some(next) if operation.header.is_series() => WaitingFor::Occurrence(next),
                Some(until) => WaitingFor::Time(until),
            }),
            Status::Pausing | Status::Canceling => Some(WaitingFor::Stop),
            Status::InProgress | Status::Succeeded | Status::Failed | Status::Canceled => None,
        })
    }

    /// The reason that an operation is Suspended without a time. The fault alone does
    /// not tell: a person may have paused the operation since.
    async fn why_no_time(&self, operation: &Operation) -> Result<WaitingFor> {
        if operation.header.is_series() {
            return Ok(WaitingFor::PersonForSeries);
        }
        let body = &operation.body;
        let message_name = body.message_name.clone();
        let last = last_event(self.store(), operation.id).await?;
        Ok(match last {
            Some(EventKind::Unhandled) => WaitingFor::Handler {
                queue: body.queue.clone(),
                message_name,
            },
            Some(EventKind::Throttle) => WaitingFor::Throttle { message_name },
            Some(_) | None => WaitingFor::Person,
        })
    }

    async fn why_not_claimed(&self, operation: &Operation) -> Result<WaitingFor> {
        if let Some(head) = self.predecessor(operation).await? {
            let (id, status) = (head.id, head.header.status);
            return Ok(if head.header.holding {
                WaitingFor::Holder { id, status }
            } else {
                WaitingFor::Predecessor { id, status }
            });
        }
        if let Some(pause) = self.pause_of(operation).await? {
            return Ok(WaitingFor::Pause(Box::new(pause)));
        }
        let queue = &operation.body.queue;
        let message_name = &operation.body.message_name;
        let roster = self.backend().membership.roster().await?;
        let mut profiles = roster.groups().iter().map(|group| &group.profile);
        if !profiles.any(|profile| profile.serves_queue(queue)) {
            let queue = queue.clone();
            return Ok(WaitingFor::Worker { queue });
        }
        let is_able = |group: &&Group| group.profile.serves(queue, message_name);
        let able: Vec<_> = roster.groups().iter().filter(is_able).collect();
        if able.is_empty() {
            return Ok(WaitingFor::Handler {
                queue: queue.clone(),
                message_name: message_name.clone(),
            });
        }
        let takes = |group: &&Group| group.profile.takes(queue, message_name);
        if !able.iter().any(takes) {
            let message_name = message_name.clone();
            return Ok(WaitingFor::Throttle { message_name });
        }
        if let Err(error) = self.backend().broker.check() {
            let why = error.to_string();
            return Ok(WaitingFor::Broker { why });
        }
        if !self.has_free_slot(queue, message_name).await? {
            let slots = able.into_iter().map(slots).sum();
            return Ok(WaitingFor::Slot { slots });
        }
        let route = Offer::of(operation).route();
        let trouble = self.bypass().trouble(&route);
        let bypassed = trouble.map(|trouble| Bypassed { route, trouble });
        let last = self.store().last_offer(operation.id).await?;
        if last.is_some_and(|last| last.is_in_outbox) {
            return Ok(WaitingFor::Dispatch { bypassed });
        }
        let now = u64::try_from(self.store().now().as_millis()).unwrap_or(0);
        // A stamp ahead of the clock gives no age.
        let age = |last: LastOffer| (now.saturating_mul(1000)).checked_sub(last.stamp.0);
        Ok(WaitingFor::Delivery {
            offered_ago: last.and_then(age).map(Duration::from_micros),
            bypassed,
        })
    }

    /// Returns true if a worker that could run such an operation is not busy.
    async fn has_free_slot(&self, queue: &QueueName, message_name: &str) -> Result<bool> {
        let is_free = |member: &Member| {
            let profile = &member.profile;
            profile.serves(queue, message_name) && member.running < profile.concurrency
        };
        let mut place = None;
        loop {
            let page = self.backend().membership.members(place, MEMBERS).await?;
            if page.members.iter().any(is_free) {
                return Ok(true);
            }
            place = page.next;
            if place.is_none() {
                return Ok(false);
            }
        }
    }

    /// The head of the chain, if it is not the operation itself.
    async fn predecessor(&self, operation: &Operation) -> Result<Option<Summary>> {
        let Some(chain) = operation.header.rules.chain else {
            return Ok(None);
        };
        let end = Instant::now() + SEARCH;
        // Ids of one millisecond are in no order.
        let newest = operation.body.created_on.saturating_add(SLACK);
        let newest = OperationId::new(newest, operation.id.partition(), [0xff; 16]);
        let mut earliest: Option<Summary> = None;
        // Only heads hold or are Locked. They are few, while Ready operations
        // may be many.
        for state in [
            State::Locked,
            State::Completed,
            State::Suspended,
            State::Ready,
        ] {
            let filter = Filter {
                chain: Some(chain),
                state: Some(state),
                holding: (state == State::Completed).then_some(true),
                ..Filter::default()
            };
            let mut cursor = Some(newest);
            loop {
                let limit = self.options().limits.page;
                let page = self.store().list_summaries(&filter, cursor, limit);
                let page = page.await?;
                let before = page.operations.into_iter().chain(earliest.take());
                earliest = before
                    .filter(|other| other.sequence < operation.sequence)
                    .min_by_key(|other| other.sequence);
                cursor = page.next;
                if cursor.is_none() || Instant::now() >= end {
                    break;
                }
            }
            let is_head = matches!(state, State::Locked | State::Completed);
            if is_head && earliest.is_some() {
                break;
            }
        }
        Ok(earliest)
    }
}
