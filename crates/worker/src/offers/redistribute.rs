//! Passes offers on to the other workers of their pool.

use std::sync::Arc;

use drumline_backend::broker;
use drumline_protocol::message::{Message, Offer, Route, Source};
use tokio::sync::mpsc;

use super::delivery_ack::Pending;
use crate::run::shared::Shared;

/// The number of messages in one publish.
const BATCH: usize = 256;

/// Publishes offers to the work queue, then marks them as decided. Offers that the
/// broker does not take are returned, because a slot of this worker may come free
/// before the broker takes them.
pub(crate) async fn redistribute(
    shared: Arc<Shared>,
    mut pending: Vec<Pending>,
    returned: mpsc::UnboundedSender<Pending>,
) {
    while !pending.is_empty() {
        let rest = pending.split_off(pending.len().min(BATCH));
        let offers = pending.iter().map(|pending| pending.offer.clone());
        let answers = to_work_queue(&shared, offers.collect()).await;
        for (pending, answer) in pending.into_iter().zip(answers) {
            match answer {
                Ok(()) => drop(pending.decided()),
                Err(error) => {
                    tracing::debug!(id = %pending.offer.id, %error, "an offer was not forwarded");
                    // A worker that has ended gives its deliveries back.
                    drop(returned.send(pending));
                }
            }
        }
        pending = rest;
    }
}

/// Publishes offers to the work queue of their pool, one in each message, so
/// that they spread. Offers that the work queue does not take go through the spare
/// queue.
pub(crate) async fn to_work_queue(shared: &Shared, offers: Vec<Offer>) -> Vec<broker::Result<()>> {
    let messages: Vec<_> = offers
        .into_iter()
        .map(|offer| {
            let route = Route {
                queue: offer.queue.clone(),
                source: Source::Work,
            };
            (route, Message::Offers(vec![offer]))
        })
        .collect();
    shared.backend.broker.publish(&messages).await
}
