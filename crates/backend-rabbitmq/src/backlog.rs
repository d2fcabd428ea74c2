//! The messages and the consumers of a queue, as the broker counts them; and the
//! consumers that it has forgotten.
//!
//! A queue that has no majority is deleted by force, which tells its consumers nothing.
//! They stay open on a channel that lives, and hear nothing of the queue that takes its
//! place under the same name. So a consumer that has heard nothing for a while asks
//! whether its queue has any consumer at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drumline_backend::broker::{Backlog, Result};
use lapin::types::FieldTable;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::connection::{self, Connection};
use crate::error::{failed, is_not_found};
use crate::options::Options;
use crate::topology::{self, Target};

/// Answers without a consumer, one after the other, that end a subscription. A queue that
/// elects a leader counts none for a moment.
const MISSES: u32 = 2;

/// Counts the messages and consumers of a queue; `None` if there is no such queue.
///
/// # Errors
/// When the broker is unavailable, or refuses the question.
pub(crate) async fn count(
    connection: &Connection,
    target: &Target,
    options: &Options,
) -> Result<Option<Backlog>> {
    // A channel of its own: "no such queue" closes it.
    let channel = connection.channel().await?;
    let name = target.name(&options.namespace);
    let asked = channel
        .queue_declare(name, topology::question(), FieldTable::default())
        .await;
    match asked {
        Ok(queue) => {
            connection::close(&channel).await;
            Ok(Some(Backlog {
                messages: u64::from(queue.message_count()),
                consumers: u64::from(queue.consumer_count()),
            }))
        }
        Err(error) => match failed("asking for a queue's length", error) {
            error if is_not_found(&error) => Ok(None),
            error => Err(error),
        },
    }
}

/// Watches a consumer of a queue until it ends.
pub(crate) struct Watch {
    pub(crate) connection: Arc<Connection>,
    pub(crate) target: Target,
    pub(crate) options: Arc<Options>,
    /// The deliveries that the consumer has had.
    pub(crate) heard: Arc<AtomicU64>,
    /// Cancelled by the consumer when it ends, and by the watch when the broker has
    /// forgotten it.
    pub(crate) over: CancellationToken,
}

impl Watch {
    pub(crate) async fn run(self) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = self.connection.ended() => {}
            () = self.until_forgotten() => self.over.cancel(),
        }
    }

    /// Returns when the queue has had no consumer for a while, and none has heard of it.
    async fn until_forgotten(&self) {
        let (mut last, mut misses) = (self.heard.load(Ordering::Relaxed), 0);
        while misses < MISSES {
            let jitter = 1.0 + self.options.random.f64() / 2.0;
            sleep(self.options.ask_after.mul_f64(jitter)).await;
            let heard = self.heard.load(Ordering::Relaxed);
            if heard != last {
                (last, misses) = (heard, 0);
                continue;
            }
            let counted = count(&self.connection, &self.target, &self.options);
            let has_none = match timeout(self.options.patience, counted).await {
                Ok(Ok(Some(backlog))) => backlog.consumers == 0,
                // It is gone, and would have ended its consumers.
                Ok(Ok(None)) => true,
                // A broker that does not answer says nothing of its queues.
                Ok(Err(_)) | Err(_) => false,
            };
            misses = if has_none { misses + 1 } else { 0 };
        }
        tracing::warn!(queue = %self.target, "RabbitMQ has forgotten the consumer of a queue: it is consumed again");
    }
}
