//! The way into a store.
//!
//! An operation is stored in two steps: suspended, and without a time that wakes it; then
//! a commit writes the header that it had. Both steps have names that follow from the
//! operation. So an import that is repeated recognises what it has done, and goes on.

use std::cmp::Reverse;
use std::io::BufRead;
use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Created, Guard, NewOperation, Store};
use drumline_protocol::history::{self, Author, Entry, Place};
use drumline_protocol::transition::{
    At, ChainEffect, DueEffect, Effects, EndClass, Event, LockEffect, OfferEffect, apply,
};
use drumline_protocol::{CommitId, Header, OperationId, Pause, Report, State, Status, Timestamp};

use super::line::{Carried, Head, Line, Lines, Totals};
use super::of_store;
use crate::exit::{Exit, Failure, Result};

/// The most operations in one call of the store, and the bytes after which a call is
/// full.
const MOST: usize = 128;
const MOST_BYTES: usize = 1 << 20;
/// Tell the names of the two steps from the name of the commit that was exported.
const PARKED: u64 = 0x7061_726b_6564_0001;
const LOST: u64 = 0x6c6f_7374_0000_0002;
/// The most ids that are shown of operations that were refused.
const SHOWN: usize = 10;

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Imported {
    /// Operations that are as they were exported, now or since an earlier try.
    pub(super) new: u64,
    /// Operations of these that were running.
    pub(super) were_running: u64,
    /// Operations that were imported before, and have changed since.
    pub(super) known: u64,
    /// Operations whose ids others have.
    pub(super) refused: usize,
    /// The first ids of these.
    pub(super) foreign: Vec<OperationId>,
    pub(super) pauses: u64,
}

/// Refuses an export of a store with another number of partitions.
///
/// # Errors
/// When it is one.
pub(super) fn check_partitions(store: &dyn Store, head: &Head) -> Result<()> {
    let own = store.partitions().get();
    if own != head.partitions {
        let text = format!(
            "the export is of a store with {} partitions, and this one has {own}: an id is of one partition for ever\n  \
             what to do: import into an unused namespace (--namespace) or a new folder (--data)",
            head.partitions
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(())
}

/// Imports the rest of a file, of a store with as many partitions.
///
/// # Errors
/// When the store is unavailable, or a line is none.
/// Imported operations stay.
pub(super) async fn run(
    store: &dyn Store,
    mut lines: Lines<impl BufRead>,
    progress: &mut impl FnMut(u64),
) -> Result<Imported> {
    let mut imported = Imported::default();
    let mut read = Totals::default();
    let mut batch = Vec::new();
    let mut bytes = 0;
    loop {
        match lines.next()? {
            Some(Line::Pause(pause)) => {
                read.pauses += 1;
                set(store, *pause).await?;
                imported.pauses += 1;
            }
            Some(Line::Operation(carried)) => {
                read.operations += 1;
                progress(read.operations);
                // With its history and everything else.
                bytes += lines.bytes();
                batch.push(*carried);
                if batch.len() >= MOST || bytes >= MOST_BYTES {
                    flush(store, std::mem::take(&mut batch), &mut imported).await?;
                    bytes = 0;
                }
            }
            Some(Line::End(totals))
                if Totals {
                    left_out: 0,
                    ..totals
                } == read =>
            {
                break;
            }
            Some(Line::End(_)) => return Err(lines.wrong("lines before this one are missing")),
            Some(Line::Export(_)) => return Err(lines.wrong("a second export begins here")),
            None => return Err(lines.wrong("the file ends before the export does")),
        }
    }
    flush(store, batch, &mut imported).await?;
    Ok(imported)
}

/// Sets a pause, unless its scope has one.
async fn set(store: &dyn Store, pause: Pause) -> Result<()> {
    let there = store.pauses().await.map_err(of_store)?;
    if !there.pauses.iter().any(|one| one.scope == pause.scope) {
        store.set_pause(&pause).await.map_err(of_store)?;
    }
    let all = store.pauses().await.map_err(of_store)?;
    let partitions: Vec<_> = store.partitions().all().collect();
    store.copy_pauses(&all, &partitions).await.map_err(of_store)
}

async fn flush(store: &dyn Store, batch: Vec<Carried>, imported: &mut Imported) -> Result<()> {
    let creates = batch.iter().map(parked).collect();
    let created = store.create(creates).await.map_err(of_store)?;
    let now = store.now();
    let mut commits = Vec::new();
    let mut were_running = Vec::new();
    for (carried, created) in batch.into_iter().zip(created) {
        match created {
            Created::New { .. } => {
                were_running.push(carried.header.status.state() == State::Locked);
                commits.push(commit(carried, now)?);
            }
            Created::Exists(_)
            | Created::Unreadable(_)
            | Created::KeyReused
            | Created::KeySpent(_) => {
                imported.refused += 1;
                if imported.foreign.len() < SHOWN {
                    imported.foreign.push(carried.id);
                }
            }
        }
    }
    let committed = store.commit(commits).await.map_err(of_store)?;
    for (committed, was_running) in committed.into_iter().zip(were_running) {
        match committed {
            Committed::Done(_) => {
                imported.new += 1;
                imported.were_running += u64::from(was_running);
            }
            // It has been imported and has gone on, or was removed since.
            Committed::Conflict(_) | Committed::Missing => imported.known += 1,
            Committed::NotHead | Committed::Held(_) | Committed::Fenced => {
                let text =
                    "the store has refused a commit that names no head, no lock and no scope";
                return Err(Failure::new(Exit::Internal, text));
            }
        }
    }
    Ok(())
}

/// The operation as it is first stored: nothing wakes, offers or ends it.
fn parked(carried: &Carried) -> NewOperation {
    let header = &carried.header;
    NewOperation {
        id: carried.id,
        header: Header {
            version: header.version.saturating_sub(1),
            commit: CommitId(header.commit.0 ^ PARKED),
            status: Status::Waiting,
            holding: false,
            postpone_until: None,
            stop: None,
            // An operation that has been started does not expire.
            starts: header.starts.max(1),
            ..header.clone()
        },
        body: carried.body.clone(),
        key: None,
    }
}

/// The commit that gives the operation the header that it had.
fn commit(carried: Carried, now: Timestamp) -> Result<Commit> {
    let before = parked(&carried).header;
    let id = carried.id;
    let Settled {
        header,
        report,
        entries,
        tell,
    } = settle(carried, now)?;
    let has_ended = header.status.state() == State::Completed;
    let effects = Effects {
        lock: LockEffect::Keep,
        chain: if has_ended && !header.holding && header.rules.chain.is_some() {
            ChainEffect::Leave
        } else {
            ChainEffect::Keep
        },
        due: header.due_on().map_or(DueEffect::Clear, DueEffect::Set),
        offer: if header.status == Status::WaitingForResources {
            OfferEffect::Add
        } else {
            OfferEffect::Keep
        },
        end: has_ended.then(|| class(&header)),
        tell,
        remove: false,
    };
    Ok(Commit {
        id,
        expected: before.version,
        after: before.commit,
        from: before.status.state(),
        header,
        effects,
        guard: Guard::None,
        report: (report != Report::default()).then_some(report),
        entries,
        scopes: Vec::new(),
        want_record: false,
        remember: Duration::ZERO,
        output: None,
    })
}

/// The parts of an operation without a run.
struct Settled {
    header: Header,
    report: Report,
    entries: Vec<Entry>,
    /// True if a webhook is owed the end.
    tell: bool,
}

/// The operation as it is, or, of a running one, as it is once its worker is lost.
fn settle(carried: Carried, now: Timestamp) -> Result<Settled> {
    let Carried {
        header,
        mut report,
        history: mut entries,
        ..
    } = carried;
    let mut tell = false;
    let header = if header.status.state() == State::Locked {
        let at = At {
            now,
            commit: CommitId(header.commit.0 ^ LOST),
        };
        let lost = apply(&header, Event::LeaseExpired, at);
        let lost = lost.map_err(|refused| Failure::new(Exit::Internal, refused.to_string()))?;
        entries.extend(history::to_store(
            &header,
            &lost,
            &Author::manager("import"),
        ));
        tell = lost.effects.tell;
        report.fault = lost.fault.or(report.fault);
        lost.header
    } else {
        header
    };
    // The list of a history has fixed places, and the store writes the entries of one
    // commit one behind the other. Of two with one place, the newer one counts.
    entries.sort_by_key(|entry| (place(entry), Reverse(entry.version)));
    entries.dedup_by_key(|entry| place(entry));
    Ok(Settled {
        header,
        report,
        entries,
        tell,
    })
}

/// The place of an entry in the list, from 0. The creation is in none.
fn place(entry: &Entry) -> u64 {
    match Place::of(entry.version) {
        Place::Append => entry.version.saturating_sub(2),
        Place::Replace(place) => u64::try_from(place).unwrap_or(u64::MAX),
    }
}

fn class(header: &Header) -> EndClass {
    match header.status {
        Status::Succeeded if header.rules.transient => EndClass::Transient,
        Status::Succeeded => EndClass::Succeeded,
        Status::Failed
        | Status::Canceled
        | Status::WaitingForResources
        | Status::Waiting
        | Status::InProgress
        | Status::Pausing
        | Status::Canceling => EndClass::Unsuccessful,
    }
}
