//! One queue: its waiting messages, its consumers, and their messages in hand.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use drumline_backend::broker::Backlog;
use drumline_protocol::codec;
use drumline_protocol::message::Message;

/// The place of a message in its queue, from its publication to its
/// acknowledgement: a message that comes back goes to its old place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(u64);

/// The id of a consumer; the lowest subscribed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConsumerId(u64);

/// A message in its wire format, which takes a fifth of the memory of a decoded one.
#[derive(Clone, Debug)]
pub(super) struct Sent(Arc<[u8]>);

impl Sent {
    /// A message, as it goes through the wire format.
    pub(super) fn new(message: &Message) -> Result<Self, codec::Error> {
        let bytes = codec::encode(message)?;
        // A message that could not be read elsewhere is refused here, too.
        codec::decode::<Message>(&bytes)?;
        Ok(Self(bytes.into()))
    }

    pub(super) fn read(&self) -> Message {
        codec::decode(&self.0).expect("it was decoded before")
    }
}

/// A queue in memory.
#[derive(Debug)]
pub(super) struct Queue {
    single_active: bool,
    last: u64,
    waiting: BTreeMap<Position, Sent>,
    consumers: BTreeMap<ConsumerId, InHand>,
    served_last: Option<ConsumerId>,
}

#[derive(Debug)]
struct InHand {
    prefetch: NonZeroU16,
    messages: BTreeMap<Position, Sent>,
}

impl Queue {
    pub(super) const fn new(single_active: bool) -> Self {
        Self {
            single_active,
            last: 0,
            waiting: BTreeMap::new(),
            consumers: BTreeMap::new(),
            served_last: None,
        }
    }

    pub(super) fn push(&mut self, message: Sent) {
        let position = Position(self.number());
        self.waiting.insert(position, message);
    }

    pub(super) fn join(&mut self, prefetch: NonZeroU16) -> ConsumerId {
        let consumer = ConsumerId(self.number());
        let in_hand = InHand {
            prefetch,
            messages: BTreeMap::new(),
        };
        self.consumers.insert(consumer, in_hand);
        consumer
    }

    /// Ends a consumer; its messages in hand go back to their old places.
    pub(super) fn leave(&mut self, consumer: ConsumerId) {
        if let Some(in_hand) = self.consumers.remove(&consumer) {
            self.waiting.extend(in_hand.messages);
        }
    }

    /// The next message for a consumer, if it may have one now.
    pub(super) fn take(&mut self, consumer: ConsumerId) -> Option<(Position, Sent)> {
        let first = self.consumers.keys().next().copied();
        if self.single_active && first != Some(consumer) {
            return None;
        }
        let in_hand = self.consumers.get_mut(&consumer)?;
        if in_hand.messages.len() >= usize::from(in_hand.prefetch.get()) {
            return None;
        }
        let (position, message) = self.waiting.pop_first()?;
        in_hand.messages.insert(position, message.clone());
        self.served_last = Some(consumer);
        Some((position, message))
    }

    /// Returns true if a consumer has had the last message, and there are
    /// others.
    pub(super) fn was_served_last(&self, consumer: ConsumerId) -> bool {
        self.consumers.len() > 1 && self.served_last == Some(consumer)
    }

    /// Takes a message off the queue for good. Returns `false` if the message
    /// is not in the consumer's hand (any more).
    pub(super) fn settle(&mut self, consumer: ConsumerId, position: Position) -> bool {
        self.consumers
            .get_mut(&consumer)
            .is_some_and(|in_hand| in_hand.messages.remove(&position).is_some())
    }

    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            messages: self.waiting.len() as u64,
            consumers: self.consumers.len() as u64,
        }
    }

    const fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
