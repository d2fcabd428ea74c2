//! A way round queues that do not work: no single queue is needed for progress.
//!
//! ```text
//! offers ─→ lane ──✗──→ work queue ──✗──→ spare queue
//!                 by-pass            by-pass
//! ```
//!
//! The claim keeps the order of a token, through any queue. So an offer that
//! its queue does not take goes through the next one at once; the offer is
//! confirmed when any of the queues has it.
//!
//! Each process detects by itself the queues that do not confirm, and reports
//! them with its beat. Reports of other members matter where a process cannot
//! see the trouble: a lane that confirms but gives nothing to its consumer. A
//! wrong report costs locality and a duplicate, never an operation: a queue
//! that is reported is tried last.
//!
//! Markers are never by-passed: a marker asks about the queue that it is sent
//! through.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use async_trait::async_trait;
use drumline_protocol::message::{Message, Route};
use drumline_protocol::{PartitionCount, QueueName, limits};
use parking_lot::{RwLock, RwLockReadGuard};

use crate::broker::{self, Backlog, Broker, Bypassed, Result, Subscription, Trouble};
use crate::membership::{BYPASSED_MAX, MemberId, Roster};

/// A broker whose offers find their way round queues that do not work.
pub struct Bypass {
    broker: Arc<dyn Broker>,
    /// The troubles that other members report.
    reported: RwLock<BTreeMap<Route, Trouble>>,
}

/// The most characters of a broker's own words in a report.
const WORDS_MAX: usize = 120;

impl std::fmt::Debug for Bypass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bypass").finish_non_exhaustive()
    }
}

impl Bypass {
    /// Puts the by-pass in front of a broker.
    #[must_use]
    pub fn over(broker: Arc<dyn Broker>) -> Arc<Self> {
        Arc::new(Self {
            broker,
            reported: RwLock::default(),
        })
    }

    /// Notes the reports of the other members, in place of their earlier
    /// reports.
    pub fn note(&self, roster: &Roster, me: MemberId) {
        let mut reported = BTreeMap::new();
        for other in roster.others(me) {
            for Bypassed { route, trouble } in &other.bypassed {
                let known = reported.entry(route.clone());
                known.or_insert_with(|| trouble.clone());
            }
        }
        let mut known = self.reported.write();
        *known = reported;
    }

    /// The queues that this process itself cannot use, for its beat.
    #[must_use]
    pub fn own(&self) -> Vec<Bypassed> {
        let mut own = self.broker.bypassed();
        own.truncate(BYPASSED_MAX);
        for one in &mut own {
            if let Trouble::Refused(why) | Trouble::ConsumerRefused(why) = &mut one.trouble {
                *why = limits::cut(why, WORDS_MAX).to_owned();
            }
        }
        own
    }

    /// The reason why this process itself cannot use a queue; reports of other
    /// members do not count.
    #[must_use]
    pub fn own_trouble(&self, route: &Route) -> Option<Trouble> {
        self.broker.trouble(route)
    }

    fn reported(&self) -> RwLockReadGuard<'_, BTreeMap<Route, Trouble>> {
        self.reported.read()
    }

    /// The queues that this process tries last because other members report them.
    fn avoided(&self) -> BTreeSet<Route> {
        let reported = self.reported();
        let avoided = reported.iter().filter(|(_, trouble)| steers(trouble));
        avoided.map(|(route, _)| route.clone()).collect()
    }
}

/// Returns true if a report steers the offers of other members. A refused
/// declaration does not: a process finds it out at once by trying, and the
/// reporter may only lack a right.
const fn steers(reported: &Trouble) -> bool {
    match reported {
        Trouble::Silent | Trouble::Unconsumable | Trouble::ConsumerRefused(_) => true,
        Trouble::Refused(_) => false,
    }
}

/// The queues that a message may travel through, in the order in which they
/// are to be tried: the avoided ones last.
fn ways(route: &Route, message: &Message, avoided: &BTreeSet<Route>) -> Vec<Route> {
    let mut all = match message {
        Message::Offers(_) => route.ways(),
        Message::Marker(_) => return vec![route.clone()],
    };
    // Stable: each half keeps its order.
    all.sort_by_key(|way| avoided.contains(way));
    all
}

fn is_of_queue(answer: &Result<()>) -> bool {
    answer.as_ref().is_err_and(broker::Error::is_of_queue)
}

/// A message that no queue has taken yet.
struct Open {
    /// Its place in the answers.
    at: usize,
    /// The queues that are left to try; the next one is the last of them.
    ways: Vec<Route>,
}

#[async_trait]
impl Broker for Bypass {
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<Result<()>> {
        let avoided = self.avoided();
        // Nearly always no queue is avoided, and everything is taken at once.
        let mut answers = if avoided.is_empty() {
            self.broker.publish(messages).await
        } else {
            let first = |(route, message): &(Route, Message)| {
                let way = ways(route, message, &avoided).into_iter().next();
                (way.unwrap_or_else(|| route.clone()), message.clone())
            };
            let first: Vec<(Route, Message)> = messages.iter().map(first).collect();
            self.broker.publish(&first).await
        };
        let mut open = Vec::new();
        for (at, ((route, message), answer)) in messages.iter().zip(&answers).enumerate() {
            if is_of_queue(answer) {
                let mut ways = ways(route, message, &avoided);
                ways.reverse();
                ways.pop();
                open.push(Open { at, ways });
            }
        }
        while !open.is_empty() {
            let mut batch = Vec::with_capacity(open.len());
            let mut tried = Vec::with_capacity(open.len());
            for mut one in open.drain(..) {
                if let (Some(way), Some((_, message))) = (one.ways.pop(), messages.get(one.at)) {
                    batch.push((way, message.clone()));
                    tried.push(one);
                }
            }
            if batch.is_empty() {
                break;
            }
            for (one, answer) in tried.into_iter().zip(self.broker.publish(&batch).await) {
                let goes_on = is_of_queue(&answer);
                if let Some(place) = answers.get_mut(one.at) {
                    *place = answer;
                }
                if goes_on {
                    open.push(one);
                }
            }
        }
        answers
    }

    async fn subscribe(
        &self,
        route: &Route,
        prefetch: NonZeroU16,
    ) -> Result<Box<dyn Subscription>> {
        self.broker.subscribe(route, prefetch).await
    }

    async fn backlog(&self, route: &Route) -> Result<Option<Backlog>> {
        self.broker.backlog(route).await
    }

    async fn remove_queue(&self, queue: &QueueName, partitions: PartitionCount) -> Result<bool> {
        self.broker.remove_queue(queue, partitions).await
    }

    fn check(&self) -> Result<()> {
        self.broker.check()
    }

    fn connection_number(&self) -> u64 {
        self.broker.connection_number()
    }

    /// The queues that this process cannot use, and those that other members
    /// report.
    fn bypassed(&self) -> Vec<Bypassed> {
        let mut all = self.broker.bypassed();
        for (route, trouble) in self.reported().iter() {
            if !all.iter().any(|own| own.route == *route) {
                all.push(Bypassed {
                    route: route.clone(),
                    trouble: trouble.clone(),
                });
            }
        }
        all
    }

    fn trouble(&self, route: &Route) -> Option<Trouble> {
        let own = self.broker.trouble(route);
        let reported = || {
            self.reported()
                .get(route)
                .filter(|one| steers(one))
                .cloned()
        };
        own.or_else(reported)
    }
}

#[cfg(test)]
mod tests;
