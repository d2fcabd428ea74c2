//! Limits: so many batches per organization, so much per caller.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::{Backend, Ids};
use drumline_protocol::Organization;
use drumline_queue_manager::options::{Admission, Protection};
use drumline_queue_manager::service::RequestKind;
use drumline_queue_manager::{Actor, Error, Options, QueueManager};
use serde_json::json;
use tokio::time::{Instant, advance, sleep};

use crate::support::client::{Answer, Client};
use crate::support::faulty::{Faults, faulty};
use crate::support::{backend, until};

/// No limits but those that a test sets.
const UNLIMITED: Protection = Protection {
    requests: 0,
    execution: Duration::ZERO,
    concurrent: 0,
    window: Duration::from_secs(300),
    anonymous: false,
};

const JO: (&str, &str) = ("Drumline-Caller", "jo");

fn manager(backend: &Backend, protection: Protection) -> QueueManager {
    let admission = Admission {
        protection,
        ..Admission::default()
    };
    let options = Options {
        admission,
        ..Options::default()
    };
    QueueManager::new(backend.clone(), Ids::random(), options)
}

fn jo() -> Actor {
    Actor {
        caller: "jo".to_owned(),
        ..Actor::default()
    }
}

async fn ask(client: &Client, who: &[(&str, &str)]) -> Answer {
    client.send("GET", "/v1/operations", who, "").await
}

fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
    assert_eq!(answer.json["code"], code, "{answer:?}");
    let media = answer.header("content-type");
    assert_eq!(media, "application/problem+json", "{answer:?}");
    assert_ne!(seconds(answer), 0, "{answer:?}");
}

/// The value of `Retry-After`.
fn seconds(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_too_many_requests_is_told_when_to_come_back() {
    let backend = backend();
    let protection = Protection {
        requests: 5,
        ..UNLIMITED
    };
    let clients = [(); 2].map(|()| Client::of(&manager(&backend, protection)));
    let [one, other] = &clients;
    for client in [one, other, one, other, one] {
        assert_eq!(ask(client, &[JO]).await.status, StatusCode::OK);
    }
    for client in &clients {
        let refused = ask(client, &[JO]).await;
        assert_refused(&refused, "0x80072322");
        assert!((1..=310).contains(&seconds(&refused)), "{refused:?}");
    }
    // It is the limit of this caller, and of no other.
    let elsewhere = ("Drumline-Organization", "contoso");
    for who in [&[JO, elsewhere][..], &[("Drumline-Caller", "jim")], &[]] {
        assert_eq!(ask(one, who).await.status, StatusCode::OK, "{who:?}");
    }
    let refused = ask(one, &[JO]).await;
    advance(Duration::from_secs(seconds(&refused) - 1)).await;
    assert_refused(&ask(one, &[JO]).await, "0x80072322");
    advance(Duration::from_secs(1)).await;
    assert_eq!(ask(one, &[JO]).await.status, StatusCode::OK);
    let counted = one.get("/metrics").await.text;
    let refusals = r#"drumline_requests_refused_total{limit="requests"} 3"#;
    assert!(counted.contains(refusals), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn those_who_do_not_say_who_they_are_are_limited_where_that_is_asked_for() {
    let backend = backend();
    let protection = Protection {
        requests: 1,
        ..UNLIMITED
    };
    let client = Client::of(&manager(&backend, protection));
    for _ in 0..3 {
        assert_eq!(ask(&client, &[]).await.status, StatusCode::OK);
    }
    let protection = Protection {
        anonymous: true,
        ..protection
    };
    let client = Client::of(&manager(&backend, protection));
    assert_eq!(ask(&client, &[]).await.status, StatusCode::OK);
    assert_refused(&ask(&client, &[]).await, "0x80072322");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_has_used_up_its_time_is_refused() {
    let backend = backend();
    let protection = Protection {
        execution: Duration::from_secs(10),
        ..UNLIMITED
    };
    let manager = manager(&backend, protection);
    let client = Client::of(&manager);
    for _ in 0..2 {
        assert_eq!(ask(&client, &[JO]).await.status, StatusCode::OK);
        let permit = manager
            .admit(&jo(), RequestKind::Working)
            .await
            .expect("let in");
        sleep(Duration::from_secs(5)).await;
        drop(permit);
    }
    // The time is reported after the answer.
    until("the time is used up", async || {
        ask(&client, &[JO]).await.status == StatusCode::TOO_MANY_REQUESTS
    })
    .await;
    assert_refused(&ask(&client, &[JO]).await, "0x80072321");
    assert_eq!(ask(&client, &[]).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_too_many_requests_at_the_same_time_is_refused() {
    let backend = backend();
    let protection = Protection {
        concurrent: 2,
        ..UNLIMITED
    };
    let (manager, other) = (manager(&backend, protection), manager(&backend, protection));
    let client = Client::of(&other);
    let first = manager
        .admit(&jo(), RequestKind::Working)
        .await
        .expect("let in");
    let second = other
        .admit(&jo(), RequestKind::Working)
        .await
        .expect("let in");
    let refused = ask(&client, &[JO]).await;
    assert_refused(&refused, "0x80072326");
    assert_eq!(seconds(&refused), 1);
    // Longer than a lease: it is renewed.
    sleep(Duration::from_secs(60)).await;
    assert_refused(&ask(&client, &[JO]).await, "0x80072326");
    drop(first);
    until("there is room", async || {
        ask(&client, &[JO]).await.status == StatusCode::OK
    })
    .await;
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_keep_nobody_out() {
    let backend = backend();
    let protection = Protection {
        requests: 10,
        concurrent: 1,
        execution: Duration::from_secs(1),
        ..UNLIMITED
    };
    let client = Client::of(&manager(&backend, protection));
    let id = client.create(&json!({"messageName": "a"})).await;
    let path = format!("/v1/operations/{id}?wait=30s");
    let wait = || client.send("GET", &path, &[JO], "");
    let meanwhile = async {
        sleep(Duration::from_secs(10)).await;
        ask(&client, &[JO]).await
    };
    let (one, other, third, asked) = tokio::join!(wait(), wait(), wait(), meanwhile);
    for answer in [one, other, third, asked] {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    // Ninety seconds of waiting are no execution time; but they were requests.
    let mut left = 0;
    while ask(&client, &[JO]).await.status == StatusCode::OK {
        left += 1;
    }
    assert_eq!(left, 6);
}

#[tokio::test(start_paused = true)]
async fn an_organization_has_so_many_batches_at_the_same_time() {
    let backend = backend();
    let managers = [manager(&backend, UNLIMITED), manager(&backend, UNLIMITED)];
    let enter = async |place: usize| managers[place].admit_batch(&jo()).await;
    let first = enter(0).await.expect("let in");
    let second = enter(1).await.expect("let in");
    for place in [0, 1] {
        let refused = enter(place).await.expect_err("two are the limit");
        assert!(matches!(refused, Error::Busy { limit: 2 }), "{refused:?}");
    }
    let elsewhere = Actor {
        organization: Organization("contoso".to_owned()),
        ..jo()
    };
    let third = managers[0].admit_batch(&elsewhere).await;
    drop(third.expect("of another organization"));
    // Longer than a lease: they are renewed.
    sleep(Duration::from_secs(60)).await;
    assert!(enter(0).await.is_err());
    drop(first);
    until("there is room", async || enter(0).await.is_ok()).await;
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_batch_too_many_is_busy_before_its_first_item() {
    let backend = backend();
    let manager = manager(&backend, UNLIMITED);
    let client = Client::of(&manager);
    let batch = json!({
        "requestName": "ExecuteMultiple",
        "parameters": {
            "requests": [{"requestName": "Create", "parameters": {"target": {"messageName": "a"}}}],
            "settings": {"continueOnError": true, "returnResponses": true},
        },
    });
    let anyone = Actor::default();
    let permits = [
        manager.admit_batch(&anyone).await.expect("let in"),
        manager.admit_batch(&anyone).await.expect("let in"),
    ];
    let refused = client.post("/v1/execute", &batch).await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{refused:?}"
    );
    assert_eq!(refused.json["code"], "0x8004A001", "{refused:?}");
    assert_ne!(seconds(&refused), 0);
    assert!(ask(&client, &[]).await.names().is_empty());
    drop(permits);
    until("there is room", async || {
        client.post("/v1/execute", &batch).await.status == StatusCode::OK
    })
    .await;
    assert_eq!(ask(&client, &[]).await.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn zero_batches_are_any_number() {
    let options = Options {
        admission: Admission {
            batches: 0,
            ..Admission::default()
        },
        ..Options::default()
    };
    let manager = QueueManager::new(backend(), Ids::random(), options);
    let mut permits = Vec::new();
    for _ in 0..50 {
        permits.push(manager.admit_batch(&jo()).await.expect("let in"));
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::mem_forget, reason = "a process that is killed drops nothing")]
async fn what_a_dead_manager_held_is_free_after_the_lease() {
    let backend = backend();
    let (dead, alive) = (manager(&backend, UNLIMITED), manager(&backend, UNLIMITED));
    for _ in 0..2 {
        std::mem::forget(dead.admit_batch(&jo()).await.expect("let in"));
    }
    dead.close().await;
    let died = Instant::now();
    until("there is room", async || {
        alive.admit_batch(&jo()).await.is_ok()
    })
    .await;
    let lease = Admission::default().lease;
    let waited = died.elapsed();
    assert!(waited <= lease + Duration::from_secs(1), "{waited:?}");
    assert!(waited >= lease / 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_limiter_is_away_requests_come_in_and_batches_do_not() {
    let (backend, faults) = faulty(&backend());
    let protection = Protection {
        requests: 2,
        ..UNLIMITED
    };
    let manager = manager(&backend, protection);
    let client = Client::of(&manager);
    assert_eq!(ask(&client, &[JO]).await.status, StatusCode::OK);
    away(&faults, true);
    let begun = Instant::now();
    for _ in 0..5 {
        let answer = ask(&client, &[JO]).await;
        // As for every other caller: the protection adds nothing to it.
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let refused = manager.admit_batch(&jo()).await.expect_err("it is away");
    assert!(matches!(refused, Error::Store(_)), "{refused:?}");
    let counted = client.get("/metrics").await.text;
    let unprotected = "drumline_requests_unprotected_total 5";
    assert!(counted.contains(unprotected), "{counted}");
    away(&faults, false);
    until("it counts again", async || {
        ask(&client, &[JO]).await.status == StatusCode::TOO_MANY_REQUESTS
    })
    .await;
}

fn away(faults: &Arc<Faults>, is_away: bool) {
    Faults::set(&faults.store_is_away, is_away);
}
