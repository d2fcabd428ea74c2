//! Quotas: what an organization may have in the store, and how fast it may create.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::{Backend, Ids};
use drumline_protocol::OperationId;
use drumline_queue_manager::quotas::{Quota, QuotaLimits, QuotaTable, Quotas};
use drumline_queue_manager::{Options, QueueManager};
use serde_json::{Value, json};
use tokio::time::{advance, sleep};

use crate::support::backend;
use crate::support::client::{Answer, Client};
use crate::support::faulty::faulty;
use crate::support::worker::Worker;

const CODE: &str = "0x8D000040";

fn manager(backend: &Backend, limits: QuotaLimits) -> QueueManager {
    let options = Options {
        quotas: Arc::new(Quotas::fixed(QuotaTable::for_all(limits))),
        ..Options::default()
    };
    QueueManager::new(backend.clone(), Ids::random(), options)
}

fn message() -> Value {
    json!({"messageName": "a"})
}

fn of_token(token: &str) -> Value {
    json!({"messageName": "a", "dependencyToken": token})
}

async fn create(client: &Client, body: &Value) -> Answer {
    client.post("/v1/operations", body).await
}

fn assert_refused(answer: &Answer, quota: Quota) {
    let status = match quota {
        Quota::Bytes => StatusCode::INSUFFICIENT_STORAGE,
        Quota::Open | Quota::Series | Quota::Tokens | Quota::CreatesPerMinute => {
            StatusCode::TOO_MANY_REQUESTS
        }
    };
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.json["code"], CODE, "{answer:?}");
    let detail = answer.json["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(&format!("`{}`", quota.name())), "{detail}");
    let seconds: u64 = answer.header("retry-after").parse().expect("a number");
    assert!((1..=60).contains(&seconds), "{answer:?}");
}

async fn end(backend: &Backend, client: &Client, id: OperationId) {
    let worker = Worker::new(backend);
    worker.run(id).await;
    assert_eq!(client.status(id).await, "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn an_organization_has_room_again_when_operations_end() {
    let backend = backend();
    let limits = QuotaLimits {
        open: 3,
        ..QuotaLimits::default()
    };
    let client = Client::of(&manager(&backend, limits));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.create(&message()).await);
    }
    for _ in 0..2 {
        assert_refused(&create(&client, &message()).await, Quota::Open);
    }
    // The limit is that of each organization.
    let json = ("content-type", "application/json");
    let elsewhere = [json, ("Drumline-Organization", "contoso")];
    let body = message().to_string();
    let other = client
        .send("POST", "/v1/operations", &elsewhere, body)
        .await;
    assert_eq!(other.status, StatusCode::CREATED, "{other:?}");

    end(&backend, &client, ids.remove(0)).await;
    // A sum is good for a tenth of a second.
    sleep(Duration::from_millis(100)).await;
    client.create(&message()).await;
    assert_refused(&create(&client, &message()).await, Quota::Open);

    let text = client.get("/metrics").await.text;
    let counted = r#"drumline_quota_exceeded_total{quota="open"} 3"#;
    assert!(text.contains(counted), "{text}");
    let shown = client.get("/v1/quotas").await.json;
    assert_eq!(shown["organization"], "default");
    let open = json!({"name": "open", "used": 3, "limit": 3});
    assert_eq!(shown["quotas"][0], open, "{shown}");
    assert_eq!(shown["quotas"][3]["name"], "bytes");
    assert_eq!(shown["quotas"][3]["limit"], Value::Null);
    assert!(shown["quotas"][3]["used"].as_u64() > Some(2_000), "{shown}");
    // A person sees the same.
    let page = client.get("/settings").await.text;
    let row = page.split("operations that are not Completed").nth(1);
    let row = row.expect("a row").split("</tr>").next().expect("its end");
    assert_eq!(row.matches(">3<").count(), 2, "{row}");
}

#[tokio::test(start_paused = true)]
async fn every_quota_refuses_with_its_name() {
    let none = QuotaLimits::default();
    let large = json!({"messageName": "a", "data": "x".repeat(10_000)});
    let series = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY"});
    for (quota, limits, body) in [
        (
            Quota::Bytes,
            QuotaLimits {
                bytes: 25_000,
                ..none
            },
            large,
        ),
        (Quota::Series, QuotaLimits { series: 2, ..none }, series),
        (
            Quota::CreatesPerMinute,
            QuotaLimits {
                creates_per_minute: 2,
                ..none
            },
            message(),
        ),
    ] {
        let client = Client::of(&manager(&backend(), limits));
        for _ in 0..2 {
            client.create(&body).await;
        }
        assert_refused(&create(&client, &body).await, quota);
        if quota == Quota::CreatesPerMinute {
            // The creates of the minute before count less and less.
            advance(Duration::from_secs(100)).await;
            client.create(&body).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_of_a_known_token_takes_no_further_one() {
    let backend = backend();
    let limits = QuotaLimits {
        tokens: 2,
        ..QuotaLimits::default()
    };
    let client = Client::of(&manager(&backend, limits));
    let first = client.create(&of_token("1")).await;
    client.create(&of_token("2")).await;
    for _ in 0..5 {
        client.create(&of_token("2")).await;
        client.create(&message()).await;
    }
    assert_refused(&create(&client, &of_token("3")).await, Quota::Tokens);
    end(&backend, &client, first).await;
    sleep(Duration::from_millis(100)).await;
    client.create(&of_token("3")).await;
    assert_refused(&create(&client, &of_token("1")).await, Quota::Tokens);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_is_answered_where_there_is_no_room() {
    let limits = QuotaLimits {
        open: 1,
        ..QuotaLimits::default()
    };
    let client = Client::of(&manager(&backend(), limits));
    let headers = [
        ("content-type", "application/json"),
        ("Idempotency-Key", "once"),
    ];
    let send = async || {
        let body = message().to_string();
        client.send("POST", "/v1/operations", &headers, body).await
    };
    let first = send().await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    assert_refused(&create(&client, &message()).await, Quota::Open);
    let again = send().await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(again.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn those_that_a_repetition_finds_leave_their_room_to_the_others() {
    let limits = QuotaLimits {
        open: 10,
        tokens: 10,
        ..QuotaLimits::default()
    };
    let backend = backend();
    let client = Client::of(&manager(&backend, limits));
    let many = |count: usize, go_on: bool| {
        let create = |number: usize| {
            let name = number.to_string();
            let parameters = json!({"target": of_token(&name), "idempotencyKey": name});
            json!({"requestName": "Create", "parameters": parameters})
        };
        json!({
            "requestName": "ExecuteMultiple",
            "parameters": {
                "settings": {"continueOnError": go_on, "returnResponses": true},
                "requests": (0..count).map(create).collect::<Vec<Value>>(),
            },
        })
    };
    // Each time those of before are repeated, as after an answer that was lost.
    for (count, go_on) in [(5, true), (8, false), (10, true)] {
        let answer = client.post("/v1/execute", &many(count, go_on)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert!(!answer.text.contains(CODE), "{answer:?}");
        let counts = backend.store.counts().await.expect("the store is there");
        assert_eq!(counts.ready, count as u64, "{answer:?}");
    }
    // And twice in one list.
    let mut twice = many(10, true);
    let again = twice["parameters"]["requests"].clone();
    let requests = twice["parameters"]["requests"].as_array_mut();
    requests
        .expect("a list")
        .extend(again.as_array().expect("a list").clone());
    let answer = client.post("/v1/execute", &twice).await;
    assert!(!answer.text.contains(CODE), "{answer:?}");
    let answer = client.post("/v1/execute", &many(11, true)).await;
    assert_eq!(answer.text.matches(CODE).count(), 1, "{answer:?}");
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(counts.ready, 10);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_twice_in_a_list_takes_room_once() {
    let limits = QuotaLimits {
        open: 1,
        ..QuotaLimits::default()
    };
    let client = Client::of(&manager(&backend(), limits));
    for name in ["ExecuteMultiple", "ExecuteTransaction"] {
        let create = json!({
            "requestName": "Create",
            "parameters": {"target": message(), "idempotencyKey": "once"},
        });
        let mut twice = json!({
            "requestName": name,
            "parameters": {"requests": [create.clone(), create]},
        });
        if name == "ExecuteMultiple" {
            twice["parameters"]["settings"] =
                json!({"continueOnError": true, "returnResponses": true});
        }
        let answer = client.post("/v1/execute", &twice).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {answer:?}");
        assert!(!answer.text.contains(CODE), "{name}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn creates_that_stored_nothing_leave_their_room() {
    let limits = QuotaLimits {
        open: 10,
        ..QuotaLimits::default()
    };
    let client = Client::of(&manager(&backend(), limits));
    let send = async |key: String| {
        let headers = [
            ("content-type", "application/json"),
            ("Idempotency-Key", &key),
        ];
        let body = message().to_string();
        client.send("POST", "/v1/operations", &headers, body).await
    };
    // All in the time for which a sum is good.
    for _ in 0..3 {
        for key in 0..5 {
            let answer = send(key.to_string()).await;
            assert!(answer.status.is_success(), "{answer:?}");
        }
    }
    for key in 5..10 {
        let answer = send(key.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
    assert_refused(&create(&client, &message()).await, Quota::Open);
}

#[tokio::test(start_paused = true)]
async fn a_series_takes_no_token() {
    let limits = QuotaLimits {
        tokens: 1,
        ..QuotaLimits::default()
    };
    let client = Client::of(&manager(&backend(), limits));
    client.create(&of_token("1")).await;
    let series = json!({
        "messageName": "a",
        "dependencyToken": "2",
        "recurrencePattern": "FREQ=DAILY",
        "recurrenceStartTime": "2030-01-01T00:00:00Z",
    });
    client.create(&series).await;
    assert_refused(&create(&client, &of_token("2")).await, Quota::Tokens);
}

#[tokio::test(start_paused = true)]
async fn of_many_creates_those_that_fit_are_made() {
    let limits = QuotaLimits {
        open: 10,
        ..QuotaLimits::default()
    };
    let backend = backend();
    let client = Client::of(&manager(&backend, limits));
    let create = json!({"requestName": "Create", "parameters": {"target": message()}});
    let requests = vec![create; 15];
    let many = json!({
        "requestName": "ExecuteMultiple",
        "parameters": {
            "settings": {"continueOnError": true, "returnResponses": false},
            "requests": requests,
        },
    });
    client.post("/v1/execute", &many).await;
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(counts.ready, 10);
    let together = json!({
        "requestName": "ExecuteTransaction",
        "parameters": {"requests": many["parameters"]["requests"]},
    });
    let refused = client.post("/v1/execute", &together).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
    assert_eq!(refused.json["errorDetails"]["Quota"], "open", "{refused:?}");
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(counts.ready, 10);
}

#[tokio::test(start_paused = true)]
async fn two_managers_keep_one_limit() {
    let backend = backend();
    let limits = QuotaLimits {
        open: 100,
        ..QuotaLimits::default()
    };
    let clients = [(); 2].map(|()| Client::of(&manager(&backend, limits)));
    let mut made = 0;
    for number in 0..200 {
        let answer = create(&clients[number % 2], &message()).await;
        made += u32::from(answer.status == StatusCode::CREATED);
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(made, 100);
}

#[tokio::test(start_paused = true)]
async fn a_create_far_from_the_limit_costs_no_sum() {
    let (backend, faults) = faulty(&backend());
    let limits = QuotaLimits {
        open: 1_000_000,
        bytes: 1 << 40,
        tokens: 1_000_000,
        ..QuotaLimits::default()
    };
    let client = Client::of(&manager(&backend, limits));
    let sums = ["usage", "chain_lengths"];
    for number in 0..500 {
        client.create(&of_token(&number.to_string())).await;
    }
    assert_eq!(
        faults
            .take_calls()
            .iter()
            .filter(|call| sums.contains(*call))
            .count(),
        1
    );
}
