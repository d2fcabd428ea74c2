//! The bytes that a change writes to the append-only file.

use drumline_backend::store::{Commit, Guard, NewOperation, ReportParts};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::RedisStore;
use drumline_protocol::{Event, Fence, Header, OperationId, Progress, Report};
use drumline_test_servers::RedisServer;
use redis::aio::MultiplexedConnection;

use crate::common::{self, claim, commit, draft};

/// A payload and a checkpoint that no change may copy.
const LARGE: usize = 1 << 20;
/// More than a change writes on average, all its keys and indexes together.
const MOST: u64 = 2_048;
const CHANGES: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_writes_neither_payload_nor_checkpoint() {
    let server = RedisServer::start().await.expect("a Redis");
    let store = common::connect(&common::options_on(&server.url())).await;
    let mut raw = common::raw(&server.url()).await;
    let ids = Ids::random();
    for size in [7_000, LARGE] {
        let (id, mut header) = created(&store, &ids, size).await;
        let before = written(&mut raw).await;
        for _ in 0..CHANGES {
            for event in [Event::Pause, Event::Resume] {
                let change = commit(&store, &ids, id, &header, event, Guard::None);
                header = make(&store, change).await;
            }
        }
        let (fence, header) = claimed(&store, &ids, id, &header).await;
        let each = (written(&mut raw).await - before) / (2 * CHANGES);
        println!("{each} bytes a change, with a payload of {size}");
        assert!(each < MOST, "{each}");

        let report = |percent| Report {
            progress: Some(Progress {
                percent,
                text: "so far".to_owned(),
            }),
            checkpoint: Some("x".repeat(LARGE)),
            ..Report::default()
        };
        report_of(&store, id, fence, &report(0), ReportParts::All).await;
        let before = written(&mut raw).await;
        for percent in 1..=20 {
            let parts = ReportParts::AllButCheckpoint;
            report_of(&store, id, fence, &report(percent), parts).await;
        }
        let each = (written(&mut raw).await - before) / CHANGES;
        println!("{each} bytes a report of progress");
        assert!(each < MOST, "{each}");
        let read = store.get(&[id]).await.expect("get").remove(0);
        assert_eq!(read.expect("it is there").report, report(20));
        let release = commit(
            &store,
            &ids,
            id,
            &header,
            Event::Release,
            Guard::Holder(common::holding(fence)),
        );
        make(&store, release).await;
    }
}

async fn created(store: &RedisStore, ids: &Ids, size: usize) -> (OperationId, Header) {
    let mut new: NewOperation = draft(store, ids, None);
    new.body.data = Some("x".repeat(size));
    common::create(store, &new).await;
    (new.id, new.header)
}

async fn make(store: &RedisStore, change: Commit) -> Header {
    let header = change.header.clone();
    common::make(store, change).await;
    header
}

async fn claimed(
    store: &RedisStore,
    ids: &Ids,
    id: OperationId,
    header: &Header,
) -> (Fence, Header) {
    let claim = claim(store, ids, id, header);
    let header = claim.header.clone();
    let done = common::make(store, claim).await;
    (done.fence.expect("a fence"), header)
}

async fn report_of(
    store: &RedisStore,
    id: OperationId,
    fence: Fence,
    report: &Report,
    parts: ReportParts,
) {
    let written = store
        .report(id, common::holding(fence), report, parts)
        .await;
    assert!(written.expect("report"));
}

/// The bytes of the append-only file.
async fn written(raw: &mut MultiplexedConnection) -> u64 {
    let info: redis::InfoDict = redis::cmd("INFO")
        .arg("persistence")
        .query_async(raw)
        .await
        .expect("info");
    info.get("aof_current_size").expect("it is on")
}
