//! One world: the store, what is on its way, and what each actor has in hand.

use std::sync::Arc;

use drumline_backend::store::{Commit, Stamp};
use drumline_backend_embedded::State;
use drumline_protocol::{CommitId, Fence, Header, OperationId, PartitionCount};

use crate::mutation::Mutation;

/// Workers of a world; each runs one operation at a time.
pub const WORKERS: usize = 2;

/// Everything that decides about what can happen next.
#[derive(Clone)]
pub struct World {
    pub store: Arc<State>,
    /// The operations of the scenario, in the order of their creation: whether
    /// each belongs to the one chain.
    pub script: Arc<[bool]>,
    /// Those that were created.
    pub created: Vec<OperationId>,
    /// The last one's creation was not answered: it is going to be repeated.
    pub creation_unclear: bool,
    pub publications: Vec<Publication>,
    /// Messages in the broker, in no order.
    pub broker: Vec<Message>,
    pub workers: [Worker; WORKERS],
    /// A lock that a watcher believes to stand still.
    pub suspect: Option<Suspect>,
    /// Offers whose message was lost: reconciliation is to repair them.
    pub lost: Vec<(OperationId, Stamp)>,
    pub budget: Budget,
    /// The last commit's name.
    pub commits: u64,
    pub mutation: Mutation,
}

/// An offer on its way to the broker.
#[derive(Clone)]
pub struct Publication {
    pub message: Message,
    /// The broker has it; the confirm is on its way back.
    pub published: bool,
}

/// A message, or the promotion that a worker goes on with.
#[derive(Clone)]
pub struct Message {
    pub id: OperationId,
    pub header: Arc<Header>,
    /// Which offer it is. Real messages do not say; only the invariants ask.
    pub stamp: Stamp,
}

/// What a worker is at.
#[derive(Clone)]
pub enum Worker {
    Idle,
    /// It has an offer in hand and has not claimed it.
    Offered {
        message: Message,
        /// It goes back to the broker when the worker dies.
        from_broker: bool,
    },
    /// It has sent a claim, and no answer has come.
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
    /// It has sent the completion, and no answer has come.
    FinishUnclear {
        fence: Fence,
        commit: Arc<Commit>,
    },
}

/// A lock as a watcher saw it.
#[derive(Clone, Copy)]
pub struct Suspect {
    pub id: OperationId,
    pub fence: Fence,
    pub beat: u64,
}

/// How often each thing that need not happen may happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// A worker or a publisher dies.
    pub crashes: u8,
    /// The answer to a create, a claim or a completion is lost.
    pub unclear: u8,
    /// The broker loses a message.
    pub losses: u8,
    /// The broker doubles a message.
    pub doubles: u8,
    /// Reconciliation offers again what the broker still has.
    pub needless_offers: u8,
    /// A watcher believes a living worker dead.
    pub suspicions: u8,
    /// A worker renews its lock.
    pub renewals: u8,
    /// A handler asks for a retry, or a worker gives an operation back.
    pub unsteady: u8,
    /// A client pauses, resumes, postpones or cancels.
    pub clients: u8,
}

impl World {
    /// An empty world in which these operations are going to be created.
    pub fn new(script: &[bool], budget: Budget) -> Self {
        Self {
            store: Arc::new(State::new(PartitionCount::DEFAULT)),
            script: script.into(),
            created: Vec::new(),
            creation_unclear: false,
            publications: Vec::new(),
            broker: Vec::new(),
            workers: [Worker::Idle, Worker::Idle],
            suspect: None,
            lost: Vec::new(),
            budget,
            commits: 0,
            mutation: Mutation::None,
        }
    }

    /// The same world with a rule broken.
    pub fn broken_by(self, mutation: Mutation) -> Self {
        Self { mutation, ..self }
    }

    /// The header of an operation that was created.
    pub fn header(&self, id: OperationId) -> &Header {
        self.store.header(id).expect("nothing is ever deleted here")
    }

    /// Whether a message about this offer, or a copy of it, is still somewhere.
    pub fn on_its_way(&self, id: OperationId, stamp: Stamp) -> bool {
        let is = |message: &Message| message.id == id && message.stamp == stamp;
        let in_hand = |worker: &Worker| match worker {
            Worker::Offered { message, .. } | Worker::ClaimUnclear { message, .. } => is(message),
            Worker::Idle | Worker::Running { .. } | Worker::FinishUnclear { .. } => false,
        };
        self.broker.iter().any(is)
            || self.publications.iter().any(|one| is(&one.message))
            || self.workers.iter().any(in_hand)
    }

    /// Whether anybody alive holds, or may turn out to hold, this lock.
    pub fn is_alive(&self, id: OperationId, fence: Fence) -> bool {
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
    pub fn commit_id(&mut self) -> CommitId {
        self.commits += 1;
        CommitId(self.commits)
    }
}
