//! Operations with large payloads: an answer that is too long to arrive within
//! the response timeout would never arrive.

use std::time::Duration;

use drumline_backend::store::{Created, Guard, ReportParts};
use drumline_backend::{Ids, Store};
use drumline_protocol::{Event, Partition, Progress, Report};

use crate::common::{self, claim, commit, draft};

/// Too many for one answer.
const BACKLOG: usize = 64;
/// The number that a queue manager asks for at once.
const AT_ONCE: usize = 256;
const PAYLOAD_BYTES: usize = 1 << 20;
/// The bytes that a line of 1 Gbit/s carries in a quarter of the response
/// timeout.
const MOST_BYTES: usize = 32 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_large_operations_is_given_out_in_pieces() {
    let store = common::connect(&common::options().await).await;
    let ids = Ids::random();
    let mut stamps = Vec::new();
    for _ in 0..BACKLOG / 16 {
        let drafts: Vec<_> = (0..16)
            .map(|_| {
                let mut new = draft(&store, &ids, None);
                new.body.data = Some("x".repeat(PAYLOAD_BYTES));
                new
            })
            .collect();
        for created in store.create(drafts).await.expect("create") {
            let Created::New { offer, .. } = created else {
                panic!("expected a new operation: {created:?}");
            };
            stamps.extend(offer);
        }
    }
    let mut given = Vec::new();
    while given.len() < stamps.len() {
        let entries = store
            .outbox_entries(Partition::new(0), Duration::ZERO, None, AT_ONCE)
            .await
            .expect("undispatched");
        assert!(!entries.is_empty(), "there are more");
        assert!(
            entries.len() * PAYLOAD_BYTES <= MOST_BYTES,
            "{}",
            entries.len()
        );
        let confirmed: Vec<_> = entries
            .iter()
            .map(|entry| (entry.operation.id, entry.stamp))
            .collect();
        store
            .remove_from_outbox(&confirmed)
            .await
            .expect("dispatched");
        given.extend(entries.iter().map(|entry| entry.stamp));
    }
    assert_eq!(given, stamps);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_operation_leaves_no_part_behind() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let mut new = draft(&store, &ids, None);
    new.body.data = Some("x".repeat(PAYLOAD_BYTES));
    common::create(&store, &new).await;
    let claim = claim(&store, &ids, new.id, &new.header);
    let header = claim.header.clone();
    let fence = common::make(&store, claim).await.fence.expect("a fence");
    let report = Report {
        progress: Some(Progress {
            percent: 1,
            text: "x".repeat(5_000),
        }),
        checkpoint: Some("7".to_owned()),
        ..Report::default()
    };
    let written = store.report(new.id, fence, &report, ReportParts::All).await;
    assert!(written.expect("report"));
    let mut raw = common::raw(&options.url).await;
    let mut keys = async || -> Vec<Vec<u8>> {
        let mut keys = redis::cmd("KEYS");
        keys.arg(format!("{}:*:op:*", options.namespace));
        keys.query_async(&mut raw).await.expect("keys")
    };
    assert_eq!(keys().await.len(), 4, "record, body, report, checkpoint");
    let guard = Guard::Holder(fence);
    let end = commit(&store, &ids, new.id, &header, Event::Succeed, guard);
    let header = end.header.clone();
    common::make(&store, end).await;
    let delete = commit(&store, &ids, new.id, &header, Event::Delete, Guard::None);
    common::make(&store, delete).await;
    assert_eq!(keys().await, Vec::<Vec<u8>>::new());
}
