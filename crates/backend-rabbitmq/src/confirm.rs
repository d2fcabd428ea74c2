//! One batch on one confirm channel: publish all, then wait for their confirms.
//!
//! The code answers to two habits of lapin. It counts confirms when a publish is
//! first polled, so two tasks that publish on one channel can swap their
//! confirms: a channel belongs to one batch at a time, and one task polls it.
//! And it hands a message that the broker returns to the confirm that resolves
//! next, which may be the confirm of another message: so messages are numbered,
//! returns are matched by the number, and no confirm counts before the batch has
//! come to rest.

use std::collections::HashSet;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use drumline_backend::broker::Trouble;
use futures_util::FutureExt as _;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout};

use crate::topology::Target;

/// AMQP's number for messages that are written to disk.
const PERSISTENT: u8 = 2;

/// The number of looks at the later confirms while one does not come.
const STEPS: u32 = 4;

/// One message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) target: Target,
    pub(crate) payload: Vec<u8>,
    /// For operators, who look at the quarantine.
    pub(crate) headers: Option<FieldTable>,
    /// The time after which the broker drops it.
    pub(crate) expires_after: Option<Duration>,
}

/// The broker's answer about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is on disk.
    Taken,
    /// It could not be stored.
    Refused,
    /// The broker has no such queue.
    Unroutable,
    /// The queue could not be declared, so that nothing was published.
    Undeclared(Trouble),
}

/// A batch that is published, and the confirms that are still out.
pub(crate) struct Pending {
    confirms: Vec<Option<PublisherConfirm>>,
    verdicts: Vec<Option<Verdict>>,
    returned: HashSet<usize>,
}

impl Pending {
    /// Publishes a batch, each message to the queue of that name, and waits
    /// until the batch is written. The channel must have no other batch under
    /// way. If the future is dropped, the channel must be dropped too.
    ///
    /// # Errors
    /// When the channel or the connection breaks. The broker may or may not have
    /// the messages then.
    pub(crate) async fn publish(
        channel: &Channel,
        batch: &[(ShortString, &Outgoing)],
    ) -> lapin::Result<Self> {
        let mut publishing = Vec::with_capacity(batch.len());
        for (number, (queue, message)) in batch.iter().enumerate() {
            let mut publish = Box::pin(channel.basic_publish(
                ShortString::default(),
                queue.clone(),
                options(),
                &message.payload,
                properties(number, message),
            ));
            // The first poll counts the confirm and queues the frames; all that
            // is left then is to wait until they are written. Not waiting here
            // is what puts the whole batch into few writes.
            let first = poll_fn(|context| Poll::Ready(publish.as_mut().poll(context))).await;
            publishing.push((first, publish));
        }
        let mut confirms = Vec::with_capacity(batch.len());
        for (first, publish) in publishing {
            confirms.push(Some(match first {
                Poll::Ready(published) => published?,
                Poll::Pending => publish.await?,
            }));
        }
        Ok(Self {
            verdicts: vec![None; confirms.len()],
            confirms,
            returned: HashSet::new(),
        })
    }

    /// Waits for confirms: `true` when all have come, `false` when none has
    /// come for `quiet`. Cancel-safe.
    ///
    /// # Errors
    /// When the channel or the connection breaks.
    pub(crate) async fn settle(&mut self, quiet: Duration) -> lapin::Result<bool> {
        let mut number = 0;
        let mut heard = Instant::now();
        while let Some(confirm) = self.confirms.get_mut(number) {
            let Some(confirm) = confirm else {
                number = number.saturating_add(1);
                continue;
            };
            // In steps, to notice the confirms of later messages.
            match timeout(quiet / STEPS, confirm).await {
                Ok(confirmation) => {
                    self.note(number, confirmation?);
                    heard = Instant::now();
                }
                Err(_elapsed) if self.sweep().await? => heard = Instant::now(),
                Err(_elapsed) if heard.elapsed() >= quiet => return Ok(false),
                Err(_elapsed) => {}
            }
        }
        Ok(true)
    }

    /// The verdicts, in order; `None` for messages without a confirm.
    ///
    /// The verdicts count when the batch is complete, or quiet: the broker
    /// confirms a message that it returns at once, so that by then no return can
    /// be on its way.
    pub(crate) fn verdicts(&self) -> Vec<Option<Verdict>> {
        let verdicts = self.verdicts.iter().enumerate();
        verdicts
            .map(|(number, verdict)| match verdict {
                Some(_) if self.returned.contains(&number) => Some(Verdict::Unroutable),
                verdict => verdict.clone(),
            })
            .collect()
    }

    /// Takes the confirms that have come. Returns true if there were any.
    async fn sweep(&mut self) -> lapin::Result<bool> {
        let mut any = false;
        for number in 0..self.confirms.len() {
            let Some(Some(confirm)) = self.confirms.get_mut(number) else {
                continue;
            };
            let polled = poll_fn(|context| Poll::Ready(confirm.poll_unpin(context))).await;
            if let Poll::Ready(confirmation) = polled {
                self.note(number, confirmation?);
                any = true;
            }
        }
        Ok(any)
    }

    fn note(&mut self, number: usize, confirmation: Confirmation) {
        let (verdict, message) = match confirmation {
            Confirmation::Ack(message) => (Verdict::Taken, message),
            Confirmation::Nack(message) => (Verdict::Refused, message),
            // Cannot happen: the channel confirms.
            Confirmation::NotRequested => (Verdict::Refused, None),
        };
        self.returned.extend(message.as_ref().and_then(number_of));
        if let Some(confirm) = self.confirms.get_mut(number) {
            *confirm = None;
        }
        if let Some(noted) = self.verdicts.get_mut(number) {
            *noted = Some(verdict);
        }
    }
}

/// Mandatory: otherwise the broker confirms messages that it cannot route.
/// RabbitMQ does not support immediate.
fn options() -> BasicPublishOptions {
    BasicPublishOptions {
        mandatory: true,
        immediate: false,
    }
}

/// Persistent, although quorum queues write everything to disk: an operator's
/// policy may make a queue of another type. The number is unique in its batch,
/// and nothing else is in flight on the channel.
fn properties(number: usize, message: &Outgoing) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(number.to_string().into());
    if let Some(headers) = &message.headers {
        properties = properties.with_headers(headers.clone());
    }
    if let Some(time) = message.expires_after {
        // In milliseconds.
        properties = properties.with_expiration(time.as_millis().to_string().into());
    }
    properties
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
