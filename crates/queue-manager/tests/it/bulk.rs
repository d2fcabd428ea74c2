//! One action on everything that a filter selects.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::worker::Worker;
use crate::support::{backend, manager};

async fn ask(client: &Client, path: &str) -> Answer {
    client.send("POST", path, &[], Body::empty()).await
}

fn count(answer: &Answer, what: &str) -> u64 {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let count = answer.json.get(what).and_then(Value::as_u64);
    count.unwrap_or_else(|| unreachable!("no {what}: {answer:?}"))
}

fn counts(answer: &Answer) -> (u64, u64, u64) {
    (
        count(answer, "matched"),
        count(answer, "done"),
        count(answer, "refusedCount"),
    )
}

fn next(answer: &Answer) -> Option<String> {
    let cursor = answer.json.get("nextCursor").expect("a cursor or null");
    cursor.as_str().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let client = Client::of(&manager(&backend()));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.create(&json!({"messageName": "a"})).await);
    }
    let other = client.create(&json!({"messageName": "b"})).await;

    let path = "/v1/operations/pause?messageName=a";
    let tried = ask(&client, &format!("{path}&dryRun=true")).await;
    assert_eq!(counts(&tried), (3, 3, 0));
    assert_eq!(tried.json.get("dryRun"), Some(&json!(true)));
    for id in &ids {
        assert_eq!(client.status(*id).await, "WaitingForResources");
    }

    let done = ask(&client, path).await;
    assert_eq!(counts(&done), (3, 3, 0));
    assert_eq!(done.json.get("dryRun"), Some(&json!(false)));
    for id in ids {
        assert_eq!(client.status(id).await, "Waiting");
    }
    assert_eq!(client.status(other).await, "WaitingForResources");

    // A dry run reports refusals, too.
    let delete = "/v1/operations/delete?messageName=a";
    let refused = ask(&client, &format!("{delete}&dryRun=true")).await;
    assert_eq!(counts(&refused), (3, 0, 3));
    assert_eq!(counts(&ask(&client, delete).await), (3, 0, 3));
    // A repeated pause is none.
    let again = ask(&client, &format!("{path}&dryRun=true")).await;
    assert_eq!(counts(&again), (3, 3, 0));
    assert_eq!(counts(&ask(&client, path).await), (3, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn every_action_is_there() {
    let client = Client::of(&manager(&backend()));
    let id = client.create(&json!({"messageName": "a"})).await;
    let all = "messageName=a";
    for (action, body, status) in [
        ("pause", json!({}), "Waiting"),
        ("resume", json!({}), "WaitingForResources"),
        (
            "postpone",
            json!({"postponeUntil": "2099-01-01T00:00:00Z"}),
            "Waiting",
        ),
        ("cancel", json!({}), "Canceled"),
    ] {
        let path = format!("/v1/operations/{action}?{all}");
        assert_eq!(
            counts(&client.post(&path, &body).await),
            (1, 1, 0),
            "{action}"
        );
        assert_eq!(client.status(id).await, status, "{action}");
    }
    let deleted = ask(&client, "/v1/operations/delete?messageName=a").await;
    assert_eq!(counts(&deleted), (1, 1, 0));
    let gone = client.get(&format!("/v1/operations/{id}")).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn the_cursor_meets_each_once_although_they_leave_the_filter() {
    const MANY: usize = 1_100;
    let backend = backend();
    let client = Client::of(&manager(&backend));
    for number in 0..MANY {
        let name = number.to_string();
        client
            .create(&json!({"messageName": "a", "name": name}))
            .await;
    }
    let path = "/v1/operations/cancel?state=Ready&limit=200";
    let mut cursor: Option<String> = None;
    let mut calls = 0;
    let mut done = 0;
    loop {
        let at = cursor.map(|cursor| format!("&cursor={cursor}"));
        let answer = ask(&client, &format!("{path}{}", at.unwrap_or_default())).await;
        let (matched, canceled, refused) = counts(&answer);
        assert!(matched <= 200, "{answer:?}");
        assert_eq!((canceled, refused), (matched, 0));
        calls += 1;
        done += canceled;
        // Newer than the cursor, by the clock that ids are made by: not
        // selected.
        tokio::time::sleep(Duration::from_millis(5)).await;
        client.create(&json!({"messageName": "later"})).await;
        cursor = next(&answer);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(done, MANY as u64);
    assert!((6..=8).contains(&calls), "{calls}");
    let left = client.get("/v1/operations?state=Ready&limit=100").await;
    let left = left.json.get("operations").and_then(Value::as_array);
    let names: BTreeSet<&str> = left
        .into_iter()
        .flatten()
        .filter_map(|operation| operation.get("messageName")?.as_str())
        .collect();
    assert_eq!(names, BTreeSet::from(["later"]));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_told_with_its_code_up_to_twenty() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    for _ in 0..30 {
        worker
            .run(client.create(&json!({"messageName": "a"})).await)
            .await;
    }
    let running = client.create(&json!({"messageName": "a"})).await;
    worker.claim(running).await;

    let answer = ask(&client, "/v1/operations/cancel?status=Succeeded").await;
    assert_eq!(counts(&answer), (30, 0, 30));
    assert_eq!(client.status(running).await, "InProgress");
    let refused = answer.json.get("refused").and_then(Value::as_array);
    let refused = refused.expect("a list");
    assert_eq!(refused.len(), 20);
    for refusal in refused {
        assert_eq!(refusal.get("code"), Some(&json!("0x80044F00")));
        assert!(refusal.get("id").is_some_and(Value::is_string));
        let message = refusal.get("message").and_then(Value::as_str);
        assert!(
            message.is_some_and(|text| text.contains("Succeeded")),
            "{refusal}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_meant_only_where_it_is_named() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    worker
        .run(client.create(&json!({"messageName": "a"})).await)
        .await;
    let body = json!({"messageName": "a", "dependencyToken": "t", "tokenPolicy": "hold"});
    let holding = client.create(&body).await;
    let cancel = format!("/v1/operations/{holding}/cancel");
    client.send("POST", &cancel, &[], "").await;
    let live = client.create(&json!({"messageName": "a"})).await;

    let until = json!({"postponeUntil": "2099-01-01T00:00:00Z"});
    for (action, body, expected) in [
        ("cancel", json!({}), (1, 1, 0)),
        ("pause", json!({}), (1, 1, 0)),
        ("postpone", until, (1, 1, 0)),
        // The live one is Ready, and the one that holds its token goes on.
        ("resume", json!({}), (2, 1, 1)),
        // Only Completed operations can be deleted.
        ("delete", json!({}), (3, 1, 2)),
    ] {
        let path = format!("/v1/operations/{action}?messageName=a&dryRun=true");
        let answer = client.post(&path, &body).await;
        assert_eq!(counts(&answer), expected, "{action}");
        if action == "delete" {
            continue;
        }
        for (named, over) in [("state=Completed", 2), ("status=Succeeded", 1)] {
            let answer = client.post(&format!("{path}&{named}"), &body).await;
            assert_eq!(count(&answer, "matched"), over, "{action} {named}");
        }
    }
    assert_eq!(
        counts(&ask(&client, "/v1/operations/cancel?all=true").await),
        (1, 1, 0)
    );
    assert_eq!(client.status(live).await, "Canceled");
    let again = ask(&client, "/v1/operations/cancel?all=true").await;
    assert_eq!(counts(&again), (0, 0, 0));
    assert_eq!(next(&again), None);
}

#[tokio::test(start_paused = true)]
async fn old_ones_are_deleted_by_the_time_of_their_end() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    let old = client.create(&json!({"messageName": "a"})).await;
    let long = client.create(&json!({"messageName": "a"})).await;
    worker.run(old).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let noon = backend.store.now().to_string();
    worker.run(long).await;
    let fresh = client.create(&json!({"messageName": "a"})).await;

    let path = format!("/v1/operations/delete?completedBefore={noon}");
    assert_eq!(counts(&ask(&client, &path).await), (1, 1, 0));
    let status = |id| {
        let client = client.clone();
        async move { client.get(&format!("/v1/operations/{id}")).await.status }
    };
    assert_eq!(status(old).await, StatusCode::NOT_FOUND);
    assert_eq!(status(long).await, StatusCode::OK);

    let path = format!("/v1/operations/cancel?state=Completed&createdBefore={noon}");
    assert_eq!(count(&ask(&client, &path).await, "matched"), 1, "long");
    assert_eq!(client.status(fresh).await, "WaitingForResources");
    let listed = client
        .get(&format!("/v1/operations?createdBefore={noon}"))
        .await;
    assert_eq!(listed.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_callers_own_organization_is_met() {
    let client = Client::of(&manager(&backend()));
    let json_type = ("content-type", "application/json");
    let contoso = ("drumline-organization", "contoso");
    let body = json!({"messageName": "a"}).to_string();
    let theirs = client
        .send("POST", "/v1/operations", &[json_type, contoso], body)
        .await;
    assert_eq!(theirs.status, StatusCode::CREATED);
    let ours = client.create(&json!({"messageName": "a"})).await;

    let all = "/v1/operations/cancel?all=true";
    assert_eq!(counts(&ask(&client, all).await), (1, 1, 0));
    assert_eq!(client.status(ours).await, "Canceled");
    let answer = client.send("POST", all, &[contoso], Body::empty()).await;
    assert_eq!(counts(&answer), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_is_missing_by_mistake_selects_nothing() {
    let client = Client::of(&manager(&backend()));
    let id = client.create(&json!({"messageName": "a"})).await;
    for query in [
        "",
        "?",
        "?dryRun=true",
        "?limit=10",
        "?all=false",
        "?messageName=",
        "?messageName=a&state=",
        "?message=a",
        "?all=yes",
        "?state=Ready&state=Suspended",
        "?messageName=a&limit=501",
        "?messageName=a&cursor=17",
        "?createdBefore=yesterday",
    ] {
        let answer = ask(&client, &format!("/v1/operations/cancel{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    assert_eq!(client.status(id).await, "WaitingForResources");
    let nothing = client
        .post("/v1/operations/postpone?all=true", &json!({}))
        .await;
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    let nothing = ask(&client, "/v1/operations/postpone?all=true").await;
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    let body = client
        .post("/v1/operations/cancel?all=true", &json!({"state": "Ready"}))
        .await;
    assert_eq!(body.status, StatusCode::UNPROCESSABLE_ENTITY, "{body:?}");
}
