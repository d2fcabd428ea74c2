//! Running many operations again: as an action, of one failure group, in the order of
//! their tokens.

use axum::http::StatusCode;
use drumline_backend::Backend;
use drumline_protocol::{ErrorCode, Event, FailureKey, Fault, Jitter, OperationId};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::actions_on_many::{
    ANN, ended, number, numbers, shown, slow, start, started, stored, text,
};
use crate::support::client::Client;
use crate::support::faulty::Faults;
use crate::support::worker::Worker;
use crate::support::{backend, manager, until};

/// More than two pages.
const MANY: usize = 450;

/// The fault of the operation with this number: all are of one group.
fn fault(number: usize) -> Fault {
    let message = format!("row {number} is broken");
    Fault::new(ErrorCode::NETWORK_ERROR, "It is broken.", &message)
}

/// The group of the faults.
fn group() -> String {
    FailureKey::new("a", ErrorCode::NETWORK_ERROR, "row # is broken").to_string()
}

/// Creates an operation of a token, which fails.
async fn failed(client: &Client, backend: &Backend, number: usize, with: Fault) -> OperationId {
    let body = json!({"messageName": "a", "name": number.to_string(), "dependencyToken": "t"});
    let id = client.create(&body).await;
    let worker = Worker::new(backend);
    let fence = worker.claim(id).await;
    worker.say(id, fence, Event::Fail(with)).await;
    id
}

async fn many_failed(client: &Client, backend: &Backend) -> Vec<OperationId> {
    let mut ids = Vec::new();
    for number in 0..MANY {
        ids.push(failed(client, backend, number, fault(number)).await);
    }
    ids
}

fn run_again() -> Value {
    json!({"action": "run-again", "filter": {"failure": group()}, "reason": "it is mended"})
}

/// The names of the operations that wait, the oldest first.
async fn waiting(client: &Client) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/operations?state=Ready&limit=500{cursor}");
        let page = client.get(&path).await.json;
        let operations = page["operations"].as_array().expect("operations");
        names.extend(operations.iter().map(|one| text(one, "name").to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    names.reverse();
    names
}

fn in_order(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_failure_runs_again_from_the_oldest_on_and_once() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    many_failed(&client, &backend).await;
    let other = Fault::new(ErrorCode::NETWORK_ERROR, "", "another kind");
    failed(&client, &backend, MANY, other).await;

    let mut dry = run_again();
    dry["dryRun"] = json!(true);
    let preview = start(&client, &[], &dry).await;
    assert_eq!(preview.status, StatusCode::OK, "{preview:?}");
    let all = MANY as u64;
    assert_eq!(number(&preview.json, "done"), all, "{preview:?}");
    assert_eq!(waiting(&client).await, [""; 0], "nothing was done");

    let maintenance = Maintenance::start(&manager);
    let action = started(&client, &[ANN], &run_again()).await;
    assert_eq!(text(&action, "action"), "run-again");
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    assert_eq!(numbers(&end), (all, all, 0), "{end}");
    assert_eq!(waiting(&client).await, in_order(MANY));
    let new = client.get("/v1/operations?state=Ready&limit=1").await.json;
    assert_eq!(text(&new["operations"][0], "ownerId"), "ann", "{new}");

    // They have failed still, so a second action meets them.
    let again = started(&client, &[], &run_again()).await;
    let end = ended(&client, &again).await;
    assert_eq!(numbers(&end), (all, all, 0), "{end}");
    assert_eq!(waiting(&client).await, in_order(MANY), "none ran twice");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_manager_goes_on_where_a_dead_one_has_stopped() {
    let backend = backend();
    let (first, faults) = slow(&backend);
    let client = Client::of(&manager(&backend));
    many_failed(&client, &backend).await;
    let action = started(&client, &[], &run_again()).await;
    let of_first = Maintenance::start(&first);
    until("a page has run again, and not all", || async {
        let now = shown(&client, &action).await;
        assert_eq!(text(&now, "state"), "running", "{now}");
        number(&now, "done") > 0
    })
    .await;
    let record = stored(&backend, &action).await;
    assert!(record.ahead().is_whole, "all are found before one is done");
    assert_eq!(record.counts.counted, MANY as u64);
    Faults::set(&faults.store_is_away, true);
    let of_second = Maintenance::start(&manager(&backend));
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    let all = MANY as u64;
    assert_eq!(numbers(&end), (all, all, 0), "{end}");
    assert_eq!(waiting(&client).await, in_order(MANY));
    Faults::set(&faults.store_is_away, false);
    of_first.stop().await;
    of_second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_again_if_more_match_than_were_expected() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    for number in 0..3 {
        failed(&client, &backend, number, fault(number)).await;
    }
    let mut body = run_again();
    body["expected"] = json!(2);
    let refused = start(&client, &[], &body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json["attributes"][0]["name"], "expected");
    assert_eq!(waiting(&client).await, [""; 0]);
    body["expected"] = json!(3);
    let maintenance = Maintenance::start(&manager);
    let action = started(&client, &[], &body).await;
    assert_eq!(text(&ended(&client, &action).await, "state"), "done");
    assert_eq!(waiting(&client).await, in_order(3));
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn operations_that_have_not_ended_are_refused_and_do_not_keep_the_others() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = failed(&client, &backend, 0, fault(0)).await;
    client.create(&json!({"messageName": "a"})).await;
    let body = json!({"action": "run-again", "filter": {"state": "Ready"}, "reason": "a test"});
    let maintenance = Maintenance::start(&manager);
    let refused = started(&client, &[], &body).await;
    let end = ended(&client, &refused).await;
    assert_eq!(numbers(&end), (1, 0, 1), "{end}");
    // Without a state, Completed ones are meant.
    let body = json!({"action": "run-again", "filter": {"messageName": "a"}, "reason": "a test"});
    let action = started(&client, &[], &body).await;
    let end = ended(&client, &action).await;
    assert_eq!(numbers(&end), (1, 1, 0), "{end}");
    let old = client.get(&format!("/v1/operations/{id}")).await.json;
    assert_eq!(text(&old, "status"), "Failed", "it stays as it is");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_tried_again_is_found_by_its_failure_and_cancelled() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let waits = client.create(&json!({"messageName": "a"})).await;
    let fence = worker.claim(waits).await;
    let retry = Event::Retry {
        fault: fault(1),
        after: None,
        jitter: Jitter(0),
    };
    worker.say(waits, fence, retry).await;
    let fresh = client.create(&json!({"messageName": "a"})).await;
    let ended_so = failed(&client, &backend, 2, fault(2)).await;
    let found = client
        .get(&format!("/v1/operations?failure={}", group()))
        .await
        .json;
    let ids = found["operations"].as_array().expect("operations").iter();
    let ids: Vec<_> = ids.map(|one| text(one, "id")).collect();
    assert_eq!(ids, [ended_so.to_string(), waits.to_string()]);

    let maintenance = Maintenance::start(&manager);
    let body = json!({"action": "cancel", "filter": {"failure": group()}, "reason": "a test"});
    let action = started(&client, &[], &body).await;
    let end = ended(&client, &action).await;
    assert_eq!(numbers(&end), (1, 1, 0), "{end}");
    assert_eq!(client.status(waits).await, "Canceled");
    assert_eq!(client.status(fresh).await, "WaitingForResources");
    assert_eq!(client.status(ended_so).await, "Failed");
    let wrong = client.get("/v1/operations?failure=all").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
    maintenance.stop().await;
}
