//! Keys that the server forgets by itself: each has its time from the call on that wrote it.

use std::time::Duration;

use drumline_backend::membership::Membership as _;
use drumline_backend::store::{
    AuditStore as _, BATCH_REMEMBERED, FAILURE_HOURS, FAILURES_KEPT, FailureBatch, FailureGroup,
    Guard, Resolution, Rollup, RollupBatch, RollupKey, RollupStore as _, minute_of,
};
use drumline_backend::{Ids, Member, Profile, Role, Store as _};
use drumline_backend_redis::RedisMembership;
use drumline_protocol::{ErrorCode, Event, FailureKey, Organization, Partition, QueueName};

use crate::common::{self, claim, commit, create, draft, make};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_a_time_expires_behind_it() {
    let options = common::options().await;
    let store = common::connect(&options).await;
    let (ids, now) = (Ids::random(), store.now());

    // The calls of the two batches are remembered by their minutes.
    let minute = minute_of(now);
    let counts = vec![(RollupKey::Total, Rollup::default())];
    let rollup = RollupBatch {
        id: 1,
        minute: minute - 1,
        counts,
    };
    store.add_rollup(&rollup).await.expect("add_rollup");
    let named = RollupKey::Of {
        queue: QueueName::default(),
        message_name: "DoIt".to_owned(),
    };
    let some = Rollup {
        created: 1,
        ..Rollup::default()
    };
    let rollup = RollupBatch {
        id: 2,
        counts: vec![(named, some)],
        ..rollup
    };
    store.add_rollup(&rollup).await.expect("add_rollup");
    let group = FailureGroup {
        key: FailureKey(7),
        message_name: "DoIt".to_owned(),
        code: ErrorCode::NETWORK_ERROR,
        pattern: "the line is down".to_owned(),
        count: 1,
        first: now,
        last: now,
        sample: ids.operation(now, Partition::new(0)),
    };
    let failures = FailureBatch {
        id: 3,
        minute,
        groups: vec![(Organization::default(), group)],
    };
    store.add_failures(&failures).await.expect("add_failures");

    let entry = ["an entry".to_owned()];
    let added = store.append_audit(ids.commit(), &entry).await;
    added.expect("append_audit");

    let membership = RedisMembership::new(&store);
    let member = Member {
        id: ids.member(),
        host: "host:1".to_owned(),
        running: 0,
        started_on_ms: now.as_millis(),
        profile: Profile::new(Role::Worker),
    };
    membership.beat(&member).await.expect("beat");
    let asked = membership.ask_to_drain(member.id).await;
    assert!(asked.expect("asks"));

    // A holder that is asked to stop, and an operation that is removed.
    let running = draft(&store, &ids, None);
    create(&store, &running).await;
    let taking = claim(&store, &ids, running.id, &running.header);
    let header = taking.header.clone();
    make(&store, taking).await;
    let stop = commit(
        &store,
        &ids,
        running.id,
        &header,
        Event::Cancel,
        Guard::None,
    );
    make(&store, stop).await;
    let removed = draft(&store, &ids, None);
    create(&store, &removed).await;
    let (id, header) = (removed.id, &removed.header);
    let cancel = commit(&store, &ids, id, header, Event::Cancel, Guard::None);
    let header = cancel.header.clone();
    make(&store, cancel).await;
    let delete = commit(&store, &ids, id, &header, Event::Delete, Guard::None);
    make(&store, delete).await;

    let slots =
        |resolution: Resolution| resolution.kept().as_secs() + resolution.minutes() * MINUTE;
    // A part of the name, how many keys have it, and their seconds.
    let expected: [(&[u8], usize, u64); 11] = [
        (b":rollups:batches:", 2, BATCH_REMEMBERED.as_secs()),
        (b":rollups:names:", 1, 4 * DAY),
        (b":rollups:1:", 1, slots(Resolution::Minute)),
        (b":rollups:10:", 1, slots(Resolution::TenMinutes)),
        (b":groups", 1, FAILURES_KEPT.as_secs()),
        (b":last", 1, FAILURES_KEPT.as_secs()),
        (b":hour:", 1, FAILURE_HOURS as u64 * 3_600),
        (b":audit:", 1, 10 * MINUTE),
        (b":drains", 1, 7 * DAY),
        (b":stops:", 1, 10 * MINUTE),
        (b":gone:", 1, 10 * MINUTE),
    ];
    let mut redis = common::raw(&options.url).await;
    let mut all = redis::cmd("KEYS");
    all.arg(format!("{}:*", options.namespace));
    let all: Vec<Vec<u8>> = all.query_async(&mut redis).await.expect("keys");
    for (part, count, seconds) in expected {
        let name = String::from_utf8_lossy(part);
        let has_part = |key: &&Vec<u8>| key.windows(part.len()).any(|some| some == part);
        let found: Vec<_> = all.iter().filter(has_part).collect();
        assert_eq!(found.len(), count, "{name}: {found:?}");
        for key in found {
            let mut rest = redis::cmd("PTTL");
            rest.arg(key);
            let rest: i64 = rest.query_async(&mut redis).await.expect("a time");
            let rest = Duration::from_millis(u64::try_from(rest).unwrap_or(0));
            let whole = Duration::from_secs(seconds);
            // The rest may have begun some minutes ago on a busy machine.
            let least = whole.saturating_sub(Duration::from_secs(5 * MINUTE));
            assert!(rest > least && rest <= whole, "{name}: {rest:?}");
        }
    }
}
