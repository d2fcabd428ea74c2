//! Drafts of a client, as the API reads them.

use serde_json::json;

use super::*;

#[test]
fn what_is_not_said_is_not_sent() {
    let new = NewOperation::new("Echo").idempotency_key("k");
    assert_eq!(
        serde_json::to_value(&new).unwrap(),
        json!({"messageName": "Echo"})
    );
}

#[test]
fn attributes_have_the_names_of_the_api() {
    let id = Uuid::nil();
    let new = NewOperation::new("Echo")
        .name("n")
        .operation_type(OperationType(10))
        .token("t")
        .token_policy(TokenPolicy::Hold)
        .queue("q")
        .postpone_until(Timestamp::from_millis(0))
        .not_after(Timestamp::from_millis(2))
        .recurrence("FREQ=DAILY")
        .recurrence_start(Timestamp::from_millis(1))
        .raw_data(RawValue::from_string("1.10".to_owned()).unwrap())
        .correlation_id(id)
        .request_id(id)
        .parent_id(id)
        .primary_entity_type("account")
        .regarding_object_id(id)
        .retain_job_history(false)
        .at_most_once(true)
        .retry(RetryPolicy::default().initial(Duration::from_secs(1)))
        .webhook("https://example.org");
    let text = serde_json::to_string(&new).unwrap();
    assert!(text.contains("\"data\":1.10"), "{text}");
    let nil = "00000000-0000-0000-0000-000000000000";
    assert_eq!(
        serde_json::to_value(&new).unwrap(),
        json!({
            "messageName": "Echo", "name": "n", "operationType": 10, "dependencyToken": "t",
            "tokenPolicy": "hold", "queue": "q", "postponeUntil": "1970-01-01T00:00:00.000Z",
            "notAfter": "1970-01-01T00:00:00.002Z",
            "recurrencePattern": "FREQ=DAILY", "recurrenceStartTime": "1970-01-01T00:00:00.001Z",
            "data": 1.1, "correlationId": nil, "requestId": nil, "parentId": nil,
            "primaryEntityType": "account", "regardingObjectId": nil, "retainJobHistory": false,
            "atMostOnce": true, "retryPolicy": {"initialMs": 1000}, "webhookUrl": "https://example.org",
        })
    );
}

#[test]
fn conditions_have_the_names_of_the_api() {
    let filter = Filter::new()
        .name("n")
        .state(State::Completed)
        .status(Status::Failed)
        .message_name("m")
        .operation_type(OperationType(10))
        .token("")
        .correlation_id(Uuid::nil())
        .created_after(Timestamp::from_millis(0))
        .created_before(Timestamp::from_millis(1))
        .completed_before(Timestamp::from_millis(2))
        .parent_id(Uuid::nil())
        .primary_entity_type("account")
        .regarding_object_id(Uuid::max())
        .owner_id("anna")
        .queue("mail")
        .holds_token();
    let pairs = filter.pairs();
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("name", "n"),
            ("state", "3"),
            ("status", "31"),
            ("messageName", "m"),
            ("operationType", "10"),
            ("dependencyToken", ""),
            ("createdAfter", "1970-01-01T00:00:00.000Z"),
            ("createdBefore", "1970-01-01T00:00:00.001Z"),
            ("completedBefore", "1970-01-01T00:00:00.002Z"),
            ("correlationId", "00000000-0000-0000-0000-000000000000"),
            ("parentId", "00000000-0000-0000-0000-000000000000"),
            ("primaryEntityType", "account"),
            ("regardingObjectId", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
            ("ownerId", "anna"),
            ("queue", "mail"),
            ("holdsToken", "true"),
        ]
    );
    assert!(Filter::new().pairs().is_empty() && Filter::new().is_empty());
}

#[test]
fn states_are_sent_as_numbers() {
    let update = Update::new()
        .state(State::Suspended)
        .status(Status::Waiting)
        .postpone_until(Timestamp::from_millis(0));
    assert_eq!(
        serde_json::to_value(&update).unwrap(),
        json!({"stateCode": 1, "statusCode": 10, "postponeUntil": "1970-01-01T00:00:00.000Z"})
    );
    assert!(Update::new().is_empty());
}
