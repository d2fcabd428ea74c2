//! Messages that this release cannot read: taken off their queue, where they
//! would come again for ever.
//!
//! A message of a later release is given back to the work queue of its pool,
//! which all workers consume, so that a worker of that release gets it. After
//! some rounds it is treated like messages of other programs and damaged ones:
//! these are put into the quarantine, for an operator.
//!
//! No operation is lost: a message is only a hint, and the store offers the
//! operation again when the message does not arrive. The content is not logged;
//! it could be anything.

use std::time::Duration;

use drumline_backend::Random;
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{Backoff, codec};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::confirm::Outgoing;
use crate::options::Namespace;
use crate::publisher::Publisher;
use crate::receipt::TagReceipt;
use crate::topology::Target;

/// The rest of a message of a later release before it goes round again: a
/// fleet of old workers must not be busy with it.
const REST: Duration = Duration::from_secs(1);

/// The rounds of such a message. A rolling upgrade has a worker of the later release
/// by then, or the message came from somewhere else.
const ROUNDS: u32 = 60;

/// Counts the rounds, in a message's headers.
const ROUND: &str = "drumline-rounds";

/// Pauses between tries. While an alarm lasts no message can be moved, and its
/// end must be noticed soon.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Moves unreadable messages off their queues; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Quarantine {
    pub(crate) publisher: Publisher,
    pub(crate) namespace: Namespace,
    pub(crate) random: Random,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Quarantine {
    /// Publishes the message elsewhere and then acknowledges it; does not wait
    /// for either. Tries until the broker takes it or the subscription has
    /// ended: unsettled messages take up the prefetch, and a lane whose
    /// prefetch is taken up delivers nothing.
    pub(crate) fn take(
        &self,
        from: &Target,
        delivery: Delivery,
        error: &codec::Error,
        receipt: TagReceipt,
    ) {
        let rounds = rounds(&delivery);
        let (rest, message) = match (from, is_of_later_release(error)) {
            (Target::Route(route), true) if rounds < ROUNDS => {
                tracing::debug!(queue = %from, %error, "a message is given back to its queue");
                // The first time at once: a lane is not to wait for it.
                let rest = if rounds == 0 { Duration::ZERO } else { REST };
                (rest, given_back(route, delivery.data, rounds + 1))
            }
            _ => {
                tracing::warn!(
                    queue = %from,
                    bytes = delivery.data.len(),
                    %error,
                    "a message that cannot be decoded is moved to the quarantine"
                );
                let queue = from.name(&self.namespace).to_string();
                (Duration::ZERO, put_aside(queue, delivery.data, error))
            }
        };
        let publisher = self.publisher.clone();
        let (random, stop) = (self.random.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let moved = async {
                sleep(rest).await;
                publish(&publisher, &random, message, &receipt).await;
            };
            stop.run_until_cancelled(moved).await;
        });
    }
}

async fn publish(publisher: &Publisher, random: &Random, message: Outgoing, receipt: &TagReceipt) {
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    while !receipt.is_void() {
        let answers = publisher.publish(vec![message.clone()]).await;
        match answers.into_iter().next() {
            Some(Ok(())) | None => {
                receipt.settle();
                return;
            }
            Some(Err(error)) => {
                tracing::debug!(queue = %message.target, %error, "a message that cannot be decoded is moved to the quarantine later");
            }
        }
        sleep(backoff.jittered(random.f64())).await;
    }
}

/// Returns true if a later release has written a message of ours. Versions are in the
/// low nibble of the first byte, kinds in the high one.
fn is_of_later_release(error: &codec::Error) -> bool {
    match error {
        codec::Error::Version {
            found, expected, ..
        } => found >> 4 == expected >> 4 && found > expected,
        codec::Error::Empty { .. }
        | codec::Error::Decode { .. }
        | codec::Error::Trailing { .. }
        | codec::Error::Encode { .. } => false,
    }
}

fn rounds(delivery: &Delivery) -> u32 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get(ROUND)) {
        Some(AMQPValue::LongUInt(rounds)) => *rounds,
        Some(_) | None => 0,
    }
}

fn given_back(route: &Route, payload: Vec<u8>, rounds: u32) -> Outgoing {
    let work = Route {
        queue: route.queue.clone(),
        source: Source::Work,
    };
    let mut headers = FieldTable::default();
    headers.insert(ROUND.into(), AMQPValue::LongUInt(rounds));
    Outgoing {
        target: Target::Route(work),
        payload,
        headers: Some(headers),
        expires_after: None,
    }
}

fn put_aside(queue: String, payload: Vec<u8>, error: &codec::Error) -> Outgoing {
    // For people: the queue it was found in, and the reason.
    let mut headers = FieldTable::default();
    let mut set = |key: &'static str, value: String| {
        headers.insert(key.into(), AMQPValue::LongString(value.into()));
    };
    set("drumline-queue", queue);
    set("drumline-error", error.to_string());
    Outgoing {
        target: Target::Quarantine,
        payload,
        headers: Some(headers),
        expires_after: None,
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::codec::Format as _;
    use drumline_protocol::message::Message;

    use super::*;

    fn error_of(first: u8) -> codec::Error {
        codec::decode::<Message>(&[first, 0, 0]).expect_err("it is not ours")
    }

    #[test]
    fn a_later_release_is_told_from_garbage() {
        let version = Message::VERSION;
        assert!(is_of_later_release(&error_of(version + 1)));
        // The version before is read.
        assert!(!is_of_later_release(&error_of(version - 2)));
        assert!(!is_of_later_release(&error_of(version + 0x10)));
        assert!(!is_of_later_release(&error_of(b'n')));
        let truncated = codec::decode::<Message>(&[version]).expect_err("it is cut");
        assert!(!is_of_later_release(&truncated));
    }
}
