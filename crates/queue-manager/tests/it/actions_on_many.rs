//! `/v1/actions`: actions on many operations as objects, their execution and their end.

use std::sync::Arc;

use axum::http::StatusCode;
use drumline_backend::Backend;
use drumline_protocol::{BulkAction, OperationId};
use drumline_queue_manager::{Maintenance, QueueManager};
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::faulty::{Faults, faulty};
use crate::support::{backend, manager, until};

const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const ANN: (&str, &str) = ("Drumline-Caller", "ann");
const BOB: (&str, &str) = ("Drumline-Caller", "bob");
const CONTOSO: (&str, &str) = ("Drumline-Organization", "contoso");
/// More than two pages.
pub(crate) const MANY: usize = 1_100;

pub(crate) async fn start(client: &Client, who: &[(&str, &str)], body: &Value) -> Answer {
    let mut headers = vec![JSON];
    headers.extend(who);
    client
        .send("POST", "/v1/actions", &headers, body.to_string())
        .await
}

/// The action that is started, as it was answered.
pub(crate) async fn started(client: &Client, who: &[(&str, &str)], body: &Value) -> Value {
    let answer = start(client, who, body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let address = format!("/v1/actions/{}", text(&answer.json, "id"));
    assert_eq!(answer.header("location"), address);
    answer.json
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

pub(crate) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().expect("a number")
}

pub(crate) fn numbers(action: &Value) -> (u64, u64, u64) {
    (
        number(action, "counted"),
        number(action, "done"),
        number(action, "refusedCount"),
    )
}

pub(crate) async fn stored(backend: &Backend, action: &Value) -> BulkAction {
    let id = text(action, "id").parse().expect("an id");
    let found = backend.store.action(id).await.expect("the store is there");
    found.expect("it is kept")
}

pub(crate) async fn shown(client: &Client, action: &Value) -> Value {
    let path = format!("/v1/actions/{}", text(action, "id"));
    let answer = client.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json
}

pub(crate) async fn abort(client: &Client, who: &[(&str, &str)], action: &Value) -> Answer {
    let path = format!("/v1/actions/{}/abort", text(action, "id"));
    client.send("POST", &path, who, "").await
}

/// Waits for the end of an action, and returns it.
pub(crate) async fn ended(client: &Client, action: &Value) -> Value {
    until("the action ends", || async {
        let now = shown(client, action).await;
        !matches!(text(&now, "state"), "running" | "aborting")
    })
    .await;
    shown(client, action).await
}

/// Waits until some operations are done, and not all.
pub(crate) async fn under_way(client: &Client, action: &Value) {
    until("it is under way", || async {
        let now = shown(client, action).await;
        assert_eq!(text(&now, "state"), "running", "{now}");
        number(&now, "counted") > 0
    })
    .await;
}

pub(crate) async fn create(client: &Client, count: usize) -> Vec<OperationId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(client.create(&json!({"messageName": "a"})).await);
    }
    ids
}

pub(crate) async fn canceled(client: &Client, ids: &[OperationId]) -> usize {
    let mut count = 0;
    for id in ids {
        count += usize::from(client.status(*id).await == "Canceled");
    }
    count
}

pub(crate) fn cancel() -> Value {
    json!({"action": "cancel", "filter": {"messageName": "a"}, "reason": "an error"})
}

/// A manager whose actions are written slowly, with its switches.
pub(crate) fn slow(backend: &Backend) -> (QueueManager, Arc<Faults>) {
    let (backend, faults) = faulty(backend);
    Faults::set(&faults.actions_are_slow, true);
    (manager(&backend), faults)
}

#[tokio::test(start_paused = true)]
async fn an_action_is_done_in_pages_in_the_name_of_its_caller() {
    let (manager, _faults) = slow(&backend());
    let client = Client::of(&manager);
    let ids = create(&client, MANY).await;
    let other = client.create(&json!({"messageName": "b"})).await;
    let action = started(&client, &[ANN], &cancel()).await;
    assert_eq!(text(&action, "state"), "running");
    assert_eq!(text(&action, "startedBy"), "ann");
    assert_eq!(text(&action, "reason"), "an error");
    assert_eq!(action["filter"], json!({"messageName": "a"}));
    assert_eq!(numbers(&action), (0, 0, 0));
    let maintenance = Maintenance::start(&manager);
    under_way(&client, &action).await;
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    let all = MANY as u64;
    assert_eq!(numbers(&end), (all, all, 0));
    assert!(
        end["endedOn"].is_string() && end["lookedBackTo"].is_null(),
        "{end}"
    );
    assert_eq!(canceled(&client, &ids).await, MANY);
    assert_eq!(client.status(other).await, "WaitingForResources");
    let history = client
        .get(&format!("/v1/operations/{}/history", ids[0]))
        .await;
    let entries = history.json["entries"].as_array().expect("entries");
    let last = entries.last().expect("an entry");
    assert_eq!(last["actor"], json!({"kind": "caller", "name": "ann"}));
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_manager_finishes_what_a_dead_one_has_begun() {
    let backend = backend();
    let (first, faults) = slow(&backend);
    let client = Client::of(&manager(&backend));
    let ids = create(&client, MANY).await;
    let action = started(&client, &[], &cancel()).await;
    let of_first = Maintenance::start(&first);
    under_way(&client, &action).await;
    // As dead as can be: it writes nothing any more, and gives nothing back.
    Faults::set(&faults.store_is_away, true);
    let second = manager(&backend);
    let of_second = Maintenance::start(&second);
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    assert_eq!(canceled(&client, &ids).await, MANY);
    let all = MANY as u64;
    assert_eq!(numbers(&end), (all, all, 0), "none is missing: {end}");
    // The first one comes back, and writes nothing.
    Faults::set(&faults.store_is_away, false);
    of_first.stop().await;
    assert_eq!(shown(&client, &action).await, end);
    of_second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_comes_back_does_not_go_on_with_what_another_has_finished() {
    let backend = backend();
    let (first, faults) = slow(&backend);
    let client = Client::of(&manager(&backend));
    let ids = create(&client, MANY).await;
    let body = |action: &str| json!({"action": action, "filter": {"messageName": "a"}, "reason": "an error"});
    let action = started(&client, &[], &body("pause")).await;
    let of_first = Maintenance::start(&first);
    under_way(&client, &action).await;
    Faults::set(&faults.store_is_away, true);
    let of_second = Maintenance::start(&manager(&backend));
    assert_eq!(text(&ended(&client, &action).await, "state"), "done");
    // An operator has looked, and all of them go on.
    let resumed = started(&client, &[], &body("resume")).await;
    assert_eq!(text(&ended(&client, &resumed).await, "state"), "done");
    Faults::set(&faults.store_is_away, false);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    for id in ids {
        assert_eq!(client.status(id).await, "WaitingForResources");
    }
    of_first.stop().await;
    of_second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_was_taken_before_a_fault_of_the_store_is_executed() {
    let (manager, faults) = faulty(&backend());
    let manager = crate::support::manager(&manager);
    let client = Client::of(&manager);
    create(&client, 3).await;
    let first = started(&client, &[], &cancel()).await;
    let second = started(&client, &[], &cancel()).await;
    // The one of the first is written, and that of the second is not.
    faults
        .failing_action_write
        .store(2, std::sync::atomic::Ordering::Relaxed);
    let maintenance = Maintenance::start(&manager);
    for action in [first, second] {
        assert_eq!(text(&ended(&client, &action).await, "state"), "done");
    }
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_stops_gives_its_actions_back() {
    let backend = backend();
    let (first, _faults) = slow(&backend);
    let client = Client::of(&manager(&backend));
    create(&client, MANY).await;
    let action = started(&client, &[], &cancel()).await;
    let of_first = Maintenance::start(&first);
    under_way(&client, &action).await;
    of_first.stop().await;
    assert_eq!(stored(&backend, &action).await.executor, None);
    let second = manager(&backend);
    let of_second = Maintenance::start(&second);
    let end = ended(&client, &action).await;
    let all = MANY as u64;
    assert_eq!(numbers(&end), (all, all, 0), "none is missing: {end}");
    of_second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_holds_an_action_up() {
    let backend = backend();
    let (manager, faults) = slow(&backend);
    let client = Client::of(&manager);
    let ids = create(&client, MANY).await;
    let action = started(&client, &[], &cancel()).await;
    let maintenance = Maintenance::start(&manager);
    under_way(&client, &action).await;
    Faults::set(&faults.store_is_away, true);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    Faults::set(&faults.store_is_away, false);
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    assert_eq!(canceled(&client, &ids).await, MANY);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_is_aborted_behind_its_page() {
    let (manager, _faults) = slow(&backend());
    let client = Client::of(&manager);
    let ids = create(&client, MANY).await;
    let action = started(&client, &[ANN], &cancel()).await;
    let maintenance = Maintenance::start(&manager);
    under_way(&client, &action).await;
    let asked = abort(&client, &[BOB], &action).await;
    assert_eq!(asked.status, StatusCode::OK, "{asked:?}");
    assert_eq!(text(&asked.json, "abortedBy"), "bob");
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "aborted", "{end}");
    let done = number(&end, "done");
    assert!(done < MANY as u64, "{end}");
    assert_eq!(canceled(&client, &ids).await as u64, done);
    // A second abort, or one of what has ended, changes nothing.
    assert_eq!(abort(&client, &[ANN], &action).await.json, end);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_nobody_executes_is_aborted_at_once() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let ids = create(&client, 3).await;
    let action = started(&client, &[ANN], &cancel()).await;
    let aborted = abort(&client, &[ANN], &action).await;
    assert_eq!(text(&aborted.json, "state"), "aborted", "{aborted:?}");
    let maintenance = Maintenance::start(&manager);
    let later = started(
        &client,
        &[ANN],
        &json!({
            "action": "pause", "filter": {"messageName": "none"}, "reason": "a signal",
        }),
    )
    .await;
    ended(&client, &later).await;
    assert_eq!(canceled(&client, &ids).await, 0);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn operations_that_are_created_later_are_not_meant() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let before = create(&client, 3).await;
    let action = started(&client, &[], &cancel()).await;
    let after = create(&client, 2).await;
    let maintenance = Maintenance::start(&manager);
    let end = ended(&client, &action).await;
    assert_eq!(numbers(&end), (3, 3, 0), "{end}");
    assert_eq!(canceled(&client, &before).await, 3);
    assert_eq!(canceled(&client, &after).await, 0);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_refusals_are_kept_and_all_are_counted() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    create(&client, 25).await;
    let body = json!({"action": "delete", "filter": {"state": "Ready"}, "reason": "a test"});
    let action = started(&client, &[], &body).await;
    let maintenance = Maintenance::start(&manager);
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    assert_eq!(numbers(&end), (25, 0, 25));
    let refused = end["refused"].as_array().expect("a list");
    assert_eq!(refused.len(), 20);
    assert_eq!(refused[0]["code"], "0x8004416A", "{}", refused[0]);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_counts_and_starts_nothing() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    create(&client, 3).await;
    let body = json!({"action": "cancel", "filter": {"messageName": "a"}, "dryRun": true});
    let answer = start(&client, &[], &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let found = &answer.json;
    assert_eq!(found["dryRun"], true);
    assert_eq!(found["complete"], true);
    assert_eq!((number(found, "matched"), number(found, "done")), (3, 3));
    let listed = client.get("/v1/actions").await;
    assert_eq!(listed.json, json!({"actions": [], "nextCursor": null}));
}

#[tokio::test(start_paused = true)]
async fn more_operations_than_expected_are_left_alone() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let ids = create(&client, 3).await;
    let body = |expected| {
        json!({
            "action": "cancel", "reason": "a test", "expected": expected,
            "filter": {"messageName": "a", "state": "Suspended"},
        })
    };
    for id in &ids {
        let path = format!("/v1/operations/{id}/pause");
        client.post(&path, &json!({})).await;
    }
    let refused = start(&client, &[], &body(2)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json["attributes"][0]["name"], "expected");
    // Two of them match at the start, and all three when it is executed.
    let last = format!("/v1/operations/{}", ids[0]);
    client.post(&format!("{last}/resume"), &json!({})).await;
    let action = started(&client, &[], &body(2)).await;
    client.post(&format!("{last}/pause"), &json!({})).await;
    let maintenance = Maintenance::start(&manager);
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "failed", "{end}");
    assert!(
        text(&end, "failure").contains("more operations match"),
        "{end}"
    );
    assert_eq!(numbers(&end), (2, 2, 0));
    assert_eq!(client.status(ids[0]).await, "Waiting");
    // As many as expected are no failure.
    let action = started(&client, &[], &body(1)).await;
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_organization_has_a_bounded_number_of_running_actions() {
    let client = Client::of(&manager(&backend()));
    let mut first = None;
    for _ in 0..20 {
        let action = started(&client, &[CONTOSO], &cancel()).await;
        first.get_or_insert(action);
    }
    let refused = start(&client, &[CONTOSO], &cancel()).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json["name"], "TooManyConcurrentRequests");
    assert_eq!(refused.header("retry-after"), "2");
    started(&client, &[], &cancel()).await;
    abort(&client, &[CONTOSO], &first.expect("an action")).await;
    started(&client, &[CONTOSO], &cancel()).await;
}

#[tokio::test(start_paused = true)]
async fn actions_are_listed_by_organization_page_by_page() {
    let client = Client::of(&manager(&backend()));
    let mut ours = Vec::new();
    for _ in 0..3 {
        let action = started(&client, &[CONTOSO], &cancel()).await;
        ours.insert(0, text(&action, "id").to_owned());
        started(&client, &[], &cancel()).await;
    }
    let list = async |query: &str| {
        let path = format!("/v1/actions{query}");
        let page = client.send("GET", &path, &[CONTOSO], "").await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let actions = page.json["actions"].as_array().expect("a list").clone();
        let ids = actions.iter().map(|action| text(action, "id").to_owned());
        (ids.collect::<Vec<_>>(), page.json["nextCursor"].clone())
    };
    assert_eq!(list("").await, (ours.clone(), Value::Null));
    let (first, cursor) = list("?limit=2").await;
    assert_eq!(first, ours[..2]);
    let cursor = cursor.as_str().expect("a cursor");
    let (rest, end) = list(&format!("?limit=2&cursor={cursor}")).await;
    assert_eq!((rest.as_slice(), end), (&ours[2..], Value::Null));
    // Another organization sees none of them.
    for id in [ours[0].as_str(), "nonsense"] {
        for (method, path) in [("GET", ""), ("POST", "/abort")] {
            let path = format!("/v1/actions/{id}{path}");
            let answer = client.send(method, &path, &[], "").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
            assert_eq!(answer.json["name"], "ObjectDoesNotExist");
        }
    }
    for wrong in ["?limit=0", "?limit=101", "?cursor=x", "?color=red"] {
        let answer = client.get(&format!("/v1/actions{wrong}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}
