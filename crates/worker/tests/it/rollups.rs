//! The counts of a worker in the store's rollups and failure groups.

use drumline_backend::store::{FailureGroup, Resolution, Rollup, RollupKey};
use drumline_protocol::{ErrorCode, Organization, QueueName, Status};
use drumline_worker::{Context, Fault, HandlerError, NewChild, Outcome};
use serde_json::Value;

use crate::harness::{Harness, draft, in_time};

async fn parent(_: Value, context: Context) -> Result<(), HandlerError> {
    context.create(NewChild::new("Child")).await?;
    Ok(())
}

async fn nothing(_: Value, _: Context) -> Result<(), HandlerError> {
    Ok(())
}

async fn fails(_: Value, _: Context) -> Outcome {
    let fault = Fault::new(ErrorCode::NETWORK_ERROR, "No.", "port 5432 is closed");
    Outcome::Fail(fault)
}

#[tokio::test]
async fn runs_children_and_failures_are_counted() {
    let harness = Harness::new();
    let builder = Harness::builder().handler("Parent", parent);
    let builder = builder.handler("Child", nothing).handler("Fails", fails);
    let worker = harness.start(builder).await;
    let before = Resolution::Minute.slot(harness.backend.store.now());
    for (message, status) in [
        ("Parent", Status::Succeeded),
        ("Fails", Status::Failed),
        ("Fails", Status::Failed),
    ] {
        let id = harness.submit(draft(message)).await;
        assert_eq!(harness.completed(id).await.header.status, status);
    }
    let all_ended = async {
        while !harness
            .all()
            .await
            .iter()
            .all(|one| one.header.status.state() == drumline_protocol::State::Completed)
        {
            tokio::task::yield_now().await;
        }
    };
    in_time("the child ends", all_ended).await;
    // A worker that drains writes what it has counted.
    worker.drain().await;
    let named = |message_name: &str| RollupKey::Of {
        queue: QueueName::default(),
        message_name: message_name.to_owned(),
    };
    let asked = [
        RollupKey::Total,
        named("Parent"),
        named("Child"),
        named("Fails"),
    ];
    let store = &harness.backend.store;
    let last = Resolution::Minute.slot(store.now());
    let slots = store.rollups(&asked, Resolution::Minute, before, last - before + 1);
    let slots = slots.await.expect("rollups");
    let sum = |place: usize| Rollup::sum(slots.iter().filter_map(|slot| slot.get(place)));
    let (total, parent, child, fails) = (sum(0), sum(1), sum(2), sum(3));
    assert_eq!((total.started, total.succeeded, total.failed), (4, 2, 2));
    assert_eq!((total.wait.count(), total.run.count()), (4, 4));
    assert_eq!((parent.created, parent.succeeded), (0, 1));
    assert_eq!((child.created, child.started, child.succeeded), (1, 1, 1));
    assert_eq!((fails.started, fails.failed), (2, 2));
    let organization = Organization::default();
    let groups = store.failure_groups(&organization, 10).await;
    let groups = groups.expect("failure_groups");
    let [group] = groups.as_slice() else {
        panic!("one group: {groups:?}");
    };
    let FailureGroup {
        message_name,
        code,
        pattern,
        count,
        ..
    } = group;
    assert_eq!(message_name, "Fails");
    assert_eq!(*code, ErrorCode::NETWORK_ERROR);
    assert_eq!((pattern.as_str(), *count), ("port # is closed", 2));
}
