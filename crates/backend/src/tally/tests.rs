//! The batches that the counts are made into.

use drumline_protocol::{Partition, Timestamp};

use super::*;

fn body(queue: &str, message_name: &str) -> Body {
    Body {
        queue: queue.parse().unwrap(),
        ..Body::new(message_name, Timestamp::from_millis(0))
    }
}

fn key(queue: &str, message_name: &str) -> RollupKey {
    RollupKey::Of {
        queue: queue.parse().unwrap(),
        message_name: message_name.to_owned(),
    }
}

fn created(number: u64) -> Rollup {
    Rollup {
        created: number,
        ..Rollup::default()
    }
}

fn create(counts: &mut Counts, body: &Body) {
    counts.total.created += 1;
    counts.of(body).created += 1;
}

fn failure(number: i64) -> ((Organization, FailureKey), FailureGroup) {
    let at = Timestamp::from_millis(number);
    let key = FailureKey::new("DoIt", ErrorCode(7), &number.to_string());
    let group = FailureGroup {
        key,
        message_name: "DoIt".to_owned(),
        code: ErrorCode(7),
        pattern: number.to_string(),
        count: 1,
        first: at,
        last: at,
        sample: OperationId::new(at, Partition::new(1), [2; 16]),
    };
    ((Organization::default(), key), group)
}

#[test]
fn a_minute_that_is_over_is_a_batch() {
    let random = Random::seeded(7);
    let mut counts = Counts::default();
    counts.begin(5, &random);
    create(&mut counts, &body("a", "One"));
    create(&mut counts, &body("a", "One"));
    create(&mut counts, &body("a", "Two"));
    create(&mut counts, &body("b", "One"));
    counts.begin(5, &random);
    assert!(counts.over.is_empty(), "the minute goes on");
    counts.begin(6, &random);
    let batch = counts.over.pop_front().unwrap();
    assert_eq!(batch.minute, 5);
    assert_eq!(
        batch.counts,
        [
            (RollupKey::Total, created(4)),
            (key("a", "One"), created(2)),
            (key("a", "Two"), created(1)),
            (key("b", "One"), created(1)),
        ]
    );
    assert_eq!(counts.earlier, created(4));
    counts.begin(7, &random);
    assert!(
        counts.over.is_empty(),
        "a minute without counts is no batch"
    );
}

#[test]
fn counts_without_room_for_their_names_are_those_of_others() {
    let random = Random::seeded(7);
    let mut counts = Counts::default();
    let names: Vec<String> = (0..ROLLUP_KEYS).map(|number| number.to_string()).collect();
    for _ in 0..2 {
        for name in &names {
            create(&mut counts, &body("a", name));
        }
    }
    create(&mut counts, &body("a", "late"));
    create(&mut counts, &body("b", "0"));
    counts.close(&random);
    let batch = counts.over.pop_front().unwrap();
    assert_eq!(batch.counts.len(), ROLLUP_KEYS + 2);
    for counted in [
        (RollupKey::Total, created(2 * ROLLUP_KEYS as u64 + 2)),
        (RollupKey::Others, created(2)),
        (key("a", "0"), created(2)),
    ] {
        assert!(batch.counts.contains(&counted), "{counted:?}");
    }
    create(&mut counts, &body("a", "late"));
    counts.close(&random);
    let batch = counts.over.pop_front().unwrap();
    let late = (key("a", "late"), created(1));
    assert_eq!(batch.counts, [(RollupKey::Total, created(1)), late]);
}

#[test]
fn failures_are_a_batch_once() {
    let random = Random::seeded(7);
    let mut counts = Counts::default();
    counts.close_failures(5, &random);
    assert!(counts.failed.is_empty());
    counts.failures.extend([failure(1), failure(2)]);
    counts.left_out = 3;
    counts.close_failures(5, &random);
    let batch = counts.failed.pop_front().unwrap();
    assert_eq!((batch.minute, batch.groups.len()), (5, 2));
    assert_eq!(counts.left_out, 0);
    counts.close_failures(6, &random);
    assert!(counts.failed.is_empty());
}

#[test]
fn the_oldest_batch_goes_when_too_many_wait() {
    let mut batches = VecDeque::new();
    for number in 0..=BATCHES {
        push(&mut batches, number);
    }
    assert_eq!(batches.len(), BATCHES);
    assert_eq!(batches.front(), Some(&1));
    assert_eq!(batches.back(), Some(&BATCHES));
}

#[test]
fn a_batch_is_given_up_before_the_store_forgets_it() {
    // A quarter of an hour, less the margin.
    assert!(is_fresh(100, 100));
    assert!(is_fresh(100, 112));
    assert!(!is_fresh(100, 113));
}
