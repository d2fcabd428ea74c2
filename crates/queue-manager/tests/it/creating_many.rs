//! Many creates in one request, each independent of the others.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::access::Keyed;
use crate::support::client::{Answer, Client};
use crate::support::faulty::{Faults, STORE_PATIENCE, faulty};
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, until};

const PATH: &str = "/v1/operations/create";

async fn create(client: &Client, creates: Value) -> Answer {
    client.post(PATH, &json!({"creates": creates})).await
}

fn statuses(answer: &Answer) -> Vec<u64> {
    let answers = answer.json["answers"].as_array().expect("a list");
    let statuses = answers.iter().map(|answer| answer["status"].as_u64());
    statuses.map(|status| status.expect("a number")).collect()
}

/// The attributes that a refusal is about.
fn refused(answer: &Answer) -> Vec<&str> {
    let attributes = answer.json["attributes"].as_array().expect("a list");
    let names = attributes.iter().map(|wrong| wrong["name"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

#[tokio::test(start_paused = true)]
async fn each_create_is_answered_as_if_it_were_alone() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let sent = json!({"messageName": "a", "data": {"x": 1}});
    let answer = create(
        &client,
        json!([
            {"operation": sent, "idempotencyKey": "k"},
            {"operation": {"messageName": "a", "colour": "red", "name": 7}},
            {"operation": sent, "idempotencyKey": "k"},
            {"operation": {"messageName": "b"}, "idempotencyKey": "k"},
            {"operation": {"messageName": "c"}},
        ]),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(statuses(&answer), [201, 422, 200, 422, 201]);
    let answers = &answer.json["answers"];
    let path = format!(
        "/v1/operations/{}",
        answers[0]["operation"]["id"].as_str().unwrap()
    );
    assert_eq!(client.get(&path).await.json, answers[0]["operation"]);
    assert_eq!(answers[2]["operation"]["id"], answers[0]["operation"]["id"]);
    let wrong = json!({"messageName": "a", "colour": "red", "name": 7});
    let mut problem = client.post("/v1/operations", &wrong).await.json;
    problem.as_object_mut().unwrap().remove("instance");
    assert_eq!(answers[1]["problem"], problem);
    assert_eq!(answers[3]["problem"]["name"], "IdempotencyKeyReused");
    let offered = listener.hear(Duration::from_secs(1)).await;
    let ids: Vec<String> = offered.iter().map(ToString::to_string).collect();
    for created in [&answers[0], &answers[4]] {
        let id = created["operation"]["id"].as_str().unwrap();
        assert!(ids.iter().any(|offered| offered == id), "{id} in {ids:?}");
    }
    assert_eq!(ids.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_create_that_met_the_store_unavailable_keeps_no_other_back() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let parent = client.create(&json!({"messageName": "a"})).await;
    Faults::set(&faults.reads_fail, true);
    let answer = create(
        &client,
        json!([
            {"operation": {"messageName": "a", "parentId": parent.to_string()}},
            {"operation": {"messageName": "b"}},
        ]),
    )
    .await;
    assert_eq!(statuses(&answer), [503, 201], "{answer:?}");
    let first = &answer.json["answers"][0];
    assert_eq!(first["retryAfter"], 2);
    assert_eq!(first["problem"]["name"], "ServerBusy");
}

fn many(count: usize) -> Value {
    let create =
        |number| json!({"operation": {"messageName": "a"}, "idempotencyKey": format!("{number}")});
    (0..count).map(create).collect()
}

#[tokio::test(start_paused = true)]
async fn when_the_store_fails_them_together_each_is_tried_alone() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    Faults::set(&faults.next_create_fails, true);
    let answer = create(&client, many(20)).await;
    assert_eq!(statuses(&answer), [201; 20], "{answer:?}");
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(counts.ready, 20);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_asked_little() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    Faults::set(&faults.store_is_away, true);
    let asked = Instant::now();
    let answer = create(&client, many(1_000)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    let calls = faults.take_calls();
    // One for the first chunk, and for the first create of each partition in it.
    let most = 2 * usize::from(backend.store.partitions().get()) + 1;
    assert!(calls.len() <= most, "{} calls", calls.len());
    assert!(
        asked.elapsed() <= STORE_PATIENCE * 4,
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_done_the_request_itself_says_so() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    Faults::set(&faults.broker_is_blocked, true);
    let answer = create(&client, many(3)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.json["name"], "ServerBusy");
    assert_eq!(answer.header("retry-after"), "2");
    // Mistakes are told for each, also where all are wrong.
    let wrong = json!([{"operation": {}}, {"operation": {"messageName": 7}}]);
    assert_eq!(statuses(&create(&client, wrong).await), [422, 422]);
}

#[tokio::test(start_paused = true)]
async fn the_answer_has_room_for_so_many_operations_that_existed() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let one = json!({"operation": {"messageName": "a"}, "idempotencyKey": "k"});
    let answer = create(&client, json!([one])).await;
    let id = answer.json["answers"][0]["operation"]["id"]
        .as_str()
        .unwrap();
    let id = id.parse().expect("an id");
    let worker = Worker::new(&backend);
    let fence = worker.claim(id).await;
    let result = format!("{:?}", "x".repeat(1_000_000));
    worker.succeed_with(id, fence, result).await;
    let answer = create(&client, vec![one; 40].into()).await;
    let statuses = statuses(&answer);
    assert_eq!(statuses[..33], [200; 33]);
    assert_eq!(statuses[33..], [503; 7]);
    let left_out = &answer.json["answers"][39];
    assert!(
        left_out["problem"]["detail"]
            .as_str()
            .unwrap()
            .contains("alone")
    );
}

#[tokio::test(start_paused = true)]
async fn they_are_stored_and_published_at_once() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let answer = create(&client, many(100)).await;
    assert_eq!(statuses(&answer), [201; 100]);
    let calls = faults.take_calls();
    let count = |name: &str| calls.iter().filter(|call| **call == name).count();
    assert_eq!(count("create"), 1, "{calls:?}");
    assert_eq!(count("create") + count("publish"), calls.len(), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_of_creates_is_refused_as_a_whole() {
    let client = Client::of(&manager(&backend()));
    for (body, names) in [
        (json!({}), &["creates"][..]),
        (json!({"creates": {"operation": {}}}), &["creates"]),
        (json!({"creates": [], "operations": []}), &["operations"]),
    ] {
        let answer = client.post(PATH, &body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        assert_eq!(answer.json["name"], "InvalidArgument");
        assert_eq!(refused(&answer), names, "{answer:?}");
    }
    let many = vec![json!({"operation": {"messageName": "a"}}); 1_001];
    let answer = create(&client, Value::Array(many)).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let answer = client
        .send("POST", PATH, &headers, r#"{"creates": []}"#)
        .await;
    assert_eq!(refused(&answer), ["Idempotency-Key"], "{answer:?}");
    let list = client.get("/v1/operations").await;
    assert_eq!(list.json["operations"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn the_audit_has_one_line_that_says_how_many_were_created() {
    let keyed = Keyed::start("creating-many-audited");
    let (good, bad) = (json!({"operation": {"messageName": "a"}}), json!({}));
    for creates in [json!([good, bad, good]), json!([bad, bad])] {
        let body = json!({"creates": creates});
        let answer = keyed.send("producer", "POST", PATH, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let entries = async || {
        let answer = keyed
            .send("operator", "GET", "/v1/audit", &Value::Null)
            .await;
        answer.json["entries"].as_array().expect("a list").clone()
    };
    until("both entries are stored", || async {
        entries().await.len() == 2
    })
    .await;
    let entries = entries().await;
    let [refused, done] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(
        (&done["outcome"], &done["count"]),
        (&json!("done"), &json!(2))
    );
    assert_eq!(done["ids"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&refused["outcome"], &refused["status"]),
        (&json!("refused"), &json!(422))
    );
    assert_eq!(refused["count"], json!(0));
}

#[tokio::test(start_paused = true)]
async fn they_belong_to_the_callers_organization() {
    let keyed = Keyed::start("creating-many");
    let creates = json!({"creates": [{"operation": {"messageName": "a"}}]});
    let answer = keyed.send("producer", "POST", PATH, &creates).await;
    assert_eq!(statuses(&answer), [201], "{answer:?}");
    let operation = &answer.json["answers"][0]["operation"];
    assert_eq!(operation["organization"], "contoso");
    assert_eq!(operation["ownerId"], "producer");
}
