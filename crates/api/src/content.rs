//! The content of a create: the text whose fingerprint is kept with an
//! idempotency key.
//!
//! The fingerprint is stored, and compared by other releases than the one that
//! wrote it, so the form of the text is fixed: a version, then JSON with sorted
//! members, in which every attribute that has its default is left out. So a new
//! attribute changes no fingerprint of a request that does not use it. A new
//! version would refuse, for as long as keys are kept, repetitions of older
//! requests.
//!
//! Not part of the content: `requestId`, which names the call and may be
//! another in each repetition; spaces and the order of members in the payload.

use serde_json::Value;

use crate::attributes::CreateOperation;

/// The form of the text.
const VERSION: &str = "drumline create 1\n";

impl CreateOperation {
    /// The content: equal for requests that mean the same, in every release.
    #[must_use]
    pub fn content(&self) -> String {
        let mut members = self.members();
        if self.in_order_of_requests {
            members.insert("inOrderOfRequests".to_owned(), true.into());
        }
        let mut text = VERSION.to_owned();
        write(&Value::Object(members), &mut text);
        text
    }
}

/// Writes JSON in one way: sorted members, no spaces. The maps of the JSON
/// library may or may not sort themselves, depending on the build.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in sorted {
                write(&Value::from(name.as_str()), text);
                text.push(':');
                write(value, text);
                text.push(',');
            }
            text.push('}');
        }
    }
}
