//! The fate of messages that this worker cannot, or should not, keep.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Ids;
use drumline_backend::apply_event::{Applied, Signature, apply_event_unlocked};
use drumline_protocol::message::{Marker, Message, Route, Source};
use drumline_protocol::{Author, ErrorCode, Event, OperationId, Partition, QueueName, Status};
use drumline_worker::{Context, HandlerError, Outcome};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::harness::{Draft, Harness, draft, in_time};

async fn nothing(_: Value, _: Context) -> Result<(), HandlerError> {
    Ok(())
}

#[tokio::test]
async fn what_a_full_worker_holds_goes_to_others() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let go = Arc::new(Semaphore::new(0));
    let slow = {
        let go = Arc::clone(&go);
        move |_: Value, _: Context| {
            tell.send(()).expect("heard");
            let go = Arc::clone(&go);
            async move {
                drop(go.acquire().await);
                Outcome::Done(None)
            }
        }
    };
    let full = harness
        .start(Harness::builder().concurrency(1).handler("*", slow))
        .await;
    // One operation runs. The full worker holds the offers of the rest.
    let running = harness.submit(draft("X")).await;
    in_time("start", hear.recv()).await;
    let mut held = Vec::new();
    for number in 0..40 {
        held.push(harness.submit(draft("X").token(&number.to_string())).await);
        held.push(harness.submit(draft("X")).await);
    }
    let free = harness
        .start(Harness::builder().handler("X", nothing))
        .await;
    for id in held {
        assert_eq!(harness.completed(id).await.header.status, Status::Succeeded);
    }
    assert_eq!(harness.get(running).await.header.status, Status::InProgress);
    // The worker takes work again once a slot is free.
    free.drain().await;
    go.add_permits(100);
    harness.completed(running).await;
    let last = harness.submit(draft("X")).await;
    assert_eq!(
        harness.completed(last).await.header.status,
        Status::Succeeded
    );
    full.drain().await;
}

#[tokio::test]
async fn operations_without_a_handler_here_are_done_elsewhere() {
    let harness = Harness::new();
    let one = harness
        .start(Harness::builder().handler("A", nothing))
        .await;
    let other = harness
        .start(Harness::builder().handler("B", nothing))
        .await;
    let mut ids = Vec::new();
    for number in 0..8 {
        for name in ["A", "B"] {
            ids.push(harness.submit(draft(name)).await);
            ids.push(harness.submit(draft(name).token(&number.to_string())).await);
        }
    }
    for id in ids {
        assert_eq!(harness.completed(id).await.header.status, Status::Succeeded);
    }
    one.drain().await;
    other.drain().await;
}

#[tokio::test]
async fn operations_that_nobody_knows_are_suspended_for_a_person() {
    let harness = Harness::new();
    let builder = Harness::builder().unhandled_after(Duration::from_millis(100));
    let worker = harness.start(builder.handler("A", nothing)).await;
    let id = harness.submit(draft("B").token("t")).await;
    let next = harness.submit(draft("A").token("t")).await;
    let operation = harness.reaches(id, Status::Waiting).await;
    let fault = operation.report.fault.expect("a fault");
    assert_eq!(fault.code, ErrorCode::NO_HANDLER);
    // The operation still holds its place in the chain.
    let next = harness.get(next).await.header.status;
    assert_eq!(next, Status::WaitingForResources);
    worker.drain().await;
}

#[tokio::test]
async fn an_offer_that_names_the_wrong_message_costs_no_start() {
    let harness = Harness::new();
    // The worker that takes the offer has no handler for what the record names.
    let worker = harness
        .start(Harness::builder().handler("A", nothing))
        .await;
    let id = harness
        .submit_as(
            "A",
            Draft {
                at_most_once: true,
                ..draft("B")
            },
        )
        .await;
    // The claim and the release: the operation is offered by its own name then.
    let operation = harness
        .until(id, |operation| operation.header.version == 3)
        .await;
    assert_eq!(
        (operation.header.status, operation.header.starts),
        (Status::WaitingForResources, 0)
    );
    let other = harness
        .start(Harness::builder().handler("B", nothing))
        .await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.header.starts, 1);
    worker.drain().await;
    other.drain().await;
}

#[tokio::test]
async fn a_handler_that_comes_later_takes_what_has_waited_for_it() {
    let harness = Harness::new();
    let worker = harness
        .start(Harness::builder().handler("A", nothing))
        .await;
    let id = harness.submit(draft("B")).await;
    let later = harness
        .start(Harness::builder().handler("B", nothing))
        .await;
    assert_eq!(harness.completed(id).await.header.status, Status::Succeeded);
    worker.drain().await;
    later.drain().await;
}

#[tokio::test]
async fn what_a_draining_worker_could_not_do_goes_back() {
    let harness = Harness::new();
    let worker = harness
        .start(Harness::builder().handler("A", nothing))
        .await;
    let unknown = harness.submit(draft("B")).await;
    in_time("delivery", drained_queue(&harness)).await;
    worker.drain().await;
    let other = harness
        .start(Harness::builder().handler("B", nothing))
        .await;
    assert_eq!(
        harness.completed(unknown).await.header.status,
        Status::Succeeded
    );
    other.drain().await;
}

#[tokio::test]
async fn a_worker_that_the_service_asks_to_drain_runs_what_it_has_and_takes_nothing_new() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let go = Arc::new(Semaphore::new(0));
    let slow = {
        let go = Arc::clone(&go);
        move |_: Value, _: Context| {
            tell.send(()).expect("heard");
            let go = Arc::clone(&go);
            async move {
                drop(go.acquire().await);
                Outcome::Done(None)
            }
        }
    };
    let worker = harness.start(Harness::builder().handler("*", slow)).await;
    worker.until_ready().await;
    let running = harness.submit(draft("X").token("t")).await;
    let next = harness.submit(draft("X").token("t")).await;
    in_time("start", hear.recv()).await;
    let membership = &harness.backend.membership;
    assert!(!worker.is_draining());
    assert!(membership.ask_to_drain(worker.id()).await.expect("asked"));
    let mut ready = worker.ready();
    let closed = ready.wait_for(|ready| !ready);
    in_time("its subscriptions", closed)
        .await
        .expect("it lives");
    assert!(worker.is_draining());
    in_time("its word", async {
        loop {
            let roster = membership.roster().await.expect("read");
            let mut groups = roster.groups().iter();
            if groups.any(|group| group.profile.draining) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The handler is not stopped, and the successor is left to others.
    assert_eq!(harness.get(running).await.header.status, Status::InProgress);
    go.add_permits(100);
    let ended = harness.completed(running).await.header;
    assert_eq!((ended.status, ended.starts), (Status::Succeeded, 1));
    let other = harness
        .start(Harness::builder().handler("X", nothing))
        .await;
    let ended = harness.completed(next).await.header;
    assert_eq!((ended.status, ended.starts), (Status::Succeeded, 1));
    assert!(
        hear.try_recv().is_err(),
        "the first one has started nothing"
    );
    assert_eq!(worker.running(), 0);
    // It is a member until its process drains it.
    assert_eq!(membership.roster().await.expect("read").len(), 2);
    assert_eq!(worker.drain().await.left_behind, 0);
    assert_eq!(membership.roster().await.expect("read").len(), 1);
    other.drain().await;
}

/// Waits until a worker has taken all messages.
async fn drained_queue(harness: &Harness) {
    let route = work_queue();
    loop {
        let backlog = harness.backend.broker.backlog(&route).await;
        if backlog.expect("read").is_some_and(|b| b.messages == 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn work_queue() -> Route {
    Route {
        queue: QueueName::default(),
        source: Source::Work,
    }
}

#[tokio::test]
async fn markers_are_noted() {
    let harness = Harness::new();
    let worker = harness
        .start(Harness::builder().handler("A", nothing))
        .await;
    let stamp = harness.backend.store.stamp(Partition::new(0)).await;
    let marker = Marker {
        route: work_queue(),
        stamp: stamp.expect("a stamp").0,
    };
    let message = Message::Marker(marker.clone());
    let messages = [(work_queue(), message)];
    let published = harness.backend.broker.publish(&messages).await;
    assert!(published.iter().all(Result::is_ok));
    in_time("marker", async {
        while !harness
            .backend
            .store
            .markers()
            .await
            .expect("read")
            .contains(&marker)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    worker.drain().await;
}

#[tokio::test]
async fn duplicates_and_stale_offers_change_nothing() {
    let harness = Harness::new();
    let worker = harness
        .start(Harness::builder().handler("A", nothing))
        .await;
    let id = harness.submit(draft("A")).await;
    let before = harness.completed(id).await;
    let mut stale = before.clone();
    stale.header.status = Status::WaitingForResources;
    stale.header.version = 1;
    let mut unknown = drumline_protocol::message::Offer::of(&stale);
    unknown.id = OperationId::new(harness.backend.store.now(), Partition::new(3), [9; 16]);
    let offers = vec![drumline_protocol::message::Offer::of(&stale), unknown];
    let messages = vec![
        (work_queue(), Message::Offers(offers)),
        (work_queue(), Message::Offers(Vec::new())),
    ];
    for answer in harness.backend.broker.publish(&messages).await {
        answer.expect("published");
    }
    let last = harness.submit(draft("A")).await;
    harness.completed(last).await;
    assert_eq!(harness.get(id).await, before);
    worker.drain().await;
}

#[tokio::test]
async fn a_worker_serves_its_queues_only() {
    let harness = Harness::new();
    let imports: QueueName = "imports".parse().expect("a name");
    let mails: QueueName = "mails".parse().expect("a name");
    let builder = Harness::builder().queue(imports.clone());
    let worker = harness.start(builder.handler("*", nothing)).await;
    let to = |queue: &QueueName| Draft {
        queue: queue.clone(),
        ..draft("X")
    };
    let other = harness.submit(to(&mails)).await;
    let own = harness.submit(to(&imports)).await;
    harness.completed(own).await;
    let other = harness.get(other).await.header.status;
    assert_eq!(other, Status::WaitingForResources);
    worker.drain().await;
}

#[tokio::test]
async fn lanes_move_to_a_worker_that_comes_and_back_when_it_goes() {
    let harness = Harness::new();
    let first = harness
        .start(Harness::builder().handler("X", nothing))
        .await;
    let second = harness
        .start(Harness::builder().handler("X", nothing))
        .await;
    let consumers = async |expected: u64| {
        in_time("lanes", async {
            loop {
                let mut count = 0;
                for lane in harness.backend.store.partitions().all() {
                    let route = Route {
                        queue: QueueName::default(),
                        source: Source::Lane(lane),
                    };
                    let backlog = harness.backend.broker.backlog(&route).await.expect("read");
                    count += backlog.map_or(0, |backlog| backlog.consumers);
                }
                let members = harness.backend.membership.roster().await.expect("read");
                if count == 64 && members.len() as u64 == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    };
    consumers(2).await;
    second.drain().await;
    consumers(1).await;
    for number in 0..20 {
        let id = harness.submit(draft("X").token(&number.to_string())).await;
        harness.completed(id).await;
    }
    first.drain().await;
}

#[tokio::test]
async fn readiness_ends_with_the_subscriptions() {
    let harness = Harness::new();
    let stay = Arc::new(Notify::new());
    let handler = {
        let stay = Arc::clone(&stay);
        move |_: Value, _: Context| {
            let stay = Arc::clone(&stay);
            async move {
                stay.notified().await;
                Outcome::Done(None)
            }
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    harness.reaches(id, Status::InProgress).await;
    let mut ready = worker.ready();
    let ((), drained) = in_time("drain", async {
        tokio::join!(
            async {
                ready.wait_for(|ready| !ready).await.expect("told");
                stay.notify_one();
            },
            worker.drain(),
        )
    })
    .await;
    assert_eq!(drained.left_behind, 0);
    harness.completed(id).await;
}

#[tokio::test]
async fn a_stale_look_does_not_undo_a_newer_checkpoint() {
    let harness = Harness::new();
    let handler = async |_: Value, context: Context| -> Outcome {
        context.checkpoint(&"page 7").expect("small enough");
        context.stop_requested().await;
        Outcome::Stopped
    };
    let id = harness.submit(draft("X")).await;
    // Another worker finds that no worker has a handler, and takes some time
    // over it.
    let seen = harness.get(id).await;
    let builder = Harness::builder()
        .grace(Duration::from_secs(5))
        .drain_timeout(Duration::from_millis(5_050));
    let worker = harness.start(builder.handler("X", handler)).await;
    harness
        .until(id, |operation| operation.report.checkpoint.is_some())
        .await;
    worker.drain().await;
    let store = &*harness.backend.store;
    let (ids, author) = (Ids::random(), Author::worker("another"));
    let by = Signature::new(&ids, &author);
    let decided = apply_event_unlocked(store, by, &seen, Event::Unhandled).await;
    assert!(matches!(decided, Ok(Applied::Done(..))), "{decided:?}");
    let report = harness.get(id).await.report;
    assert_eq!(
        report.fault.map(|fault| fault.code),
        Some(ErrorCode::NO_HANDLER)
    );
    assert_eq!(report.checkpoint.as_deref(), Some("\"page 7\""));
}
