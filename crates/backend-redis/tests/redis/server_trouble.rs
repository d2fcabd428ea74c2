//! Servers that forget their scripts, restart, freeze, fill up or disappear.

use std::time::Duration;

use drumline_backend::store::{
    Committed, Created, Error, Guard, NewOperation, OutboxLook, Renewal,
};
use drumline_backend::{Ids, Member, Membership as _, Profile, Role, Store};
use drumline_backend_redis::{Options, RedisMembership, RedisStore};
use drumline_protocol::{Event, Fence, Header, OperationId, Partition, PartitionCount};
use drumline_test_servers::RedisServer;
use tokio::time::Instant;

use crate::common::{self, claim, commit, create, draft, make};

/// Less than the usual patience, and more than a busy machine needs.
const PROMPT: Duration = Duration::from_secs(4);

async fn server() -> RedisServer {
    RedisServer::start().await.expect("a Redis")
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_loaded_again_when_the_server_forgets_them() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let ids = Ids::random();
    let mut raw = common::raw(&server.url()).await;
    let flush = redis::cmd("SCRIPT").arg("FLUSH").to_owned();

    let new = draft(&store, &ids, Some("a token"));
    flush.exec_async(&mut raw).await.expect("flush");
    assert!(create(&store, &new).await.is_some());
    flush.exec_async(&mut raw).await.expect("flush");
    assert!(
        make(&store, claim(&store, &ids, new.id, &new.header))
            .await
            .fence
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing_and_is_a_new_life() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let ids = Ids::random();
    let new = draft(&store, &ids, Some("a token"));
    let stamp = create(&store, &new).await;
    let life = store.incarnation().await.expect("incarnation");

    server.restart().await.expect("restart");
    assert_ne!(store.incarnation().await.expect("incarnation"), life);
    let found = store.get(&[new.id]).await.expect("get");
    let header = found[0].as_ref().map(|operation| operation.header.clone());
    assert_eq!(header, Some(new.header.clone()));
    let waiting = store
        .outbox_entries(new.id.partition(), &OutboxLook::oldest(Duration::ZERO, 9))
        .await;
    let waiting = waiting.expect("undispatched").into_entries();
    assert_eq!(
        waiting
            .iter()
            .map(|entry| Some(entry.stamp))
            .collect::<Vec<_>>(),
        [stamp]
    );
    assert!(
        make(&store, claim(&store, &ids, new.id, &new.header))
            .await
            .fence
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_go_on_growing_when_the_data_is_lost() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let before = store.stamp(Partition::new(0)).await.expect("stamp");
    server.wipe().expect("wipe");
    server.restart().await.expect("restart");
    assert!(store.stamp(Partition::new(0)).await.expect("stamp") > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_takes_the_partition_count_of_those_who_use_it() {
    let server = server().await;
    let few = Options {
        partitions: PartitionCount::new(7).expect("between 1 and 4096"),
        ..common::options_on(&server.url())
    };
    let many = Options {
        partitions: PartitionCount::DEFAULT,
        ..few.clone()
    };
    let store = common::connect(&few).await;
    server.wipe().expect("wipe");
    server.restart().await.expect("restart");
    store.counts().await.expect("counts");
    // Else one token would be in two partitions, and in no order.
    let later = common::connect(&many).await;
    assert_eq!(later.partitions(), few.partitions);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_others_have_settled_otherwise_meanwhile_is_refused() {
    let server = server().await;
    let options = common::options_on(&server.url());
    let store = common::connect(&options).await;
    let mut raw = common::raw(&server.url()).await;
    let mut set = redis::cmd("SET");
    set.arg(format!("{}:{{meta}}", options.namespace))
        .arg("format=4 partitions=7");
    set.exec_async(&mut raw).await.expect("set");
    // The same happens when a server is replaced.
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal");
    kill.exec_async(&mut raw).await.expect("kill");
    let answer = store.counts().await;
    let Err(Error::Unfit(why)) = answer else {
        panic!("expected a refusal: {answer:?}");
    };
    assert!(why.contains("partitions"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_freezes_for_a_while_is_waited_for() {
    let server = server().await;
    let options = Options {
        response_timeout: Duration::from_millis(100),
        ..common::options_on(&server.url())
    };
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let new = draft(&store, &ids, None);
    server.stop_signal().expect("stop");
    let thaw = async {
        // The impatient store gives up after several timeouts; ours goes on.
        let impatient = Options {
            patience: Duration::from_millis(500),
            ..options.clone()
        };
        assert!(RedisStore::connect(&impatient).await.is_err());
        server.cont().expect("continue");
    };
    let (offer, ()) = tokio::join!(create(&store, &new), thaw);
    assert!(offer.is_some());
    assert_eq!(store.counts().await.expect("counts").ready, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_unavailable_after_the_patience() {
    let server = server().await;
    let patience = Duration::from_millis(400);
    let options = Options {
        patience,
        ..common::options_on(&server.url())
    };
    let store = common::connect(&options).await;
    server.kill().expect("kill");
    let asked = Instant::now();
    let answer = store.counts().await;
    assert!(
        matches!(answer, Err(Error::Unavailable { .. })),
        "{answer:?}"
    );
    assert!(asked.elapsed() < PROMPT, "{:?}", asked.elapsed());
    let again = RedisStore::connect(&options).await;
    assert!(matches!(again, Err(Error::Unavailable { .. })), "{again:?}");

    server.restart().await.expect("restart");
    assert_eq!(store.counts().await.expect("counts").ready, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_at_once_and_has_stored_nothing() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let ids = Ids::random();
    let new = draft(&store, &ids, Some("a token"));
    let mut raw = common::raw(&server.url()).await;
    let mut limit = async |bytes: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes);
        set.exec_async(&mut raw).await.expect("config");
    };
    limit("1").await;
    let asked = Instant::now();
    let answer = store.create(vec![new.clone()]).await;
    let Err(Error::Unavailable { message, .. }) = answer else {
        panic!("expected a refusal: {answer:?}");
    };
    assert!(message.contains("OOM"), "{message}");
    assert!(asked.elapsed() < PROMPT, "{:?}", asked.elapsed());
    limit("0").await;
    assert_eq!(store.counts().await.expect("counts"), Default::default());
    assert!(create(&store, &new).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_server_members_stay_alive() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let membership = RedisMembership::new(&store);
    let mut member = Member {
        id: Ids::random().member(),
        host: "host:1".to_owned(),
        running: 0,
        started_on_ms: 0,
        profile: Profile::new(Role::Worker),
    };
    membership.beat(&member).await.expect("beat");
    let mut raw = common::raw(&server.url()).await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxmemory").arg("1");
    set.exec_async(&mut raw).await.expect("config");
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*:beats")
        .query_async(&mut raw)
        .await
        .expect("keys");
    let mut last = async || -> f64 {
        let mut score = redis::cmd("ZSCORE");
        score.arg(&keys[0]).arg(member.id.0.as_bytes().as_slice());
        score.query_async(&mut raw).await.expect("zscore")
    };
    let before = last().await;
    let begun = store.now();
    while store.now() == begun {
        tokio::task::yield_now().await;
    }
    member.running = 1;
    let roster = membership.beat(&member).await.expect("beat");
    assert_eq!(roster.len(), 1);
    assert!(last().await > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_and_a_replica_are_not_ready() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let mut raw = common::raw(&server.url()).await;
    let mut set = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command
            .arg(&words[1..])
            .exec_async(&mut raw)
            .await
            .expect(words[0]);
    };
    store.check().await.expect("it takes work");
    for (breaks, mends, reason) in [
        (
            ["CONFIG", "SET", "maxmemory", "1"],
            ["CONFIG", "SET", "maxmemory", "0"],
            "OOM",
        ),
        // No server is there, so nothing is replicated.
        (
            ["REPLICAOF", "127.0.0.1", "1", ""],
            ["REPLICAOF", "NO", "ONE", ""],
            "read only replica",
        ),
    ] {
        let words = |words: &[&'static str]| -> Vec<&'static str> {
            words
                .iter()
                .copied()
                .filter(|word| !word.is_empty())
                .collect()
        };
        set(&words(&breaks)).await;
        let answer = store.check().await.map_err(|error| error.to_string());
        assert!(
            answer.as_ref().is_err_and(|error| error.contains(reason)),
            "{answer:?}"
        );
        set(&words(&mends)).await;
        while store.check().await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_server_everything_can_come_to_an_end() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let ids = Ids::random();
    let partition = Partition::new(0);
    let mut new = Vec::new();
    for _ in 0..5 {
        let id = ids.operation(store.now(), partition);
        new.push(NewOperation {
            id,
            ..draft(&store, &ids, None)
        });
        create(&store, &new[new.len() - 1]).await.expect("offered");
    }
    let [first, second, third, waiting, ready] = new.as_slice() else {
        panic!("five");
    };
    let mut held = Vec::new();
    for one in [first, second, third] {
        let claim = claim(&store, &ids, one.id, &one.header);
        let header = claim.header.clone();
        let fence = make(&store, claim).await.fence.expect("a lock");
        held.push((one.id, header, fence));
    }
    let open = |header: &Header, id, event| commit(&store, &ids, id, header, event, Guard::None);
    let pause = open(&waiting.header, waiting.id, Event::Pause);
    let paused = pause.header.clone();
    make(&store, pause).await;

    let mut raw = common::raw(&server.url()).await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxmemory").arg("1");
    set.exec_async(&mut raw).await.expect("config");

    let renewed = store
        .renew(&[(held[0].0, common::holding(held[0].2))])
        .await
        .expect("renew");
    assert!(
        matches!(renewed.as_slice(), [Renewal::Held { .. }]),
        "{renewed:?}"
    );
    let succeed = |(id, header, fence): &(OperationId, Header, Fence)| {
        let guard = Guard::Holder(common::holding(*fence));
        commit(&store, &ids, *id, header, Event::Succeed, guard)
    };
    let done = succeed(&held[0]);
    let ended = done.header.clone();
    make(&store, done).await;
    // Behind a commit that is refused alone, and in the same call.
    let refused = claim(&store, &ids, ready.id, &ready.header);
    let alone = store.commit(vec![refused.clone()]).await;
    assert!(matches!(alone, Err(Error::Unavailable { .. })), "{alone:?}");
    let together = store.commit(vec![refused, succeed(&held[1])]).await;
    let together = together.expect("a completion passes");
    assert!(
        matches!(together.as_slice(), [_, Committed::Done(_)]),
        "{together:?}"
    );
    // An operator cancels to make room; and waiting operations may wake up.
    make(&store, open(&held[2].1, held[2].0, Event::Cancel)).await;
    make(&store, open(&paused, waiting.id, Event::Resume)).await;
    make(&store, open(&ended, first.id, Event::Delete)).await;
    let fresh = store.get(&[waiting.id]).await.expect("get");
    let header = fresh[0].as_ref().expect("it is there").header.clone();
    make(&store, open(&header, waiting.id, Event::Cancel)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_little_room_does_not_store_the_end_of_a_chain_alone() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let ids = Ids::random();
    let payload = "x".repeat(100_000);
    // The limit is met in the middle of the chain. What is stored then is its
    // beginning, and a repetition completes it.
    let chain: Vec<NewOperation> = (0..100)
        .map(|_| {
            let mut new = draft(&store, &ids, Some("a token"));
            new.body.data = Some(format!("{payload:?}"));
            new
        })
        .collect();
    let mut raw = common::raw(&server.url()).await;
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut raw)
        .await
        .expect("info");
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used.expect("used_memory").trim().parse().expect("a number");
    let mut limit = async |bytes: u64| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes);
        set.exec_async(&mut raw).await.expect("config");
    };
    limit(used + 5_000_000).await;
    let refused = store.create(chain.clone()).await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    limit(0).await;
    let all: Vec<OperationId> = chain.iter().map(|new| new.id).collect();
    let stored = store.summaries(&all).await.expect("summaries");
    let first = stored.iter().take_while(|one| one.is_some()).count();
    assert!(first < all.len(), "there was no room for all");
    let behind = stored.iter().skip(first).flatten().count();
    assert_eq!(behind, 0, "stored without its predecessors");
    let created = store.create(chain).await.expect("create");
    let sequences: Vec<u64> = created
        .into_iter()
        .map(|created| match created {
            Created::New { sequence, .. } => sequence,
            other => panic!("it is new: {other:?}"),
        })
        .collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_goes_on_while_the_server_is_away() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    server.kill().expect("kill");
    let before = store.now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let passed = store.now().since(before);
    assert!(passed >= Duration::from_millis(49), "{passed:?}");
    assert!(passed < Duration::from_secs(10), "{passed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_that_are_lost_are_counted_once() {
    let server = server().await;
    let store = common::connect(&common::options_on(&server.url())).await;
    let ids = Ids::random();
    for _ in 0..3 {
        create(&store, &draft(&store, &ids, None)).await;
    }
    server.restart().await.expect("restart");
    store.counts().await.expect("counts");
    server.wipe().expect("wipe");
    server.restart().await.expect("restart");
    let counted = async {
        let mut lost = 0;
        while lost == 0 {
            // A call, as any process makes them: it connects again.
            store.counts().await.expect("counts");
            lost = store.take_lost();
        }
        lost
    };
    let counted = tokio::time::timeout(Duration::from_secs(60), counted).await;
    assert_eq!(counted.expect("it is noticed"), 3);
    assert_eq!(store.take_lost(), 0);
}
