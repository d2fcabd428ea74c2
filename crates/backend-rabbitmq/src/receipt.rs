//! The right to acknowledge one delivery.

use async_trait::async_trait;
use drumline_backend::broker::{Error, Receipt, Result};
use tokio::sync::mpsc;

/// The right to acknowledge one delivery of a channel.
#[derive(Debug)]
pub(crate) struct TagReceipt {
    tag: u64,
    settled: mpsc::UnboundedSender<u64>,
}

impl TagReceipt {
    /// Makes the receipt of a delivery; `settled` leads to the task that
    /// acknowledges.
    pub(crate) const fn new(tag: u64, settled: mpsc::UnboundedSender<u64>) -> Self {
        Self { tag, settled }
    }

    /// Returns true if the subscription has ended: the message will come again.
    pub(crate) fn is_void(&self) -> bool {
        self.settled.is_closed()
    }

    /// Hands the tag to the task that acknowledges; `false` when that is gone.
    pub(crate) fn settle(&self) -> bool {
        self.settled.send(self.tag).is_ok()
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
