//! `POST /v1/execute`: one request at a time. Batches, transactions and
//! asynchronous requests have files of their own.

mod asynchronous;
mod batches;
mod batches_of_creates;
mod refusals;
mod transactions;

use axum::http::StatusCode;
use drumline_protocol::OperationId;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::worker::Worker;
use crate::support::{backend, manager};

/// The JSON of a request.
fn request(name: &str, parameters: Value) -> Value {
    json!({"requestName": name, "parameters": parameters})
}

/// The JSON of a create.
fn create(name: &str) -> Value {
    request(
        "Create",
        json!({"target": {"messageName": "a", "name": name}}),
    )
}

/// Asks, and expects an answer without a fault: its results.
async fn executed(client: &Client, request: &Value) -> Value {
    let answer = client.post("/v1/execute", request).await;
    assert_eq!(answer.status, StatusCode::OK, "{request}: {answer:?}");
    assert_eq!(answer.json["responseName"], request["requestName"]);
    answer.json["results"].clone()
}

/// The id in the results of a create.
fn id(results: &Value) -> OperationId {
    let id = results["id"].as_str().or(results["asyncJobId"].as_str());
    id.and_then(|id| id.parse().ok()).expect("an id")
}

/// The names of all operations, sorted.
async fn names(client: &Client) -> Vec<String> {
    let listed = client.get("/v1/operations?limit=500").await;
    let operations = listed.json["operations"].as_array().cloned();
    let name = |operation: &Value| operation["name"].as_str().map(str::to_owned);
    let mut names: Vec<_> = operations.iter().flatten().filter_map(name).collect();
    names.sort();
    names
}

/// Asks with an idempotency key.
async fn keyed(client: &Client, key: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    client
        .send("POST", "/v1/execute", &headers, body.to_string())
        .await
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_created_shown_changed_and_removed() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let target = json!({"messageName": "a", "name": "contoso", "data": {"x": 1.50}});
    let created = executed(&client, &request("Create", json!({"target": target}))).await;
    let id = id(&created);
    let one = json!({"id": id.to_string()});

    let shown = executed(&client, &request("Retrieve", one.clone())).await;
    let direct = client.get(&format!("/v1/operations/{id}")).await;
    assert_eq!(shown["operation"], direct.json);

    let until = "2099-01-01T00:00:00Z";
    let target = json!({"id": id.to_string(), "postponeUntil": until});
    let updated = executed(&client, &request("Update", json!({"target": target}))).await;
    assert_eq!(updated, Value::Null);
    assert_eq!(client.status(id).await, "Waiting");
    for (state, status) in [(0, "WaitingForResources"), (1, "Waiting"), (3, "Canceled")] {
        let target = json!({"id": id.to_string(), "stateCode": state});
        executed(&client, &request("Update", json!({"target": target}))).await;
        assert_eq!(client.status(id).await, status);
    }

    let deleted = executed(&client, &request("Delete", one.clone())).await;
    assert_eq!(deleted, Value::Null);
    let gone = client.post("/v1/execute", &request("Retrieve", one)).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(gone.json["errorCode"], json!("0x80040217"));
    assert_eq!(gone.json["message"], gone.json["detail"]);
    assert_eq!(gone.json["errorDetails"], json!({}));
    assert!(gone.json["timestamp"].is_string());
}

#[tokio::test(start_paused = true)]
async fn the_newest_with_a_name_is_found_and_shown_in_part() {
    let client = Client::of(&manager(&backend()));
    executed(&client, &create("b")).await;
    executed(&client, &create("a")).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let newest = executed(&client, &create("a")).await;
    executed(&client, &create("c")).await;
    let look = json!({"name": "a", "columnSet": ["statusCode", "name", "data"]});
    let found = executed(&client, &request("Retrieve", look)).await;
    let part = json!({"id": newest["id"], "statusCode": 0, "name": "a", "data": null});
    assert_eq!(found["operation"], part);
    let missing = request("Retrieve", json!({"name": "d"}));
    let missing = client.post("/v1/execute", &missing).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn operations_are_listed_by_every_condition_and_page_by_page() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let target = json!({
        "messageName": "b", "name": "x", "dependencyToken": "t", "operationType": 203,
        "correlationId": "67e55044-10b1-426f-9247-bb680e5fe0c8",
    });
    let wanted = executed(&client, &request("Create", json!({"target": target}))).await;
    for n in 0..3 {
        executed(&client, &create(&n.to_string())).await;
    }
    let finished = executed(&client, &create("done")).await;
    Worker::new(&backend).run(id(&finished)).await;
    let conditions = [
        (json!({"name": "x"}), 1),
        (json!({"messageName": "b"}), 1),
        (json!({"dependencyToken": "t"}), 1),
        (json!({"operationType": 203}), 1),
        (
            json!({"correlationId": "67e55044-10b1-426f-9247-bb680e5fe0c8"}),
            1,
        ),
        (json!({"state": "Completed"}), 1),
        (json!({"state": 0}), 4),
        (json!({"status": "30"}), 1),
        (
            json!({"status": "waitingforresources", "messageName": "a"}),
            3,
        ),
        (json!({"createdAfter": "2099-01-01T00:00:00Z"}), 0),
        (json!({}), 5),
    ];
    for (filter, count) in conditions {
        let search = request("RetrieveMultiple", json!({"filter": filter}));
        let found = executed(&client, &search).await;
        let found = found["operations"].as_array().expect("a list");
        assert_eq!(found.len(), count, "{filter}");
        if count == 1 && filter["name"] == "x" {
            assert_eq!(found[0]["id"], wanted["id"]);
        }
    }
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let search = json!({"limit": 2, "cursor": cursor});
        let page = executed(&client, &request("RetrieveMultiple", search)).await;
        let operations = page["operations"].as_array().cloned().expect("a list");
        assert!(operations.len() <= 2);
        seen.extend(operations.iter().map(|operation| operation["id"].clone()));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_id_of_the_request_goes_into_what_it_creates() {
    let client = Client::of(&manager(&backend()));
    let outer = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let mut asked = create("a");
    asked["requestId"] = json!(outer);
    let created = id(&executed(&client, &asked).await);
    let shown = client.get(&format!("/v1/operations/{created}")).await;
    assert_eq!(shown.json["requestId"], json!(outer));
}

#[tokio::test(start_paused = true)]
async fn a_key_makes_a_create_repeatable_in_the_header_and_in_the_parameters() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let asked = create("a");
    let first = keyed(&client, "k", &asked).await;
    let mut again = asked.clone();
    again["parameters"]["idempotencyKey"] = json!("k");
    // Another call of the same content.
    again["requestId"] = json!("67e55044-10b1-426f-9247-bb680e5fe0c8");
    let again = client.post("/v1/execute", &again).await;
    let first_id = id(&first.json["results"]);
    assert_eq!(id(&again.json["results"]), first_id);
    assert_eq!(first.json["results"]["existed"], Value::Null);
    assert_eq!(again.json["results"]["existed"], json!(true));
    // The same key on the operations' own address is the same key.
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let body = r#"{"messageName": "a", "name": "a"}"#;
    let direct = client.send("POST", "/v1/operations", &headers, body).await;
    assert_eq!(direct.status, StatusCode::OK);
    assert_eq!(direct.json["id"], first.json["results"]["id"]);

    let other = keyed(&client, "k", &create("b")).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.json["errorCode"], json!("0x8D000007"));

    let mut both = asked;
    both["parameters"]["idempotencyKey"] = json!("l");
    let both = keyed(&client, "k", &both).await;
    assert_eq!(both.status, StatusCode::UNPROCESSABLE_ENTITY);
    let of_no_create = keyed(&client, "k", &request("RetrieveMultiple", json!({}))).await;
    assert_eq!(of_no_create.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        of_no_create.json["attributes"][0]["name"],
        json!("Idempotency-Key")
    );
    assert_eq!(names(&client).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn organizations_do_not_see_each_other() {
    let client = Client::of(&manager(&backend()));
    let ask = async |organization: &str, body: &Value| {
        let headers = [
            ("content-type", "application/json"),
            ("drumline-organization", organization),
        ];
        client
            .send("POST", "/v1/execute", &headers, body.to_string())
            .await
    };
    let created = ask("contoso", &create("a")).await;
    let one = json!({"id": created.json["results"]["id"]});
    let update = json!({"target": {"id": one["id"], "stateCode": 3}});
    for asked in [
        request("Retrieve", one.clone()),
        request("Retrieve", json!({"name": "a"})),
        request("Update", update.clone()),
        request("Delete", one),
    ] {
        let answer = ask("fabrikam", &asked).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{asked}");
    }
    let transaction = json!({"requests": [request("Update", update)]});
    let answer = ask("fabrikam", &request("ExecuteTransaction", transaction)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let listed = ask("fabrikam", &request("RetrieveMultiple", json!({}))).await;
    assert_eq!(listed.json["results"]["operations"], json!([]));
}
