//! Completed operations are removed when they are old enough, in small steps.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::store::{Commit, Committed, Created, Guard};
use drumline_backend::{Backend, Ids, MemberId, rendezvous};
use drumline_protocol::transition::At;
use drumline_protocol::{Author, ErrorCode, Event, Fault, OperationId, Partition, apply};
use drumline_queue_manager::maintenance::{MaintenanceOptions, Retention};
use drumline_queue_manager::{Maintenance, Options, QueueManager};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::faulty::faulty;
use crate::support::worker::Worker;
use crate::support::{backend, manager, until};

fn maintain(manager: &QueueManager, keep: &Retention) -> Maintenance {
    let options = MaintenanceOptions {
        keep: keep.clone(),
        ..MaintenanceOptions::default()
    };
    Maintenance::start_with(manager, &options)
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

async fn is_there(client: &Client, id: OperationId) -> bool {
    let answer = client.get(&format!("/v1/operations/{id}")).await;
    answer.status == StatusCode::OK
}

async fn fail(worker: &Worker, id: OperationId) {
    let fence = worker.claim(id).await;
    let fault = Fault::new(ErrorCode::HANDLER_FAILED, "", "");
    worker.say(id, fence, Event::Fail(fault)).await;
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_end_has_its_time() {
    let backend = backend();
    let retention = Retention {
        succeeded: seconds(30),
        unsuccessful: seconds(90),
        transient: Some(Duration::ZERO),
        ..Retention::default()
    };
    let manager = manager(&backend);
    let maintenance = maintain(&manager, &retention);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let create = async |body| client.create(&body).await;
    let succeeded = create(json!({"messageName": "a"})).await;
    let failed = create(json!({"messageName": "a", "retainJobHistory": false})).await;
    let canceled = create(json!({"messageName": "a"})).await;
    let transient = create(json!({"messageName": "a", "retainJobHistory": false})).await;
    let waiting = create(json!({"messageName": "a"})).await;
    let began = Instant::now();
    worker.run(succeeded).await;
    worker.run(transient).await;
    fail(&worker, failed).await;
    client
        .post(&format!("/v1/operations/{canceled}/cancel"), &json!({}))
        .await;

    let mut gone_after = BTreeMap::new();
    for (name, id) in [
        ("transient", transient),
        ("succeeded", succeeded),
        ("failed", failed),
        ("canceled", canceled),
    ] {
        until("removed", async || !is_there(&client, id).await).await;
        gone_after.insert(name, began.elapsed().as_secs());
    }
    assert!(gone_after["transient"] < 10, "{gone_after:?}");
    assert!(
        (30..40).contains(&gone_after["succeeded"]),
        "{gone_after:?}"
    );
    assert!((90..100).contains(&gone_after["failed"]), "{gone_after:?}");
    assert!(
        (90..100).contains(&gone_after["canceled"]),
        "{gone_after:?}"
    );
    assert!(is_there(&client, waiting).await, "it has not ended");

    let text = manager.metrics().text();
    for line in [
        r#"drumline_retention_removed_total{class="transient"} 1"#,
        r#"drumline_retention_removed_total{class="succeeded"} 1"#,
        r#"drumline_retention_removed_total{class="unsuccessful"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn never_keeps() {
    let backend = backend();
    let retention = Retention {
        succeeded: None,
        unsuccessful: None,
        transient: None,
        ..Retention::default()
    };
    let manager = manager(&backend);
    let maintenance = maintain(&manager, &retention);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    Worker::new(&backend).run(id).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(is_there(&client, id).await);
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_must_stay_does_not_keep_the_others() {
    let backend = backend();
    let retention = Retention {
        unsuccessful: seconds(60),
        // Fewer than the operations that are in the way.
        step: 2,
        ..Retention::default()
    };
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let mut holding = Vec::new();
    let mut others = Vec::new();
    // The holding operations are the older ones of every partition.
    for number in 0..40 {
        let token = format!("t{number}");
        let body = json!({"messageName": "a", "dependencyToken": token, "tokenPolicy": "hold"});
        let id = client.create(&body).await;
        fail(&worker, id).await;
        holding.push(id);
    }
    for number in 0..40 {
        let token = format!("t{}", number + 100);
        let body = json!({"messageName": "a", "dependencyToken": token});
        let id = client.create(&body).await;
        fail(&worker, id).await;
        others.push(id);
    }
    let maintenance = maintain(&manager, &retention);
    for id in others {
        until("removed", async || !is_there(&client, id).await).await;
    }
    for id in &holding {
        assert!(is_there(&client, *id).await, "its chain waits for a person");
    }
    // Once a client has let the chain go on, they are removed too.
    for id in &holding {
        let path = format!("/v1/operations/{id}/resume");
        let answer = client.post(&path, &json!({})).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    for id in holding {
        until("removed", async || !is_there(&client, id).await).await;
    }
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_must_stay_is_not_read_with_each_look() {
    const MANY: usize = 60;
    let (backend, faults) = faulty(&backend());
    let retention = Retention {
        unsuccessful: seconds(60),
        step: 2,
        ..Retention::default()
    };
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    for number in 0..MANY {
        let token = format!("t{number}");
        let body = json!({"messageName": "a", "dependencyToken": token, "tokenPolicy": "hold"});
        let id = client.create(&body).await;
        fail(&worker, id).await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let maintenance = maintain(&manager, &retention);
    // The first look reads them all; a dozen more follow.
    faults.reads.store(0, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(faults.reads.load(Ordering::Relaxed), MANY);
    // Once in a while they are looked at again.
    tokio::time::sleep(Duration::from_secs(5 * 60)).await;
    assert_eq!(faults.reads.load(Ordering::Relaxed), 2 * MANY);
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_are_removed_in_small_steps_while_others_are_served() {
    const MANY: usize = 10_000;
    let (backend, faults) = faulty(&backend());
    let retention = Retention {
        succeeded: seconds(60),
        ..Retention::default()
    };
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let template = client.create(&json!({"messageName": "a"})).await;
    end_many(&backend, template, MANY).await;
    tokio::time::sleep(Duration::from_secs(120)).await;

    faults.largest_commit.store(0, Ordering::Relaxed);
    let maintenance = maintain(&manager, &retention);
    let left = async || {
        backend
            .store
            .counts()
            .await
            .expect("the store is there")
            .completed
    };
    let mut served = 0;
    let mut most_at_once = 0;
    let mut before = left().await;
    assert_eq!(before, MANY as u64);
    while before > served {
        let id = client.create(&json!({"messageName": "b"})).await;
        worker.run(id).await;
        served += 1;
        // In paused time every await here lets retention take a step, no more.
        tokio::time::sleep(retention.pause).await;
        let now = left().await;
        most_at_once = most_at_once.max((before + 1).saturating_sub(now));
        before = now;
        assert!(served < MANY as u64, "{now} are left");
    }
    assert!(served >= (MANY / retention.step) as u64, "{served}");
    let largest = faults.largest_commit.load(Ordering::Relaxed);
    assert!(largest <= retention.step, "{largest}");
    assert!(most_at_once <= 2 * retention.step as u64, "{most_at_once}");
    // Nothing is left of them but the operations that were served meanwhile.
    let page = client
        .get("/v1/operations?messageName=a&state=Completed")
        .await;
    assert_eq!(page.names().len(), 0);
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_at_its_limit_removes_the_oldest_and_refuses_no_create() {
    const LIMIT: u64 = 200_000;
    let backend = backend();
    let retention = Retention {
        succeeded: None,
        unsuccessful: None,
        transient: None,
        completed_bytes: NonZeroU64::new(LIMIT),
        ..Retention::default()
    };
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let body = json!({"messageName": "a", "data": "x".repeat(10_000)});
    let mut failed = Vec::new();
    for _ in 0..4 {
        let id = client.create(&body).await;
        fail(&worker, id).await;
        failed.push(id);
    }
    let maintenance = maintain(&manager, &retention);
    let all: Vec<Partition> = backend.store.partitions().all().collect();
    let bytes = async || -> u64 {
        let bytes = backend.store.completed_bytes(&all).await;
        bytes.expect("the store is there").into_iter().sum()
    };
    let mut succeeded = Vec::new();
    for _ in 0..60 {
        // Each is created, whatever is stored.
        let id = client.create(&body).await;
        worker.run(id).await;
        succeeded.push(id);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    until("few enough", async || bytes().await <= LIMIT).await;
    assert!(bytes().await > LIMIT / 2, "no more goes than must");
    for id in &failed {
        assert!(is_there(&client, *id).await, "Succeeded ones go first");
    }
    assert!(!is_there(&client, succeeded[0]).await);
    assert!(is_there(&client, succeeded[59]).await);
    let text = manager.metrics().text();
    assert!(
        !text.contains("drumline_retention_removed_for_room_total 0"),
        "{text}"
    );
    maintenance.stop().await;

    // Failed ones go when no others are left.
    let retention = Retention {
        completed_bytes: NonZeroU64::new(25_000),
        ..retention
    };
    let maintenance = maintain(&manager, &retention);
    until("removed", async || !is_there(&client, failed[0]).await).await;
    until("few enough", async || bytes().await <= 25_000).await;
    maintenance.stop().await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_gives_its_part_of_the_room_and_not_that_of_a_slower_one() {
    const COUNT: usize = 160;
    const LIMIT: u64 = 200_000;
    let backend = backend();
    let seeded = |seed| {
        let ids = Ids::seeded(seed);
        QueueManager::new(backend.clone(), ids, Options::default())
    };
    let (manager, other) = (seeded(1), seeded(2));
    let client = Client::of(&manager);
    let body = json!({"messageName": "a", "data": "x".repeat(2_000)});
    let template = client.create(&body).await;
    end_many(&backend, template, COUNT).await;
    let all: Vec<Partition> = backend.store.partitions().all().collect();
    let bytes = async || -> Vec<u64> {
        let bytes = backend.store.completed_bytes(&all).await;
        bytes.expect("the store is there")
    };
    let before = bytes().await;
    let sum: u64 = before.iter().sum();
    assert!(sum > 2 * LIMIT, "{before:?}");
    // This one is as slow as can be: it removes nothing.
    let maintenance_of_other = maintain(&other, &Retention::default());
    until("it is a member", async || {
        let roster = backend.membership.roster().await;
        roster.expect("the store is there").len() == 1
    })
    .await;
    let keep = Retention {
        completed_bytes: NonZeroU64::new(LIMIT),
        ..Retention::default()
    };
    let options = MaintenanceOptions {
        keep,
        // One look.
        retention: Duration::from_secs(600),
        ..MaintenanceOptions::default()
    };
    let maintenance = Maintenance::start_with(&manager, &options);
    tokio::time::sleep(Duration::from_secs(90)).await;
    let members = [manager.member(), other.member()];
    let is_own = |place: usize| {
        let owner = rendezvous::owner(u64::from(all[place].get()), &members);
        owner == Some(manager.member())
    };
    let own = (0..all.len()).filter(|place| is_own(*place)).count();
    assert!((2..=6).contains(&own), "{own} of 8");
    let one = sum / COUNT as u64;
    for (place, (before, after)) in before.into_iter().zip(bytes().await).enumerate() {
        // A twentieth more than it must, and one operation is not divided.
        let least = before * LIMIT * 19 / 20 / sum - one;
        let most = before * LIMIT / sum + one;
        if is_own(place) {
            assert!((least..=most).contains(&after), "{least} {after} {most}");
        } else {
            assert_eq!(after, before);
        }
    }
    maintenance.stop().await;
    maintenance_of_other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_goes_for_room_than_must_however_many_partitions_there_are() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let body = json!({"messageName": "a", "data": "x".repeat(2_000)});
    let template = client.create(&body).await;
    end_many(&backend, template, 40).await;
    let all: Vec<Partition> = backend.store.partitions().all().collect();
    let bytes = async || -> u64 {
        let bytes = backend.store.completed_bytes(&all).await;
        bytes.expect("the store is there").into_iter().sum()
    };
    let before = bytes().await;
    let keep = Retention {
        completed_bytes: NonZeroU64::new(before - 1),
        ..Retention::default()
    };
    let maintenance = maintain(&manager, &keep);
    until("one went", async || bytes().await < before).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // A twentieth of forty, and one that is not divided.
    let each = before / 40;
    assert!(bytes().await >= before - 3 * each, "{}", bytes().await);
    maintenance.stop().await;
}

/// Creates operations like another one and lets them succeed, without all the
/// ways in between.
async fn end_many(backend: &Backend, template: OperationId, count: usize) {
    let ids = Ids::random();
    let store = backend.store.as_ref();
    let template = crate::support::stored(backend, template).await;
    let partitions = store.partitions();
    let mut left = count;
    while left > 0 {
        let chunk = left.min(500);
        left -= chunk;
        let new: Vec<_> = (0..chunk)
            .map(|number| {
                let partition = partitions.of_hash(number as u64);
                drumline_backend::store::NewOperation {
                    id: ids.operation(store.now(), partition),
                    header: template.header.clone(),
                    body: template.body.clone(),
                    key: None,
                }
            })
            .collect();
        let created = store.create(new.clone()).await.expect("the store is there");
        assert!(created.iter().all(|one| matches!(one, Created::New { .. })));
        let author = Author::worker("w");
        let mut headers: Vec<_> = new.into_iter().map(|new| (new.id, new.header)).collect();
        let claim = Event::Claim {
            host: "test".to_owned(),
        };
        let taking = Guard::Acquire {
            owner: MemberId(Uuid::from_u128(7)),
            lease: Duration::from_secs(10),
        };
        for (event, guard) in [(claim, taking), (Event::Succeed, Guard::None)] {
            let mut commits = Vec::new();
            for (id, header) in &mut headers {
                let at = At {
                    now: store.now(),
                    commit: ids.commit(),
                };
                let transition = apply(header, event.clone(), at).expect("a legal step");
                commits.push(Commit::new(*id, header, &transition, guard, &author));
                *header = transition.header;
            }
            let done = store.commit(commits).await.expect("the store is there");
            assert!(done.iter().all(|one| matches!(one, Committed::Done(_))));
        }
    }
}
