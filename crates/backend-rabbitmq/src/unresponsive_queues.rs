//! Queues that do not work while the broker does.
//!
//! A quorum queue without a leader takes messages and never confirms them; so
//! does one whose nodes are down. RabbitMQ even makes such queues: killed
//! within three seconds after it has created one, it forgets the name under
//! which its log is filed, starts it as an empty follower, and waits for an
//! election that no node calls (rabbitmq-server#10070, #15725). A consumer that
//! asks such a queue gets no answer for a minute, and then loses its connection
//! (541, seen on 3.10). Other queues cannot even be declared: they exist with
//! other arguments, or a limit is reached.
//!
//! One such queue must not hold up the others, and no offer needs it: offers go
//! round it ([`drumline_backend::bypass`]). The list belongs to the process and
//! outlives its connections. A message for an unresponsive queue is answered at
//! once. A queue leaves the list when a late confirm comes, or when the repair
//! task has tried it with success; the repair tries with backoff.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::Random;
use drumline_backend::broker::{Bypassed, Error, Trouble};
use drumline_protocol::Backoff;
use drumline_protocol::message::Source;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::topology::Target;

/// The first pause before a queue is tried. Late confirms clear a slow queue
/// before that; and a queue that works again is missed for no longer.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// The longest pause between tries. A queue that does not work costs nothing
/// but locality, and each try costs the broker a connection.
const LAST_TRY: Duration = Duration::from_secs(30);

/// The pauses where an operator has to act. Every process of a fleet tries.
const REFUSED_FIRST: Duration = Duration::from_secs(15);
const REFUSED_LAST: Duration = Duration::from_secs(60);

/// The time for which a queue is not mentioned in the log again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A queue that no caller has used for so long is dropped. Producers may name
/// ever new queues, and a queue that is used again is found out again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The unresponsive queues of one process.
#[derive(Debug, Default)]
pub(crate) struct UnresponsiveQueues {
    known: Mutex<Known>,
    added: Notify,
    random: Random,
}

#[derive(Debug, Default)]
struct Known {
    queues: HashMap<Target, Unresponsive>,
    /// The last time that each queue was mentioned in the log, where that is not
    /// long ago.
    told: HashMap<Target, Instant>,
}

#[derive(Debug)]
struct Unresponsive {
    trouble: Trouble,
    since: Instant,
    /// The last time that a caller wanted to use it.
    used: Instant,
    due: Instant,
    backoff: Backoff,
}

/// A queue that is to be tried.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) target: Target,
    /// The time at which it became unresponsive.
    pub(crate) since: Instant,
    /// The time at which it is to be tried.
    pub(crate) at: Instant,
}

impl UnresponsiveQueues {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known().queues.is_empty()
    }

    /// The error of a caller that wants to use a queue; `None` for a queue that
    /// works.
    pub(crate) fn refusal(&self, target: &Target) -> Option<Error> {
        let mut known = self.known();
        let queue = known.queues.get_mut(target)?;
        queue.used = Instant::now();
        Some(refusal(target, queue.trouble.clone()))
    }

    /// The trouble with a queue, if it is unresponsive.
    pub(crate) fn trouble(&self, target: &Target) -> Option<Trouble> {
        let known = self.known();
        known.queues.get(target).map(|one| one.trouble.clone())
    }

    /// Adds a queue, or notes what else is wrong with it.
    pub(crate) fn add(&self, target: &Target, trouble: Trouble) {
        let now = Instant::now();
        let mut known = self.known();
        let told = known.told.get(target);
        if told.is_none_or(|told| now.duration_since(*told) >= TELL_AGAIN) {
            known
                .told
                .retain(|_, told| now.duration_since(*told) < TELL_AGAIN);
            known.told.insert(target.clone(), now);
            tracing::warn!(queue = %target, %trouble, "a queue does not work and is by-passed");
        }
        if let Some(queue) = known.queues.get_mut(target) {
            queue.trouble = trouble;
            return;
        }
        let mut backoff = if trouble.needs_operator() {
            Backoff::new(REFUSED_FIRST, REFUSED_LAST)
        } else {
            Backoff::new(FIRST_TRY, LAST_TRY)
        };
        let due = now + backoff.jittered(self.random.f64());
        let queue = Unresponsive {
            trouble,
            since: now,
            used: now,
            due,
            backoff,
        };
        known.queues.insert(target.clone(), queue);
        drop(known);
        self.added.notify_one();
    }

    /// Removes a queue: it works.
    pub(crate) fn clear(&self, target: &Target) {
        self.clear_if(target, |_trouble| true);
    }

    /// [`Self::clear`], where the queue is unresponsive for a reason that is
    /// disproved.
    pub(crate) fn clear_if(&self, target: &Target, disproved: impl Fn(&Trouble) -> bool) {
        let mut known = self.known();
        let queue = known.queues.get(target);
        if queue.is_some_and(|queue| disproved(&queue.trouble))
            && let Some(queue) = known.queues.remove(target)
        {
            let after = queue.since.elapsed();
            tracing::debug!(queue = %target, ?after, "a queue works again");
        }
    }

    /// Returns the queue that is to be tried first, but for those that are being
    /// tried. Of those that are due, the queues that every offer can take come
    /// first.
    pub(crate) fn next(&self, but: &[Target]) -> Option<Due> {
        let mut known = self.known();
        let now = Instant::now();
        known
            .queues
            .retain(|_, queue| now.duration_since(queue.used) < FORGOTTEN_AFTER);
        let others = known.queues.iter();
        let others = others.filter(|(target, _)| !but.contains(target));
        let due = others.map(|(target, queue)| Due {
            target: target.clone(),
            since: queue.since,
            at: queue.due,
        });
        due.min_by_key(|due| {
            let is_lane = matches!(
                &due.target,
                Target::Route(route) if matches!(route.source, Source::Lane(_))
            );
            (due.at.max(now), is_lane, due.at)
        })
    }

    /// Puts off the next try after a failed one: the pause grows.
    pub(crate) fn put_off(&self, target: &Target) {
        if let Some(queue) = self.known().queues.get_mut(target) {
            queue.due = Instant::now() + queue.backoff.jittered(self.random.f64());
        }
    }

    /// Waits until a queue has been added since this was last called.
    /// Cancel-safe.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    /// The unresponsive queues that offers could go through.
    pub(crate) fn bypassed(&self) -> Vec<Bypassed> {
        let known = self.known();
        let of = |(target, queue): (&Target, &Unresponsive)| match target {
            Target::Route(route) => Some(Bypassed {
                route: route.clone(),
                trouble: queue.trouble.clone(),
            }),
            Target::Quarantine | Target::Requests | Target::RefusedRequests => None,
        };
        let mut bypassed: Vec<Bypassed> = known.queues.iter().filter_map(of).collect();
        drop(known);
        bypassed.sort_by(|a, b| a.route.cmp(&b.route));
        bypassed
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

/// The error of a queue that cannot be used.
pub(crate) fn refusal(target: &Target, trouble: Trouble) -> Error {
    match target {
        Target::Route(route) => Error::Queue {
            route: route.clone(),
            trouble,
        },
        Target::Quarantine | Target::Requests | Target::RefusedRequests => Error::Unavailable {
            message: format!("the queue {target} {trouble}"),
            source: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::message::Route;
    use drumline_protocol::{Partition, QueueName};

    use super::*;

    fn lane(number: u16) -> Target {
        Target::Route(Route {
            queue: QueueName::default(),
            source: Source::Lane(Partition::new(number)),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_unresponsive_queue_is_tried_again_with_growing_pauses() {
        let unresponsive = UnresponsiveQueues::default();
        unresponsive.add(&lane(1), Trouble::Silent);
        unresponsive.added().await;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let due = unresponsive.next(&[]).expect("it is unresponsive");
            pauses.push(due.at.saturating_duration_since(Instant::now()));
            tokio::time::sleep_until(due.at).await;
            assert!(unresponsive.refusal(&lane(1)).is_some(), "it is still used");
            unresponsive.put_off(&lane(1));
        }
        assert!(pauses[0] <= FIRST_TRY, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LAST_TRY), "{pauses:?}");
        assert!(pauses[7] >= LAST_TRY / 2, "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_confirm_clears_silence_and_nothing_else() {
        let unresponsive = UnresponsiveQueues::default();
        unresponsive.add(&lane(1), Trouble::Silent);
        unresponsive.add(&lane(2), Trouble::Unconsumable);
        for target in [lane(1), lane(2)] {
            unresponsive.clear_if(&target, |trouble| *trouble == Trouble::Silent);
        }
        assert!(unresponsive.refusal(&lane(1)).is_none());
        assert!(unresponsive.refusal(&lane(2)).is_some());
        unresponsive.clear(&lane(2));
        assert!(unresponsive.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unresponsive_queue_that_nobody_uses_is_forgotten() {
        let unresponsive = UnresponsiveQueues::default();
        unresponsive.add(&lane(1), Trouble::Silent);
        tokio::time::sleep(FORGOTTEN_AFTER).await;
        assert!(unresponsive.next(&[]).is_none());
        assert!(unresponsive.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_that_are_due_a_work_queue_is_tried_before_the_lanes() {
        let unresponsive = UnresponsiveQueues::default();
        let work = Target::Route(Route {
            queue: QueueName::default(),
            source: Source::Work,
        });
        for number in 0..20 {
            unresponsive.add(&lane(number), Trouble::Silent);
        }
        unresponsive.add(&work, Trouble::Silent);
        tokio::time::sleep(FIRST_TRY).await;
        let next = |but: &[Target]| {
            unresponsive
                .next(but)
                .expect("they are unresponsive")
                .target
        };
        assert_eq!(next(&[]), work);
        assert_ne!(next(std::slice::from_ref(&work)), work, "it is being tried");
    }
}
