//! Tenants: the operations of one do not exist for the others.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::{backend, manager};

const JSON: (&str, &str) = ("content-type", "application/json");
const CONTOSO: (&str, &str) = ("Drumline-Organization", "contoso");
const FABRIKAM: (&str, &str) = ("Drumline-Organization", "fabrikam");

async fn create(client: &Client, who: &[(&str, &str)], body: &Value) -> Answer {
    let mut headers = vec![JSON];
    headers.extend(who);
    let body = body.to_string();
    let answer = client.send("POST", "/v1/operations", &headers, body).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer
}

#[tokio::test(start_paused = true)]
async fn an_operation_shows_who_created_it() {
    let client = Client::of(&manager(&backend()));
    let jo = ("Drumline-Caller", "jo@contoso.example");
    let body = json!({"messageName": "a"});
    let named = create(&client, &[CONTOSO, jo], &body).await;
    assert_eq!(named.json["organization"], "contoso");
    assert_eq!(named.json["ownerId"], "jo@contoso.example");
    assert_eq!(named.json["createdBy"], "jo@contoso.example");
    let unnamed = create(&client, &[], &body).await;
    assert_eq!(unnamed.json["organization"], "default");
    assert_eq!(unnamed.json["ownerId"], "anonymous");
}

#[tokio::test(start_paused = true)]
async fn an_operation_does_not_exist_for_other_organizations() {
    let client = Client::of(&manager(&backend()));
    let id = create(&client, &[CONTOSO], &json!({"messageName": "a"})).await;
    let id = id.id();
    let path = format!("/v1/operations/{id}");
    let until = r#"{"postponeUntil": "2099-01-01T00:00:00Z"}"#;
    let asks = [
        ("GET", path.clone(), ""),
        ("GET", format!("{path}?wait=30s"), ""),
        ("GET", format!("{path}?explain=true"), ""),
        ("GET", format!("{path}/history"), ""),
        ("GET", format!("{path}/attempts"), ""),
        ("PATCH", path.clone(), r#"{"stateCode": 3}"#),
        ("PATCH", path.clone(), r#"{"stateCode": 2}"#),
        ("POST", format!("{path}/pause"), ""),
        ("POST", format!("{path}/resume"), ""),
        ("POST", format!("{path}/postpone"), until),
        ("POST", format!("{path}/cancel"), ""),
        ("DELETE", path.clone(), ""),
    ];
    for who in [&[FABRIKAM][..], &[]] {
        for (method, path, body) in &asks {
            let mut headers = who.to_vec();
            headers.push(JSON);
            let answer = client.send(method, path, &headers, *body).await;
            let about = format!("{method} {path} by {who:?}: {answer:?}");
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{about}");
            assert_eq!(answer.json["name"], "ObjectDoesNotExist", "{about}");
        }
    }
    let mine = client.send("GET", &path, &[CONTOSO], "").await;
    assert_eq!(mine.json["status"], "WaitingForResources", "{mine:?}");
}

#[tokio::test(start_paused = true)]
async fn lists_and_bulk_actions_select_the_callers_own() {
    let client = Client::of(&manager(&backend()));
    for (who, name) in [(CONTOSO, "c"), (FABRIKAM, "f"), (CONTOSO, "c")] {
        let body = json!({"messageName": "a", "name": name, "dependencyToken": "same"});
        create(&client, &[who], &body).await;
    }
    for (who, names) in [
        (&[CONTOSO][..], &["c", "c"][..]),
        (&[FABRIKAM], &["f"]),
        (&[], &[]),
    ] {
        for filter in ["", "?messageName=a", "?dependencyToken=same"] {
            let path = format!("/v1/operations{filter}");
            let listed = client.send("GET", &path, who, "").await;
            assert_eq!(listed.names(), names, "{path} by {who:?}");
        }
    }
    let path = "/v1/operations/cancel?all=true";
    let canceled = client.send("POST", path, &[CONTOSO], "").await;
    assert_eq!(canceled.json["done"], 2, "{canceled:?}");
    let left = client.send("GET", "/v1/operations?state=Ready", &[FABRIKAM], "");
    assert_eq!(left.await.names(), ["f"]);
}

#[tokio::test(start_paused = true)]
async fn an_idempotency_key_is_one_of_its_organization() {
    let client = Client::of(&manager(&backend()));
    let key = ("Idempotency-Key", "k");
    let body = json!({"messageName": "a"});
    let first = create(&client, &[CONTOSO, key], &body).await;
    let other = create(&client, &[FABRIKAM, key], &body).await;
    let again = create(&client, &[CONTOSO, key], &body).await;
    assert_ne!(first.id(), other.id());
    assert_eq!(first.id(), again.id());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_named_is_refused_everywhere() {
    let client = Client::of(&manager(&backend()));
    for (method, path) in [
        ("POST", "/v1/operations"),
        ("GET", "/v1/operations"),
        ("GET", "/v1/operations/00000000-0000-7000-8000-000000000000"),
        ("POST", "/v1/operations/cancel?all=true"),
        ("POST", "/v1/execute"),
        ("GET", "/v1/events"),
        ("GET", "/v1/workers"),
    ] {
        let headers = [JSON, ("Drumline-Organization", "")];
        let answer = client.send(method, path, &headers, "{}").await;
        let about = format!("{method} {path}: {answer:?}");
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{about}");
        let named = &answer.json["attributes"][0]["name"];
        assert_eq!(named, "Drumline-Organization", "{about}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_of_another_organization_is_as_one_that_is_not_there() {
    let client = Client::of(&manager(&backend()));
    let mut parent = create(&client, &[CONTOSO], &json!({"messageName": "a"})).await;
    // As deep as it may be: below it, only Contoso is refused.
    for _ in 0..8 {
        let below = json!({"messageName": "a", "parentId": parent.json["id"]});
        parent = create(&client, &[CONTOSO], &below).await;
    }
    let target = json!({"messageName": "a", "parentId": parent.json["id"]});
    let alone = create(&client, &[FABRIKAM], &target).await.json;
    let execute = async |name: &str, parameters: Value| {
        let body = json!({"requestName": name, "parameters": parameters}).to_string();
        let answer = client.send("POST", "/v1/execute", &[JSON, FABRIKAM], body);
        let answer = answer.await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json["results"].clone()
    };
    let item = json!({"requestName": "Create", "parameters": {"target": target}});
    let settings = json!({"returnResponses": true});
    let items = json!({"requests": [item], "settings": settings});
    let batch = execute("ExecuteMultiple", items).await;
    let in_batch = &batch["responses"][0]["response"]["results"]["id"];
    let found = execute("Retrieve", json!({"id": in_batch})).await;
    for operation in [&alone, &found["operation"]] {
        assert_eq!(operation["depth"], 0, "{operation}");
        assert_ne!(operation["correlationId"], parent.json["correlationId"]);
    }
}
