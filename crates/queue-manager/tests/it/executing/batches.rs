//! `ExecuteMultiple`: every rule of the batch table.

use std::net::SocketAddr;

use axum::http::StatusCode;
use drumline_backend::Ids;
use drumline_queue_manager::options::Admission;
use drumline_queue_manager::{Actor, Options, QueueManager, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{create, executed, id, names, request};
use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::Worker;
use crate::support::{backend, manager, until};

pub(super) fn batch(items: &[Value], continue_on_error: bool, return_responses: bool) -> Value {
    let settings = json!({
        "continueOnError": continue_on_error, "returnResponses": return_responses,
    });
    request(
        "ExecuteMultiple",
        json!({"requests": items, "settings": settings}),
    )
}

/// The places of the responses, with true for each fault.
fn places(results: &Value) -> Vec<(u64, bool)> {
    let responses = results["responses"].as_array().expect("a list");
    let place = |response: &Value| {
        let members: Vec<_> = response.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["fault", "requestIndex", "response"]);
        let index = response["requestIndex"].as_u64().expect("a place");
        (index, !response["fault"].is_null())
    };
    responses.iter().map(place).collect()
}

/// Asks over a connection of its own.
async fn ask(server: SocketAddr, method: &str, path: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).expect("JSON")
}

/// Six items of which the third and the fifth fault, in several ways.
fn six_items() -> Vec<(&'static str, Vec<Value>)> {
    let invalid = request("Create", json!({"target": {"messageName": ""}}));
    let too_deep_to_read = request("Create", json!({"target": {"nonsense": 1}}));
    let missing = request("Delete", json!({"id": "no such thing"}));
    let unknown = request("Nonsense", json!({}));
    let list = request("RetrieveMultiple", json!({}));
    let with = |third: &Value, fifth: &Value, filler: &dyn Fn(&str) -> Value| {
        let at = |n: usize| filler(&n.to_string());
        vec![at(1), at(2), third.clone(), at(4), fifth.clone(), at(6)]
    };
    let every_other = |name: &str| {
        if name == "2" {
            list.clone()
        } else {
            create(name)
        }
    };
    vec![
        (
            "creates in one run",
            with(&invalid, &too_deep_to_read, &create),
        ),
        ("creates and others", with(&missing, &unknown, &every_other)),
        ("reads only", with(&missing, &invalid, &|_| list.clone())),
    ]
}

#[tokio::test]
async fn the_batch_table_holds_on_the_running_service() {
    // continueOnError, returnResponses, the places that come back.
    let table: [(bool, bool, &[u64]); 4] = [
        (true, true, &[0, 1, 2, 3, 4, 5]),
        (false, true, &[0, 1, 2]),
        (true, false, &[2, 4]),
        (false, false, &[2]),
    ];
    for (what, items) in six_items() {
        for (continue_on_error, return_responses, expected) in table {
            let about = format!("{what}: {continue_on_error}, {return_responses}");
            let manager = manager(&backend());
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            let server = Server::start(listen, manager.clone())
                .await
                .expect("a port");
            let address = server.address();
            let body = batch(&items, continue_on_error, return_responses);
            let answer = ask(address, "POST", "/v1/execute", &body.to_string()).await;
            let results = &answer["results"];
            assert_eq!(results["isFaulted"], json!(true), "{about}");
            let faults = expected
                .iter()
                .map(|place| (*place, matches!(place, 2 | 4)));
            assert_eq!(
                places(results),
                faults.collect::<Vec<_>>(),
                "{about}: {answer}"
            );
            for response in results["responses"].as_array().expect("a list") {
                let fault = &response["fault"];
                assert_eq!(response["response"].is_null(), !fault.is_null(), "{about}");
                if !fault.is_null() {
                    for member in ["errorCode", "name", "message", "timestamp"] {
                        assert!(fault[member].is_string(), "{about}: {member}: {fault}");
                    }
                    assert!(fault["errorDetails"].is_object(), "{about}: {fault}");
                }
            }
            // The items before the end of the batch were executed.
            let last = if continue_on_error { 6 } else { 2 };
            let done = items[..last].iter().filter_map(|item| {
                let name = item["parameters"]["target"]["name"].as_str();
                name.map(str::to_owned)
            });
            let listed = ask(address, "GET", "/v1/operations", "").await;
            let mut names: Vec<_> = listed["operations"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(|operation| operation["name"].as_str().map(str::to_owned))
                .collect();
            names.sort();
            assert_eq!(names, done.collect::<Vec<_>>(), "{about}");
            manager.close().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_settings_the_first_fault_ends_it_and_only_faults_come_back() {
    let client = Client::of(&manager(&backend()));
    let items = [create("1"), request("Nonsense", json!({})), create("3")];
    let results = executed(
        &client,
        &request("ExecuteMultiple", json!({"requests": items})),
    )
    .await;
    assert_eq!(places(&results), [(1, true)]);
    assert_eq!(names(&client).await, ["1"]);
    let empty = executed(
        &client,
        &request("ExecuteMultiple", json!({"requests": []})),
    )
    .await;
    assert_eq!(empty, json!({"isFaulted": false, "responses": []}));
}

#[tokio::test(start_paused = true)]
async fn items_run_in_order_and_those_that_answer_nothing_have_a_null_response() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let done = id(&executed(&client, &create("done")).await);
    Worker::new(&backend).run(done).await;
    let waiting = id(&executed(&client, &create("waiting")).await);
    let target = |state: u8| json!({"target": {"id": waiting.to_string(), "stateCode": state}});
    let look = json!({"id": waiting.to_string(), "columnSet": ["status"]});
    let items = [
        request("Update", target(1)),
        request("Retrieve", look.clone()),
        request("Update", target(3)),
        request("Retrieve", look.clone()),
        request("Delete", json!({"id": done.to_string()})),
        // Not twice.
        request("Delete", json!({"id": done.to_string()})),
        request("Delete", json!({"id": waiting.to_string()})),
        request("Retrieve", look),
    ];
    let results = executed(&client, &batch(&items, true, true)).await;
    let faults: Vec<bool> = places(&results).iter().map(|(_, fault)| *fault).collect();
    assert_eq!(
        faults,
        [false, false, false, false, false, true, false, true]
    );
    let response = |n: usize| &results["responses"][n]["response"];
    for nothing in [0, 2, 4, 6] {
        assert_eq!(response(nothing), &Value::Null);
    }
    assert_eq!(response(1)["responseName"], json!("Retrieve"));
    let shown = |n: usize| &response(n)["results"]["operation"]["status"];
    assert_eq!(
        (shown(1), shown(3)),
        (&json!("Waiting"), &json!("Canceled"))
    );
    assert!(names(&client).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_a_batch_is_a_fault_for_that_item_alone() {
    let client = Client::of(&manager(&backend()));
    let items = [create("1"), batch(&[create("2")], true, true), create("3")];
    let results = executed(&client, &batch(&items, true, true)).await;
    assert_eq!(places(&results), [(0, false), (1, true), (2, false)]);
    let fault = &results["responses"][1]["fault"];
    assert_eq!(fault["errorCode"], json!("0x80040203"));
    assert_eq!(
        fault["errorDetails"]["Attributes"][0]["name"],
        json!("requestName")
    );
    assert_eq!(names(&client).await, ["1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_may_be_an_item() {
    let client = Client::of(&manager(&backend()));
    let transaction = |requests: Value| {
        let parameters = json!({"requests": requests, "returnResponses": true});
        request("ExecuteTransaction", parameters)
    };
    let items = [
        transaction(json!([create("1"), create("2")])),
        transaction(json!([
            create("3"),
            request("Delete", json!({"id": "none"}))
        ])),
        create("4"),
    ];
    let results = executed(&client, &batch(&items, true, true)).await;
    assert_eq!(places(&results), [(0, false), (1, true), (2, false)]);
    let inner = &results["responses"][0]["response"]["results"]["responses"];
    assert_eq!(inner.as_array().map(Vec::len), Some(2));
    let fault = &results["responses"][1]["fault"];
    assert_eq!(fault["faultedRequestIndex"], json!(1));
    assert_eq!(fault["errorCode"], json!("0x80040217"));
    assert_eq!(names(&client).await, ["1", "2", "4"]);
}

#[tokio::test(start_paused = true)]
async fn more_items_than_the_maximum_are_a_fault_before_the_first() {
    let client = Client::of(&manager(&backend()));
    let items: Vec<Value> = (0..1001).map(|n| create(&n.to_string())).collect();
    for name in ["ExecuteMultiple", "ExecuteTransaction"] {
        let answer = client
            .post("/v1/execute", &request(name, json!({"requests": items})))
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json["errorCode"], json!("0x80040203"));
        assert_eq!(answer.json["errorDetails"], json!({"MaxBatchSize": 1000}));
    }
    assert!(names(&client).await.is_empty());
    let most = executed(&client, &batch(&items[..1000], false, true)).await;
    assert_eq!(most["responses"].as_array().map(Vec::len), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn more_batches_at_once_than_allowed_are_a_fault_before_the_first_item() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let caller = Actor::default();
    let first = manager.admit_batch(&caller).await.expect("room");
    let second = manager.admit_batch(&caller).await.expect("room");
    let asked = batch(&[create("1")], true, true);
    let refused = client.post("/v1/execute", &asked).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json["errorCode"], json!("0x8004A001"));
    assert_eq!(refused.json["errorDetails"], json!({"Retry-After": 2}));
    // A single request comes in, and so do batches of other organizations.
    executed(&client, &create("2")).await;
    let headers = [
        ("content-type", "application/json"),
        ("drumline-organization", "contoso"),
    ];
    let other = client
        .send("POST", "/v1/execute", &headers, asked.to_string())
        .await;
    assert_eq!(other.status, StatusCode::OK);
    assert_eq!(names(&client).await, ["2"]);
    drop((first, second));
    until("there is room", || async {
        client.post("/v1/execute", &asked).await.status == StatusCode::OK
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn with_the_store_away_every_item_says_so_and_when_to_come_back() {
    let (backend, faults) = faulty(&backend());
    let options = Options {
        // Or the batch would not even begin.
        admission: Admission {
            batches: 0,
            ..Admission::default()
        },
        ..Options::default()
    };
    let client = Client::of(&QueueManager::new(backend, Ids::random(), options));
    Faults::set(&faults.store_is_away, true);
    let list = request("RetrieveMultiple", json!({}));
    let items = [create("1"), create("2"), list, create("4")];
    let results = executed(&client, &batch(&items, true, true)).await;
    assert_eq!(
        places(&results),
        [(0, true), (1, true), (2, true), (3, true)]
    );
    for response in results["responses"].as_array().expect("a list") {
        assert_eq!(response["fault"]["errorCode"], json!("0x8004A001"));
        assert_eq!(response["fault"]["errorDetails"], json!({"Retry-After": 2}));
    }
}
