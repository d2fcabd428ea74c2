//! Servers whose clock was set back: by a fail-over to another machine, or by a
//! machine that started with a wrong clock. Times that they wrote before lie in
//! the future then, and nothing may have to wait until that time has come.

use std::time::Duration;

use drumline_backend::store::{Guard, OutboxLook, PauseStore as _, Stamp};
use drumline_backend::{Ids, Member, Membership, Profile, Role, Store};
use drumline_backend_redis::{Options, RedisMembership, RedisStore};
use drumline_protocol::{
    Author, Event, Organization, Partition, Pause, PauseKind, PauseScope, Timestamp,
};

use crate::common::{self, commit, create, draft, make};

/// The span by which the clock was set back.
const HOUR_MS: i64 = 3_600_000;

/// The store's time in an hour.
fn in_an_hour_ms(store: &RedisStore) -> i64 {
    store.now().as_millis() + HOUR_MS
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_broker_has_confirmed_is_given_out_at_once() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let partition = Partition::new(0);
    set_back(&options, &store, partition).await;
    let new = draft(&store, &Ids::random(), None);
    let stamp = create(&store, &new).await;
    let entries = store
        .outbox_entries(partition, &OutboxLook::oldest(Duration::from_secs(5), 9))
        .await;
    let entries = entries.expect("undispatched").into_entries().into_iter();
    assert_eq!(
        entries.map(|entry| Some(entry.stamp)).collect::<Vec<_>>(),
        [stamp]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_ends_neither_waits_nor_misses_one() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    // A partition that was busy before, and one that was not.
    set_back(&options, &store, Partition::new(0)).await;
    let mut after = Stamp(0);
    let mut token = (0..).map(|number| format!("token {number}"));
    let mut elsewhere = token.find_map(|token| {
        let new = draft(&store, &ids, Some(&token));
        (new.id.partition() != Partition::new(0)).then_some(new)
    });
    for _ in 0..2 {
        let mut ended = vec![draft(&store, &ids, None)];
        ended.extend(elsewhere.take());
        for new in ended {
            create(&store, &new).await;
            let (id, header) = (new.id, &new.header);
            let cancel = commit(&store, &ids, id, header, Event::Cancel, Guard::None);
            make(&store, cancel).await;
            let found = store.ended_since(after, 10).await.expect("ended since");
            let [(stamp, told)] = found.entries.as_slice() else {
                panic!("expected this end: {found:?}");
            };
            assert_eq!((*told, found.until), (id, *stamp));
            after = found.until;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_is_put_before_a_place_that_lies_in_the_future() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let ids = Ids::random();
    set_back(&options, &store, Partition::new(0)).await;
    let new = (0..)
        .map(|number| draft(&store, &ids, Some(&format!("token {number}"))))
        .find(|new| new.id.partition() == Partition::new(1));
    let new = new.expect("a token of that partition");
    create(&store, &new).await;
    // A place of now, by the one partition that was busy before.
    let place = store.stamp(Partition::new(0)).await.expect("a stamp");
    let nothing = store.ended_since(place, 10).await.expect("ended since");
    assert_eq!((nothing.entries, nothing.until), (Vec::new(), place));

    let cancel = commit(
        &store,
        &ids,
        new.id,
        &new.header,
        Event::Cancel,
        Guard::None,
    );
    make(&store, cancel).await;
    let found = store.ended_since(place, 10).await.expect("ended since");
    let told: Vec<_> = found.entries.iter().map(|(_, id)| *id).collect();
    assert_eq!(told, [new.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_nobody_gave_out_moves_no_clock() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let before = store.stamp(Partition::new(0)).await.expect("a stamp");
    for made_up in [before.0 + 3_600_000_000, 1 << 62, u64::MAX] {
        let nothing = store.ended_since(Stamp(made_up), 10).await;
        assert_eq!(nothing.expect("ended since").entries, []);
    }
    let after = store.stamp(Partition::new(1)).await.expect("a stamp");
    assert!(after.0 < before.0 + 3_600_000_000, "{before:?} {after:?}");
}

/// Makes a partition look as if its clock was set back after a write.
async fn set_back(options: &Options, store: &RedisStore, partition: Partition) {
    let mut set = redis::cmd("SET");
    set.arg(format!("{}:{{{partition}}}:tick", options.namespace))
        .arg(in_an_hour_ms(store) * 1_000);
    let mut raw = common::raw(&options.url).await;
    set.exec_async(&mut raw).await.expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_from_the_future_counts_as_one_of_now() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let membership = RedisMembership::new(&store);
    let (early, alive) = (member(), member());
    membership.beat(&early).await.expect("beat");
    let beats = format!("{}:{{m}}:beats", options.namespace);
    let id = early.id.0.as_bytes().as_slice();
    let mut set = redis::cmd("ZADD");
    set.arg(&beats).arg(in_an_hour_ms(&store)).arg(id);
    let mut raw = common::raw(&options.url).await;
    set.exec_async(&mut raw).await.expect("zadd");
    // The member may be alive, so it stays for as long as any silent member does.
    let living = membership.beat(&alive).await.expect("beat");
    assert_eq!(living.len(), 2);
    let mut last = redis::cmd("ZSCORE");
    last.arg(&beats).arg(id);
    let last: i64 = last.query_async(&mut raw).await.expect("zscore");
    assert!(last <= store.now().as_millis() + 1_000, "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_the_pauses_has_a_version_of_its_own() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let pause = |name: &str, until| Pause {
        scope: PauseScope {
            kind: PauseKind::MessageName,
            organization: Organization::default(),
            value: name.to_owned(),
        },
        reason: "a test".to_owned(),
        until,
        author: Author::Caller("ann".to_owned()),
        since: store.now(),
    };
    let over = Timestamp::from_millis(store.now().as_millis() - 1);
    let lasting = pause("lasting", None);
    store
        .set_pause(&pause("over", Some(over)))
        .await
        .expect("set");
    store.set_pause(&lasting).await.expect("set");
    let mut set = redis::cmd("HSET");
    let future = in_an_hour_ms(&store) * 1_000;
    set.arg(format!("{}:{{meta}}:pauses", options.namespace))
        .arg("v")
        .arg(future);
    let mut raw = common::raw(&options.url).await;
    let new: usize = set.query_async(&mut raw).await.expect("hset");
    assert_eq!(new, 0, "the version is there");

    let version = async || store.pauses().await.expect("pauses").version;
    let mut before = version().await;
    assert_eq!(i64::try_from(before).expect("a small number"), future);
    assert_eq!(store.lift_ended_pauses().await.expect("lifted"), 1);
    assert!(version().await > before);
    before = version().await;
    store.set_pause(&lasting).await.expect("set");
    assert!(version().await > before);
    before = version().await;
    assert!(store.lift_pause(lasting.scope.key()).await.expect("lifted"));
    assert!(version().await > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_from_the_future_is_no_change_for_a_reader_of_the_roster() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let membership = RedisMembership::new(&store);
    let (early, alive) = (member(), member());
    membership.beat(&early).await.expect("beat");
    let known = membership.beat(&alive).await.expect("beat");
    let beats = format!("{}:{{m}}:beats", options.namespace);
    let mut set = redis::cmd("ZADD");
    set.arg(&beats)
        .arg(in_an_hour_ms(&store))
        .arg(early.id.0.as_bytes().as_slice());
    let mut raw = common::raw(&options.url).await;
    set.exec_async(&mut raw).await.expect("zadd");
    let now = membership.beat(&alive).await.expect("beat");
    assert_eq!(now.len(), known.len());
    let newest: Vec<(Vec<u8>, i64)> = redis::cmd("ZREVRANGE")
        .arg(&beats)
        .arg(&["0", "0", "WITHSCORES"])
        .query_async(&mut raw)
        .await
        .expect("zrevrange");
    assert!(newest[0].1 <= store.now().as_millis() + 1_000, "{newest:?}");
}

fn member() -> Member {
    Member {
        id: Ids::random().member(),
        host: "host:4711".to_owned(),
        running: 0,
        started_on_ms: 0,
        profile: Profile::new(Role::Worker),
    }
}
