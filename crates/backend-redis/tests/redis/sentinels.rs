//! A store behind sentinels, while they promote one server after the other.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::{Committed, Created, Error};
use drumline_backend::{Ids, Store};
use drumline_backend_redis::{Options, RedisStore, sentinel_views};
use drumline_protocol::OperationId;
use drumline_test_servers::{RedisGroup, RedisOptions, RedisServer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::common::{self, claim, create, draft};
use crate::hearing::heard;

/// A promotion takes some five seconds, on a machine that is idle.
const DEADLINE: Duration = Duration::from_secs(60);

async fn group() -> RedisGroup {
    RedisGroup::start()
        .await
        .expect("three Redis and three sentinels")
}

/// Creates and claims one operation after the other, until the test drops its end of
/// `done`. Returns the stamps and fences, in their order.
async fn work(store: Arc<RedisStore>, done: watch::Sender<u32>) -> Vec<u64> {
    let ids = Ids::random();
    let mut numbers = Vec::new();
    while !done.is_closed() {
        let new = draft(&*store, &ids, None);
        let created = store.create(vec![new.clone()]).await;
        let Ok([Created::New { offer, .. }]) = created.as_deref() else {
            continue;
        };
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
    numbers
}

/// Waits until some more operations were created and claimed.
async fn goes_on(done: &mut watch::Receiver<u32>) {
    let before = *done.borrow_and_update();
    let more = done.wait_for(|done| *done > before + 10);
    let more = timeout(DEADLINE, more).await.expect("it goes on");
    drop(more.expect("the work"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_follows_the_primary_through_all_its_ends() {
    let group = group().await;
    let store = Arc::new(common::connect(&common::options_on(&group.url())).await);
    let (sender, mut done) = watch::channel(0);
    let mut working = JoinSet::new();
    working.spawn(work(Arc::clone(&store), sender));
    goes_on(&mut done).await;
    let mut lives = vec![store.incarnation().await.expect("incarnation")];

    let killed = group.primary().await.expect("a primary");
    group.servers()[killed].kill().expect("kill");
    let stopped = group.promoted(killed).await.expect("a promotion");
    goes_on(&mut done).await;
    lives.push(store.incarnation().await.expect("incarnation"));
    // It comes back as a primary, and nothing may be written to it.
    group.servers()[killed].restart().await.expect("restart");
    group.demoted(killed).await.expect("a replica");

    group.servers()[stopped].stop_signal().expect("stop");
    let replaced = group.promoted(stopped).await.expect("a promotion");
    goes_on(&mut done).await;
    lives.push(store.incarnation().await.expect("incarnation"));
    group.servers()[stopped].cont().expect("continue");
    group.demoted(stopped).await.expect("a replica");

    group.fail_over().await.expect("a promotion begins");
    let last = group.promoted(replaced).await.expect("a promotion");
    goes_on(&mut done).await;
    lives.push(store.incarnation().await.expect("incarnation"));
    group.demoted(replaced).await.expect("a replica");

    lives.sort_unstable();
    lives.dedup();
    assert!(lives.len() >= 3, "{lives:?}");
    drop(done);
    let numbers = working
        .join_next()
        .await
        .expect("it works")
        .expect("numbers");
    let fell = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(fell, None, "stamps and fences only grow");

    // The sentinels name the server that the store has reached.
    let ids = Ids::random();
    let new = draft(&*store, &ids, None);
    create(&*store, &new).await.expect("offered");
    let direct = Options {
        url: group.servers()[last].url(),
        ..common::options_on("")
    };
    assert!(
        RedisStore::connect(&direct).await.is_ok(),
        "it is the primary"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_goes_on_answering_is_left() {
    let group = group().await;
    let options = common::options_on(&group.url());
    let (here, there) = (
        common::connect(&options).await,
        common::connect(&options).await,
    );
    let mut receiver = here.completions();
    heard(&there, &mut receiver).await;
    let life = here.incarnation().await.expect("incarnation");

    // The sentinels cannot reach it any more, while the connections of the stores stay:
    // a network that is cut in two.
    let old = group.primary().await.expect("a primary");
    let mut raw = common::raw(&group.servers()[old].url()).await;
    let mut password = redis::cmd("CONFIG");
    password.arg("SET").arg("requirepass").arg("hush");
    password.exec_async(&mut raw).await.expect("a password");
    let mut list = redis::cmd("CLIENT");
    let clients: String = list
        .arg("LIST")
        .query_async(&mut raw)
        .await
        .expect("clients");
    for client in clients
        .lines()
        .filter(|line| line.contains("name=sentinel-"))
    {
        let id = client.split([' ', '=']).nth(1).expect("an id");
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(id);
        kill.exec_async(&mut raw).await.expect("kill");
    }
    group.promoted(old).await.expect("a promotion");

    let left = async {
        while here.incarnation().await.is_ok_and(|now| now == life) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, left).await.expect("the old one is left");
    while receiver.try_recv().is_ok() {}
    heard(&there, &mut receiver).await;
    let role: Vec<redis::Value> = redis::cmd("ROLE")
        .query_async(&mut raw)
        .await
        .expect("the old one answers");
    assert_eq!(
        role.first(),
        Some(&redis::Value::BulkString(b"master".to_vec())),
        "and it takes itself for the primary"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_primary_with_a_sentinel_of_its_own_takes_nothing() {
    let group = group().await;
    let options = Options {
        patience: Duration::from_secs(2),
        ..common::options_on(&group.url())
    };
    let store = common::connect(&options).await;
    let old = group.primary().await.expect("a primary");
    let life = store.incarnation().await.expect("incarnation");
    // This one never hears of the promotion.
    group.kill_sentinel(2).expect("kill");
    group.fail_over().await.expect("a promotion begins");
    let new = group.promoted(old).await.expect("a promotion");
    let followed = async {
        // A call may find the store in the middle of the promotion.
        while store.incarnation().await.is_ok_and(|now| now == life) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, followed).await.expect("it is followed");
    group.demoted(old).await.expect("a replica");

    for sentinel in [0, 1] {
        group.kill_sentinel(sentinel).expect("kill");
    }
    for (place, server) in group.servers().iter().enumerate() {
        if place != old {
            server.kill().expect("kill");
        }
    }
    assert_ne!(new, old);
    let mut raw = common::raw(&group.servers()[old].url()).await;
    let mut alone = redis::cmd("REPLICAOF");
    alone.arg("NO").arg("ONE");
    alone.exec_async(&mut raw).await.expect("a primary");
    group.restart_sentinel(2).await.expect("a sentinel");

    let ids = Ids::random();
    let answer = store.create(vec![draft(&store, &ids, None)]).await;
    let Err(Error::Unavailable { message, .. }) = answer else {
        panic!("expected a refusal: {answer:?}");
    };
    assert!(message.contains("earlier primary"), "{message}");
}

/// Creates operations until the test drops its end of `done`. Returns those that were
/// accepted.
async fn fill(store: Arc<RedisStore>, done: watch::Sender<u32>) -> Vec<OperationId> {
    let ids = Ids::random();
    let mut accepted = Vec::new();
    while !done.is_closed() {
        let new = draft(&*store, &ids, None);
        if store.create(vec![new.clone()]).await.is_ok() {
            accepted.push(new.id);
            done.send_modify(|done| *done += 1);
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replicas_have_survives_promotions() {
    let group = group().await;
    // All of them: sentinels choose by what they heard of each replica a moment ago, and
    // with fewer the one that is promoted may be the one that was not waited for.
    let options = Options {
        wait_replicas: 2,
        ..common::options_on(&group.url())
    };
    let store = Arc::new(common::connect(&options).await);
    let (sender, mut done) = watch::channel(0);
    let mut working = JoinSet::new();
    working.spawn(fill(Arc::clone(&store), sender));
    goes_on(&mut done).await;
    for _ in 0..3 {
        let primary = group.primary().await.expect("a primary");
        group.servers()[primary].kill().expect("kill");
        group.promoted(primary).await.expect("a promotion");
        group.servers()[primary].restart().await.expect("restart");
        group.demoted(primary).await.expect("a replica");
        goes_on(&mut done).await;
    }
    drop(done);
    let accepted = working.join_next().await.expect("it works").expect("ids");
    let mut lost = 0;
    for ids in accepted.chunks(100) {
        let found = store.summaries(ids).await.expect("summaries");
        lost += found.iter().filter(|found| found.is_none()).count();
    }
    assert_eq!(lost, 0, "of {}", accepted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_without_enough_replicas_is_not_accepted() {
    let group = group().await;
    let options = Options {
        wait_replicas: 2,
        ..common::options_on(&group.url())
    };
    let store = common::connect(&options).await;
    let ids = Ids::random();
    let new = draft(&store, &ids, None);
    let primary = group.primary().await.expect("a primary");
    let replica = (primary + 1) % group.servers().len();
    group.servers()[replica].stop_signal().expect("stop");
    let answer = store.create(vec![new.clone()]).await;
    let Err(Error::Unavailable { message, .. }) = answer else {
        panic!("expected a refusal: {answer:?}");
    };
    assert!(message.contains("only 1 of 2 replicas"), "{message}");
    group.servers()[replica].cont().expect("continue");
    // The same create again: what is stored is recognised, and waited for.
    create(&store, &new).await.expect("offered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_replica_that_comes_later_is_waited_for() {
    let primary = RedisServer::start().await.expect("a Redis");
    let options = Options {
        wait_replicas: 1,
        ..common::options_on(&primary.url())
    };
    let store = common::connect(&options).await;
    // With its first replica, the history of the primary has another name.
    let follow = ["--replicaof", "127.0.0.1", &primary.port().to_string()].map(str::to_owned);
    let replica = RedisOptions {
        arguments: follow.to_vec(),
        ..RedisOptions::default()
    };
    let _replica = RedisServer::start_with(replica).await.expect("a replica");
    let mut raw = common::raw(&primary.url()).await;
    let follows = async {
        loop {
            let mut info = redis::cmd("INFO");
            let info: String = info
                .arg("replication")
                .query_async(&mut raw)
                .await
                .expect("info");
            if info.contains("state=online") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, follows).await.expect("it follows");
    let new = draft(&store, &Ids::random(), None);
    create(&store, &new).await.expect("offered");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_have_a_password_of_their_own() {
    let group = group().await;
    group
        .set_sentinel_password("a/hush")
        .await
        .expect("a password");
    let with = |query: &str| Options {
        patience: Duration::from_secs(1),
        ..common::options_on(&format!("{}{query}", group.url()))
    };
    let right = with("?sentinel-password=a%2Fhush");
    let store = common::connect(&right).await;
    store.check().await.expect("it takes work");
    let views = sentinel_views(&right).await.expect("a URL");
    assert_eq!(views.len(), 3);
    for view in views {
        let servers = group.servers();
        assert_eq!(view.primary, Ok(servers[0].address()), "{view:?}");
        assert_eq!(
            (view.quorum, view.others, view.replicas),
            (2, 2, 2),
            "{view:?}"
        );
    }
    for query in ["", "?sentinel-password=b%2Fhush"] {
        let answer = RedisStore::connect(&with(query)).await;
        let Err(Error::Unfit(why)) = answer else {
            panic!("expected a refusal: {answer:?}");
        };
        assert!(!why.contains("hush"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_sentinel_knows_is_refused() {
    let group = group().await;
    let other = group.url().replace("drumline-test", "other");
    let answer = RedisStore::connect(&common::options_on(&other)).await;
    let Err(Error::Unfit(why)) = answer else {
        panic!("expected a refusal: {answer:?}");
    };
    assert!(why.contains("no primary of this name"), "{why}");
}
