//! The slot of a backup: one is made at a time, and none outlives the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The longest time that the end of the store waits for that of a backup, which looks for
/// it before each piece.
const END_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Shared {
    is_taken: Mutex<bool>,
    is_free: Condvar,
    is_closing: AtomicBool,
}

/// The one slot of a store.
#[derive(Debug, Default)]
pub(super) struct Slots(Arc<Shared>);

impl Slots {
    /// Takes the slot; `None` while another backup has it, or when the store ends.
    pub(super) fn take(&self) -> Option<Slot> {
        let mut is_taken = self.0.is_taken.lock();
        if *is_taken || self.0.is_closing.load(Ordering::Acquire) {
            return None;
        }
        *is_taken = true;
        Some(Slot(Arc::clone(&self.0)))
    }

    /// Has the backup end that is under way, and waits for that. None begins any more.
    pub(super) fn close(&self) {
        self.0.is_closing.store(true, Ordering::Release);
        let mut is_taken = self.0.is_taken.lock();
        let shared = &self.0;
        shared
            .is_free
            .wait_while_for(&mut is_taken, |is_taken| *is_taken, END_WITHIN);
    }
}

/// The slot, taken by a backup until this is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Shared>);

impl Slot {
    /// Returns true if the store ends.
    pub(super) fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.is_taken.lock() = false;
        self.0.is_free.notify_all();
    }
}
