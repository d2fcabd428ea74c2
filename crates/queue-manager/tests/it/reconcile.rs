//! Reconciliation on queues that are never empty, and after a step of the
//! store's clock.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drumline_backend::Backend;
use drumline_backend_embedded::{Clock, TokioClock, backend_with_clock};
use drumline_protocol::message::{Message, Offer, Route, Source};
use drumline_protocol::{OperationId, PartitionCount, QueueName, Timestamp};
use drumline_queue_manager::Maintenance;
use serde_json::json;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager, stored};

/// Between two operations of the only worker.
const WORK: Duration = Duration::from_millis(200);
/// Operations that wait at any time.
const LINE: u64 = 100;

async fn create(client: &Client) -> OperationId {
    client.create(&json!({"messageName": "a"})).await
}

/// Waits until the metrics have this line.
async fn until_metric(client: &Client, line: &str) {
    crate::support::until(line, || async {
        client.get("/metrics").await.text.contains(line)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_marker_is_replaced_though_the_queue_is_never_empty() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    Faults::set(&faults.broker_forgets, true);
    let lost = create(&client).await;
    until_metric(&client, "drumline_reconcile_markers_total 1").await;
    Faults::set(&faults.broker_forgets, false);

    // From now on one operation comes for each that goes.
    for _ in 0..LINE {
        create(&client).await;
    }
    let mut listener = Listener::with_prefetch(&backend, Source::Work, 1).await;
    let worker = Worker::new(&backend);
    let mut served = HashSet::new();
    for _ in 0..LINE * 50 {
        tokio::time::sleep(WORK).await;
        for id in listener.hear(WORK).await {
            if served.insert(id) {
                worker.run(id).await;
            }
        }
        if served.contains(&lost) {
            return maintenance.stop().await;
        }
        create(&client).await;
    }
    unreachable!("it was never offered again");
}

/// Does what a worker without a free slot does with an offer.
async fn pass_on(backend: &Backend, id: OperationId) {
    let route = Route {
        queue: QueueName::default(),
        source: Source::Work,
    };
    let offer = Offer::of(&stored(backend, id).await);
    let message = Message::Offers(vec![offer]);
    for answer in backend.broker.publish(&[(route, message)]).await {
        answer.expect("the broker is there");
    }
}

#[tokio::test(start_paused = true)]
async fn what_busy_workers_pass_on_is_not_lost() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    for _ in 0..4 * LINE {
        create(&client).await;
    }
    let mut listener = Listener::with_prefetch(&backend, Source::Work, 1).await;
    let worker = Worker::new(&backend);
    let mut turn = 0;
    let mut served = HashSet::new();
    loop {
        let heard = listener.hear(Duration::from_secs(60)).await;
        if heard.is_empty() {
            break;
        }
        for id in heard {
            tokio::time::sleep(WORK).await;
            turn += 1;
            if turn % 4 == 0 {
                pass_on(&backend, id).await;
            } else if served.insert(id) {
                worker.run(id).await;
            }
        }
    }
    let text = client.get("/metrics").await.text;
    assert!(
        text.contains("drumline_reconcile_reoffered_total 0"),
        "{text}"
    );
    assert!(
        !text.contains("drumline_reconcile_markers_total 0"),
        "{text}"
    );
    maintenance.stop().await;
}

/// A clock that can be set back by an hour.
#[derive(Clone, Debug)]
struct Stepping {
    clock: TokioClock,
    is_set_back: Arc<AtomicBool>,
}

impl Clock for Stepping {
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        if self.is_set_back.load(Ordering::Relaxed) {
            Timestamp::from_millis(now.as_millis() - 3_600_000)
        } else {
            now
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_after_the_clock_was_set_back_is_offered_again_as_quickly() {
    let clock = Stepping {
        clock: TokioClock::starting_at(Timestamp::from_millis(1_795_000_000_000)),
        is_set_back: Arc::default(),
    };
    let partitions = PartitionCount::new(8).expect("8 is in range");
    let (backend, faults) = faulty(&backend_with_clock(partitions, Arc::new(clock.clone())));
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    // Before, between and after: the stamps of all three lie in the future once
    // the clock is set back.
    let mut lost = HashSet::from([create(&client).await]);
    let mut listener = Listener::with_prefetch(&backend, Source::Work, 1).await;
    lost.extend(listener.hear(WORK).await);
    clock.is_set_back.store(true, Ordering::Relaxed);
    Faults::set(&faults.broker_forgets, true);
    for _ in 0..20 {
        lost.insert(create(&client).await);
    }
    Faults::set(&faults.broker_forgets, false);
    let begun = tokio::time::Instant::now();
    let worker = Worker::new(&backend);
    while !lost.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{lost:?}");
        for id in listener.hear(WORK).await {
            if lost.remove(&id) {
                worker.run(id).await;
            }
        }
    }
    maintenance.stop().await;
}
