//! The requests of clients about a series: actions, changes, and what is shown.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{A_WHILE, Fixture, MINUTE};

#[tokio::test(start_paused = true)]
async fn a_series_is_paused_resumed_postponed_and_cancelled() {
    let mut fixture = Fixture::new().await;
    let series = fixture.series("FREQ=MINUTELY").await;
    assert!(fixture.occurrence(A_WHILE).await.is_some());
    fixture.ask(series, "pause").await;
    let view = fixture.view(series).await;
    assert_eq!(view["postponeUntil"], Value::Null);
    assert_eq!(view["nextOccurrences"], json!([]));
    assert_eq!(
        view["legalActions"],
        json!(["cancel", "resume", "postpone"])
    );
    assert_eq!(fixture.occurrence(10 * MINUTE).await, None);

    fixture.ask(series, "resume").await;
    assert_eq!(fixture.occurrence(Duration::from_millis(100)).await, None);
    assert!(fixture.occurrence(MINUTE + A_WHILE).await.is_some());
    let path = format!("/v1/operations/{series}/resume");
    let answer = fixture.client.send("POST", &path, &[], "").await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");

    let later = fixture.backend.store.now().saturating_add(30 * MINUTE);
    let body = json!({"stateCode": 1, "postponeUntil": later.to_string()});
    let (status, answer) = fixture.patch(series, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(fixture.occurrence(29 * MINUTE).await, None);
    let heard = fixture.listener.hear(2 * MINUTE).await;
    assert_eq!(heard.len(), 1);

    // A running occurrence goes on.
    let fence = fixture.worker.claim(heard[0]).await;
    fixture.ask(series, "cancel").await;
    fixture.worker.succeed(heard[0], fence).await;
    assert_eq!(fixture.client.status(heard[0]).await, "Succeeded");
    assert_eq!(fixture.client.status(series).await, "Canceled");
    assert_eq!(fixture.occurrence(10 * MINUTE).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_series_goes_by_the_clocks_of_its_time_zone() {
    let fixture = Fixture::new().await;
    let rule = "FREQ=DAILY;BYHOUR=6;BYMINUTE=0;BYSECOND=0";
    let body = json!({
        "messageName": "a", "recurrencePattern": rule, "recurrenceTimeZone": "Europe/Berlin",
        "recurrenceStartTime": "2027-03-27T00:00:00Z",
    });
    let series = fixture.client.create(&body).await;
    let view = fixture.view(series).await;
    assert_eq!(view["recurrencePattern"], json!(rule));
    assert_eq!(view["recurrenceTimeZone"], json!("Europe/Berlin"));
    let next = &view["nextOccurrences"];
    assert_eq!(next[0], json!("2027-03-27T05:00:00.000Z"));
    assert_eq!(next[1], json!("2027-03-28T04:00:00.000Z"));
    let page = fixture.client.get("/series").await.text;
    assert!(page.contains("(Europe/Berlin)"), "{page}");

    let zone = json!({"recurrenceTimeZone": "Asia/Kolkata"});
    let (status, view) = fixture.patch(series, &zone).await;
    assert_eq!(status, StatusCode::OK, "{view}");
    assert_eq!(view["recurrencePattern"], json!(rule));
    assert_eq!(view["recurrenceTimeZone"], json!("Asia/Kolkata"));
    assert_eq!(view["postponeUntil"], json!("2027-03-27T00:30:00.000Z"));
    // A change of the rule keeps the zone.
    let rule = json!({"recurrencePattern": "FREQ=DAILY;BYHOUR=7;BYMINUTE=0;BYSECOND=0"});
    let (_, view) = fixture.patch(series, &rule).await;
    assert_eq!(view["postponeUntil"], json!("2027-03-27T01:30:00.000Z"));
    let plain = fixture.series("FREQ=DAILY").await;
    let view = fixture.view(plain).await;
    assert_eq!(view["recurrenceTimeZone"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn the_rule_of_a_series_can_be_changed() {
    let mut fixture = Fixture::new().await;
    let series = fixture.series("FREQ=MINUTELY").await;
    assert!(fixture.occurrence(A_WHILE).await.is_some());
    let rule = json!({"recurrencePattern": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"});
    let (status, view) = fixture.patch(series, &rule).await;
    assert_eq!(status, StatusCode::OK, "{view}");
    assert_eq!(view["recurrencePattern"], rule["recurrencePattern"]);
    assert_eq!(view["postponeUntil"], json!("2026-11-18T12:00:00.000Z"));
    let start =
        json!({"recurrencePattern": "FREQ=HOURLY", "recurrenceStartTime": "2026-11-18T13:15:00Z"});
    let (_, view) = fixture.patch(series, &start).await;
    assert_eq!(
        view["recurrenceStartTime"],
        json!("2026-11-18T13:15:00.000Z")
    );
    assert_eq!(view["postponeUntil"], json!("2026-11-18T13:15:00.000Z"));

    // A paused series stays paused.
    fixture.ask(series, "pause").await;
    let (_, view) = fixture
        .patch(series, &json!({"recurrencePattern": "FREQ=DAILY"}))
        .await;
    assert_eq!(view["recurrencePattern"], json!("FREQ=DAILY"));
    assert_eq!(view["postponeUntil"], Value::Null);
    fixture.ask(series, "resume").await;
    let view = fixture.view(series).await;
    assert_eq!(view["postponeUntil"], json!("2026-11-18T13:15:00.000Z"));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_create_gets_the_series_even_when_it_is_over() {
    let mut fixture = Fixture::new().await;
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY;COUNT=1", "recurrenceStartTime": "2026-11-18T11:07:00Z"});
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let first = fixture
        .client
        .send("POST", "/v1/operations", &headers, body.to_string())
        .await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    assert!(fixture.occurrence(MINUTE).await.is_some());
    sleep(MINUTE).await;
    let again = fixture
        .client
        .send("POST", "/v1/operations", &headers, body.to_string())
        .await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(again.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn a_series_explains_what_it_waits_for() {
    let fixture = Fixture::new().await;
    let series = fixture.series("FREQ=DAILY").await;
    let path = format!("/v1/operations/{series}?explain=true");
    let explained = fixture.client.get(&path).await.json;
    assert_eq!(explained["waitingFor"]["reason"], json!("occurrence"));
    let detail = explained["waitingFor"]["detail"].as_str().expect("a text");
    assert!(detail.contains("waits for its next time"), "{detail}");
    assert_eq!(
        explained["nextOccurrences"].as_array().map(Vec::len),
        Some(5)
    );
    fixture.maintenance.stop().await;
    fixture.manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn every_answer_about_one_series_has_its_next_times() {
    let fixture = Fixture::new().await;
    let count = |view: &Value| view["nextOccurrences"].as_array().map(Vec::len);
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY;COUNT=9"});
    let created = fixture.client.post("/v1/operations", &body).await;
    assert_eq!(count(&created.json), Some(5), "{created:?}");
    let series = created.id();

    let fewer = json!({"recurrencePattern": "FREQ=DAILY;COUNT=3"});
    let (_, changed) = fixture.patch(series, &fewer).await;
    let found = count(&changed).expect("the next times");
    assert!((2..=3).contains(&found), "{changed}");

    for (columns, others) in [(Value::Null, true), (json!(["nextOccurrences"]), false)] {
        let mut parameters = json!({"id": series.to_string()});
        if !columns.is_null() {
            parameters["columnSet"] = columns;
        }
        let body = json!({"requestName": "Retrieve", "parameters": parameters});
        let answer = fixture.client.post("/v1/execute", &body).await;
        let operation = &answer.json["results"]["operation"];
        assert_eq!(operation["nextOccurrences"], changed["nextOccurrences"]);
        assert_eq!(operation.get("name").is_some(), others, "{operation}");
    }

    let path = format!("/v1/operations/{series}/pause");
    let paused = fixture.client.send("POST", &path, &[], "").await;
    assert_eq!(count(&paused.json), Some(0), "{paused:?}");
    let plain = json!({"messageName": "a"});
    let plain = fixture.client.post("/v1/operations", &plain).await;
    assert_eq!(plain.json.get("nextOccurrences"), None);
    fixture.maintenance.stop().await;
}
