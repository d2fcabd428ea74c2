//! A subscriber to the ends: one client that reads events.

use std::collections::VecDeque;

use drumline_backend::store::{self, Stamp};
use tokio::sync::watch;
use tokio::time::timeout;

use super::ring::first_of;
use super::{CompletionFeed, Completions, Cursor, End, LOOK, READ, read};

/// A subscriber. Dropping it ends the subscription.
///
/// A subscriber that is older than the ring caches what it has read until it
/// has reported it, because reading the order of completions is expensive: the
/// store looks at every partition.
pub(crate) struct Subscriber {
    feed: CompletionFeed,
    looked: watch::Receiver<()>,
    cursor: Cursor,
    /// Ends behind the cursor that were read from the store and not reported
    /// yet.
    ahead: VecDeque<End>,
    /// The stamp up to which `ahead` holds everything that has ended.
    ahead_until: Stamp,
}

impl Subscriber {
    pub(super) const fn new(
        feed: CompletionFeed,
        looked: watch::Receiver<()>,
        cursor: Cursor,
    ) -> Self {
        Self {
            feed,
            looked,
            cursor,
            ahead: VecDeque::new(),
            ahead_until: Stamp(0),
        }
    }

    /// The subscriber's cursor: everything before it has been reported.
    pub(crate) const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next ends, at most `limit`, in their order; none if nothing has
    /// ended for about a second. The same ends are returned again until
    /// [`Self::advance`]. Cancel-safe.
    ///
    /// # Errors
    /// When the store is unavailable: ask again, after a rest.
    pub(crate) async fn next(&mut self, limit: usize) -> store::Result<Completions> {
        self.looked.mark_unchanged();
        let in_ring = self
            .feed
            .ring()
            .as_ref()
            .map(|ring| ring.after(self.cursor, limit));
        let completions = match in_ring.flatten() {
            Some(completions) => {
                self.ahead.clear();
                completions
            }
            None => {
                if self.ahead.is_empty() {
                    self.read_ahead().await?;
                }
                first_of(self.ahead.iter(), limit, self.cursor, self.ahead_until)
            }
        };
        if completions.entries.is_empty() {
            // An error: the manager has gone, and no task looks any more.
            drop(timeout(LOOK, self.looked.changed()).await);
        }
        Ok(completions)
    }

    /// Reads the ends behind the cursor from the store.
    async fn read_ahead(&mut self) -> store::Result<()> {
        // An error: the semaphore is never closed.
        let turn = self.feed.shared.catching_up.acquire().await;
        let after = self.cursor.read_after();
        let (entries, until) = read(self.feed.store(), after, READ).await?;
        drop(turn);
        let cursor = self.cursor;
        self.ahead.extend(entries);
        self.ahead.retain(|end| cursor.is_before(*end));
        self.ahead_until = until;
        Ok(())
    }

    /// Notes that everything up to this cursor has been reported.
    pub(crate) fn advance(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        while self
            .ahead
            .front()
            .is_some_and(|end| !cursor.is_before(*end))
        {
            self.ahead.pop_front();
        }
    }
}
