//! Every attribute of the table is stored and shown as it was given. A request
//! that a client builds can be read. The schema describes each attribute.

use drumline_protocol::operation::{Report, first_header};
use drumline_protocol::{CommitId, OperationId, Partition};
use serde_json::{Value, json};

use super::*;
use crate::deployment::Grammar;
use crate::schema;

const GRAMMAR: Grammar = Grammar {
    recurrence_pattern: |_| Ok(()),
    recurrence_time_zone: |_| Ok(()),
    webhook_url: |_| Ok(()),
};

/// A value for an attribute with this schema, and not its default.
fn sample(name: &str, schema: &Value) -> Value {
    let kind = &schema["type"];
    let is = |wanted: &str| kind == wanted || kind[0] == wanted;
    match (name, schema["format"].as_str()) {
        ("tokenPolicy", _) => json!("hold"),
        ("retryPolicy", _) => json!({"maxRetries": 1}),
        ("retainJobHistory", _) => json!(false),
        (_, Some("uuid")) => json!("00000000-0000-0000-0000-000000000007"),
        ("notAfter", _) => json!("2026-11-18T12:06:40.000Z"),
        (_, Some("date-time")) => json!("2026-11-18T11:06:40.000Z"),
        (_, Some("uri")) => json!("https://example.org/ended"),
        _ if is("string") => json!("some-text"),
        _ if is("integer") => json!(7),
        _ if is("boolean") => json!(true),
        _ => json!({"any": [1, "json"]}),
    }
}

/// A create with every attribute.
fn everything() -> Map<String, Value> {
    let schema = schema::create_operation();
    let properties = schema["properties"].as_object().unwrap();
    let samples = properties.iter();
    samples
        .map(|(name, schema)| (name.clone(), sample(name, schema)))
        .collect()
}

fn read(given: &Map<String, Value>) -> CreateOperation {
    CreateOperation::from_json(json!(given).to_string().as_bytes(), &GRAMMAR).unwrap()
}

fn shown(request: CreateOperation) -> Value {
    let now = Timestamp::from_millis(1_795_000_000_000);
    let origin = Origin {
        organization: Organization::default(),
        owner: "anna".to_owned(),
        correlation_id: request.correlation_id.unwrap_or_default(),
        depth: 0,
        created_on: now,
        trace: TraceContext::default(),
    };
    let rules = request.rules(None, request.token_policy.unwrap_or_default());
    let operation = Operation {
        id: OperationId::new(now, Partition::new(0), [0; 16]),
        header: first_header(rules, None, CommitId(1), now),
        body: request.into_body(origin),
        report: Report::default(),
        sequence: 1,
    };
    serde_json::to_value(OperationView::from(&operation)).unwrap()
}

#[test]
fn what_is_given_is_stored_and_shown() {
    let mut given = everything();
    // These are times of the header, and do not go together.
    for name in [
        "postponeUntil",
        "recurrencePattern",
        "recurrenceStartTime",
        "recurrenceTimeZone",
    ] {
        given.remove(name);
    }
    let shown = shown(read(&given));
    for (name, value) in given {
        if name == "retryPolicy" {
            assert_eq!(shown[&name]["maxRetries"], value["maxRetries"]);
        } else {
            assert_eq!(shown[&name], value, "{name}");
        }
    }
}

#[test]
fn every_attribute_but_the_call_is_in_the_content() {
    // A series has no time to start, and an operation that has one is no series.
    for others in [
        &["postponeUntil", "notAfter"][..],
        &[
            "recurrencePattern",
            "recurrenceStartTime",
            "recurrenceTimeZone",
        ],
    ] {
        let mut given = everything();
        given.retain(|name, _| !others.contains(&name.as_str()));
        let before = read(&given).content();
        for name in given.keys().filter(|name| *name != "messageName") {
            let mut without = given.clone();
            without.remove(name);
            if name == "recurrencePattern" {
                without.remove("recurrenceStartTime");
                without.remove("recurrenceTimeZone");
            }
            let is_equal = read(&without).content() == before;
            assert_eq!(is_equal, name == "requestId", "{name}");
        }
    }
}

#[test]
fn times_to_start_must_fit_together() {
    for (other, value, why) in [
        (
            "postponeUntil",
            "2026-11-18T12:06:40.000Z",
            "must be later than postponeUntil, or it could never start",
        ),
        (
            "recurrencePattern",
            "FREQ=DAILY",
            "does not go with recurrencePattern: end the series with UNTIL",
        ),
    ] {
        let given = json!({"messageName": "a", "notAfter": "2026-11-18T12:06:40Z", other: value});
        let error = CreateOperation::from_json(given.to_string().as_bytes(), &GRAMMAR);
        let Err(crate::Error::Invalid(invalid)) = error else {
            panic!("{error:?}");
        };
        let noted = invalid.attributes.iter();
        let noted: Vec<_> = noted.map(|e| (e.name.as_str(), e.why.as_str())).collect();
        assert_eq!(noted, [("notAfter", why)]);
    }
}

#[test]
fn everything_that_is_wrong_is_noted_at_once() {
    let schema = schema::create_operation();
    let properties = schema["properties"].as_object().unwrap();
    // An empty list is wrong for every attribute but the payload.
    let wrong = properties.keys().filter(|name| *name != "data");
    let given: Map<String, Value> = wrong.map(|name| (name.clone(), json!([]))).collect();
    let error = CreateOperation::from_json(json!(given).to_string().as_bytes(), &GRAMMAR);
    let Err(crate::Error::Invalid(invalid)) = error else {
        panic!("{error:?}");
    };
    let noted: Vec<&str> = invalid.attributes.iter().map(|e| e.name.as_str()).collect();
    let expected = CreateOperation::NAMES
        .iter()
        .filter(|name| **name != "data");
    assert!(noted.iter().eq(expected), "{noted:?}");
}

#[test]
fn what_a_client_builds_can_be_read() {
    let new = NewOperation::new("Echo")
        .name("n")
        .token("t")
        .token_policy(TokenPolicy::Hold)
        .postpone_until(Timestamp::from_millis(0))
        .retry(draft::RetryPolicy::default().max_retries(3));
    let text = serde_json::to_vec(&new).unwrap();
    let request = CreateOperation::from_json(&text, &GRAMMAR).unwrap();
    let mut expected = CreateOperation::new("Echo");
    "n".clone_into(&mut expected.name);
    expected.dependency_token = DependencyToken::try_from("t".to_owned()).ok();
    expected.token_policy = Some(TokenPolicy::Hold);
    expected.postpone_until = Some(Timestamp::from_millis(0));
    expected.retry.max_retries = 3;
    assert_eq!(request, expected);
}

#[test]
fn a_filter_says_in_an_address_what_it_says_in_json() {
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
        .completed_before(Timestamp::from_millis(2));
    let mut of_address = ListFilter::default();
    for (name, value) in filter.pairs() {
        assert_eq!(of_address.set(name, value), Ok(true), "{name}");
    }
    let text = serde_json::to_string(&filter).unwrap();
    let mut given = Fields::of_body(text.as_bytes()).unwrap();
    assert_eq!(ListFilter::take(&mut given), of_address);
    assert_eq!(given.errors, []);
}
