//! The view has every attribute, reads what it writes, and survives anything
//! that could be stored.

use drumline_protocol::operation::{first_header, series_header};
use drumline_protocol::{
    Body, ChainKey, CommitId, DependencyToken, ErrorCode, Fault, Operation, OperationId,
    OperationType, Organization, Partition, Recurrence, Report, Rules, Timestamp, TokenPolicy,
};
use serde_json::Value;

use super::*;

fn operation(data: Option<&str>, report: Report) -> Operation {
    let now = Timestamp::from_millis(1_795_000_000_123);
    let organization = Organization::default();
    let token = DependencyToken::try_from("contoso".to_owned()).unwrap();
    let rules = Rules {
        operation_type: OperationType(203),
        chain: Some(ChainKey::new(&organization, &token)),
        token_policy: TokenPolicy::Hold,
        webhook: true,
        ..Rules::default()
    };
    Operation {
        id: OperationId::new(now, Partition::new(3), [7; 16]),
        header: first_header(rules, None, CommitId(1), now),
        body: Body {
            name: "import".to_owned(),
            dependency_token: Some(token),
            data: data.map(str::to_owned),
            organization,
            owner: "anna".to_owned(),
            webhook_url: Some("https://example.com/ended".to_owned()),
            ..Body::new("ImportSolution", now)
        },
        report,
        sequence: 12,
    }
}

fn shown(operation: &Operation) -> Value {
    serde_json::to_value(OperationView::from(operation)).unwrap()
}

#[test]
fn every_attribute_is_shown() {
    let report = Report {
        progress: Some(Progress {
            percent: 40,
            text: "half way".to_owned(),
        }),
        checkpoint: None,
        result: Some("[1, 2]".to_owned()),
        fault: Some(Fault::new(ErrorCode::SERVER_BUSY, "try later", "HTTP 503")),
        extensions: drumline_protocol::Extensions::default(),
    };
    let value = shown(&operation(Some(r#"{"file": "a.zip"}"#), report));
    let expected = r#"{
        "id": "01a1ee56-5e7b-7707-800f-070707070707",
        "name": "import", "operationType": 203, "operationTypeName": "Import Solution",
        "messageName": "ImportSolution",
        "stateCode": 0, "statusCode": 0, "state": "Ready", "status": "WaitingForResources",
        "dependencyToken": "contoso", "tokenPolicy": "hold", "holdsToken": false,
        "postponeUntil": null, "notAfter": null,
        "recurrencePattern": null, "recurrenceStartTime": null, "recurrenceTimeZone": null,
        "data": {"file": "a.zip"},
        "correlationId": "00000000-0000-0000-0000-000000000000",
        "requestId": null, "parentId": null, "depth": 0,
        "primaryEntityType": null, "regardingObjectId": null,
        "ownerId": "anna", "createdBy": "anna", "modifiedBy": "anna",
        "organization": "default", "queue": "default", "hostId": null,
        "friendlyMessage": "try later", "message": "HTTP 503", "errorCode": "0x8004A001",
        "retryCount": 0, "sequence": 12,
        "createdOn": "2026-11-18T11:06:40.123Z", "modifiedOn": "2026-11-18T11:06:40.123Z",
        "startedOn": null, "completedOn": null, "executionTimeSpan": 0.0,
        "progress": {"percent": 40, "text": "half way"}, "result": [1, 2],
        "retainJobHistory": true, "webhookUrl": "https://example.com/ended", "startCount": 0, "lostCount": 0, "attempt": 0, "atMostOnce": false,
        "retryPolicy": {
            "maxRetries": 10, "initialMs": 5000, "factor": 2, "maxMs": 3600000,
            "jitterPercent": 20, "exhausted": "fail", "maxLost": 5
        },
        "version": 1, "legalActions": ["cancel", "pause", "postpone"]
    }"#;
    let expected: Value = serde_json::from_str(expected).unwrap();
    assert_eq!(value, expected);
}

#[test]
fn a_series_shows_its_rule() {
    let mut series = operation(None, Report::default());
    let now = series.body.created_on;
    let recurrence = Recurrence {
        pattern: "FREQ=DAILY".to_owned(),
        start: now,
        last: None,
    };
    let rules = series.header.rules.clone();
    series.header = series_header(rules, recurrence, Some(now), CommitId(1), now);
    let value = shown(&series);
    for (name, expected) in [
        ("recurrencePattern", "FREQ=DAILY"),
        ("recurrenceStartTime", "2026-11-18T11:06:40.123Z"),
        ("postponeUntil", "2026-11-18T11:06:40.123Z"),
    ] {
        assert_eq!(value.get(name), Some(&Value::String(expected.to_owned())));
    }
}

#[test]
fn what_is_written_can_be_read() {
    let written = serde_json::to_string(&OperationView::from(&operation(
        Some(r#"{"n":1}"#),
        Report::default(),
    )))
    .unwrap();
    let read: OperationView = serde_json::from_str(&written).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), written);
}

#[test]
fn the_payload_is_shown_as_it_came() {
    // The order of members and a number of many digits stay as they are.
    let data = r#"{"b":1,"a":12345678901234567890.12345678901234567890}"#;
    let view = OperationView::from(&operation(Some(data), Report::default()));
    assert_eq!(view.data.unwrap().get(), data);
}

#[test]
fn stored_text_that_is_not_json_is_shown_as_a_string() {
    for text in ["{", "", "oops", "1 2", "\u{0}"] {
        let value = shown(&operation(Some(text), Report::default()));
        assert_eq!(
            value.get("data"),
            Some(&Value::String(text.to_owned())),
            "{text:?}"
        );
    }
}

#[test]
fn a_policy_with_missing_members_takes_the_default_ones() {
    let view: RetryPolicyView = serde_json::from_str(r#"{"maxRetries": 1}"#).unwrap();
    let expected = RetryPolicy {
        max_retries: 1,
        ..RetryPolicy::default()
    };
    assert_eq!(RetryPolicy::from(view), expected);
}
