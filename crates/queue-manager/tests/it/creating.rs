//! Creating operations: the record, the offer, and repetitions.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_api::CreateOperation;
use drumline_protocol::message::Source;
use drumline_protocol::{DependencyToken, State};
use drumline_queue_manager::{Actor, Error};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, stored};

#[tokio::test(start_paused = true)]
async fn a_create_is_answered_with_the_operation_and_offered_to_workers() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let body = json!({
        "messageName": "SendMail", "name": "contoso", "operationType": 203,
        "data": {"file": "a.zip"}, "correlationId": "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "retryPolicy": {"maxRetries": 2}, "atMostOnce": true, "retainJobHistory": false,
    });
    let answer = client.post("/v1/operations", &body).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let location = answer.header("location");
    assert_eq!(client.get(location).await.json, answer.json);
    for (name, value) in body.as_object().expect("an object") {
        if name != "retryPolicy" {
            assert_eq!(answer.json.get(name), Some(value), "{name}");
        }
    }
    assert_eq!(answer.json["retryPolicy"]["maxRetries"], json!(2));
    assert_eq!(answer.json["retryPolicy"]["factor"], json!(2));
    assert_eq!(answer.json["status"], json!("WaitingForResources"));
    assert_eq!(answer.json["ownerId"], json!("anonymous"));
    assert_eq!(listener.hear(Duration::from_secs(1)).await, [answer.id()]);
    manager.close().await;
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(counts.undispatched, 0, "the confirm was noted");
}

#[tokio::test(start_paused = true)]
async fn of_one_token_only_the_head_is_offered() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let body = json!({"messageName": "a", "dependencyToken": "t"});
    let first = client.create(&body).await;
    let second = client.create(&body).await;
    assert_eq!(first.partition(), second.partition());
    let mut lane = Listener::of(&backend, Source::Lane(first.partition())).await;
    assert_eq!(lane.hear(Duration::from_secs(5)).await, [first]);
    assert!(lane.hear(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_time_to_come_suspends_and_a_time_gone_by_does_not() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let created = |time: &str| json!({"messageName": "a", "postponeUntil": time});
    let later = client.create(&created("2099-01-01T00:00:00+01:00")).await;
    let past = client.create(&created("1999-01-01T00:00:00Z")).await;
    assert_eq!(client.status(later).await, "Waiting");
    assert_eq!(client.status(past).await, "WaitingForResources");
}

#[tokio::test(start_paused = true)]
async fn the_trace_of_the_caller_goes_on_in_the_record() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let _logs = tracing::subscriber::set_default(tracing_subscriber::registry());
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", PARENT),
    ];
    let body = r#"{"messageName":"a"}"#;
    let with = client.send("POST", "/v1/operations", &headers, body).await;
    let without = client.create(&json!({"messageName": "a"})).await;
    let trace = stored(&backend, with.id()).await.body.trace;
    assert_eq!(trace.traceparent, PARENT);
    let trace = stored(&backend, without).await.body.trace;
    assert_eq!(trace.traceparent.len(), PARENT.len());
}

async fn keyed(client: &Client, key: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    client
        .send("POST", "/v1/operations", &headers, body.to_string())
        .await
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_the_same_operation() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let body = json!({"messageName": "a", "data": {"x": 1, "y": 2}});
    let first = keyed(&client, "k", &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    Worker::new(&backend).run(first.id()).await;
    let again = keyed(&client, "k", &body).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.id(), first.id());
    assert_eq!(again.json["status"], json!("Succeeded"));
    let other = keyed(&client, "k", &json!({"messageName": "b"})).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.json["name"], json!("IdempotencyKeyReused"));
    let fresh = keyed(&client, "l", &body).await;
    assert_ne!(fresh.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn one_key_at_once_on_several_managers_creates_one_operation() {
    let (backend, _faults) = faulty(&backend());
    let clients: Vec<Client> = (0..4).map(|_| Client::of(&manager(&backend))).collect();
    for round in 0..50 {
        let key = format!("key {round}");
        let body = json!({"messageName": "a", "dependencyToken": format!("t{}", round % 3)});
        let asked = clients.iter().cycle().take(16);
        let answers = join_all(asked.map(|client| keyed(client, &key, &body))).await;
        let created = answers
            .iter()
            .filter(|answer| answer.status == StatusCode::CREATED);
        assert_eq!(created.count(), 1, "round {round}");
        assert!(answers.iter().all(|answer| answer.id() == answers[0].id()));
    }
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(counts.ready, 50);
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_is_not_created_again_while_its_key_is_remembered() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let body = json!({"messageName": "a"});
    let asked = json!({
        "requestName": "Create",
        "parameters": {"target": {"messageName": "a"}, "idempotencyKey": "k"},
    });
    let settings = json!({"returnResponses": true});
    let batch = json!({
        "requestName": "ExecuteMultiple",
        "parameters": {"requests": [asked], "settings": settings},
    });
    let first = keyed(&client, "k", &body).await;
    Worker::new(&backend).run(first.id()).await;
    let path = format!("/v1/operations/{}", first.id());
    let gone = client.json("DELETE", &path, &json!({})).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let check = async || {
        let again = keyed(&client, "k", &body).await;
        assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(again.json["name"], json!("IdempotencyKeyReused"));
        let in_batch = client.post("/v1/execute", &batch).await;
        let fault = &in_batch.json["results"]["responses"][0]["fault"];
        assert_eq!(fault["name"], json!("IdempotencyKeyReused"));
    };
    check().await;
    check().await;
    tokio::time::sleep(Duration::from_secs(47 * 3600)).await;
    check().await;
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    let forgotten = keyed(&client, "k", &body).await;
    assert_eq!(forgotten.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn only_what_a_key_may_name_is_remembered_beyond_its_removal() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let plain = json!({"messageName": "a"});
    let of_token = json!({"messageName": "a", "dependencyToken": "t"});
    let ids = [
        client.create(&plain).await,
        client.create(&of_token).await,
        keyed(&client, "k", &plain).await.id(),
        // The key is in another partition than the token.
        keyed(&client, "l", &of_token).await.id(),
    ];
    for id in ids {
        worker.run(id).await;
    }
    let (one, many) = ids.split_at(1);
    let path = format!("/v1/operations/{}", one[0]);
    let deleted = client.json("DELETE", &path, &json!({})).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let path = "/v1/operations/delete?messageName=a";
    let purged = client.send("POST", path, &[], String::new()).await;
    assert_eq!(purged.json["done"], json!(many.len()), "{purged:?}");
    // Each removal is remembered for as long as a caller may repeat it.
    tokio::time::advance(Duration::from_secs(61)).await;
    let removed = backend.store.were_removed(&ids).await;
    assert_eq!(
        removed.expect("the store is there"),
        [false, false, true, true]
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_first_request_was_refused_creates_later() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    let body = json!({"messageName": "a"});
    Faults::set(&faults.broker_is_blocked, true);
    for _ in 0..3 {
        let refused = keyed(&client, "k", &body).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    Faults::set(&faults.broker_is_blocked, false);
    assert_eq!(keyed(&client, "k", &body).await.status, StatusCode::CREATED);
    assert_eq!(keyed(&client, "k", &body).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_batch_keeps_the_order_of_each_token() {
    let backend = backend();
    let manager = manager(&backend);
    let token = |n: usize| DependencyToken::try_from(format!("t{n}")).ok();
    let requests: Vec<CreateOperation> = (0..700)
        .map(|n| CreateOperation {
            name: n.to_string(),
            dependency_token: if n % 4 == 0 { None } else { token(n % 4) },
            ..CreateOperation::new("a")
        })
        .collect();
    let created = manager.create_many(&Actor::default(), requests).await;
    let created: Vec<_> = created
        .into_iter()
        .map(|one| one.expect("created"))
        .collect();
    for n in 1..4 {
        let mut last = 0;
        for operation in created
            .iter()
            .filter(|o| o.body.dependency_token == token(n))
        {
            assert!(operation.sequence > last, "{}", operation.body.name);
            last = operation.sequence;
        }
    }
    let names: Vec<_> = created
        .iter()
        .map(|operation| operation.body.name.clone())
        .collect();
    assert_eq!(names, (0..700).map(|n| n.to_string()).collect::<Vec<_>>());
    manager.close().await;
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!((counts.ready, counts.undispatched), (700, 0));
}

#[tokio::test(start_paused = true)]
async fn in_a_batch_each_stands_for_itself() {
    let manager = manager(&backend());
    let requests = vec![
        CreateOperation::new("a"),
        CreateOperation::new(""),
        CreateOperation::new("b"),
    ];
    let created = manager.create_many(&Actor::default(), requests).await;
    assert!(matches!(
        created.as_slice(),
        [Ok(_), Err(Error::Invalid(_)), Ok(_)]
    ));
}

#[tokio::test(start_paused = true)]
async fn in_a_batch_nobody_overtakes_one_that_met_the_store_away() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let parent = Client::of(&manager)
        .create(&json!({"messageName": "a"}))
        .await;
    let first = CreateOperation::new("a");
    // The second create's depth is known only after its parent was read.
    let second = CreateOperation {
        parent_id: Some(parent.to_string().parse().expect("a UUID")),
        ..CreateOperation::new("a")
    };
    Faults::set(&faults.reads_fail, true);
    let mut requests = vec![first.clone(), second, first.clone()];
    requests.resize(1000, first);
    let created = manager.create_many(&Actor::default(), requests).await;
    assert_eq!(created.len(), 1000);
    assert!(created[0].is_ok());
    for untried in &created[1..] {
        assert!(matches!(untried, Err(Error::Store(_))), "{untried:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn operations_that_create_operations_belong_together_and_come_to_an_end() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let mut parent = client.create(&json!({"messageName": "a"})).await;
    let top = client.get(&format!("/v1/operations/{parent}")).await;
    assert_eq!(top.json["correlationId"], json!(parent.to_string()));
    for depth in 1..=8 {
        let body = json!({"messageName": "a", "parentId": parent.to_string()});
        let answer = client.post("/v1/operations", &body).await;
        assert_eq!(answer.json["depth"], json!(depth));
        let inherited = &answer.json["correlationId"];
        assert_eq!(inherited, &top.json["correlationId"]);
        parent = answer.id();
    }
    let body = json!({"messageName": "a", "parentId": parent.to_string()});
    let answer = client.post("/v1/operations", &body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json["code"], json!("0x80044182"));
}

#[tokio::test(start_paused = true)]
async fn creates_without_a_token_share_the_work_queue() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let ids = join_all((0..100).map(|_| {
        let client = client.clone();
        async move { client.create(&json!({"messageName": "a"})).await }
    }))
    .await;
    let mut listener = Listener::of_work(&backend).await;
    let mut heard = Vec::new();
    while heard.len() < ids.len() {
        let next = listener.hear(Duration::from_secs(1)).await;
        assert!(!next.is_empty());
        heard.extend(next);
    }
    let ready = stored(&backend, heard[0]).await;
    assert_eq!(ready.header.status.state(), State::Ready);
}
