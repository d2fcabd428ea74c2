//! Claiming: the step from "may be runnable" to "this worker runs it".
//!
//! The store decides. Everything that makes an offer worthless (taken, done,
//! gone, not its turn) is an ordinary answer here, and no error.

use std::sync::Arc;

use drumline_backend::apply_event::Commits;
use drumline_backend::store::{self, Commit, Committed, Done, Guard, Record, Renewal};
use drumline_protocol::transition::{At, Event, apply};
use drumline_protocol::{Fence, Header, Operation, OperationId};
use tokio::time::Instant;

use super::shared::Shared;

/// The number of times that the operation may change under our hands.
const ROUNDS: usize = 16;

/// The result of an attempt to claim.
pub(crate) enum Claim {
    /// It is ours to run.
    Granted(Box<Claimed>),
    /// It is not runnable, or not by us. The process that makes it runnable
    /// will offer it again.
    Dropped,
    /// It may or may not be claimed, because the worker has been stopped
    /// meanwhile.
    Unknown,
}

/// An operation that this worker holds.
pub(crate) struct Claimed {
    pub(crate) operation: Operation,
    pub(crate) fence: Fence,
    /// The time at which the request that took the lock was sent. The lease
    /// counts from then.
    pub(crate) sent: Instant,
}

/// Tries to claim an operation, starting from a header that was seen. `known`
/// saves the store from sending the parts that the caller has.
pub(crate) async fn claim(
    shared: &Arc<Shared>,
    id: OperationId,
    mut header: Header,
    mut known: Option<Record>,
) -> Claim {
    let guard = Guard::Acquire {
        owner: shared.member,
        lease: shared.options.lease,
    };
    for _ in 0..ROUNDS {
        let event = Event::Claim {
            host: shared.options.host.clone(),
        };
        let at = At {
            now: shared.committer.now(),
            commit: shared.ids.commit(),
        };
        let Ok(transition) = apply(&header, event, at) else {
            return Claim::Dropped;
        };
        let mut commit = Commit::new(id, &header, &transition, guard);
        commit.want_record = known.is_none();
        let sent = Instant::now();
        match shared.committer.commit_one(commit).await {
            Ok(Committed::Done(done)) => {
                return granted(shared, id, transition.header, *done, known.take(), sent).await;
            }
            Ok(Committed::Conflict(current)) => header = *current,
            Ok(Committed::NotHead | Committed::Fenced | Committed::Missing) => {
                return Claim::Dropped;
            }
            Err(store::Error::Unavailable { .. }) => return Claim::Unknown,
            // Holding the message back would not make the record readable.
            Err(error @ (store::Error::Corrupt(_) | store::Error::Unfit(_))) => {
                tracing::error!(%id, %error, "cannot be claimed");
                return Claim::Dropped;
            }
        }
    }
    Claim::Dropped
}

async fn granted(
    shared: &Shared,
    id: OperationId,
    header: Header,
    done: Done,
    known: Option<Record>,
    mut sent: Instant,
) -> Claim {
    let (Some(fence), Some(record)) = (done.fence, done.record.or(known)) else {
        // Without renewals the lock is taken over after a lease.
        tracing::error!(%id, "the store has granted a claim without fence or record");
        return Claim::Dropped;
    };
    // The answer took long, so the lock may be old, or another worker may have
    // taken it over already. Ask before anything is started.
    if sent.elapsed() > shared.options.lease / 4 {
        sent = Instant::now();
        match shared.backend.store.renew(&[(id, fence)]).await.as_deref() {
            Ok([Renewal::Held { .. }]) => {}
            Ok(_) | Err(_) => return Claim::Dropped,
        }
    }
    Claim::Granted(Box::new(Claimed {
        operation: Operation {
            id,
            header,
            body: record.body,
            report: record.report,
            sequence: record.sequence,
        },
        fence,
        sent,
    }))
}
