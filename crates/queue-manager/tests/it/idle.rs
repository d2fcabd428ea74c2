//! The calls of a manager that has nothing to do.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_queue_manager::Maintenance;
use serde_json::json;

use crate::support::client::Client;
use crate::support::faulty::faulty;
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager};

/// A time of many looks.
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn an_idle_manager_asks_about_all_partitions_at_once() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    // An operation that has ended leaves no work behind.
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let mut listener = Listener::of_work(&backend).await;
    assert_eq!(listener.hear(MINUTE).await, [id]);
    Worker::new(&backend).run(id).await;
    tokio::time::sleep(MINUTE).await;
    faults.take_calls();

    tokio::time::sleep(MINUTE).await;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in faults.take_calls() {
        *counts.entry(call).or_default() += 1;
    }
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
    // Due operations are looked for five times a second, and all else at most twice.
    let questions = counts.iter().filter(|(call, _)| call.starts_with("with "));
    let questions: usize = questions.map(|(_, count)| count).sum();
    assert!((1..=60 * 11).contains(&questions), "{counts:?}");
    assert!(counts.values().sum::<usize>() <= 60 * 20, "{counts:?}");
    maintenance.stop().await;
}
