//! Requests as producers send them over AMQP in bincode: the same requests as
//! over HTTP, typed, for programs that would rather not write JSON.
//!
//! A request is written by [`encode`](drumline_protocol::codec::encode) with its version in
//! front, and frozen by a fixture like everything else that leaves a process.
//! It has the *outline* of a request and no rule: the queue manager turns it
//! into the JSON that HTTP would have brought ([`Create::to_json`]) and reads
//! that JSON, so that validity is checked in one place.
//!
//! Payloads are JSON text here too: no process looks into them on the way.

use drumline_protocol::Timestamp;
use drumline_protocol::codec::Format;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// `POST /v1/operations`.
    Create(Box<Create>),
    /// `POST /v1/execute`: an organization request, as JSON text.
    Execute(String),
}

impl Format for Request {
    const WHAT: &'static str = "request";
    const VERSION: u8 = 0x51;
}

/// An operation that is to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Everything but the payload.
    pub attributes: Attributes,
    /// The payload: JSON text.
    pub data: Option<String>,
}

/// The attributes of an operation that is to be created, with the meaning and
/// the defaults that they have over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attributes {
    /// The message name, which picks the handler.
    pub message_name: String,
    /// A name for people.
    pub name: Option<String>,
    /// The number of its type.
    pub operation_type: Option<u32>,
    /// Equal token, strict order.
    pub dependency_token: Option<String>,
    /// `continue` or `hold`.
    pub token_policy: Option<String>,
    /// The pool of workers.
    pub queue: Option<String>,
    /// Not before this time.
    #[serde(serialize_with = "time")]
    pub postpone_until: Option<Timestamp>,
    /// An RFC 5545 rule.
    pub recurrence_pattern: Option<String>,
    /// The time when the rule begins.
    #[serde(serialize_with = "time")]
    pub recurrence_start_time: Option<Timestamp>,
    /// Equal for operations that belong together.
    pub correlation_id: Option<Uuid>,
    /// The request that it comes from.
    pub request_id: Option<Uuid>,
    /// The operation whose handler creates it.
    pub parent_id: Option<Uuid>,
    /// The type of the record that it is about.
    pub primary_entity_type: Option<String>,
    /// The record it is about.
    pub regarding_object_id: Option<Uuid>,
    /// True: a Succeeded operation is kept for the whole retention time.
    pub retain_job_history: Option<bool>,
    /// Fails instead of starting a second time.
    pub at_most_once: Option<bool>,
    /// The address that is notified of its end.
    pub webhook_url: Option<String>,
    /// The policy for trying it again.
    pub retry_policy: Option<Retry>,
    /// It expires if it has not started by this time.
    #[serde(serialize_with = "time")]
    pub not_after: Option<Timestamp>,
}

/// A retry policy; missing members are taken from the default one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// The number of times that the operation is delayed before it fails.
    pub max_retries: Option<u32>,
    /// The first delay, in milliseconds.
    pub initial_ms: Option<u64>,
    /// Each further delay is this many times the one before.
    pub factor: Option<u32>,
    /// No delay is longer, in milliseconds.
    pub max_ms: Option<u64>,
    /// The share of each delay that jitter may take off, in percent.
    pub jitter_percent: Option<u8>,
    /// `fail` or `suspend`.
    pub exhausted: Option<String>,
    /// The number of lost workers after which the operation is called
    /// poisonous.
    pub max_lost: Option<u32>,
}

impl Create {
    /// The request as HTTP would bring it, without the members that are missing
    /// here.
    ///
    /// # Errors
    /// When `data` is not JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            attributes: Map<String, Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a RawValue>,
        }

        // As text, not as a value: a payload is handed on exactly as it came.
        let data = self.data.as_deref().map(serde_json::from_str).transpose()?;
        let attributes = match serde_json::to_value(&self.attributes)? {
            Value::Object(attributes) => attributes
                .into_iter()
                .filter_map(|(name, value)| Some((name, given(value)?)))
                .collect(),
            // A struct is an object.
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        serde_json::to_string(&Whole { attributes, data })
    }
}

/// A value without the members that are not given.
fn given(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(members) => {
            let members = members.into_iter();
            let members = members.filter_map(|(name, value)| Some((name, given(value)?)));
            Some(Value::Object(members.collect()))
        }
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Some(other)
        }
    }
}

/// RFC 3339 where people read it, milliseconds where they do not.
fn time<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        time.map(|time| time.to_string()).serialize(serializer)
    } else {
        time.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use drumline_protocol::codec::{decode, encode};

    use super::*;

    fn everything() -> Create {
        Create {
            attributes: Attributes {
                message_name: "ImportSolution".to_owned(),
                name: Some("Ünicode".to_owned()),
                operation_type: Some(203),
                dependency_token: Some("solution:contoso".to_owned()),
                token_policy: Some("hold".to_owned()),
                queue: Some("imports".to_owned()),
                postpone_until: Some(Timestamp::from_millis(1_795_000_000_123)),
                recurrence_pattern: Some("FREQ=DAILY;".to_owned()),
                recurrence_start_time: Some(Timestamp::from_millis(1_795_000_000_000)),
                correlation_id: Some(Uuid::from_u128(1)),
                request_id: Some(Uuid::from_u128(2)),
                parent_id: Some(Uuid::from_u128(3)),
                primary_entity_type: Some("account".to_owned()),
                regarding_object_id: Some(Uuid::from_u128(4)),
                retain_job_history: Some(false),
                at_most_once: Some(true),
                webhook_url: Some("https://example.org/done".to_owned()),
                retry_policy: Some(Retry {
                    max_retries: Some(3),
                    exhausted: Some("suspend".to_owned()),
                    ..Retry::default()
                }),
                not_after: Some(Timestamp::from_millis(1_795_000_060_123)),
            },
            data: Some(r#"{"exact": 1.0000000000000000000000001}"#.to_owned()),
        }
    }

    /// The fixture file of each kind.
    fn fixtures() -> [(PathBuf, Request); 2] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let json = r#"{"requestName":"Delete"}"#.to_owned();
        [
            (
                folder.join("request-create-v1.bin"),
                Request::Create(Box::new(everything())),
            ),
            (
                folder.join("request-execute-v1.bin"),
                Request::Execute(json),
            ),
        ]
    }

    /// Requests that producers have written must be read for ever. A change of
    /// the format shows here: give the format a new version byte and keep
    /// reading the old one.
    #[test]
    fn the_format_is_frozen() {
        for (path, request) in fixtures() {
            let path = path.display();
            let fixture = std::fs::read(path.to_string());
            let fixture = fixture.unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(decode::<Request>(&fixture).unwrap(), request, "{path}");
            assert_eq!(encode(&request).unwrap(), fixture, "{path}");
        }
    }

    #[test]
    #[ignore = "writes the fixtures of a new format version; run by hand, then commit them"]
    fn write_fixtures() {
        for (path, request) in fixtures() {
            assert!(!path.exists(), "{} is frozen", path.display());
            std::fs::write(path, encode(&request).unwrap()).unwrap();
        }
    }

    #[test]
    fn it_becomes_the_json_that_http_brings() {
        let json = everything().to_json().unwrap();
        // To the letter: reading it as a number would round it.
        assert!(json.contains(r#""data":{"exact": 1.0000000000000000000000001}"#));
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["postponeUntil"], "2026-11-18T11:06:40.123Z");
        assert_eq!(value["notAfter"], "2026-11-18T11:07:40.123Z");
        assert_eq!(value["operationType"], 203);
        assert_eq!(
            value["correlationId"],
            "00000000-0000-0000-0000-000000000001"
        );
        assert_eq!(
            value["retryPolicy"],
            serde_json::json!({"maxRetries": 3, "exhausted": "suspend"})
        );
    }

    #[test]
    fn what_is_not_given_is_not_there() {
        let mut create = Create::default();
        create.attributes.message_name = "Echo".to_owned();
        assert_eq!(create.to_json().unwrap(), r#"{"messageName":"Echo"}"#);
    }

    #[test]
    fn a_payload_cannot_leave_its_place() {
        let create = Create {
            data: Some(r#"1},"name":{"#.to_owned()),
            ..Create::default()
        };
        assert!(create.to_json().is_err());
    }
}
