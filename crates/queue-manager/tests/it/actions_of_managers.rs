//! Actions on many operations and the managers that execute them: several that live, one
//! that dies within a page, one of an earlier release.

use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::Backend;
use drumline_backend::store::ActionWrite;
use drumline_protocol::{
    ActionId, ActionStage, Author, BulkAction, BulkChange, BulkCounts, Extensions, Fence,
    OperationId, Organization, Partition, Timestamp,
};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::actions_on_many::{
    ANN, MANY, abort, cancel, canceled, create, ended, number, numbers, shown, slow, started,
    stored, text, under_way,
};
use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::{backend, manager, until};

/// Fewer than a page, and more than are changed at the same time.
const SOME: usize = 200;

async fn pause(client: &Client, id: OperationId) {
    let path = format!("/v1/operations/{id}/pause");
    client.post(&path, &json!({})).await;
}

/// The number of changes of this name in the history of an operation.
async fn changes(client: &Client, id: OperationId, event: &str) -> usize {
    let history = client.get(&format!("/v1/operations/{id}/history")).await;
    let entries = history.json["entries"].as_array().expect("entries").clone();
    entries
        .iter()
        .filter(|entry| entry["event"] == event)
        .count()
}

/// Has a manager execute an action until so many operations are changed, and takes its
/// store away then.
async fn die_within_a_page(backend: &Backend, after: usize) -> Maintenance {
    let (dying, faults) = faulty(backend);
    faults.commits_until_away.store(after, Ordering::Relaxed);
    let maintenance = Maintenance::start(&manager(&dying));
    until("it is dead", || async {
        faults.store_is_away.load(Ordering::Relaxed)
    })
    .await;
    maintenance
}

/// An action as a store has it, of a time.
fn action_of(started_on: Timestamp, conditions: &[(&str, &str)]) -> BulkAction {
    let id = OperationId::counted(started_on, 0, Partition::default(), [7; 16]);
    let conditions = conditions.iter();
    BulkAction {
        id: ActionId::new(id),
        organization: Organization::default(),
        change: BulkChange::Cancel,
        conditions: conditions
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        reason: "a test".to_owned(),
        author: Author::Caller("ann".to_owned()),
        started_on,
        expected: None,
        stage: ActionStage::Running,
        ended_on: None,
        aborted_by: None,
        below: id,
        counts: BulkCounts::default(),
        executor: None,
        last_fence: Fence(0),
        revision: 1,
        extensions: Extensions::default(),
    }
}

async fn put(backend: &Backend, action: &BulkAction) {
    let written = backend.store.put_action(action).await;
    assert_eq!(written.expect("the store is there"), ActionWrite::Written);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_a_dead_manager_has_begun_changes_nothing_twice() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let ids = create(&client, SOME).await;
    for id in &ids {
        pause(&client, *id).await;
    }
    let body = json!({"action": "resume", "filter": {"messageName": "a"}, "reason": "a test"});
    let action = started(&client, &[ANN], &body).await;
    let of_first = die_within_a_page(&backend, SOME / 2).await;
    // A person looks at one that was resumed, and wants it to wait.
    let latest = ids[SOME - 1];
    assert_eq!(client.status(latest).await, "WaitingForResources");
    pause(&client, latest).await;
    let of_second = Maintenance::start(&manager(&backend));
    let end = ended(&client, &action).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    assert_eq!(numbers(&end), (SOME as u64, SOME as u64, 0), "{end}");
    assert_eq!(client.status(latest).await, "Waiting");
    for id in &ids[..SOME - 1] {
        assert_eq!(client.status(*id).await, "WaitingForResources");
        assert_eq!(changes(&client, *id, "resume").await, 1);
    }
    of_second.stop().await;
    of_first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_repeated_postpones_once() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let ids = create(&client, SOME).await;
    let body = json!({
        "action": "postpone", "filter": {"messageName": "a"}, "reason": "a test",
        "postponeUntil": "2099-01-01T00:00:00Z",
    });
    let action = started(&client, &[ANN], &body).await;
    let of_first = die_within_a_page(&backend, SOME / 2).await;
    let of_second = Maintenance::start(&manager(&backend));
    let end = ended(&client, &action).await;
    assert_eq!(numbers(&end), (SOME as u64, SOME as u64, 0), "{end}");
    for id in ids {
        assert_eq!(changes(&client, id, "postpone").await, 1);
    }
    of_second.stop().await;
    of_first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_does_not_let_an_action_change_more_than_expected() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let later = create(&client, 30).await;
    let meant = create(&client, 70).await;
    for id in &meant {
        pause(&client, *id).await;
    }
    let body = json!({
        "action": "cancel", "reason": "a test", "expected": 70,
        "filter": {"messageName": "a", "state": "Suspended"},
    });
    let action = started(&client, &[ANN], &body).await;
    let of_first = die_within_a_page(&backend, 30).await;
    for id in &later {
        pause(&client, *id).await;
    }
    let of_second = Maintenance::start(&manager(&backend));
    let end = ended(&client, &action).await;
    // The page that was announced reached to the end.
    assert_eq!(text(&end, "state"), "done", "{end}");
    assert_eq!(numbers(&end), (70, 70, 0), "{end}");
    assert_eq!(canceled(&client, &meant).await, 70);
    assert_eq!(canceled(&client, &later).await, 0);
    of_second.stop().await;
    of_first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_managers_that_live_share_more_actions_than_one_executes() {
    let backend = backend();
    let managers = [manager(&backend), manager(&backend)];
    let client = Client::of(&managers[0]);
    let mut actions = Vec::new();
    for number in 0..12 {
        let name = format!("message {number}");
        for _ in 0..3 {
            client.create(&json!({"messageName": name})).await;
        }
        let body = json!({"action": "cancel", "filter": {"messageName": name}, "reason": "a test"});
        actions.push(started(&client, &[ANN], &body).await);
    }
    let maintenance = managers.each_ref().map(Maintenance::start);
    for action in &actions {
        let end = ended(&client, action).await;
        assert_eq!(text(&end, "state"), "done", "{end}");
        assert_eq!(numbers(&end), (3, 3, 0));
        // No manager has taken it from another one.
        assert_eq!(stored(&backend, action).await.last_fence, Fence(1));
    }
    for one in maintenance {
        one.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_look_does_not_cost_a_manager_its_actions() {
    let backend = backend();
    let (first, faults) = slow(&backend);
    let client = Client::of(&manager(&backend));
    let ids = create(&client, MANY).await;
    let action = started(&client, &[ANN], &cancel()).await;
    let of_first = Maintenance::start(&first);
    under_way(&client, &action).await;
    Faults::set(&faults.open_actions_are_slow, true);
    // The next look has begun.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let of_second = Maintenance::start(&manager(&backend));
    let end = ended(&client, &action).await;
    assert_eq!(numbers(&end), (MANY as u64, MANY as u64, 0), "{end}");
    assert_eq!(stored(&backend, &action).await.last_fence, Fence(1));
    assert_eq!(canceled(&client, &ids).await, MANY);
    of_second.stop().await;
    of_first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_of_a_later_release_waits_and_says_so() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let ids = create(&client, 3).await;
    let later = Timestamp::from_millis(backend.store.now().as_millis() + 1_000);
    let action = action_of(later, &[("colour", "red")]);
    put(&backend, &action).await;
    let maintenance = Maintenance::start(&manager);
    let address = json!({"id": action.id.to_string()});
    until("it says so", || async {
        shown(&client, &address).await["obstacle"].is_string()
    })
    .await;
    let told = shown(&client, &address).await;
    assert_eq!(text(&told, "state"), "running", "{told}");
    assert!(text(&told, "obstacle").contains("colour"), "{told}");
    // It is written once, however often it is looked at.
    let waiting = stored(&backend, &address).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stored(&backend, &address).await, waiting);
    // A manager that knows the condition takes it.
    let known = BulkAction {
        conditions: vec![("messageName".to_owned(), "a".to_owned())],
        revision: waiting.revision + 1,
        ..waiting
    };
    put(&backend, &known).await;
    let end = ended(&client, &address).await;
    assert_eq!(text(&end, "state"), "done", "{end}");
    assert_eq!(end["obstacle"], Value::Null);
    assert_eq!(number(&end, "done"), 3);
    assert_eq!(canceled(&client, &ids).await, 3);
    // An action that waits is aborted at once.
    let second = action_of(
        Timestamp::from_millis(later.as_millis() + 1),
        &[("colour", "red")],
    );
    put(&backend, &second).await;
    let aborted = abort(&client, &[ANN], &json!({"id": second.id.to_string()})).await;
    assert_eq!(text(&aborted.json, "state"), "aborted");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn maintenance_removes_ended_actions_after_thirty_days() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let day = 24 * 60 * 60 * 1_000;
    let now = backend.store.now();
    let started_before = |days: i64| Timestamp::from_millis(now.as_millis() - days * day);
    let [old, young] = [31, 29].map(|days| action_of(started_before(days), &[]));
    for action in [&old, &young] {
        put(&backend, action).await;
        put(&backend, &action.ended(ActionStage::Done, now)).await;
    }
    let maintenance = Maintenance::start(&manager(&backend));
    until("the old one is gone", || async {
        let found = backend.store.action(old.id).await;
        found.expect("the store is there").is_none()
    })
    .await;
    let listed = client.get("/v1/actions").await;
    let ids = listed.json["actions"].as_array().expect("a list").iter();
    let ids: Vec<_> = ids.map(|action| text(action, "id").to_owned()).collect();
    assert_eq!(ids, [young.id.to_string()]);
    maintenance.stop().await;
}
