//! Outputs: what the handler of an attempt has printed stands with the attempt.

use std::time::Duration;

use drumline_backend::store::{Commit, Committed, Guard};
use drumline_protocol::output::{LAST_FAILED_BYTES, OTHER_BYTES};
use drumline_protocol::{Event, Fence, Jitter, OperationId, Output, OutputParts, Status};

use super::commit::{commit, commit_done, commit_one};
use crate::StoreHarness;
use crate::fixtures::{Fixture, fault, independent};

/// The output is read after the end of its attempt, by every process, and a claim
/// does not bring it along.
pub async fn an_output_is_written_with_the_end_of_its_attempt(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    assert_eq!(outputs(&fixture, id).await, []);
    fixture.claim(id).await;
    assert_eq!(outputs(&fixture, id).await, []);
    end(&fixture, id, Event::Succeed, "all done\n").await;
    let expected = Output {
        attempt: 1,
        cut: 0,
        text: "all done\n".to_owned(),
    };
    let another = fixture.another(harness).await;
    assert_eq!(outputs(&another, id).await, [expected]);
    let nowhere = fixture.prepare(independent()).id;
    assert_eq!(outputs(&fixture, nowhere).await, []);
}

/// A later failure shortens the output of an earlier one, and a success does not.
pub async fn the_last_failed_attempt_keeps_more_than_the_others(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let long = format!("start{}end", "x".repeat(2 * LAST_FAILED_BYTES));
    for printed in [long.as_str(), "short", &long] {
        fixture.claim(id).await;
        end(&fixture, id, retry(), printed).await;
        fixture.client(id, Event::Resume).await;
    }
    fixture.claim(id).await;
    end(&fixture, id, Event::Succeed, &long).await;
    let found = outputs(&fixture, id).await;
    let lengths: Vec<_> = found
        .iter()
        .map(|output| (output.attempt, output.text.len()))
        .collect();
    let (most, few) = (LAST_FAILED_BYTES, OTHER_BYTES);
    assert_eq!(lengths, [(1, few), (2, 5), (3, most), (4, few)]);
    for output in found {
        let whole = if output.attempt == 2 { "short" } else { &long };
        assert!(whole.ends_with(&output.text), "{}", output.attempt);
        let length = u64::try_from(output.text.len()).expect("a length");
        let printed = u64::try_from(whole.len()).expect("a length");
        assert_eq!(output.cut + length, printed, "{}", output.attempt);
    }
}

/// A further attempt takes the place of the earliest one. Attempts that have printed
/// nothing take none.
pub async fn four_outputs_are_kept(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    for attempt in 1..=10_u32 {
        fixture.claim(id).await;
        let printed = if attempt <= 2 { "" } else { "printed" };
        end(&fixture, id, Event::Release, printed).await;
        let found = outputs(&fixture, id).await.into_iter();
        let kept: Vec<u32> = found.map(|output| output.attempt).collect();
        let expected: Vec<u32> = (3.max(attempt.saturating_sub(3))..=attempt).collect();
        assert_eq!(kept, expected);
    }
}

/// The output of the last attempt that has failed stays whole, however often the
/// operation is given back behind it.
pub async fn the_last_failed_attempt_outlasts_those_that_are_given_back(
    harness: &dyn StoreHarness,
) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let long = format!("start{}end", "x".repeat(LAST_FAILED_BYTES - 8));
    fixture.claim(id).await;
    end(&fixture, id, retry(), &long).await;
    fixture.client(id, Event::Resume).await;
    for attempt in 2..=11_u32 {
        fixture.claim(id).await;
        end(&fixture, id, Event::Release, "given back").await;
        let found = outputs(&fixture, id).await;
        assert_eq!(found.first().map(|it| it.text.as_str()), Some(&*long));
        let kept: Vec<u32> = found.iter().map(|output| output.attempt).collect();
        let mut expected: Vec<u32> = (2.max(attempt.saturating_sub(3))..=attempt).collect();
        expected.insert(0, 1);
        assert_eq!(kept, expected);
    }
    // A later failure takes its room.
    fixture.claim(id).await;
    end(&fixture, id, retry(), "short").await;
    let found = outputs(&fixture, id).await.into_iter();
    let kept: Vec<u32> = found.map(|output| output.attempt).collect();
    assert_eq!(kept, [9, 10, 11, 12]);
}

/// A commit that is repeated after an unclear answer writes its output once.
pub async fn a_repeated_commit_has_one_output(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let fence = fixture.claim(id).await;
    let ended = ending(&fixture, id, fence, retry(), "once").await;
    commit_done(&fixture, ended.clone()).await;
    commit_done(&fixture, ended.clone()).await;
    fixture.client(id, Event::Resume).await;
    let fence = fixture.claim(id).await;
    let next = ending(&fixture, id, fence, Event::Succeed, "twice").await;
    let made = fixture.store.commit(vec![next.clone(), next]).await;
    let made = made.expect("commit");
    let are_done = made.iter().all(|it| matches!(it, Committed::Done(_)));
    assert!(are_done, "{made:?}");
    // Later than a newer commit, the repetition is a conflict.
    let answer = commit_one(&fixture, ended).await;
    assert!(matches!(answer, Committed::Conflict(_)), "{answer:?}");
    let found = outputs(&fixture, id).await;
    let told: Vec<_> = found.iter().map(|output| output.text.as_str()).collect();
    assert_eq!(told, ["once", "twice"]);
}

/// A holder that was taken over leaves no output: the attempt belongs to the
/// history alone.
pub async fn a_refused_commit_has_no_output(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let fence = fixture.claim(id).await;
    let stale = ending(&fixture, id, Fence(fence.0 + 1), Event::Succeed, "stale").await;
    let late = ending(&fixture, id, fence, Event::Succeed, "late").await;
    let answer = commit_one(&fixture, stale).await;
    assert!(matches!(answer, Committed::Fenced), "{answer:?}");
    let expired = Guard::Unchanged {
        holding: fixture.holding(fence),
        beat: 0,
    };
    fixture.event(id, Event::LeaseExpired, expired).await;
    let answer = commit_one(&fixture, late).await;
    assert!(matches!(answer, Committed::Conflict(_)), "{answer:?}");
    assert_eq!(outputs(&fixture, id).await, []);
}

/// The outputs go with their operation, and a later one of the same id has none.
pub async fn an_output_is_removed_with_its_operation(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let new = fixture.prepare(independent());
    let id = new.id;
    fixture.store_new(new.clone()).await;
    fixture.claim(id).await;
    end(&fixture, id, Event::Fail(fault()), "printed").await;
    assert_eq!(fixture.read(id).await.header.status, Status::Failed);
    fixture.client(id, Event::Delete).await;
    assert_eq!(outputs(&fixture, id).await, []);
    let mut again = new;
    again.header.commit = fixture.ids.commit();
    fixture.store_new(again).await;
    assert_eq!(outputs(&fixture, id).await, []);
}

fn retry() -> Event {
    Event::Retry {
        fault: fault(),
        after: Some(Duration::from_secs(60)),
        jitter: Jitter(0),
    }
}

async fn outputs(fixture: &Fixture, id: OperationId) -> Vec<Output> {
    fixture.store.outputs(id).await.expect("outputs")
}

/// The commit by which a holder ends an attempt that has printed this.
async fn ending(
    fixture: &Fixture,
    id: OperationId,
    fence: Fence,
    event: Event,
    printed: &str,
) -> Commit {
    let header = fixture.read(id).await.header;
    let has_failed = !matches!(event, Event::Succeed | Event::Release);
    let printed = printed.as_bytes();
    let output = OutputParts::new(header.attempt(), printed, 0, has_failed, usize::MAX);
    let mut ending = commit(
        fixture,
        id,
        &header,
        event,
        Guard::Holder(fixture.holding(fence)),
    );
    ending.output = output;
    ending
}

/// Ends the attempt that runs.
async fn end(fixture: &Fixture, id: OperationId, event: Event, printed: &str) {
    let lock = fixture.store.lock(id).await.expect("lock").expect("held");
    let ending = ending(fixture, id, lock.fence, event, printed).await;
    commit_done(fixture, ending).await;
}
