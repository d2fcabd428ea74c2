//! One world: the store, the messages on their way, and the work of each actor.

use std::sync::Arc;

use drumline_backend::store::{Commit, Stamp};
use drumline_backend_embedded::State;
use drumline_protocol::{
    CommitId, Fence, Header, OperationId, PartitionCount, Timestamp, TokenPolicy,
};

use crate::fixtures::{LATER, NOW};
use crate::mutation::Mutation;

/// Workers of a world; each runs one operation at a time.
pub(crate) const WORKERS: usize = 2;

/// The state that decides about the next actions.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<State>,
    /// The operations of the scenario, in the order of their creation: true for
    /// each that belongs to the one chain.
    pub(crate) script: Arc<[bool]>,
    /// True for each operation that expires: see [`LATER`].
    pub(crate) expiring: Arc<[bool]>,
    /// True if the time to start of these is over.
    pub(crate) is_late: bool,
    /// The fate of the chain when one of its operations is cancelled.
    pub(crate) policy: TokenPolicy,
    /// The operations that were created.
    pub(crate) created: Vec<OperationId>,
    /// True if the last creation was not answered: it is going to be repeated.
    pub(crate) creation_unclear: bool,
    pub(crate) publications: Vec<Publication>,
    /// Messages in the broker, in no order.
    pub(crate) broker: Vec<Message>,
    /// The broker's queues that take messages and neither confirm nor deliver
    /// them.
    pub(crate) broken: [bool; QUEUES],
    pub(crate) workers: [Worker; WORKERS],
    /// A lock that a watcher believes to stand still.
    pub(crate) suspect: Option<Suspect>,
    /// Offers whose message was lost: reconciliation is to repair them.
    pub(crate) lost: Vec<(OperationId, Stamp)>,
    pub(crate) budget: Budget,
    /// The last commit's name.
    pub(crate) commits: u64,
    pub(crate) mutation: Mutation,
}

/// An offer on its way to the broker.
#[derive(Clone)]
pub(crate) struct Publication {
    pub(crate) message: Message,
    /// True if the queue has it; the confirm is on its way back.
    pub(crate) published: bool,
    /// True if its queue has not confirmed it, and it went through the next
    /// one. The confirm may still come, late.
    pub(crate) bypassed: bool,
}

/// The queues of a pool: the lane of the one chain, the work queue, the spare.
pub(crate) const QUEUES: usize = 3;
/// The lane.
pub(crate) const LANE: usize = 0;
/// The work queue.
pub(crate) const WORK: usize = 1;
/// The spare queue.
pub(crate) const SPARE: usize = 2;

/// A message, or the promotion that a worker goes on with.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: OperationId,
    pub(crate) header: Arc<Header>,
    /// The stamp of the offer. Real messages do not carry it; only the
    /// invariants read it.
    pub(crate) stamp: Stamp,
    /// The queue that it is in, or is published to.
    pub(crate) queue: usize,
}

/// The activity of a worker.
#[derive(Clone)]
pub(crate) enum Worker {
    Idle,
    /// The worker has an offer in hand and has not claimed it.
    Offered {
        message: Message,
        /// True if the offer goes back to the broker when the worker dies.
        from_broker: bool,
    },
    /// The worker has sent a claim, and no answer has come.
    ClaimUnclear {
        message: Message,
        from_broker: bool,
        commit: Arc<Commit>,
    },
    /// The handler runs.
    Running {
        id: OperationId,
        fence: Fence,
    },
    /// The worker has sent the completion, and no answer has come.
    FinishUnclear {
        fence: Fence,
        commit: Arc<Commit>,
    },
}

/// A lock as a watcher saw it.
#[derive(Clone, Copy)]
pub(crate) struct Suspect {
    pub(crate) id: OperationId,
    pub(crate) fence: Fence,
    pub(crate) beat: u64,
}

/// The number of times that each mishap may happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// A worker or a publisher dies.
    pub(crate) crashes: u8,
    /// The answer to a create, a claim or a completion is lost.
    pub(crate) unclear: u8,
    /// The broker loses a message.
    pub(crate) losses: u8,
    /// The broker doubles a message.
    pub(crate) doubles: u8,
    /// A forged message offers an operation that is parked.
    pub(crate) forgeries: u8,
    /// Reconciliation offers an operation again that the broker still has.
    pub(crate) needless_offers: u8,
    /// A watcher believes a living worker dead.
    pub(crate) suspicions: u8,
    /// A worker renews its lock.
    pub(crate) renewals: u8,
    /// A handler asks for a retry, or a worker gives an operation back.
    pub(crate) unsteady: u8,
    /// A client pauses, resumes, postpones, cancels or discards.
    pub(crate) clients: u8,
    /// A queue stops to work. One of the two work queues always works.
    pub(crate) breaks: u8,
    /// A queue works again, with the messages in it or without.
    pub(crate) repairs: u8,
    /// An operator pauses a scope. The pause is lifted at some time.
    pub(crate) pauses: u8,
}

impl World {
    /// An empty world in which these operations are going to be created.
    pub(crate) fn new(script: &[bool], budget: Budget) -> Self {
        Self {
            store: Arc::new(State::new(PartitionCount::DEFAULT)),
            script: script.into(),
            expiring: vec![false; script.len()].into(),
            is_late: false,
            policy: TokenPolicy::Continue,
            created: Vec::new(),
            creation_unclear: false,
            publications: Vec::new(),
            broker: Vec::new(),
            broken: [false; QUEUES],
            workers: [Worker::Idle, Worker::Idle],
            suspect: None,
            lost: Vec::new(),
            budget,
            commits: 0,
            mutation: Mutation::None,
        }
    }

    /// The same world with chains that stop.
    pub(crate) fn holding(self) -> Self {
        Self {
            policy: TokenPolicy::Hold,
            ..self
        }
    }

    /// The same world in which some of the operations expire.
    pub(crate) fn expiring(self, expiring: &[bool]) -> Self {
        assert_eq!(expiring.len(), self.script.len());
        Self {
            expiring: expiring.into(),
            ..self
        }
    }

    /// The store's time.
    pub(crate) fn now(&self) -> Timestamp {
        if self.is_late { LATER } else { NOW }
    }

    /// The same world with a rule broken.
    pub(crate) fn broken_by(self, mutation: Mutation) -> Self {
        Self { mutation, ..self }
    }

    /// The header of an operation that was created.
    pub(crate) fn header(&self, id: OperationId) -> Header {
        self.store.header(id).expect("nothing is ever deleted here")
    }

    /// Returns true if a queue works.
    pub(crate) fn works(&self, queue: usize) -> bool {
        !self.broken[queue]
    }

    /// Returns true if a message about this offer is in a queue that does not work, and
    /// no copy of it is on its way.
    pub(crate) fn is_stuck(&self, id: OperationId, stamp: Stamp) -> bool {
        let is = |message: &Message| message.id == id && message.stamp == stamp;
        let mut stuck = self.broker.iter().filter(|one| !self.works(one.queue));
        stuck.any(is) && !self.on_its_way(id, stamp)
    }

    /// Returns true if a message about this offer, or a copy of it, will arrive.
    pub(crate) fn on_its_way(&self, id: OperationId, stamp: Stamp) -> bool {
        let is = |message: &Message| message.id == id && message.stamp == stamp;
        let in_hand = |worker: &Worker| match worker {
            Worker::Offered { message, .. } | Worker::ClaimUnclear { message, .. } => is(message),
            Worker::Idle | Worker::Running { .. } | Worker::FinishUnclear { .. } => false,
        };
        let mut arriving = self.broker.iter().filter(|one| self.works(one.queue));
        arriving.any(is)
            || self
                .publications
                .iter()
                .any(|one| !one.published && is(&one.message))
            || self.workers.iter().any(in_hand)
    }

    /// Returns true if the broker has, or would get back, a copy of this offer.
    pub(crate) fn in_broker(&self, id: OperationId, stamp: Stamp) -> bool {
        let is = |message: &Message| message.id == id && message.stamp == stamp;
        let unacknowledged = |worker: &Worker| match worker {
            Worker::Offered {
                message,
                from_broker,
            }
            | Worker::ClaimUnclear {
                message,
                from_broker,
                ..
            } => *from_broker && is(message),
            Worker::Idle | Worker::Running { .. } | Worker::FinishUnclear { .. } => false,
        };
        self.broker.iter().any(is) || self.workers.iter().any(unacknowledged)
    }

    /// Returns true if a live worker holds, or may turn out to hold, this lock.
    pub(crate) fn is_alive(&self, id: OperationId, fence: Fence) -> bool {
        let committed = |commit: &Commit| self.header(id).commit == commit.header.commit;
        self.workers.iter().any(|worker| match worker {
            Worker::Idle | Worker::Offered { .. } => false,
            Worker::ClaimUnclear { commit, .. } => commit.id == id && committed(commit),
            Worker::Running { fence: own, .. } | Worker::FinishUnclear { fence: own, .. } => {
                *own == fence
            }
        })
    }

    /// A fresh name for a commit.
    pub(crate) fn commit_id(&mut self) -> CommitId {
        self.commits += 1;
        CommitId(self.commits)
    }
}
