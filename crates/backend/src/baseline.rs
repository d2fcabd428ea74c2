//! The baseline of a measurement: the work of an operation, done with the bare
//! client library of a product and without a line of Drumline.
//!
//! `drumline bench` compares Drumline with it. An adapter implements a trait
//! here beside its port, because the adapter alone names its library. No
//! service uses them.

use async_trait::async_trait;

use crate::{broker, store};

/// Bytes of a message of the baseline, about what a message with one offer has.
pub const MESSAGE_BYTES: usize = 512;

/// A bare store, with three small steps that do about the work of a create, a
/// claim and a completion. Each step goes over all numbers in one round trip.
#[async_trait]
pub trait BaselineStore: Send + Sync {
    /// Makes records.
    ///
    /// # Errors
    /// When the store does not answer, or a record exists.
    async fn create(&self, numbers: &[u64]) -> store::Result<()>;

    /// Locks records, and reads them.
    ///
    /// # Errors
    /// When the store does not answer, or a record does not exist.
    async fn claim(&self, numbers: &[u64]) -> store::Result<()>;

    /// Completes records, and unlocks them.
    ///
    /// # Errors
    /// When the store does not answer, or a record is not locked.
    async fn complete(&self, numbers: &[u64]) -> store::Result<()>;
}

/// A bare broker, with a durable queue of the baseline.
#[async_trait]
pub trait BaselineBroker: Send + Sync {
    /// Makes a publisher.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn publisher(&self) -> broker::Result<Box<dyn BaselinePublisher>>;

    /// Starts to consume the queue.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn consumer(&self) -> broker::Result<Box<dyn BaselineConsumer>>;

    /// Deletes the queue, and disconnects.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn close(self: Box<Self>) -> broker::Result<()>;
}

/// Publishes to the queue of the baseline.
#[async_trait]
pub trait BaselinePublisher: Send + Sync {
    /// Publishes one message of [`MESSAGE_BYTES`] for each number, and waits
    /// until the broker has taken all.
    ///
    /// # Errors
    /// When the broker does not answer, or refuses a message.
    async fn publish(&self, numbers: &[u64]) -> broker::Result<()>;
}

/// Consumes the queue of the baseline.
#[async_trait]
pub trait BaselineConsumer: Send {
    /// Returns the deliveries at hand, at most `most`, as soon as there is one.
    ///
    /// # Errors
    /// When the broker has ended the consumer.
    async fn next(&mut self, most: usize) -> broker::Result<BaselineBatch>;
}

/// Deliveries that wait to be acknowledged.
pub struct BaselineBatch {
    /// The numbers that were published.
    pub numbers: Vec<u64>,
    /// Acknowledges all of them. The receipts of a consumer are used in the order
    /// of its batches.
    pub receipt: Box<dyn broker::Receipt>,
}

impl std::fmt::Debug for BaselineBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaselineBatch")
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}
