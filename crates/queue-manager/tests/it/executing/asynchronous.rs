//! `ExecuteAsync`: answered at once, executed later, one at a time.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::Ids;
use drumline_protocol::message::Source;
use drumline_protocol::{ErrorCode, Event, Fault, TokenPolicy};
use drumline_queue_manager::{Options, QueueManager};
use serde_json::{Value, json};

use super::{executed, id, keyed, request};
use crate::support::client::Client;
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, stored};

fn import(file: &str) -> Value {
    let later = json!({"requestName": "ImportSolution", "parameters": {"file": file}});
    request("ExecuteAsync", json!({"request": later}))
}

#[tokio::test(start_paused = true)]
async fn the_request_becomes_an_operation() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let started = executed(&client, &import("a.zip")).await;
    let shown = client
        .get(&format!("/v1/operations/{}", id(&started)))
        .await;
    let expected = json!({
        "messageName": "ImportSolution", "name": "ImportSolution", "operationType": 54,
        "data": {"file": "a.zip"}, "dependencyToken": null, "statusCode": 0,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&shown.json[name], value, "{name}");
    }
    Worker::new(&backend).run(id(&started)).await;
    assert_eq!(client.status(id(&started)).await, "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_organization_run_one_at_a_time_in_order_of_arrival() {
    let backend = backend();
    // Two managers: the order is the store's.
    let clients = [
        Client::of(&manager(&backend)),
        Client::of(&manager(&backend)),
    ];
    let first = id(&executed(&clients[0], &import("1")).await);
    let items = json!([import("2"), import("3")]);
    let settings = json!({"returnResponses": true});
    let batch = json!({"requests": items, "settings": settings});
    let batch = executed(&clients[1], &request("ExecuteMultiple", batch)).await;
    let of_batch = |n: usize| id(&batch["responses"][n]["response"]["results"]);
    let (second, third) = (of_batch(0), of_batch(1));
    let fourth = id(&executed(&clients[0], &import("4")).await);
    let all = [first, second, third, fourth];
    assert!(all.iter().all(|id| id.partition() == first.partition()));

    let mut lane = Listener::of(&backend, Source::Lane(first.partition())).await;
    let worker = Worker::new(&backend);
    for id in all {
        assert_eq!(lane.hear(Duration::from_secs(5)).await, [id]);
        let fence = worker.claim(id).await;
        assert!(lane.hear(Duration::from_secs(5)).await.is_empty());
        worker.succeed(id, fence).await;
    }
    for id in all {
        assert_eq!(stored(&backend, id).await.header.starts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_never_stops_the_others_whatever_is_usual_for_tokens() {
    let backend = backend();
    let options = Options {
        token_policy: TokenPolicy::Hold,
        ..Options::default()
    };
    let client = Client::of(&QueueManager::new(backend.clone(), Ids::random(), options));
    let first = id(&executed(&client, &import("1")).await);
    let second = id(&executed(&client, &import("2")).await);
    let worker = Worker::new(&backend);
    let fence = worker.claim(first).await;
    let fault = Fault::new(ErrorCode::HANDLER_FAILED, "", "");
    worker.say(first, fence, Event::Fail(fault)).await;
    assert!(!stored(&backend, first).await.header.holding);
    worker.run(second).await;
}

#[tokio::test(start_paused = true)]
async fn organizations_do_not_wait_for_each_other() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    executed(&client, &import("1")).await;
    let headers = [
        ("content-type", "application/json"),
        ("drumline-organization", "contoso"),
    ];
    let body = import("2").to_string();
    let other = client.send("POST", "/v1/execute", &headers, body).await;
    worker.run(id(&other.json["results"])).await;
}

#[tokio::test(start_paused = true)]
async fn only_requests_that_the_deployment_lists_are_taken() {
    let asking = |name: &str| request("ExecuteAsync", json!({"request": {"requestName": name}}));
    let client = Client::of(&manager(&backend()));
    let refused = client.post("/v1/execute", &asking("PublishAll")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json["errorCode"], json!("0x80040203"));
    let attribute = &refused.json["attributes"][0];
    assert_eq!(attribute["name"], json!("parameters.request.requestName"));
    assert!(
        attribute["detail"]
            .as_str()
            .is_some_and(|why| why.contains("ImportSolution"))
    );

    let options = Options {
        async_requests: vec!["*".to_owned()],
        ..Options::default()
    };
    let any = Client::of(&QueueManager::new(backend(), Ids::random(), options));
    executed(&any, &asking("PublishAll")).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_makes_it_repeatable() {
    let client = Client::of(&manager(&backend()));
    let first = keyed(&client, "k", &import("1")).await;
    let again = keyed(&client, "k", &import("1")).await;
    assert_eq!(first.json["results"], again.json["results"]);
    let other = keyed(&client, "k", &import("2")).await;
    assert_eq!(other.json["name"], json!("IdempotencyKeyReused"));
}

#[tokio::test(start_paused = true)]
async fn queue_retries_and_times_can_be_given() {
    let client = Client::of(&manager(&backend()));
    let later = json!({"requestName": "ImportSolution", "parameters": {}});
    let given = json!({
        "request": later, "queue": "imports", "notAfter": "2099-01-01T00:00:00.000Z",
        "retryPolicy": {"maxRetries": 1},
    });
    let started = executed(&client, &request("ExecuteAsync", given)).await;
    let shown = client
        .get(&format!("/v1/operations/{}", id(&started)))
        .await;
    assert_eq!(shown.json["queue"], "imports");
    assert_eq!(shown.json["notAfter"], "2099-01-01T00:00:00.000Z");
    assert_eq!(shown.json["retryPolicy"]["maxRetries"], 1);

    let wrong = json!({"request": later, "queue": "Upper", "colour": 1});
    let refused = client
        .post("/v1/execute", &request("ExecuteAsync", wrong))
        .await;
    let attributes = refused.json["attributes"].as_array().expect("attributes");
    let names: Vec<_> = attributes.iter().map(|wrong| &wrong["name"]).collect();
    assert_eq!(names, ["parameters.queue", "parameters.colour"]);
}

#[tokio::test(start_paused = true)]
async fn the_limit_does_not_depend_on_the_way_that_a_request_takes() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    let first = id(&executed(&client, &import("1")).await);
    let second = client
        .create(&json!({"messageName": "ImportSolution"}))
        .await;
    // These have another order, or none.
    let with_token = json!({"messageName": "ImportSolution", "dependencyToken": "t"});
    let with_token = client.create(&with_token).await;
    let of_another_name = client.create(&json!({"messageName": "Import"})).await;
    let waits = client
        .get(&format!("/v1/operations/{second}?explain=true"))
        .await;
    assert_eq!(waits.json["waitingFor"]["operationId"], first.to_string());
    worker.run(with_token).await;
    worker.run(of_another_name).await;
    worker.run(first).await;
    worker.run(second).await;
}
