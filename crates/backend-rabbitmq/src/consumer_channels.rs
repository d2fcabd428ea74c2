//! The channels of one connection that consumers are on.
//!
//! ```text
//! lane ─┬─ channel of its own      while there are few lanes
//! lane ─┘
//! lane ─┬─ shared channel ── acker (task)
//! lane ─┘
//! work queue ── channel of its own, always
//! ```
//!
//! A consumer with a channel of its own is the better neighbour: nothing that happens
//! to it reaches another. But RabbitMQ allows 2,047 channels on a connection, and a
//! process with many queues has thousands of lanes. So lanes share channels from a
//! number on. A queue whose consumer the broker has refused, or not answered, shares none
//! until it is consumed again: a refusal closes the channel, and while RabbitMQ waits for a
//! queue it does nothing else for its channel. Nor does a queue share that is not a lane:
//! a work queue is left whenever the worker has no room.
//!
//! Consumers of one channel are started one after the other. So what happens to a channel
//! meanwhile is the doing of one queue, and no other is blamed for it.

use std::collections::HashSet;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;

use drumline_backend::broker::Result;
use drumline_protocol::message::Source;
use lapin::Channel;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit, mpsc};

use crate::acker::Leave;
use crate::topology::Target;

/// The channels of one connection that consumers are on.
#[derive(Debug)]
pub(crate) struct ConsumerChannels {
    /// The number of channels from which on lanes share them.
    most: NonZeroUsize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    channels: Vec<Place>,
    /// The queues whose consumers were refused, or not answered.
    isolated: HashSet<Target>,
}

/// A channel, and who is on it.
#[derive(Debug)]
struct Place {
    channel: Arc<ConsumerChannel>,
    is_shareable: bool,
    targets: Vec<Target>,
}

/// A channel for the consumers of one or more queues.
#[derive(Debug)]
pub(crate) struct ConsumerChannel {
    prefetch: NonZeroU16,
    open: OnceCell<OpenChannel>,
}

/// A channel and its task.
#[derive(Debug)]
pub(crate) struct OpenChannel {
    pub(crate) channel: Channel,
    /// The tags of deliveries that are settled.
    pub(crate) settled: mpsc::UnboundedSender<u64>,
    /// The consumers that leave.
    pub(crate) leaving: mpsc::UnboundedSender<Leave>,
    /// The right to start a consumer.
    turns: Semaphore,
}

/// The reason for which a consumer leaves its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    /// Its queue works: it can be cancelled.
    Orderly,
    /// Its queue may not answer, or not be there, and a cancel would stop the channel or
    /// end the connection: the channel is closed, which asks nothing of the queue.
    Closing,
}

/// The right of one consumer to be on a channel.
#[derive(Debug)]
pub(crate) struct Seat {
    channels: Arc<ConsumerChannels>,
    channel: Arc<ConsumerChannel>,
    target: Target,
    has_neighbours: bool,
    is_left: bool,
}

impl ConsumerChannels {
    pub(crate) fn new(most: NonZeroUsize) -> Self {
        Self {
            most,
            places: Mutex::default(),
        }
    }

    /// Finds a channel for a consumer: a new one, or the one with the fewest consumers.
    pub(crate) fn seat(self: &Arc<Self>, target: &Target, prefetch: NonZeroU16) -> Seat {
        let mut places = self.places.lock();
        places.channels.retain(|place| place.channel.is_usable());
        let is_shareable = is_lane(target) && !places.isolated.contains(target);
        let shareable = places.channels.iter().filter(|place| place.is_shareable);
        let is_full = shareable.count() >= self.most.get();
        let found = if is_shareable && is_full {
            let fitting = places.channels.iter_mut();
            fitting
                .filter(|place| place.is_shareable && place.channel.prefetch == prefetch)
                .min_by_key(|place| place.targets.len())
        } else {
            None
        };
        let has_neighbours = found.is_some();
        let channel = match found {
            Some(place) => {
                place.targets.push(target.clone());
                Arc::clone(&place.channel)
            }
            None => {
                let channel = Arc::new(ConsumerChannel {
                    prefetch,
                    open: OnceCell::new(),
                });
                places.channels.push(Place {
                    channel: Arc::clone(&channel),
                    is_shareable,
                    targets: vec![target.clone()],
                });
                channel
            }
        };
        Seat {
            channels: Arc::clone(self),
            channel,
            target: target.clone(),
            has_neighbours,
            is_left: false,
        }
    }

    /// Isolates a queue whose consumer was refused, or not answered. No consumer joins it on
    /// its channel, and its next one has a channel of its own.
    pub(crate) fn isolate(&self, target: &Target) {
        let mut places = self.places.lock();
        places.isolated.insert(target.clone());
        let its_own = places.channels.iter_mut();
        for place in its_own.filter(|place| place.targets.contains(target)) {
            place.is_shareable = false;
        }
    }

    /// Notes that a queue is consumed.
    pub(crate) fn trust(&self, target: &Target) {
        self.places.lock().isolated.remove(target);
    }

    /// Takes a consumer off its channel. Returns true if the channel is to be closed: no
    /// other consumer comes on it.
    fn leave(&self, channel: &Arc<ConsumerChannel>, target: &Target, parting: Parting) -> bool {
        let mut places = self.places.lock();
        let mut channels = places.channels.iter();
        let Some(at) = channels.position(|place| Arc::ptr_eq(&place.channel, channel)) else {
            return true;
        };
        let Some(place) = places.channels.get_mut(at) else {
            return true;
        };
        if let Some(seat) = place.targets.iter().position(|one| one == target) {
            place.targets.swap_remove(seat);
        }
        let is_over = place.targets.is_empty() || parting == Parting::Closing;
        if is_over {
            places.channels.swap_remove(at);
        }
        is_over
    }
}

impl OpenChannel {
    pub(crate) const fn new(
        channel: Channel,
        settled: mpsc::UnboundedSender<u64>,
        leaving: mpsc::UnboundedSender<Leave>,
    ) -> Self {
        Self {
            channel,
            settled,
            leaving,
            turns: Semaphore::const_new(1),
        }
    }

    /// Waits for the right to start a consumer; `None` if the channel is closed by then.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.turns.acquire().await.ok()?;
        self.is_usable().then_some(turn)
    }

    fn is_usable(&self) -> bool {
        self.channel.status().connected() && !self.leaving.is_closed()
    }
}

impl ConsumerChannel {
    /// Returns false if the broker has closed it.
    fn is_usable(&self) -> bool {
        let open = self.open.get();
        open.is_none_or(OpenChannel::is_usable)
    }
}

impl Seat {
    /// The channel, opened by the first consumer on it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) async fn channel(
        &self,
        open: impl Future<Output = Result<OpenChannel>>,
    ) -> Result<&OpenChannel> {
        self.channel.open.get_or_try_init(|| open).await
    }

    /// Returns true if other consumers were on the channel first.
    pub(crate) const fn has_neighbours(&self) -> bool {
        self.has_neighbours
    }

    /// Leaves the channel, which is asked to close when this was the last consumer on it, or
    /// one whose queue may not answer. Returns false if the channel is gone already.
    pub(crate) fn leave(&mut self, parting: Parting, leave: impl FnOnce(bool) -> Leave) -> bool {
        if std::mem::replace(&mut self.is_left, true) {
            return false;
        }
        let is_over = self.channels.leave(&self.channel, &self.target, parting);
        let open = self.channel.open.get();
        open.is_some_and(|open| open.leaving.send(leave(is_over)).is_ok())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave(Parting::Orderly, Leave::unused);
    }
}

fn is_lane(target: &Target) -> bool {
    matches!(target, Target::Route(route) if matches!(route.source, Source::Lane(_)))
}

#[cfg(test)]
mod tests {
    use drumline_protocol::message::Route;
    use drumline_protocol::{Partition, QueueName};

    use super::*;

    fn of(source: Source) -> Target {
        Target::Route(Route {
            queue: QueueName::default(),
            source,
        })
    }

    fn lane(number: u16) -> Target {
        of(Source::Lane(Partition::new(number)))
    }

    fn channels(most: usize) -> Arc<ConsumerChannels> {
        let most = NonZeroUsize::new(most).expect("it is not 0");
        Arc::new(ConsumerChannels::new(most))
    }

    fn take(channels: &Arc<ConsumerChannels>, target: &Target) -> Seat {
        channels.seat(target, NonZeroU16::MIN)
    }

    fn count(channels: &ConsumerChannels) -> Vec<usize> {
        let places = channels.places.lock();
        let mut counts: Vec<_> = (places.channels.iter())
            .map(|place| place.targets.len())
            .collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn lanes_share_channels_from_a_number_on() {
        let channels = channels(2);
        let mut seats: Vec<_> = (0..5).map(|lane_| take(&channels, &lane(lane_))).collect();
        assert_eq!(count(&channels), [2, 3]);
        seats.drain(..4);
        assert_eq!(count(&channels), [1]);
        drop(seats);
        assert_eq!(count(&channels), [0_usize; 0]);
    }

    #[test]
    fn a_work_queue_and_an_isolated_lane_have_channels_of_their_own() {
        let channels = channels(1);
        let _first = take(&channels, &lane(0));
        let _work = take(&channels, &of(Source::Work));
        channels.isolate(&lane(1));
        let isolated = take(&channels, &lane(1));
        assert_eq!(count(&channels), [1, 1, 1]);
        let second = take(&channels, &lane(2));
        assert_eq!(count(&channels), [1, 1, 2], "the first is shared");
        drop((isolated, second));
        channels.trust(&lane(1));
        let _trusted = take(&channels, &lane(1));
        assert_eq!(count(&channels), [1, 2]);
    }

    #[test]
    fn no_consumer_joins_an_isolated_lane_on_its_channel() {
        let channels = channels(1);
        let _first = take(&channels, &lane(0));
        let mut hangs = take(&channels, &lane(1));
        channels.isolate(&lane(1));
        let _third = take(&channels, &lane(2));
        assert_eq!(count(&channels), [1, 2]);
        // Its neighbour leaves a channel that is being closed.
        hangs.leave(Parting::Closing, |is_over| {
            assert!(is_over);
            Leave::unused(is_over)
        });
        assert_eq!(count(&channels), [1]);
    }

    #[test]
    fn consumers_with_another_prefetch_do_not_share() {
        let channels = channels(1);
        let _first = take(&channels, &lane(0));
        let _second = channels.seat(&lane(1), NonZeroU16::MAX);
        assert_eq!(count(&channels), [1, 1]);
    }

    #[test]
    fn a_seat_is_left_once() {
        let channels = channels(1);
        let mut first = take(&channels, &lane(0));
        let _second = take(&channels, &lane(1));
        first.leave(Parting::Orderly, Leave::unused);
        drop(first);
        assert_eq!(count(&channels), [1]);
    }
}
