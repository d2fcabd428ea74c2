//! The calls of the store and the broker that a create costs: each is a round
//! trip, which its caller waits for.

use drumline_api::CreateOperation;
use drumline_protocol::DependencyToken;
use drumline_queue_manager::{Actor, Error};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::{backend, manager};

#[tokio::test(start_paused = true)]
async fn a_create_stores_and_publishes_and_reserves_its_key_in_the_same_step() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let create = async |key: Option<&str>| {
        let request = CreateOperation::new("a");
        manager.create(&Actor::default(), request, key).await
    };
    create(None).await.expect("created");
    assert_eq!(faults.take_calls(), ["create", "publish"]);
    let first = create(Some("k")).await.expect("created");
    assert_eq!(faults.take_calls(), ["create", "publish"]);
    let again = create(Some("k")).await.expect("known");
    assert!(!again.is_new);
    assert_eq!(again.operation.id, first.operation.id);
    assert_eq!(faults.take_calls(), ["create"]);
    // A repetition is answered while the broker is unavailable, and a new
    // request is not.
    Faults::set(&faults.broker_is_blocked, true);
    assert!(!create(Some("k")).await.expect("known").is_new);
    assert_eq!(faults.take_calls(), ["reserve", "get"]);
    assert!(matches!(create(Some("l")).await, Err(Error::Broker(_))));
    assert_eq!(faults.take_calls(), ["reserve"]);
    assert!(matches!(create(Some("l")).await, Err(Error::Broker(_))));
    assert_eq!(faults.take_calls(), ["reserve", "get", "were_removed"]);
    Faults::set(&faults.broker_is_blocked, false);
    // The requests with this key came to nothing.
    assert!(create(Some("l")).await.expect("created").is_new);
    assert_eq!(faults.take_calls(), ["create", "publish"]);
}

#[tokio::test(start_paused = true)]
async fn the_key_of_a_create_with_a_token_is_reserved_before() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let create = async |token: &str| {
        let request = CreateOperation {
            dependency_token: DependencyToken::try_from(token.to_owned()).ok(),
            ..CreateOperation::new("a")
        };
        manager.create(&Actor::default(), request, Some("k")).await
    };
    assert!(create("t").await.expect("created").is_new);
    assert_eq!(faults.take_calls(), ["reserve", "create", "publish"]);
    assert!(!create("t").await.expect("known").is_new);
    assert_eq!(faults.take_calls(), ["reserve", "get"]);
    let other = create("u").await;
    assert!(matches!(other, Err(Error::KeyReused)), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_create_below_a_parent_reads_it_and_one_behind_others_is_not_published() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let request = CreateOperation {
        dependency_token: DependencyToken::try_from("t".to_owned()).ok(),
        ..CreateOperation::new("a")
    };
    let actor = Actor::default();
    let created = manager.create(&actor, request.clone(), None).await;
    let parent = created.expect("created").operation.id;
    faults.take_calls();
    let below = CreateOperation {
        parent_id: parent.to_string().parse().ok(),
        ..CreateOperation::new("a")
    };
    let created = manager.create(&actor, below, None).await;
    assert_eq!(created.expect("created").operation.body.depth, 1);
    assert_eq!(faults.take_calls(), ["get", "create", "publish"]);
    let created = manager.create(&actor, request, None).await;
    assert!(created.is_ok());
    assert_eq!(faults.take_calls(), ["create"]);
}

#[tokio::test(start_paused = true)]
async fn creates_of_many_callers_share_their_round_trips() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let created = join_all((0..60).map(|_| {
        let manager = manager.clone();
        async move {
            let request = CreateOperation::new("a");
            manager.create(&Actor::default(), request, None).await
        }
    }));
    assert!(created.await.iter().all(Result::is_ok));
    let calls = faults.take_calls();
    let count = |name: &str| calls.iter().filter(|call| **call == name).count();
    assert!(count("create") <= 3, "{calls:?}");
    assert!(count("publish") <= 5, "{calls:?}");
    assert_eq!(count("create") + count("publish"), calls.len(), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_and_its_keys_are_stored_at_once() {
    const COUNT: usize = 20;
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let batch = async |name: &str| {
        let create = |number| {
            let target = json!({"messageName": "a"});
            let parameters = json!({"target": target, "idempotencyKey": format!("{number}")});
            json!({"requestName": "Create", "parameters": parameters})
        };
        let requests: Vec<Value> = (0..COUNT).map(create).collect();
        let body = json!({"requestName": name, "parameters": {"requests": requests}});
        let answer = client.post("/v1/execute", &body).await;
        assert_eq!(answer.status, axum::http::StatusCode::OK, "{answer:?}");
    };
    batch("ExecuteMultiple").await;
    let calls = faults.take_calls();
    // It ends with its first fault, so its keys are reserved before.
    assert_eq!(calls[..2], ["reserve", "create"]);
    assert!(calls[2..].iter().all(|call| *call == "publish"));
    batch("ExecuteTransaction").await;
    assert_eq!(faults.take_calls(), ["reserve", "get"], "all are known");
}

#[tokio::test(start_paused = true)]
async fn the_commits_of_an_action_on_many_share_their_round_trips() {
    const COUNT: usize = 60;
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    for number in 0..COUNT {
        // Half of them behind others of their token, which takes a second commit.
        let body = match number % 2 {
            0 => json!({"messageName": "a", "dependencyToken": "t"}),
            _ => json!({"messageName": "a"}),
        };
        client.create(&body).await;
    }
    faults.take_calls();
    let answer = client
        .post("/v1/operations/cancel?state=Ready", &json!({}))
        .await;
    assert_eq!(answer.json["done"], COUNT, "{answer:?}");
    let calls = faults.take_calls();
    let commits = calls.iter().filter(|call| **call == "commit").count();
    assert!((1..=COUNT / 2).contains(&commits), "{calls:?}");
}
