//! Requests over AMQP while the store or the broker is unavailable, and while a manager
//! stops.

use std::sync::Arc;

use drumline_backend::intake::Envelope;
use drumline_queue_manager::AmqpIngress;
use serde_json::json;

use super::{Scene, created, envelope, reply};
use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::{backend, manager, until};

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_nothing_is_acknowledged_and_nothing_overtaken() {
    let (backend, faults) = faulty(&backend());
    let scene = Scene::over(&backend);
    scene.create(0, &json!({"messageName": "a"}));
    scene.done().await;
    Faults::set(&faults.store_is_away, true);
    for number in 1..=100 {
        let body = json!({"messageName": "a", "name": number.to_string(), "dependencyToken": "t"});
        scene.create(number, &body);
    }
    // Longer than requests are kept in hand.
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    assert_eq!(scene.post.waiting(), 100);
    let openings = scene.post.opened();
    assert!(openings <= 2, "{openings}: each costs a delivery");
    Faults::set(&faults.store_is_away, false);
    scene.done().await;
    let names: Vec<u32> = created(&backend)
        .await
        .iter()
        .filter_map(|operation| operation.body.name.parse().ok())
        .collect();
    assert_eq!(names, (1..=100).collect::<Vec<_>>());
    assert!(scene.post.refused().is_empty());
    let statuses = scene.post.replies();
    assert!(statuses.iter().all(|reply| reply.status == 201));
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_cut_off_from_the_store_gives_its_requests_back() {
    let (backend, faults) = faulty(&backend());
    let scene = Scene::over(&backend);
    until("the intake is open", async || scene.post.opened() == 1).await;
    Faults::set(&faults.store_is_away, true);
    for number in 1..=3 {
        scene.create(number, &json!({"messageName": "a"}));
    }
    until("they are in hand", async || scene.post.in_hand() == 3).await;
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    assert_eq!((scene.post.in_hand(), scene.post.waiting()), (0, 3));
    assert_eq!(scene.post.opened(), 1, "it is not opened meanwhile");
    Faults::set(&faults.store_is_away, false);
    scene.done().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_done_yet_holds_back_its_token_only() {
    let (backend, faults) = faulty(&backend());
    let scene = Scene::over(&backend);
    let parent = Client::of(&scene.manager)
        .create(&json!({"messageName": "a", "name": "parent"}))
        .await;
    // The first create's depth is known only after its parent was read.
    Faults::set(&faults.reads_fail, true);
    let first = json!({"messageName": "a", "name": "first", "dependencyToken": "t", "parentId": parent.to_string()});
    let second = json!({"messageName": "a", "name": "second", "dependencyToken": "t"});
    let other = json!({"messageName": "a", "name": "other"});
    for (number, body) in [first, second, other].iter().enumerate() {
        let number = u32::try_from(number).expect("three");
        // A repeatable request would be looked for, and so not be done either.
        let once = Envelope {
            message_id: None,
            ..envelope("create", number)
        };
        scene.post.publish(once, body.to_string());
    }
    until("the other is done", async || scene.post.waiting() == 2).await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert_eq!(scene.post.waiting(), 2);
    Faults::set(&faults.reads_fail, false);
    scene.done().await;
    let created = created(&backend).await;
    let names = created.iter().map(|operation| operation.body.name.as_str());
    assert!(names.eq(["parent", "other", "first", "second"]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_sent_is_sent_later() {
    let backend = backend();
    let scene = Scene::over(&backend);
    scene.post.answers_fail(true);
    scene.create(1, &json!({"messageName": "a"}));
    until("it is created", async || {
        !created(&backend).await.is_empty()
    })
    .await;
    assert_eq!(scene.post.waiting(), 1);
    scene.post.answers_fail(false);
    scene.done().await;
    assert_eq!(reply(&scene.post, 1).status, 201);
}

#[tokio::test(start_paused = true)]
async fn one_that_could_not_be_answered_for_long_comes_again_and_is_answered() {
    let backend = backend();
    let scene = Scene::over(&backend);
    scene.post.answers_fail(true);
    scene.create(1, &json!({"messageName": "a"}));
    until("it is created", async || {
        !created(&backend).await.is_empty()
    })
    .await;
    until("it is given up, and comes again", async || {
        scene.metrics().contains("drumline_intake_received_total 2")
    })
    .await;
    scene.post.answers_fail(false);
    scene.done().await;
    assert_eq!(reply(&scene.post, 1).status, 200);
    assert_eq!(created(&backend).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_reception_leaves_the_rest_to_others() {
    let backend = backend();
    let scene = Scene::over(&backend);
    for number in 0..500 {
        scene.create(number, &json!({"messageName": "a"}));
    }
    until("it has begun", async || scene.post.waiting() < 500).await;
    let Scene {
        post, reception, ..
    } = scene;
    reception.stop().await;
    let left = post.waiting();
    assert_eq!(created(&backend).await.len(), 500 - left);
    let other = AmqpIngress::start(&manager(&backend), Arc::new(post.clone()));
    until("all are done", async || post.waiting() == 0).await;
    other.stop().await;
    assert_eq!(created(&backend).await.len(), 500);
    assert_eq!(post.replies().len(), 500);
}
