//! A disk in memory, whose power can be cut: of what was written since the last sync, it
//! has any part then, in sectors.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use drumline_protocol::PartitionCount;
use parking_lot::{Condvar, Mutex};

use super::partitions;
use crate::durable::{Database, Error};
use crate::{EmbeddedStore, SystemClock};

/// The unit that a disk writes as a whole.
const SECTOR: usize = 512;
/// The free bytes of a disk that is not full.
pub(super) const PLENTY: u64 = 1 << 40;

/// The disk. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    platter: Arc<Mutex<Platter>>,
    /// True: syncs wait.
    stands: Arc<(Mutex<bool>, Condvar)>,
    /// The free bytes, as the system tells them.
    pub(super) free: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Platter {
    /// The bytes as the process reads them.
    cached: Vec<u8>,
    /// The bytes that a sync has confirmed.
    synced: Vec<u8>,
    /// The places that were written since.
    written: Vec<Range<usize>>,
    /// True: writes fail, as those of a full disk.
    is_full: bool,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self::with(Vec::new())
    }

    /// A disk with these bytes.
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        let platter = Platter {
            synced: bytes.clone(),
            cached: bytes,
            ..Platter::default()
        };
        Self {
            platter: Arc::new(Mutex::new(platter)),
            stands: Arc::default(),
            free: Arc::new(AtomicU64::new(PLENTY)),
        }
    }

    /// Opens the store on it.
    pub(super) fn open(&self) -> Result<EmbeddedStore, Error> {
        let (database, count) = self.database()?;
        EmbeddedStore::with(database, count, Arc::new(SystemClock))
    }

    /// Opens the rows on it.
    pub(super) fn database(&self) -> Result<(Database, PartitionCount), Error> {
        Database::on(self.clone(), Arc::clone(&self.free), partitions())
    }

    /// The bytes as a process reads them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.platter.lock().cached.clone()
    }

    /// Lets all writes fail, or none.
    pub(super) fn set_full(&self, is_full: bool) {
        self.platter.lock().is_full = is_full;
    }

    /// Lets syncs wait, or go on.
    pub(super) fn set_standing(&self, stands: bool) {
        *self.stands.0.lock() = stands;
        self.stands.1.notify_all();
    }

    /// The disk behind a power cut: of each sector that was written since the last sync,
    /// the bytes of before or of after.
    pub(super) fn cut(&self, random: &mut fastrand::Rng) -> Self {
        let platter = self.platter.lock();
        // The length is metadata, and comes before or after like anything else.
        let length = match random.bool() {
            true => platter.cached.len(),
            false => platter.synced.len(),
        };
        let mut bytes = platter.synced.clone();
        bytes.resize(length, 0);
        let sectors = bytes.chunks_mut(SECTOR).zip(platter.cached.chunks(SECTOR));
        for (old, new) in sectors {
            if random.bool()
                && let Some(new) = new.get(..old.len())
            {
                old.copy_from_slice(new);
            }
        }
        Self::with(bytes)
    }
}

fn place(offset: u64, length: usize) -> Range<usize> {
    let start = usize::try_from(offset).expect("a small disk");
    start..start + length
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter.lock().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter.lock();
        let found = platter.cached.get(place(offset, out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let length = usize::try_from(len).expect("a small disk");
        let platter = &mut *self.platter.lock();
        let same = platter.cached.len().min(length);
        platter.cached.resize(length, 0);
        platter.written.push(same..length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (stands, wake) = &*self.stands;
        wake.wait_while(&mut stands.lock(), |stands| *stands);
        let platter = &mut *self.platter.lock();
        platter.synced.resize(platter.cached.len(), 0);
        for place in std::mem::take(&mut platter.written) {
            // A place may be behind the end, if the file has become shorter since.
            let end = place.end.min(platter.cached.len());
            let place = place.start.min(end)..end;
            platter.synced[place.clone()].copy_from_slice(&platter.cached[place]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let platter = &mut *self.platter.lock();
        if platter.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let place = place(offset, data.len());
        let found = platter.cached.get_mut(place.clone());
        found
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(data);
        platter.written.push(place);
        Ok(())
    }
}
