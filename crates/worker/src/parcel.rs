//! One delivery and the offers in it: acknowledged when all are decided.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use drumline_backend::broker::Receipt;
use drumline_protocol::message::Offer;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Where receipts go to be acknowledged.
pub(crate) type Receipts = mpsc::UnboundedSender<Box<dyn Receipt>>;

/// A delivery whose offers are not all decided.
pub(crate) struct Parcel {
    undecided: AtomicUsize,
    receipt: Mutex<Option<Box<dyn Receipt>>>,
    receipts: Receipts,
}

/// One offer of a parcel.
pub(crate) struct Pending {
    pub(crate) offer: Offer,
    /// When it was delivered.
    pub(crate) since: Instant,
    parcel: Arc<Parcel>,
}

impl Pending {
    /// The offers of one delivery.
    pub(crate) fn of(
        offers: Vec<Offer>,
        receipt: Box<dyn Receipt>,
        receipts: &Receipts,
    ) -> Vec<Self> {
        let since = Instant::now();
        let parcel = Arc::new(Parcel {
            undecided: AtomicUsize::new(offers.len()),
            receipt: Mutex::new(Some(receipt)),
            receipts: receipts.clone(),
        });
        offers
            .into_iter()
            .map(|offer| Self {
                offer,
                since,
                parcel: Arc::clone(&parcel),
            })
            .collect()
    }

    /// What is to become of it is in the store, or on its way through the
    /// broker once more. One that is dropped without this keeps its whole
    /// delivery unacknowledged, and it will be delivered again.
    pub(crate) fn decided(self) -> Offer {
        let parcel = &self.parcel;
        if parcel.undecided.fetch_sub(1, Ordering::AcqRel) == 1 {
            let receipt = parcel
                .receipt
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(receipt) = receipt {
                acknowledge(&parcel.receipts, receipt);
            }
        }
        self.offer
    }
}

/// Passes a receipt on to whoever acknowledges. When the worker has ended
/// nobody does, and the message comes again.
pub(crate) fn acknowledge(receipts: &Receipts, receipt: Box<dyn Receipt>) {
    drop(receipts.send(receipt));
}

/// Acknowledges receipts, one after the other: that only writes to a
/// connection, and whoever has a receipt need not wait for it.
pub(crate) async fn acknowledger(mut incoming: mpsc::UnboundedReceiver<Box<dyn Receipt>>) {
    while let Some(receipt) = incoming.recv().await {
        if let Err(error) = receipt.acknowledge().await {
            tracing::debug!(%error, "not acknowledged; the claim will drop the duplicate");
        }
    }
}
