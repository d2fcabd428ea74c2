//! Operations with large payloads: an answer that is too long to arrive within
//! the response timeout would never arrive.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Created, Guard, OutboxLook, Renewal, ReportParts, Stamp};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{Options, RedisStore};
use drumline_protocol::{Event, Fence, OperationId, Partition, Progress, Report};
use drumline_test_servers::TcpProxy;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::common::{self, claim, commit, draft};

/// Too many for one answer.
const BACKLOG: usize = 64;
/// The number that a queue manager asks for at once.
const AT_ONCE: usize = 256;
const PAYLOAD_BYTES: usize = 1 << 20;
/// A line that carries the backlog in some three seconds: three times the response
/// timeout.
const BYTES_PER_SECOND: u64 = 20_000_000;

/// Stores the backlog; returns its ids and the stamps of its offers.
async fn create_backlog(store: &RedisStore, ids: &Ids) -> Vec<(OperationId, Option<Stamp>)> {
    let mut created = Vec::new();
    for _ in 0..BACKLOG / 16 {
        let drafts: Vec<_> = (0..16)
            .map(|_| {
                let mut new = draft(store, ids, None);
                new.body.data = Some("x".repeat(PAYLOAD_BYTES));
                new
            })
            .collect();
        for answer in store.create(drafts).await.expect("create") {
            let Created::New { id, offer, .. } = answer else {
                panic!("expected a new operation: {answer:?}");
            };
            created.push((id, offer));
        }
    }
    created
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_large_operations_is_offered_at_once() {
    let store = common::connect(&common::options().await).await;
    let ids = Ids::random();
    let backlog = create_backlog(&store, &ids).await;
    let look = OutboxLook::oldest(Duration::ZERO, AT_ONCE);
    let page = store.outbox_entries(Partition::new(0), &look).await;
    let entries = page.expect("undispatched").into_entries();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.operation.id, Some(entry.stamp)))
        .collect();
    assert_eq!(found, backlog);
}

/// Readers that share a slow line all get their operations, and small requests do
/// not wait behind them.
#[tokio::test(flavor = "multi_thread")]
async fn large_operations_arrive_over_a_slow_line_and_do_not_hold_up_the_rest() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let backlog = create_backlog(&store, &ids).await;
    let all: Vec<OperationId> = backlog.iter().map(|(id, _)| *id).collect();
    let (proxy, slow) = slow_line(&options).await;
    let reader = Arc::new(common::connect(&slow).await);

    let started = Instant::now();
    let mut readers = JoinSet::new();
    for some in all.chunks(BACKLOG / 4) {
        let (reader, some) = (Arc::clone(&reader), some.to_vec());
        readers.spawn(async move { reader.get(&some).await });
    }
    let mut slowest = Duration::ZERO;
    let mut arrived = 0;
    while arrived < BACKLOG {
        let asked = Instant::now();
        let renewals = reader
            .renew(&[(all[0], common::holding(Fence(1)))])
            .await
            .expect("renew");
        assert_eq!(renewals, [Renewal::Lost], "it is not held");
        slowest = slowest.max(asked.elapsed());
        let next = tokio::time::timeout(Duration::from_millis(20), readers.join_next());
        if let Ok(Some(read)) = next.await {
            for operation in read.expect("a reader").expect("get") {
                let data = operation.expect("it is there").body.data;
                assert_eq!(data.map(|data| data.len()), Some(PAYLOAD_BYTES));
                arrived += 1;
            }
        }
    }
    let took = started.elapsed();
    println!("{BACKLOG} MiB in {took:?}; the slowest small request took {slowest:?}");
    let needed = (BACKLOG * PAYLOAD_BYTES) as u64 / BYTES_PER_SECOND;
    assert!(took > Duration::from_secs(needed), "the line is not slow");
    // On a busy machine, everything takes longer. Behind the others it would take most of the time.
    let limit = options.response_timeout.max(took / 4);
    assert!(slowest < limit, "{slowest:?} of {took:?}");
    drop(proxy);
}

/// A write that carries many large operations is cut into requests that arrive.
#[tokio::test(flavor = "multi_thread")]
async fn large_operations_are_stored_over_a_slow_line() {
    let (_proxy, slow) = slow_line(&common::options().await).await;
    let store = common::connect(&slow).await;
    let ids = Ids::random();
    let started = Instant::now();
    let drafts: Vec<_> = (0..BACKLOG / 2)
        .map(|_| {
            let mut new = draft(&store, &ids, None);
            new.body.data = Some("x".repeat(PAYLOAD_BYTES));
            new
        })
        .collect();
    let expected: Vec<OperationId> = drafts.iter().map(|new| new.id).collect();
    let created = store.create(drafts).await.expect("create");
    let found: Vec<OperationId> = created
        .iter()
        .map(|answer| match answer {
            Created::New { id, .. } => *id,
            other => panic!("expected a new operation: {other:?}"),
        })
        .collect();
    assert_eq!(found, expected);
    assert!(
        started.elapsed() > slow.response_timeout,
        "the line is not slow"
    );
}

/// A line to the server of these options that is slow, and options for it.
async fn slow_line(options: &Options) -> (TcpProxy, Options) {
    let address = options.url.trim_start_matches("redis://");
    let address = address.split('/').next().unwrap_or(address);
    let proxy = TcpProxy::start(address).await.expect("a proxy");
    proxy.throttle(BYTES_PER_SECOND);
    let url = proxy.url(&options.url, address);
    let slow = Options {
        url,
        ..options.clone()
    };
    (proxy, slow)
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
    let written = store
        .report(new.id, common::holding(fence), &report, ReportParts::All)
        .await;
    assert!(written.expect("report"));
    let mut raw = common::raw(&options.url).await;
    let mut keys = async || -> Vec<Vec<u8>> {
        let mut keys = redis::cmd("KEYS");
        keys.arg(format!("{}:*:op:*", options.namespace));
        keys.query_async(&mut raw).await.expect("keys")
    };
    assert_eq!(keys().await.len(), 4, "record, body, report, checkpoint");
    // A short report stands in the record, and a checkpoint may go.
    let short = Report::default();
    for (report, count, parts) in [(&short, 2, 1), (&report, 4, 7)] {
        let holding = common::holding(fence);
        let written = store.report(new.id, holding, report, ReportParts::All);
        assert!(written.await.expect("report"));
        let found = keys().await;
        assert_eq!(found.len(), count, "{found:?}");
        let record = found.iter().min_by_key(|key| key.len());
        let mut noted = redis::cmd("GETRANGE");
        noted.arg(record.expect("a record")).arg(58).arg(58);
        let mut raw = common::raw(&options.url).await;
        let noted: Vec<u8> = noted.query_async(&mut raw).await.expect("a byte");
        assert_eq!(noted, [parts], "the parts that the record names");
    }
    let guard = Guard::Holder(common::holding(fence));
    let end = commit(&store, &ids, new.id, &header, Event::Succeed, guard);
    let header = end.header.clone();
    common::make(&store, end).await;
    let delete = commit(&store, &ids, new.id, &header, Event::Delete, Guard::None);
    common::make(&store, delete).await;
    assert_eq!(keys().await, Vec::<Vec<u8>>::new());
}
