//! Operations that no worker took go on by themselves when a worker takes them.

use std::time::Duration;

use drumline_backend::apply_event::{Applied, Signature, apply_event_unlocked};
use drumline_backend::{Backend, Ids, Member, MemberId};
use drumline_protocol::{Author, Event, OperationId, Status};
use drumline_queue_manager::Maintenance;
use serde_json::json;
use uuid::Uuid;

use crate::explaining::worker;
use crate::support::client::Client;
use crate::support::{backend, manager, stored, until};

/// The event of a worker that does not take the operation.
async fn suspend(backend: &Backend, id: OperationId, event: Event) {
    let operation = stored(backend, id).await;
    let (ids, author) = (Ids::random(), Author::worker("w"));
    let by = Signature::new(&ids, &author);
    let decided = apply_event_unlocked(&*backend.store, by, &operation, event).await;
    assert!(matches!(decided, Ok(Applied::Done(..))), "{decided:?}");
}

/// Lets these workers live on, until the operations have these statuses.
async fn live(backend: &Backend, workers: &[Member], what: &str, ids: &[(OperationId, Status)]) {
    until(what, || async {
        for worker in workers {
            let beaten = backend.membership.beat(worker).await;
            beaten.expect("the membership is there");
        }
        for (id, status) in ids {
            if stored(backend, *id).await.header.status != *status {
                return false;
            }
        }
        true
    })
    .await;
}

/// Lets workers live on for some time.
async fn rest(backend: &Backend, workers: &[Member], time: Duration) {
    for _ in 0..time.as_millis() / 500 {
        live(backend, workers, "the workers beat", &[]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_had_no_handler_goes_on_when_a_worker_has_one() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let old = worker(&["a"], 0);
    let maintenance = Maintenance::start(&manager);
    live(&backend, std::slice::from_ref(&old), "it is known", &[]).await;
    let waits = client.create(&json!({"messageName": "b"})).await;
    let other = client.create(&json!({"messageName": "c"})).await;
    // Of a type that clients may not resume.
    let closed = json!({"messageName": "b", "operationType": 31});
    let closed = client.create(&closed).await;
    for id in [waits, other, closed] {
        suspend(&backend, id, Event::Unhandled).await;
    }
    // A person has resumed and paused this one, which bears the fault still.
    let paused = client.create(&json!({"messageName": "b"})).await;
    suspend(&backend, paused, Event::Unhandled).await;
    for action in ["resume", "pause"] {
        let path = format!("/v1/operations/{paused}/{action}");
        client.send("POST", &path, &[], "").await;
    }
    // And has paused these two as they waited, the second with all of its name.
    let at_once = client.create(&json!({"messageName": "b"})).await;
    let in_bulk = client
        .create(&json!({"messageName": "b", "name": "many"}))
        .await;
    for (id, path) in [
        (at_once, format!("/v1/operations/{at_once}/pause")),
        (in_bulk, "/v1/operations/pause?name=many".to_owned()),
    ] {
        suspend(&backend, id, Event::Unhandled).await;
        let answer = client.send("POST", &path, &[], "").await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
    rest(
        &backend,
        std::slice::from_ref(&old),
        Duration::from_secs(30),
    )
    .await;
    assert_eq!(stored(&backend, waits).await.header.status, Status::Waiting);
    let new = Member {
        id: MemberId(Uuid::from_u128(8)),
        ..worker(&["b"], 0)
    };
    let workers = [old, new];
    let expected = [
        (waits, Status::WaitingForResources),
        (closed, Status::WaitingForResources),
    ];
    live(&backend, &workers, "they go on", &expected).await;
    rest(&backend, &workers, Duration::from_secs(30)).await;
    for id in [other, paused, at_once, in_bulk] {
        assert_eq!(stored(&backend, id).await.header.status, Status::Waiting);
    }
    let history = client.get(&format!("/v1/operations/{waits}/history")).await;
    let last = history.json["entries"].as_array().expect("entries").last();
    let last = last.expect("an entry");
    assert_eq!(last["event"], "resume", "{last}");
    assert_eq!(
        last["actor"],
        json!({"kind": "manager", "name": "handlers"})
    );
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_throttle_has_suspended_comes_back_slowly_at_first() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut throttled = worker(&["*"], 0);
    throttled.profile.throttled = vec!["a".to_owned()];
    let maintenance = Maintenance::start(&manager);
    live(
        &backend,
        std::slice::from_ref(&throttled),
        "it is known",
        &[],
    )
    .await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        let id = client.create(&json!({"messageName": "a"})).await;
        suspend(&backend, id, Event::Throttle).await;
        ids.push(id);
    }
    let ready = async || {
        let counts = backend.store.counts().await.expect("the store is there");
        counts.ready
    };
    let one = std::slice::from_ref(&throttled);
    rest(&backend, one, Duration::from_secs(60)).await;
    assert_eq!(ready().await, 0);
    // The pause is over for a moment, and the probe fails.
    let open = [worker(&["*"], 0)];
    until("the first are resumed", || async {
        live(&backend, &open, "it beats", &[]).await;
        ready().await > 0
    })
    .await;
    rest(&backend, one, Duration::from_secs(60)).await;
    let few = ready().await;
    assert!(few < 50, "{few}");
    // It succeeds.
    until("all are resumed", || async {
        live(&backend, &open, "it beats", &[]).await;
        ready().await == 100
    })
    .await;
    maintenance.stop().await;
}
