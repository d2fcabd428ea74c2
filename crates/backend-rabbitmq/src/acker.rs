//! The task behind a subscription: sends its acknowledgements, and closes its
//! channel.
//!
//! ```text
//! Receipt::acknowledge ─┐                         ┌─ basic.ack (multiple)
//! Receipt::acknowledge ─┼─ tags ── ledger ────────┼─ basic.ack
//! close() or drop ──────┴────────────────────────►└─ channel.close
//! ```
//!
//! A receipt only hands its tag over: waiting for each frame to be written
//! would cost two changes of thread per message. An acknowledgement that is
//! lost brings the message again, which the claim sorts out.
//!
//! The channel is *closed* with whatever is unacknowledged, never cancelled: a
//! cancelled consumer's messages stay with us while the next consumer starts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::options::BasicAckOptions;
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::ledger::Ledger;
use crate::live::{self, Live};

/// Tags that are taken at a time. More do not make fewer frames.
const BATCH: usize = 1024;

/// The last request to the task: close, and drop `closed` when that is done.
/// The consumer comes along because dropping it cancels it, which must come
/// last.
#[derive(Debug)]
pub(crate) struct Close {
    pub(crate) consumer: Consumer,
    pub(crate) closed: oneshot::Sender<()>,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Acker {
    pub(crate) queue: String,
    pub(crate) live: Arc<Live>,
    pub(crate) channel: Channel,
    /// Bounded by the prefetch: there is at most one tag per delivery in hand.
    pub(crate) tags: mpsc::UnboundedReceiver<u64>,
    pub(crate) close: oneshot::Receiver<Close>,
    /// For a frame to be written, or a channel to be closed.
    pub(crate) patience: Duration,
}

impl Acker {
    pub(crate) async fn run(mut self) {
        let mut ledger = Ledger::default();
        let mut tags = Vec::new();
        let close = loop {
            tokio::select! {
                // Acknowledgements first: closing gives back what is left.
                biased;
                count = self.tags.recv_many(&mut tags, BATCH) => {
                    if count == 0 || !self.acknowledge(&mut ledger, &mut tags).await {
                        break None;
                    }
                }
                close = &mut self.close => break close.ok(),
                () = self.live.ended() => break None,
            }
        };
        self.tags.close();
        while let Ok(tag) = self.tags.try_recv() {
            tags.push(tag);
        }
        self.acknowledge(&mut ledger, &mut tags).await;
        if timeout(self.patience, live::close(&self.channel))
            .await
            .is_err()
        {
            self.live.doubt();
        }
        if let Some(Close { consumer, closed }) = close {
            drop(consumer);
            // Dropping the sender is the signal.
            drop(closed);
        }
    }

    /// `false` when the channel is of no use any more.
    async fn acknowledge(&self, ledger: &mut Ledger, tags: &mut Vec<u64>) -> bool {
        for tag in tags.drain(..) {
            ledger.note(tag);
        }
        let frames = ledger.take().into_iter().map(|ack| {
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
                self.live.doubt();
                false
            }
        }
    }
}
