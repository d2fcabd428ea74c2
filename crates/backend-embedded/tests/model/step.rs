//! Makes an action happen, with the real transitions and the real store.

use std::collections::HashSet;
use std::sync::Arc;

use drumline_backend::store::{Commit, Created, Guard, Stamp};
use drumline_backend_embedded::State;
use drumline_protocol::transition::{At, ChainEffect, Refused};
use drumline_protocol::{Author, CommitId, Event, Header, OperationId, apply};

use crate::action::{Action, Request};
use crate::fixtures::{HOST, LATER, NOW, holding, operation, pause, scopes};
use crate::mutation::Mutation;
use crate::world::{Message, Suspect, Worker, World};

/// A rule that was broken in the very step, where no later world would show it.
pub(crate) type Broken = String;

impl World {
    /// The world after an action that [`World::progress`] or
    /// [`World::mishaps`] has offered.
    pub(crate) fn after(&self, action: Action) -> Result<Self, Broken> {
        let mut world = self.clone();
        match action {
            Action::Create => world.create(false),
            Action::CreateUnclear => {
                world.budget.unclear -= 1;
                world.create(true);
            }
            Action::Publish(at) => {
                world.publications[at].published = true;
                let message = world.publications[at].message.clone();
                let offer = (message.id, message.stamp);
                world.lost.retain(|lost| *lost != offer);
                world.broker.push(message);
            }
            Action::Confirm(at) => world.confirm(at),
            Action::PublisherDies(at) => {
                world.budget.crashes -= 1;
                world.publications.swap_remove(at);
            }
            Action::Relay(id) => {
                let stamp = world.store.outbox_entry(id);
                world.offer(id, stamp);
            }
            Action::Lose(at) => {
                world.budget.losses -= 1;
                let message = world.broker.swap_remove(at);
                if !world.in_broker(message.id, message.stamp) {
                    world.lost.push((message.id, message.stamp));
                }
            }
            Action::Double(at) => {
                world.budget.doubles -= 1;
                let message = world.broker[at].clone();
                world.broker.push(message);
            }
            Action::Forge(id) => {
                world.budget.forgeries -= 1;
                let header = Arc::new(world.header(id));
                let (stamp, queue) = (Stamp(0), world.usual_queue(id));
                let message = Message {
                    id,
                    header,
                    stamp,
                    queue,
                };
                world.broker.push(message);
            }
            Action::Deliver { worker, message } => {
                let message = world.broker.swap_remove(message);
                world.workers[worker] = Worker::Offered {
                    message,
                    from_broker: true,
                };
            }
            Action::TimePasses => world.is_late = true,
            Action::Claim(at) => world.claim(at, false)?,
            Action::ClaimUnclear(at) => {
                world.budget.unclear -= 1;
                world.claim(at, true)?;
            }
            Action::Finish(at, ending, next) => world.finish(at, ending, next)?,
            Action::FinishUnclear(at) => {
                world.budget.unclear -= 1;
                world.finish_unclear(at)?;
            }
            Action::Renew(at) => world.renew(at),
            Action::WorkerDies(at) => world.worker_dies(at),
            Action::Client(id, request) => {
                world.budget.clients -= 1;
                let event = match request {
                    Request::Pause => Event::Pause,
                    Request::Resume => Event::Resume,
                    Request::Postpone => Event::Postpone(NOW),
                    Request::Cancel => Event::Cancel,
                    Request::Discard => Event::Discard,
                };
                world.manage(id, event, Guard::None);
            }
            Action::Due(id) => world.manage(id, Event::Due, Guard::None),
            Action::Expire(id) => world.manage(id, Event::Expire, Guard::None),
            Action::Suspect(id) => {
                world.budget.suspicions -= 1;
                world.suspect = world.store.lock(id).map(|held| Suspect {
                    id,
                    fence: held.fence,
                    beat: held.beat,
                });
            }
            Action::TakeOverSuspect => world.take_over_suspect()?,
            Action::TakeOver(id) => {
                if let Some(held) = world.store.lock(id) {
                    let guard = Guard::Unchanged {
                        holding: holding(held.fence),
                        beat: held.beat,
                    };
                    world.manage(id, Event::LeaseExpired, guard);
                }
            }
            Action::Pause(scope) => {
                world.budget.pauses -= 1;
                let [first, second] = scopes();
                let scope = if scope == 0 { first } else { second };
                world.store().set_pause(pause(scope));
                world.copy_pauses();
            }
            Action::Lift(scope) => {
                let [first, second] = scopes().map(|scope| scope.key());
                let key = if scope == 0 { first } else { second };
                world.store().lift_pause(key);
                world.copy_pauses();
            }
            Action::Release => world.release(),
            Action::Reconcile(id) | Action::Redirect(id) => world.reoffer(id),
            Action::Bypass(at) => world.bypass(at),
            Action::Break(queue) => {
                world.budget.breaks -= 1;
                world.broken[queue] = true;
            }
            Action::Heal(queue) => {
                world.budget.repairs -= 1;
                world.broken[queue] = false;
            }
            Action::Replace(queue) => {
                world.budget.repairs -= 1;
                world.replace(queue);
            }
            Action::OfferNeedlessly(id) => {
                world.budget.needless_offers -= 1;
                world.reoffer(id);
            }
        }
        world.forget_what_came_too_late();
        Ok(world)
    }

    /// Drops messages that can make no difference any more, now or later:
    /// offers of Completed operations, and confirms of entries that are gone.
    /// This gives fewer worlds, and no different behaviour is lost. Each is
    /// shown to make no difference before it is dropped.
    fn forget_what_came_too_late(&mut self) {
        if self.mutation != Mutation::None {
            return;
        }
        let header = |id| self.store.header(id).expect("it was created");
        let over = |message: &Message| {
            let claim = Event::Claim {
                host: HOST.to_owned(),
            };
            let at = At {
                now: NOW,
                commit: CommitId(0),
            };
            let header = header(message.id);
            header.completed_on.is_some() && apply(&header, claim, at).is_err()
        };
        self.publications.retain(|publication| {
            let Message { id, stamp, .. } = publication.message;
            let entry = self.store.outbox_entry(id);
            if publication.published && entry != Some(stamp) {
                let mut store = State::clone(&self.store);
                store.remove_from_outbox(id, stamp);
                return store.outbox_entry(id) != entry;
            }
            publication.published || !over(&publication.message)
        });
        self.broker.retain(|message| !over(message));
        for worker in &mut self.workers {
            if let Worker::Offered { message, .. } = worker
                && over(message)
            {
                *worker = Worker::Idle;
            }
        }
        self.drop_copies_in_broken_queues();
    }

    /// Keeps one copy of each offer in a queue that does not work: the relay
    /// would add another with each look. The budget of doubles covers further
    /// copies.
    fn drop_copies_in_broken_queues(&mut self) {
        let broken = self.broken;
        let works = |message: &Message| !broken[message.queue];
        let key = |message: &Message| {
            let version = message.header.version;
            (message.id, message.stamp, version, message.queue)
        };
        let mut seen = HashSet::new();
        self.broker
            .retain(|message| works(message) || seen.insert(key(message)));
        let mut seen = HashSet::new();
        self.publications.retain(|one| {
            let waits = !one.published || works(&one.message);
            waits || seen.insert((key(&one.message), one.bypassed))
        });
    }

    pub(crate) fn store(&mut self) -> &mut State {
        Arc::make_mut(&mut self.store)
    }

    /// Creates the next operation, or repeats the last creation.
    fn create(&mut self, unclear: bool) {
        let again = std::mem::replace(&mut self.creation_unclear, unclear);
        let number = self.created.len() - usize::from(again);
        // The name follows from the number, so that a repetition has the same
        // name.
        let small = u8::try_from(number).expect("there are few");
        let name = CommitId(u64::MAX - u64::from(small));
        let not_after = self.expiring[number].then_some(LATER);
        let new = operation(small, self.script[number], not_after, self.policy, name);
        let (id, now) = (new.id, self.now());
        if !again {
            self.created.push(id);
        }
        let created = self.store().create(new, now);
        match created {
            Created::New { offer, .. } if !unclear => self.offer(id, offer),
            Created::New { .. } => {}
            Created::Exists(_)
            | Created::Unreadable(_)
            | Created::KeyReused
            | Created::KeySpent(_) => {
                unreachable!("nobody else uses its id, and it has no key")
            }
        }
    }

    fn confirm(&mut self, at: usize) {
        let Message { id, stamp, .. } = self.publications.swap_remove(at).message;
        let stamp = if self.mutation == Mutation::ConfirmIgnoresStamp {
            self.store.outbox_entry(id).unwrap_or(stamp)
        } else {
            stamp
        };
        self.store().remove_from_outbox(id, stamp);
    }

    pub(crate) fn decided(
        &mut self,
        id: OperationId,
        seen: &Header,
        event: Event,
        guard: Guard,
    ) -> Result<Commit, Refused> {
        let at = At {
            now: self.now(),
            commit: self.commit_id(),
        };
        let author = match guard {
            Guard::Holder(_) | Guard::Acquire { .. } => Author::worker(HOST),
            Guard::None | Guard::Unchanged { .. } => Author::manager("a task"),
        };
        let mut commit = Commit::new(id, seen, &apply(seen, event, at)?, guard, &author);
        let holds = commit.effects.chain == ChainEffect::Hold;
        if holds && self.mutation == Mutation::HoldLetsGo {
            commit.effects.chain = ChainEffect::Leave;
        }
        if self.mutation == Mutation::NothingIsOnRecord {
            commit.entries.clear();
        }
        Ok(commit)
    }
}
