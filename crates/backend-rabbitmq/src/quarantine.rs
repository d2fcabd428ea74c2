//! Messages that this release cannot read: kept aside for a person, and off
//! the queue, where they would come again for ever.
//!
//! They were written by another release, by somebody else, or damaged. Nothing
//! is lost by it: a message is only a hint, and what it meant is offered again
//! when it does not arrive. Their content is not logged; it could be anything.

use drumline_protocol::codec;
use lapin::types::{AMQPValue, FieldTable};
use tokio_util::task::TaskTracker;

use crate::confirm::Outgoing;
use crate::publisher::Publisher;
use crate::subscription::TagReceipt;
use crate::topology::Target;

/// Moves unreadable messages to the quarantine; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Quarantine {
    publisher: Publisher,
    tasks: TaskTracker,
}

impl Quarantine {
    pub(crate) fn new(publisher: Publisher, tasks: TaskTracker) -> Self {
        Self { publisher, tasks }
    }

    /// Publishes the message to the quarantine and then acknowledges it; does
    /// not wait for either. If the broker does not take it, it stays where it
    /// is, and comes again with the next subscription.
    pub(crate) fn take(
        &self,
        queue: &str,
        payload: Vec<u8>,
        error: &codec::Error,
        receipt: TagReceipt,
    ) {
        tracing::warn!(
            queue,
            bytes = payload.len(),
            %error,
            "a message that cannot be read goes to the quarantine"
        );
        let message = Outgoing {
            target: Target::Quarantine,
            payload,
            headers: Some(headers(queue, error)),
        };
        let publisher = self.publisher.clone();
        self.tasks.spawn(async move {
            for published in publisher.publish(vec![message]).await {
                match published {
                    Ok(()) => {
                        receipt.settle();
                    }
                    Err(error) => tracing::warn!(%error, "the quarantine has not taken it"),
                }
            }
        });
    }
}

/// Where it was found, and why it is here.
fn headers(queue: &str, error: &codec::Error) -> FieldTable {
    let mut headers = FieldTable::default();
    let mut set = |key: &'static str, value: String| {
        headers.insert(key.into(), AMQPValue::LongString(value.into()));
    };
    set("drumline-queue", queue.to_owned());
    set("drumline-error", error.to_string());
    headers
}
