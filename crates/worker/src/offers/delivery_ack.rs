//! One delivery and the offers in it. The delivery is acknowledged when all of its
//! offers are decided.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use drumline_backend::broker::Receipt;
use drumline_protocol::message::Offer;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The channel for receipts that are to be acknowledged.
pub(crate) type Receipts = mpsc::UnboundedSender<Box<dyn Receipt>>;

/// A delivery whose offers are not all decided.
pub(crate) struct DeliveryAck {
    undecided: AtomicUsize,
    receipt: Mutex<Option<Box<dyn Receipt>>>,
    receipts: Receipts,
}

/// One offer of a delivery.
pub(crate) struct Pending {
    pub(crate) offer: Offer,
    /// The time of delivery.
    pub(crate) since: Instant,
    delivery: Arc<DeliveryAck>,
}

impl Pending {
    /// The offers of one delivery.
    pub(crate) fn of(
        offers: Vec<Offer>,
        receipt: Box<dyn Receipt>,
        receipts: &Receipts,
    ) -> Vec<Self> {
        let since = Instant::now();
        let delivery = Arc::new(DeliveryAck {
            undecided: AtomicUsize::new(offers.len()),
            receipt: Mutex::new(Some(receipt)),
            receipts: receipts.clone(),
        });
        offers
            .into_iter()
            .map(|offer| Self {
                offer,
                since,
                delivery: Arc::clone(&delivery),
            })
            .collect()
    }

    /// Marks the offer as decided: the fate of the operation is in the store, or
    /// the offer is on its way through the broker again. An offer that is dropped
    /// without this call keeps its whole delivery unacknowledged, and the broker
    /// delivers it again.
    pub(crate) fn decided(self) -> Offer {
        let delivery = &self.delivery;
        if delivery.undecided.fetch_sub(1, Ordering::AcqRel) == 1 {
            let receipt = delivery
                .receipt
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(receipt) = receipt {
                acknowledge(&delivery.receipts, receipt);
            }
        }
        self.offer
    }
}

/// Passes a receipt on to the acknowledging task. After the end of the worker
/// there is no such task, and the broker delivers the message again.
pub(crate) fn acknowledge(receipts: &Receipts, receipt: Box<dyn Receipt>) {
    drop(receipts.send(receipt));
}

/// Acknowledges receipts, one after the other. An acknowledgement only writes
/// to a connection, so no caller need wait for it.
pub(crate) async fn acknowledger(mut incoming: mpsc::UnboundedReceiver<Box<dyn Receipt>>) {
    while let Some(receipt) = incoming.recv().await {
        if let Err(error) = receipt.acknowledge().await {
            tracing::debug!(%error, "a message was not acknowledged; the claim drops the duplicate");
        }
    }
}
