//! Queues of the broker that do not work: maintenance and creates go round them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::Backend;
use drumline_backend::broker::Trouble;
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{OperationId, QueueName};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::Listener;
use crate::support::{backend, manager, until};

/// Longer than any queue must be by-passed before maintenance acts, and far less
/// than reconciliation waits.
const SOON: Duration = Duration::from_secs(6);

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn route(source: Source) -> Route {
    let queue = QueueName::default();
    Route { queue, source }
}

fn lane_of(id: OperationId) -> Route {
    route(Source::Lane(id.partition()))
}

fn in_order(token: usize) -> Value {
    json!({"messageName": "a", "dependencyToken": format!("t{token}")})
}

impl Faults {
    fn breaks(&self, route: &Route, trouble: Trouble) {
        let mut broken = self.broken.lock().expect("not poisoned");
        broken.insert(route.clone(), trouble);
    }

    fn mends(&self, route: &Route) {
        self.broken.lock().expect("not poisoned").remove(route);
    }
}

/// The messages that wait in a queue.
async fn waiting(backend: &Backend, route: &Route) -> u64 {
    let backlog = backend.broker.backlog(route).await.expect("it answers");
    backlog.unwrap_or_default().messages
}

#[tokio::test(start_paused = true)]
async fn what_is_in_a_queue_that_breaks_is_offered_again_once() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut heads = Vec::new();
    for token in 0..40 {
        heads.push(client.create(&in_order(token)).await);
    }
    let lane = lane_of(heads[0]);
    let mut expected: Vec<_> = heads.iter().filter(|id| lane_of(**id) == lane).collect();
    expected.sort_unstable();
    let maintenance = Maintenance::start(&manager);
    let mut work = Listener::of_work(&backend).await;
    faults.breaks(&lane, Trouble::Silent);
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        let more = work.hear(SOON).await;
        assert!(!more.is_empty(), "{} of {}", heard.len(), expected.len());
        heard.extend(more);
    }
    heard.sort_unstable();
    assert_eq!(heard.iter().collect::<Vec<_>>(), expected);
    // Once for each time that a queue breaks, however long it stays broken.
    assert_eq!(work.hear(SOON).await, []);
    let metrics = client.get("/metrics").await.text;
    let count = expected.len();
    assert!(
        metrics.contains(&format!("drumline_bypass_reoffered_total {count}")),
        "{metrics}"
    );
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_slow_for_a_moment_is_left_alone() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&in_order(1)).await;
    let maintenance = Maintenance::start(&manager);
    // Shorter than the age at which reconciliation asks after it.
    for _ in 0..2 {
        faults.breaks(&lane_of(id), Trouble::Silent);
        tokio::time::sleep(Duration::from_millis(900)).await;
        faults.mends(&lane_of(id));
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(waiting(&backend, &route(Source::Work)).await, 0);
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains("drumline_bypass_reoffered_total 0"));
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_a_broken_work_queue_goes_through_the_spare_queue() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let before = client.create(&json!({"messageName": "a"})).await;
    let maintenance = Maintenance::start(&manager);
    faults.breaks(&route(Source::Work), Trouble::Unconsumable);
    // Maintenance has seen it: later offers are not in that queue.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = client.create(&json!({"messageName": "a"})).await;
    let mut spare = Listener::of(&backend, Source::Spare).await;
    assert_eq!(spare.hear(SOON).await, [after]);
    assert_eq!(spare.hear(SOON).await, [before]);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn entries_that_no_queue_takes_do_not_hold_up_the_others() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let bad: QueueName = "bad".parse().unwrap();
    // More than a look takes from each of the partitions, and all of them older.
    Faults::set(&faults.publishes_fail, true);
    for _ in 0..8 * 300 {
        let body = json!({"messageName": "a", "queue": "bad"});
        client.create(&body).await;
    }
    let good = client.create(&json!({"messageName": "a"})).await;
    Faults::set(&faults.publishes_fail, false);
    for source in [Source::Work, Source::Spare] {
        let queue = bad.clone();
        faults.breaks(&Route { queue, source }, Trouble::Silent);
    }
    let mut work = Listener::of_work(&backend).await;
    let maintenance = Maintenance::start(&manager);
    assert_eq!(work.hear(Duration::from_secs(30)).await, [good]);
    // Everything that was passed by is published once the bad queue works.
    for source in [Source::Work, Source::Spare] {
        let queue = bad.clone();
        faults.mends(&Route { queue, source });
    }
    until("all are published", || async {
        backend.store.counts().await.unwrap().undispatched == 0
    })
    .await;
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_message_is_found_though_its_lane_gives_no_marker_back() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let first = client.create(&in_order(1)).await;
    let lane = lane_of(first);
    faults.breaks(&lane, Trouble::Silent);
    let maintenance = Maintenance::start(&manager);
    let mut work = Listener::of_work(&backend).await;
    assert_eq!(work.hear(SOON).await, [first], "redirected");
    // The work queue has confirmed it, and loses it: no worker claims it.
    assert_eq!(work.hear(Duration::from_secs(60)).await, [first]);
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn creates_are_refused_for_a_queue_that_this_manager_cannot_declare() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let work = route(Source::Work);
    let why = "PRECONDITION_FAILED".to_owned();
    for (trouble, status) in [
        (Trouble::Silent, 201),
        (Trouble::ConsumerRefused(why.clone()), 201),
        (Trouble::Refused(why), 503),
    ] {
        faults.breaks(&work, trouble.clone());
        let body = json!({"messageName": "a"}).to_string();
        let answer = client.send("POST", "/v1/operations", JSON, body).await;
        assert_eq!(answer.status.as_u16(), status, "{trouble:?}: {answer:?}");
        if status == 503 {
            assert_eq!(answer.json["code"], json!("0x8D00000B"));
            assert_eq!(answer.json["name"], json!("QueueUnusable"));
        }
    }
    let body = json!({"messageName": "a", "queue": "other"}).to_string();
    let answer = client.send("POST", "/v1/operations", JSON, body).await;
    assert_eq!(answer.status.as_u16(), 201, "{answer:?}");
    faults.mends(&work);
    // A queue that another member cannot declare is no reason.
    let mut member = crate::explaining::worker(&["*"], 0);
    member.profile.bypassed = vec![drumline_backend::broker::Bypassed {
        route: work,
        trouble: Trouble::Refused("ACCESS_REFUSED".to_owned()),
    }];
    let members = backend.membership.beat(&member).await.unwrap();
    manager.bypass().note(&members, manager.member());
    client.create(&json!({"messageName": "a"})).await;
}

/// The broker was lost, and is back.
fn reconnects(faults: &Faults) {
    faults.connection.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_has_lost_with_its_connection_is_offered_again_soon() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    // Maintenance knows the connection that is lost.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Faults::set(&faults.broker_forgets, true);
    let lost = client.create(&in_order(1)).await;
    Faults::set(&faults.broker_forgets, false);
    let mut work = Listener::of_work(&backend).await;
    let mut lane = Listener::of(&backend, lane_of(lost).source).await;
    reconnects(&faults);
    let since = Instant::now();
    let hearing = async {
        let heard = lane.hear(SOON).await;
        (heard, since.elapsed())
    };
    let ((heard, took), _) = tokio::join!(hearing, work.hear(SOON));
    assert_eq!(heard, [lost]);
    assert!(took <= Duration::from_secs(4), "{took:?}");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_healthy_backlog_is_not_published_again_after_a_reconnection() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for token in 0..50 {
        client.create(&in_order(token)).await;
        client.create(&json!({"messageName": "a"})).await;
    }
    for _ in 0..3 {
        reconnects(&faults);
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains("drumline_reconcile_reoffered_total 0"));
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_breaks_again_is_seen_through_again() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let first = client.create(&in_order(1)).await;
    let lane = lane_of(first);
    let maintenance = Maintenance::start(&manager);
    let mut work = Listener::of_work(&backend).await;
    faults.breaks(&lane, Trouble::Silent);
    assert_eq!(work.hear(SOON).await, [first]);
    faults.mends(&lane);
    tokio::time::sleep(Duration::from_secs(4)).await;
    // While the lane works it takes another head.
    let mut others = 2..;
    let second = loop {
        let id = client.create(&in_order(others.next().unwrap())).await;
        if lane_of(id) == lane {
            break id;
        }
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    faults.breaks(&lane, Trouble::Silent);
    assert!(work.hear(SOON).await.contains(&second));
    maintenance.stop().await;
}
