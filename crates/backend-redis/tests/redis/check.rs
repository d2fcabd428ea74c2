//! The check of a store: each kind of damage is made past the store, found once, repaired,
//! and found no more.

mod chains;
mod scene;

use std::time::Duration;

use drumline_backend::Store as _;
use drumline_backend::store::{
    CheckStep, CheckStore as _, FaultKind, Guard, NewOperation, Stamp, UsageStore as _,
};
use drumline_backend_redis::Options;
use drumline_conformance::check_all;
use drumline_protocol::{Event, Organization, Partition, Timestamp};
use drumline_test_servers::RedisServer;

use self::scene::{LIMIT, Scene, kinds};
use crate::common::{self, draft};

/// Some flow, which no operation has.
const FLOW: [u8; 6] = [0x81, 1, 2, 3, 4, 5];

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_operation_that_is_in_no_place_is_offered_and_runs() {
    let scene = Scene::new().await;
    let mut alone = scene.create(None).await;
    let mut head = scene.create(Some("t")).await;
    scene.create(Some("t")).await;
    for id in [alone.id, head.id] {
        let entry = scene.outbox_entry(id).await;
        scene.zrem(&scene.key(id, "dispatch"), &entry).await;
    }
    scene
        .mended(&[
            (FaultKind::NotOffered, Some(alone.id)),
            (FaultKind::NotOffered, Some(head.id)),
        ])
        .await;
    assert!(scene.is_in_outbox(alone.id).await);
    scene.run_to_its_end(&mut alone).await;
    scene.run_to_its_end(&mut head).await;
    scene.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_a_record_are_removed() {
    let scene = Scene::new().await;
    let gone = draft(&scene.store, &scene.ids, None).id;
    let id = gone.as_bytes().as_slice();
    let stamp = 7_u64.to_be_bytes();
    let scope = [0x80, 1, 2, 3, 4, 5, 6, 7];
    let entries: [(&str, FaultKind, Vec<u8>); 9] = [
        (
            "dispatch",
            FaultKind::OutboxEntry,
            [&FLOW, stamp.as_slice(), id].concat(),
        ),
        (
            "offered",
            FaultKind::OfferedEntry,
            [FLOW.as_slice(), id].concat(),
        ),
        (
            "held",
            FaultKind::HeldEntry,
            [scope.as_slice(), id].concat(),
        ),
        ("index:0", FaultKind::StateEntry, id.to_vec()),
        (
            "index:o",
            FaultKind::IndexEntry,
            [FLOW.as_slice(), id].concat(),
        ),
        (
            "index:mf",
            FaultKind::IndexEntry,
            [FLOW.as_slice(), id].concat(),
        ),
        (
            "ended:s",
            FaultKind::EndEntry,
            [stamp.as_slice(), id].concat(),
        ),
        ("due", FaultKind::DueEntry, id.to_vec()),
        ("notices", FaultKind::NoticeEntry, id.to_vec()),
    ];
    let mut expected = Vec::new();
    for (name, kind, member) in &entries {
        scene.zadd(&scene.key(gone, name), 0, member).await;
        expected.push((*kind, Some(gone)));
    }
    let lock = [0_u8; 41];
    let _new: usize = scene
        .run("HSET", &[&scene.key(gone, "locks"), id, &lock])
        .await;
    expected.push((FaultKind::LockEntry, Some(gone)));
    scene.mended(&expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_an_operation_that_does_not_belong_there_are_removed() {
    let scene = Scene::new().await;
    let done = scene.completed(None).await;
    let mut suspended = scene.create(None).await;
    scene.event(&mut suspended, Event::Pause, Guard::None).await;
    let entry = scene.outbox_entry(done.id).await;
    scene.zadd(&scene.key(done.id, "dispatch"), 0, &entry).await;
    scene
        .zadd(&scene.key(done.id, "index:1"), 0, done.id.as_bytes())
        .await;
    scene
        .zadd(&scene.key(done.id, "due"), 5, done.id.as_bytes())
        .await;
    let end = [&entry[6..14], suspended.id.as_bytes().as_slice()].concat();
    scene
        .zadd(&scene.key(suspended.id, "ended:u"), 0, &end)
        .await;
    scene
        .zadd(
            &scene.key(suspended.id, "notices"),
            0,
            suspended.id.as_bytes(),
        )
        .await;
    // On the shelf of another status.
    let record = scene.bytes(suspended.id).await;
    let at = (66..record.len()).step_by(7).find(|at| record[*at] == b'm');
    let at = at.expect("the key of the message name");
    let member = [&record[at + 1..at + 7], suspended.id.as_bytes().as_slice()].concat();
    scene
        .zadd(&scene.key(suspended.id, "index:ms"), 0, &member)
        .await;
    // In an index of which it has no key.
    let member = [FLOW.as_slice(), suspended.id.as_bytes()].concat();
    scene
        .zadd(&scene.key(suspended.id, "index:r"), 0, &member)
        .await;
    scene
        .mended(&[
            (FaultKind::IndexEntry, Some(suspended.id)),
            (FaultKind::OutboxEntry, Some(done.id)),
            (FaultKind::StateEntry, Some(done.id)),
            (FaultKind::DueEntry, Some(done.id)),
            (FaultKind::EndEntry, Some(suspended.id)),
            (FaultKind::NoticeEntry, Some(suspended.id)),
            (FaultKind::IndexEntry, Some(suspended.id)),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_missing_from_its_sets_is_entered() {
    let scene = Scene::new().await;
    let done = scene.completed(None).await;
    let ready = scene.create(None).await;
    let mut due = scene.create(None).await;
    let time = Timestamp::from_millis(4_000_000_000_000);
    scene
        .event(&mut due, Event::Postpone(time), Guard::None)
        .await;
    scene
        .zrem(&scene.key(ready.id, "index:0"), ready.id.as_bytes())
        .await;
    scene
        .zrem(&scene.key(due.id, "due"), due.id.as_bytes())
        .await;
    let record = scene.bytes(done.id).await;
    let end = [&record[32..40], done.id.as_bytes().as_slice()].concat();
    scene.zrem(&scene.key(done.id, "ended:s"), &end).await;
    let at = (66..record.len()).step_by(7).find(|at| record[*at] == b'o');
    let at = at.expect("the key of the owner");
    let member = [&record[at + 1..at + 7], done.id.as_bytes().as_slice()].concat();
    scene.zrem(&scene.key(done.id, "index:o"), &member).await;
    let chained = scene.create(Some("t")).await;
    let chain = chained.header.rules.chain.expect("a token");
    let member = [&chain.as_bytes()[..6], chained.id.as_bytes().as_slice()].concat();
    scene.zrem(&scene.key(chained.id, "index:t"), &member).await;
    scene
        .mended(&[
            (FaultKind::IndexMissing, Some(chained.id)),
            (FaultKind::StateMissing, Some(ready.id)),
            (FaultKind::DueMissing, Some(due.id)),
            (FaultKind::EndMissing, Some(done.id)),
            (FaultKind::IndexMissing, Some(done.id)),
        ])
        .await;
    let score: String = scene
        .run("ZSCORE", &[&scene.key(due.id, "due"), due.id.as_bytes()])
        .await;
    assert_eq!(score, "4000000000000");
    // At another time than its own, it is not there either.
    scene
        .zadd(&scene.key(due.id, "due"), 17, due.id.as_bytes())
        .await;
    scene.mended(&[(FaultKind::DueMissing, Some(due.id))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_operation_without_a_lock_can_be_taken_over() {
    let scene = Scene::new().await;
    let mut new = scene.create(None).await;
    let fence = scene.claim(&mut new).await;
    let locks = scene.key(new.id, "locks");
    let removed: usize = scene.run("HDEL", &[&locks, new.id.as_bytes()]).await;
    assert_eq!(removed, 1);
    scene
        .mended(&[(FaultKind::LockMissing, Some(new.id))])
        .await;
    let lock = scene.store.lock(new.id).await.expect("lock").expect("one");
    assert!(lock.fence > fence, "fences only grow");
    // Longer than that of a worker which may still run it.
    assert_eq!(lock.lease, Duration::from_secs(60), "{lock:?}");
    let guard = Guard::Unchanged {
        holding: lock.holding(),
        beat: lock.beat,
    };
    scene.event(&mut new, Event::LeaseExpired, guard).await;
    scene.run_to_its_end(&mut new).await;
    scene.is_sound().await;
    // A lock that cannot be read keeps all others of the partition from being read.
    let mut other = scene.create(None).await;
    scene.claim(&mut other).await;
    let _changed: usize = scene
        .run("HSET", &[&locks, other.id.as_bytes(), b"short"])
        .await;
    assert!(scene.store.locks(other.id.partition()).await.is_err());
    scene
        .mended(&[(FaultKind::LockMissing, Some(other.id))])
        .await;
    assert!(scene.store.locks(other.id.partition()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_have_drifted_are_counted_again() {
    let scene = Scene::new().await;
    let new = scene.create(Some("t")).await;
    scene.completed(Some("u")).await;
    let usage = scene.store.usage(&Organization::default()).await;
    let usage = usage.expect("usage");
    let key = scene.key(new.id, "usage");
    let mut fields: Vec<Vec<u8>> = scene.run("HKEYS", &[&key]).await;
    // Creates in a minute are not counted again.
    fields.retain(|field| field.last() != Some(&b'm'));
    assert!(!fields.is_empty());
    for field in &fields {
        let _sum: i64 = scene.run("HINCRBY", &[&key, field, b"1000"]).await;
    }
    let expected: Vec<_> = fields.iter().map(|_| (FaultKind::Usage, None)).collect();
    let found = scene.check(false).await.faults;
    assert_eq!(kinds(&found), expected, "{found:?}");
    let found = scene.check(true).await.faults;
    assert_eq!(kinds(&found), expected, "{found:?}");
    scene.is_sound().await;
    let now = scene.store.usage(&Organization::default()).await;
    assert_eq!(now.expect("usage"), usage);
    // One step for each operation, and without a repair.
    for repair in [false, true] {
        let all = scene.store.partitions().all().collect();
        let page = check_all(&scene.store, all, LIMIT, repair).await;
        assert_eq!((page.faults, page.uncounted), (Vec::new(), Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_was_counted_may_end_before_the_count_does() {
    let scene = Scene::new().await;
    let mut first = scene.create(None).await;
    let fence = scene.claim(&mut first).await;
    for _ in 0..5 {
        scene.create(None).await;
    }
    let usage = scene.key(first.id, "usage");
    let mut step = CheckStep {
        partitions: vec![first.id.partition()],
        place: None,
        limit: 2,
        repair: true,
    };
    let mut has_ended = false;
    loop {
        let page = scene.store.check_step(&step).await.expect("check_step");
        assert_eq!(page.faults, []);
        let Some(next) = page.next else { break };
        step.place = Some(next);
        let reached: Option<Vec<u8>> = scene.run("HGET", &[&usage, b"p"]).await;
        let is_counted = reached.is_some_and(|reached| reached >= first.id.as_bytes().to_vec());
        if is_counted && !has_ended {
            scene.finish(&mut first, fence).await;
            has_ended = true;
        }
    }
    assert!(has_ended, "there was a step behind it");
    scene.is_sound().await;
}

/// Each entry of an operation goes with it, also one that it ought not to have any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_removed_takes_all_its_entries_along() {
    let scene = Scene::new().await;
    let mut done = scene.completed(None).await;
    let id = done.id.as_bytes().as_slice();
    for name in ["due", "notices"] {
        scene.zadd(&scene.key(done.id, name), 5, id).await;
    }
    let locks = scene.key(done.id, "locks");
    let _new: usize = scene.run("HSET", &[&locks, id, &[b'0'; 41]]).await;
    scene.event(&mut done, Event::Delete, Guard::None).await;
    scene.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_whose_head_was_not_counted_takes_no_token_of_others() {
    let scene = Scene::new().await;
    let mut head = scene.create(Some("t")).await;
    let mut next = scene.create(Some("t")).await;
    // As a build without the counts has written it.
    let record = scene.record(head.id);
    let _length: usize = scene.run("SETRANGE", &[&record, b"73", b"q"]).await;
    let key = scene.key(head.id, "usage");
    let _removed: usize = scene.run("DEL", &[&key]).await;
    scene.check(true).await;
    let tokens = async || {
        let usage = scene.store.usage(&Organization::default()).await;
        usage.expect("usage").tokens
    };
    assert_eq!(tokens().await, 0, "the head is not counted");
    scene.run_to_its_end(&mut head).await;
    assert_eq!(tokens().await, 1);
    scene.is_sound().await;
    let other = scene.create(Some("t")).await;
    assert_eq!(other.id.partition(), next.id.partition());
    scene.run_to_its_end(&mut next).await;
    assert_eq!(tokens().await, 1);
    scene.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_parts_of_operations_that_are_gone_are_removed() {
    let scene = Scene::new().await;
    let old = Timestamp::from_millis(1_600_000_000_000);
    let gone = scene.ids.operation(old, Partition::new(0));
    let young = draft(&scene.store, &scene.ids, None).id;
    for (name, id) in [("0123456789abcdef", gone), ("0123456789abcdeg", young)] {
        let key = scene.key(gone, format!("key:{name}"));
        let content = [*id.as_bytes(), [1; 16]].concat();
        let _ok: String = scene.run("SET", &[&key, &content]).await;
    }
    let part = [&scene.record(gone), b":data".as_slice()].concat();
    let _ok: String = scene.run("SET", &[&part, b"data"]).await;
    scene
        .mended(&[
            (FaultKind::Reservation, Some(gone)),
            (FaultKind::Leftover, Some(gone)),
        ])
        .await;
    let left: usize = scene
        .run("EXISTS", &[&scene.key(gone, "key:0123456789abcdeg")])
        .await;
    assert_eq!(left, 1, "its operation may be about to be created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_decoded_is_named_and_stays() {
    let scene = Scene::new().await;
    let (broken, torn) = (scene.create(None).await, scene.create(None).await);
    scene.create(None).await;
    let before = scene.bytes(broken.id).await;
    // The version of the header, behind its length.
    let place = (65..before.len() - 2).find(|at| {
        let length = usize::from(u16::from_be_bytes([before[at - 2], before[at - 1]]));
        before[*at] == 0x14 && (40..400).contains(&length)
    });
    let mut after = before;
    after[place.expect("a header")] = 0x1f;
    let _ok: String = scene.run("SET", &[&scene.record(broken.id), &after]).await;
    let _ok: String = scene.run("SET", &[&scene.record(torn.id), b"torn"]).await;
    for repair in [false, true, true] {
        let found = scene.check(repair).await;
        let mut expected = vec![
            (FaultKind::Unreadable, Some(broken.id)),
            (FaultKind::Unreadable, Some(torn.id)),
        ];
        expected.sort_unstable();
        assert_eq!(kinds(&found.faults), expected, "{found:?}");
        assert!(found.faults.iter().all(|fault| !fault.is_repaired));
        assert_eq!(found.uncounted, [broken.id.partition()]);
    }
    assert_eq!(scene.bytes(broken.id).await, after);
    assert_eq!(scene.bytes(torn.id).await, b"torn");
    assert!(scene.is_in_outbox(broken.id).await, "its entries stay, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_sets_are_checked_in_small_steps() {
    let server = RedisServer::start().await.expect("a Redis");
    let scene = Scene::on(common::options_on(&server.url())).await;
    let all: Vec<NewOperation> = (0..700)
        .map(|at| draft(&scene.store, &scene.ids, (at % 2 == 0).then_some("t")))
        .collect();
    scene.store.create(all.clone()).await.expect("create");
    let partitions: Vec<Partition> = scene.store.partitions().all().collect();
    // Their times are in another order than their ids.
    for (at, new) in all.iter().take(300).enumerate() {
        let time = at * 7_919 % 1_000;
        let due = scene.key(new.id, "due");
        scene.zadd(&due, time, new.id.as_bytes()).await;
    }
    let gone = draft(&scene.store, &scene.ids, Some("t"));
    scene
        .zadd(&scene.chain(&gone), 4.0e15, gone.id.as_bytes())
        .await;
    for (repair, expected) in [(false, 301), (true, 301), (false, 0)] {
        let page = check_all(&scene.store, partitions.clone(), 50, repair).await;
        assert_eq!(page.faults.len(), expected, "{:?}", page.faults);
        assert!(page.looked_at > 700 * 4, "{}", page.looked_at);
    }
    // The stamps of what was there have not changed.
    let offer = scene.store.last_offer(all[1].id).await.expect("last_offer");
    assert!(offer.expect("offered").stamp > Stamp(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_right_to_write_can_check() {
    let server = RedisServer::start().await.expect("a Redis");
    let url = server.url();
    let scene = Scene::on(common::options_on(&url)).await;
    let new = scene.create(Some("t")).await;
    scene.completed(None).await;
    let entry = scene.outbox_entry(new.id).await;
    scene.zrem(&scene.key(new.id, "dispatch"), &entry).await;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER")
        .arg("reader")
        .arg(["on", ">right", "~*", "-@all", "+@read", "+@connection"].as_slice())
        .arg(
            [
                "+evalsha",
                "+script|load",
                "+script|exists",
                "+info",
                "+time",
                "+config|get",
            ]
            .as_slice(),
        );
    user.exec_async(&mut scene.raw.clone())
        .await
        .expect("a user");
    let options = Options {
        url: format!("redis://reader:right@{}", server.address()),
        ..scene.options.clone()
    };
    let reader = common::connect(&options).await;
    let partitions: Vec<Partition> = reader.partitions().all().collect();
    let page = check_all(&reader, partitions.clone(), LIMIT, false).await;
    assert_eq!(kinds(&page.faults), [(FaultKind::NotOffered, Some(new.id))]);
    let step = CheckStep {
        partitions,
        place: None,
        limit: LIMIT,
        repair: true,
    };
    // Nothing is wrong in the sets, so the first steps write nothing either.
    let mut step = step;
    let refused = loop {
        match reader.check_step(&step).await {
            Ok(page) => step.place = Some(page.next.expect("it comes to a repair")),
            Err(error) => break error,
        }
    };
    let refused = refused.to_string();
    // The words of Redis 7.0, and those of later releases and of Valkey.
    let words = ["can't run this command", "ACL failure in script"];
    assert!(
        words.iter().any(|words| refused.contains(words)),
        "{refused}"
    );
}
