//! Sums of minutes, and how long they are kept.

use super::*;

fn histogram(times: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for ms in times {
        histogram.observe(Duration::from_millis(*ms));
    }
    histogram
}

#[test]
fn a_time_is_in_the_first_bucket_that_holds_it() {
    for (ms, bucket) in [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 2),
        (5, 3),
        (1_024, 10),
        (1_025, 11),
        (1 << 22, 22),
        ((1 << 22) + 1, 23),
        (u64::MAX, 23),
    ] {
        let found = histogram(&[ms]);
        assert_eq!(found.buckets().get(bucket), Some(&1), "{ms} ms: {found:?}");
    }
}

#[test]
fn a_quantile_is_within_its_bucket() {
    assert_eq!(Histogram::default().quantile(500), None);
    let times: Vec<u64> = (1..=1_000).collect();
    let found = histogram(&times);
    for (per_mille, exact) in [(10, 10), (500, 500), (990, 990)] {
        let ms = found.quantile(per_mille).unwrap().as_millis();
        assert!((exact / 2..=exact * 2).contains(&ms), "{per_mille}: {ms}");
    }
    let endless = histogram(&[u64::MAX]);
    assert_eq!(endless.quantile(990), Some(Duration::from_millis(1 << 22)));
}

#[test]
fn every_number_has_a_place() {
    let mut rollup = Rollup::default();
    for place in 0..Rollup::NUMBERS {
        *rollup.number_mut(place).unwrap() = place as u64 + 1;
    }
    assert_eq!(rollup.number_mut(Rollup::NUMBERS), None);
    let numbers: Vec<u64> = rollup.numbers().collect();
    let expected: Vec<u64> = (1..=Rollup::NUMBERS as u64).collect();
    assert_eq!(numbers, expected);
    let twice = Rollup::sum([&rollup, &rollup]);
    assert_eq!(twice.created, 2);
    assert_eq!(twice.run.count(), 2 * rollup.run.count());
}

#[test]
fn slots_follow_from_the_time() {
    let at = Timestamp::from_millis(25 * 60_000 + 1);
    assert_eq!(Resolution::Minute.slot(at), 25);
    assert_eq!(Resolution::TenMinutes.slot(at), 2);
    assert_eq!(Resolution::TenMinutes.start(2).as_millis(), 20 * 60_000);
    assert_eq!(Resolution::Minute.kept(), Duration::from_secs(3 * 3600));
    assert_eq!(
        Resolution::TenMinutes.kept(),
        Duration::from_secs(72 * 3600)
    );
}

#[test]
fn hours_and_days_follow_from_the_minute() {
    assert_eq!((hour_of(59), hour_of(60), hour_of(120)), (0, 1, 2));
    assert_eq!((day_of(1_439), day_of(1_440), day_of(2_880)), (0, 1, 2));
}

#[test]
fn a_bucket_ends_at_a_power_of_two_and_the_last_one_never() {
    assert_eq!(Histogram::upper_bound(0), Some(Duration::from_millis(1)));
    assert_eq!(
        Histogram::upper_bound(22),
        Some(Duration::from_millis(1 << 22))
    );
    assert_eq!(Histogram::upper_bound(BUCKETS - 1), None);
    assert_eq!(Histogram::upper_bound(BUCKETS), None);
}

#[test]
fn a_quantile_lies_in_its_bucket_by_its_share() {
    // Of four times between 4 and 8 ms, the third is at three quarters.
    let found = histogram(&[5, 6, 7, 8]);
    assert_eq!(found.quantile(750), Some(Duration::from_millis(7)));
    assert_eq!(found.quantile(1_000), Some(Duration::from_millis(8)));
    assert_eq!(found.quantile(0), Some(Duration::from_millis(5)));
    let short = histogram(&[0, 1]);
    assert_eq!(short.quantile(500), Some(Duration::from_micros(500)));
}

#[test]
fn the_names_of_the_keys_in_stores_stay() {
    let of = |queue: &str, message_name: &str| RollupKey::Of {
        queue: queue.parse().unwrap(),
        message_name: message_name.to_owned(),
    };
    assert_eq!(RollupKey::Total.digest(), 0);
    assert_eq!(RollupKey::Others.digest(), u64::MAX);
    assert_eq!(of("a", "bc").digest(), digest(&["a", "bc"]));
    assert_ne!(of("a", "bc").digest(), of("ab", "c").digest());
}

#[test]
fn ends_are_told_by_outcome_and_together() {
    let rollup = Rollup {
        created: 100,
        started: 50,
        succeeded: 1,
        failed: 2,
        canceled: 4,
        expired: 8,
        ..Rollup::default()
    };
    assert_eq!(rollup.ended(), 15);
    assert_eq!(
        rollup.ends(),
        [
            ("succeeded", 1),
            ("failed", 2),
            ("canceled", 4),
            ("expired", 8)
        ]
    );
}

#[test]
fn a_group_has_the_times_of_its_failures_and_the_last_one_as_sample() {
    let group = |count, first, last| FailureGroup {
        key: FailureKey::new("DoIt", ErrorCode(7), "no room"),
        message_name: "DoIt".to_owned(),
        code: ErrorCode(7),
        pattern: "no room".to_owned(),
        count,
        first: Timestamp::from_millis(first),
        last: Timestamp::from_millis(last),
        sample: sample(last),
    };
    let sum = |one: &FailureGroup, other: &FailureGroup| {
        let mut sum = one.clone();
        sum.add(other);
        sum
    };
    let (early, late) = (group(2, 10, 20), group(3, 15, 30));
    assert_eq!(sum(&early, &late), group(5, 10, 30));
    assert_eq!(sum(&late, &early), group(5, 10, 30));
    let again = FailureGroup {
        sample: sample(21),
        ..early.clone()
    };
    let same_time = sum(&early, &again);
    assert_eq!(same_time.sample, sample(21), "the one that is added later");
}

fn sample(ms: i64) -> OperationId {
    let at = Timestamp::from_millis(ms);
    OperationId::new(at, drumline_protocol::Partition::new(1), [2; 16])
}
