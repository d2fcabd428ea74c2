//! Kinds that one attribute has, or two: policies, the rule of a recurrence, the
//! address of a webhook, and what is only shown.

use drumline_protocol::{RetryPolicy, TokenPolicy, limits};
use serde_json::{Value, json};

use super::Kind;
use crate::fields::Fields;
use crate::schema::{Form, reference};
use crate::{draft, retry};

/// The word of a token policy.
pub(crate) struct PolicyWord;

impl Form for PolicyWord {
    fn schema() -> Value {
        reference("TokenPolicy")
    }
}

impl Kind for PolicyWord {
    type Value = TokenPolicy;
    type Draft = TokenPolicy;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<TokenPolicy> {
        given.parsed(name, |text| {
            TokenPolicy::from_name(&text).ok_or_else(|| "must be continue or hold".to_owned())
        })
    }
}

/// A retry policy.
pub(crate) struct Retry;

impl Form for Retry {
    fn schema() -> Value {
        reference("RetryPolicy")
    }
}

impl Kind for Retry {
    type Value = RetryPolicy;
    type Draft = draft::RetryPolicy;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<RetryPolicy> {
        let value = given.take(name)?;
        Some(retry::policy(value, &mut given.errors))
    }
}

/// Reads a text of at most `most` characters. A blank one is none: clients of the
/// Dynamics service send empty texts for attributes that they leave out.
fn text_unless_blank(given: &mut Fields<'_>, name: &str, most: usize) -> Option<String> {
    let text = given.text(name, most)?;
    Some(text).filter(|text| !text.trim().is_empty())
}

/// A recurrence rule. As in the Dynamics service, an empty rule is none. Its
/// grammar is checked with the other rules of a create.
pub(crate) struct Rule;

impl Form for Rule {
    fn schema() -> Value {
        json!({
            "type": "string", "maxLength": limits::RECURRENCE_CHARS,
            "example": "FREQ=DAILY;INTERVAL=3;",
        })
    }
}

impl Kind for Rule {
    type Value = String;
    type Draft = String;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<String> {
        text_unless_blank(given, name, limits::RECURRENCE_CHARS)
    }
}

/// The name of a time zone, which is checked with the other rules of a create. An
/// empty name is none.
pub(crate) struct Zone;

impl Form for Zone {
    fn schema() -> Value {
        json!({
            "type": "string", "maxLength": limits::TIME_ZONE_CHARS,
            "example": "Europe/Berlin",
        })
    }
}

impl Kind for Zone {
    type Value = String;
    type Draft = String;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<String> {
        text_unless_blank(given, name, limits::TIME_ZONE_CHARS)
    }
}

/// The address of a webhook, which is checked with the other rules of a create.
pub(crate) struct Url;

impl Form for Url {
    fn schema() -> Value {
        json!({"type": "string", "maxLength": 2048, "format": "uri"})
    }
}

impl Kind for Url {
    type Value = String;
    type Draft = String;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<String> {
        given.parsed(name, Ok)
    }
}

/// The number of an error, as it is shown.
pub(crate) struct ErrorNumber;

impl Form for ErrorNumber {
    fn schema() -> Value {
        json!({"type": "string", "example": "0x8004A001"})
    }
}

/// The word of a token policy, as it is shown.
pub(crate) struct PolicyName;

impl Form for PolicyName {
    fn schema() -> Value {
        json!({"type": "string", "example": "continue"})
    }
}
