//! The actions of managers: take over, offer again, serve clients, publish.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Committed, Done, Guard, Pauses, Stamp};
use drumline_protocol::{Event, OperationId};

use crate::fixtures::{holding, partition, scope_keys};
use crate::mutation::Mutation;
use crate::step::Broken;
use crate::world::{LANE, Message, Publication, WORK, World};

impl World {
    pub(crate) fn take_over_suspect(&mut self) -> Result<(), Broken> {
        let Some(suspect) = self.suspect.take() else {
            return Ok(());
        };
        let Some(held) = self.store.lock(suspect.id).copied() else {
            return Ok(());
        };
        let moved = (held.fence, held.beat) != (suspect.fence, suspect.beat);
        let guard = if self.mutation == Mutation::TakeOverIgnoresBeat {
            Guard::Holder(holding(held.fence))
        } else {
            Guard::Unchanged {
                holding: holding(suspect.fence),
                beat: suspect.beat,
            }
        };
        let before = self.header(suspect.id).version;
        self.manage(suspect.id, Event::LeaseExpired, guard);
        if moved && self.header(suspect.id).version != before {
            return Err(format!(
                "{}: taken over though its lock has moved",
                suspect.id
            ));
        }
        Ok(())
    }

    /// The scopes that are paused.
    pub(crate) fn paused(&self) -> [bool; 2] {
        let pauses = self.store.pauses().pauses;
        if pauses.is_empty() {
            return [false; 2];
        }
        let in_force: Vec<_> = pauses.iter().map(|pause| pause.scope.key()).collect();
        scope_keys().map(|scope| in_force.contains(&scope))
    }

    /// Returns true if an operation is held by a scope that is not paused any
    /// more.
    pub(crate) fn may_release(&self) -> bool {
        let held = self.created.iter().filter_map(|id| self.store.held_by(*id));
        let held: Vec<_> = held.collect();
        if held.is_empty() {
            return false;
        }
        let mut numbered = scope_keys().into_iter().zip(self.paused());
        numbered.any(|(scope, is_paused)| !is_paused && held.contains(&scope))
    }

    pub(crate) fn copy_pauses(&mut self) {
        let pauses = self.store.pauses();
        self.store().copy_pauses(&pauses, partition());
    }

    /// One operation at a time, so that others act in between.
    pub(crate) fn release(&mut self) {
        let now = self.now();
        self.store().release_held(partition(), None, 1, now);
    }

    /// Takes an operation out of the held set and out of the outbox, as a store
    /// that forgets it would.
    pub(crate) fn forget_held(&mut self, id: OperationId) {
        let now = self.now();
        let paused = self.store.pauses();
        let none = Pauses {
            version: u64::MAX - 1,
            ..Pauses::default()
        };
        self.store().copy_pauses(&none, partition());
        self.store().release_held(partition(), None, 1, now);
        if let Some(stamp) = self.store.outbox_entry(id) {
            self.store().remove_from_outbox(id, stamp);
        }
        let again = Pauses {
            version: u64::MAX,
            ..paused
        };
        self.store().copy_pauses(&again, partition());
    }

    pub(crate) fn reoffer(&mut self, id: OperationId) {
        let seen = self.store.last_offer(id).unwrap_or(Stamp(0));
        let now = self.now();
        let stamp = self.store().reoffer(id, seen, Duration::ZERO, now);
        self.offer(id, stamp);
    }

    /// A manager applies an event to an operation, from the header that it
    /// reads.
    pub(crate) fn manage(&mut self, id: OperationId, event: Event, guard: Guard) {
        let seen = self.header(id);
        let Ok(commit) = self.decided(id, &seen, event, guard) else {
            return;
        };
        let now = self.now();
        if let Committed::Done(done) = self.store().commit(commit, now) {
            self.follow_up(id, &done);
        }
    }

    /// The process that made a commit publishes the entries that it put into
    /// the outbox.
    pub(crate) fn follow_up(&mut self, id: OperationId, done: &Done) {
        self.offer(id, done.offer);
        let Some(head) = &done.promoted else {
            return;
        };
        if self.mutation == Mutation::NobodyIsPromoted {
            self.store()
                .remove_from_outbox(head.operation.id, head.stamp);
        } else {
            self.offer(head.operation.id, Some(head.stamp));
        }
    }

    pub(crate) fn offer(&mut self, id: OperationId, stamp: Option<Stamp>) {
        let Some(stamp) = stamp else {
            return;
        };
        let message = Message {
            id,
            header: Arc::new(self.header(id)),
            stamp,
            queue: self.usual_queue(id),
        };
        self.publications.push(Publication {
            message,
            published: false,
            bypassed: false,
        });
    }

    /// The queue that offers of an operation go through while all queues work.
    pub(crate) fn usual_queue(&self, id: OperationId) -> usize {
        match self.header(id).rules.chain {
            Some(_) => LANE,
            None => WORK,
        }
    }

    /// A queue does not confirm a message: the message goes through the next
    /// one, too.
    pub(crate) fn bypass(&mut self, at: usize) {
        self.publications[at].bypassed = true;
        let mut message = self.publications[at].message.clone();
        message.queue += 1;
        self.broker.push(message.clone());
        self.publications.push(Publication {
            message,
            published: true,
            bypassed: false,
        });
    }

    /// A queue is made again: the messages in it are lost.
    pub(crate) fn replace(&mut self, queue: usize) {
        self.broken[queue] = false;
        let all = std::mem::take(&mut self.broker).into_iter();
        let (gone, kept): (Vec<_>, Vec<_>) = all.partition(|message| message.queue == queue);
        self.broker = kept;
        for message in gone {
            if !self.in_broker(message.id, message.stamp) {
                self.lost.push((message.id, message.stamp));
            }
        }
        // Its confirms are lost with it.
        self.publications
            .retain(|one| !(one.published && one.message.queue == queue));
    }
}
