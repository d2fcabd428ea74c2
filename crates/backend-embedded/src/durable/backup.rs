//! A backup of a store that is in use: its rows as of one moment, in pieces, and the file
//! that is made of them.
//!
//! ```text
//! file ─ one read transaction ─ pieces ──→ … ──→ pieces ─ another file, checked at its end
//!
//! all pieces: magic, format, partitions │ 1, key, value │ … │ 0, number of rows, checksum
//! ```
//!
//! The file has the rows of the moment at which the backup began. What is written
//! meanwhile goes to other pages, and the old ones cannot be used again until the backup
//! ends. So it is broken off when its receiver takes nothing for [`PATIENCE`], and when the
//! disk has no more room for them.

mod file;
mod slot;

use std::sync::{Arc, Weak};
use std::time::Duration;

use drumline_backend::store::{self, Backup, BackupPiece};
use drumline_protocol::PartitionCount;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::spawn_blocking;

pub use self::file::{BackupFile, BackupSummary};
use self::slot::{Slot, Slots};
use super::database::{Database, FORMAT};
use super::error::Error;
use super::room::CREATE_BYTES;

/// The first bytes of a backup: a name, and the version of what follows.
const MAGIC: &[u8; 16] = b"drumline backup\x01";
/// The bytes of a piece, about.
const PIECE: usize = 256 << 10;
/// Pieces that are under way.
const UNDER_WAY: usize = 2;
/// The longest time that a receiver may let a piece wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether the store ends, while a piece waits.
const LOOKS_EVERY: Duration = Duration::from_millis(500);
/// The longest time that the reason of an end waits for the receiver.
const TELLS_FOR: Duration = Duration::from_secs(1);
/// The free bytes of the disk below which a backup is broken off, before creates are
/// refused.
const FREE_BYTES: u64 = 2 * CREATE_BYTES;
/// The first byte of the end, and of a row.
const END: u8 = 0;
const ROW: u8 = 1;

/// The backups of a file, one at a time. The writer of the file closes it.
#[derive(Debug)]
pub(super) struct Backups {
    database: Weak<Database>,
    slots: Slots,
}

impl Backups {
    pub(super) fn new(database: &Arc<Database>) -> Self {
        Self {
            database: Arc::downgrade(database),
            slots: Slots::default(),
        }
    }

    /// Begins a backup, on a thread of the runtime that may wait.
    ///
    /// # Errors
    /// When another one is under way, or the file is closed.
    pub(super) fn begin(&self, partitions: PartitionCount) -> store::Result<Backup> {
        let unavailable = |message: &str| store::Error::Unavailable {
            message: message.to_owned(),
            source: None,
        };
        let database = self.database.upgrade();
        let database = database.ok_or_else(|| unavailable("the store is closed"))?;
        let slot = self
            .slots
            .take()
            .ok_or_else(|| unavailable("a backup is under way, and one is made at a time"))?;
        let (send, pieces) = mpsc::channel(UNDER_WAY);
        spawn_blocking(move || {
            // The slot is free when the file is.
            let slot = slot;
            let database = database;
            self::send(&database, partitions, &slot, &send);
        });
        Ok(pieces)
    }

    /// Has the backup end that is under way. None begins any more. Blocks until it has
    /// ended, for some seconds at most.
    pub(super) fn close(&self) {
        self.slots.close();
    }

    /// Returns true if nothing has the file open.
    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        self.database.strong_count() == 0
    }
}

/// Sends the rows of the file as they are now, piece by piece. Blocks, so that it needs
/// a thread of its own, of the runtime.
fn send(
    database: &Database,
    partitions: PartitionCount,
    slot: &Slot,
    pieces: &Sender<store::Result<BackupPiece>>,
) {
    if let Err(reason) = try_to_send(database, partitions, slot, pieces) {
        let (message, source) = match reason {
            Stopped::Unread => return,
            Stopped::Failed(error) => (error.to_string(), Some(Arc::new(error) as _)),
            Stopped::Told(message) => (message.to_owned(), None),
        };
        let unavailable = Err(store::Error::Unavailable { message, source });
        // Pieces that end before the last one are no backup, with a reason or without.
        let telling = pieces.send_timeout(unavailable, TELLS_FOR);
        drop(Handle::current().block_on(telling));
    }
}

/// The reason why no more pieces are sent.
enum Stopped {
    /// The receiver is gone.
    Unread,
    Failed(Error),
    Told(&'static str),
}

fn try_to_send(
    database: &Database,
    partitions: PartitionCount,
    slot: &Slot,
    pieces: &Sender<store::Result<BackupPiece>>,
) -> Result<(), Stopped> {
    let mut sum = crc32fast::Hasher::new();
    let hand_over = |bytes: Vec<u8>, is_last| {
        let free = database.space().free();
        if free.is_some_and(|free| free < FREE_BYTES) {
            return Err(Stopped::Told(
                "the disk of the folder is nearly full, and a backup keeps pages from being used again",
            ));
        }
        let mut piece = Ok(BackupPiece { bytes, is_last });
        let mut waited = Duration::ZERO;
        while !slot.is_closing() {
            match Handle::current().block_on(pieces.send_timeout(piece, LOOKS_EVERY)) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Closed(_)) => return Err(Stopped::Unread),
                Err(SendTimeoutError::Timeout(unsent)) => piece = unsent,
            }
            waited += LOOKS_EVERY;
            if waited >= PATIENCE {
                return Err(Stopped::Told("its receiver took nothing for 30 seconds"));
            }
        }
        Err(Stopped::Told("the process ends"))
    };
    let mut piece = MAGIC.to_vec();
    piece.extend(FORMAT.to_be_bytes());
    piece.extend(partitions.get().to_be_bytes());
    let mut rows = 0_u64;
    let mut stopped = None;
    let read = database.each_row(|key, value| {
        piece.push(ROW);
        for part in [key, value] {
            piece.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            piece.extend(part);
        }
        rows += 1;
        if piece.len() >= PIECE {
            sum.update(&piece);
            stopped = hand_over(std::mem::take(&mut piece), false).err();
        }
        stopped.is_none()
    });
    read.map_err(Stopped::Failed)?;
    if let Some(stopped) = stopped {
        return Err(stopped);
    }
    piece.push(END);
    piece.extend(rows.to_be_bytes());
    sum.update(&piece);
    piece.extend(sum.finalize().to_be_bytes());
    hand_over(piece, true)
}
