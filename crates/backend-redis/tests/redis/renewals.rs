//! Renewals and looks for requests to stop: their number does not depend on what a
//! worker runs.

use drumline_backend::store::{Guard, Holding, Renewal};
use drumline_backend::{Ids, MemberId, Store};
use drumline_backend_redis::RedisStore;
use drumline_protocol::{Event, Fence, Header, OperationId};
use drumline_test_servers::RedisServer;

use crate::common::{self, LEASE, commit, create, draft, make};

/// Claims this many operations, in as many partitions as there are.
async fn hold(
    store: &RedisStore,
    ids: &Ids,
    holder: MemberId,
    count: usize,
) -> Vec<(OperationId, Fence, Header)> {
    let mut held = Vec::new();
    for number in 0..count {
        let new = draft(store, ids, Some(&format!("token {number}")));
        create(store, &new).await;
        let event = Event::Claim {
            host: "host:1".to_owned(),
        };
        let guard = Guard::Acquire {
            owner: holder,
            lease: LEASE,
        };
        let claim = commit(store, ids, new.id, &new.header, event, guard);
        let header = claim.header.clone();
        let done = make(store, claim).await;
        held.push((new.id, done.fence.expect("a fence"), header));
    }
    held
}

const fn of(owner: MemberId, fence: Fence) -> Holding {
    Holding { owner, fence }
}

/// The script calls that the server has executed.
async fn script_calls(url: &str) -> u64 {
    let mut raw = common::raw(url).await;
    let mut info = redis::cmd("INFO");
    let stats = info.arg("commandstats").query_async(&mut raw).await;
    let stats: String = stats.expect("INFO");
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()).unwrap_or("0");
    calls.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_worker_runs_is_renewed_in_one_call() {
    let server = RedisServer::start().await.expect("a Redis");
    let store = common::connect(&common::options_on(&server.url())).await;
    let ids = Ids::random();
    let holder = ids.member();
    let held = hold(&store, &ids, holder, 200).await;
    let mut locks: Vec<_> = held
        .iter()
        .map(|(id, fence, _)| (*id, of(holder, *fence)))
        .collect();
    let partitions: std::collections::BTreeSet<_> =
        locks.iter().map(|(id, _)| id.partition()).collect();
    assert!(partitions.len() > 50, "{}", partitions.len());
    // One is not this holder's.
    locks[77].1 = of(holder, Fence(1));

    let before = script_calls(&server.url()).await;
    let renewed = store.renew(&locks).await.expect("renew");
    assert_eq!(script_calls(&server.url()).await - before, 1);
    for (at, renewal) in renewed.iter().enumerate() {
        let expected = match at {
            77 => Renewal::Lost,
            _ => Renewal::Held {
                asked_to_stop: false,
            },
        };
        assert_eq!(*renewal, expected, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_stop_leave_nothing_behind() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let holder = ids.member();
    let held = hold(&store, &ids, holder, 3).await;
    for (id, fence, header) in &held {
        let asked = commit(&store, &ids, *id, header, Event::Cancel, Guard::None);
        let header = asked.header.clone();
        make(&store, asked).await;
        let requests = store.stop_requests(holder).await.expect("requests");
        assert_eq!(requests, [(*id, *fence)]);
        let guard = Guard::Holder(of(holder, *fence));
        let stopped = commit(&store, &ids, *id, &header, Event::Stopped, guard);
        make(&store, stopped).await;
        assert_eq!(store.stop_requests(holder).await.expect("requests"), []);
    }
    let mut raw = common::raw(&options.url).await;
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("{}:{{m}}:stops:*", options.namespace));
    let keys: Vec<Vec<u8>> = keys.query_async(&mut raw).await.expect("KEYS");
    assert!(keys.is_empty(), "{keys:?}");
}
