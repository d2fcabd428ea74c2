//! The last step of a create: the offers of new operations go to the broker.

use std::time::Duration;

use drumline_backend::store::Stamp;
use drumline_protocol::message::Offer;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span, info_span};

use crate::service::QueueManager;

/// The time that a create waits for the broker's confirm. The operation is
/// stored by then, and the outbox holds it; waiting only keeps producers
/// from being faster than the broker.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

/// Offers of new operations, and their entries in the outbox.
pub(in crate::service) type Offers = Vec<(Offer, Stamp)>;

/// The publishes that are under way, in tasks of their own: a caller that goes
/// away does not keep them from being done.
#[derive(Default)]
pub(in crate::service) struct Publishing(Vec<JoinHandle<()>>);

impl Publishing {
    /// Starts to publish.
    pub(in crate::service) fn start(&mut self, manager: &QueueManager, offers: Offers) {
        if !offers.is_empty() {
            let owned = manager.clone();
            let task = async move { owned.publish(offers).await };
            self.0.push(manager.shared.tasks.spawn(task));
        }
    }

    /// Waits until all is published.
    pub(in crate::service) async fn finished(self) {
        for task in self.0 {
            if let Err(error) = task.await {
                tracing::warn!(%error, "some operations are left to the relay");
            }
        }
    }
}

impl QueueManager {
    /// Publishes new operations that may run, as many as there are, and waits
    /// for the broker's confirms.
    pub(super) async fn publish(&self, offers: Offers) {
        let count = offers.len();
        let span = match offers.as_slice() {
            [] => return,
            [(offer, _)] => send_span(offer),
            [..] => send_batch_span(count),
        };
        let published = self.dispatcher().publish_all(offers).instrument(span);
        let begun = Instant::now();
        let left = match timeout(CONFIRM_TIMEOUT, published).await {
            Ok(answers) => answers.iter().filter(|answer| answer.is_err()).count(),
            Err(_elapsed) => count,
        };
        let took = begun.elapsed().as_secs_f64();
        self.metrics().publish_seconds.observe(took);
        if left > 0 {
            self.metrics().left_to_relay.inc_by(left as u64);
            tracing::debug!(left, count, "stored, and left to the relay");
        }
    }
}

fn send_span(offer: &Offer) -> Span {
    let queue = &offer.queue;
    info_span!(
        "send",
        otel.name = %format_args!("send {queue}"),
        otel.kind = "client",
        messaging.system = "drumline",
        messaging.operation.type = "send",
        messaging.operation.name = "send",
        messaging.destination.name = %queue,
        messaging.message.id = %offer.id,
    )
}

fn send_batch_span(count: usize) -> Span {
    info_span!(
        "send",
        otel.name = "send batch",
        otel.kind = "client",
        messaging.system = "drumline",
        messaging.operation.type = "send",
        messaging.operation.name = "send",
        messaging.batch.message_count = count,
    )
}
