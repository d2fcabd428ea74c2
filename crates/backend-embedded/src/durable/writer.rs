//! The thread that writes, and the groups of calls that wait for it.
//!
//! A call takes its group while it has the state locked: the open group if something is
//! marked, else the group that is being written, if there is one. The writer locks the
//! state, takes what is marked, and closes the open group in the same moment. So what a
//! call has changed or seen is in its group, or in one before.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use drumline_backend::store::{self, Backup};
use drumline_protocol::PartitionCount;
use parking_lot::{Condvar, Mutex};
use tokio::sync::SetOnce;
use tokio::task::coop::consume_budget;

use super::backup::Backups;
use super::database::{Database, Space};
use super::error::Error;
use crate::rollups::Rollups;
use crate::state::State;
use crate::state::rows::Row;

/// The name of the thread, for people.
const THREAD: &str = "drumline-disk";
/// The free space of the disk below which no operation is created. What is there can
/// still be executed and deleted with it: a change takes some pages of 4 KiB.
pub(super) const RESERVE_BYTES: u64 = 64 << 20;

/// The content of a store, shared with the thread that writes it. Whatever locks both
/// locks the state first.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) state: Mutex<State>,
    pub(crate) rollups: Mutex<Rollups>,
}

/// Calls that wait for one transaction.
#[derive(Debug, Default)]
struct Group(SetOnce<Result<(), Arc<Error>>>);

impl Group {
    fn settle(&self, outcome: Result<(), Arc<Error>>) {
        // A group has one outcome: the writer's, or that of the end.
        drop(self.0.set(outcome));
    }
}

/// An answer, and what it waits for.
#[must_use]
#[derive(Debug)]
pub(crate) struct Pending<T> {
    answer: T,
    wait: Wait,
}

#[derive(Debug)]
enum Wait {
    /// There is no disk.
    Never,
    /// The disk has everything.
    Written,
    /// The group that is being written, or that is still open.
    For(Arc<Group>),
}

impl<T> Pending<T> {
    /// An answer that waits for nothing.
    pub(crate) const fn settled(answer: T) -> Self {
        Self {
            answer,
            wait: Wait::Never,
        }
    }

    /// Waits until the disk has what the answer tells of. If the future is dropped, what
    /// was changed stays changed.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) async fn written(self) -> store::Result<T> {
        match self.wait {
            Wait::Never => {}
            // A task that asks over and over lets those go on whose groups have ended.
            Wait::Written => consume_budget().await,
            Wait::For(group) => {
                if let Err(error) = group.0.wait().await {
                    return Err(unavailable(error));
                }
            }
        }
        Ok(self.answer)
    }
}

fn unavailable(error: &Arc<Error>) -> store::Error {
    store::Error::Unavailable {
        message: error.to_string(),
        source: Some(Arc::clone(error) as Arc<dyn std::error::Error + Send + Sync>),
    }
}

#[derive(Debug, Default)]
struct Groups {
    /// The group of what is marked.
    open: Arc<Group>,
    /// True if a call waits for the open group.
    is_awaited: bool,
    /// The group that is being written.
    under_way: Option<Arc<Group>>,
    is_closing: bool,
    /// The reason why nothing is written any more.
    end: Option<Arc<Error>>,
}

#[derive(Debug, Default)]
struct Shared {
    groups: Mutex<Groups>,
    wake: Condvar,
    failed: SetOnce<Arc<Error>>,
}

/// The handle of the thread that writes.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    space: Space,
    backups: Backups,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(database: Database, content: Arc<Content>) -> Result<Self, Error> {
        let space = database.space().clone();
        let database = Arc::new(database);
        let backups = Backups::new(&database);
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || run(&own, &database, &content))
            .map_err(Error::Thread)?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
            space,
            backups,
        })
    }

    /// Begins a backup of the file.
    ///
    /// # Errors
    /// When another one is under way, or the file is closed.
    pub(crate) fn backup(&self, partitions: PartitionCount) -> store::Result<Backup> {
        self.backups.begin(partitions)
    }

    /// Returns true if nothing has the file open.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.backups.is_closed()
    }

    /// Gives an answer its group. The caller has locked what it has changed or seen.
    pub(crate) fn pending<T>(&self, answer: T, is_touched: bool) -> Pending<T> {
        let mut groups = self.shared.groups.lock();
        let wait = if is_touched || groups.end.is_some() {
            if !groups.is_awaited {
                groups.is_awaited = true;
                self.shared.wake.notify_one();
            }
            Wait::For(Arc::clone(&groups.open))
        } else {
            let under_way = groups.under_way.clone();
            under_way.map_or(Wait::Written, Wait::For)
        };
        Pending { answer, wait }
    }

    /// Checks that there is room for new operations.
    ///
    /// # Errors
    /// When the disk is nearly full, or nothing is written any more.
    pub(crate) fn check_room(&self) -> store::Result<()> {
        self.check()?;
        // If it is not known, the next write says what is wrong.
        if self.space.free().is_none_or(|free| free >= RESERVE_BYTES) {
            return Ok(());
        }
        Err(store::Error::Unavailable {
            message: format!(
                "the disk of {} is full: less than {} MiB are free, and nothing is created until \
                 there are more; what is there goes on",
                self.space.folder().display(),
                RESERVE_BYTES >> 20
            ),
            source: None,
        })
    }

    /// Checks that writes still succeed.
    ///
    /// # Errors
    /// When one has failed.
    fn check(&self) -> store::Result<()> {
        match &self.shared.groups.lock().end {
            None => Ok(()),
            Some(error) => Err(unavailable(error)),
        }
    }

    /// Waits for the failure of a write. Cancel-safe.
    pub(crate) async fn failed(&self) -> Arc<Error> {
        Arc::clone(self.shared.failed.wait().await)
    }

    /// Has a backup end, writes what is marked, and ends the thread.
    pub(crate) fn close(&self) {
        self.backups.close();
        self.shared.groups.lock().is_closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // The thread panics on a bug of ours alone, and has reported it by then.
            drop(thread.join());
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Ends all groups when the thread ends, in whatever way.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let error = Arc::new(Error::Closed);
        if thread::panicking() {
            drop(self.0.failed.set(Arc::clone(&error)));
        }
        self.0.end(error);
    }
}

impl Shared {
    fn end(&self, error: Arc<Error>) {
        let mut groups = self.groups.lock();
        let error = Arc::clone(groups.end.get_or_insert(error));
        for group in groups.under_way.take().iter().chain([&groups.open]) {
            group.settle(Err(Arc::clone(&error)));
        }
    }
}

/// Writes one group after the other, until the store is closed or a write fails.
fn run(shared: &Shared, database: &Database, content: &Content) {
    let end = End(shared);
    loop {
        let is_closing = {
            let mut groups = shared.groups.lock();
            while !groups.is_awaited && !groups.is_closing {
                shared.wake.wait(&mut groups);
            }
            groups.is_closing
        };
        let (rows, group) = take(shared, content);
        let written = rows.and_then(|rows| match rows.as_slice() {
            [] => Ok(()),
            rows => database.write(rows),
        });
        match written {
            Ok(()) => {
                shared.groups.lock().under_way = None;
                group.settle(Ok(()));
            }
            Err(error) => {
                let error = Arc::new(error);
                // The group is under way, and ends with all others.
                shared.end(Arc::clone(&error));
                drop(shared.failed.set(error));
                return;
            }
        }
        if is_closing {
            drop(end);
            return;
        }
    }
}

/// Takes what is marked, and closes the open group.
fn take(shared: &Shared, content: &Content) -> (Result<Vec<Row>, Error>, Arc<Group>) {
    let mut state = content.state.lock();
    let mut rollups = content.rollups.lock();
    let rows = state.take_rows().map(|mut rows| {
        rows.extend(rollups.take_rows());
        rows
    });
    let mut groups = shared.groups.lock();
    let group = std::mem::take(&mut groups.open);
    groups.under_way = Some(Arc::clone(&group));
    groups.is_awaited = false;
    (rows.map_err(Error::Unencodable), group)
}
