//! Series that are due: an occurrence each, or none, and on to the next time.
//!
//! | the occurrence before | this time |
//! |---|---|
//! | Completed, removed, or there was none | an occurrence is created |
//! | still there | is skipped: a series never overlaps itself |
//!
//! The next time is the first that is still to come, so times that were missed
//! while no manager looked have one occurrence together. The occurrence and the
//! step of the series are one transaction, which names the version of the
//! series that it was decided on. So one of two managers succeeds, and a manager
//! that dies leaves nothing half done. If the publish fails, the relay repeats
//! it.

use std::collections::HashSet;

use drumline_backend::apply_event::prepare_unlocked;
use drumline_backend::store::{self, Created, Promoted, Summary, Transacted};
use drumline_protocol::{Author, Event, Operation, OperationId, State};
use futures_util::stream::{self, StreamExt};

use crate::recurrence::next_time;
use crate::service::QueueManager;
use crate::service::series::is_readable;
use crate::service::stored_as;

/// Transactions at the same time, of one partition: enough to hide the round
/// trips.
const AT_ONCE: usize = 16;

/// Moves series on whose time has come. Returns their number, and the error of one that
/// was not moved.
///
/// # Errors
/// When the store is unavailable before the first step.
pub(super) async fn occur(
    manager: &QueueManager,
    due: Vec<Summary>,
) -> store::Result<(u64, Option<store::Error>)> {
    if due.is_empty() {
        return Ok((0, None));
    }
    let busy = still_running(manager, &due).await?;
    let moved: Vec<store::Result<bool>> = stream::iter(due)
        .map(|series| (series.id, busy.contains(&series.id)))
        .map(|(id, is_busy)| async move {
            // Whole: each occurrence has its data.
            let found = manager.readable(&[id]).await?.pop().flatten();
            match found {
                Some(series) => occur_once(manager, series, is_busy).await,
                None => Ok(false),
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut count, mut refused) = (0, None);
    for moved in moved {
        match moved {
            Ok(is_moved) => count += u64::from(is_moved),
            Err(error) => refused = Some(error),
        }
    }
    Ok((count, refused))
}

/// The series whose last occurrence is not Completed.
async fn still_running(
    manager: &QueueManager,
    due: &[Summary],
) -> store::Result<HashSet<OperationId>> {
    let last = |series: &Summary| series.header.recurrence.as_ref()?.last;
    let (series, ids): (Vec<OperationId>, Vec<OperationId>) = due
        .iter()
        .filter_map(|series| Some((series.id, last(series)?)))
        .unzip();
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let found = manager.summaries(&ids).await?;
    let is_running = |occurrence: Option<Summary>| {
        occurrence.is_some_and(|one| one.header.status.state() != State::Completed)
    };
    let both = series.into_iter().zip(found);
    Ok(both
        .filter_map(|(id, occurrence)| is_running(occurrence).then_some(id))
        .collect())
}

/// Moves one series on; `false` if it is not due (any more).
async fn occur_once(
    manager: &QueueManager,
    series: Operation,
    is_busy: bool,
) -> store::Result<bool> {
    let Some(recurrence) = &series.header.recurrence else {
        return Ok(false);
    };
    if !is_readable(recurrence) {
        manager.set_aside(&series).await?;
        return Ok(false);
    }
    let now = manager.store().now();
    let new = (!is_busy).then(|| manager.occurrence(&series, now));
    let event = Event::Occur {
        last: new.as_ref().map(|new| new.id),
        next: next_time(recurrence, now),
    };
    // Refused: it is not (or no longer) due, as its newest header says.
    let author = Author::Schedule(series.id);
    let by = manager.signature(&author);
    let Ok(commit) = prepare_unlocked(manager.store(), by, &series, event) else {
        return Ok(false);
    };
    let after = commit.header.clone();
    let creates: Vec<_> = new.iter().cloned().collect();
    let created = match manager.store().transact(creates, vec![commit]).await? {
        Transacted::Done { created, .. } => created,
        // Another manager or a client was faster.
        Transacted::Refused { .. } => return Ok(false),
        // An occurrence is in the partition of its series.
        Transacted::Spread => {
            return Err(store::Error::Unfit(format!(
                "{} and its occurrence are kept apart",
                series.id
            )));
        }
    };
    let metrics = manager.metrics();
    let tally = manager.tally();
    tally.changed(series.id, &series.body, &series.header, &after, None);
    let (Some(new), Some(created)) = (new, created.into_iter().next()) else {
        metrics.occurrences_skipped.inc();
        tracing::info!(id = %series.id, "a time of a series is skipped: the previous occurrence is not Completed");
        return Ok(true);
    };
    metrics.occurrences.inc();
    metrics.created.inc();
    tally.created(&new.body);
    manager.keep_queue(&new.body).await;
    tracing::debug!(id = %new.id, series = %series.id, "an occurrence is created");
    match created {
        Created::New {
            sequence,
            offer: Some(stamp),
            ..
        } => {
            let occurrence = Summary::of(&stored_as(new, sequence));
            let promoted = Promoted::new(occurrence, stamp);
            manager.dispatcher().enqueue(&promoted);
        }
        // Parked behind others of its token, or stored by an earlier try.
        // It has no key.
        Created::New { offer: None, .. }
        | Created::Exists(_)
        | Created::Unreadable(_)
        | Created::KeyReused
        | Created::KeySpent(_) => {}
    }
    Ok(true)
}
