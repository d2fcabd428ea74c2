//! The reason that an operation does not run, or does not end: the question of an
//! operator at night.
//!
//! The answer is made on demand from what the store, the broker and the members
//! report at this moment. It is for people: nothing is decided by it, and it may
//! be out of date when it is read. It costs some round trips, so clients that
//! merely poll should not ask for it.
//!
//! An operation behind others of its order waits for the first of them, the head:
//! for what the head waits for. So the head is explained with it.

use std::time::Duration;

use drumline_backend::broker::Bypassed;
use drumline_backend::membership::Group;
use drumline_backend::store::{ChainPlace, LastOffer, Neighbourhood, Summary};
use drumline_backend::{Broker as _, Member};
use drumline_protocol::history::Entry;
use drumline_protocol::transition::EventKind;
use drumline_protocol::{
    Author, Operation, OperationId, Pause, QueueName, State, Status, Timestamp,
};

use super::QueueManager;
use crate::error::Result;

/// The members that are examined at a time for one that is not busy.
const MEMBERS: usize = 100;

/// The reason that an operation does not run, or does not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// A time.
    Time(Timestamp),
    /// The next time of a series.
    Occurrence(Timestamp),
    /// A person who resumes it.
    Person {
        /// The caller who paused it. Otherwise its handler asked for a person.
        paused_by: Option<String>,
    },
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

/// The reason that an operation does not run, or does not end, with the reason at
/// the root of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The reason.
    pub waiting_for: WaitingFor,
    /// The time since which the operation has its status, if that is on record.
    pub since: Option<Timestamp>,
    /// The number of operations of its order that are before it.
    pub before: u64,
    /// The number of operations of its order that wait behind it.
    pub behind: u64,
    /// The head, if the operation waits for it.
    pub root: Option<Root>,
}

/// The operation that all others of its order wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The operation.
    pub id: OperationId,
    /// Its status.
    pub status: Status,
    /// The time since which it has its status, if that is on record.
    pub since: Option<Timestamp>,
    /// The host that runs it, if it runs.
    pub host: Option<String>,
    /// The reason that it does not run, or does not end. `None` if it runs, or
    /// holds its order.
    pub waiting_for: Option<WaitingFor>,
}

/// The operations that the workers of a group run at once, all together.
fn slots(group: &Group) -> u64 {
    let workers = u64::try_from(group.ids.len()).unwrap_or(u64::MAX);
    workers.saturating_mul(u64::from(group.profile.concurrency))
}

/// Returns true for a status in which an operation does not run, or is to end.
const fn waits(status: Status) -> bool {
    match status {
        Status::WaitingForResources | Status::Waiting | Status::Pausing | Status::Canceling => true,
        Status::InProgress | Status::Succeeded | Status::Failed | Status::Canceled => false,
    }
}

/// The reason that an operation is Suspended without a time. The fault alone does
/// not tell: a person may have paused the operation since.
fn why_no_time(operation: &Summary, history: &[Entry]) -> WaitingFor {
    if operation.header.is_series() {
        return WaitingFor::PersonForSeries;
    }
    let message_name = operation.body.message_name.clone();
    match history.last().map(|entry| entry.event) {
        Some(EventKind::Unhandled) => WaitingFor::Handler {
            queue: operation.body.queue.clone(),
            message_name,
        },
        Some(EventKind::Throttle) => WaitingFor::Throttle { message_name },
        Some(EventKind::Suspend) => WaitingFor::Person { paused_by: None },
        Some(_) | None => WaitingFor::Person {
            paused_by: paused_by(history),
        },
    }
}

/// The caller who has paused an operation. The worker's entry of the stop may be
/// behind the caller's.
fn paused_by(history: &[Entry]) -> Option<String> {
    let mut entries = history.iter().rev();
    let pause = entries.find(|entry| entry.event == EventKind::Pause)?;
    match &pause.author {
        Author::Caller(name) => Some(name.clone()),
        Author::Worker(_) | Author::Handler(_) | Author::Manager(_) | Author::Schedule(_) => None,
    }
}

impl QueueManager {
    /// The reason that an operation waits; `None` if it runs or is Completed.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn explain(&self, operation: &Operation) -> Result<Option<Explanation>> {
        if !waits(operation.header.status) {
            return Ok(None);
        }
        let operation = Summary::of(operation);
        let place = self.place(&operation).await?;
        let (before, behind) = place
            .as_ref()
            .map_or((0, 0), |place| (place.before, place.behind));
        let history = self.entries(&operation).await?;
        let since = history.last().map(|entry| entry.at);
        let is_ready = operation.header.status == Status::WaitingForResources;
        if let Some(head) = place.filter(|place| is_ready && place.before > 0)
            && let Some(root) = self.root(head.head).await?
        {
            let Root { id, status, .. } = root;
            let waiting_for = if status.state() == State::Completed {
                WaitingFor::Holder { id, status }
            } else {
                WaitingFor::Predecessor { id, status }
            };
            return Ok(Some(Explanation {
                waiting_for,
                since,
                before,
                behind,
                root: Some(root),
            }));
        }
        let waiting_for = self.why(&operation, &history).await?;
        Ok(waiting_for.map(|waiting_for| Explanation {
            waiting_for,
            since,
            before,
            behind,
            root: None,
        }))
    }

    /// The place of an operation in its chain, if it is in one.
    async fn place(&self, operation: &Summary) -> Result<Option<ChainPlace>> {
        if operation.header.rules.chain.is_none() {
            return Ok(None);
        }
        let place = self.store().chain_place(operation.id, Neighbourhood::NONE);
        Ok(place.await?)
    }

    /// The kept history of an operation, oldest first; nothing if the operation has
    /// been removed meanwhile.
    async fn entries(&self, operation: &Summary) -> Result<Vec<Entry>> {
        let recorded = self.store().history(operation.id).await?;
        let history = recorded.map(|recorded| recorded.history(&operation.body));
        Ok(history.map(|history| history.entries).unwrap_or_default())
    }

    /// The head of a chain, and its reason; `None` if it has left the chain
    /// meanwhile.
    async fn root(&self, id: OperationId) -> Result<Option<Root>> {
        let found = self.store().summaries(&[id]).await?;
        let Some(head) = found.into_iter().next().flatten() else {
            return Ok(None);
        };
        let status = head.header.status;
        if status.state() == State::Completed && !head.header.holding {
            return Ok(None);
        }
        let history = self.entries(&head).await?;
        let waiting_for = self.why(&head, &history).await?;
        Ok(Some(Root {
            id,
            status,
            since: history.last().map(|entry| entry.at),
            host: (status.state() == State::Locked)
                .then_some(head.header.host_id)
                .flatten(),
            waiting_for,
        }))
    }

    /// The reason for an operation that no other one is in the way of.
    async fn why(&self, operation: &Summary, history: &[Entry]) -> Result<Option<WaitingFor>> {
        Ok(match operation.header.status {
            Status::WaitingForResources => Some(self.why_not_claimed(operation).await?),
            Status::Waiting => Some(match operation.header.postpone_until {
                None => why_no_time(operation, history),
                Some(next) if operation.header.is_series() => WaitingFor::Occurrence(next),
                Some(until) => WaitingFor::Time(until),
            }),
            Status::Pausing | Status::Canceling => Some(WaitingFor::Stop),
            Status::InProgress | Status::Succeeded | Status::Failed | Status::Canceled => None,
        })
    }

    async fn why_not_claimed(&self, operation: &Summary) -> Result<WaitingFor> {
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
        let route = operation.offer().route();
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
}
