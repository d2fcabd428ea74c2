//! The rows in a file of redb (docs/adr/0019): this module alone names it.
//!
//! Every page has a checksum, and all pages are checked at start. A transaction is
//! there as a whole or not at all, also after a power cut: pages are never written in
//! place, and the page that names the newest ones comes with its own checksum.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drumline_protocol::PartitionCount;
use parking_lot::RwLock;
use redb::backends::FileBackend;
use redb::{CompactionError, ReadableDatabase as _, TableDefinition};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::Error;
use crate::state::rows::Row;

/// The format of a folder that this release writes, and the latest that it reads.
pub(super) const FORMAT: u64 = 1;
/// The file in the folder.
const FILE: &str = "drumline.redb";
/// The name of the file until it is a store.
const NEW_FILE: &str = "drumline.redb.new";
/// The rights of the file: it has what all users of the service have handed over.
const OWN: u32 = 0o600;
/// The memory for pages of the file: for the inner ones of the trees, and those of the
/// newest operations. The system keeps others, as far as it has memory for them.
const CACHE_BYTES: usize = 16 << 20;
/// The bytes of removed rows for which the file is made smaller, and their share of the file:
/// that reads the whole file, and writes wait meanwhile.
const REMOVED_BYTES: u64 = 8 << 20;
const REMOVED_SHARE: u64 = 8;
/// The free bytes of the disk, and their share of the file, without which no page is moved:
/// moving takes pages before it gives some back, and a write that fails ends the process.
const MOVE_BYTES: u64 = 4 << 20;
const MOVE_SHARE: u64 = 64;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT_NAME: &str = "format";
const PARTITIONS_NAME: &str = "partitions";

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    builder
}

/// Rows that were found: keys and values.
pub(crate) type Found<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>), Error>> + 'a>;

/// A source of rows.
pub(crate) trait Rows {
    /// The rows whose keys begin with this byte, in the order of their keys.
    fn of_kind(&self, kind: u8) -> Result<Found<'_>, Error>;
}

/// The disk that the file is on, as far as its free space goes.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    folder: PathBuf,
    /// The free bytes that a test sets.
    #[cfg(test)]
    set: Option<Arc<AtomicU64>>,
}

impl Space {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            #[cfg(test)]
            set: None,
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bytes that this user may write; `None` if the system does not say.
    pub(crate) fn free(&self) -> Option<u64> {
        #[cfg(test)]
        if let Some(set) = &self.set {
            return Some(set.load(Ordering::Relaxed));
        }
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// The file with the rows. One process has it open at a time.
pub(crate) struct Database {
    /// Locked for reading by all that goes on beside each other, and for writing while
    /// the file is made smaller.
    redb: RwLock<redb::Database>,
    /// Wakes the reads that wait while the file is made smaller.
    readable: Notify,
    file: PathBuf,
    space: Space,
    /// The bytes of rows that were removed since the file was made smaller, less those
    /// that were added since. Of a file that was just opened it is not known, and taken
    /// for many.
    removed: AtomicU64,
    /// Locked, so that no other process makes a store in the folder meanwhile.
    _folder: Option<File>,
}

/// The rows at a moment. Pages that are removed meanwhile are not used again before its end.
pub(super) struct Reading {
    table: redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
    file: PathBuf,
}

impl Reading {
    /// The value of a row.
    ///
    /// # Errors
    /// When the file is closed, cannot be read, or has pages that were never written.
    pub(super) fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let read = || {
            self.table
                .get(key)
                .map(|row| row.map(|row| row.value().to_vec()))
        };
        // redb takes a page that has rotted since the start for one of its own making.
        let read = catch_unwind(AssertUnwindSafe(read));
        let read = read.map_err(|_told| {
            let file = self.file.display().to_string();
            Error::damaged(&file, "a page is not one that was written")
        })?;
        read.map_err(|error| match error {
            redb::StorageError::DatabaseClosed => Error::Closed,
            error => Error::database(&self.file, "read", error),
        })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Database {
    fn of(redb: redb::Database, file: PathBuf, space: Space) -> Self {
        Self {
            redb: RwLock::new(redb),
            readable: Notify::new(),
            file,
            space,
            removed: AtomicU64::new(u64::MAX),
            _folder: None,
        }
    }

    /// Returns true if a folder has the file, whatever is in it.
    pub(crate) fn is_in(folder: &Path) -> Result<bool, Error> {
        let there = folder.join(FILE).try_exists();
        there.map_err(|source| Error::Folder {
            folder: folder.to_owned(),
            source,
        })
    }

    /// Opens the file in a folder, and makes both if they are not there. Returns the
    /// partitions of the store, too.
    pub(crate) fn open(
        folder: &Path,
        partitions: PartitionCount,
    ) -> Result<(Self, PartitionCount), Error> {
        let unusable = |source| Error::Folder {
            folder: folder.to_owned(),
            source,
        };
        make(folder).map_err(unusable)?;
        let locked = File::open(folder).map_err(unusable)?;
        match flock(&locked, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::InUse {
                    folder: folder.to_owned(),
                });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        let file = folder.join(FILE);
        let is_new = !file.try_exists().map_err(unusable)?;
        let redb = if is_new {
            let new = folder.join(NEW_FILE);
            begin(&new).map_err(|error| unopened(folder, &new, error))?
        } else {
            let about = file.metadata().map_err(unusable)?;
            if about.len() == 0 {
                return Err(Error::damaged(FILE, "the file is empty"));
            }
            builder()
                .open(&file)
                .map_err(|error| unopened(folder, &file, error))?
        };
        let database = Self {
            _folder: Some(locked),
            ..Self::of(redb, file, Space::new(folder))
        };
        let partitions = database.about(folder, partitions)?;
        if is_new {
            // From now on it is a store: one that was begun and not ended is begun again.
            std::fs::rename(folder.join(NEW_FILE), &database.file).map_err(unusable)?;
        } else {
            let own = Permissions::from_mode(OWN);
            std::fs::set_permissions(&database.file, own).map_err(unusable)?;
        }
        // The file's own name is to survive a power cut, too.
        let made = File::open(folder).and_then(|folder| folder.sync_all());
        made.map_err(unusable)?;
        Ok((database, partitions))
    }

    /// Opens what a test has in place of a file, on a disk with so many free bytes.
    #[cfg(test)]
    pub(crate) fn on(
        disk: impl redb::StorageBackend,
        free: Arc<AtomicU64>,
        partitions: PartitionCount,
    ) -> Result<(Self, PartitionCount), Error> {
        let file = Path::new(FILE).to_owned();
        let opened = builder().create_with_backend(disk);
        let redb = opened.map_err(|error| unopened(Path::new("."), &file, error))?;
        let space = Space {
            set: Some(free),
            ..Space::new(Path::new("."))
        };
        let database = Self::of(redb, file, space);
        let partitions = database.about(Path::new("."), partitions)?;
        Ok((database, partitions))
    }

    /// Checks the format of the file, or writes it into a new one.
    fn about(&self, folder: &Path, partitions: PartitionCount) -> Result<PartitionCount, Error> {
        let failed = |error: redb::Error| Error::database(&self.file, "read", error);
        let read = || -> Result<(Option<u64>, Option<u64>), redb::Error> {
            let redb = self.redb.read();
            let reading = redb.begin_read()?;
            if reading.list_tables()?.next().is_none() {
                let writing = redb.begin_write()?;
                writing.open_table(ROWS)?;
                let mut about = writing.open_table(ABOUT)?;
                about.insert(FORMAT_NAME, FORMAT)?;
                about.insert(PARTITIONS_NAME, u64::from(partitions.get()))?;
                drop(about);
                writing.commit()?;
                return Ok((Some(FORMAT), Some(u64::from(partitions.get()))));
            }
            let about = match reading.open_table(ABOUT) {
                Ok(about) => about,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok((None, None)),
                Err(error) => return Err(error.into()),
            };
            let number = |name| -> Result<Option<u64>, redb::Error> {
                Ok(about.get(name)?.map(|number| number.value()))
            };
            Ok((number(FORMAT_NAME)?, number(PARTITIONS_NAME)?))
        };
        let (format, count) = read().map_err(failed)?;
        let Some(found) = format else {
            return Err(Error::Foreign {
                file: self.file.clone(),
            });
        };
        if found > FORMAT {
            return Err(Error::Newer {
                folder: folder.to_owned(),
                found,
                reads: FORMAT,
            });
        }
        let count = count.and_then(|count| u16::try_from(count).ok());
        let count = count.and_then(PartitionCount::new);
        count.ok_or_else(|| Error::damaged(PARTITIONS_NAME, "no number of partitions"))
    }

    /// Writes rows, all or none, and waits until the disk has them.
    pub(crate) fn write(&self, rows: &[Row]) -> Result<(), Error> {
        let write = || -> Result<(u64, u64), redb::Error> {
            let (mut removed, mut added) = (0_u64, 0_u64);
            let writing = self.redb.read().begin_write()?;
            let mut table = writing.open_table(ROWS)?;
            for (key, value) in rows {
                let old = match value {
                    Some(value) => {
                        added += value.len() as u64;
                        table.insert(key.as_slice(), value.as_slice())?
                    }
                    None => table.remove(key.as_slice())?,
                };
                removed += old.map_or(0, |old| old.value().len() as u64);
            }
            drop(table);
            writing.commit()?;
            Ok((removed, added))
        };
        let (removed, added) =
            write().map_err(|error| Error::database(&self.file, "written", error))?;
        // One thread writes.
        let before = self.removed.load(Ordering::Relaxed);
        let now = before.saturating_add(removed).saturating_sub(added);
        self.removed.store(now, Ordering::Relaxed);
        Ok(())
    }

    /// Moves pages into the gaps that removed rows have left, and gives the end of the
    /// file back to the disk, if that may be worth it. Not while a backup reads.
    pub(super) fn give_back(&self) -> Result<(), Error> {
        let length = || std::fs::metadata(&self.file).map_or(0, |file| file.len());
        let before = length();
        if self.removed.load(Ordering::Relaxed) < REMOVED_BYTES.max(before / REMOVED_SHARE) {
            return Ok(());
        }
        let needed = MOVE_BYTES + before / MOVE_SHARE;
        if self.space.free().is_some_and(|free| free < needed) {
            return Ok(());
        }
        // Behind the lock, which is released first.
        let _wake = Wake(&self.readable);
        let Some(mut redb) = self.redb.try_write() else {
            return Ok(());
        };
        let begun = Instant::now();
        let compacted = redb.compact();
        let took = begun.elapsed();
        match compacted {
            Ok(_) => {
                self.removed.store(0, Ordering::Relaxed);
                tracing::info!(
                    before,
                    after = length(),
                    ?took,
                    "the file was made smaller, in bytes"
                );
                Ok(())
            }
            Err(CompactionError::TransactionInProgress) => Ok(()),
            Err(error) => Err(Error::database(&self.file, "made smaller", error)),
        }
    }

    /// Begins a file for a backup, which is of this user alone.
    pub(super) fn begin_backup(file: &Path, partitions: PartitionCount) -> Result<Self, Error> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let redb = begin(file).map_err(|error| unopened(folder, file, error))?;
        let database = Self::of(redb, file.to_owned(), Space::new(folder));
        database.about(folder, partitions)?;
        Ok(database)
    }

    /// Verifies all checksums of a file that is not in use, and counts its rows.
    pub(super) fn verified_rows(file: &Path) -> Result<u64, Error> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let redb = builder().open(file);
        let redb = redb.map_err(|error| unopened(folder, file, error))?;
        let database = Self::of(redb, file.to_owned(), Space::new(folder));
        let mut rows = 0;
        database.each_row(|_key, _value| {
            rows += 1;
            true
        })?;
        Ok(rows)
    }

    /// Goes through all rows as they are now, until `take` wants no more. Returns true if it
    /// has had all. Writes go on meanwhile.
    pub(super) fn each_row(
        &self,
        mut take: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<bool, Error> {
        let mut read = || -> Result<bool, redb::Error> {
            let redb = self.redb.read();
            let table = redb.begin_read()?.open_table(ROWS)?;
            for row in table.range::<&[u8]>(..)? {
                let (key, value) = row?;
                if !take(key.value(), value.value()) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        read().map_err(|error| Error::database(&self.file, "read", error))
    }

    /// Begins to read rows as they are now. Waits while the file is made smaller, without a
    /// thread. Cancel-safe.
    pub(super) async fn reading(&self) -> Result<Reading, Error> {
        loop {
            // Made before the look at the lock, so that it has each end after the look.
            let readable = self.readable.notified();
            if let Some(redb) = self.redb.try_read() {
                return self.reading_of(&redb);
            }
            readable.await;
        }
    }

    fn reading_of(&self, redb: &redb::Database) -> Result<Reading, Error> {
        let open = || -> Result<_, redb::Error> { Ok(redb.begin_read()?.open_table(ROWS)?) };
        let table = open().map_err(|error| Error::database(&self.file, "read", error))?;
        Ok(Reading {
            table,
            file: self.file.clone(),
        })
    }

    /// The disk that the file is on.
    pub(crate) const fn space(&self) -> &Space {
        &self.space
    }
}

/// Wakes the reads that wait, however the work on the file ends.
struct Wake<'a>(&'a Notify);

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// Begins a store in a file of its own, in place of one that was not ended.
fn begin(file: &Path) -> Result<redb::Database, redb::DatabaseError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(OWN);
    let backend = FileBackend::new(options.open(file)?)?;
    builder().create_with_backend(backend)
}

/// The reason why a file cannot be opened.
fn unopened(folder: &Path, file: &Path, error: redb::DatabaseError) -> Error {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => Error::InUse {
            folder: folder.to_owned(),
        },
        redb::DatabaseError::Storage(redb::StorageError::Io(error))
            if error.kind() == io::ErrorKind::InvalidData =>
        {
            Error::Foreign {
                file: file.to_owned(),
            }
        }
        error => Error::database(file, "opened", error),
    }
}

/// Makes a folder that other users cannot read, and the folders above it. All survive a
/// power cut.
fn make(folder: &Path) -> io::Result<()> {
    let above = folder.ancestors().filter(|one| !one.as_os_str().is_empty());
    let missing: Vec<&Path> = above.take_while(|one| !one.exists()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    for made in missing {
        let parent = made.parent().filter(|one| !one.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

impl Rows for Database {
    fn of_kind(&self, kind: u8) -> Result<Found<'_>, Error> {
        let failed = |error: redb::Error| Error::database(&self.file, "read", error);
        let open = || -> Result<_, redb::Error> {
            let reading = self.redb.read().begin_read()?;
            let table = reading.open_table(ROWS)?;
            let (first, end) = ([kind], [kind.saturating_add(1)]);
            Ok(table.range::<&[u8]>(first.as_slice()..end.as_slice())?)
        };
        let rows = open().map_err(failed)?;
        Ok(Box::new(rows.map(move |row| {
            let (key, value) = row.map_err(|error| failed(error.into()))?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        })))
    }
}
