//! The content of a create: the fingerprint that is kept with an idempotency
//! key.
//!
//! The fingerprint is stored, and compared by other releases than the one that
//! wrote it, so it must not change; a test freezes it here. The text that it is
//! made of is [`CreateOperation::content`].

use drumline_api::CreateOperation;
use sha2::{Digest, Sha256};

/// The fingerprint of a request.
pub(super) fn fingerprint(request: &CreateOperation) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(request.content());
    super::first_half(hash)
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{
        DependencyToken, Exhausted, OperationType, QueueName, RetryPolicy, Timestamp, TokenPolicy,
    };
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
        let every_other = CreateOperation {
            token_policy: Some(TokenPolicy::Hold),
            in_order_of_requests: true,
            queue: QueueName::try_from("imports".to_owned()).unwrap(),
            recurrence_pattern: Some("FREQ=DAILY".to_owned()),
            recurrence_start_time: Some(Timestamp::from_millis(1_795_000_000_001)),
            data: Some(r#"{"b":[1.5,null,12345678901234567890123],"a":{}}"#.to_owned()),
            request_id: Some(Uuid::from_u128(9)),
            retry: RetryPolicy {
                max_retries: 1,
                exhausted: Exhausted::Suspend,
                jitter_percent: 3,
                ..RetryPolicy::default()
            },
            webhook_url: Some("https://example.org".to_owned()),
            ..full
        };
        assert_eq!(frozen(&every_other), "1f02b409fcebb2f5474765bee0624017");
    }
}
