//! The kinds of attributes: what each looks like in JSON, how it is read, and
//! which values break its rule.
//!
//! An attribute in the table has a kind; most kinds have many attributes. A new
//! attribute needs a line in the table, and a new kind only if it is like none
//! that there is.

mod policies;
mod states;

use drumline_protocol::{DependencyToken, FailureKey, OperationType, QueueName, Timestamp, limits};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::draft::{Write, Written};
use crate::fields::Fields;
use crate::payload;
use crate::schema::Form;

pub(crate) use policies::{ErrorNumber, PolicyName, PolicyWord, Retry, Rule, Url, Zone};
pub(crate) use states::{StateCode, StateWord, StatusCode, StatusWord};

/// A kind of attribute that a request gives.
pub(crate) trait Kind: Form {
    /// The value, checked.
    type Value: Write;
    /// The value as a client gives it.
    type Draft: Write;
    /// True if a request must give it.
    const REQUIRED: bool = false;

    /// Takes the attribute from a request, or notes its fault; `None` if it is
    /// missing or wrong.
    fn take(given: &mut Fields<'_>, name: &str) -> Option<Self::Value>;

    /// The rule that a value breaks, although it has the type.
    fn broken(_value: &Self::Value) -> Option<String> {
        None
    }

    /// The value in the fingerprint of a request; `None` if it is no part of
    /// it.
    fn content(value: &Self::Value) -> Option<Value> {
        serde_json::to_value(Written(value)).ok()
    }
}

/// A kind that a listing can be filtered by.
pub(crate) trait Condition: Kind {
    /// Reads the value of a parameter of an address.
    fn parse(text: String) -> Result<Self::Value, String>;

    /// Takes the condition from the JSON of a filter.
    fn take_condition(given: &mut Fields<'_>, name: &str) -> Option<Self::Value> {
        Self::take(given, name)
    }
}

/// A text of at most `MAX` characters.
pub(crate) struct Text<const MAX: usize>;

impl<const MAX: usize> Form for Text<MAX> {
    fn schema() -> Value {
        json!({"type": "string", "maxLength": MAX})
    }
}

impl<const MAX: usize> Kind for Text<MAX> {
    type Value = String;
    type Draft = String;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<String> {
        given.text(name, MAX)
    }

    fn broken(text: &String) -> Option<String> {
        // Bytes are at least as many as characters, and counted for free.
        let is_too_long = text.len() > MAX && text.chars().count() > MAX;
        is_too_long.then(|| format!("is too long: {MAX} characters are allowed"))
    }
}

impl<const MAX: usize> Condition for Text<MAX> {
    fn parse(text: String) -> Result<String, String> {
        // No text is too long to be compared with.
        Ok(text)
    }
}

/// The message name: a text that must be there.
pub(crate) struct MessageName;

impl Form for MessageName {
    fn schema() -> Value {
        json!({"type": "string", "minLength": 1, "maxLength": limits::MESSAGE_NAME_CHARS})
    }
}

impl Kind for MessageName {
    type Value = String;
    type Draft = String;
    const REQUIRED: bool = true;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<String> {
        let text = given.text(name, limits::MESSAGE_NAME_CHARS);
        if text.is_none() && !given.is_noted(name) {
            given.note(name, "is required");
        }
        text
    }

    fn broken(text: &String) -> Option<String> {
        if text.is_empty() {
            return Some("must not be empty".to_owned());
        }
        Text::<{ limits::MESSAGE_NAME_CHARS }>::broken(text)
    }
}

/// The number of an operation type.
pub(crate) struct TypeNumber;

impl Form for TypeNumber {
    fn schema() -> Value {
        u32::schema()
    }
}

impl Kind for TypeNumber {
    type Value = OperationType;
    type Draft = OperationType;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<OperationType> {
        let number = given.number(name, "from 0 to 4294967295");
        number.map(OperationType)
    }
}

impl Condition for TypeNumber {
    fn parse(text: String) -> Result<OperationType, String> {
        let number = text.parse().map_err(|_not| "must be a number")?;
        Ok(OperationType(number))
    }
}

/// A dependency token.
pub(crate) struct Token;

impl Form for Token {
    fn schema() -> Value {
        json!({"type": "string", "maxLength": limits::TOKEN_CHARS})
    }
}

impl Kind for Token {
    type Value = DependencyToken;
    type Draft = String;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<DependencyToken> {
        let limit = limits::TOKEN_CHARS;
        given.parsed(name, |text| {
            DependencyToken::try_from(text)
                .map_err(|_too_long| format!("is too long: {limit} characters are allowed"))
        })
    }
}

impl Condition for Token {
    fn parse(text: String) -> Result<DependencyToken, String> {
        DependencyToken::try_from(text).map_err(|error| error.to_string())
    }

    fn take_condition(given: &mut Fields<'_>, name: &str) -> Option<DependencyToken> {
        given.parsed(name, Self::parse)
    }
}

/// The name of a queue.
pub(crate) struct Queue;

impl Form for Queue {
    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[a-z0-9-]{1,64}$"})
    }
}

impl Kind for Queue {
    type Value = QueueName;
    type Draft = String;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<QueueName> {
        given.parsed(name, |text| {
            QueueName::try_from(text).map_err(|error| format!("is not valid: {error}"))
        })
    }
}

impl Condition for Queue {
    fn parse(text: String) -> Result<QueueName, String> {
        QueueName::try_from(text).map_err(|error| format!("is not valid: {error}"))
    }
}

/// A point in time, as RFC 3339.
pub(crate) struct Time;

impl Form for Time {
    fn schema() -> Value {
        json!({"type": "string", "format": "date-time"})
    }
}

impl Kind for Time {
    type Value = Timestamp;
    type Draft = Timestamp;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<Timestamp> {
        given.time(name)
    }
}

impl Condition for Time {
    fn parse(text: String) -> Result<Timestamp, String> {
        Timestamp::parse_rfc3339(&text).map_err(|error| format!("is {error}"))
    }
}

/// A UUID.
pub(crate) struct Id;

impl Form for Id {
    fn schema() -> Value {
        json!({"type": "string", "format": "uuid"})
    }
}

impl Kind for Id {
    type Value = Uuid;
    type Draft = Uuid;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<Uuid> {
        given.uuid(name)
    }
}

impl Condition for Id {
    fn parse(text: String) -> Result<Uuid, String> {
        text.parse().map_err(|_not| "must be a UUID".to_owned())
    }
}

/// The id of a failure group.
pub(crate) struct FailureId;

impl Form for FailureId {
    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[0-9a-f]{16}$"})
    }
}

impl Kind for FailureId {
    type Value = FailureKey;
    type Draft = String;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<FailureKey> {
        given.parsed(name, Self::parse)
    }
}

impl Condition for FailureId {
    fn parse(text: String) -> Result<FailureKey, String> {
        let key: Option<FailureKey> = text.parse().ok();
        // Another way to write the same number is a mistake, too.
        let key = key.filter(|key| key.to_string() == text);
        key.ok_or_else(|| "must be the id of a failure group: 16 hexadecimal digits".to_owned())
    }
}

/// The id of the call itself: another in each repetition, and so no part of
/// the fingerprint.
pub(crate) struct CallId;

impl Form for CallId {
    fn schema() -> Value {
        Id::schema()
    }
}

impl Kind for CallId {
    type Value = Uuid;
    type Draft = Uuid;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<Uuid> {
        given.uuid(name)
    }

    fn content(_id: &Uuid) -> Option<Value> {
        None
    }
}

/// True or false.
pub(crate) struct Flag;

impl Form for Flag {
    fn schema() -> Value {
        bool::schema()
    }
}

impl Kind for Flag {
    type Value = bool;
    type Draft = bool;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<bool> {
        given.boolean(name)
    }
}

impl Condition for Flag {
    fn parse(text: String) -> Result<bool, String> {
        let truth = text.parse();
        truth.map_err(|_not| "must be true or false".to_owned())
    }
}

/// The payload: any JSON, as the text that came.
pub(crate) struct Payload;

impl Form for Payload {
    fn schema() -> Value {
        json!({})
    }
}

impl Kind for Payload {
    type Value = String;
    type Draft = Box<RawValue>;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<String> {
        let value = given.take(name)?;
        if let Err(why) = payload::check(value) {
            given.note(name, why);
            return None;
        }
        Some(value.get().to_owned())
    }

    fn content(text: &String) -> Option<Value> {
        // Spaces and the order of members are no part of the content.
        let value = serde_json::from_str(text);
        Some(value.unwrap_or_else(|_unreadable| Value::String(text.clone())))
    }
}
