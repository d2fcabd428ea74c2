//! Apply an event and commit it; where somebody was faster, decide anew.

use std::borrow::Cow;
use std::future::Future;

use drumline_protocol::transition::{At, Event, Refused, apply};
use drumline_protocol::{Header, Operation, OperationId, Report, Timestamp};

use crate::ids::Ids;
use crate::store::{self, Commit, Committed, Done, Guard, Store};

/// How often somebody may be faster. Every round somebody else has made
/// progress, so this is not a matter of liveness, only of one caller's patience.
const ROUNDS: usize = 32;

/// Where single commits go: a store, or something before it that gathers the
/// commits of many callers into batches.
pub trait Commits: Sync {
    /// The store's time.
    fn now(&self) -> Timestamp;

    /// Makes one commit.
    ///
    /// # Errors
    /// When the store is away: it is open whether it was made.
    fn commit_one(&self, commit: Commit) -> impl Future<Output = store::Result<Committed>> + Send;

    /// Reads the report of an operation, where there is one.
    ///
    /// # Errors
    /// When the store is away or the record cannot be read.
    fn report_of(
        &self,
        id: OperationId,
    ) -> impl Future<Output = store::Result<Option<Report>>> + Send;
}

impl Commits for dyn Store + '_ {
    fn now(&self) -> Timestamp {
        Store::now(self)
    }

    async fn commit_one(&self, commit: Commit) -> store::Result<Committed> {
        Ok(one(self.commit(vec![commit]).await?))
    }

    async fn report_of(&self, id: OperationId) -> store::Result<Option<Report>> {
        let found = self.get(&[id]).await?.pop().flatten();
        Ok(found.map(|operation| operation.report))
    }
}

/// What became of an event.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and most often the large one"
)]
pub enum Decided {
    /// It happened: the header now, and what the store answered.
    Done(Header, Box<Done>),
    /// The table has no such arrow from where the operation stands.
    Refused(Refused),
    /// The operation is not the head of its chain; it is parked.
    NotHead,
    /// The lock that the guard names is gone.
    Fenced,
    /// No such operation.
    Missing,
}

/// Makes `event` happen to an operation, starting from the header that the
/// caller has seen.
///
/// A holder's `report` is written along when it happens. Anybody else's is what
/// the caller has seen, and is written only where the transition has a fault to
/// put into it; if somebody was faster, it is read again, or what a handler has
/// reported meanwhile would be undone. (The one who takes over an expired lease
/// can still meet a holder that reports between the two: it is taken for lost.)
///
/// Dropping the future leaves it open whether the commit was made.
///
/// # Errors
/// When the store is away: it is open whether it happened.
pub async fn decide(
    store: &dyn Store,
    ids: &Ids,
    id: OperationId,
    header: Header,
    event: Event,
    guard: Guard,
    report: &Report,
) -> store::Result<Decided> {
    decide_through(store, ids, id, header, event, guard, report).await
}

/// [`decide`] through something that gathers commits.
///
/// # Errors
/// As [`decide`].
pub async fn decide_through<C: Commits + ?Sized>(
    commits: &C,
    ids: &Ids,
    id: OperationId,
    mut header: Header,
    event: Event,
    guard: Guard,
    report: &Report,
) -> store::Result<Decided> {
    let is_holder = matches!(guard, Guard::Holder(_));
    let mut report = Cow::Borrowed(report);
    // Somebody was faster than we were with a report that is not ours.
    let mut report_is_old = false;
    for _ in 0..ROUNDS {
        let at = At {
            now: commits.now(),
            commit: ids.commit(),
        };
        let commit = match prepare(id, &header, event.clone(), guard, &report, at) {
            Ok(commit) => commit,
            Err(refused) => return Ok(Decided::Refused(refused)),
        };
        if report_is_old && commit.report.is_some() {
            match commits.report_of(id).await? {
                Some(newer) => report = Cow::Owned(newer),
                None => return Ok(Decided::Missing),
            }
            report_is_old = false;
            continue;
        }
        let after = commit.header.clone();
        match commits.commit_one(commit).await? {
            Committed::Done(done) => return Ok(Decided::Done(after, done)),
            Committed::NotHead => return Ok(Decided::NotHead),
            Committed::Fenced => return Ok(Decided::Fenced),
            Committed::Missing => return Ok(Decided::Missing),
            Committed::Conflict(current) => {
                header = *current;
                report_is_old = !is_holder;
            }
        }
    }
    Err(store::Error::Unavailable {
        message: format!("{id} changed {ROUNDS} times while a change of it was tried"),
        source: None,
    })
}

/// The commit that makes `event` happen to an operation with this header: what
/// [`decide`] commits, for whoever puts it into a transaction. `report` as there.
///
/// # Errors
/// [`Refused`] where the table has no such arrow.
pub fn prepare(
    id: OperationId,
    header: &Header,
    event: Event,
    guard: Guard,
    report: &Report,
    at: At,
) -> Result<Commit, Refused> {
    let transition = apply(header, event, at)?;
    let mut commit = Commit::new(id, header, &transition, guard);
    commit.report = match transition.fault {
        Some(fault) => Some(Report {
            fault: Some(fault),
            ..report.clone()
        }),
        // Only the holder may write a report; others would undo his.
        None => matches!(guard, Guard::Holder(_)).then(|| report.clone()),
    };
    Ok(commit)
}

/// [`decide`] for an operation that was just read, by somebody without a lock.
///
/// # Errors
/// As [`decide`].
pub async fn decide_open(
    store: &dyn Store,
    ids: &Ids,
    operation: &Operation,
    event: Event,
) -> store::Result<Decided> {
    decide(
        store,
        ids,
        operation.id,
        operation.header.clone(),
        event,
        Guard::Open,
        &operation.report,
    )
    .await
}

/// The answer to the one commit that was asked.
fn one(answers: Vec<Committed>) -> Committed {
    answers.into_iter().next().unwrap_or(Committed::Missing)
}
