//! Maintenance: operations that would stand still go on.

use std::time::Duration;

use drumline_backend::store::NewOperation;
use drumline_backend::{Backend, Ids};
use drumline_backend_embedded::EmbeddedBroker;
use drumline_protocol::message::{Route, Source};
use drumline_protocol::operation::first_header;
use drumline_protocol::{Body, Event, OperationId, Organization, Partition, QueueName, Rules};
use drumline_queue_manager::Maintenance;
use serde_json::json;
use std::sync::Arc;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::{LEASE, Listener, Worker};
use crate::support::{backend, manager, stored, until};

const A_WHILE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn the_relay_publishes_what_was_left_behind() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut listener = Listener::of_work(&backend).await;
    Faults::set(&faults.publishes_fail, true);
    let id = client.create(&json!({"messageName": "a"})).await;
    let maintenance = Maintenance::start(&manager);
    assert!(listener.hear(A_WHILE).await.is_empty());
    Faults::set(&faults.publishes_fail, false);
    assert_eq!(listener.hear(A_WHILE).await, [id]);
    assert!(listener.hear(A_WHILE).await.is_empty());
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_relayed_in_batches() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    Faults::set(&faults.publishes_fail, true);
    for _ in 0..1000 {
        client.create(&json!({"messageName": "a"})).await;
    }
    Faults::set(&faults.publishes_fail, false);
    let maintenance = Maintenance::start(&manager);
    until("all are published", || async {
        let counts = backend.store.counts().await.expect("the store is there");
        counts.undispatched == 0
    })
    .await;
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_one_organization_delays_no_other() {
    let backend = backend();
    let manager = manager(&backend);
    let ids = Ids::random();
    let new = |organization: &str| {
        let now = backend.store.now();
        NewOperation {
            id: ids.operation(now, Partition::new(0)),
            header: first_header(Rules::default(), None, ids.commit(), now),
            body: Body {
                organization: Organization(organization.to_owned()),
                ..Body::new("a", now)
            },
            key: None,
        }
    };
    let backlog = (0..2_000).map(|_| new("busy")).collect();
    backend.store.create(backlog).await.expect("created");
    let late = new("quiet");
    let id = late.id;
    backend.store.create(vec![late]).await.expect("created");
    let mut listener = Listener::of_work(&backend).await;
    let maintenance = Maintenance::start(&manager);
    let mut before = Vec::new();
    loop {
        let heard = listener.hear(A_WHILE).await;
        assert!(!heard.is_empty(), "never relayed");
        before.extend(heard);
        if before.contains(&id) {
            break;
        }
    }
    // A look has 256 entries.
    assert!(before.len() <= 256, "behind {}", before.len());
    until("all are published", || async {
        let counts = backend.store.counts().await.expect("the store is there");
        counts.undispatched == 0
    })
    .await;
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn suspended_operations_wake_when_their_time_has_come() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let maintenance = Maintenance::start(&manager);
    let time = backend.store.now().saturating_add(Duration::from_secs(60));
    let body = json!({"messageName": "a", "postponeUntil": time.to_string()});
    let id = client.create(&body).await;
    assert!(listener.hear(Duration::from_secs(59)).await.is_empty());
    assert_eq!(listener.hear(Duration::from_secs(2)).await, [id]);
    assert_eq!(client.status(id).await, "WaitingForResources");
    let late = backend.store.now().since(time);
    assert!(late < Duration::from_millis(500), "{late:?} late");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_beating_loses_its_operation_after_a_lease() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let id = client.create(&json!({"messageName": "a"})).await;
    listener.hear(A_WHILE).await;
    let fence = worker.claim(id).await;
    // As long as the worker renews the lock it keeps the operation.
    for _ in 0..20 {
        tokio::time::sleep(LEASE * 3 / 4).await;
        let locks = [(id, worker.holding(fence))];
        let renewed = backend.store.renew(&locks).await;
        renewed.expect("the store is there");
        assert_eq!(client.status(id).await, "InProgress");
    }
    let last = backend.store.now();
    until("the operation is taken over", || async {
        client.status(id).await == "WaitingForResources"
    })
    .await;
    let took = backend.store.now().since(last);
    assert!(took >= LEASE, "{took:?}");
    assert!(took <= LEASE + Duration::from_secs(2), "{took:?}");
    assert_eq!(listener.hear(A_WHILE).await, [id]);
    let operation = stored(&backend, id).await;
    assert_eq!(operation.header.lost, 1);
    // The zombie comes back, and is refused.
    let said = worker.say(id, fence, Event::Succeed).await;
    assert!(
        matches!(
            said,
            drumline_backend::apply_event::Applied::Fenced
                | drumline_backend::apply_event::Applied::Refused(_)
        ),
        "{said:?}"
    );
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_worker_was_asked_to_stop_is_stopped() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let maintenance = Maintenance::start(&manager);
    for (action, status) in [("cancel", "Canceled"), ("pause", "Waiting")] {
        let id = client.create(&json!({"messageName": "a"})).await;
        worker.claim(id).await;
        let path = format!("/v1/operations/{id}/{action}");
        client.send("POST", &path, &[], "").await;
        until(status, || async { client.status(id).await == status }).await;
    }
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn leases_start_again_when_the_store_was_away() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let worker = Worker::new(&backend);
    let fence = worker.claim(id).await;
    let maintenance = Maintenance::start(&manager);
    tokio::time::sleep(LEASE / 2).await;
    Faults::set(&faults.store_is_away, true);
    tokio::time::sleep(LEASE).await;
    Faults::set(&faults.store_is_away, false);
    tokio::time::sleep(LEASE / 2).await;
    assert_eq!(client.status(id).await, "InProgress");
    let locks = [(id, worker.holding(fence))];
    let renewed = backend.store.renew(&locks).await;
    renewed.expect("the store is there");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_does_not_keep_others_from_being_looked_after() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let time = backend.store.now().saturating_add(Duration::from_secs(60));
    let mut running = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let id = client.create(&json!({"messageName": "a"})).await;
        worker.claim(id).await;
        running.push(id);
        let body = json!({"messageName": "a", "postponeUntil": time.to_string()});
        waiting.push(client.create(&body).await);
    }
    let maintenance = Maintenance::start(&manager);
    faults.unreadable.set(running[0]).expect("set once");
    until("the others are taken over, and wake", || async {
        let mut ready = true;
        for id in running.iter().skip(1).chain(&waiting) {
            ready &= client.status(*id).await == "WaitingForResources";
        }
        ready
    })
    .await;
    maintenance.stop().await;
}

/// The same backend after its broker has lost everything.
fn with_fresh_broker(backend: &Backend) -> Backend {
    Backend {
        broker: Arc::new(EmbeddedBroker::new()),
        ..backend.clone()
    }
}

/// Consumes work queue and lanes for ever, and remembers what it heard.
async fn hear_all(backend: Backend, heard: Arc<std::sync::Mutex<Vec<OperationId>>>) {
    let sources = backend.store.partitions().all().map(Source::Lane);
    let consumers = sources.chain([Source::Work]).map(|source| {
        let (backend, heard) = (backend.clone(), Arc::clone(&heard));
        async move {
            let mut listener = Listener::of(&backend, source).await;
            loop {
                let ids = listener.hear(Duration::from_secs(3600)).await;
                heard.lock().expect("not poisoned").extend(ids);
            }
        }
    });
    futures_util::future::join_all(consumers).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_has_lost_is_offered_again() {
    let first_life = backend();
    let before = manager(&first_life);
    let client = Client::of(&before);
    let mut expected = Vec::new();
    for n in 0..20 {
        let mut body = json!({"messageName": "a"});
        if n % 2 == 0 {
            body["dependencyToken"] = json!(format!("t{n}"));
        }
        expected.push(client.create(&body).await);
    }
    expected.sort_unstable();

    let backend = with_fresh_broker(&first_life);
    let maintenance = Maintenance::start(&manager(&backend));
    let heard = Arc::default();
    let listening = hear_all(backend.clone(), Arc::clone(&heard));
    let all_heard = until("all are heard", || async {
        let mut heard = heard.lock().expect("not poisoned").clone();
        heard.sort_unstable();
        heard == expected
    });
    tokio::select! {
        _ = listening => unreachable!("it listens for ever"),
        () = all_heard => {}
    }
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_healthy_backlog_is_not_published_again() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    for n in 0..500 {
        let mut body = json!({"messageName": "a"});
        if n % 2 == 0 {
            body["dependencyToken"] = json!(format!("t{n}"));
        }
        client.create(&body).await;
    }
    let offers = async |source| {
        let route = Route {
            queue: QueueName::default(),
            source,
        };
        let backlog = backend.broker.backlog(&route).await;
        backlog
            .expect("the broker is there")
            .unwrap_or_default()
            .messages
    };
    let before = offers(Source::Work).await;
    let maintenance = Maintenance::start(&manager);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let reoffered = "drumline_reconcile_reoffered_total 0";
    assert!(client.get("/metrics").await.text.contains(reoffered));
    // Its markers wait at the end of the line, one per route and manager.
    assert_eq!(offers(Source::Work).await, before + 1);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn several_managers_share_the_work_and_take_over_from_each_other() {
    let (backend, faults) = faulty(&backend());
    let managers: Vec<_> = (0..3).map(|_| manager(&backend)).collect();
    let client = Client::of(&managers[0]);
    let mut running: Vec<_> = managers.iter().map(Maintenance::start).collect();
    let mut listener = Listener::of_work(&backend).await;
    Faults::set(&faults.publishes_fail, true);
    for round in 0..3 {
        // While they learn of each other, two may look after one partition.
        tokio::time::sleep(A_WHILE).await;
        let time = backend.store.now().saturating_add(Duration::from_secs(30));
        let mut ids = Vec::new();
        for n in 0..80 {
            let mut body = json!({"messageName": "a"});
            if n % 2 == 0 {
                body["postponeUntil"] = json!(time.to_string());
            }
            ids.push(client.create(&body).await);
        }
        Faults::set(&faults.publishes_fail, false);
        let worker = Worker::new(&backend);
        let mut heard = Vec::new();
        while heard.len() < ids.len() {
            let next = listener.hear(Duration::from_secs(60)).await;
            assert!(!next.is_empty(), "round {round}: {} heard", heard.len());
            for id in &next {
                worker.run(*id).await;
            }
            heard.extend(next);
        }
        heard.sort_unstable();
        ids.sort_unstable();
        assert_eq!(heard, ids, "round {round}");
        let more = listener.hear(Duration::from_secs(60)).await;
        assert!(more.is_empty(), "round {round}");
        Faults::set(&faults.publishes_fail, true);
        if let Some(leaving) = running.pop() {
            leaving.stop().await;
        }
        if running.is_empty() {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_paused_before_its_relay_is_not_published() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    Faults::set(&faults.publishes_fail, true);
    let id = client.create(&json!({"messageName": "a"})).await;
    let path = format!("/v1/operations/{id}/pause");
    client.send("POST", &path, &[], "").await;
    Faults::set(&faults.publishes_fail, false);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    assert!(listener.hear(Duration::from_secs(60)).await.is_empty());
    maintenance.stop().await;
}
