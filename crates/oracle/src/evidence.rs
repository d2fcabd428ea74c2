//! The evidence about a run: the journal, the service's last word about each operation, and
//! the faults that were to happen.

use std::time::Duration;

use drumline_api::history::HistoryView;

use crate::journal::History;

/// Everything that is known about a run that has come to rest.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The journal.
    pub history: History,
    /// The operations as the service lists them.
    pub finals: Vec<Final>,
    /// The lease of the workers.
    pub lease: Duration,
    /// The tokens that stood still on purpose.
    pub blocked: Vec<Blocked>,
    /// Requests that the service had to deny or to answer.
    pub probes: Vec<Probe>,
    /// The faults without which the run proves nothing.
    pub needs: Needs,
}

/// The service's last word about an operation.
#[derive(Clone, Debug, Default)]
pub struct Final {
    /// The operation.
    pub id: String,
    /// The name under which it was created, as in [`Call::key`](crate::journal::Call::key).
    pub key: String,
    /// Its dependency token as a number, and its place in the order of creation;
    /// `None` without a token.
    pub place: Option<(usize, usize)>,
    /// The time of its completion, on the clock of the journal.
    pub completed_ns: Option<u64>,
    /// The number of its status.
    pub status: u8,
    /// The number of starts that the service counted.
    pub starts: u64,
    /// The number of starts that ended with the loss of the worker.
    pub lost: u64,
    /// The number of starts that have a reason other than being the first:
    /// retries, drained or lost workers, pauses and postponements while it ran.
    /// `None`: unknown.
    pub reasons: Option<u64>,
    /// True if it must not start a second time.
    pub at_most_once: bool,
    /// The fence in its result: that of the run whose outcome was accepted. `None` for
    /// handlers whose results have none.
    pub accepted: Option<u64>,
    /// The trace of the request that created it; `None`: unknown.
    pub trace: Option<String>,
    /// Its version.
    pub version: u64,
    /// Its history; `None`: not asked for.
    pub changes: Option<HistoryView>,
}

impl Final {
    /// Returns true if it is Completed.
    #[must_use]
    pub const fn is_completed(&self) -> bool {
        matches!(self.status, 30..=32)
    }
}

/// A token that stood still on purpose, while everything else had to go on.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// The operation that held the token up.
    pub id: String,
    /// The token, as a number.
    pub token: usize,
    /// The reason: `paused`, `postponed` and the like.
    pub why: String,
    /// The time from which it stood still, on the clock of the journal.
    pub from_ns: u64,
    /// The time at which it was let go. Everything else was to be Completed by then.
    pub until_ns: u64,
}

/// A request that was made to see whether it is answered as it must be.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The request, for people.
    pub what: String,
    /// The HTTP status that it must be answered with.
    pub expected: u16,
    /// The HTTP status that it was answered with; `None`: it was not answered.
    pub answered: Option<u16>,
}

/// The faults without which a run is void.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// A worker was lost and another one has taken over.
    pub take_overs: bool,
    /// The sink has refused a write of a holder that had lost its lock.
    pub refused_writes: bool,
    /// Faults that were counted by those who caused them: the name, and how often.
    pub counted: Vec<(String, u64)>,
}
