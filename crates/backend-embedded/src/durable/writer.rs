//! The thread that writes, and the groups of calls that wait for it.
//!
//! A call takes its group while it has the state locked: the open group if something is
//! marked, else the group that is being written, if there is one. The writer locks the
//! state, takes what is marked, and closes the open group in the same moment. So what a
//! call has changed or seen is in its group, or in one before.
//!
//! While the disk has no room for a group, the group waits, and its calls do not: their
//! answers are errors, and so are those of all calls until the group is written. An
//! error says that a change may or may not have been made, and here it will be.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use drumline_backend::store::{self, Backup};
use drumline_protocol::{Fence, OperationId, PartitionCount};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::SetOnce;
use tokio::task::coop::consume_budget;

use super::backup::Backups;
use super::bodies::Bodies;
use super::database::Database;
use super::error::Error;
use super::room::{Room, pages_of};
use crate::rollups::Rollups;
use crate::state::State;
#[cfg(test)]
use crate::state::rows::Row;
use crate::state::rows::TakenRows;

/// The name of the thread, for people.
const THREAD: &str = "drumline-disk";
/// Between two looks at a full disk. A look is one call of the system.
const LOOKS_EVERY: Duration = Duration::from_millis(500);

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
    /// Nothing: the disk is full.
    Refused(Arc<Error>),
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
            Wait::Refused(error) => return Err(unavailable(&error)),
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
    /// The bytes of the creates that are marked, about.
    open_bytes: u64,
    /// The locks whose release is marked.
    open_released: BTreeSet<(OperationId, Fence)>,
    /// The group that is being written.
    under_way: Option<Arc<Group>>,
    /// The bytes of its rows.
    under_way_bytes: u64,
    /// The locks whose release is in its rows.
    under_way_released: BTreeSet<(OperationId, Fence)>,
    /// The answer to all calls while the group under way waits for room.
    full: Option<Arc<Error>>,
    /// True if a create was refused: the file may have room to give back.
    is_short: bool,
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
    room: Arc<Room>,
    backups: Backups,
    /// The thread has the file open.
    database: Weak<Database>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(database: Database, content: Arc<Content>) -> Result<Self, Error> {
        let room = Arc::new(Room::new(database.space().clone()));
        let database = Arc::new(database);
        let backups = Backups::new(&database);
        let readable = Arc::downgrade(&database);
        let shared = Arc::<Shared>::default();
        let (own, disk) = (Arc::clone(&shared), Arc::clone(&room));
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || run(&own, &database, &content, &disk))
            .map_err(Error::Thread)?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
            room,
            backups,
            database: readable,
        })
    }

    /// Begins a backup of the file.
    ///
    /// # Errors
    /// When another one is under way, or the file is closed.
    pub(crate) fn backup(&self, partitions: PartitionCount) -> store::Result<Backup> {
        self.backups.begin(partitions)
    }

    /// Writes a row that the state does not know of.
    #[cfg(test)]
    pub(crate) fn overwrite(&self, row: Row) {
        let database = self.database.upgrade().expect("it is open");
        database.write(&[row]).expect("it can be written");
    }

    /// Returns true if nothing has the file open.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.backups.is_closed()
    }

    /// Gives an answer its group. The caller has locked what it has changed or seen, and
    /// has created operations of so many bytes.
    pub(crate) fn pending<T>(&self, answer: T, is_touched: bool, created: u64) -> Pending<T> {
        let mut groups = self.shared.groups.lock();
        groups.open_bytes = groups.open_bytes.saturating_add(created);
        let wait = if let Some(full) = &groups.full {
            Wait::Refused(Arc::clone(full))
        } else if is_touched || groups.end.is_some() {
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

    /// Begins to read bodies from the disk.
    ///
    /// # Errors
    /// When the disk cannot be read: nothing is written any more then, too.
    pub(crate) async fn bodies(&self) -> store::Result<Bodies> {
        let begun = Bodies::begin(&self.database).await;
        begun.map_err(|error| self.unread(error))
    }

    /// The answer to a call whose data cannot be read, which ends the store, unless it is
    /// closed.
    pub(crate) fn unread(&self, error: Error) -> store::Error {
        match error {
            Error::Closed => unavailable(&Arc::new(error)),
            error => self.fail(error),
        }
    }

    /// Ends the store, which has found an error of the disk. Returns the answer to a call.
    pub(crate) fn fail(&self, error: Error) -> store::Error {
        let error = Arc::new(error);
        self.shared.end(Arc::clone(&error));
        drop(self.shared.failed.set(Arc::clone(&error)));
        unavailable(&error)
    }

    /// Notes a lock that its holder has released. The caller has locked the state.
    pub(crate) fn note_released(&self, lock: (OperationId, Fence)) {
        self.shared.groups.lock().open_released.insert(lock);
    }

    /// Returns true if the disk does not have the release of a lock yet. The caller has
    /// locked the state.
    pub(crate) fn is_being_released(&self, lock: &(OperationId, Fence)) -> bool {
        let groups = self.shared.groups.lock();
        groups.open_released.contains(lock) || groups.under_way_released.contains(lock)
    }

    /// Checks that there is room for new operations of so many bytes.
    ///
    /// # Errors
    /// When the disk is nearly full, or nothing is written any more.
    pub(crate) fn check_room(&self, bytes: u64) -> store::Result<()> {
        let on_the_way = self.shared.on_the_way()?;
        if self.room.takes_creates(on_the_way.saturating_add(bytes)) {
            return Ok(());
        }
        self.shared.groups.lock().is_short = true;
        self.shared.wake.notify_one();
        Err(self.room.refusal())
    }

    /// Checks that an operation could be created.
    ///
    /// # Errors
    /// As [`Self::check_room`], which makes room besides.
    pub(crate) fn check(&self) -> store::Result<()> {
        match self.room.takes_creates(self.shared.on_the_way()?) {
            true => Ok(()),
            false => Err(self.room.refusal()),
        }
    }

    /// Returns true if there is room for the outcomes of operations that are started.
    pub(crate) fn has_room_for_starts(&self) -> bool {
        let on_the_way = self.shared.on_the_way();
        // After a failure every answer is an error anyway.
        on_the_way.map_or(true, |bytes| self.room.takes_starts(bytes))
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
    /// The bytes that are to be written.
    ///
    /// # Errors
    /// When nothing is written any more.
    fn on_the_way(&self) -> store::Result<u64> {
        let groups = self.groups.lock();
        match &groups.end {
            None => Ok(groups.open_bytes.saturating_add(groups.under_way_bytes)),
            Some(error) => Err(unavailable(error)),
        }
    }

    fn end(&self, error: Arc<Error>) {
        let mut groups = self.groups.lock();
        let error = Arc::clone(groups.end.get_or_insert(error));
        groups.settle(&error);
    }
}

impl Groups {
    /// Ends the calls that wait with an error.
    fn settle(&mut self, error: &Arc<Error>) {
        for group in self.under_way.take().iter().chain([&self.open]) {
            group.settle(Err(Arc::clone(error)));
        }
    }
}

/// Writes one group after the other, until the store is closed or a write fails.
fn run(shared: &Shared, database: &Database, content: &Content, room: &Room) {
    let end = End(shared);
    loop {
        let (is_closing, is_short) = {
            let mut groups = shared.groups.lock();
            while !groups.is_awaited && !groups.is_closing && !groups.is_short {
                shared.wake.wait(&mut groups);
            }
            if groups.end.is_some() {
                // A read has found that the disk is not what was written.
                return;
            }
            (groups.is_closing, std::mem::take(&mut groups.is_short))
        };
        let given = match is_short && !is_closing {
            true => database.give_back(),
            false => Ok(()),
        };
        let written = given.and_then(|()| write(shared, database, content, room));
        if let Err(error) = written {
            let error = Arc::new(error);
            // The group is under way, and ends with all others.
            shared.end(Arc::clone(&error));
            drop(shared.failed.set(error));
            return;
        }
        if is_closing {
            drop(end);
            return;
        }
    }
}

/// Writes what is marked, as soon as there is room for it.
fn write(
    shared: &Shared,
    database: &Database,
    content: &Content,
    room: &Room,
) -> Result<(), Error> {
    let (mut rows, bodies) = take(shared, content)?.encode();
    if !rows.is_empty() {
        // Neighbours share pages: each is then made once, and not looked for row by row.
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        wait_for_room(shared, room, pages_of(&rows))?;
        database.write(&rows)?;
        content.state.lock().note_written(bodies);
    }
    let mut groups = shared.groups.lock();
    groups.under_way_bytes = 0;
    let group = groups.under_way.take();
    let released = std::mem::take(&mut groups.under_way_released);
    drop(groups);
    drop(released);
    if let Some(group) = group {
        group.settle(Ok(()));
    }
    Ok(())
}

/// Waits until there is room for the group under way. All calls are answered with an error
/// meanwhile.
///
/// # Errors
/// When the store is closed, and there is no room.
fn wait_for_room(shared: &Shared, room: &Room, pages: u64) -> Result<(), Error> {
    if room.takes_write(pages) {
        return Ok(());
    }
    let folder = room.folder().to_owned();
    tracing::error!(folder = %folder.display(), "the disk is full, and nothing is written until there is room");
    let full = Arc::new(Error::Full {
        folder: folder.clone(),
    });
    let mut groups = shared.groups.lock();
    groups.settle(&full);
    groups.open = Arc::default();
    groups.full = Some(full);
    while !groups.is_closing {
        shared.wake.wait_for(&mut groups, LOOKS_EVERY);
        let has_room = MutexGuard::unlocked(&mut groups, || room.takes_write(pages));
        if has_room {
            tracing::info!(folder = %folder.display(), "the disk has room again, and everything is written");
            groups.full = None;
            // Calls from now on wait for the group, and for what was marked behind it.
            groups.under_way = Some(Arc::default());
            groups.is_awaited = true;
            return Ok(());
        }
    }
    tracing::error!(
        folder = %folder.display(),
        "the store is closed on a full disk: what was refused meanwhile is not written, and handlers \
         that ended meanwhile run again"
    );
    Err(Error::Full { folder })
}

/// Takes what is marked, and closes the open group.
fn take(shared: &Shared, content: &Content) -> Result<TakenRows, Error> {
    let mut state = content.state.lock();
    let mut rollups = content.rollups.lock();
    let rows = state.take_rows().map(|mut rows| {
        rows.extend(rollups.take_rows());
        rows
    });
    let mut groups = shared.groups.lock();
    groups.under_way = Some(std::mem::take(&mut groups.open));
    groups.open_bytes = 0;
    groups.under_way_bytes = rows.as_ref().map_or(0, TakenRows::bytes);
    groups.under_way_released = std::mem::take(&mut groups.open_released);
    groups.is_awaited = false;
    rows.map_err(Error::Unencodable)
}
