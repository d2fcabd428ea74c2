//! Records that this release cannot decode: each is left out, counted and named, so that
//! it keeps no other from being listed, published or committed.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use drumline_backend::store::{Error, Result};
use parking_lot::Mutex;

use super::RedisStore;

/// The names that are kept, latest last: enough to see what they have in common.
const NAMED: usize = 8;

/// The records that were left out.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    /// Since the number was last taken.
    count: AtomicU64,
    // The lock is held for a moment, never across an await.
    latest: Mutex<VecDeque<String>>,
}

impl Unreadable {
    pub(super) fn take(&self) -> u64 {
        self.count.swap(0, Ordering::Relaxed)
    }

    pub(super) fn latest(&self) -> Vec<String> {
        self.latest.lock().iter().cloned().collect()
    }

    fn count(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A record that is left out again and again is named once.
    fn name(&self, what: String) {
        let mut latest = self.latest.lock();
        if latest.contains(&what) {
            return;
        }
        if latest.len() == NAMED {
            latest.pop_front();
        }
        latest.push_back(what);
    }
}

impl RedisStore {
    /// Counts a record that is left out because it cannot be decoded.
    pub(super) fn leave_out(&self, error: &Error) {
        tracing::debug!(%error, "a record cannot be decoded, and is left out");
        self.unreadable.count();
    }

    /// [`Self::leave_out`] of a record that has a name.
    pub(super) fn leave_out_named(&self, what: impl Display, error: &Error) {
        let what = what.to_string();
        tracing::debug!(what, %error, "a record cannot be decoded, and is left out");
        self.unreadable.count();
        self.unreadable.name(what);
    }

    /// A value that was decoded; `None`, counted, if it cannot be.
    ///
    /// # Errors
    /// All but [`Error::Corrupt`].
    pub(super) fn decoded<T>(&self, what: impl Display, value: Result<T>) -> Result<Option<T>> {
        match value {
            Ok(value) => Ok(Some(value)),
            Err(error @ Error::Corrupt(_)) => {
                self.leave_out_named(what, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
