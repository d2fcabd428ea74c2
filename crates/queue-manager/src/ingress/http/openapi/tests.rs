//! The document agrees with the answers, with the requests, and with its copy.

use std::collections::BTreeSet;

use drumline_api::CreateOperation;
use drumline_api::history::{ActorView, EntryView, HistoryView};
use drumline_api::view::{OperationView, RetryPolicyView};
use drumline_protocol::operation::{Report, first_header};
use drumline_protocol::{Body, CommitId, OperationId, Partition, Rules, Timestamp};
use serde_json::Value;

use super::*;
use crate::ingress::http::openapi_json;
use crate::options::GRAMMAR;

fn document() -> Value {
    serde_json::from_str(&openapi_json()).unwrap()
}

fn properties(schema: &str) -> BTreeSet<String> {
    let document = document();
    let schema = &document["components"]["schemas"][schema];
    let properties = schema["properties"].as_object().unwrap();
    properties.keys().cloned().collect()
}

fn members(value: &impl Serialize) -> BTreeSet<String> {
    let value = serde_json::to_value(value).unwrap();
    value.as_object().unwrap().keys().cloned().collect()
}

fn operation() -> drumline_protocol::Operation {
    let now = Timestamp::from_millis(1_795_000_000_000);
    let rules = Rules::default();
    drumline_protocol::Operation {
        id: OperationId::new(now, Partition::new(0), [0; 16]),
        header: first_header(rules, None, CommitId(1), now),
        body: Body::new("a", now),
        report: Report::default(),
        sequence: 1,
    }
}

#[test]
fn an_operation_is_described_as_it_is_sent() {
    let mut view = OperationView::from(&operation());
    // Left out unless a single series is requested.
    view.next_occurrences = Some(Vec::new());
    assert_eq!(properties("Operation"), members(&view));
    assert_eq!(
        properties("RetryPolicy"),
        members(&RetryPolicyView::default())
    );
}

#[test]
fn a_history_is_described_as_it_is_sent() {
    let entry = EntryView {
        number: 1,
        at: String::new(),
        event: String::new(),
        state: String::new(),
        status: String::new(),
        attempt: 1,
        actor: ActorView {
            kind: String::new(),
            name: String::new(),
        },
        until: Some(String::new()),
        error_code: Some(String::new()),
        reason: Some(String::new()),
    };
    assert_eq!(properties("HistoryEntry"), members(&entry));
    assert_eq!(properties("HistoryActor"), members(&entry.actor));
    assert_eq!(properties("History"), members(&HistoryView::default()));
}

#[test]
fn every_attribute_that_is_described_is_read() {
    for name in properties("NewOperation") {
        // A value that is wrong for every attribute but `data`: the message is
        // about the value, and not about an unknown name.
        let body = format!(r#"{{"{name}": [1]}}"#);
        let refused = CreateOperation::from_json(body.as_bytes(), &GRAMMAR).unwrap_err();
        assert!(!refused.to_string().contains("unknown"), "{refused}");
    }
}

#[test]
fn the_committed_copy_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == openapi_json(),
        "docs/openapi.json is not what the code says: run `make openapi` and commit it"
    );
}
