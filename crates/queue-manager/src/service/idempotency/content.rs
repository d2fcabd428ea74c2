//! The content of a create: the fingerprint that is kept with an idempotency
//! key.
//!
//! The fingerprint is stored, and compared by other releases than the one that
//! wrote it, so its form is fixed: a version, then JSON with sorted members, in
//! which every attribute that has its default is left out. So a new attribute
//! changes no fingerprint of a request that does not use it. The form that a
//! test freezes here must not change: a new version would refuse, for as long
//! as keys are kept, repetitions of older requests.
//!
//! Not part of the content: `requestId`, which names the call and may be
//! another in each repetition; spaces and the order of members in the payload.

use drumline_api::CreateOperation;
use drumline_protocol::{Exhausted, OperationType, QueueName, RetryPolicy, TokenPolicy};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The form of the text that is hashed.
const VERSION: &str = "drumline create 1\n";

/// The fingerprint of a request.
pub(super) fn fingerprint(request: &CreateOperation) -> [u8; 16] {
    let mut text = VERSION.to_owned();
    write(&content(request), &mut text);
    let mut hash = Sha256::new();
    hash.update(text);
    super::first_half(hash)
}

/// The attributes that differ from their defaults, named as in the API.
fn content(request: &CreateOperation) -> Value {
    // No `..`: a new attribute needs a decision here too.
    let CreateOperation {
        message_name,
        name,
        operation_type,
        dependency_token,
        token_policy,
        in_order_of_requests,
        queue,
        postpone_until,
        recurrence_pattern,
        recurrence_start_time,
        data,
        correlation_id,
        request_id: _,
        parent_id,
        primary_entity_type,
        regarding_object_id,
        retain_job_history,
        retry,
        at_most_once,
        webhook_url,
    } = request;
    let payload = data.as_ref().map(|text| {
        serde_json::from_str(text).unwrap_or_else(|_unreadable| Value::String(text.clone()))
    });
    let mut content = Content(Map::new());
    content.put("messageName", Some(message_name.as_str()));
    content.put("name", Some(name.as_str()).filter(|name| !name.is_empty()));
    let operation_type = Some(operation_type).filter(|number| **number != OperationType::DEFAULT);
    content.put("operationType", operation_type.map(|number| number.0));
    content.put(
        "dependencyToken",
        dependency_token.as_ref().map(|token| token.as_str()),
    );
    content.put("tokenPolicy", token_policy.map(TokenPolicy::name));
    content.put("inOrderOfRequests", in_order_of_requests.then_some(true));
    let queue = Some(queue).filter(|queue| **queue != QueueName::default());
    content.put("queue", queue.map(QueueName::as_str));
    content.put("postponeUntil", postpone_until.map(|time| time.to_string()));
    if let Some(pattern) = recurrence_pattern {
        let start = recurrence_start_time.map(|time| time.to_string());
        content.put("recurrencePattern", Some(pattern.as_str()));
        content.put("recurrenceStartTime", start);
    }
    content.put("data", payload);
    content.put("correlationId", correlation_id.map(|id| id.to_string()));
    content.put("parentId", parent_id.map(|id| id.to_string()));
    content.put("primaryEntityType", primary_entity_type.as_deref());
    content.put(
        "regardingObjectId",
        regarding_object_id.map(|id| id.to_string()),
    );
    content.put("retainJobHistory", (!retain_job_history).then_some(false));
    let retry = Some(retry).filter(|retry| **retry != RetryPolicy::default());
    content.put("retryPolicy", retry.map(policy));
    content.put("atMostOnce", at_most_once.then_some(true));
    content.put("webhookUrl", webhook_url.as_deref());
    Value::Object(content.0)
}

/// The members of a fingerprint.
struct Content(Map<String, Value>);

impl Content {
    fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }
}

fn policy(policy: &RetryPolicy) -> Value {
    let RetryPolicy {
        max_retries,
        initial_ms,
        factor,
        max_ms,
        jitter_percent,
        exhausted,
        max_lost,
    } = policy;
    json!({
        "maxRetries": max_retries,
        "initialMs": initial_ms,
        "factor": factor,
        "maxMs": max_ms,
        "jitterPercent": jitter_percent,
        "exhausted": match exhausted {
            Exhausted::Fail => "fail",
            Exhausted::Suspend => "suspend",
        },
        "maxLost": max_lost,
    })
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

#[cfg(test)]
mod tests {
    use drumline_protocol::{DependencyToken, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn with_data(text: &str) -> CreateOperation {
        CreateOperation {
            data: Some(text.to_owned()),
            ..CreateOperation::new("ImportSolution")
        }
    }

    #[test]
    fn what_means_the_same_has_the_same_fingerprint() {
        let first = fingerprint(&with_data(r#"{"a":1,"b":[2]}"#));
        assert_eq!(first, fingerprint(&with_data(r#"{ "b": [2], "a": 1 }"#)));
        assert_ne!(first, fingerprint(&with_data(r#"{"a":1,"b":[3]}"#)));
        assert_ne!(first, fingerprint(&CreateOperation::new("ImportSolution")));
        let mut other_call = with_data(r#"{"a":1,"b":[2]}"#);
        other_call.request_id = Some(Uuid::from_u128(7));
        assert_eq!(first, fingerprint(&other_call));
    }

    #[test]
    fn fingerprints_of_this_version_are_frozen() {
        let frozen = |request: &CreateOperation| {
            let bytes = fingerprint(request);
            bytes.map(|byte| format!("{byte:02x}")).concat()
        };
        let plain = CreateOperation::new("a");
        assert_eq!(frozen(&plain), "f1ca26022635cec063564ffdb42f4010");
        let full = CreateOperation {
            name: "contoso".to_owned(),
            operation_type: OperationType(203),
            dependency_token: DependencyToken::try_from("t".to_owned()).ok(),
            postpone_until: Some(Timestamp::from_millis(1_795_000_000_000)),
            data: Some(r#"{"ü":[1.5,null,"\u0041"],"a":{}}"#.to_owned()),
            correlation_id: Some(Uuid::from_u128(1)),
            parent_id: Some(Uuid::from_u128(2)),
            primary_entity_type: Some("account".to_owned()),
            regarding_object_id: Some(Uuid::from_u128(3)),
            retain_job_history: false,
            retry: RetryPolicy {
                max_retries: 1,
                ..RetryPolicy::default()
            },
            at_most_once: true,
            ..plain
        };
        assert_eq!(frozen(&full), "1192a4e10fc371c17335531034c6d030");
    }
}
