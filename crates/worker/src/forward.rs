//! Passing offers on to the other workers of their pool.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker;
use drumline_protocol::message::{Message, Offer, Route, Source};

use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::parcel::Pending;

/// Messages in one publish.
const BATCH: usize = 256;

/// Publishes offers to the work queue, then decides them. Tries until the
/// broker takes them: meanwhile their deliveries stay unacknowledged.
pub(crate) async fn forward(engine: Arc<Engine>, mut pending: Vec<Pending>) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while !pending.is_empty() {
        let rest = pending.split_off(pending.len().min(BATCH));
        let offers = pending.iter().map(|pending| pending.offer.clone());
        let answers = to_work_queue(&engine, offers.collect()).await;
        let mut refused = Vec::new();
        for (pending, answer) in pending.into_iter().zip(answers) {
            match answer {
                Ok(()) => drop(pending.decided()),
                Err(error) => {
                    tracing::debug!(id = %pending.offer.id, %error, "passed on later");
                    refused.push(pending);
                }
            }
        }
        if !refused.is_empty() {
            backoff.sleep().await;
        }
        refused.extend(rest);
        pending = refused;
    }
}

/// Publishes offers to the work queue of their pool, one in each message: they
/// are to spread.
pub(crate) async fn to_work_queue(engine: &Engine, offers: Vec<Offer>) -> Vec<broker::Result<()>> {
    let messages = offers
        .into_iter()
        .map(|offer| {
            let route = Route {
                queue: offer.queue.clone(),
                source: Source::Work,
            };
            (route, Message::Offers(vec![offer]))
        })
        .collect();
    engine.backend.broker.publish(messages).await
}
