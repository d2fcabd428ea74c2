//! The right to acknowledge one delivery, and the deliveries of a consumer that are not
//! acknowledged.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::broker::{Error, Receipt, Result};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// The tags of a consumer's deliveries that are not settled, `None` once they are given
/// back. The broker would close the channel after an acknowledgement of what it has
/// been given back.
#[derive(Debug)]
pub(crate) struct InHand(Mutex<Option<HashSet<u64>>>);

impl InHand {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(HashSet::new())))
    }

    /// Takes a delivery.
    fn take(&self, tag: u64) {
        if let Some(tags) = self.0.lock().as_mut() {
            tags.insert(tag);
        }
    }

    /// Settles a delivery; `false` if it is given back, or settled already.
    fn settle(&self, tag: u64) -> bool {
        self.0.lock().as_mut().is_some_and(|tags| tags.remove(&tag))
    }

    /// Takes all deliveries out of the hands of their users.
    pub(crate) fn give_back(&self) -> HashSet<u64> {
        self.0.lock().take().unwrap_or_default()
    }

    fn is_given_back(&self) -> bool {
        self.0.lock().is_none()
    }
}

/// The right to acknowledge one delivery of a channel.
#[derive(Debug)]
pub(crate) struct TagReceipt {
    tag: u64,
    in_hand: Arc<InHand>,
    settled: mpsc::UnboundedSender<u64>,
}

impl TagReceipt {
    /// Makes the receipt of a delivery; `settled` leads to the task that
    /// acknowledges.
    pub(crate) fn new(
        tag: u64,
        in_hand: &Arc<InHand>,
        settled: mpsc::UnboundedSender<u64>,
    ) -> Self {
        in_hand.take(tag);
        Self {
            tag,
            in_hand: Arc::clone(in_hand),
            settled,
        }
    }

    /// Returns true if the subscription has ended: the message will come again.
    pub(crate) fn is_void(&self) -> bool {
        self.settled.is_closed() || self.in_hand.is_given_back()
    }

    /// Hands the tag to the task that acknowledges; `false` when that is gone.
    pub(crate) fn settle(&self) -> bool {
        self.in_hand.settle(self.tag) && self.settled.send(self.tag).is_ok()
    }
}

#[async_trait]
impl Receipt for TagReceipt {
    async fn acknowledge(self: Box<Self>) -> Result<()> {
        if self.settle() {
            Ok(())
        } else {
            Err(Error::Unavailable {
                message: "the subscription has ended, and the message will be delivered again"
                    .to_owned(),
                source: None,
            })
        }
    }
}
