//! The baseline on RabbitMQ: persistent, mandatory messages with confirms
//! through one quorum queue, with the bare client library.
//!
//! Everything is batched as a reasonable client batches. Nothing here reconnects
//! or has patience: a lost connection ends the measurement.

use async_trait::async_trait;
use drumline_backend::baseline::{
    BaselineBatch, BaselineBroker, BaselineConsumer, BaselinePublisher, MESSAGE_BYTES,
};
use drumline_backend::broker::{Error, Receipt, Result};
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer, PublisherConfirm};

use crate::connect::connect;
use crate::error::failed;
use crate::options::Options;
use crate::topology;

/// Deliveries that one consumer may have in hand: two batches of the bench.
const PREFETCH: u16 = 512;
/// Persistent.
const DELIVERY_MODE: u8 = 2;

/// Two connections, as Drumline has them, and a queue of the baseline.
#[derive(Debug)]
pub struct RabbitBaseline {
    publishing: Connection,
    consuming: Connection,
    queue: ShortString,
}

impl RabbitBaseline {
    /// Connects, and declares the queue.
    ///
    /// # Errors
    /// When the broker is unavailable.
    pub async fn connect(options: &Options) -> Result<Self> {
        let publishing = connect(options, "baseline").await?.connection;
        let consuming = connect(options, "baseline").await?.connection;
        let queue = topology::baseline(&options.namespace);
        let declared = async {
            let channel = publishing.create_channel().await?;
            channel
                .queue_declare(queue.clone(), topology::declaration(), topology::quorum())
                .await
        };
        declared
            .await
            .map_err(|error| failed("declaring the baseline's queue", error))?;
        Ok(Self {
            publishing,
            consuming,
            queue,
        })
    }

    async fn consume(&self) -> lapin::Result<Consumer> {
        let channel = self.consuming.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        channel
            .basic_consume(
                self.queue.clone(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
    }

    /// Makes a channel on which every message is confirmed.
    async fn confirming(&self) -> lapin::Result<Channel> {
        let channel = self.publishing.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(channel)
    }
}

#[async_trait]
impl BaselineBroker for RabbitBaseline {
    async fn publisher(&self) -> Result<Box<dyn BaselinePublisher>> {
        let channel = self.confirming().await.map_err(channel_failed)?;
        Ok(Box::new(Publisher {
            channel,
            queue: self.queue.clone(),
        }))
    }

    async fn consumer(&self) -> Result<Box<dyn BaselineConsumer>> {
        let consumer = self.consume().await.map_err(channel_failed)?;
        Ok(Box::new(Deliveries(consumer)))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let deleted = async {
            let channel = self.publishing.create_channel().await?;
            channel
                .queue_delete(self.queue.clone(), topology::deletion())
                .await
        };
        deleted
            .await
            .map_err(|error| failed("deleting the baseline's queue", error))?;
        for connection in [self.publishing, self.consuming] {
            // lapin complains where a channel is being closed at the same time.
            drop(connection.close(200, "done".into()).await);
        }
        Ok(())
    }
}

/// One confirm channel.
struct Publisher {
    channel: Channel,
    queue: ShortString,
}

#[async_trait]
impl BaselinePublisher for Publisher {
    async fn publish(&self, numbers: &[u64]) -> Result<()> {
        let publishing = |error| failed("publishing for the baseline", error);
        // All at once: waiting for each frame to be written would cost two
        // changes of thread per message.
        let written = numbers.iter().map(|number| self.write(*number));
        for confirm in try_join_all(written).await.map_err(publishing)? {
            if !confirm.await.map_err(publishing)?.is_ack() {
                return Err(Error::Refused);
            }
        }
        Ok(())
    }
}

impl Publisher {
    /// Writes one message; the confirm is still to come.
    async fn write(&self, number: u64) -> lapin::Result<PublisherConfirm> {
        let mut payload = [0; MESSAGE_BYTES];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let properties = BasicProperties::default().with_delivery_mode(DELIVERY_MODE);
        self.channel
            .basic_publish(
                ShortString::default(),
                self.queue.clone(),
                options,
                &payload,
                properties,
            )
            .await
    }
}

/// A consumer on a channel of its own.
struct Deliveries(Consumer);

#[async_trait]
impl BaselineConsumer for Deliveries {
    async fn next(&mut self, most: usize) -> Result<BaselineBatch> {
        let consuming = |error| failed("consuming for the baseline", error);
        let mut last = match self.0.next().await {
            Some(delivery) => delivery.map_err(consuming)?,
            None => return Err(ended("RabbitMQ ended the consumer")),
        };
        let mut numbers = vec![number(&last)?];
        while numbers.len() < most
            && let Some(Some(delivery)) = self.0.next().now_or_never()
        {
            last = delivery.map_err(consuming)?;
            numbers.push(number(&last)?);
        }
        Ok(BaselineBatch {
            numbers,
            receipt: Box::new(Last(last)),
        })
    }
}

/// The last delivery of a batch. The deliveries came one after the other on one
/// channel, so that one frame acknowledges all.
struct Last(Delivery);

#[async_trait]
impl Receipt for Last {
    async fn acknowledge(self: Box<Self>) -> Result<()> {
        let all = BasicAckOptions { multiple: true };
        let acknowledged = self.0.ack(all).await;
        acknowledged
            .map(drop)
            .map_err(|error| failed("acknowledging for the baseline", error))
    }
}

fn number(delivery: &Delivery) -> Result<u64> {
    match delivery.data.first_chunk() {
        Some(bytes) => Ok(u64::from_be_bytes(*bytes)),
        None => Err(ended("a message without a number")),
    }
}

fn channel_failed(error: lapin::Error) -> Error {
    failed("opening a channel for the baseline", error)
}

fn ended(reason: &str) -> Error {
    Error::Unavailable {
        message: reason.to_owned(),
        source: None,
    }
}
