//! A store on a Redis Cluster: it does what every store must do, while nodes die and slots
//! move.

mod suite;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{
    Committed, Created, Error, Holding, IdempotencyKey, Renewal, Reservation, Reserved,
    Work as WorkKind,
};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{Options, RedisStore, inspect_each, memory_by_kind, remove_store};
use drumline_conformance::check_all;
use drumline_protocol::{OperationId, Partition, Timestamp};
use drumline_test_servers::{RedisCluster, redis_cluster_url, redis_url};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::common::{self, claim, draft, options_on};

/// A promotion takes some five seconds, on a machine that is idle.
const DEADLINE: Duration = Duration::from_secs(60);
/// Operations that go on before a fault, and after it.
const SOME: u32 = 200;

/// The work of one caller.
#[derive(Default)]
struct Work {
    accepted: Vec<OperationId>,
    /// The stamps and fences of each partition, in their order.
    numbers: BTreeMap<Partition, Vec<u64>>,
}

impl Work {
    fn falls(&self) -> Option<(Partition, u64, u64)> {
        self.numbers.iter().find_map(|(partition, numbers)| {
            let pair = numbers.windows(2).find(|pair| pair[0] >= pair[1])?;
            Some((*partition, pair[0], pair[1]))
        })
    }
}

/// Creates and claims one operation after the other, in one partition after the other, until
/// the test drops its end of `done`.
async fn work(store: Arc<RedisStore>, done: watch::Sender<u32>) -> Work {
    let ids = Ids::random();
    let mut work = Work::default();
    for turn in 0_u16.. {
        if done.is_closed() {
            break;
        }
        let partition = Partition::new(turn % store.partitions().get());
        let mut new = draft(&*store, &ids, None);
        new.id = ids.operation(store.now(), partition);
        let created = store.create(vec![new.clone()]).await;
        let Ok([Created::New { offer, .. }]) = created.as_deref() else {
            continue;
        };
        work.accepted.push(new.id);
        let numbers = work.numbers.entry(partition).or_default();
        numbers.extend(offer.map(|stamp| stamp.0));
        let claim = claim(&*store, &ids, new.id, &new.header);
        // A promotion in between may have lost the operation.
        if let Ok(answers) = store.commit(vec![claim]).await
            && let [Committed::Done(claimed)] = answers.as_slice()
        {
            numbers.extend(claimed.fence.map(|fence| fence.0));
            done.send_modify(|done| *done += 1);
        }
    }
    work
}

/// Waits until some more operations were created and claimed.
async fn goes_on(done: &mut watch::Receiver<u32>) {
    let before = *done.borrow_and_update();
    let more = done.wait_for(|done| *done > before + SOME);
    let more = timeout(DEADLINE, more).await.expect("it goes on");
    drop(more.expect("the work"));
}

async fn missing(store: &dyn Store, ids: &[OperationId]) -> usize {
    let mut missing = 0;
    for ids in ids.chunks(100) {
        let found = store.summaries(ids).await.expect("summaries");
        missing += found.iter().filter(|found| found.is_none()).count();
    }
    missing
}

/// The slot of a partition.
fn slot(partition: &str) -> usize {
    usize::from(crc16::State::<crc16::XMODEM>::calculate(partition.as_bytes()) % 16_384)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_follows_the_promotions_of_a_cluster() {
    let cluster = RedisCluster::start().await.expect("six Redis");
    let store = Arc::new(common::connect(&options_on(&cluster.url())).await);
    let (sender, mut done) = watch::channel(0);
    let mut working = JoinSet::new();
    working.spawn(work(Arc::clone(&store), sender));
    goes_on(&mut done).await;
    let life = store.incarnation().await.expect("incarnation");
    // The node of the members, and that of the keys of the store itself.
    for slot in [slot("m"), slot("meta")] {
        let killed = cluster.owner_of(slot).await.expect("a primary");
        cluster.nodes()[killed].kill().expect("kill");
        cluster.promoted(slot, killed).await.expect("a promotion");
        goes_on(&mut done).await;
        cluster.nodes()[killed].restart().await.expect("restart");
        cluster.settled().await.expect("a replica");
        goes_on(&mut done).await;
    }
    assert_ne!(store.incarnation().await.expect("incarnation"), life);
    drop(done);
    let work = working.join_next().await.expect("it works").expect("work");
    assert_eq!(work.falls(), None, "stamps and fences only grow");
    // Replication is behind by a round trip: what was lost is counted.
    let lost = missing(&*store, &work.accepted).await;
    let counted = async {
        let mut counted = 0;
        while counted < lost {
            counted += usize::try_from(store.take_lost()).expect("a number");
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, counted)
        .await
        .expect("what is lost is told");
    assert!(lost < 100, "{lost} of {}", work.accepted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_is_left() {
    let cluster = RedisCluster::start().await.expect("six Redis");
    let store = Arc::new(common::connect(&options_on(&cluster.url())).await);
    let (sender, mut done) = watch::channel(0);
    let mut working = JoinSet::new();
    working.spawn(work(Arc::clone(&store), sender));
    goes_on(&mut done).await;
    let slot = slot("0");
    let stopped = cluster.owner_of(slot).await.expect("a primary");
    cluster.nodes()[stopped].stop_signal().expect("stop");
    cluster.promoted(slot, stopped).await.expect("a promotion");
    goes_on(&mut done).await;
    cluster.nodes()[stopped].cont().expect("continue");
    cluster.settled().await.expect("a replica");
    goes_on(&mut done).await;
    drop(done);
    let work = working.join_next().await.expect("it works").expect("work");
    assert_eq!(work.falls(), None, "stamps and fences only grow");
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_move_while_they_are_used() {
    let cluster = RedisCluster::start_primaries().await.expect("three Redis");
    let store = Arc::new(common::connect(&options_on(&cluster.url())).await);
    let (sender, mut done) = watch::channel(0);
    let mut working = JoinSet::new();
    for _ in 0..4 {
        working.spawn(work(Arc::clone(&store), sender.clone()));
    }
    drop(sender);
    goes_on(&mut done).await;
    // A third of its slots, which partitions are in, and back.
    for (from, to) in [(0, 1), (1, 0)] {
        let moved = cluster.move_slots(from, to, 2_000).await;
        moved.expect("they move");
        goes_on(&mut done).await;
    }
    drop(done);
    let mut accepted = Vec::new();
    while let Some(work) = working.join_next().await {
        let work = work.expect("work");
        assert_eq!(work.falls(), None, "stamps and fences only grow");
        accepted.extend(work.accepted);
    }
    assert_eq!(missing(&*store, &accepted).await, 0);
    let all = store.partitions().all().collect();
    let page = check_all(&*store, all, 500, false).await;
    assert!(page.faults.is_empty(), "{:?}", page.faults);
}

/// An operation in each partition, claimed.
async fn claimed(store: &RedisStore, ids: &Ids) -> Vec<(OperationId, Holding)> {
    let mut claimed = Vec::new();
    for partition in store.partitions().all() {
        let mut new = draft(store, ids, None);
        new.id = ids.operation(store.now(), partition);
        common::create(store, &new).await;
        let done = common::make(store, claim(store, ids, new.id, &new.header)).await;
        claimed.push((new.id, common::holding(done.fence.expect("a fence"))));
    }
    claimed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_while_a_node_is_gone() {
    let cluster = RedisCluster::start_primaries().await.expect("three Redis");
    let options = Options {
        patience: Duration::from_secs(2),
        ..options_on(&cluster.url())
    };
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let locks = claimed(&store, &ids).await;
    let gone = cluster.owner_of(slot("7")).await.expect("a primary");
    // Not the node of the keys of the store itself.
    assert_ne!(
        cluster.owner_of(slot("meta")).await.expect("a primary"),
        gone
    );
    cluster.nodes()[gone].kill().expect("kill");
    let renewals = store.renew(&locks).await.expect("some are renewed");
    for ((id, _), renewal) in locks.iter().zip(renewals) {
        let partition = id.partition().to_string();
        let is_gone = cluster.owner_of(slot(&partition)).await.expect("a primary") == gone;
        let expected = match is_gone {
            true => Renewal::Unanswered,
            false => Renewal::Held {
                asked_to_stop: false,
            },
        };
        assert_eq!(renewal, expected, "{partition}");
    }
    let all: Vec<Partition> = store.partitions().all().collect();
    let found = store
        .with_work(WorkKind::Locks, &all)
        .await
        .expect("some is found");
    assert!((30..50).contains(&found.partitions.len()), "{found:?}");
    assert_eq!(found.next, Some(Duration::from_secs(1)), "it looks again");
    // A process that starts now uses the others, too.
    let later = common::connect(&options).await;
    let mut new = draft(&later, &ids, None);
    let here = all.iter().find(|one| found.partitions.contains(one));
    new.id = ids.operation(later.now(), *here.expect("a partition"));
    common::create(&later, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_its_operation_is_found() {
    let options = options_on(&redis_cluster_url().await.expect("a cluster"));
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let hours_ago = Timestamp::from_millis(store.now().as_millis() - 2 * 3_600_000);
    let mut wanted = Vec::new();
    for number in 0..4 {
        let key = IdempotencyKey([number; 16]);
        let reserved = Reserved {
            id: ids.operation(hours_ago, Partition::new(u16::from(number) + 20)),
            content: [number; 16],
        };
        let keep = Duration::from_secs(3_600);
        wanted.push(Reservation {
            key,
            reserved,
            keep,
        });
    }
    store.reserve(&wanted).await.expect("reserve");
    let all = || store.partitions().all().collect();
    let page = check_all(&store, all(), 500, true).await;
    assert_eq!(page.faults.len(), 4, "{:?}", page.faults);
    let page = check_all(&store, all(), 500, false).await;
    assert!(page.faults.is_empty(), "{:?}", page.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shape_of_a_store_is_not_made_again() {
    let cluster = RedisCluster::start_primaries().await.expect("three Redis");
    let options = options_on(&cluster.url());
    let store = common::connect(&options).await;
    claimed(&store, &Ids::random()).await;
    drop(store);
    let shape = cluster.owner_of(slot("meta")).await.expect("a primary");
    let mut raw = common::raw(&cluster.nodes()[shape].url()).await;
    let mut forget = redis::cmd("DEL");
    forget.arg(format!("{}:{{meta}}", options.namespace));
    forget.exec_async(&mut raw).await.expect("it is gone");
    let answer = RedisStore::connect(&options).await;
    let Err(Error::Unfit(why)) = answer else {
        panic!("expected a refusal: {answer:?}");
    };
    assert!(why.contains("the shape of their store"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_has_its_share() {
    let options = options_on(&redis_cluster_url().await.expect("a cluster"));
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let news = (0..640_u16).map(|turn| {
        let mut new = draft(&store, &ids, None);
        new.id = ids.operation(store.now(), Partition::new(turn % 64));
        new
    });
    let news: Vec<_> = news.collect();
    store.create(news.clone()).await.expect("create");
    let mut raw = Vec::new();
    for (place, info) in inspect_each(&options).await.expect("nodes") {
        assert_eq!(info.expect("facts").mode, "cluster");
        let place = place.expect("a place of a node");
        raw.push(common::raw(&format!("redis://{place}")).await);
    }
    assert_eq!(raw.len(), 3);
    let pattern = format!("{}:*:op:*", options.namespace);
    let mut shares = Vec::new();
    for mut raw in raw {
        let mut keys = redis::cmd("KEYS");
        let keys: Vec<Vec<u8>> = keys
            .arg(&pattern)
            .query_async(&mut raw)
            .await
            .expect("keys");
        let records = keys.iter().filter(|key| !key.ends_with(b":history"));
        shares.push(records.count());
    }
    assert_eq!(shares.iter().sum::<usize>(), news.len(), "{shares:?}");
    let even = news.len() / 3;
    assert!(
        shares.iter().all(|share| share.abs_diff(even) * 10 <= even),
        "{shares:?}"
    );

    let bytes = memory_by_kind(&options).await.expect("memory");
    assert!(bytes["records"] > 640 * 100, "{bytes:?}");
    remove_store(&options).await.expect("remove");
    assert_eq!(
        memory_by_kind(&options).await.expect("memory"),
        BTreeMap::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_named_as_one() {
    let cluster = redis_cluster_url().await.expect("a cluster");
    let nodes = cluster.strip_prefix("redis+cluster://").expect("a URL");
    let node = nodes.split(',').next().expect("a node");
    let alone = redis_url().await.expect("a Redis");
    let alone = alone.strip_prefix("redis://").expect("a URL");
    let with = |url: String, wait_replicas| Options {
        patience: Duration::from_secs(1),
        wait_replicas,
        ..options_on(&url)
    };
    for (options, reason) in [
        (with(format!("redis://{node}"), 0), "redis+cluster://"),
        (with(format!("redis+cluster://{alone}"), 0), "cluster"),
        (with(cluster.clone(), 1), "--redis-wait-replicas"),
    ] {
        let answer = RedisStore::connect(&options).await;
        let (Err(Error::Unfit(why)) | Err(Error::Unavailable { message: why, .. })) = answer else {
            panic!("expected a refusal: {answer:?}");
        };
        assert!(why.contains(reason), "{why}");
    }
    // One node names the others.
    let options = options_on(&format!("redis+cluster://{node}"));
    let store = common::connect(&options).await;
    store.check().await.expect("it takes work");
}
