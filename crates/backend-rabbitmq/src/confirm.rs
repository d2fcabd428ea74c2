//! One batch on one confirm channel: publish all, then wait for all.
//!
//! Two habits of lapin are met here. Confirms are counted when a publish is
//! first polled, so that two tasks that publish on one channel can swap them:
//! a channel belongs to one batch at a time, and one task polls it. And a
//! message that the broker returns is handed to whichever confirm resolves
//! next, not to its own: so messages are numbered, returns are matched by the
//! number, and no confirm counts until the batch is complete.

use std::collections::HashSet;
use std::future::poll_fn;
use std::task::Poll;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use crate::topology::Target;

/// AMQP's number for messages that are written to disk.
const PERSISTENT: u8 = 2;

/// One message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) target: Target,
    pub(crate) payload: Vec<u8>,
    /// For people who look at the quarantine.
    pub(crate) headers: Option<FieldTable>,
}

/// What the broker says about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is on disk.
    Taken,
    /// It could not be stored.
    Refused,
    /// It has no such queue.
    Unroutable,
}

/// Publishes a batch, each message to the queue of that name: the verdicts in
/// order. The future must be awaited to its end before the channel is used
/// again; where it is dropped, the channel is to be dropped too.
///
/// # Errors
/// When the channel or the connection breaks; what became of the messages is
/// open then.
pub(crate) async fn publish(
    channel: &Channel,
    batch: &[(ShortString, &Outgoing)],
) -> lapin::Result<Vec<Verdict>> {
    let mut publishing = Vec::with_capacity(batch.len());
    for (number, (queue, message)) in batch.iter().enumerate() {
        let mut publish = Box::pin(channel.basic_publish(
            ShortString::default(),
            queue.clone(),
            options(),
            &message.payload,
            properties(number, message.headers.as_ref()),
        ));
        // The first poll counts the confirm and queues the frames; all that is
        // left then is to wait until they are written. Not waiting here is
        // what puts the whole batch into few writes.
        let first = poll_fn(|context| Poll::Ready(publish.as_mut().poll(context))).await;
        publishing.push((first, publish));
    }
    let mut confirms = Vec::with_capacity(batch.len());
    for (first, publish) in publishing {
        confirms.push(match first {
            Poll::Ready(published) => published?,
            Poll::Pending => publish.await?,
        });
    }
    let mut verdicts = Vec::with_capacity(batch.len());
    let mut returned = HashSet::new();
    for confirm in confirms {
        let (verdict, message) = match confirm.await? {
            Confirmation::Ack(message) => (Verdict::Taken, message),
            Confirmation::Nack(message) => (Verdict::Refused, message),
            // Cannot be: the channel confirms.
            Confirmation::NotRequested => (Verdict::Refused, None),
        };
        verdicts.push(verdict);
        returned.extend(message.as_ref().and_then(number_of));
    }
    for (number, verdict) in verdicts.iter_mut().enumerate() {
        if returned.contains(&number) {
            *verdict = Verdict::Unroutable;
        }
    }
    Ok(verdicts)
}

/// Mandatory: the broker confirms what it cannot route, too, unless it must
/// return it. Immediate is long gone from RabbitMQ.
fn options() -> BasicPublishOptions {
    BasicPublishOptions {
        mandatory: true,
        immediate: false,
    }
}

/// Persistent, though quorum queues write everything to disk: so that it also
/// holds where an operator's policy makes a queue another one. The number is
/// unique in its batch, which is all that is in flight on the channel.
fn properties(number: usize, headers: Option<&FieldTable>) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(number.to_string().into());
    match headers {
        Some(headers) => properties.with_headers(headers.clone()),
        None => properties,
    }
}

fn number_of(message: &BasicReturnMessage) -> Option<usize> {
    message
        .properties
        .message_id()
        .as_ref()?
        .as_str()
        .parse()
        .ok()
}
