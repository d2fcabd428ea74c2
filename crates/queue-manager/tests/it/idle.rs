//! The calls of a manager that has nothing to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::Ids;
use drumline_backend::store::NewOperation;
use drumline_protocol::operation::first_header;
use drumline_protocol::{
    Author, Body, Organization, Partition, Pause, PauseKind, PauseScope, Rules,
};
use drumline_queue_manager::maintenance::{Maintenance, MaintenanceOptions};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::explaining::worker;
use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::{LEASE, Listener, Worker};
use crate::support::{backend, manager};

/// A time of many looks.
const MINUTE: Duration = Duration::from_secs(60);
/// The time for a look and its commits, beside the times of the options.
const NEAR: Duration = Duration::from_millis(20);
/// A time that is shorter than that between two looks.
const SHORT: Duration = Duration::from_millis(50);

/// The calls of a minute in which nothing happens, by name.
async fn calls_of_a_minute(faults: &Faults) -> BTreeMap<&'static str, usize> {
    tokio::time::sleep(MINUTE).await;
    faults.take_calls();
    tokio::time::sleep(MINUTE).await;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in faults.take_calls() {
        *counts.entry(call).or_default() += 1;
    }
    counts
}

/// The looks for work of all partitions.
fn questions(counts: &BTreeMap<&str, usize>) -> usize {
    let questions = counts.iter().filter(|(call, _)| call.starts_with("with "));
    questions.map(|(_, count)| count).sum()
}

#[tokio::test(start_paused = true)]
async fn an_idle_manager_asks_for_the_number_of_changes_and_little_else() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    // An operation that has ended leaves no work behind, and one that waits for a time
    // makes none before.
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let later = json!({"messageName": "a", "postponeUntil": "2100-01-01T00:00:00Z"});
    client.create(&later).await;
    let mut listener = Listener::of_work(&backend).await;
    assert_eq!(listener.hear(MINUTE).await, [id]);
    Worker::new(&backend).run(id).await;

    let counts = calls_of_a_minute(&faults).await;
    for of_one_partition in [
        "outbox_entries",
        "due",
        "locks",
        "offered",
        "ended",
        "notices",
    ] {
        assert!(!counts.contains_key(of_one_partition), "{counts:?}");
    }
    // Each task looks every few seconds, and nothing five times a second but the number.
    assert!((1..=60 * 2).contains(&questions(&counts)), "{counts:?}");
    assert!((250..=300).contains(&counts["changes"]), "{counts:?}");
    assert!(counts.values().sum::<usize>() <= 60 * 14, "{counts:?}");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_manager_finds_at_once_what_another_process_has_written() {
    let (backend, _faults) = faulty(&backend());
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    // The other one writes, and looks after nothing.
    let other = self::manager(&backend);
    let client = Client::of(&other);
    for round in 0..20 {
        // At another time of the looks in each round.
        tokio::time::sleep(MINUTE + Duration::from_millis(37 * round)).await;
        let begun = Instant::now();
        let until = backend.store.now().saturating_add(SHORT).to_string();
        let id = client
            .create(&json!({"messageName": "a", "postponeUntil": until}))
            .await;
        assert_eq!(listener.hear(MINUTE).await, [id]);
        let took = begun.elapsed();
        assert!(took >= SHORT, "{took:?}");
        assert!(
            took <= SHORT + MaintenanceOptions::default().due,
            "{took:?}"
        );
        Worker::new(&backend).run(id).await;
    }
    maintenance.stop().await;
}

/// A round of a test: a manager has been idle for a while, at another place between two
/// looks each time.
async fn idle(round: u32) {
    tokio::time::sleep(MINUTE + round * Duration::from_millis(137)).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_manager_publishes_what_another_process_has_left_in_the_outbox() {
    let (backend, _faults) = faulty(&backend());
    let maintenance = Maintenance::start(&manager(&backend));
    let mut listener = Listener::of_work(&backend).await;
    let ids = Ids::random();
    let options = MaintenanceOptions::default();
    for round in 0..10 {
        idle(round).await;
        let now = backend.store.now();
        let new = NewOperation {
            id: ids.operation(now, Partition::new(0)),
            header: first_header(Rules::default(), None, ids.commit(), now),
            body: Body::new("a", now),
            key: None,
        };
        let id = new.id;
        let begun = Instant::now();
        backend.store.create(vec![new]).await.expect("created");
        assert_eq!(listener.hear(MINUTE).await, [id]);
        let most = options.relay_age + options.relay + options.due + NEAR;
        assert!(begun.elapsed() <= most, "{:?}", begun.elapsed());
        Worker::new(&backend).run(id).await;
    }
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_manager_takes_over_what_a_lost_worker_has_claimed() {
    let (backend, _faults) = faulty(&backend());
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    let client = Client::of(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let options = MaintenanceOptions::default();
    for round in 0..10 {
        let id = client.create(&json!({"messageName": "a"})).await;
        assert_eq!(listener.hear(MINUTE).await, [id]);
        idle(round).await;
        let worker = Worker::new(&backend);
        worker.claim(id).await;
        let begun = Instant::now();
        assert_eq!(listener.hear(MINUTE).await, [id]);
        let most = LEASE + 2 * options.leases + options.due + NEAR;
        assert!(begun.elapsed() <= most, "{:?}", begun.elapsed());
        Worker::new(&backend).run(id).await;
    }
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_manager_brings_a_pause_of_another_process_to_the_partitions() {
    let (backend, _faults) = faulty(&backend());
    let maintenance = Maintenance::start(&manager(&backend));
    let store = &backend.store;
    let options = MaintenanceOptions::default();
    let all: Vec<_> = store.partitions().all().collect();
    for round in 0..10 {
        idle(round).await;
        let pause = Pause {
            scope: PauseScope {
                kind: PauseKind::MessageName,
                organization: Organization::default(),
                value: "a".to_owned(),
            },
            reason: String::new(),
            until: None,
            author: Author::Caller("ann".to_owned()),
            since: store.now(),
        };
        store.set_pause(&pause).await.expect("set_pause");
        let written = store.pauses().await.expect("pauses").version;
        tokio::time::sleep(options.pauses + options.due + NEAR).await;
        let copies = store.pause_copies(&all).await.expect("pause_copies");
        assert!(
            copies.iter().all(|copy| copy.version == written),
            "{copies:?} instead of {written}"
        );
        let lifted = store.lift_pause(pause.scope.key()).await;
        assert!(lifted.expect("lift_pause"));
    }
    maintenance.stop().await;
}

/// Times shortly after a look, and a store that takes longer for one look than for the
/// next.
#[tokio::test(start_paused = true)]
async fn what_is_due_soon_waits_for_its_time_alone() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let client = Client::of(&manager);
    for round in 0..20 {
        idle(round).await;
        let rest = Duration::from_millis(230 + 31 * u64::from(round));
        let until = backend.store.now().saturating_add(rest);
        let body = json!({"messageName": "a", "postponeUntil": until.to_string()});
        let id = client.create(&body).await;
        faults
            .slow_looks
            .store(round as usize % 3, Ordering::Relaxed);
        assert_eq!(listener.hear(MINUTE).await, [id]);
        let late = backend.store.now().since(until);
        assert!(late <= NEAR, "{late:?} late with {rest:?}");
        Worker::new(&backend).run(id).await;
    }
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_waits_alone_goes_on_when_its_time_comes() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    let mut listener = Listener::of_work(&backend).await;
    let client = Client::of(&manager);
    let rest = 7 * MINUTE + Duration::from_millis(1_234);
    let until = backend.store.now().saturating_add(rest);
    let body = json!({"messageName": "a", "postponeUntil": until.to_string()});
    let id = client.create(&body).await;
    calls_of_a_minute(&faults).await;
    assert_eq!(listener.hear(10 * MINUTE).await, [id]);
    let late = backend.store.now().since(until);
    assert!(late <= Duration::from_millis(20), "{late:?}");
    maintenance.stop().await;
}

/// A member that does not count what it writes: the looks go on as before.
#[tokio::test(start_paused = true)]
async fn beside_a_member_of_an_earlier_release_every_look_is_made() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    let mut earlier = worker(&["*"], 0);
    earlier.profile.counts_changes = false;
    let membership = Arc::clone(&backend.membership);
    let mut beats = JoinSet::new();
    beats.spawn(async move {
        loop {
            membership.beat(&earlier).await.expect("the membership");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let counts = calls_of_a_minute(&faults).await;
    assert!(questions(&counts) >= 60 * 8, "{counts:?}");
    beats.abort_all();
    let counts = calls_of_a_minute(&faults).await;
    assert!(questions(&counts) <= 60 * 2, "{counts:?}");
    maintenance.stop().await;
}
