//! The one loop that changes an operation: apply an event, commit it, and on a
//! conflict apply it again to the newest header.

use std::borrow::Cow;
use std::future::Future;

use drumline_protocol::transition::{At, Event, Refused, apply};
use drumline_protocol::{
    Author, CommitId, Header, Operation, OperationId, OutputParts, Report, Timestamp,
};

use crate::ids::Ids;
use crate::store::{self, Commit, Committed, Done, Guard, Holding, Store, Summary};

/// The most conflicts of one decision. In every round another caller has made
/// progress, so the bound is not a matter of liveness, only of one caller's
/// patience.
const ROUNDS: usize = 32;

/// The names of commits, and the author that they are recorded under.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    ids: &'a Ids,
    author: &'a Author,
}

impl<'a> Signature<'a> {
    /// The signature of an author in a process that draws names here.
    #[must_use]
    pub const fn new(ids: &'a Ids, author: &'a Author) -> Self {
        Self { ids, author }
    }

    /// A fresh name for a commit.
    fn commit(self) -> CommitId {
        self.ids.commit()
    }
}

/// The target of single commits: a store, or a layer before it that gathers the
/// commits of many callers into batches.
pub trait Commits: Sync {
    /// The store's time.
    fn now(&self) -> Timestamp;

    /// Makes one commit.
    ///
    /// # Errors
    /// When the store is unavailable: the commit may or may not have been made.
    fn commit_one(&self, commit: Commit) -> impl Future<Output = store::Result<Committed>> + Send;

    /// Reads the report of an operation, if there is one.
    ///
    /// # Errors
    /// When the store is unavailable or the record cannot be read.
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

/// The outcome of an event.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and most often the large one"
)]
pub enum Applied {
    /// The event happened: the header now, and the store's answer.
    Done(Header, Box<Done>),
    /// The table has no such arrow from the operation's present state.
    Refused(Refused),
    /// The operation is not the head of its chain; it is parked.
    NotHead,
    /// A pause holds the operation: nothing has happened.
    Held,
    /// The lock that the guard names is gone.
    Fenced,
    /// No such operation.
    Missing,
}

/// Makes `event` happen to an operation, starting from the header that the
/// caller has seen.
///
/// A holder's `report` is written along when the event happens. Any other
/// caller's report is the one that it has seen, and is written only where the
/// transition has a fault to put into it. On a conflict it is read again,
/// because otherwise a report that the handler has written meanwhile would be
/// undone. (A manager that takes over an expired lease can still meet a holder
/// that reports between the two steps: that holder is taken for lost, with its
/// report.)
///
/// If the future is dropped, the commit may or may not have been made.
///
/// # Errors
/// When the store is unavailable: the event may or may not have happened.
pub async fn apply_event(
    store: &dyn Store,
    by: Signature<'_>,
    id: OperationId,
    header: Header,
    event: Event,
    guard: Guard,
    report: &Report,
) -> store::Result<Applied> {
    apply_event_through(store, by, id, header, event, guard, report).await
}

/// Does the same as [`apply_event`] through a layer that gathers commits.
///
/// # Errors
/// As [`apply_event`].
pub async fn apply_event_through<C: Commits + ?Sized>(
    commits: &C,
    by: Signature<'_>,
    id: OperationId,
    header: Header,
    event: Event,
    guard: Guard,
    report: &Report,
) -> store::Result<Applied> {
    let choose = |_: &Header| store::Result::Ok(event.clone());
    apply_chosen_event(commits, by, id, header, choose, guard, report).await
}

/// The output of an attempt, as it is stored with this header: what is kept depends on
/// the end.
pub type OutputOf<'a> = &'a (dyn Fn(&Header) -> Option<OutputParts> + Sync);

/// Does the same as [`apply_event_through`] for a holder whose attempt ends, and
/// writes the output of the attempt in the same step.
///
/// # Errors
/// As [`apply_event`].
#[expect(
    clippy::too_many_arguments,
    reason = "those of the other functions, and the output"
)]
pub async fn apply_end_through<C: Commits + ?Sized>(
    commits: &C,
    by: Signature<'_>,
    id: OperationId,
    header: Header,
    event: Event,
    holding: Holding,
    report: &Report,
    output: OutputOf<'_>,
) -> store::Result<Applied> {
    let choose = |_: &Header| store::Result::Ok(event.clone());
    let guard = Guard::Holder(holding);
    let seen = Seen {
        report: Some(report),
        output: Some(output),
    };
    try_until_decided(commits, by, id, header, choose, guard, seen).await
}

/// Does the same as [`apply_event`] for a caller that has read the summary of the
/// operation alone. The report is read if the transition has a fault to put into
/// it.
///
/// # Errors
/// As [`apply_event`].
pub async fn apply_event_to_summary(
    store: &dyn Store,
    by: Signature<'_>,
    summary: &Summary,
    event: Event,
    guard: Guard,
) -> store::Result<Applied> {
    let choose = |_: &Header| store::Result::Ok(event.clone());
    apply_chosen_event_to_summary(store, by, summary, choose, guard).await
}

/// Does the same as [`apply_event_to_summary`], with an event that depends on the
/// header: see [`apply_chosen_event`].
///
/// # Errors
/// As [`apply_chosen_event`].
pub async fn apply_chosen_event_to_summary<C: Commits + ?Sized, E: From<store::Error>>(
    commits: &C,
    by: Signature<'_>,
    summary: &Summary,
    choose: impl FnMut(&Header) -> Result<Event, E>,
    guard: Guard,
) -> Result<Applied, E> {
    let header = summary.header.clone();
    try_until_decided(
        commits,
        by,
        summary.id,
        header,
        choose,
        guard,
        Seen::default(),
    )
    .await
}

/// Does the same as [`apply_event_through`], with an event that depends on the
/// header: `choose` is called with the header of each try, and an error of it
/// ends the tries.
///
/// # Errors
/// The error of `choose`, or as [`apply_event`].
pub async fn apply_chosen_event<C: Commits + ?Sized, E: From<store::Error>>(
    commits: &C,
    by: Signature<'_>,
    id: OperationId,
    header: Header,
    choose: impl FnMut(&Header) -> Result<Event, E>,
    guard: Guard,
    report: &Report,
) -> Result<Applied, E> {
    let seen = Seen {
        report: Some(report),
        output: None,
    };
    try_until_decided(commits, by, id, header, choose, guard, seen).await
}

/// The parts of an operation that the caller knows beside its header.
#[derive(Clone, Copy, Default)]
struct Seen<'a> {
    /// `None` if the caller has not read it.
    report: Option<&'a Report>,
    /// The output of the attempt that ends with the event.
    output: Option<OutputOf<'a>>,
}

/// The loop.
async fn try_until_decided<C: Commits + ?Sized, E: From<store::Error>>(
    commits: &C,
    by: Signature<'_>,
    id: OperationId,
    mut header: Header,
    mut choose: impl FnMut(&Header) -> Result<Event, E>,
    guard: Guard,
    seen: Seen<'_>,
) -> Result<Applied, E> {
    let Seen { report, output } = seen;
    let is_holder = matches!(guard, Guard::Holder(_));
    // Set if the report is unknown; and after a conflict, if it is not ours: it
    // may have changed.
    let mut report_is_old = report.is_none();
    let mut report = report.map_or_else(|| Cow::Owned(Report::default()), Cow::Borrowed);
    for _ in 0..ROUNDS {
        let event = choose(&header)?;
        let at = At {
            now: commits.now(),
            commit: by.commit(),
        };
        let mut commit = match prepare(id, &header, event, guard, &report, by.author, at) {
            Ok(commit) => commit,
            Err(refused) => return Ok(Applied::Refused(refused)),
        };
        if report_is_old && commit.report.is_some() {
            match commits.report_of(id).await? {
                Some(newer) => report = Cow::Owned(newer),
                None => return Ok(Applied::Missing),
            }
            report_is_old = false;
            continue;
        }
        commit.output = output.and_then(|output| output(&commit.header));
        let after = commit.header.clone();
        match commits.commit_one(commit).await? {
            Committed::Done(done) => return Ok(Applied::Done(after, done)),
            Committed::NotHead => return Ok(Applied::NotHead),
            Committed::Held(_) => return Ok(Applied::Held),
            Committed::Fenced => return Ok(Applied::Fenced),
            Committed::Missing => return Ok(Applied::Missing),
            Committed::Conflict(current) => {
                header = *current;
                report_is_old = !is_holder;
            }
        }
    }
    Err(E::from(store::Error::Unavailable {
        message: format!("{id} changed {ROUNDS} times while a change of it was tried"),
        source: None,
    }))
}

/// The commit that makes `event` happen to an operation with this header: the
/// commit of [`apply_event`], for a caller that puts it into a transaction. `report`
/// means the same as there.
///
/// # Errors
/// [`Refused`] where the table has no such arrow.
pub fn prepare(
    id: OperationId,
    header: &Header,
    event: Event,
    guard: Guard,
    report: &Report,
    author: &Author,
    at: At,
) -> Result<Commit, Refused> {
    let transition = apply(header, event, at)?;
    let mut commit = Commit::new(id, header, &transition, guard, author);
    commit.report = match transition.fault {
        Some(fault) => Some(Report {
            fault: Some(fault),
            ..report.clone()
        }),
        // Only the holder may write a report; any other writer would undo the
        // holder's.
        None => matches!(guard, Guard::Holder(_)).then(|| report.clone()),
    };
    Ok(commit)
}

/// [`apply_event`] for an operation that was just read, by a caller without a lock.
///
/// # Errors
/// As [`apply_event`].
pub async fn apply_event_unlocked(
    store: &dyn Store,
    by: Signature<'_>,
    operation: &Operation,
    event: Event,
) -> store::Result<Applied> {
    apply_event(
        store,
        by,
        operation.id,
        operation.header.clone(),
        event,
        Guard::None,
        &operation.report,
    )
    .await
}

/// [`prepare`] for an operation that was just read, for a caller without a lock
/// that makes several commits in one call.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_unlocked(
    store: &dyn Store,
    by: Signature<'_>,
    operation: &Operation,
    event: Event,
) -> Result<Commit, Refused> {
    let Operation {
        id, header, report, ..
    } = operation;
    let at = At {
        now: Store::now(store),
        commit: by.commit(),
    };
    prepare(*id, header, event, Guard::None, report, by.author, at)
}

/// [`prepare_unlocked`] for an operation that has no report to keep: it has never
/// started, or the event has no fault. So its summary is enough.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_without_report(
    store: &dyn Store,
    by: Signature<'_>,
    summary: &Summary,
    event: Event,
) -> Result<Commit, Refused> {
    let at = At {
        now: Store::now(store),
        commit: by.commit(),
    };
    let (report, header) = (Report::default(), &summary.header);
    prepare(
        summary.id,
        header,
        event,
        Guard::None,
        &report,
        by.author,
        at,
    )
}

/// The answer to a single commit.
fn one(answers: Vec<Committed>) -> Committed {
    answers.into_iter().next().unwrap_or(Committed::Missing)
}

#[cfg(test)]
mod tests;
