//! The task behind a channel of consumers: sends their acknowledgements, takes
//! consumers off the channel, and closes it.
//!
//! ```text
//! Receipt::acknowledge ─┐                            ┌─ basic.ack (multiple)
//! Receipt::acknowledge ─┼─ tags ── coalescer ────────┼─ basic.ack
//! close() or drop ──────┴─ leaving ─┬─ the last ────►├─ channel.close
//!                                   └─ one of many ─►└─ basic.cancel, basic.nack
//! ```
//!
//! A receipt only hands its tag over: waiting for each frame to be written
//! would cost two changes of thread per message. An acknowledgement that is
//! lost brings the message again, and the claim drops it; so acknowledgements of
//! offers are gathered for a moment. A quorum queue writes each frame to its
//! disk as a command, beside the commands that callers wait for.
//!
//! The last consumer of a channel leaves it by *closing* it, which gives back whatever is
//! unacknowledged, and asks nothing of the queue. One of many is cancelled, which the queue
//! has to answer, and what it has not acknowledged is given back right after that. Not
//! before: RabbitMQ would deliver it to the same consumer again. What RabbitMQ is about to
//! send to a consumer while it is cancelled, it gives back itself (rabbitmq-server#3729). A
//! consumer that the broker has ended is cancelled, too: RabbitMQ 4.3 ends one whose
//! delivery took too long, and goes on to deliver to it.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions};
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::ack_coalescer::AckCoalescer;
use crate::connection::{self, Connection};
use crate::receipt::InHand;

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

/// A consumer that leaves the channel. `closed` is dropped when that is done.
#[derive(Debug)]
pub(crate) struct Leave {
    leaver: Option<Leaver>,
    /// The channel is to be closed: no other consumer is on it, or may stay on it.
    is_over: bool,
    _closed: Option<oneshot::Sender<()>>,
}

/// A consumer, and what it has not settled. The consumer comes along because dropping it
/// cancels it, which must come last.
#[derive(Debug)]
pub(crate) struct Leaver {
    pub(crate) consumer: Consumer,
    pub(crate) in_hand: Arc<InHand>,
    /// True if the broker has ended the consumer: its stream has ended, too.
    pub(crate) has_ended: bool,
}

impl Leave {
    pub(crate) const fn new(leaver: Leaver, is_over: bool, closed: oneshot::Sender<()>) -> Self {
        Self {
            leaver: Some(leaver),
            is_over,
            _closed: Some(closed),
        }
    }

    /// A consumer that was never started.
    pub(crate) const fn unused(is_over: bool) -> Self {
        Self {
            leaver: None,
            is_over,
            _closed: None,
        }
    }
}

/// Acknowledges the deliveries of one channel, and closes it.
#[derive(Debug)]
pub(crate) struct Acker {
    pub(crate) connection: Arc<Connection>,
    pub(crate) channel: Channel,
    /// Bounded by the prefetch of each consumer: there is at most one tag per delivery in
    /// hand.
    pub(crate) tags: mpsc::UnboundedReceiver<u64>,
    /// At most one for each consumer.
    pub(crate) leaving: mpsc::UnboundedReceiver<Leave>,
    pub(crate) ack_mode: AckMode,
    pub(crate) prefetch: NonZeroU16,
    /// For a frame to be written, a consumer to be cancelled, or a channel to be closed.
    pub(crate) patience: Duration,
}

impl Acker {
    pub(crate) async fn run(mut self) {
        let mut coalescer = AckCoalescer::default();
        let mut tags = Vec::new();
        let enough = self.ack_mode.enough(self.prefetch);
        let mut latest = None;
        let leaves = loop {
            let is_over = sleep_until(latest.unwrap_or_else(Instant::now));
            let mut leaves = Vec::new();
            tokio::select! {
                // Acknowledgements first: leaving gives back what is left.
                biased;
                count = self.tags.recv_many(&mut tags, BATCH) => {
                    if count == 0 {
                        break leaves;
                    }
                    coalescer.note_all(&mut tags);
                    if coalescer.unsaid() < enough && self.leaving.is_empty() {
                        latest.get_or_insert_with(|| Instant::now() + GATHERED_FOR);
                        continue;
                    }
                }
                Some(leave) = self.leaving.recv() => leaves.push(leave),
                () = self.connection.ended() => break leaves,
                () = is_over, if latest.is_some() => {}
            }
            latest = None;
            while let Ok(leave) = self.leaving.try_recv() {
                leaves.push(leave);
            }
            let closes = leaves.iter().any(|leave| leave.is_over);
            if closes || !self.acknowledge(&mut coalescer).await {
                break leaves;
            }
            if !self.take_off_all(&mut leaves, &mut coalescer).await {
                break leaves;
            }
        };
        // No consumer comes any more.
        self.leaving.close();
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
        // The consumers that have left are dropped after their channel was closed.
        drop((leaves, self.leaving));
    }

    /// Takes consumers off the channel, one after the other. Returns false when the channel
    /// is of no use any more.
    async fn take_off_all(&self, leaves: &mut [Leave], coalescer: &mut AckCoalescer) -> bool {
        for leave in leaves {
            if let Some(leaver) = leave.leaver.take()
                && !self.take_off(leaver, coalescer).await
            {
                return false;
            }
        }
        true
    }

    /// Cancels one of many consumers, and gives back what it has not settled. Returns
    /// false when the channel is of no use any more.
    async fn take_off(&self, leaver: Leaver, coalescer: &mut AckCoalescer) -> bool {
        let Leaver {
            mut consumer,
            in_hand,
            has_ended,
        } = leaver;
        let taken_off = async {
            let mut unsettled = Vec::new();
            let options = BasicCancelOptions { nowait: false };
            self.channel.basic_cancel(consumer.tag(), options).await?;
            if !has_ended {
                // Deliveries came before the answer, with which the stream ends.
                while let Some(delivery) = consumer.next().await {
                    unsettled.push(delivery?.delivery_tag);
                }
            }
            unsettled.extend(in_hand.give_back());
            let given_back = unsettled.iter().map(|tag| {
                let (multiple, requeue) = (false, true);
                let options = BasicNackOptions { multiple, requeue };
                self.channel.basic_nack(*tag, options)
            });
            try_join_all(given_back).await?;
            lapin::Result::Ok(unsettled)
        };
        match timeout(self.patience, taken_off).await {
            Ok(Ok(unsettled)) => {
                unsettled.into_iter().for_each(|tag| coalescer.say(tag));
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a consumer was not cancelled: its channel is closed");
                false
            }
            Err(_elapsed) => {
                self.connection.doubt();
                false
            }
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
                tracing::debug!(%error, "acknowledgements lost");
                false
            }
            Err(_elapsed) => {
                self.connection.doubt();
                false
            }
        }
    }
}
