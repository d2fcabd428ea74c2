//! Draining one worker: over the API, and from its row in the console.

use axum::http::StatusCode;
use drumline_backend::membership::Role as MemberRole;
use drumline_backend::{Backend, MemberId, Profile};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::Keyed;
use crate::explaining::worker;
use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::{backend, manager};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Makes a worker known, and returns the address of its drain.
async fn known(backend: &Backend) -> (MemberId, String) {
    let member = worker(&["*"], 2);
    let beaten = backend.membership.beat(&member).await;
    beaten.expect("the membership is there");
    (member.id, format!("/workers/{}/drain", member.id))
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_asked_to_drain_and_hears_of_it_with_its_beat() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    let (id, path) = known(&backend).await;
    let path = format!("/v1{path}");
    for _ in 0..2 {
        let asked = client.send("POST", &path, &[], "").await;
        assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
        assert_eq!(asked.json["id"], json!(id.to_string()));
        assert_eq!(asked.json["draining"], json!(false), "it says so itself");
    }
    let mut member = worker(&["*"], 2);
    backend.membership.beat(&member).await.expect("it beats");
    assert!(backend.membership.is_asked_to_drain(id));
    member.profile.draining = true;
    backend.membership.beat(&member).await.expect("it beats");
    let fleet = client.get("/v1/workers").await;
    assert_eq!(fleet.json["workers"][0]["draining"], json!(true));

    Faults::set(&faults.store_is_away, true);
    let away = client.send("POST", &path, &[], "").await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE, "{away:?}");
}

#[tokio::test(start_paused = true)]
async fn only_live_workers_are_asked() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let mut manager = worker(&[], 0);
    manager.id = MemberId(Uuid::from_u128(8));
    manager.profile = Profile::new(MemberRole::Manager);
    backend.membership.beat(&manager).await.expect("it beats");
    for id in [
        manager.id.to_string(),
        Uuid::nil().to_string(),
        "x".to_owned(),
    ] {
        let path = format!("/v1/workers/{id}/drain");
        let none = client.send("POST", &path, &[], "").await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "{none:?}");
        assert_eq!(none.json["name"], "ObjectDoesNotExist", "{none:?}");
        let page = client.get(&format!("/workers/{id}/drain")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{page:?}");
    }
    assert!(!backend.membership.is_asked_to_drain(manager.id));
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_drained_from_its_row() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let (id, path) = known(&backend).await;
    let shown = client.get("/workers").await;
    let link = format!("href=\"{path}\">Drain</a>");
    assert!(shown.text.contains(&link), "{shown:?}");
    let asked = client.get(&path).await;
    for words in [
        "<h1>Drain <bdi>test</bdi>?</h1>",
        "The 2 operations that it runs go on to their end.",
        "No other worker serves the queues default",
        &format!("drumline workers drain {id}"),
    ] {
        assert!(asked.text.contains(words), "{words}: {asked:?}");
    }
    backend
        .membership
        .beat(&worker(&["*"], 2))
        .await
        .expect("beats");
    assert!(
        !backend.membership.is_asked_to_drain(id),
        "nothing is done yet"
    );
    let here = ("sec-fetch-site", "same-origin");
    let sent = client.send("POST", &path, &[FORM, here], "").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{sent:?}");
    let next = client.get(sent.header("location")).await;
    assert!(
        next.text
            .contains("The worker test was asked to drain, and says here"),
        "{next:?}"
    );
    let mut member = worker(&["*"], 1);
    member.profile.draining = true;
    backend.membership.beat(&member).await.expect("beats");
    assert!(backend.membership.is_asked_to_drain(id));
    let shown = client.get("/workers").await;
    assert!(
        shown.text.contains("drains: takes nothing new"),
        "{shown:?}"
    );
    assert!(!shown.text.contains(&link), "{shown:?}");
    let again = client.get(&path).await;
    assert!(!again.text.contains("<button class=\"main\">"), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn workers_are_of_all_organizations_and_so_are_those_who_drain_them() {
    let keyed = Keyed::start("drain");
    let (_, path) = known(keyed.manager.backend()).await;
    let api = format!("/v1{path}");
    for key in ["reader", "producer", "operator", "metrics", "admin"] {
        let refused = keyed.send(key, "POST", &api, &Value::Null).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{key}: {refused:?}");
    }
    let list = keyed
        .send("operator", "GET", "/workers", &Value::Null)
        .await;
    assert!(!list.text.contains(">Drain</a>"), "{list:?}");
    let list = keyed
        .send("everywhere", "GET", "/workers", &Value::Null)
        .await;
    assert!(list.text.contains(">Drain</a>"), "{list:?}");
    let asked = keyed.send("everywhere", "POST", &api, &Value::Null).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
}
