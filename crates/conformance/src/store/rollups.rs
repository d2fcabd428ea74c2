//! Rollups and failure groups: counts that processes add to those of the store.

use std::time::Duration;

use drumline_backend::store::{
    FAILURE_GROUPS, FailureBatch, FailureGroup, FailureHours, ROLLUP_KEYS, Resolution, Rollup,
    RollupBatch, RollupKey, hour_of, minute_of,
};
use drumline_protocol::mute::LONGEST_MUTE;
use drumline_protocol::{
    Author, ErrorCode, FailureKey, Mute, OperationId, Organization, Partition, QueueName, Timestamp,
};

use crate::StoreHarness;
use crate::fixtures::Fixture;

fn key(message_name: &str) -> RollupKey {
    RollupKey::Of {
        queue: QueueName::default(),
        message_name: message_name.to_owned(),
    }
}

/// Counts that differ in every number.
fn counts(factor: u64) -> Rollup {
    let mut counts = Rollup {
        created: factor,
        started: 2 * factor,
        succeeded: 130 * factor,
        failed: 4 * factor,
        canceled: 20_000 * factor,
        expired: 6 * factor,
        ..Rollup::default()
    };
    for ms in [0, 3, 200, 9_000_000] {
        for _ in 0..factor {
            counts.wait.observe(Duration::from_millis(ms));
            counts.run.observe(Duration::from_millis(ms + 1));
        }
    }
    counts
}

async fn add(fixture: &Fixture, id: u64, minute: u64, counts: Vec<(RollupKey, Rollup)>) {
    let batch = RollupBatch { id, minute, counts };
    let added = fixture.store.add_rollup(&batch).await;
    added.expect("add_rollup");
}

async fn read(
    fixture: &Fixture,
    keys: &[RollupKey],
    resolution: Resolution,
    minute: u64,
) -> Vec<Rollup> {
    let slot = minute / resolution.minutes();
    let found = fixture.store.rollups(keys, resolution, slot, 1).await;
    let mut found = found.expect("rollups");
    assert_eq!(found.len(), 1, "an answer for each slot");
    found.remove(0)
}

/// The counts of two processes in one minute are added, and those of two minutes are
/// added in the slot of ten minutes.
pub async fn counts_of_several_processes_are_added(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let now = fixture.store.now();
    // The beginning of the ten minutes that are over: both minutes lie in one slot.
    let first = Resolution::TenMinutes.slot(now) * 10 - 10;
    let (one, two) = (key("One"), key("Two"));
    let some = |factor| vec![(RollupKey::Total, counts(factor)), (one.clone(), counts(1))];
    add(&fixture, 1, first, some(1)).await;
    add(&other, 2, first, some(2)).await;
    add(&other, 3, first + 1, vec![(two.clone(), counts(7))]).await;
    let asked = [
        RollupKey::Total,
        two.clone(),
        one.clone(),
        RollupKey::Others,
    ];
    let minute = read(&fixture, &asked, Resolution::Minute, first).await;
    let none = Rollup::default();
    assert_eq!(minute, [counts(3), none, counts(2), none]);
    let ten = read(&fixture, &asked, Resolution::TenMinutes, first).await;
    assert_eq!(ten, [counts(3), counts(7), counts(2), none]);
    let both = other
        .store
        .rollups(std::slice::from_ref(&two), Resolution::Minute, first, 2)
        .await;
    assert_eq!(both.expect("rollups"), [vec![none], vec![counts(7)]]);
    let since = Resolution::Minute.start(first);
    let known = other
        .store
        .rollup_keys(since, now)
        .await
        .expect("rollup_keys");
    assert_eq!(known, [one, two]);
}

/// A repetition after an unclear answer changes nothing.
pub async fn a_repeated_batch_is_counted_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let minute = minute_of(fixture.store.now());
    for _ in 0..2 {
        add(&fixture, 1, minute, vec![(RollupKey::Total, counts(1))]).await;
    }
    let found = read(&fixture, &[RollupKey::Total], Resolution::Minute, minute).await;
    assert_eq!(found, [counts(1)]);
}

/// A day has a bounded number of keys. What finds no room is counted all the same,
/// and a key that has its room keeps it.
pub async fn keys_without_room_are_counted_among_the_others(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let minute = minute_of(fixture.store.now());
    let room = ROLLUP_KEYS - 2;
    let many = (0..room + 3).map(|number| (key(&format!("Message{number:03}")), counts(1)));
    add(&fixture, 1, minute, many.collect()).await;
    let again = vec![(key("Message000"), counts(1)), (key("Late"), counts(2))];
    add(&fixture, 2, minute, again).await;
    let asked = [key("Message000"), key("Late"), RollupKey::Others];
    let found = read(&fixture, &asked, Resolution::Minute, minute).await;
    assert_eq!(found, [counts(2), Rollup::default(), counts(5)]);
    let now = fixture.store.now();
    let known = fixture
        .store
        .rollup_keys(now, now)
        .await
        .expect("rollup_keys");
    assert_eq!(known.len(), room);
}

/// Nothing was counted: that is an answer, and no error.
pub async fn a_day_without_counts_reads_as_zeros(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let now = fixture.store.now();
    let slot = Resolution::Minute.slot(now);
    let found = fixture
        .store
        .rollups(&[RollupKey::Total], Resolution::Minute, slot - 100, 101)
        .await;
    let found = found.expect("rollups");
    assert_eq!(found, vec![vec![Rollup::default()]; 101]);
    assert_eq!(
        fixture
            .store
            .rollup_keys(now, now)
            .await
            .expect("rollup_keys"),
        []
    );
    assert_eq!(groups(&fixture, "default", 10).await, []);
}

/// A group with one failure.
fn group(fixture: &Fixture, key: u64, last: Timestamp) -> FailureGroup {
    FailureGroup {
        key: FailureKey(key),
        message_name: "Import".to_owned(),
        code: ErrorCode::NETWORK_ERROR,
        pattern: format!("row # of '…' in group {key}: naïve \u{0} text"),
        count: 1,
        first: last,
        last,
        sample: sample(fixture, last),
    }
}

fn sample(fixture: &Fixture, at: Timestamp) -> OperationId {
    fixture.ids.operation(at, Partition::new(0))
}

async fn fail(fixture: &Fixture, id: u64, organization: &str, groups: Vec<FailureGroup>) {
    let minute = minute_of(fixture.store.now());
    fail_at(fixture, id, organization, minute, groups).await;
}

/// Adds failures that were counted in a minute.
async fn fail_at(
    fixture: &Fixture,
    id: u64,
    organization: &str,
    minute: u64,
    groups: Vec<FailureGroup>,
) {
    let organization = Organization(organization.to_owned());
    let groups = groups.into_iter();
    let batch = FailureBatch {
        id,
        minute,
        groups: groups.map(|group| (organization.clone(), group)).collect(),
    };
    let added = fixture.store.add_failures(&batch).await;
    added.expect("add_failures");
}

async fn hours(
    fixture: &Fixture,
    organization: &str,
    keys: &[u64],
    last: u64,
) -> Vec<FailureHours> {
    let organization = Organization(organization.to_owned());
    let keys: Vec<_> = keys.iter().copied().map(FailureKey).collect();
    let found = fixture.store.failure_hours(&organization, &keys, last);
    found.await.expect("failure_hours")
}

/// Each hour of the last day has its own count of a group, from all processes, and
/// of the own organization.
pub async fn the_failures_of_a_group_are_counted_in_each_hour(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let now = fixture.store.now();
    let last = hour_of(minute_of(now));
    let of = |count| FailureGroup {
        count,
        ..group(&fixture, 7, now)
    };
    let (this, before) = (minute_of(now), (last - 1) * 60 + 59);
    fail_at(&fixture, 1, "default", before, vec![of(3)]).await;
    fail_at(
        &fixture,
        2,
        "default",
        this,
        vec![of(1), group(&fixture, 8, now)],
    )
    .await;
    fail_at(&other, 3, "default", this, vec![of(2)]).await;
    // The repetition of a batch.
    fail_at(&other, 3, "default", this, vec![of(2)]).await;
    let expected = |of: &[(usize, u64)]| -> FailureHours {
        let mut hours = FailureHours::default();
        for (back, count) in of {
            *hours.iter_mut().rev().nth(*back).expect("an hour") = *count;
        }
        hours
    };
    let found = hours(&other, "default", &[8, 9, 7], last).await;
    let one = expected(&[(0, 1)]);
    assert_eq!(found, [one, expected(&[]), expected(&[(0, 3), (1, 3)])]);
    // Later the same counts stand further back, and leave at the end of the day.
    let later = hours(&fixture, "default", &[7], last + 23).await;
    assert_eq!(later, [expected(&[(23, 3)])]);
    assert!(hours(&fixture, "default", &[], last).await.is_empty());
    assert_eq!(hours(&fixture, "other", &[7], last).await, [expected(&[])]);
}

/// The number of groups in an hour is bounded, and a group that has its room keeps it.
pub async fn an_hour_counts_a_bounded_number_of_groups(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let now = fixture.store.now();
    let minute = minute_of(now);
    let some = |first: u64, count: usize| -> Vec<FailureGroup> {
        let keys = (first..).take(count);
        keys.map(|key| group(&fixture, key, now)).collect()
    };
    fail_at(&fixture, 1, "default", minute, some(0, FAILURE_GROUPS)).await;
    fail_at(
        &fixture,
        2,
        "default",
        minute,
        some(FAILURE_GROUPS as u64 - 1, 2),
    )
    .await;
    let asked = [FAILURE_GROUPS as u64 - 1, FAILURE_GROUPS as u64];
    let found = hours(&fixture, "default", &asked, hour_of(minute)).await;
    let of_this_hour: Vec<_> = found
        .iter()
        .filter_map(|hours| hours.last().copied())
        .collect();
    assert_eq!(of_this_hour, [2, 0]);
}

fn mute(fixture: &Fixture, reason: &str) -> Mute {
    let now = fixture.store.now();
    Mute {
        reason: reason.to_owned(),
        author: Author::Caller("ann".to_owned()),
        since: now,
        until: now.saturating_add(LONGEST_MUTE),
    }
}

async fn mutes(fixture: &Fixture, organization: &str, keys: &[u64]) -> Vec<Option<Mute>> {
    let organization = Organization(organization.to_owned());
    let keys: Vec<_> = keys.iter().copied().map(FailureKey).collect();
    let found = fixture.store.mutes(&organization, &keys).await;
    found.expect("mutes")
}

/// A mute is seen by all processes until it is removed; it is of one group in one
/// organization.
pub async fn a_mute_is_of_one_group(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let organization = Organization::default();
    let now = fixture.store.now();
    fail(&fixture, 1, "default", vec![group(&fixture, 7, now)]).await;
    let known = fixture.store.failure_group(&organization, FailureKey(7));
    assert_eq!(
        known.await.expect("failure_group").map(|one| one.count),
        Some(1)
    );
    let unknown = fixture.store.failure_group(&organization, FailureKey(8));
    assert_eq!(unknown.await.expect("failure_group"), None);
    let (first, second) = (
        mute(&fixture, "known: \u{0} naïve"),
        mute(&fixture, "later"),
    );
    for one in [&first, &second] {
        let set = fixture.store.mute(&organization, FailureKey(7), one).await;
        set.expect("mute");
        let found = mutes(&other, "default", &[8, 7]).await;
        assert_eq!(found, [None, Some(one.clone())]);
    }
    assert_eq!(mutes(&other, "other", &[7]).await, [None]);
    assert!(mutes(&other, "default", &[]).await.is_empty());
    for was_muted in [true, false] {
        let removed = other.store.unmute(&organization, FailureKey(7)).await;
        assert_eq!(removed.expect("unmute"), was_muted);
        assert_eq!(mutes(&fixture, "default", &[7]).await, [None]);
    }
}

/// A group that goes because there are too many takes its mute along.
pub async fn a_mute_goes_with_its_group(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let organization = Organization::default();
    let now = fixture.store.now();
    let before = Timestamp::from_millis(now.as_millis() - 1_000);
    fail(&fixture, 1, "default", vec![group(&fixture, 0, before)]).await;
    let known = mute(&fixture, "known");
    let set = fixture.store.mute(&organization, FailureKey(0), &known);
    set.await.expect("mute");
    let many = (1..=FAILURE_GROUPS as u64).map(|key| group(&fixture, key, now));
    fail(&fixture, 2, "default", many.collect()).await;
    let gone = fixture.store.failure_group(&organization, FailureKey(0));
    assert_eq!(gone.await.expect("failure_group"), None);
    assert_eq!(mutes(&fixture, "default", &[0]).await, [None]);
}

async fn groups(fixture: &Fixture, organization: &str, limit: usize) -> Vec<FailureGroup> {
    let organization = Organization(organization.to_owned());
    let found = fixture.store.failure_groups(&organization, limit).await;
    found.expect("failure_groups")
}

/// Counts are added; first and last failure and the operation that failed last are
/// right in whatever order the batches arrive.
pub async fn failures_are_added_to_their_groups(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let now = fixture.store.now();
    let at = |ms: i64| Timestamp::from_millis(now.as_millis() - 1_000 + ms);
    let (early, middle, late) = (
        group(&fixture, 7, at(1)),
        FailureGroup {
            count: 5,
            ..group(&fixture, 7, at(2))
        },
        group(&fixture, 7, at(3)),
    );
    let another = group(&fixture, u64::MAX, at(2));
    let first = vec![middle.clone(), another.clone()];
    fail(&fixture, 1, "default", first).await;
    fail(&fixture, 2, "default", vec![early]).await;
    fail(&other, 3, "default", vec![late.clone()]).await;
    fail(&fixture, 4, "default", vec![middle]).await;
    let expected = FailureGroup {
        count: 12,
        first: at(1),
        ..late
    };
    let found = groups(&other, "default", 10).await;
    assert_eq!(found, [expected.clone(), another]);
    assert_eq!(groups(&other, "default", 1).await, [expected]);
    assert_eq!(groups(&other, "default", 0).await, []);
}

/// A repetition after an unclear answer changes nothing, however many groups are in
/// the batch.
pub async fn a_repeated_batch_of_failures_is_counted_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let now = fixture.store.now();
    let many: Vec<FailureGroup> = (0..150).map(|key| group(&fixture, key, now)).collect();
    for _ in 0..2 {
        fail(&fixture, 1, "default", many.clone()).await;
    }
    let found = groups(&fixture, "default", 200).await;
    assert_eq!(found.len(), 150);
    assert!(found.iter().all(|group| group.count == 1), "{found:?}");
}

/// One organization does not see the failures of another.
pub async fn organizations_have_failure_groups_of_their_own(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let now = fixture.store.now();
    let (one, other) = (group(&fixture, 1, now), group(&fixture, 1, now));
    fail(&fixture, 1, "one", vec![one.clone()]).await;
    fail(&fixture, 2, "other", vec![other.clone()]).await;
    assert_eq!(groups(&fixture, "one", 10).await, [one]);
    assert_eq!(groups(&fixture, "other", 10).await, [other]);
    assert_eq!(groups(&fixture, "default", 10).await, []);
}

/// The number of groups is bounded.
pub async fn the_group_that_failed_longest_ago_goes(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let now = fixture.store.now();
    let at = |number: u64| {
        let before = i64::try_from(FAILURE_GROUPS as u64 + 20 - number).expect("small");
        Timestamp::from_millis(now.as_millis() - before)
    };
    let all = FAILURE_GROUPS as u64 + 10;
    // The last one comes first: the order of arrival does not matter.
    let many = (0..all).rev().map(|key| group(&fixture, key, at(key)));
    fail(&fixture, 1, "default", many.collect()).await;
    let found = groups(&fixture, "default", 2 * FAILURE_GROUPS).await;
    let keys: Vec<u64> = found.iter().map(|group| group.key.0).collect();
    let expected: Vec<u64> = (10..all).rev().collect();
    assert_eq!(keys, expected);
    // Those that come now are the last: each takes the place of another one.
    let more = (all..all + 5).map(|key| group(&fixture, key, at(key)));
    fail(&fixture, 2, "default", more.collect()).await;
    let found = groups(&fixture, "default", 2 * FAILURE_GROUPS).await;
    let keys: Vec<u64> = found.iter().map(|group| group.key.0).collect();
    let expected: Vec<u64> = (15..all + 5).rev().collect();
    assert_eq!(keys, expected);
    let organization = Organization::default();
    for key in 0..15 {
        let gone = fixture.store.failure_group(&organization, FailureKey(key));
        assert_eq!(gone.await.expect("failure_group"), None);
    }
}
