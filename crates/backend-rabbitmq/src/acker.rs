//! The task behind a subscription: sends its acknowledgements, and closes its
//! channel.
//!
//! ```text
//! Receipt::acknowledge ─┐                         ┌─ basic.ack (multiple)
//! Receipt::acknowledge ─┼─ tags ── coalescer ────────┼─ basic.ack
//! close() or drop ──────┴────────────────────────►└─ channel.close
//! ```
//!
//! A receipt only hands its tag over: waiting for each frame to be written
//! would cost two changes of thread per message. An acknowledgement that is
//! lost brings the message again, and the claim drops it; so acknowledgements of
//! offers are gathered for a moment. A quorum queue writes each frame to its
//! disk as a command, beside the commands that callers wait for.
//!
//! The channel is *closed* with whatever is unacknowledged, never cancelled: a
//! cancelled consumer's messages stay with us while the next consumer starts.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::options::BasicAckOptions;
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::ack_coalescer::AckCoalescer;
use crate::connection::{self, Connection};

/// Tags that are taken at a time. More do not make fewer frames.
const BATCH: usize = 1024;

/// The time that an acknowledgement of an offer may be kept, unless many wait.
/// Long enough for a few to come together even when little is going on. A crash
/// loses no more than was on its way anyway.
const GATHERED_FOR: Duration = Duration::from_millis(20);

/// The moment at which acknowledgements are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckMode {
    /// At once: a message that comes again is done again.
    Immediate,
    /// Together with more: a message that comes again costs a look.
    Batched,
}

impl AckMode {
    /// The number of acknowledgements that is worth a frame: half of the
    /// prefetch, so that the broker goes on delivering meanwhile. Fewer wait for
    /// [`GATHERED_FOR`].
    fn enough(self, prefetch: NonZeroU16) -> usize {
        match self {
            Self::Immediate => 1,
            Self::Batched => usize::from(prefetch.get().div_ceil(2)),
        }
    }
}

/// The last request to the task: close, and drop `closed` when that is done.
/// The consumer comes along because dropping it cancels it, which must come
/// last.
#[derive(Debug)]
pub(crate) struct Close {
    pub(crate) consumer: Consumer,
    pub(crate) closed: oneshot::Sender<()>,
}

/// Acknowledges the deliveries of one channel, and closes it.
#[derive(Debug)]
pub(crate) struct Acker {
    pub(crate) queue: String,
    pub(crate) connection: Arc<Connection>,
    pub(crate) channel: Channel,
    /// Bounded by the prefetch: there is at most one tag per delivery in hand.
    pub(crate) tags: mpsc::UnboundedReceiver<u64>,
    pub(crate) close: oneshot::Receiver<Close>,
    pub(crate) ack_mode: AckMode,
    pub(crate) prefetch: NonZeroU16,
    /// For a frame to be written, or a channel to be closed.
    pub(crate) patience: Duration,
}

impl Acker {
    pub(crate) async fn run(mut self) {
        let mut coalescer = AckCoalescer::default();
        let mut tags = Vec::new();
        let enough = self.ack_mode.enough(self.prefetch);
        let mut latest = None;
        let close = loop {
            let is_over = sleep_until(latest.unwrap_or_else(Instant::now));
            tokio::select! {
                // Acknowledgements first: closing gives back what is left.
                biased;
                count = self.tags.recv_many(&mut tags, BATCH) => {
                    if count == 0 {
                        break None;
                    }
                    coalescer.note_all(&mut tags);
                    if coalescer.unsaid() < enough {
                        latest.get_or_insert_with(|| Instant::now() + GATHERED_FOR);
                        continue;
                    }
                }
                close = &mut self.close => break close.ok(),
                () = self.connection.ended() => break None,
                () = is_over, if latest.is_some() => {}
            }
            latest = None;
            if !self.acknowledge(&mut coalescer).await {
                break None;
            }
        };
        self.tags.close();
        while let Ok(tag) = self.tags.try_recv() {
            tags.push(tag);
        }
        coalescer.note_all(&mut tags);
        self.acknowledge(&mut coalescer).await;
        if timeout(self.patience, connection::close(&self.channel))
            .await
            .is_err()
        {
            self.connection.doubt();
        }
        if let Some(Close { consumer, closed }) = close {
            drop(consumer);
            // Dropping the sender is the signal.
            drop(closed);
        }
    }

    /// `false` when the channel is of no use any more.
    async fn acknowledge(&self, coalescer: &mut AckCoalescer) -> bool {
        let frames = coalescer.take().into_iter().map(|ack| {
            let options = BasicAckOptions {
                multiple: ack.multiple,
            };
            self.channel.basic_ack(ack.tag, options)
        });
        match timeout(self.patience, try_join_all(frames)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::debug!(queue = %self.queue, %error, "acknowledgements lost");
                false
            }
            Err(_elapsed) => {
                self.connection.doubt();
                false
            }
        }
    }
}
