//! The shapes on the wire.

use drumline_protocol::{ErrorCode, State};
use serde_json::json;
use serde_json::value::RawValue;

use super::*;
use crate::list::Paging;
use crate::{Filter, NewOperation, Update};

fn response(text: &str) -> OrganizationResponse {
    let text = RawValue::from_string(text.to_owned()).unwrap();
    OrganizationResponse::read(&text).unwrap()
}

#[test]
fn each_request_has_its_parameters() {
    let create = OrganizationRequest::Create(Box::new(NewOperation::new("A").idempotency_key("k")));
    let delete = OrganizationRequest::Delete { id: "7".to_owned() };
    let update = OrganizationRequest::Update {
        id: "7".to_owned(),
        changes: Update::new().state(State::Ready),
    };
    let page = RetrieveMultiple {
        filter: Filter::new().state(State::Ready).message_name("A"),
        paging: Paging {
            limit: Some(2),
            cursor: None,
        },
    };
    let later = AsyncRequest::new("ImportSolution");
    let later = later.parameters(&json!({"a": 1})).unwrap();
    let settings = BatchSettings {
        continue_on_error: true,
        return_responses: false,
    };
    for (request, expected) in [
        (
            create,
            json!({"requestName": "Create", "parameters": {"target": {"messageName": "A"}, "idempotencyKey": "k"}}),
        ),
        (
            OrganizationRequest::Retrieve(Retrieve::by_name("n").columns(["id", "status"])),
            json!({"requestName": "Retrieve", "parameters": {"name": "n", "columnSet": ["id", "status"]}}),
        ),
        (
            OrganizationRequest::RetrieveMultiple(Box::new(page)),
            json!({"requestName": "RetrieveMultiple", "parameters": {"filter": {"state": 0, "messageName": "A"}, "limit": 2}}),
        ),
        (
            update.clone(),
            json!({"requestName": "Update", "parameters": {"target": {"id": "7", "stateCode": 0}}}),
        ),
        (
            OrganizationRequest::ExecuteAsync(later),
            json!({"requestName": "ExecuteAsync", "parameters": {"request": {"requestName": "ImportSolution", "parameters": {"a": 1}}}}),
        ),
        (
            OrganizationRequest::ExecuteMultiple {
                requests: vec![delete.clone()],
                settings,
            },
            json!({"requestName": "ExecuteMultiple", "parameters": {
                "requests": [{"requestName": "Delete", "parameters": {"id": "7"}}],
                "settings": {"continueOnError": true, "returnResponses": false},
            }}),
        ),
        (
            OrganizationRequest::ExecuteTransaction {
                requests: vec![update],
                return_responses: true,
            },
            json!({"requestName": "ExecuteTransaction", "parameters": {
                "requests": [{"requestName": "Update", "parameters": {"target": {"id": "7", "stateCode": 0}}}],
                "returnResponses": true,
            }}),
        ),
    ] {
        assert_eq!(serde_json::to_value(&request).unwrap(), expected);
    }
}

#[test]
fn a_batch_is_safe_to_repeat_where_each_item_is() {
    let keyed = OrganizationRequest::Create(Box::new(NewOperation::new("A").idempotency_key("k")));
    let bare = OrganizationRequest::Create(Box::new(NewOperation::new("A")));
    let batch = |requests| OrganizationRequest::ExecuteMultiple {
        requests,
        settings: BatchSettings::default(),
    };
    assert!(batch(vec![keyed.clone()]).may_be_repeated());
    assert!(!batch(vec![keyed, bare]).may_be_repeated());
}

#[test]
fn the_answers_of_a_batch_are_told_apart() {
    let answer = response(
        r#"{"responseName":"ExecuteMultiple","results":{"isFaulted":true,"responses":[
            {"requestIndex":0,"response":{"responseName":"Create","results":{"id":"a"}},"fault":null},
            {"requestIndex":1,"response":null,"fault":null},
            {"requestIndex":2,"response":{"responseName":"Update","results":null},"fault":null},
            {"requestIndex":3,"response":null,"fault":{"errorCode":"0x80040217","name":"ObjectDoesNotExist","message":"gone","errorDetails":{},"timestamp":"t"}}
        ]}}"#,
    );
    let OrganizationResponse::ExecuteMultiple {
        is_faulted,
        responses,
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert!(is_faulted);
    let outcomes: Vec<_> = responses.into_iter().map(|item| item.outcome).collect();
    assert!(
        matches!(&outcomes[0], Ok(Some(OrganizationResponse::Create { id, existed: false })) if id == "a"),
        "{outcomes:?}"
    );
    assert!(matches!(outcomes[1], Ok(None)));
    assert!(matches!(
        outcomes[2],
        Ok(Some(OrganizationResponse::Update))
    ));
    let fault = outcomes[3].as_ref().unwrap_err();
    assert_eq!(fault.error_code, ErrorCode::NOT_FOUND);
    assert_eq!(fault.to_string(), "gone");
}

#[test]
fn columns_are_read_by_name() {
    let answer =
        response(r#"{"responseName":"Retrieve","results":{"operation":{"id":"a","data":1.10}}}"#);
    let OrganizationResponse::Retrieve(retrieved) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(retrieved.attributes().unwrap()["id"], "a");
    assert!(retrieved.operation().is_err());
}

#[test]
fn a_transaction_may_answer_nothing() {
    for text in [
        r#"{"responseName":"ExecuteTransaction","results":{"responses":[]}}"#,
        r#"{"responseName":"ExecuteTransaction","results":null}"#,
        r#"{"responseName":"ExecuteTransaction"}"#,
    ] {
        let answer = response(text);
        assert!(
            matches!(&answer, OrganizationResponse::ExecuteTransaction { responses } if responses.is_empty()),
            "{text}"
        );
    }
}

#[test]
fn an_unknown_response_is_an_error() {
    let text = RawValue::from_string(r#"{"responseName":"Merge","results":{}}"#.to_owned());
    assert!(OrganizationResponse::read(&text.unwrap()).is_err());
}
