//! A limit for messages that others cause: anyone who reaches the address can have as
//! many requests denied as they like.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The time that the limit counts in.
const WINDOW: Duration = Duration::from_secs(60);

/// The decision about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is written. So many before it, in earlier windows, were not.
    Yes {
        /// The number of messages that were left out.
        left_out: u64,
    },
    /// It is left out.
    No,
}

/// Counts messages, and lets through the first ones of each minute.
#[derive(Debug)]
pub(crate) struct PerMinute {
    limit: u64,
    // The lock is held for a moment.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    begun: Instant,
    told: u64,
    left_out: u64,
}

impl PerMinute {
    /// Lets so many messages through each minute.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            state: Mutex::new(State {
                begun: Instant::now(),
                told: 0,
                left_out: 0,
            }),
        }
    }

    /// Decides about the next message. The one that is written tells how many were
    /// not.
    pub(crate) fn next(&self) -> Told {
        if self.admits() {
            let left_out = self.take_left_out();
            Told::Yes { left_out }
        } else {
            Told::No
        }
    }

    /// Returns true if the next message is written; else it is counted. The caller
    /// tells the count: see [`Self::take_left_out`].
    pub(crate) fn admits(&self) -> bool {
        let mut state = self.state.lock();
        if state.begun.elapsed() >= WINDOW {
            state.begun = Instant::now();
            state.told = 0;
        }
        let is_room = state.told < self.limit;
        if is_room {
            state.told += 1;
        } else {
            state.left_out = state.left_out.saturating_add(1);
        }
        is_room
    }

    /// Returns the number of messages that were left out since the last call.
    pub(crate) fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.state.lock().left_out)
    }

    /// Counts messages again whose number was taken and could not be told.
    pub(crate) fn put_back(&self, left_out: u64) {
        let mut state = self.state.lock();
        state.left_out = state.left_out.saturating_add(left_out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_messages_of_a_minute_are_written_and_the_others_counted() {
        let denials = PerMinute::new(2);
        let written = Told::Yes { left_out: 0 };
        assert_eq!([denials.next(), denials.next()], [written, written]);
        for _ in 0..5 {
            assert_eq!(denials.next(), Told::No);
        }
        tokio::time::advance(WINDOW).await;
        assert_eq!(denials.next(), Told::Yes { left_out: 5 });
        assert_eq!(denials.next(), written);
        assert_eq!(denials.next(), Told::No);
        assert_eq!(denials.take_left_out(), 1);
        assert_eq!(denials.take_left_out(), 0);
        denials.put_back(3);
        assert_eq!(denials.next(), Told::No);
        assert_eq!(denials.take_left_out(), 4);
    }
}
