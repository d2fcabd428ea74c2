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
/// The free bytes that a write needs beside the pages of its rows: for lists of free pages.
const WRITE_BYTES: u64 = 1 << 20;
/// The bytes of a page for each byte of its rows, where the rows are not known yet.
const PAGE_SHARE: u64 = 2;
/// The smallest page of the database.
const PAGE_BYTES: u64 = 4096;
/// The bytes of a page beside a row that is alone in it.
const PAGE_HEAD_BYTES: u64 = 64;

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

    /// Returns true if there is room for a write that takes these pages.
    pub(super) fn takes_write(&self, pages: u64) -> bool {
        self.has_free(pages.saturating_add(WRITE_BYTES))
    }

    fn has(&self, beside: u64, bytes: u64) -> bool {
        self.has_free(bytes.saturating_mul(PAGE_SHARE).saturating_add(beside))
    }

    fn has_free(&self, bytes: u64) -> bool {
        // If it is not known, the next write says what is wrong.
        self.space.free().is_none_or(|free| free >= bytes)
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

/// The bytes of the pages that a write of rows takes, at most. Each row may be alone in its
/// page, whose size is a power of two; a removed row takes its page too, which is written
/// without it.
pub(super) fn pages_of(rows: &[Row]) -> u64 {
    let pages = rows.iter().map(|(key, value)| {
        let bytes = (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
        let page = (bytes + PAGE_HEAD_BYTES).max(PAGE_BYTES);
        page.next_power_of_two()
    });
    let pages: u64 = pages.sum();
    // Inner pages.
    pages + pages / 8
}
