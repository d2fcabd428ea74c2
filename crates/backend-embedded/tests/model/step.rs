//! Makes an action happen, with the real transitions and the real store.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Created, Done, Guard, Renewal, Stamp};
use drumline_backend_embedded::State;
use drumline_protocol::transition::{At, ChainEffect, Refused};
use drumline_protocol::{
    ErrorCode, Event, Fault, Fence, Header, Jitter, OperationId, Status, apply,
};

use crate::action::{Action, Ending, Next, Request};
use crate::mutation::Mutation;
use crate::props::{NOW, operation, taking};
use crate::world::{Message, Publication, Suspect, Worker, World};

/// A rule that was broken in the very step, where no later world would show it.
pub type Broken = String;

impl World {
    /// The world after an action that [`World::progress`] or
    /// [`World::mishaps`] has offered.
    pub fn after(&self, action: Action) -> Result<Self, Broken> {
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
                world.broker.push(message);
            }
            Action::Confirm(at) => world.confirm(at),
            Action::PublisherDies(at) => {
                world.budget.crashes -= 1;
                world.publications.swap_remove(at);
            }
            Action::Relay(id) => {
                let stamp = world.store.dispatch_entry(id);
                world.offer(id, stamp);
            }
            Action::Lose(at) => {
                world.budget.losses -= 1;
                let message = world.broker.swap_remove(at);
                if !world.on_its_way(message.id, message.stamp) {
                    world.lost.push((message.id, message.stamp));
                }
            }
            Action::Double(at) => {
                world.budget.doubles -= 1;
                let message = world.broker[at].clone();
                world.broker.push(message);
            }
            Action::Deliver { worker, message } => {
                let message = world.broker.swap_remove(message);
                world.workers[worker] = Worker::Offered {
                    message,
                    from_broker: true,
                };
            }
            Action::Claim(at) => world.claim(at, false),
            Action::ClaimUnclear(at) => {
                world.budget.unclear -= 1;
                world.claim(at, true);
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
                };
                world.manage(id, event, Guard::Open);
            }
            Action::Due(id) => world.manage(id, Event::Due, Guard::Open),
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
                    let guard = Guard::Watched {
                        fence: held.fence,
                        beat: held.beat,
                    };
                    world.manage(id, Event::LeaseExpired, guard);
                }
            }
            Action::Reconcile(id) => world.reoffer(id),
            Action::OfferNeedlessly(id) => {
                world.budget.needless_offers -= 1;
                world.reoffer(id);
            }
        }
        Ok(world)
    }

    fn store(&mut self) -> &mut State {
        Arc::make_mut(&mut self.store)
    }

    /// Creates the next operation, or repeats the last creation.
    fn create(&mut self, unclear: bool) {
        let again = std::mem::replace(&mut self.creation_unclear, unclear);
        let number = self.created.len() - usize::from(again);
        // Its name follows from its number, so that a repetition is one.
        let name = drumline_protocol::CommitId(u64::MAX - number as u64);
        let new = operation(number as u8, self.script[number], name);
        let id = new.id;
        if !again {
            self.created.push(id);
        }
        let created = self.store().create(new, NOW);
        match created {
            Created::New { offer, .. } if !unclear => self.offer(id, offer),
            Created::New { .. } => {}
            Created::Exists(_) => unreachable!("nobody else uses its id"),
        }
    }

    fn confirm(&mut self, at: usize) {
        let Message { id, stamp, .. } = self.publications.swap_remove(at).message;
        let stamp = match self.mutation {
            Mutation::ConfirmIgnoresStamp => self.store.dispatch_entry(id).unwrap_or(stamp),
            _ => stamp,
        };
        self.store().dispatched(id, stamp);
    }

    /// Claims what a worker has in hand, or repeats its claim.
    fn claim(&mut self, at: usize, unclear: bool) {
        let worker = std::mem::replace(&mut self.workers[at], Worker::Idle);
        let (message, from_broker, first) = match worker {
            Worker::Offered {
                message,
                from_broker,
            } => {
                let claim = self.claim_commit(message.id, &message.header);
                (message, from_broker, claim)
            }
            Worker::ClaimUnclear {
                message,
                from_broker,
                commit,
            } => (message, from_broker, Some(Commit::clone(&commit))),
            Worker::Idle | Worker::Running { .. } | Worker::FinishUnclear { .. } => {
                unreachable!("it has nothing to claim")
            }
        };
        let id = message.id;
        let mut next = first;
        while let Some(commit) = next {
            let sent = commit.clone();
            let answer = self.store().commit(commit, NOW);
            if unclear {
                self.workers[at] = Worker::ClaimUnclear {
                    message,
                    from_broker,
                    commit: Arc::new(sent),
                };
                return;
            }
            next = match answer {
                Committed::Done(done) => {
                    let fence = done.fence.expect("a claim takes a lock");
                    self.workers[at] = Worker::Running { id, fence };
                    None
                }
                // Parked, or it is not the caller's: the message is done with.
                Committed::NotHead | Committed::Fenced | Committed::Missing => None,
                Committed::Conflict(header) => self.claim_commit(id, &header),
            };
        }
    }

    /// The commit of a claim; `None` where the header says that it is too late.
    fn claim_commit(&mut self, id: OperationId, seen: &Header) -> Option<Commit> {
        let event = Event::Claim {
            host: String::new(),
        };
        let mut commit = self.decided(id, seen, event, taking()).ok()?;
        if self.mutation == Mutation::ClaimIgnoresOrder {
            commit.effects.chain = ChainEffect::Keep;
        }
        Some(commit)
    }

    /// A handler ends, and its worker writes that down.
    fn finish(&mut self, at: usize, ending: Ending, next: Next) -> Result<(), Broken> {
        let worker = std::mem::replace(&mut self.workers[at], Worker::Idle);
        let (id, fence, commit) = match worker {
            Worker::Running { id, fence } => {
                if ending != Ending::Well {
                    self.budget.unsteady -= 1;
                }
                (id, fence, self.ending_commit(id, fence, ending))
            }
            Worker::FinishUnclear { fence, commit } => {
                (commit.id, fence, Some(Commit::clone(&commit)))
            }
            Worker::Idle | Worker::Offered { .. } | Worker::ClaimUnclear { .. } => {
                unreachable!("it runs nothing")
            }
        };
        let Some(commit) = commit else {
            return Ok(());
        };
        let again = self.header(id).commit == commit.header.commit;
        let answer = match self.holder_commit(commit, fence, again)? {
            // Somebody asked it to stop meanwhile, or took it away.
            Committed::Conflict(_) => match self.ending_commit(id, fence, Ending::Well) {
                Some(commit) => self.holder_commit(commit, fence, false)?,
                None => return Ok(()),
            },
            answer @ (Committed::Done(_)
            | Committed::NotHead
            | Committed::Fenced
            | Committed::Missing) => answer,
        };
        let Committed::Done(done) = answer else {
            return Ok(());
        };
        let promoted = done.promoted.as_ref().map(|head| Message {
            id: head.operation.id,
            header: Arc::new(head.operation.header.clone()),
            stamp: head.stamp,
        });
        match (promoted, next) {
            (Some(message), Next::GoesOn) if self.mutation != Mutation::NobodyIsPromoted => {
                self.workers[at] = Worker::Offered {
                    message,
                    from_broker: false,
                };
            }
            _ => self.follow_up(id, &done),
        }
        Ok(())
    }

    fn finish_unclear(&mut self, at: usize) -> Result<(), Broken> {
        let Worker::Running { id, fence } = self.workers[at] else {
            unreachable!("it runs nothing");
        };
        let Some(commit) = self.ending_commit(id, fence, Ending::Well) else {
            self.workers[at] = Worker::Idle;
            return Ok(());
        };
        let sent = Arc::new(commit.clone());
        self.holder_commit(commit, fence, false)?;
        self.workers[at] = Worker::FinishUnclear {
            fence,
            commit: sent,
        };
        Ok(())
    }

    /// The commit of a handler's end; `None` where the header says that it is
    /// not its to end any more.
    fn ending_commit(&mut self, id: OperationId, fence: Fence, ending: Ending) -> Option<Commit> {
        let seen = self.header(id).clone();
        let event = match (ending, seen.status) {
            (Ending::Release, _) => Event::Release,
            (_, Status::Pausing | Status::Canceling) => Event::Stopped,
            (Ending::Retry, _) => Event::Retry {
                fault: Fault::new(ErrorCode::NETWORK_ERROR, "", ""),
                after: Some(Duration::ZERO),
                jitter: Jitter(0),
            },
            (Ending::Well, _) => Event::Succeed,
        };
        self.decided(id, &seen, event, Guard::Holder(fence)).ok()
    }

    /// A write of a holder. It must not be made for anybody else.
    fn holder_commit(
        &mut self,
        mut commit: Commit,
        fence: Fence,
        again: bool,
    ) -> Result<Committed, Broken> {
        let id = commit.id;
        let current = self.store.lock(id).map(|held| held.fence);
        if let (Mutation::WriteIgnoresFence, Some(current)) = (self.mutation, current) {
            commit.guard = Guard::Holder(current);
        }
        let answer = self.store().commit(commit, NOW);
        if matches!(answer, Committed::Done(_)) && !again && current != Some(fence) {
            return Err(format!("{id}: a stale holder has written"));
        }
        Ok(answer)
    }

    fn renew(&mut self, at: usize) {
        self.budget.renewals -= 1;
        let Worker::Running { id, fence } = self.workers[at] else {
            unreachable!("it holds nothing");
        };
        match self.store().renew(id, fence) {
            Renewal::Held { .. } => {}
            Renewal::Lost => self.workers[at] = Worker::Idle,
        }
    }

    fn worker_dies(&mut self, at: usize) {
        self.budget.crashes -= 1;
        match std::mem::replace(&mut self.workers[at], Worker::Idle) {
            Worker::Offered {
                message,
                from_broker: true,
            }
            | Worker::ClaimUnclear {
                message,
                from_broker: true,
                ..
            } => self.broker.push(message),
            Worker::Idle
            | Worker::Offered { .. }
            | Worker::ClaimUnclear { .. }
            | Worker::Running { .. }
            | Worker::FinishUnclear { .. } => {}
        }
    }

    fn take_over_suspect(&mut self) -> Result<(), Broken> {
        let Some(suspect) = self.suspect.take() else {
            return Ok(());
        };
        let Some(held) = self.store.lock(suspect.id).copied() else {
            return Ok(());
        };
        let moved = (held.fence, held.beat) != (suspect.fence, suspect.beat);
        let guard = match self.mutation {
            Mutation::TakeOverIgnoresBeat => Guard::Holder(held.fence),
            _ => Guard::Watched {
                fence: suspect.fence,
                beat: suspect.beat,
            },
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

    fn reoffer(&mut self, id: OperationId) {
        let seen = self.store.last_offer(id).unwrap_or(Stamp(0));
        let stamp = self.store().reoffer(id, seen, Duration::ZERO, NOW);
        self.offer(id, stamp);
    }

    /// A manager makes something happen to an operation, from what it reads.
    fn manage(&mut self, id: OperationId, event: Event, guard: Guard) {
        let seen = self.header(id).clone();
        let Ok(commit) = self.decided(id, &seen, event, guard) else {
            return;
        };
        if let Committed::Done(done) = self.store().commit(commit, NOW) {
            self.follow_up(id, &done);
        }
    }

    fn decided(
        &mut self,
        id: OperationId,
        seen: &Header,
        event: Event,
        guard: Guard,
    ) -> Result<Commit, Refused> {
        let at = At {
            now: NOW,
            commit: self.commit_id(),
        };
        Ok(Commit::new(id, seen, &apply(seen, event, at)?, guard))
    }

    /// Whoever made a commit publishes what it put into the dispatch set.
    fn follow_up(&mut self, id: OperationId, done: &Done) {
        self.offer(id, done.offer);
        let Some(head) = &done.promoted else {
            return;
        };
        if self.mutation == Mutation::NobodyIsPromoted {
            self.store().dispatched(head.operation.id, head.stamp);
        } else {
            self.offer(head.operation.id, Some(head.stamp));
        }
    }

    fn offer(&mut self, id: OperationId, stamp: Option<Stamp>) {
        let Some(stamp) = stamp else {
            return;
        };
        let message = Message {
            id,
            header: Arc::new(self.header(id).clone()),
            stamp,
        };
        self.publications.push(Publication {
            message,
            published: false,
        });
    }
}
