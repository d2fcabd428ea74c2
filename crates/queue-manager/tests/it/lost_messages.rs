//! Messages that the broker has lost, where more are lost than one look at a partition
//! finds.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::Backend;
use drumline_backend_embedded::{TokioClock, backend_with_clock};
use drumline_protocol::{OperationId, PartitionCount, Timestamp};
use drumline_queue_manager::Maintenance;
use drumline_queue_manager::maintenance::MaintenanceOptions;
use serde_json::json;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::Listener;
use crate::support::{manager, until};

/// The operations whose messages are lost: ten looks.
const LOST: usize = 20;

/// A look finds two operations.
fn options() -> MaintenanceOptions {
    MaintenanceOptions {
        batch: 2,
        ..MaintenanceOptions::default()
    }
}

/// A broker behind one partition, and its faults.
fn one_partition() -> (Backend, Arc<Faults>) {
    let partitions = PartitionCount::new(1).expect("1 is in range");
    let clock = TokioClock::starting_at(Timestamp::from_millis(1_795_000_000_000));
    faulty(&backend_with_clock(partitions, Arc::new(clock)))
}

/// Creates operations whose messages the broker confirms and loses.
async fn lose(backend: &Backend, faults: &Faults, client: &Client) -> HashSet<OperationId> {
    Faults::set(&faults.broker_forgets, true);
    let mut lost = HashSet::new();
    for _ in 0..LOST {
        lost.insert(client.create(&json!({"messageName": "a"})).await);
    }
    until("all are confirmed", || async {
        let counts = backend.store.counts().await.expect("the store is there");
        counts.undispatched == 0
    })
    .await;
    Faults::set(&faults.broker_forgets, false);
    lost
}

/// Listens until all of these were offered, and returns the time that it took.
async fn hear(backend: &Backend, mut lost: HashSet<OperationId>) -> Duration {
    let begun = Instant::now();
    let mut listener = Listener::of_work(backend).await;
    while !lost.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(600), "{lost:?}");
        for id in listener.hear(Duration::from_secs(1)).await {
            lost.remove(&id);
        }
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_is_found_while_its_queue_is_asked_is_asked_about_next() {
    let (backend, faults) = one_partition();
    let manager = manager(&backend);
    let maintenance = Maintenance::start_with(
        &manager,
        &MaintenanceOptions {
            // Several looks in the time of one question.
            reconcile: Duration::from_secs(1),
            ..options()
        },
    );
    let lost = lose(&backend, &faults, &Client::of(&manager)).await;
    let took = hear(&backend, lost).await;
    // They are old after ten seconds, and a round takes ten looks. In ten questions for
    // two operations each it would be twice as long.
    assert!(took < Duration::from_secs(32), "{took:?}");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn all_offers_before_a_loss_are_doubted_whatever_their_number() {
    let (backend, faults) = one_partition();
    let manager = manager(&backend);
    let maintenance = Maintenance::start_with(
        &manager,
        &MaintenanceOptions {
            // Nothing is doubted for its age.
            reconcile_grace: Duration::from_secs(24 * 60 * 60),
            ..options()
        },
    );
    let lost = lose(&backend, &faults, &Client::of(&manager)).await;
    // Maintenance looks at the connection once in a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    faults.connection.fetch_add(1, Ordering::Relaxed);
    let took = hear(&backend, lost).await;
    assert!(took < Duration::from_secs(30), "{took:?}");
    maintenance.stop().await;
}

/// Nothing is doubted for its age.
fn only_after_a_loss() -> MaintenanceOptions {
    MaintenanceOptions {
        reconcile_grace: Duration::from_secs(24 * 60 * 60),
        ..MaintenanceOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_between_two_steps_costs_no_suspect() {
    for call in ["get", "stamp", "reoffer", "offered", "markers"] {
        let (backend, faults) = one_partition();
        let manager = manager(&backend);
        let maintenance = Maintenance::start_with(&manager, &only_after_a_loss());
        let lost = lose(&backend, &faults, &Client::of(&manager)).await;
        // Maintenance looks at the connection once in a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        *faults.fails_at.lock().expect("not poisoned") = Some(call);
        faults.connection.fetch_add(1, Ordering::Relaxed);
        let took = hear(&backend, lost).await;
        assert!(took < Duration::from_secs(30), "{call}: {took:?}");
        let failing = *faults.fails_at.lock().expect("not poisoned");
        assert_eq!(failing, None, "it was not asked for");
        maintenance.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_partitions_of_a_manager_that_goes_are_doubted_by_the_next() {
    let partitions = PartitionCount::new(8).expect("8 is in range");
    let clock = TokioClock::starting_at(Timestamp::from_millis(1_795_000_000_000));
    let inner = backend_with_clock(partitions, Arc::new(clock));
    let (one, faults) = faulty(&inner);
    let (other, faults_of_other) = faulty(&inner);
    let (one, other) = (manager(&one), manager(&other));
    let maintenance = Maintenance::start_with(&one, &only_after_a_loss());
    let maintenance_of_other = Maintenance::start_with(&other, &only_after_a_loss());
    // Both know of each other, and of their shares.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let lost = lose(&inner, &faults, &Client::of(&one)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // This one goes before it has seen that the connection was lost.
    faults_of_other.connection.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    maintenance.stop().await;
    let took = hear(&inner, lost).await;
    assert!(took < Duration::from_secs(60), "{took:?}");
    maintenance_of_other.stop().await;
}
