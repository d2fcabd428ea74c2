//! Operations that hold their chain: a look for them costs what has ended since the last
//! one, whatever has failed before.

use drumline_backend::store::{Filter, Guard, NewOperation, Summary};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::RedisStore;
use drumline_protocol::{Event, Header, OperationId, Partition, Rules, TokenPolicy};
use drumline_test_servers::RedisServer;

use crate::common::{self, commit, draft, make};

/// Operations that end: more than one look reads of each partition.
const ENDED: u16 = 2_500;
/// Looks after which all ends were looked at.
const LOOKS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_is_found_without_a_look_at_what_has_failed() {
    let server = RedisServer::start().await.expect("a Redis");
    let store = common::connect(&common::options_on(&server.url())).await;
    let ids = Ids::random();
    cancel_many(&store, &ids).await;
    let (first, _) = hold(&store, &ids, "first").await;
    for _ in 0..LOOKS {
        found(&store, 5).await;
    }

    // Nothing has changed: a call for each partition, and the one operation.
    let before = calls(&server.url()).await;
    assert_eq!(found(&store, 5).await, (vec![first], true));
    let after = calls(&server.url()).await;
    let partitions = u64::from(store.partitions().get());
    assert_eq!(after.scripts - before.scripts, partitions);
    assert_eq!(after.headers - before.headers, 0);

    // An operation that ended meanwhile is found at once, and one that was released is not.
    let (second, header) = hold(&store, &ids, "second").await;
    let (third, _) = hold(&store, &ids, "third").await;
    assert_eq!(found(&store, 5).await, (vec![third, second, first], true));
    assert_eq!(found(&store, 2).await.0, [third, second]);
    let resume = commit(&store, &ids, second, &header, Event::Resume, Guard::None);
    let released = resume.header.clone();
    make(&store, resume).await;
    assert_eq!(found(&store, 5).await, (vec![third, first], true));
    let delete = commit(&store, &ids, second, &released, Event::Delete, Guard::None);
    make(&store, delete).await;
    assert_eq!(found(&store, 5).await, (vec![third, first], true));
}

/// The operations that hold their chain, newest first, and true if these are all.
async fn found(store: &RedisStore, limit: usize) -> (Vec<OperationId>, bool) {
    let filter = Filter {
        holding: Some(true),
        organization: Some(drumline_protocol::Organization::default()),
        ..Filter::default()
    };
    let page = store.list_summaries(&filter, None, limit).await;
    let page = page.expect("a page");
    let ids = page.operations.iter().map(|one: &Summary| one.id).collect();
    (ids, page.next.is_none())
}

/// Cancels operations in every partition, of which none holds a chain.
async fn cancel_many(store: &RedisStore, ids: &Ids) {
    let news: Vec<NewOperation> = (0..ENDED)
        .map(|number| {
            let partition = Partition::new(number % store.partitions().get());
            NewOperation {
                id: ids.operation(store.now(), partition),
                ..draft(store, ids, None)
            }
        })
        .collect();
    store.create(news.clone()).await.expect("create");
    let cancel =
        |new: &NewOperation| commit(store, ids, new.id, &new.header, Event::Cancel, Guard::None);
    let commits = news.iter().map(cancel).collect();
    store.commit(commits).await.expect("commit");
}

/// Cancels an operation that holds its chain from then on.
async fn hold(store: &RedisStore, ids: &Ids, token: &str) -> (OperationId, Header) {
    let new = draft(store, ids, Some(token));
    let rules = Rules {
        token_policy: TokenPolicy::Hold,
        ..new.header.rules.clone()
    };
    let header = Header {
        rules,
        ..new.header
    };
    let new = NewOperation { header, ..new };
    common::create(store, &new).await;
    let cancel = commit(store, ids, new.id, &new.header, Event::Cancel, Guard::None);
    let header = cancel.header.clone();
    assert!(header.holding);
    make(store, cancel).await;
    (new.id, header)
}

/// The calls that the server has executed.
struct Calls {
    scripts: u64,
    /// Those that read a part of a record.
    headers: u64,
}

async fn calls(url: &str) -> Calls {
    let mut raw = common::raw(url).await;
    let mut info = redis::cmd("INFO");
    let stats = info.arg("commandstats").query_async(&mut raw).await;
    let stats: String = stats.expect("INFO");
    let of = |command: &str| {
        let start = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&start));
        let calls = line.and_then(|line| line.split(',').next()).unwrap_or("0");
        calls.parse().expect("a number")
    };
    Calls {
        scripts: of("evalsha"),
        headers: of("getrange"),
    }
}
