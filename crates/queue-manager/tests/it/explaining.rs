//! Why an operation does not run: `?explain=true`.

use std::time::Duration;

use drumline_backend::apply_event::{Applied, Signature, apply_event_unlocked};
use drumline_backend::broker::{Bypassed, Trouble};
use drumline_backend::{Backend, Ids, Member, MemberId, Profile, Role, Roster};
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{Author, Event, OperationId, QueueName};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::Worker;
use crate::support::{backend, manager, stored, until};

/// A worker of the default queue.
pub(crate) fn worker(messages: &[&str], running: u32) -> Member {
    Member {
        id: MemberId(Uuid::from_u128(7)),
        host: "test".to_owned(),
        running,
        started_on_ms: 0,
        profile: Profile {
            queues: vec![QueueName::default()],
            messages: messages.iter().map(|name| (*name).to_owned()).collect(),
            concurrency: 4,
            ..Profile::new(Role::Worker)
        },
    }
}

/// Makes a worker of the default queue known.
async fn beat(backend: &Backend, messages: &[&str], running: u32) {
    let beaten = backend.membership.beat(&worker(messages, running)).await;
    beaten.expect("the membership is there");
}

async fn explained(client: &Client, id: OperationId) -> Value {
    let path = format!("/v1/operations/{id}?explain=true");
    let answer = client.get(&path).await;
    assert_eq!(answer.json["id"], json!(id.to_string()), "{answer:?}");
    answer.json["waitingFor"].clone()
}

async fn assert_reason(client: &Client, id: OperationId, reason: &str) {
    let waiting = explained(client, id).await;
    assert_eq!(waiting["reason"], json!(reason), "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn a_ready_operation_tells_what_is_missing() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    assert_reason(&client, id, "worker").await;
    beat(&backend, &["b"], 0).await;
    assert_reason(&client, id, "handler").await;
    beat(&backend, &["a"], 4).await;
    assert_reason(&client, id, "slot").await;
    beat(&backend, &["*"], 3).await;
    // Confirms are noted a moment later.
    until("the confirm is noted", || async {
        explained(&client, id).await["reason"] == json!("delivery")
    })
    .await;
    Faults::set(&faults.broker_is_blocked, true);
    assert_reason(&client, id, "broker").await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_is_on_its_way_only_while_that_is_known() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    beat(&backend, &["*"], 0).await;
    Faults::set(&faults.publishes_fail, true);
    let id = client.create(&json!({"messageName": "a"})).await;
    let waiting = explained(&client, id).await;
    assert_eq!(waiting["reason"], json!("dispatch"), "{waiting}");
    let detail = waiting["detail"].to_string();
    assert!(
        detail.contains("not known to be with the broker"),
        "{detail}"
    );

    Faults::set(&faults.publishes_fail, false);
    let maintenance = Maintenance::start(&manager);
    until("it is relayed", || async {
        let waiting = explained(&client, id).await;
        waiting["detail"].to_string().contains("on its way")
    })
    .await;
    maintenance.stop().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let waiting = explained(&client, id).await;
    assert_eq!(waiting["reason"], json!("delivery"), "{waiting}");
    let detail = waiting["detail"].to_string();
    assert!(detail.contains("s ago"), "{detail}");
    assert!(!detail.contains("on its way"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_bypassed_queue_is_named_wherever_people_look() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client
        .create(&json!({"messageName": "a", "dependencyToken": "t"}))
        .await;
    let lane = Route {
        queue: QueueName::default(),
        source: Source::Lane(id.partition()),
    };
    let mut member = worker(&["*"], 0);
    member.profile.bypassed = vec![Bypassed {
        route: lane.clone(),
        trouble: Trouble::Unconsumable,
    }];
    let beaten = backend.membership.beat(&member).await;
    manager
        .bypass()
        .note(&beaten.expect("it is there"), manager.member());
    let words = format!("the {lane} does not answer consumers");
    let waiting = explained(&client, id).await;
    assert!(waiting["detail"].to_string().contains(&words), "{waiting}");
    let queues = client.get("/v1/queues").await.json;
    let bypassed = &queues["queues"][0]["bypassed"];
    assert_eq!(bypassed[0]["reason"], json!("unconsumable"), "{queues}");
    assert_eq!(bypassed[0]["partition"], json!(id.partition().get()));
    assert_eq!(bypassed[0]["detail"], json!(words));
    let metrics = client.get("/metrics").await.text;
    let line = format!(
        r#"drumline_bypassed_queues{{queue="default",kind="lane",partition="{}",reason="unconsumable"}} 1"#,
        id.partition().get()
    );
    assert!(metrics.contains(&line), "{metrics}");
    manager.bypass().note(&Roster::default(), manager.member());
    let metrics = client.get("/metrics").await.text;
    assert!(!metrics.contains("drumline_bypassed_queues{"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_or_stopping_operation_tells_what_it_waits_for() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let until = "2099-01-01T00:00:00.000Z";
    let body = json!({"messageName": "a", "postponeUntil": until});
    let id = client.create(&body).await;
    let waiting = explained(&client, id).await;
    assert_eq!(waiting["reason"], json!("time"));
    assert!(waiting["detail"].to_string().contains(until), "{waiting}");
    let path = format!("/v1/operations/{id}");
    for action in ["resume", "pause"] {
        client
            .send("POST", &format!("{path}/{action}"), &[], "")
            .await;
    }
    assert_reason(&client, id, "person").await;
    client
        .send("POST", &format!("{path}/resume"), &[], "")
        .await;
    Worker::new(&backend).claim(id).await;
    assert_eq!(explained(&client, id).await, Value::Null);
    client
        .send("POST", &format!("{path}/cancel"), &[], "")
        .await;
    assert_reason(&client, id, "stop").await;
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_waits_without_a_time_tells_for_whom() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let plain = json!({"messageName": "a"});
    let paused = client.create(&plain).await;
    let unhandled = client.create(&plain).await;
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY"});
    let series = client.create(&body).await;
    for id in [paused, series] {
        let path = format!("/v1/operations/{id}/pause");
        client.send("POST", &path, &[], "").await;
    }
    let operation = stored(&backend, unhandled).await;
    let (store, ids) = (backend.store.as_ref(), Ids::random());
    let author = Author::worker("w");
    let by = Signature::new(&ids, &author);
    let decided = apply_event_unlocked(store, by, &operation, Event::Unhandled).await;
    assert!(matches!(decided, Ok(Applied::Done(..))), "{decided:?}");

    for (id, reason, words) in [
        (paused, "person", " paused it; resume it"),
        (unhandled, "handler", "start one, and it goes on by itself"),
        (series, "person", "the series is paused"),
    ] {
        let waiting = explained(&client, id).await;
        assert_eq!(waiting["reason"], json!(reason), "{waiting}");
        assert!(waiting["detail"].to_string().contains(words), "{waiting}");
    }
    // It was resumed and then paused: the old fault tells nothing.
    for action in ["resume", "pause"] {
        let path = format!("/v1/operations/{unhandled}/{action}");
        client.send("POST", &path, &[], "").await;
    }
    assert_reason(&client, unhandled, "person").await;
}

#[tokio::test(start_paused = true)]
async fn a_parked_operation_names_the_head_of_its_chain() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let body = json!({"messageName": "a", "dependencyToken": "t"});
    let other = json!({"messageName": "a", "dependencyToken": "other"});
    client.create(&other).await;
    let head = client.create(&body).await;
    let next = client.create(&body).await;
    // More than a page of them.
    for _ in 0..600 {
        client.create(&body).await;
    }
    let last = client.create(&body).await;
    let worker = Worker::new(&backend);
    let pause = format!("/v1/operations/{head}/pause");
    let resume = format!("/v1/operations/{head}/resume");
    for status in ["WaitingForResources", "Waiting", "InProgress"] {
        match status {
            "Waiting" => drop(client.send("POST", &pause, &[], "").await),
            "InProgress" => {
                client.send("POST", &resume, &[], "").await;
                worker.claim(head).await;
            }
            _ => {}
        }
        for id in [next, last] {
            let waiting = explained(&client, id).await;
            assert_eq!(waiting["reason"], json!("predecessor"), "{waiting}");
            assert_eq!(waiting["operationId"], json!(head.to_string()), "{waiting}");
            assert!(waiting["detail"].to_string().contains(status), "{waiting}");
        }
    }
    assert_eq!(explained(&client, head).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn what_the_head_waits_for_is_said_of_all_behind_it() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let body = json!({"messageName": "a", "dependencyToken": "t"});
    let head = client.create(&body).await;
    client.create(&body).await;
    let third = client.create(&body).await;
    client.create(&body).await;

    let waiting = explained(&client, third).await;
    assert_eq!(waiting["root"]["operationId"], json!(head.to_string()));
    assert_eq!(waiting["root"]["reason"], json!("worker"), "{waiting}");
    assert_eq!(
        (&waiting["before"], &waiting["behind"]),
        (&json!(2), &json!(1))
    );
    let since = stored(&backend, head).await.body.created_on;
    assert_eq!(
        waiting["detail"],
        json!(format!(
            "it waits for {head}, which is the first of the same order (of a token, or of \
             asynchronous requests) and is Ready (WaitingForResources) since {since}: no live \
             worker serves the queue default; start one; 1 more is before it; 1 operation waits \
             behind it"
        ))
    );
    let waiting = explained(&client, head).await;
    assert_eq!(waiting["root"], Value::Null);
    assert_eq!(
        waiting["detail"],
        json!("no live worker serves the queue default; start one; 3 operations wait behind it")
    );

    beat(&backend, &["*"], 1).await;
    let worker = Worker::new(&backend);
    let fence = worker.claim(head).await;
    let waiting = explained(&client, third).await;
    assert_eq!(waiting["root"]["status"], json!("InProgress"), "{waiting}");
    let detail = waiting["root"]["detail"].to_string();
    assert!(detail.contains("it runs on "), "{detail}");

    // The worker that stops its handler writes an entry of its own.
    let pause = format!("/v1/operations/{head}/pause");
    client.send("POST", &pause, &[], "").await;
    worker.say(head, fence, Event::Stopped).await;
    let waiting = explained(&client, third).await;
    let detail = waiting["root"]["detail"].to_string();
    assert!(detail.contains(" paused it; resume it"), "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_explained_unasked() {
    let client = Client::of(&manager(&backend()));
    let id = client.create(&json!({"messageName": "a"})).await;
    for parameters in ["", "?wait=0", "?explain=false"] {
        let answer = client
            .get(&format!("/v1/operations/{id}{parameters}"))
            .await;
        assert_eq!(answer.json.get("waitingFor"), None, "{parameters}");
    }
    let answer = client
        .get(&format!("/v1/operations/{id}?explain=why"))
        .await;
    assert_eq!(answer.status.as_u16(), 422);
}
