//! The room on the disk, and what is left out while there is little of it.
//!
//! ```text
//! free ─────────── 64 MiB ─────────── 32 MiB ─────────── what a write takes ─── 0
//!      everything    │   no creates     │  no starts, too    │    no writes
//! ```
//!
//! Starts end before the room does, because what runs writes its outcome in the rest,
//! and operations can still be cancelled and deleted. The last step keeps a write from
//! failing, which would end the process: other programs fill disks, too.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use drumline_backend::store;

use super::database::Space;
use crate::state::rows::Row;

/// The free bytes below which no operation is created.
pub(super) const CREATE_BYTES: u64 = 64 << 20;
/// The free bytes below which no operation is started: sixteen outcomes of the largest
/// size, with their pages.
const START_BYTES: u64 = 32 << 20;
/// The free bytes that a write needs beside the pages of its rows: for inner pages of the
/// trees, and for lists of free pages.
const WRITE_BYTES: u64 = 1 << 20;
/// The bytes of a page for each byte of its rows, at most: a page has a power of two.
const PAGE_SHARE: u64 = 2;

/// The room on the disk of a folder.
#[derive(Debug)]
pub(super) struct Room {
    space: Space,
    /// True if the last look has found no room for creates.
    is_short: AtomicBool,
}

impl Room {
    pub(super) const fn new(space: Space) -> Self {
        Self {
            space,
            is_short: AtomicBool::new(false),
        }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        self.space.folder()
    }

    /// Returns true if there is room for creates of these bytes, those on their way to
    /// the disk included. Logs a change.
    pub(super) fn takes_creates(&self, bytes: u64) -> bool {
        let is_short = !self.has(CREATE_BYTES, 0);
        if self.is_short.swap(is_short, Ordering::Relaxed) != is_short {
            let (folder, mib) = (self.folder().display(), CREATE_BYTES >> 20);
            if is_short {
                tracing::warn!(%folder, "the disk has less than {mib} MiB free, and creates are refused");
            } else {
                tracing::info!(%folder, "the disk has {mib} MiB free again, and creates are taken");
            }
        }
        !is_short && self.has(CREATE_BYTES, bytes)
    }

    /// Returns true if there is room for the outcome of what is started, beside these
    /// bytes on their way to the disk.
    pub(super) fn takes_starts(&self, bytes: u64) -> bool {
        self.has(START_BYTES, bytes)
    }

    /// Returns true if there is room for a write of these bytes.
    pub(super) fn takes_write(&self, bytes: u64) -> bool {
        self.has(WRITE_BYTES, bytes)
    }

    fn has(&self, beside: u64, bytes: u64) -> bool {
        let needed = bytes.saturating_mul(PAGE_SHARE).saturating_add(beside);
        // If it is not known, the next write says what is wrong.
        self.space.free().is_none_or(|free| free >= needed)
    }

    /// The answer to a create that there is no room for.
    pub(super) fn refusal(&self) -> store::Error {
        let [creates, starts] = [CREATE_BYTES, START_BYTES].map(|bytes| bytes >> 20);
        store::Error::Unavailable {
            message: format!(
                "the disk of {} is full: nothing is created with less than {creates} MiB of free \
                 space, and nothing is started with less than {starts}; make room on it, or delete \
                 Completed operations",
                self.folder().display()
            ),
            source: None,
        }
    }
}

/// The bytes of rows.
pub(super) fn bytes_of(rows: &[Row]) -> u64 {
    let bytes = rows
        .iter()
        .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
    bytes.sum::<usize>() as u64
}
