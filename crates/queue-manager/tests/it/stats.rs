//! Statistics and failure groups, as processes have counted them.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use drumline_backend::store::{Resolution, RollupKey};
use drumline_protocol::{ErrorCode, Event, Fault};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::worker::Worker;
use crate::support::{backend, manager, until};

fn fault(message: &str) -> Fault {
    Fault::new(ErrorCode::NETWORK_ERROR, "It has failed.", message)
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_counted_by_the_minute() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let none = client.get("/v1/stats").await.json;
    assert_eq!(none["total"]["created"], 0, "{none}");
    assert_eq!(none["total"]["waitP50Ms"], Value::Null, "{none}");
    assert_eq!(none["slots"].as_array().map(Vec::len), Some(61), "{none}");
    let import = json!({"messageName": "Import", "queue": "imports"});
    let cancelled = client.create(&import).await;
    worker.run(client.create(&import).await).await;
    let other = client.create(&json!({"messageName": "Other"})).await;
    let fence = worker.claim(other).await;
    worker.say(other, fence, Event::Fail(fault("x"))).await;
    let cancel = format!("/v1/operations/{cancelled}/cancel");
    for _ in 0..2 {
        // A cancel of a Canceled operation is not counted again.
        client.post(&cancel, &json!({})).await;
    }
    worker.write_counts().await;
    until("the minute is written", async || {
        let total = client.get("/v1/stats").await.json["total"].clone();
        total["created"] == 3 && total["succeeded"] == 1
    })
    .await;
    let all = client.get("/v1/stats").await.json;
    let total = &all["total"];
    assert_eq!(total["canceled"], 1, "{all}");
    assert_eq!(total["failed"], 1, "{all}");
    assert_eq!(total["expired"], 0, "{all}");
    let breakdown = all["breakdown"].as_array().expect("a list");
    let named = |queue: &str, name: &str| {
        let is_named = |one: &&Value| one["queue"] == queue && one["messageName"] == name;
        breakdown
            .iter()
            .find(is_named)
            .cloned()
            .expect("its counts")
    };
    assert_eq!(breakdown.len(), 2, "{all}");
    assert_eq!(named("imports", "Import")["created"], 2, "{all}");
    assert_eq!(named("default", "Other")["failed"], 1, "{all}");
    let of = async |query: &str| client.get(&format!("/v1/stats?{query}")).await.json;
    assert_eq!(of("queue=imports").await["total"]["created"], 2);
    assert_eq!(of("messageName=Other").await["total"]["created"], 1);
    assert_eq!(
        of("queue=imports&messageName=Other").await["total"]["created"],
        0
    );
    assert_eq!(of("queue=unknown").await["total"]["created"], 0);
    // After three hours, in slots of ten minutes.
    tokio::time::sleep(Duration::from_secs(4 * 3600)).await;
    let late = of("since=1h").await;
    assert_eq!(late["total"]["created"], 0, "{late}");
    let long = of("since=5h").await;
    assert_eq!(long["slotSeconds"], 600, "{long}");
    assert_eq!(long["total"]["created"], 3, "{long}");
    let longest = of("since=1000h").await;
    assert_eq!(
        longest["slots"].as_array().map(Vec::len),
        Some(432),
        "{longest}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_that_breaks_a_rule_is_refused() {
    let client = Client::of(&manager(&backend()));
    for path in [
        "/v1/stats?since=tomorrow",
        "/v1/stats?queue=A_B",
        "/v1/stats?message=a",
        "/v1/failures?limit=0",
        "/v1/failures?limit=1001",
        "/v1/failures?messageName=a",
    ] {
        let refused = client.get(path).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_service_ends_itself_is_counted() {
    let backend = backend();
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    let client = Client::of(&manager);
    let time = backend.store.now().saturating_add(Duration::from_secs(30));
    let expiring = json!({"messageName": "Late", "notAfter": time.to_string()});
    client.create(&expiring).await;
    let lost = json!({"messageName": "Lost", "atMostOnce": true});
    let lost = client.create(&lost).await;
    Worker::new(&backend).claim(lost).await;
    until("both are in their groups", async || {
        let found = client.get("/v1/failures").await.json;
        found["groups"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    let found = client.get("/v1/failures").await.json;
    let codes: Vec<&str> = found["groups"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|group| group["errorCode"].as_str())
        .collect();
    assert!(codes.contains(&"0x8D00000C"), "{found}");
    let lost = ErrorCode::WORKER_LOST.to_string();
    assert!(codes.contains(&lost.as_str()), "{found}");
    until("the minutes are written", async || {
        let total = client.get("/v1/stats").await.json["total"].clone();
        total["expired"] == 1 && total["failed"] == 1
    })
    .await;
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_the_same_to_a_person_are_one_group() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    let mut last = None;
    for message in ["row 7 of 'a.csv'", "row 12 of 'b.csv'", "no such file"] {
        let id = client.create(&json!({"messageName": "Import"})).await;
        let fence = worker.claim(id).await;
        worker.say(id, fence, Event::Fail(fault(message))).await;
        if message.starts_with("row") {
            last = Some(id);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    worker.write_counts().await;
    let found = client.get("/v1/failures").await.json;
    let groups = found["groups"].as_array().expect("a list");
    let [file, rows] = groups.as_slice() else {
        panic!("two groups: {found}");
    };
    assert_eq!(file["pattern"], "no such file", "{found}");
    assert_eq!(rows["pattern"], "row # of '…'", "{found}");
    assert_eq!(rows["count"], 2, "{found}");
    assert_eq!(rows["messageName"], "Import", "{found}");
    let last = last.expect("one of them").to_string();
    assert_eq!(rows["sample"], json!(last), "{found}");
    assert!(rows["first"].as_str() < rows["last"].as_str(), "{found}");
    let hourly = rows["hourly"].as_array().expect("a list");
    assert_eq!(hourly.len(), 24, "{found}");
    let in_last_hours = hourly.iter().rev().take(2).filter_map(Value::as_u64);
    assert_eq!(in_last_hours.sum::<u64>(), 2, "{found}");
    let one = client.get("/v1/failures?limit=1").await.json;
    assert_eq!(one["groups"].as_array().map(Vec::len), Some(1), "{one}");
    let other = [("Drumline-Organization", "other")];
    let others = client.send("GET", "/v1/failures", &other, Body::empty());
    let others = others.await;
    assert_eq!(others.json["groups"], json!([]), "{others:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_is_written_when_the_manager_ends() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    client.create(&json!({"messageName": "a"})).await;
    let slot = Resolution::Minute.slot(backend.store.now());
    manager.close().await;
    let found = backend
        .store
        .rollups(&[RollupKey::Total], Resolution::Minute, slot, 1)
        .await;
    let found = found.expect("the store is there");
    assert_eq!(
        found
            .first()
            .and_then(|slot| slot.first())
            .map(|one| one.created),
        Some(1)
    );
}

/// Fails an operation of a message name, and counts that.
async fn fails(client: &Client, worker: &Worker, message_name: &str) {
    let id = client.create(&json!({"messageName": message_name})).await;
    let fence = worker.claim(id).await;
    worker.say(id, fence, Event::Fail(fault("row 7"))).await;
    worker.write_counts().await;
}

#[tokio::test(start_paused = true)]
async fn a_muted_group_raises_no_alarm_until_the_mute_ends() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    let said = async || {
        let now = client.get("/v1/now").await.json;
        let findings = now["findings"].as_array().expect("a list");
        let said = findings.iter().map(|one| one["sentence"].clone());
        let said: Vec<_> = said
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect();
        // No worker beats here.
        let said: Vec<_> = said
            .into_iter()
            .filter(|one| one.contains("fail"))
            .collect();
        (said, now)
    };
    fails(&client, &worker, "Import").await;
    let (findings, now) = said().await;
    let expected = "One operation failed within the last hour: Import, NetworkError, row #.";
    assert_eq!(findings, [expected], "{now}");
    assert_eq!(now["failing"][0]["messageName"], "Import", "{now}");

    let id = client.get("/v1/failures").await.json["groups"][0]["id"].clone();
    let path = format!("/v1/failures/{}/mute", id.as_str().expect("an id"));
    let until = backend.store.now().saturating_add(Duration::from_secs(600));
    let mute = json!({"reason": "the vendor knows", "until": until.to_string()});
    let muted = client.json("PUT", &path, &mute).await;
    assert_eq!(muted.status, StatusCode::OK, "{muted:?}");
    let group = client.get("/v1/failures").await.json["groups"][0].clone();
    assert_eq!(group, muted.json);
    let mut mutes = group["muted"].clone();
    assert!(mutes["mutedOn"].take().is_string(), "{group}");
    let expected = json!({
        "reason": "the vendor knows",
        "until": until.to_string(),
        "mutedBy": "anonymous",
        "mutedOn": null,
    });
    assert_eq!(mutes, expected);

    // It fails on, and no alarm is raised.
    fails(&client, &worker, "Import").await;
    let (findings, now) = said().await;
    assert!(findings.is_empty(), "{now}");
    assert_eq!(now["failing"], json!([]), "{now}");
    // Another kind is heard all the same.
    fails(&client, &worker, "Export").await;
    let (findings, now) = said().await;
    let expected = "One operation failed within the last hour: Export, NetworkError, row #.";
    assert_eq!(findings, [expected], "{now}");
    // The mute ends by itself.
    tokio::time::sleep(Duration::from_secs(601)).await;
    let (findings, now) = said().await;
    assert_eq!(
        findings,
        ["3 operations failed within the last hour."],
        "{now}"
    );
    let groups = client.get("/v1/failures").await.json;
    assert!(!groups.to_string().contains("muted"), "{groups}");
}

#[tokio::test(start_paused = true)]
async fn a_mute_is_ended_by_hand() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    fails(&client, &Worker::new(&backend), "Import").await;
    let id = client.get("/v1/failures").await.json["groups"][0]["id"].clone();
    let path = format!("/v1/failures/{}/mute", id.as_str().expect("an id"));
    let at = |seconds| {
        backend
            .store
            .now()
            .saturating_add(Duration::from_secs(seconds))
    };
    let mute = |until: String| json!({"reason": "known", "until": until});
    let longest = 30 * 24 * 3600;
    for until in [at(0), at(longest + 60)] {
        let refused = client.json("PUT", &path, &mute(until.to_string())).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{refused:?}"
        );
        assert_eq!(
            refused.json["attributes"][0]["name"], "until",
            "{refused:?}"
        );
    }
    let unmute = async |path: &str| client.send("DELETE", path, &[], Body::empty()).await;
    // It is not muted yet.
    assert_eq!(unmute(&path).await.status, StatusCode::NOT_FOUND);
    let mute = mute(at(longest).to_string());
    for unknown in ["0000000000000001", "nonsense"] {
        let path = format!("/v1/failures/{unknown}/mute");
        let none = client.json("PUT", &path, &mute).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "{none:?}");
        assert_eq!(none.json["code"], "0x80040217", "{none:?}");
    }
    let other = [
        ("Drumline-Organization", "other"),
        ("content-type", "application/json"),
    ];
    let theirs = client.send("PUT", &path, &other, mute.to_string()).await;
    assert_eq!(theirs.status, StatusCode::NOT_FOUND, "{theirs:?}");
    for _ in 0..2 {
        let muted = client.json("PUT", &path, &mute).await;
        assert_eq!(muted.status, StatusCode::OK, "{muted:?}");
    }
    assert_eq!(unmute(&path).await.status, StatusCode::NO_CONTENT);
    let again = unmute(&path).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "{again:?}");
    let group = client.get("/v1/failures").await.json["groups"][0].clone();
    assert_eq!(group["muted"], Value::Null, "{group}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_heard_is_found_behind_many_that_are_muted() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    fails(&client, &worker, "Heard").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let names = (b'a'..=b'z').map(|letter| format!("Muted{}", char::from(letter)));
    for name in names {
        fails(&client, &worker, &name).await;
    }
    let until = backend.store.now().saturating_add(Duration::from_secs(600));
    let mute = json!({"reason": "known", "until": until.to_string()});
    let groups = client.get("/v1/failures").await.json["groups"].clone();
    for group in groups.as_array().expect("a list") {
        if group["messageName"] != "Heard" {
            let path = format!("/v1/failures/{}/mute", group["id"].as_str().expect("an id"));
            client.json("PUT", &path, &mute).await;
        }
    }
    let now = client.get("/v1/now").await.json;
    let failing = now["failing"].as_array().expect("a list");
    assert_eq!(failing.len(), 1, "{now}");
    assert_eq!(failing[0]["messageName"], "Heard", "{now}");
}
