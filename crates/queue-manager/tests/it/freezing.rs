//! `/v1/freeze`: nothing starts in any organization, and everything goes on behind it.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::access::Keyed;
use crate::support::client::{Answer, Client};
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, until};

const FABRIKAM: (&str, &str) = ("Drumline-Organization", "fabrikam");
/// Longer than any maintenance task rests.
const WHILE: Duration = Duration::from_secs(30);

async fn freeze(client: &Client, body: &Value) -> Answer {
    client.json("PUT", "/v1/freeze", body).await
}

async fn thaw(client: &Client) -> Answer {
    client.send("DELETE", "/v1/freeze", &[], "").await
}

#[tokio::test(start_paused = true)]
async fn a_frozen_service_starts_nothing_and_goes_on_when_it_is_thawed() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let running = client.create(&json!({"messageName": "a"})).await;
    assert_eq!(listener.hear(WHILE).await, [running]);
    let worker = Worker::new(&backend);
    let fence = worker.claim(running).await;

    let set = freeze(&client, &json!({"reason": "Redis moves"})).await;
    assert_eq!(set.status, StatusCode::CREATED, "{set:?}");
    assert_eq!(set.json["scope"], "everything");
    let again = freeze(&client, &json!({"reason": "Redis moves"})).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(again.json, set.json);

    // The run goes on; creates wait, in every organization.
    worker
        .say(running, fence, drumline_protocol::Event::Succeed)
        .await;
    let own = client.create(&json!({"messageName": "a"})).await;
    let json = ("content-type", "application/json");
    let body = json!({"messageName": "a"}).to_string();
    let other = client
        .send("POST", "/v1/operations", &[json, FABRIKAM], body)
        .await;
    assert_eq!(other.status, StatusCode::CREATED, "{other:?}");
    assert!(listener.hear(WHILE).await.is_empty(), "they are held");

    let path = format!("/v1/operations/{own}?explain=true");
    let waiting = client.get(&path).await.json["waitingFor"].clone();
    assert_eq!(waiting["reason"], "pause");
    let detail = waiting["detail"].as_str().expect("a text");
    assert!(
        detail.starts_with("the service is frozen, by anonymous since "),
        "{detail}"
    );
    assert!(
        detail.ends_with(": Redis moves; it ends with `drumline thaw`"),
        "{detail}"
    );
    let now = client.get("/v1/now").await;
    let first = now.json["findings"][0]["sentence"].as_str();
    let first = first.expect("a finding");
    assert!(first.starts_with("The service is frozen by "), "{first}");
    let ready = client.get("/readyz").await;
    assert_eq!(ready.json["ready"], true, "{ready:?}");
    assert_eq!(ready.json["frozen"], "by anonymous: Redis moves");
    let metrics = client.get("/metrics").await.text;
    assert!(
        metrics.contains("drumline_pauses{scope=\"everything\"} 1"),
        "{metrics}"
    );
    let pages = client.get("/pauses").await.text;
    assert!(pages.contains("drumline thaw"), "{pages}");
    for who in [&[][..], &[FABRIKAM]] {
        let pauses = client.send("GET", "/v1/pauses", who, "").await;
        assert_eq!(pauses.json["pauses"][0], set.json, "{pauses:?}");
    }

    let thawed = thaw(&client).await;
    assert_eq!(thawed.status, StatusCode::NO_CONTENT, "{thawed:?}");
    let mut heard = listener.hear(WHILE).await;
    while heard.len() < 2 {
        let more = listener.hear(WHILE).await;
        assert!(!more.is_empty(), "they go on");
        heard.extend(more);
    }
    assert!(heard.contains(&own) && heard.contains(&other.id()));
    let ready = client.get("/readyz").await;
    assert!(ready.json["frozen"].is_null(), "{ready:?}");
    let none = thaw(&client).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "{none:?}");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_freeze_ends_at_its_time_and_every_manager_knows_it() {
    let backend = backend();
    let first = Client::of(&manager(&backend));
    let other = manager(&backend);
    let second = Client::of(&other);
    let maintenance = Maintenance::start(&other);
    let end = backend.store.now().saturating_add(Duration::from_secs(60));
    let set = freeze(&first, &json!({"until": end.to_string()})).await;
    assert_eq!(set.status, StatusCode::CREATED, "{set:?}");
    assert_eq!(set.json["reason"], "no reason was given");
    until("the other manager knows", || async {
        second.get("/readyz").await.json["frozen"].is_string()
    })
    .await;
    until("both know that it is over", || async {
        let known = [first.get("/readyz").await, second.get("/readyz").await];
        known.iter().all(|ready| ready.json["frozen"].is_null())
    })
    .await;
    assert!(backend.store.now() >= end);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_an_admin_of_all_organizations_freezes() {
    let keyed = Keyed::start("freeze");
    for key in ["reader", "producer", "operator", "metrics", "admin"] {
        for method in ["PUT", "DELETE"] {
            let refused = keyed.send(key, method, "/v1/freeze", &json!({})).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{key}: {refused:?}");
        }
    }
    let set = keyed
        .send("everywhere", "PUT", "/v1/freeze", &json!({}))
        .await;
    assert_eq!(set.status, StatusCode::CREATED, "{set:?}");
    // An operator of an organization sees it, and cannot lift it as a pause.
    let seen = keyed
        .send("reader", "GET", "/v1/pauses", &Value::Null)
        .await;
    let id = seen.json["pauses"][0]["id"].as_str().expect("a pause");
    let path = format!("/v1/pauses/{id}");
    let lifted = keyed.send("operator", "DELETE", &path, &Value::Null).await;
    assert_eq!(lifted.status, StatusCode::NOT_FOUND, "{lifted:?}");
    // Nor one of all organizations who takes the name of all.
    let all = [("Drumline-Organization", "*")];
    let lifted = keyed
        .send_with("operators", "DELETE", &path, &all, &Value::Null)
        .await;
    assert_eq!(lifted.status, StatusCode::NOT_FOUND, "{lifted:?}");
    let thawed = keyed
        .send("everywhere", "DELETE", "/v1/freeze", &Value::Null)
        .await;
    assert_eq!(thawed.status, StatusCode::NO_CONTENT, "{thawed:?}");
}

#[tokio::test(start_paused = true)]
async fn only_an_admin_of_all_organizations_makes_a_backup() {
    let keyed = Keyed::start("backup");
    for key in ["reader", "producer", "operator", "metrics", "admin"] {
        let refused = keyed.send(key, "GET", "/v1/backup", &Value::Null).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{key}: {refused:?}");
    }
    let none = keyed
        .send("everywhere", "GET", "/v1/backup", &Value::Null)
        .await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "{none:?}");
    assert!(none.text.contains("not a folder"), "{none:?}");
}

#[tokio::test(start_paused = true)]
async fn no_organization_is_paused_under_the_name_of_all() {
    let client = Client::of(&manager(&backend()));
    let all = [
        ("content-type", "application/json"),
        ("Drumline-Organization", "*"),
    ];
    let body = json!({"scope": "organization", "reason": "x"}).to_string();
    let refused = client.send("PUT", "/v1/pauses", &all, body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("freeze"), "{refused:?}");
}
