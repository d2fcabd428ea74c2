//! The versions before the present ones, which are still read: the same fields
//! without [`Extensions`] at the end.
//!
//! A field that is last and may be absent needs no copy of the type: the older
//! bytes are decoded as the same type with one field less.

use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::{Error, Format, exactly};
use crate::Extensions;
use crate::id::OperationId;
use crate::message::{self, Marker};
use crate::operation::{Header, TraceContext};
use crate::token::{Organization, QueueName};

/// Decodes a value of the version that had no extensions.
pub(super) fn without_extensions<T: Format>(content: &[u8]) -> Result<T, Error> {
    exactly(T::WHAT, content).map(|WithoutLast(value)| value)
}

/// Decodes a message of the version whose offers had no extensions.
pub(super) fn message(content: &[u8]) -> Result<message::Message, Error> {
    let message = exactly(message::Message::WHAT, content)?;
    Ok(match message {
        Message::Offers(offers) => {
            message::Message::Offers(offers.into_iter().map(message::Offer::from).collect())
        }
        Message::Marker(marker) => message::Message::Marker(marker),
    })
}

#[derive(Deserialize)]
enum Message {
    Offers(Vec<Offer>),
    Marker(Marker),
}

#[derive(Deserialize)]
struct Offer {
    id: OperationId,
    header: WithoutLast<Header>,
    message_name: String,
    queue: QueueName,
    trace: TraceContext,
}

impl From<Offer> for message::Offer {
    fn from(offer: Offer) -> Self {
        let Offer {
            id,
            header: WithoutLast(header),
            message_name,
            queue,
            trace,
        } = offer;
        Self {
            id,
            header,
            message_name,
            queue,
            // It is only asked for pauses of an organization. The offer comes again
            // from a member that knows it.
            organization: Organization::default(),
            trace,
            extensions: Extensions::default(),
        }
    }
}

/// A struct whose last field, which has a default, is not in the bytes.
struct WithoutLast<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for WithoutLast<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let shorter = Shorter {
            inner: deserializer,
            lifetime: PhantomData,
        };
        T::deserialize(shorter).map(Self)
    }
}

/// Decodes a struct as if it had one field less.
struct Shorter<'de, D> {
    inner: D,
    lifetime: PhantomData<&'de ()>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Shorter<'de, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner
            .deserialize_tuple(fields.len().saturating_sub(1), visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, D::Error> {
        Err(D::Error::custom("only a struct has a last field"))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes
        byte_buf option unit unit_struct newtype_struct seq tuple tuple_struct map
        enum identifier ignored_any
    }
}
