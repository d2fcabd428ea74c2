//! The client crate against the whole service.

use drumline_client::{
    AsyncRequest, BatchSettings, BulkAction, Client, ErrorCode, Filter, NewOperation,
    OrganizationRequest, OrganizationResponse, Retrieve, RetrieveMultiple, State, Update,
};
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::dev::Dev;

fn client(dev: &Dev) -> Client {
    Client::builder(&dev.url).build().expect("a client")
}

/// An operation that waits.
fn later(name: &str) -> NewOperation {
    let end_of_time = drumline_client::Timestamp::from_millis(4_000_000_000_000);
    NewOperation::new("Echo")
        .name(name)
        .postpone_until(end_of_time)
}

#[tokio::test]
async fn many_are_created_in_order_and_once() {
    let dev = Dev::start();
    let client = client(&dev);
    let operations = || {
        (0..1_500).map(|number| {
            let name = format!("{number:04}");
            later(&name).token("t").idempotency_key(name)
        })
    };
    let first = client.create_all(operations()).await.unwrap();
    assert!(first.iter().all(Result::is_ok), "{first:?}");
    let again = client.create_all(operations()).await.unwrap();
    assert!(first == again, "created twice");
    let mut listed: Vec<_> = client.list_all(&Filter::new()).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1_500);
    listed.sort_by_key(|operation| operation.sequence);
    assert!(listed.is_sorted_by(|a, b| a.name < b.name), "out of order");
}

#[tokio::test]
async fn organization_requests_are_answered_by_type() {
    let dev = Dev::start();
    let client = client(&dev);
    let new = later("mine").data(&json!({"a": 1})).unwrap();
    let create = OrganizationRequest::Create(Box::new(new));
    let OrganizationResponse::Create { id, existed: false } =
        client.execute(&create).await.unwrap()
    else {
        panic!("no id");
    };
    let by_name = OrganizationRequest::Retrieve(Retrieve::by_name("mine"));
    let OrganizationResponse::Retrieve(whole) = client.execute(&by_name).await.unwrap() else {
        panic!("no operation");
    };
    assert_eq!(whole.operation().unwrap().id, id);
    let part = Retrieve::by_id(&id).columns(["name", "data"]);
    let OrganizationResponse::Retrieve(part) = client
        .execute(&OrganizationRequest::Retrieve(part))
        .await
        .unwrap()
    else {
        panic!("no operation");
    };
    assert_eq!(part.attributes().unwrap()["data"], json!({"a": 1}));
    let all = OrganizationRequest::RetrieveMultiple(Box::new(RetrieveMultiple {
        filter: Filter::new().state(State::Suspended).name("mine"),
        ..RetrieveMultiple::default()
    }));
    let OrganizationResponse::RetrieveMultiple(page) = client.execute(&all).await.unwrap() else {
        panic!("no page");
    };
    assert_eq!(page.operations.len(), 1);

    let cancel = OrganizationRequest::Update {
        id: id.clone(),
        changes: Update::new().state(State::Completed),
    };
    let delete = OrganizationRequest::Delete { id: id.clone() };
    let import = OrganizationRequest::ExecuteAsync(AsyncRequest::new("ImportSolution"));
    let batch = OrganizationRequest::ExecuteMultiple {
        requests: vec![delete.clone(), cancel, delete.clone(), import],
        settings: BatchSettings {
            continue_on_error: true,
            return_responses: true,
        },
    };
    let OrganizationResponse::ExecuteMultiple {
        is_faulted: true,
        responses,
    } = client.execute(&batch).await.unwrap()
    else {
        panic!("no faulted batch");
    };
    let outcomes: Vec<_> = responses.into_iter().map(|item| item.outcome).collect();
    let fault = outcomes[0].as_ref().unwrap_err();
    assert_eq!(fault.error_code, ErrorCode::CANNOT_DELETE);
    assert!(
        matches!(outcomes[1..3], [Ok(None), Ok(None)]),
        "{outcomes:?}"
    );
    assert!(
        matches!(
            &outcomes[3],
            Ok(Some(OrganizationResponse::ExecuteAsync { .. }))
        ),
        "{outcomes:?}"
    );
    let gone = client.execute(&delete).await.unwrap_err();
    assert_eq!(gone.fault().unwrap().error_code, ErrorCode::NOT_FOUND);
}

#[tokio::test]
async fn a_transaction_that_faults_names_the_request() {
    let dev = Dev::start();
    let client = client(&dev);
    let transaction = OrganizationRequest::ExecuteTransaction {
        requests: vec![
            OrganizationRequest::Create(Box::new(later("never"))),
            OrganizationRequest::Delete {
                id: "unknown".to_owned(),
            },
        ],
        return_responses: true,
    };
    let error = client.execute(&transaction).await.unwrap_err();
    assert_eq!(error.fault().unwrap().faulted_request_index, Some(1));
    let all: Vec<_> = client.list_all(&Filter::new()).try_collect().await.unwrap();
    assert!(all.is_empty());
}

#[tokio::test]
async fn organizations_do_not_see_each_other() {
    let dev = Dev::start();
    let ours = Client::builder(&dev.url).organization("ours").caller("me");
    let ours = ours.build().unwrap();
    let created = ours.create(&later("n")).await.unwrap().operation;
    assert_eq!(
        (created.organization.as_str(), created.owner_id.as_str()),
        ("ours", "me")
    );
    let theirs = client(&dev);
    let cancelled = theirs.bulk(BulkAction::Cancel, Filter::new()).all().run();
    assert_eq!(cancelled.await.unwrap().matched, 0);
    let error = theirs.get(&created.id).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NOT_FOUND));
}

#[tokio::test]
async fn the_fleet_shows_itself() {
    let dev = Dev::start();
    let client = client(&dev);
    assert!(client.ready().await.unwrap().ready);
    let fleet = client.workers().await.unwrap();
    assert_eq!((fleet.workers.len(), fleet.managers.len()), (1, 1));
    assert_eq!(client.queues().await.unwrap().queues[0].name, "default");
}
