//! Properties of AMQP messages, and what the port knows of them.

use drumline_backend::broker::{Error, Result};
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

/// The properties that the producer has set on a request.
pub(super) fn of_delivery(delivery: &Delivery) -> Envelope {
    let properties = &delivery.properties;
    let text = |text: &Option<ShortString>| {
        let text = text.as_ref().map(ShortString::to_string);
        // Some clients write an empty text for an absent one.
        text.filter(|text| !text.is_empty())
    };
    let headers = properties.headers().as_ref();
    let headers = headers.into_iter().flat_map(|table| table.inner());
    Envelope {
        kind: delivery.routing_key.to_string(),
        content_type: text(properties.content_type()),
        content_encoding: text(properties.content_encoding()),
        reply_to: text(properties.reply_to()),
        correlation_id: text(properties.correlation_id()),
        message_id: text(properties.message_id()),
        headers: headers
            .filter_map(|(name, value)| Some((name.to_string(), readable(value)?)))
            .collect(),
    }
}

/// A header's value, where it is a text or a number.
fn readable(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::Boolean(value) => Some(value.to_string()),
        AMQPValue::ShortShortInt(number) => Some(number.to_string()),
        AMQPValue::ShortShortUInt(number) => Some(number.to_string()),
        AMQPValue::ShortInt(number) => Some(number.to_string()),
        AMQPValue::ShortUInt(number) => Some(number.to_string()),
        AMQPValue::LongInt(number) => Some(number.to_string()),
        AMQPValue::LongUInt(number) => Some(number.to_string()),
        AMQPValue::LongLongInt(number) => Some(number.to_string()),
        AMQPValue::Float(number) => Some(number.to_string()),
        AMQPValue::Double(number) => Some(number.to_string()),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

/// The properties of an answer. The status is a number, so that a client can
/// branch on it without looking into the payload.
///
/// # Errors
/// When a text of it is longer than AMQP allows; then it did not come by AMQP.
pub(super) fn of_reply(reply: &Reply) -> Result<BasicProperties> {
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
        correlation_id,
        message_id,
        headers,
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
pub(super) fn short(text: &str) -> Result<ShortString> {
    ShortString::try_new(text).map_err(|_too_long| Error::Refused)
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
