//! Completions: heard over a connection of its own, and from this process
//! itself.
//!
//! Best effort. Messages that are published while the connection is down are
//! missed, and waiters look for themselves from time to time. The connection is
//! made at the first subscription: a fleet of workers without waiters would
//! only cost the server a copy of each message.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drumline_protocol::OperationId;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::RedisResult;
use tokio::sync::broadcast;
use tokio::time::{interval, sleep, timeout};

use crate::link::Link;
use crate::record::read_ids;

/// The number of ids that a slow listener may be behind before it misses some.
const BEHIND: usize = 4096;
/// The pause before a lost connection is built again.
const PAUSE: Duration = Duration::from_millis(200);
/// The interval at which an idle connection is probed: otherwise its death
/// would not be noticed.
const PING: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Completions {
    ends: broadcast::Sender<OperationId>,
    wanted: AtomicBool,
    // The lock is held for a moment, never across an await.
    told: Mutex<Told>,
}

/// The completions that were reported last. An operation ends once; we may hear
/// of its end twice.
#[derive(Debug, Default)]
struct Told {
    ids: HashSet<OperationId>,
    in_order: VecDeque<OperationId>,
}

impl Completions {
    pub(crate) fn new() -> Self {
        Self {
            ends: broadcast::Sender::new(BEHIND),
            wanted: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// Returns a receiver, and true if it is the first: then the caller must
    /// [`listen`].
    pub(crate) fn subscribe(&self) -> (broadcast::Receiver<OperationId>, bool) {
        let receiver = self.ends.subscribe();
        let first = !self.wanted.swap(true, Ordering::Relaxed);
        (receiver, first)
    }

    /// Reports an end to our listeners: one that the server has published, or
    /// one that we have brought about, whichever comes first.
    pub(crate) fn tell(&self, id: OperationId) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let news = self.told.lock().note(id);
        if news {
            // An error means that there is no listener any more, which is fine.
            drop(self.ends.send(id));
        }
    }
}

impl Told {
    /// Notes an end. Returns true if it was not reported yet.
    fn note(&mut self, id: OperationId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.in_order.push_back(id);
        if self.in_order.len() > BEHIND
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

/// Passes on the server's messages, for as long as it is polled.
pub(crate) async fn listen(link: Link, channel: String, completions: Arc<Completions>) {
    loop {
        if let Err(error) = hear(&link, &channel, &completions).await {
            tracing::debug!(%error, "the subscription to completions failed");
        }
        sleep(PAUSE).await;
    }
}

/// Listens on one connection until it breaks.
async fn hear(link: &Link, channel: &str, completions: &Completions) -> RedisResult<()> {
    let patience = link.connect_timeout();
    let connecting = async {
        let (mut connection, primary) = link.listen().await?;
        connection.subscribe(channel).await?;
        RedisResult::Ok((connection, primary))
    };
    let (connection, primary) = timeout(patience, connecting).await.map_err(timed_out)??;
    let (mut sink, mut messages) = connection.split();
    let mut pings = interval(PING);
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return Ok(()) };
                for id in read_ids(message.get_payload_bytes()) {
                    completions.tell(id);
                }
            }
            // An old primary may go on answering, and no process publishes there.
            () = link.moved(primary.as_ref()) => return Ok(()),
            _ = pings.tick() => {
                timeout(patience, sink.ping::<redis::Value>()).await.map_err(timed_out)??;
            }
        }
    }
}

fn timed_out(_elapsed: tokio::time::error::Elapsed) -> std::io::Error {
    std::io::ErrorKind::TimedOut.into()
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{Partition, Timestamp};

    use super::*;

    fn id(number: u16) -> OperationId {
        let ms = i64::from(number);
        OperationId::new(Timestamp::from_millis(ms), Partition::new(0), [0; 16])
    }

    #[test]
    fn an_end_is_told_once() {
        let completions = Completions::new();
        completions.tell(id(1));
        let (mut heard, first) = completions.subscribe();
        assert!(first && !completions.subscribe().1);
        for number in [2, 2, 3, 2] {
            completions.tell(id(number));
        }
        assert_eq!(heard.try_recv(), Ok(id(2)));
        assert_eq!(heard.try_recv(), Ok(id(3)));
        assert!(heard.try_recv().is_err());
    }

    #[test]
    fn what_was_told_long_ago_is_forgotten() {
        let mut told = Told::default();
        for number in 0..=u16::try_from(BEHIND).unwrap() {
            assert!(told.note(id(number)));
        }
        assert_eq!(told.ids.len(), BEHIND);
        assert!(told.note(id(0)) && !told.note(id(9)));
    }
}
