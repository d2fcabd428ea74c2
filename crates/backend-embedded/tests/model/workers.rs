//! The actions of workers: claim, finish, renew, die.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Guard, Renewal};
use drumline_protocol::transition::{ChainEffect, DueEffect};
use drumline_protocol::{ErrorCode, Event, Fault, Fence, Header, Jitter, OperationId, Status};

use crate::action::{Ending, Next};
use crate::fixtures::{HOST, LATER, claimed_scopes, holding, taking};
use crate::mutation::Mutation;
use crate::step::Broken;
use crate::world::{LANE, Message, Worker, World};

impl World {
    /// Claims the operation that a worker has in hand, or repeats its claim. One
    /// whose time to start is over ends instead.
    pub(crate) fn claim(&mut self, at: usize, unclear: bool) -> Result<(), Broken> {
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
            // A claim that was made before the pause, and is repeated.
            let again = self.header(id).commit == sent.header.commit;
            let now = self.now();
            let answer = self.store().commit(commit, now);
            if unclear {
                self.workers[at] = Worker::ClaimUnclear {
                    message,
                    from_broker,
                    commit: Arc::new(sent),
                };
                return Ok(());
            }
            next = match answer {
                Committed::Done(done) if sent.header.completed_on.is_some() => {
                    self.follow_up(id, &done);
                    None
                }
                Committed::Done(done) => {
                    let fence = done.fence.expect("a claim takes a lock");
                    self.workers[at] = Worker::Running { id, fence };
                    self.check_start(id, &sent.header)?;
                    if self.paused().contains(&true) && !again {
                        return Err(format!("{id} was started under a pause"));
                    }
                    None
                }
                // Parked, or not the caller's: the message is done with.
                Committed::NotHead | Committed::Fenced | Committed::Missing => None,
                // In the held set: the message is done with, too.
                Committed::Held(_) => {
                    if self.mutation == Mutation::HeldIsForgotten {
                        self.forget_held(id);
                    }
                    None
                }
                Committed::Conflict(header) => self.claim_commit(id, &header),
            };
        }
        Ok(())
    }

    /// The commit of a claim; `None` if the header shows that it is too late.
    pub(crate) fn claim_commit(&mut self, id: OperationId, seen: &Header) -> Option<Commit> {
        if self.mutation == Mutation::ClaimIgnoresExpiry && seen.is_expired(self.now()) {
            return self.late_claim(id, seen);
        }
        let event = if seen.is_expired(self.now()) {
            Event::Expire
        } else {
            claim_event()
        };
        let mut commit = self.decided(id, seen, event, taking()).ok()?;
        if self.mutation == Mutation::ClaimIgnoresOrder {
            commit.effects.chain = ChainEffect::Keep;
        }
        if self.mutation != Mutation::ClaimIgnoresPauses {
            commit.scopes = claimed_scopes();
        }
        Some(commit)
    }

    /// The commit of a claim that does not ask for the time.
    fn late_claim(&mut self, id: OperationId, seen: &Header) -> Option<Commit> {
        let mut ageless = seen.clone();
        ageless.rules.not_after = None;
        let mut commit = self.decided(id, &ageless, claim_event(), taking()).ok()?;
        commit.header.rules.not_after = seen.rules.not_after;
        commit.effects.due = DueEffect::Clear;
        Some(commit)
    }

    /// Checks that a claim that was made is no first start after the time to
    /// start.
    fn check_start(&self, id: OperationId, claimed: &Header) -> Result<(), Broken> {
        let mut expiring = self.created.iter().zip(self.expiring.iter());
        let expires = expiring.any(|(other, expires)| *other == id && *expires);
        let is_late = claimed.started_on.is_some_and(|on| on >= LATER);
        if expires && is_late && claimed.starts == 1 {
            return Err(format!("{id} was started late"));
        }
        Ok(())
    }

    /// A handler ends, and its worker writes the end down.
    pub(crate) fn finish(&mut self, at: usize, ending: Ending, next: Next) -> Result<(), Broken> {
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
            // A client asked it to stop meanwhile, or a manager took it over.
            Committed::Conflict(_) => match self.ending_commit(id, fence, Ending::Well) {
                Some(commit) => self.holder_commit(commit, fence, false)?,
                None => return Ok(()),
            },
            answer @ (Committed::Done(_)
            | Committed::NotHead
            | Committed::Held(_)
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
            queue: LANE,
        });
        let goes_on = next == Next::GoesOn && self.mutation != Mutation::NobodyIsPromoted;
        if let Some(message) = promoted.filter(|_| goes_on) {
            self.workers[at] = Worker::Offered {
                message,
                from_broker: false,
            };
        } else {
            self.follow_up(id, &done);
        }
        Ok(())
    }

    pub(crate) fn finish_unclear(&mut self, at: usize) -> Result<(), Broken> {
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

    /// The commit of a handler's end; `None` if the header shows that the
    /// worker may not end it any more.
    pub(crate) fn ending_commit(
        &mut self,
        id: OperationId,
        fence: Fence,
        ending: Ending,
    ) -> Option<Commit> {
        let seen = self.header(id);
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
        self.decided(id, &seen, event, Guard::Holder(holding(fence)))
            .ok()
    }

    /// A write of a holder. It must not be made for any other process.
    pub(crate) fn holder_commit(
        &mut self,
        mut commit: Commit,
        fence: Fence,
        again: bool,
    ) -> Result<Committed, Broken> {
        let id = commit.id;
        let current = self.store.lock(id).map(|held| held.fence);
        if let (Mutation::WriteIgnoresFence, Some(current)) = (self.mutation, current) {
            commit.guard = Guard::Holder(holding(current));
        }
        let now = self.now();
        let answer = self.store().commit(commit, now);
        if matches!(answer, Committed::Done(_)) && !again && current != Some(fence) {
            return Err(format!("{id}: a stale holder has written"));
        }
        Ok(answer)
    }

    pub(crate) fn renew(&mut self, at: usize) {
        self.budget.renewals -= 1;
        let Worker::Running { id, fence } = self.workers[at] else {
            unreachable!("it holds nothing");
        };
        match self.store().renew(id, holding(fence)) {
            Renewal::Held { .. } | Renewal::Unanswered => {}
            Renewal::Lost => self.workers[at] = Worker::Idle,
        }
    }

    pub(crate) fn worker_dies(&mut self, at: usize) {
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
}

fn claim_event() -> Event {
    Event::Claim {
        host: HOST.to_owned(),
    }
}
