//! Claiming: the step from "may be runnable" to "this worker runs it".
//!
//! The store decides. Everything that makes an offer worthless (another worker has
//! the operation, it is Completed, removed, or not the head of its chain) is an
//! ordinary answer here, and no error.
//!
//! An operation that a pause holds is not claimed either. The store keeps it in its
//! held set, so the worker has nothing more to do with it.
//!
//! An operation whose `notAfter` has come is not claimed: the worker that meets it
//! expires it, so that nothing starts late while the scheduler is late.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drumline_backend::apply_event::{Applied, Commits, apply_chosen_event};
use drumline_backend::store::{self, Commit, Committed, Done, Guard, Promoted, Record, Renewal};
use drumline_protocol::transition::{Event, EventKind, service_fault};
use drumline_protocol::{
    Fence, Header, Operation, OperationId, Report, ScopeKey, State, Timestamp,
};
use tokio::time::{Instant, sleep_until};

use super::committer::Committer;
use super::shared::Shared;
use crate::backoff;

/// The result of an attempt to claim.
pub(crate) enum Claim {
    /// This worker holds the operation.
    Granted(Box<Claimed>),
    /// The operation is not runnable, or not by this worker. The process that
    /// makes it runnable will offer it again.
    Dropped,
    /// The operation's time to start was over, and it has ended. Its end may have
    /// made the next operation of its chain runnable.
    Expired(Option<Box<Promoted>>),
    /// The operation may or may not be claimed, because the worker has been
    /// stopped meanwhile.
    Unknown,
}

/// An operation that this worker holds.
pub(crate) struct Claimed {
    pub(crate) operation: Operation,
    pub(crate) fence: Fence,
    /// The time at which the request that took the lock was sent. The lease
    /// counts from this time.
    pub(crate) sent: Instant,
    /// The time that the operation has waited since it became Ready, by the store's
    /// clock.
    pub(crate) waited: Duration,
}

/// Tries to claim an operation, starting from a header that the caller has seen.
/// `scopes` are those that must not be paused. A caller that has the record passes
/// it as `known`, and the store need not send it.
pub(crate) async fn claim(
    shared: &Arc<Shared>,
    id: OperationId,
    header: Header,
    scopes: Vec<ScopeKey>,
    known: Option<Record>,
) -> Claim {
    let attempt = Attempt::new(&shared.committer, scopes, known.is_none());
    let ready_on = header.modified_on;
    let before = header.clone();
    let choose = |header: &Header| {
        store::Result::Ok(if header.is_expired(attempt.now()) {
            Event::Expire
        } else {
            Event::Claim {
                host: shared.options.host.clone(),
            }
        })
    };
    // A claim has no fault, so no report is written. An operation that expires has never
    // started, so it has no report but an earlier fault.
    let report = Report::default();
    let deciding = apply_chosen_event(
        &attempt,
        shared.signature(),
        id,
        header,
        choose,
        Guard::Acquire {
            owner: shared.member,
            lease: shared.options.lease,
        },
        &report,
    );
    // Pinned here: a future that is passed on is copied, and this one is large.
    let deciding = pin!(deciding);
    match shared.metrics.of_store("claim", deciding).await {
        Ok(Applied::Done(header, done)) if header.status.state() == State::Completed => {
            tracing::debug!(%id, "an operation has expired before its first start");
            if let Some(record) = done.record.as_ref().or(known.as_ref()) {
                let fault = service_fault(EventKind::Expire, &header);
                let body = &record.body;
                shared
                    .tally
                    .changed(id, body, &before, &header, fault.as_ref());
            }
            Claim::Expired(done.promoted.map(Box::new))
        }
        Ok(Applied::Done(header, done)) => {
            let waited = header.modified_on.since(ready_on);
            // Another run may have left a checkpoint meanwhile.
            let known = known.filter(|_| !attempt.was_repeated());
            granted(shared, id, header, *done, known, attempt.sent(), waited).await
        }
        Ok(Applied::Held) => {
            tracing::debug!(%id, "a pause holds an operation");
            Claim::Dropped
        }
        Ok(Applied::Refused(_) | Applied::NotHead | Applied::Fenced | Applied::Missing) => {
            Claim::Dropped
        }
        // The store has answered, so this error says that the operation has changed
        // too often. The process that makes it runnable will offer it again.
        Err(store::Error::Unavailable { .. }) if attempt.was_answered() => Claim::Dropped,
        Err(store::Error::Unavailable { .. }) => Claim::Unknown,
        // Holding the message back would not make the record readable.
        Err(error @ (store::Error::Corrupt(_) | store::Error::Unfit(_))) => {
            tracing::error!(%id, %error, "an operation cannot be claimed");
            Claim::Dropped
        }
    }
}

/// The committer as a claim needs it: the commit asks for the record, and the time
/// of the request is noted.
struct Attempt<'a> {
    committer: &'a Committer,
    scopes: Vec<ScopeKey>,
    want_record: bool,
    latest: Mutex<Latest>,
}

/// The latest commit of a claim.
#[derive(Clone, Copy)]
struct Latest {
    sent: Instant,
    answered: bool,
    /// The commits so far. Behind the first, the operation has changed since the caller saw it.
    number: u32,
}

impl<'a> Attempt<'a> {
    fn new(committer: &'a Committer, scopes: Vec<ScopeKey>, want_record: bool) -> Self {
        Self {
            committer,
            scopes,
            want_record,
            latest: Mutex::new(Latest {
                sent: Instant::now(),
                answered: false,
                number: 0,
            }),
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time at which the latest commit was sent.
    fn sent(&self) -> Instant {
        self.latest().sent
    }

    /// Returns true if the operation has changed since the caller saw it.
    fn was_repeated(&self) -> bool {
        self.latest().number > 1
    }

    /// Returns true if the store has answered the latest commit.
    fn was_answered(&self) -> bool {
        self.latest().answered
    }
}

impl Commits for Attempt<'_> {
    fn now(&self) -> Timestamp {
        self.committer.now()
    }

    async fn commit_one(&self, mut commit: Commit) -> store::Result<Committed> {
        commit.scopes.clone_from(&self.scopes);
        {
            let mut latest = self.latest();
            commit.want_record = self.want_record || latest.number > 0;
            *latest = Latest {
                sent: Instant::now(),
                answered: false,
                number: latest.number.saturating_add(1),
            };
        }
        let answer = self.committer.commit_one(commit).await?;
        self.latest().answered = true;
        Ok(answer)
    }

    async fn report_of(&self, id: OperationId) -> store::Result<Option<Report>> {
        self.committer.report_of(id).await
    }
}

/// Renews the lease of an operation that was just claimed, however long that takes.
/// Returns false if the lock is lost.
///
/// To give up while the store does not answer would leave the operation locked. Its
/// lease would end, and that would be counted as the loss of a worker that has never
/// started it.
async fn renew(shared: &Shared, id: OperationId, fence: Fence, sent: &mut Instant) -> bool {
    let mut backoff = backoff::for_store(&shared.random);
    let locks = [(id, shared.holding(fence))];
    loop {
        let asked = Instant::now();
        match shared.backend.store.renew(&locks).await.as_deref() {
            // An answer that took long confirms too little.
            Ok([Renewal::Held { .. }]) if asked.elapsed() > shared.options.lease / 4 => {}
            Ok([Renewal::Held { .. }]) => {
                *sent = asked;
                return true;
            }
            Ok([Renewal::Unanswered]) => backoff.sleep().await,
            Ok(_) => return false,
            Err(error) => {
                tracing::debug!(%id, %error, "a claim is confirmed later");
                backoff.sleep().await;
            }
        }
    }
}

/// Reads the record of an operation that was just claimed. A large record, behind
/// those of other slots, may take longer than a lease, which is renewed meanwhile.
/// `None` if the lock or the record is gone.
async fn read_record(
    shared: &Shared,
    id: OperationId,
    fence: Fence,
    sent: &mut Instant,
) -> Option<Record> {
    let mut backoff = backoff::for_store(&shared.random);
    loop {
        let ids = [id];
        let reading = shared.backend.store.get(&ids);
        tokio::pin!(reading);
        let read = loop {
            tokio::select! {
                read = &mut reading => break read,
                () = sleep_until(*sent + shared.options.lease / 4) => {
                    if !renew(shared, id, fence, sent).await {
                        return None;
                    }
                }
            }
        };
        match read {
            Ok(found) => {
                let operation = found.into_iter().next().flatten()?;
                return Some(Record {
                    body: operation.body,
                    report: operation.report,
                    sequence: operation.sequence,
                });
            }
            Err(error @ store::Error::Unavailable { .. }) => {
                tracing::debug!(%id, %error, "a claimed operation is read again");
                backoff.sleep().await;
                if !renew(shared, id, fence, sent).await {
                    return None;
                }
            }
            Err(error @ (store::Error::Corrupt(_) | store::Error::Unfit(_))) => {
                tracing::error!(%id, %error, "a claimed operation cannot be read");
                return None;
            }
        }
    }
}

async fn granted(
    shared: &Shared,
    id: OperationId,
    header: Header,
    done: Done,
    known: Option<Record>,
    mut sent: Instant,
    waited: Duration,
) -> Claim {
    let Some(fence) = done.fence else {
        // Without renewals the lock is taken over after a lease.
        tracing::error!(%id, "the store has granted a claim without a fence");
        return Claim::Dropped;
    };
    let record = match done.record.or(known) {
        Some(record) => record,
        // It was too large for the answer.
        None => match read_record(shared, id, fence, &mut sent).await {
            Some(record) => record,
            None => return Claim::Dropped,
        },
    };
    // The answer took long, so the lock may be old, or another worker may have
    // taken it over already. The store is asked before the handler starts.
    if sent.elapsed() > shared.options.lease / 4 && !renew(shared, id, fence, &mut sent).await {
        return Claim::Dropped;
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
        waited,
    }))
}
