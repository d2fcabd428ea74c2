//! A link for requests and answers that may be large, with a bound on the bytes
//! that are under way.
//!
//! ```text
//! commits, renewals, beats ───────────────→ the link: small answers only
//! records, large reports ─→ room in bytes ─→ a link of its own
//! ```
//!
//! A connection answers in order, so an answer waits for all bytes before it.
//! Without a bound, enough large answers take longer than the timeout of the
//! last one. That one is asked for again, behind the others, and never arrives.
//! So a request waits here until the bytes before it are few. Its timeout starts
//! after that wait.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{ANSWER_BYTES, Error, Result};
use redis::{Pipeline, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Life, Link};

/// The bytes under way at the same time: four of the largest answers, enough to
/// hide the round trips. At 10 MB a second they take 0.4 s. A smaller bound
/// leaves a fast network idle, and a larger one keeps small records waiting.
pub(crate) const UNDER_WAY: usize = 4 * ANSWER_BYTES;
/// The bytes that one permit stands for.
const PERMIT: usize = 1 << 10;
/// The speed at which bytes must arrive before they are asked for again: a tenth of
/// that of a slow network, which several processes share. A lone record may be
/// larger than any bound.
const BYTES_PER_SECOND: usize = 1_000_000;

/// A handle to the link; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct BoundedLink {
    link: Link,
    room: Arc<Semaphore>,
    patience: Duration,
}

impl BoundedLink {
    /// Makes a link to the server of another one, which connects when it is
    /// first used.
    pub(crate) fn beside(link: &Link) -> Self {
        Self {
            link: link.another(),
            room: Arc::new(Semaphore::new(UNDER_WAY / PERMIT)),
            patience: link.patience(),
        }
    }

    /// Runs commands whose requests or answers have about this many bytes, as
    /// [`Link::run`] does. Waits for room first.
    ///
    /// # Errors
    /// As [`Link::run`], and when there was no room for too long.
    pub(crate) async fn run(
        &self,
        what: &'static str,
        commands: &Pipeline,
        bytes: usize,
    ) -> Result<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let (answers, _life) = self.run_on(what, commands, bytes).await?;
        Ok(answers)
    }

    /// Does [`Link::leave`].
    pub(crate) fn leave(&self, life: &Life) {
        self.link.leave(life);
    }

    /// Does the same for one command at least, and names the life of the server that has
    /// answered.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn run_on(
        &self,
        what: &'static str,
        commands: &Pipeline,
        bytes: usize,
    ) -> Result<(Vec<Value>, Life)> {
        let permits = u32::try_from(bytes.clamp(PERMIT, UNDER_WAY) / PERMIT).unwrap_or(1);
        // Requests that are under way are given up after their patience, so those
        // that wait get their turn.
        let waiting = timeout(self.patience, self.room.acquire_many(permits));
        let Ok(Ok(_room)) = waiting.await else {
            return Err(Error::Unavailable {
                message: format!("{what}: too many bytes are under way"),
                source: None,
            });
        };
        // Twice the usual timeout: other answers are on the way before this one.
        let longer = self.link.response_timeout() + time_for(bytes);
        self.link.run_on(what, commands, longer).await
    }
}

/// The time that so many bytes may take.
fn time_for(bytes: usize) -> Duration {
    let ms = bytes / (BYTES_PER_SECOND / 1_000);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_fits_the_size() {
        assert_eq!(time_for(0), Duration::ZERO);
        assert_eq!(time_for(2_500_000), Duration::from_millis(2_500));
    }
}
