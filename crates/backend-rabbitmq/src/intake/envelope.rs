//! Properties of AMQP messages, and what the port knows of them.

use std::collections::BTreeMap;

use drumline_backend::broker::Error;
use drumline_backend::intake::{Envelope, Refused, Reply};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

/// AMQP's number for messages that are written to disk.
const PERSISTENT: u8 = 2;

/// Bytes of headers that are kept with a refused request. All properties of a
/// message must fit one frame (128 KiB by default) together with the ones that
/// are added here. No request needs more.
const HEADER_BYTES: usize = 16 << 10;

/// RabbitMQ replaces the `reply_to` of a producer that wants its answers on the
/// channel that it publishes on: by a text that begins so, and names that channel.
const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to.";

/// The properties that the producer has set on a request.
pub(super) fn of_delivery(delivery: &Delivery) -> Envelope {
    let properties = &delivery.properties;
    let text = |text: &Option<ShortString>| {
        let text = text.as_ref().map(ShortString::to_string);
        // Some clients write an empty text for an absent one.
        text.filter(|text| !text.is_empty())
    };
    let headers = properties.headers().as_ref();
    let (mut readable, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in headers.into_iter().flat_map(|table| table.inner()) {
        match read(value) {
            Ok(value) => drop(readable.insert(name.to_string(), value)),
            Err(kind) => drop(unreadable.insert(name.to_string(), kind)),
        }
    }
    let reply_to = text(properties.reply_to());
    let is_direct = |queue: &String| queue.starts_with(DIRECT_REPLY);
    Envelope {
        kind: delivery.routing_key.to_string(),
        content_type: text(properties.content_type()),
        content_encoding: text(properties.content_encoding()),
        replies_to_sender: reply_to.as_ref().is_some_and(is_direct),
        reply_to,
        user_id: text(properties.user_id()),
        correlation_id: text(properties.correlation_id()),
        message_id: text(properties.message_id()),
        headers: readable,
        unreadable,
    }
}

/// A header's value, where it is a text or a number. Some clients send the bytes
/// of a text, and AMQP has a type of its own for these.
///
/// # Errors
/// When it is something else, which the error names.
fn read(value: &AMQPValue) -> Result<String, &'static str> {
    Ok(match value {
        AMQPValue::LongString(text) => utf8(text.as_bytes())?,
        AMQPValue::ByteArray(bytes) => utf8(bytes.as_slice())?,
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Float(number) => number.to_string(),
        AMQPValue::Double(number) => number.to_string(),
        AMQPValue::DecimalValue(_) => return Err("a decimal"),
        AMQPValue::FieldArray(_) => return Err("a list"),
        AMQPValue::Timestamp(_) => return Err("a time"),
        AMQPValue::FieldTable(_) => return Err("a table"),
        AMQPValue::Void => return Err("nothing"),
    })
}

fn utf8(bytes: &[u8]) -> Result<String, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_not| "bytes that are not UTF-8")?;
    Ok(text.to_owned())
}

/// The properties of an answer. The status is a number, so that a client can
/// branch on it without looking into the payload.
///
/// # Errors
/// When a text of it is longer than AMQP allows; then it did not come by AMQP.
pub(super) fn of_reply(reply: &Reply) -> Result<BasicProperties, Error> {
    let mut headers = FieldTable::default();
    let status = i32::from(reply.status);
    headers.insert("status".into(), AMQPValue::LongInt(status));
    let properties = BasicProperties::default()
        .with_content_type(reply.content_type.into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    Ok(match &reply.correlation_id {
        Some(id) => properties.with_correlation_id(short(id)?),
        None => properties,
    })
}

/// The properties of a request in the quarantine: the producer's, so that the
/// request can be published again as it was, and the reason.
pub(super) fn of_refused(refused: &Refused) -> BasicProperties {
    let Envelope {
        kind,
        content_type,
        content_encoding,
        reply_to,
        replies_to_sender: _,
        user_id,
        correlation_id,
        message_id,
        headers,
        unreadable: _,
    } = &refused.envelope;
    let mut table = FieldTable::default();
    let mut room = HEADER_BYTES;
    for (name, value) in headers {
        let (Ok(short), Some(left)) = (
            ShortString::try_new(name.as_str()),
            room.checked_sub(name.len().saturating_add(value.len())),
        ) else {
            continue;
        };
        room = left;
        table.insert(short, text(value));
    }
    table.insert("drumline-code".into(), text(&refused.code));
    table.insert("drumline-reason".into(), text(&refused.reason));
    table.insert("drumline-routing-key".into(), text(kind));
    // Not as the property: RabbitMQ refuses the user of another connection.
    if let Some(user) = user_id {
        table.insert("drumline-user-id".into(), text(user));
    }
    let bytes = i64::try_from(refused.bytes).unwrap_or(i64::MAX);
    table.insert("drumline-bytes".into(), AMQPValue::LongLongInt(bytes));
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_headers(table);
    let given = |text: &Option<String>| ShortString::try_new(text.clone()?).ok();
    if let Some(text) = given(content_type) {
        properties = properties.with_content_type(text);
    }
    if let Some(text) = given(content_encoding) {
        properties = properties.with_content_encoding(text);
    }
    if let Some(text) = given(reply_to) {
        properties = properties.with_reply_to(text);
    }
    if let Some(text) = given(correlation_id) {
        properties = properties.with_correlation_id(text);
    }
    if let Some(text) = given(message_id) {
        properties = properties.with_message_id(text);
    }
    properties
}

/// A text of at most 255 bytes.
///
/// # Errors
/// When it has more.
pub(super) fn short(text: &str) -> Result<ShortString, Error> {
    ShortString::try_new(text).map_err(|_too_long| Error::Refused)
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use lapin::types::{ByteArray, FieldArray};

    use super::*;

    #[test]
    fn a_header_is_read_in_every_form_that_a_text_may_have() {
        let bytes = |bytes: &[u8]| AMQPValue::ByteArray(ByteArray::from(bytes));
        let long = |bytes: &[u8]| AMQPValue::LongString(LongString::from(bytes.to_vec()));
        let readable = [
            (long("Müller".as_bytes()), "Müller"),
            (bytes("Müller".as_bytes()), "Müller"),
            (AMQPValue::ShortString("a".into()), "a"),
            (AMQPValue::LongInt(-7), "-7"),
            (AMQPValue::Boolean(true), "true"),
        ];
        for (value, text) in readable {
            assert_eq!(read(&value).as_deref(), Ok(text), "{value:?}");
        }
        let unreadable = [
            bytes(b"\xff"),
            long(b"\xff"),
            AMQPValue::Void,
            AMQPValue::Timestamp(1),
            AMQPValue::FieldArray(FieldArray::default()),
            AMQPValue::FieldTable(FieldTable::default()),
        ];
        for value in unreadable {
            assert!(read(&value).is_err(), "{value:?}");
        }
    }
}
