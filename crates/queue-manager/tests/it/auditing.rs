//! `/v1/audit` and its page: who sees which entries, and what a flood comes to.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_queue_manager::QueueManager;
use serde_json::{Value, json};

use crate::access::Keyed;
use crate::support::client::{Answer, Client};
use crate::support::faulty::{Faults, faulty};
use crate::support::{backend, manager, until};

async fn list(keyed: &Keyed, key: &str, conditions: &str) -> Vec<Value> {
    let path = format!("/v1/audit{conditions}");
    let answer = keyed.send(key, "GET", &path, &Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    entries(&answer)
}

fn entries(answer: &Answer) -> Vec<Value> {
    let entries = answer.json["entries"].as_array();
    entries.expect("a list of entries").clone()
}

/// Waits until a key sees so many entries.
async fn wait_for(keyed: &Keyed, key: &str, conditions: &str, count: usize) -> Vec<Value> {
    until("the entries are stored", || async {
        list(keyed, key, conditions).await.len() >= count
    })
    .await;
    let found = list(keyed, key, conditions).await;
    assert_eq!(found.len(), count, "{found:?}");
    found
}

#[tokio::test(start_paused = true)]
async fn each_change_and_denial_is_listed_newest_first_to_those_who_may_see_it() {
    let keyed = Keyed::start("audit");
    let created = keyed.create("producer").await.id().to_string();
    let denied = keyed.create("reader").await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "{denied:?}");
    let unknown = keyed.create("unknown").await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED, "{unknown:?}");
    let path = format!("/v1/operations/{created}/cancel");
    let canceled = keyed.send("operator", "POST", &path, &Value::Null).await;
    assert_eq!(canceled.status, StatusCode::OK, "{canceled:?}");
    keyed.create("other").await;

    // A key of one organization sees no other one, and no sender that is not known.
    let own = wait_for(&keyed, "operator", "", 3).await;
    let [cancel, denial, create] = own.as_slice() else {
        panic!("{own:?}");
    };
    assert_eq!(create["action"], "POST /v1/operations");
    assert_eq!(create["ids"], json!([created]));
    assert_eq!(create["organization"], "contoso");
    assert_eq!(create["caller"], "producer");
    assert_eq!(denial["outcome"], "denied");
    assert_eq!(denial["reason"], "role");
    assert_eq!(denial["organization"], "contoso", "{denial}");
    assert_eq!(cancel["action"], "POST /v1/operations/{id}/cancel");
    assert_eq!(cancel["outcome"], "done");
    wait_for(&keyed, "other", "", 1).await;
    let all = wait_for(&keyed, "everywhere", "", 5).await;
    assert!(all.iter().any(|entry| entry["reason"] == "unknown_key"));

    let principal = create["principal"].as_str().unwrap();
    let bare = principal.strip_prefix("key:").unwrap();
    let time = cancel["time"].as_str().unwrap();
    for (conditions, count) in [
        (format!("?id={created}"), 2),
        (format!("?who={principal}"), 1),
        (format!("?who={bare}&action=OPERATIONS"), 1),
        ("?who=operator".to_owned(), 1),
        ("?who=nobody".to_owned(), 0),
        ("?action=cancel".to_owned(), 1),
        ("?outcome=denied".to_owned(), 1),
        ("?organization=fabrikam".to_owned(), 0),
        (format!("?since={time}&until={time}&action=cancel"), 1),
        ("?limit=2".to_owned(), 2),
        ("?since=2040-01-01T00:00:00Z".to_owned(), 0),
        ("?until=2020-01-01T00:00:00Z".to_owned(), 0),
    ] {
        let found = list(&keyed, "operator", &conditions).await;
        assert_eq!(found.len(), count, "{conditions}: {found:?}");
    }
    let elsewhere = list(&keyed, "everywhere", "?organization=fabrikam").await;
    assert_eq!(elsewhere.len(), 1, "{elsewhere:?}");
    let wrong = "/v1/audit?outcome=lost&since=yesterday&limit=0&cursor=x&color=red";
    let wrong = keyed.send("operator", "GET", wrong, &Value::Null).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
    assert_eq!(wrong.json["attributes"].as_array().map(Vec::len), Some(5));
}

#[tokio::test(start_paused = true)]
async fn pages_and_the_export_have_every_entry_once() {
    let keyed = Keyed::start("audit-pages");
    for _ in 0..7 {
        keyed.create("producer").await;
    }
    let all = wait_for(&keyed, "operator", "", 7).await;
    let mut paged = Vec::new();
    let mut path = "/v1/audit?limit=3&action=operations".to_owned();
    loop {
        let answer = keyed.send("operator", "GET", &path, &Value::Null).await;
        paged.extend(entries(&answer));
        let Some(next) = answer.json["nextCursor"].as_str() else {
            break;
        };
        path = format!("/v1/audit?limit=3&action=operations&cursor={next}");
    }
    assert_eq!(paged, all);
    for path in ["/v1/audit?format=jsonl", "/audit.jsonl"] {
        let file = keyed.send("operator", "GET", path, &Value::Null).await;
        assert_eq!(file.status, StatusCode::OK, "{file:?}");
        assert_eq!(file.header("content-type"), "application/x-ndjson");
        let lines = file.text.lines().map(serde_json::from_str);
        let lines: Vec<Value> = lines.collect::<Result<_, _>>().unwrap();
        assert_eq!(lines, all, "{path}");
    }
    let page = keyed
        .send("operator", "GET", "/audit?who=producer", &Value::Null)
        .await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert_eq!(page.text.matches("<th scope=\"row\"").count(), 7);
    assert!(page.text.contains("href=\"/audit.jsonl?who=producer\""));
    let id = all[0]["ids"][0].as_str().unwrap();
    assert!(page.text.contains(&format!("href=\"/operations/{id}\"")));
    // The id of an action on many leads to the action.
    let cancel = json!({"action": "cancel", "filter": {"messageName": "a"}, "reason": "an error"});
    let started = keyed.send("operator", "POST", "/v1/actions", &cancel).await;
    let action = started.json["id"].as_str().unwrap();
    wait_for(&keyed, "operator", &format!("?id={action}"), 1).await;
    let page = keyed
        .send("operator", "GET", "/audit?who=operator", &Value::Null)
        .await;
    assert!(page.text.contains(&format!("href=\"/actions/{action}\"")));
    let wrong = keyed
        .send("operator", "GET", "/audit?since=yesterday", &Value::Null)
        .await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("must be a time"), "{wrong:?}");
}

async fn left_out(client: &Client, reason: &str) -> u64 {
    let page = client.get("/metrics").await;
    let name = format!("drumline_audit_left_out_total{{reason=\"{reason}\"}} ");
    let found = page.text.lines().find_map(|line| line.strip_prefix(&name));
    found.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test(start_paused = true)]
async fn a_flood_leaves_room_for_the_changes_and_is_told_with_its_number() {
    let keyed = Keyed::start("audit-flood");
    for _ in 0..500 {
        let denied = keyed.create("reader").await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN, "{denied:?}");
    }
    for _ in 0..100 {
        assert_eq!(keyed.create("producer").await.status, StatusCode::CREATED);
    }
    let pause = json!({"scope": "queue", "name": "mail", "reason": "down"});
    keyed.send("operator", "PUT", "/v1/pauses", &pause).await;
    let told = |action: &'static str| {
        let keyed = &keyed;
        async move {
            let path = "?outcome=leftOut&limit=500";
            let entries = list(keyed, "everywhere", path).await;
            let entries = entries.iter().filter(|entry| entry["action"] == action);
            entries
                .filter_map(|entry| entry["count"].as_u64())
                .sum::<u64>()
        }
    };
    until("the denials are told", || async {
        told("denied requests that have no entry").await == 440_u64
    })
    .await;
    until("the creates are told", || async {
        told("creates that have no entry").await == 40_u64
    })
    .await;
    let denials = list(&keyed, "everywhere", "?outcome=denied&limit=500").await;
    assert_eq!(denials.len(), 60);
    let pauses = list(&keyed, "operator", "?action=pauses").await;
    assert_eq!(pauses.len(), 1, "{pauses:?}");
    assert_eq!(pauses[0]["reason"], "down");
    let answer = keyed.send("metrics", "GET", "/metrics", &Value::Null).await;
    let line = "drumline_audit_left_out_total{reason=\"denials\"} 440";
    assert!(answer.text.contains(line), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn entries_that_the_store_does_not_take_are_counted_and_hold_nothing_up() {
    let (backend, faults) = faulty(&backend());
    let manager: QueueManager = manager(&backend);
    let client = Client::of(&manager);
    Faults::set(&faults.store_is_away, true);
    let failed = client
        .post("/v1/operations", &json!({"messageName": "a"}))
        .await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE, "{failed:?}");
    until("the entry is given up", || async {
        left_out(&client, "store").await > 0
    })
    .await;
    let ready = client.get("/readyz").await;
    assert!(ready.text.contains("the audit stream: "), "{ready:?}");
    Faults::set(&faults.store_is_away, false);
    client.create(&json!({"messageName": "a"})).await;
    until("the loss is told", || async {
        let answer = client.get("/v1/audit?outcome=leftOut").await;
        entries(&answer)
            .iter()
            .any(|entry| entry["action"] == "entries that the store did not take")
    })
    .await;
    let ready = client.get("/readyz").await;
    assert!(!ready.text.contains("the audit stream: "), "{ready:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_is_stored_before_the_manager_ends() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    for _ in 0..30 {
        client.create(&json!({"messageName": "a"})).await;
    }
    let closed = tokio::time::timeout(Duration::from_secs(60), manager.close());
    closed.await.expect("it ends");
    let next = crate::support::manager(&backend);
    let answer = Client::of(&next).get("/v1/audit").await;
    assert_eq!(entries(&answer).len(), 30, "{answer:?}");
}
