//! Persistent pauses: `/v1/pauses`, what they hold, and their maintenance.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::Backend;
use drumline_protocol::{Author, OperationId, Organization, Pause, PauseKind, PauseScope};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::faulty::faulty;
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, until};

const JSON: (&str, &str) = ("content-type", "application/json");
const ANN: (&str, &str) = ("Drumline-Caller", "ann");
const CONTOSO: (&str, &str) = ("Drumline-Organization", "contoso");
/// Longer than any maintenance task rests.
const WHILE: Duration = Duration::from_secs(30);

async fn put(client: &Client, who: &[(&str, &str)], body: &Value) -> Answer {
    let mut headers = vec![JSON];
    headers.extend(who);
    client
        .send("PUT", "/v1/pauses", &headers, body.to_string())
        .await
}

async fn lift(client: &Client, who: &[(&str, &str)], id: &str) -> Answer {
    let path = format!("/v1/pauses/{id}");
    client.send("DELETE", &path, who, "").await
}

async fn listed(client: &Client, who: &[(&str, &str)]) -> Vec<Value> {
    let answer = client.send("GET", "/v1/pauses", who, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let pauses = answer.json["pauses"].as_array();
    pauses.expect("a list").clone()
}

fn of_mail(reason: &str) -> Value {
    json!({"scope": "messageName", "name": "SendMail", "reason": reason})
}

async fn explained(client: &Client, id: OperationId) -> Value {
    let path = format!("/v1/operations/{id}?explain=true");
    client.get(&path).await.json["waitingFor"].clone()
}

async fn held(backend: &Backend) -> u64 {
    let all: Vec<_> = backend.store.partitions().all().collect();
    let copies = backend.store.pause_copies(&all).await;
    let copies = copies.expect("the store is there").into_iter();
    copies.map(|copy| copy.held).sum()
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_set_shown_and_lifted() {
    let client = Client::of(&manager(&backend()));
    let set = put(&client, &[ANN], &of_mail("the mail server is down")).await;
    assert_eq!(set.status, StatusCode::CREATED, "{set:?}");
    assert_eq!(set.json["scope"], "messageName");
    assert_eq!(set.json["name"], "SendMail");
    assert_eq!(set.json["setBy"], "ann");
    // A repetition changes nothing, also one of another caller.
    let again = put(&client, &[], &of_mail("the mail server is down")).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(again.json, set.json);
    let other = put(&client, &[], &of_mail("still down")).await;
    assert_eq!(other.status, StatusCode::OK, "{other:?}");
    assert_eq!(other.json["id"], set.json["id"]);
    assert_eq!(other.json["setBy"], "anonymous");
    assert_eq!(
        listed(&client, &[]).await,
        std::slice::from_ref(&other.json)
    );

    let id = other.json["id"].as_str().expect("an id");
    let lifted = lift(&client, &[], id).await;
    assert_eq!(lifted.status, StatusCode::NO_CONTENT, "{lifted:?}");
    assert!(listed(&client, &[]).await.is_empty());
    for id in [id, "no id"] {
        let lifted = lift(&client, &[], &id.replace(' ', "%20")).await;
        assert_eq!(lifted.status, StatusCode::NOT_FOUND, "{lifted:?}");
        assert_eq!(lifted.json["code"], "0x80040217");
        let detail = lifted.json["detail"].to_string();
        assert!(detail.contains("no pause"), "{detail}");
    }
}

#[tokio::test(start_paused = true)]
async fn paused_operations_wait_and_go_on_in_order() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let set = put(&client, &[ANN], &of_mail("the mail server is down")).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.create(&json!({"messageName": "SendMail"})).await);
    }
    let neighbour = client.create(&json!({"messageName": "Report"})).await;
    assert_eq!(listener.hear(WHILE).await, [neighbour]);
    Worker::new(&backend).run(neighbour).await;
    assert!(listener.hear(WHILE).await.is_empty(), "they are held");
    assert_eq!(held(&backend).await, 3);
    let waiting = explained(&client, ids[0]).await;
    assert_eq!(waiting["reason"], "pause");
    let detail = waiting["detail"].as_str().expect("a text");
    let expected = "held by the pause of message name SendMail, set by ann since ";
    assert!(detail.starts_with(expected), "{detail}");
    let end =
        ": the mail server is down; it ends with `drumline resume --message SendMail --pause`";
    assert!(detail.ends_with(end), "{detail}");
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains("drumline_held_operations 3"), "{metrics}");
    assert!(
        metrics.contains("drumline_pauses{scope=\"messageName\"} 1"),
        "{metrics}"
    );

    // Control of one of them works meanwhile.
    let cancel = format!("/v1/operations/{}/cancel", ids[1]);
    assert_eq!(
        client.post(&cancel, &json!({})).await.status,
        StatusCode::OK
    );
    assert_eq!(held(&backend).await, 2);
    lift(&client, &[], set.json["id"].as_str().expect("an id")).await;
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let some = listener.hear(WHILE).await;
        assert!(!some.is_empty(), "they go on");
        heard.extend(some);
    }
    heard.sort_unstable();
    let mut expected = vec![ids[0], ids[2]];
    expected.sort_unstable();
    assert_eq!(heard, expected);
    assert_eq!(held(&backend).await, 0);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_at_its_time() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let now = backend.store.now();
    let end = now.saturating_add(Duration::from_secs(60));
    let mut body = of_mail("for a minute");
    body["until"] = json!(end.to_string());
    let set = put(&client, &[], &body).await;
    assert_eq!(set.status, StatusCode::CREATED, "{set:?}");
    let id = client.create(&json!({"messageName": "SendMail"})).await;
    let detail = explained(&client, id).await["detail"].to_string();
    assert!(detail.contains(&format!("it ends at {end}")), "{detail}");
    assert!(listener.hear(WHILE).await.is_empty(), "it is held");
    assert_eq!(listener.hear(WHILE * 2).await, [id]);
    assert!(backend.store.now() >= end);
    until("the pause is removed", || async {
        let kept = backend.store.pauses().await.expect("the store is there");
        kept.pauses.is_empty()
    })
    .await;
    assert!(listed(&client, &[]).await.is_empty());
    maintenance.stop().await;
}

/// A manager that sets a pause and dies leaves partitions out.
#[tokio::test(start_paused = true)]
async fn maintenance_brings_a_pause_to_the_partitions_that_lack_it() {
    let backend = backend();
    let pause = Pause {
        scope: PauseScope {
            kind: PauseKind::MessageName,
            organization: Organization::default(),
            value: "SendMail".to_owned(),
        },
        reason: "the mail server is down".to_owned(),
        until: None,
        author: Author::Caller("ann".to_owned()),
        since: backend.store.now(),
    };
    let store = &backend.store;
    store.set_pause(&pause).await.expect("the store is there");
    let written = store.pauses().await.expect("the store is there");
    let all: Vec<_> = store.partitions().all().collect();
    let some = all.get(..3).expect("there are more");
    let copied = store.copy_pauses(&written, some).await;
    copied.expect("the store is there");
    let maintenance = Maintenance::start(&manager(&backend));
    until("every partition has it", || async {
        let copies = store.pause_copies(&all).await.expect("the store is there");
        copies.iter().all(|copy| copy.version == written.version)
    })
    .await;
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_does_not_change_costs_no_look_at_what_it_holds() {
    let (wrapped, faults) = faulty(&backend());
    let manager = manager(&wrapped);
    let client = Client::of(&manager);
    put(&client, &[], &of_mail("the mail server is down")).await;
    for _ in 0..20 {
        client.create(&json!({"messageName": "SendMail"})).await;
    }
    assert_eq!(held(&wrapped).await, 20);
    let maintenance = Maintenance::start(&manager);
    tokio::time::sleep(WHILE).await;
    faults.take_calls();
    tokio::time::sleep(WHILE * 10).await;
    let calls = faults.take_calls();
    let count = |name| calls.iter().filter(|call| **call == name).count();
    let (looks, releases) = (count("pause_copies"), count("release_held"));
    // Now and then, and not at each look.
    assert!(looks > 100 && releases < 20 * 12, "{looks}, {releases}");
    // Another pause is a change.
    put(
        &client,
        &[],
        &json!({"scope": "messageName", "name": "other", "reason": "a"}),
    )
    .await;
    let id = listed(&client, &[]).await;
    for pause in id {
        lift(&client, &[], pause["id"].as_str().expect("an id")).await;
    }
    until("all are released", || async { held(&wrapped).await == 0 }).await;
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_of_one_organization_do_not_exist_for_the_others() {
    let client = Client::of(&manager(&backend()));
    let body = json!({"scope": "organization", "reason": "an audit"});
    let set = put(&client, &[CONTOSO], &body).await;
    assert_eq!(set.status, StatusCode::CREATED, "{set:?}");
    assert_eq!(set.json["name"], "contoso");
    let id = set.json["id"].as_str().expect("an id");
    assert!(listed(&client, &[]).await.is_empty());
    let lifted = lift(&client, &[], id).await;
    assert_eq!(lifted.status, StatusCode::NOT_FOUND, "{lifted:?}");
    assert_eq!(listed(&client, &[CONTOSO]).await.len(), 1);
    let ours = client.create(&json!({"messageName": "a"})).await;
    assert_ne!(explained(&client, ours).await["reason"], "pause");
    let foreign = json!({"scope": "organization", "name": "contoso", "reason": "no"});
    let refused = put(&client, &[], &foreign).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    assert_eq!(refused.json["attributes"][0]["name"], "name");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_over_before_it_begins_is_refused() {
    let client = Client::of(&manager(&backend()));
    let mut body = of_mail("too late");
    body["until"] = json!("2020-01-01T00:00:00Z");
    let refused = put(&client, &[], &body).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    assert_eq!(refused.json["attributes"][0]["name"], "until");
    assert!(listed(&client, &[]).await.is_empty());
}
