//! The memory that an operation costs while it waits, and when it is Completed.

use drumline_backend::store::{Commit, Committed, Created, Guard, NewOperation, Stamp};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{IndexUse, Options, RedisStore, memory_by_kind};
use drumline_protocol::{Event, Header, IndexKind, OperationId, Report};
use drumline_test_servers::{RedisOptions, RedisServer};

use crate::common::{self, commit, draft};

/// Enough that the fixed costs do not show.
const OPERATIONS: u64 = 10_000;
/// The bytes of each payload, which are the caller's own.
const PAYLOAD: usize = 512;
/// Operations in one call.
const BATCH: usize = 500;

/// The bytes of an operation beside its payload.
#[derive(Debug)]
struct Bytes {
    waiting: u64,
    completed: u64,
}

impl Bytes {
    /// With more than this, the layout has lost its shape.
    fn at_most(&self, most: &Self) -> bool {
        self.waiting <= most.waiting && self.completed <= most.completed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_costs_little_beside_its_payload() {
    let bytes = measure(0, IndexUse::On).await;
    println!("{bytes:?} of Redis, independent");
    let most = Bytes {
        waiting: 760,
        completed: 830,
    };
    assert!(bytes.at_most(&most), "{bytes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_in_a_chain_costs_little_beside_its_payload() {
    let bytes = measure(OPERATIONS / 10, IndexUse::On).await;
    println!("{bytes:?} of Redis, in chains of ten");
    let most = Bytes {
        waiting: 850,
        completed: 870,
    };
    assert!(bytes.at_most(&most), "{bytes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_without_indexes_costs_half_a_kilobyte_beside_its_payload() {
    let bytes = measure(0, IndexUse::Off).await;
    let chained = measure(OPERATIONS / 10, IndexUse::Off).await;
    println!("{bytes:?} of Redis without indexes, {chained:?} in chains of ten");
    // A record of some 850 bytes is in one of 896 for the allocator of Redis.
    let most = Bytes {
        waiting: 610,
        completed: 630,
    };
    assert!(bytes.at_most(&most), "{bytes:?}");
    let most = Bytes {
        waiting: 640,
        completed: 640,
    };
    assert!(chained.at_most(&most), "{chained:?}");
}

/// A server without a log of slow commands: it would keep their arguments.
async fn server() -> RedisServer {
    let arguments = ["--slowlog-log-slower-than", "-1"].map(str::to_owned);
    let options = RedisOptions {
        arguments: arguments.to_vec(),
        ..RedisOptions::default()
    };
    let server = RedisServer::start_with(options).await;
    server.expect("a Redis")
}

#[expect(clippy::print_stdout, reason = "a measurement prints its result")]
async fn measure(chains: u64, indexes: IndexUse) -> Bytes {
    let server = server().await;
    let options = Options {
        url: server.url(),
        // The default: every key begins with it.
        ..Options::default()
    };
    let store = common::connect(&options).await;
    let ids = Ids::random();
    if indexes == IndexUse::Off {
        for kind in IndexKind::ALL {
            store.switch_index(kind, false).await.expect("off");
        }
    }
    let before = used(&options.url, &store).await;
    let mut heads = fill(&store, &ids, chains).await;
    // With its connection go the server's buffers for it.
    drop(store);
    let store = common::connect(&options).await;
    let waiting = beside_payload(&options.url, &store, before).await;
    println!("waiting: {}", by_kind(&options).await);
    while !heads.is_empty() {
        heads = complete(&store, &ids, &heads).await;
    }
    assert_eq!(store.counts().await.expect("counts").completed, OPERATIONS);
    drop(store);
    let store = common::connect(&options).await;
    let completed = beside_payload(&options.url, &store, before).await;
    println!("completed: {}", by_kind(&options).await);
    Bytes { waiting, completed }
}

/// The bytes of each kind of key per operation, payload included.
async fn by_kind(options: &Options) -> String {
    let kinds = memory_by_kind(options).await.expect("memory");
    let each = |(kind, bytes): (&str, u64)| format!("{kind} {}", bytes / OPERATIONS);
    Vec::from_iter(kinds.into_iter().map(each)).join(", ")
}

/// The most bytes of an entry with a short name and no reason.
const MOST_OF_AN_ENTRY: u64 = 45;
/// The most bytes of the first two entries, with their key and their list: some 345
/// are known on Redis 7.0. Operations that run once have neither.
const MOST_OF_THE_FIRST: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_history_costs_few_bytes() {
    const LIVES: u64 = 2_000;
    const MORE: u64 = 20;
    let server = server().await;
    let url = server.url();
    let store = common::connect(&common::options_on(&url)).await;
    let ids = Ids::random();
    let mut lives: Vec<(OperationId, Header)> = Vec::new();
    for _ in 0..LIVES {
        let new = draft(&store, &ids, None);
        lives.push((new.id, new.header.clone()));
        store.create(vec![new]).await.expect("create");
    }
    // Refused, but as large as what follows: the server's buffers grow once.
    for _ in 0..3 {
        let mut others = lives.clone();
        for (_, header) in &mut others {
            header.version += 1;
        }
        let commits = others
            .iter()
            .map(|(id, header)| commit(&store, &ids, *id, header, Event::Pause, Guard::None));
        let made = store.commit(commits.collect()).await.expect("commit");
        assert!(made.iter().all(|one| matches!(one, Committed::Conflict(_))));
    }
    let none = used(&url, &store).await;
    pause_and_resume(&store, &ids, &mut lives, 1).await;
    let first = used(&url, &store).await;
    pause_and_resume(&store, &ids, &mut lives, MORE / 2).await;
    let all = used(&url, &store).await;
    let start = first.saturating_sub(none) / LIVES;
    let each = all.saturating_sub(first) / LIVES / MORE;
    println!("{each} bytes of Redis per entry, {start} for the first two and their list");
    assert!(each <= MOST_OF_AN_ENTRY, "{each} bytes");
    assert!(start <= MOST_OF_THE_FIRST, "{start} bytes");
}

/// Pauses and resumes every operation so many times.
async fn pause_and_resume(
    store: &RedisStore,
    ids: &Ids,
    lives: &mut [(OperationId, Header)],
    times: u64,
) {
    for _ in 0..times {
        for event in [Event::Pause, Event::Resume] {
            let mut commits: Vec<Commit> = Vec::new();
            for (id, header) in lives.iter_mut() {
                let one = commit(store, ids, *id, header, event.clone(), Guard::None);
                *header = one.header.clone();
                commits.push(one);
            }
            let made = store.commit(commits).await.expect("commit");
            assert!(made.iter().all(|one| matches!(one, Committed::Done(_))));
        }
    }
}

/// The memory of the server without its scripts. Redis 8 counts that of Lua, too, which
/// comes and goes with the garbage of calls. The next call loads the scripts again.
async fn used(url: &str, store: &RedisStore) -> u64 {
    // Is there on every reading, so it adds nothing to their difference.
    let mut raw = common::raw(url).await;
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH").arg("SYNC");
    flush.exec_async(&mut raw).await.expect("no scripts");
    store.inspect().await.expect("inspect").used_memory
}

async fn beside_payload(url: &str, store: &RedisStore, before: u64) -> u64 {
    (used(url, store).await - before) / OPERATIONS - u64::try_from(PAYLOAD).expect("small")
}

/// Creates operations and has them all confirmed by a broker. Returns the ones
/// that may run.
async fn fill(store: &RedisStore, ids: &Ids, chains: u64) -> Vec<(OperationId, Header)> {
    let drafts: Vec<NewOperation> = (0..OPERATIONS)
        .map(|number| {
            let token = number
                .checked_rem(chains)
                .map(|chain| format!("token {chain}"));
            let mut draft = draft(store, ids, token.as_deref());
            draft.body.data = Some(format!("\"{}\"", "x".repeat(PAYLOAD - 2)));
            draft
        })
        .collect();
    let mut heads = Vec::new();
    for batch in drafts.chunks(BATCH) {
        let created = store.create(batch.to_vec()).await.expect("create");
        let mut confirmed = Vec::new();
        for (new, created) in batch.iter().zip(created) {
            let Created::New { offer, .. } = created else {
                panic!("expected a new operation: {created:?}");
            };
            if let Some(stamp) = offer {
                confirmed.push((new.id, stamp));
                heads.push((new.id, new.header.clone()));
            }
        }
        confirm(store, &confirmed).await;
    }
    assert_eq!(store.counts().await.expect("counts").undispatched, 0);
    heads
}

async fn confirm(store: &RedisStore, entries: &[(OperationId, Stamp)]) {
    let done = store.remove_from_outbox(entries).await;
    done.expect("confirmed");
}

/// Claims and completes operations, each with a small result. Returns the ones
/// that may run then.
async fn complete(
    store: &RedisStore,
    ids: &Ids,
    heads: &[(OperationId, Header)],
) -> Vec<(OperationId, Header)> {
    let mut next = Vec::new();
    for batch in heads.chunks(BATCH) {
        let claims: Vec<_> = batch
            .iter()
            .map(|(id, header)| common::claim(store, ids, *id, header))
            .collect();
        let claimed = store.commit(claims.clone()).await.expect("claim");
        let mut ends = Vec::new();
        for (claim, answer) in claims.iter().zip(claimed) {
            let Committed::Done(done) = answer else {
                panic!("expected a claim: {answer:?}");
            };
            let guard = Guard::Holder(common::holding(done.fence.expect("a fence")));
            let (id, header) = (claim.id, &claim.header);
            let mut end = commit(store, ids, id, header, Event::Succeed, guard);
            end.report = Some(Report {
                result: Some("{\"done\":true}".to_owned()),
                ..Report::default()
            });
            ends.push(end);
        }
        let mut confirmed = Vec::new();
        for answer in store.commit(ends).await.expect("complete") {
            let Committed::Done(done) = answer else {
                panic!("expected an end: {answer:?}");
            };
            if let Some(promoted) = done.promoted {
                confirmed.push((promoted.operation.id, promoted.stamp));
                next.push((promoted.operation.id, promoted.operation.header));
            }
        }
        confirm(store, &confirmed).await;
    }
    next
}
