//! The actions that can happen next.

use drumline_protocol::{Header, OperationId, State as StateCode, Status, TokenPolicy};

use crate::fixtures::{CHAIN, partition};
use crate::mutation::Mutation;
use crate::world::{Publication, QUEUES, SPARE, WORK, Worker, World};

/// One action. Numbers are places in the lists of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    CreateUnclear,
    Publish(usize),
    Confirm(usize),
    PublisherDies(usize),
    Relay(OperationId),
    Lose(usize),
    Double(usize),
    Forge(OperationId),
    Deliver {
        worker: usize,
        message: usize,
    },
    Claim(usize),
    ClaimUnclear(usize),
    Finish(usize, Ending, Next),
    FinishUnclear(usize),
    Renew(usize),
    WorkerDies(usize),
    Client(OperationId, Request),
    Due(OperationId),
    /// The time to start of those that expire is over.
    TimePasses,
    /// The scheduler ends one that has not started in time.
    Expire(OperationId),
    /// A watcher notes how the lock of a living worker stands.
    Suspect(OperationId),
    /// The watcher acts on that note.
    TakeOverSuspect,
    /// A watcher takes over from a dead worker.
    TakeOver(OperationId),
    /// An operator pauses the scope with this number.
    Pause(usize),
    /// The operator lifts it.
    Lift(usize),
    /// A manager releases an operation that no pause holds any more.
    Release,
    /// Reconciliation repairs a loss.
    Reconcile(OperationId),
    /// Reconciliation repairs an offer that is not lost.
    OfferNeedlessly(OperationId),
    /// A queue has not confirmed: the offer goes through the next one.
    Bypass(usize),
    /// Offers in a queue that does not work are made again.
    Redirect(OperationId),
    /// A queue stops to work.
    Break(usize),
    /// A queue works again, with all messages in it, and its confirms come
    /// late.
    Heal(usize),
    /// A queue is made again, without the messages in it.
    Replace(usize),
}

/// The end of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Success, or a stop where the handler was asked to stop.
    Well,
    /// The handler wants to be called again.
    Retry,
    /// The worker gives the operation back.
    Release,
}

/// The worker's use of the head that its completion has promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Claims it at once.
    GoesOn,
    /// Publishes it.
    Publishes,
}

/// The request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Pause,
    Resume,
    Postpone,
    Cancel,
    /// Cancel, of an operation that may be behind others of a chain that stops.
    Discard,
}

impl World {
    /// The actions that must go on happening when nothing goes wrong any more.
    pub(crate) fn progress(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.is_late && self.expiring.contains(&true) {
            actions.push(Action::TimePasses);
        }
        if self.creation_unclear || self.created.len() < self.script.len() {
            actions.push(Action::Create);
        }
        for (at, publication) in self.publications.iter().enumerate() {
            let Publication {
                message,
                published,
                bypassed,
            } = publication;
            if !published {
                actions.push(Action::Publish(at));
            } else if self.works(message.queue) {
                actions.push(Action::Confirm(at));
            } else if !bypassed
                && message.queue + 1 < QUEUES
                && self.mutation != Mutation::NobodyBypasses
            {
                actions.push(Action::Bypass(at));
            }
        }
        for (at, worker) in self.workers.iter().enumerate() {
            self.worker_goes_on(at, worker, &mut actions);
        }
        for &id in &self.created {
            self.maintenance(id, &mut actions);
        }
        if self.suspect.is_some() {
            actions.push(Action::TakeOverSuspect);
        }
        let numbered = self.paused().into_iter().enumerate();
        let in_force = numbered.filter(|(_, is_paused)| *is_paused);
        actions.extend(in_force.map(|(scope, _)| Action::Lift(scope)));
        if self.may_release() && self.mutation != Mutation::NobodyReleases {
            actions.push(Action::Release);
        }
        actions
    }

    /// The actions that may or may not happen, within the budget.
    pub(crate) fn mishaps(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        let budget = self.budget;
        if budget.crashes > 0 {
            actions.extend((0..self.publications.len()).map(Action::PublisherDies));
            let busy = |at: &usize| !matches!(self.workers[*at], Worker::Idle);
            let busy = (0..self.workers.len()).filter(busy);
            actions.extend(busy.map(Action::WorkerDies));
        }
        if budget.losses > 0 {
            actions.extend((0..self.broker.len()).map(Action::Lose));
        }
        if budget.doubles > 0 {
            actions.extend((0..self.broker.len()).map(Action::Double));
        }
        if budget.forgeries > 0 {
            let parked = self.created.iter().filter(|id| self.is_parked(**id));
            actions.extend(parked.map(|id| Action::Forge(*id)));
        }
        if budget.unclear > 0 && !self.creation_unclear && self.created.len() < self.script.len() {
            actions.push(Action::CreateUnclear);
        }
        for (at, worker) in self.workers.iter().enumerate() {
            self.worker_stumbles(at, worker, &mut actions);
        }
        if budget.needless_offers > 0 {
            let (offered, _) = self.store.offered(partition(), None, usize::MAX);
            let known = offered
                .into_iter()
                .filter(|(id, stamp)| self.on_its_way(*id, *stamp));
            actions.extend(known.map(|(id, _)| Action::OfferNeedlessly(id)));
        }
        if budget.suspicions > 0 && self.suspect.is_none() {
            let locks = self.store.locks(partition()).into_iter();
            let alive = locks.filter(|lock| self.is_alive(lock.id, lock.fence));
            actions.extend(alive.map(|lock| Action::Suspect(lock.id)));
        }
        if budget.breaks > 0 {
            // One of the two work queues always works: operations without a
            // token can go through no other.
            let other_works = |queue: usize| match queue {
                WORK => self.works(SPARE),
                SPARE => self.works(WORK),
                _ => true,
            };
            let working = (0..QUEUES).filter(|queue| self.works(*queue));
            let may_break = working.filter(|queue| other_works(*queue));
            actions.extend(may_break.map(Action::Break));
        }
        if budget.repairs > 0 {
            let broken = (0..QUEUES).filter(|queue| !self.works(*queue));
            actions.extend(broken.flat_map(|queue| [Action::Heal(queue), Action::Replace(queue)]));
        }
        if budget.pauses > 0 {
            let numbered = self.paused().into_iter().enumerate();
            let others = numbered.filter(|(_, is_paused)| !is_paused);
            actions.extend(others.map(|(scope, _)| Action::Pause(scope)));
        }
        if budget.clients > 0 {
            for &id in &self.created {
                let requests = requests(&self.header(id), self.policy);
                actions.extend(requests.iter().map(|request| Action::Client(id, *request)));
            }
        }
        actions
    }

    fn worker_goes_on(&self, at: usize, worker: &Worker, actions: &mut Vec<Action>) {
        match worker {
            Worker::Idle => {
                let deliver = |message| Action::Deliver {
                    worker: at,
                    message,
                };
                let there = self.broker.iter().enumerate();
                let there = there.filter(|(_, message)| self.works(message.queue));
                actions.extend(there.map(|(message, _)| deliver(message)));
            }
            Worker::Offered { .. } | Worker::ClaimUnclear { .. } => {
                actions.push(Action::Claim(at));
            }
            Worker::Running { .. } | Worker::FinishUnclear { .. } => {
                actions.push(Action::Finish(at, Ending::Well, Next::GoesOn));
                if self.store.chain(partition(), CHAIN).len() > 1 {
                    actions.push(Action::Finish(at, Ending::Well, Next::Publishes));
                }
            }
        }
    }

    fn worker_stumbles(&self, at: usize, worker: &Worker, actions: &mut Vec<Action>) {
        match worker {
            Worker::Offered { .. } if self.budget.unclear > 0 => {
                actions.push(Action::ClaimUnclear(at));
            }
            Worker::Running { .. } => {
                if self.budget.unclear > 0 {
                    actions.push(Action::FinishUnclear(at));
                }
                if self.budget.renewals > 0 {
                    actions.push(Action::Renew(at));
                }
                if self.budget.unsteady > 0 {
                    for ending in [Ending::Retry, Ending::Release] {
                        actions.push(Action::Finish(at, ending, Next::Publishes));
                    }
                }
            }
            Worker::Idle
            | Worker::Offered { .. }
            | Worker::ClaimUnclear { .. }
            | Worker::FinishUnclear { .. } => {}
        }
    }

    /// The actions of managers for one operation.
    fn maintenance(&self, id: OperationId, actions: &mut Vec<Action>) {
        if let Some(stamp) = self.store.outbox_entry(id) {
            // While a publication has the offer in hand, it is too young for
            // the relay. A publication that went round its queue is not in hand
            // any more: only its late confirm is.
            let in_hand = self.publications.iter().any(|one| {
                !self.has_failed(one) && one.message.id == id && one.message.stamp == stamp
            });
            if !in_hand && self.mutation != Mutation::RelaySleeps {
                actions.push(Action::Relay(id));
            }
        }
        if let Some(held) = self.store.lock(id) {
            let dead = !self.is_alive(id, held.fence);
            if dead && self.mutation != Mutation::NobodyWatches {
                actions.push(Action::TakeOver(id));
            }
        }
        let header = self.header(id);
        let now = self.now();
        if header.postpone_until.is_some_and(|until| until <= now) {
            actions.push(Action::Due(id));
        }
        if header.is_expired(now) && self.mutation != Mutation::NobodyExpires {
            actions.push(Action::Expire(id));
        }
        let ready = header.status.state() == StateCode::Ready;
        let last = self.store.last_offer(id);
        let is_lost = |stamp| self.lost.contains(&(id, stamp)) && !self.on_its_way(id, stamp);
        let is_stuck =
            |stamp| self.is_stuck(id, stamp) && self.mutation != Mutation::NobodyRedirects;
        if ready && last.is_some_and(|last| is_lost(last) || is_stuck(last)) {
            let (offered, _) = self.store.offered(partition(), None, usize::MAX);
            if offered.iter().any(|(offered, _)| *offered == id) {
                actions.push(if last.is_some_and(is_lost) {
                    Action::Reconcile(id)
                } else {
                    Action::Redirect(id)
                });
            }
        }
    }

    /// Returns true if a publication has come to nothing for now: its queue
    /// does not confirm, and it went through the next one or there is none.
    fn has_failed(&self, publication: &Publication) -> bool {
        let Publication {
            message,
            published,
            bypassed,
        } = publication;
        let is_last = message.queue + 1 == QUEUES;
        *published && !self.works(message.queue) && (*bypassed || is_last)
    }
}

/// The requests that can change an operation; all others are refused and change
/// nothing.
const fn requests(header: &Header, policy: TokenPolicy) -> &'static [Request] {
    let holds = matches!(policy, TokenPolicy::Hold);
    match header.status {
        Status::WaitingForResources if holds => {
            &[Request::Pause, Request::Cancel, Request::Discard]
        }
        Status::Waiting if holds => &[Request::Resume, Request::Cancel, Request::Discard],
        Status::Failed | Status::Canceled if header.holding => &[Request::Resume],
        Status::WaitingForResources | Status::InProgress => {
            &[Request::Pause, Request::Postpone, Request::Cancel]
        }
        Status::Waiting => &[Request::Resume, Request::Postpone, Request::Cancel],
        Status::Pausing => &[Request::Cancel],
        Status::Canceling | Status::Succeeded | Status::Failed | Status::Canceled => &[],
    }
}
