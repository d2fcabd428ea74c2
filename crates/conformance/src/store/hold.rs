//! Chains that stop: an operation that failed or was cancelled stays the head
//! until a person resumes it.

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Committed, Filter, Guard};
use drumline_protocol::failure::FaultKind;
use drumline_protocol::{ErrorCode, Event, FailureKey, Fault, Jitter, Status};

use super::commit::{claim_fresh, commit, commit_done};
use super::listing::all_pages;
use crate::StoreHarness;
use crate::fixtures::{Fixture, Fresh, fault, holding, independent};

/// A failure stops the chain; operations behind the failed one cannot be
/// claimed.
pub async fn a_failed_head_stops_its_chain_until_it_is_resumed(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(holding("a")).await;
    let second = fixture.create(holding("a")).await;
    let fence = fixture.claim(first.id).await;
    let done = fixture.holder(first.id, fence, Event::Fail(fault())).await;
    assert!(done.promoted.is_none());
    stands_still(&fixture, &first, &second, Status::Failed).await;
    released_by_resume(&fixture, &first, &second).await;
}

/// A cancel stops the chain, of a head that waits and of one that runs.
pub async fn a_cancelled_head_stops_its_chain_until_it_is_resumed(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(holding("a")).await;
    let second = fixture.create(holding("a")).await;
    let (_, done) = fixture.client(first.id, Event::Cancel).await;
    assert!(done.promoted.is_none());
    stands_still(&fixture, &first, &second, Status::Canceled).await;
    released_by_resume(&fixture, &first, &second).await;

    let third = fixture.create(holding("a")).await;
    let fence = fixture.claim(second.id).await;
    fixture.client(second.id, Event::Cancel).await;
    let done = fixture.holder(second.id, fence, Event::Stopped).await;
    assert!(done.promoted.is_none());
    stands_still(&fixture, &second, &third, Status::Canceled).await;
}

/// A new operation of a token whose chain stands still waits like the others.
pub async fn what_comes_behind_a_stopped_chain_is_parked(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(holding("a")).await;
    fixture.client(first.id, Event::Cancel).await;
    let second = fixture.create(holding("a")).await;
    assert_eq!(second.offer, None);
    stands_still(&fixture, &first, &second, Status::Canceled).await;
    // A postponed operation does not start either when its time has come.
    fixture.client(second.id, Event::Pause).await;
    let (_, done) = fixture.client(second.id, Event::Resume).await;
    assert_eq!(done.offer, None);
    released_by_resume(&fixture, &first, &second).await;
}

/// The policy is about failures: a success hands the chain on.
pub async fn a_chain_goes_on_after_a_success(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(holding("a")).await;
    let second = fixture.create(holding("a")).await;
    let next = fixture.run(first.id).await.promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(second.id));
    assert!(!fixture.read(first.id).await.header.holding);
}

/// Behind others, a cancel is refused; a discard takes the operation out of the
/// middle.
pub async fn a_cancel_behind_the_head_is_discarded(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(holding("a")).await;
    let second = fixture.create(holding("a")).await;
    let third = fixture.create(holding("a")).await;
    let told = fixture.event(second.id, Event::Cancel, Guard::None).await;
    assert!(matches!(told, Applied::NotHead), "{told:?}");
    assert_eq!(fixture.read(second.id).await.header, second.header);
    let (header, done) = fixture.client(second.id, Event::Discard).await;
    assert_eq!((header.status, header.holding), (Status::Canceled, false));
    assert!(done.promoted.is_none());
    let next = fixture.run(first.id).await.promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(third.id));
}

/// Two people resume the head at once: one of them lets the chain go on.
pub async fn of_racing_resumes_one_releases_the_chain(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let first = fixture.create(holding("a")).await;
    let second = fixture.create(holding("a")).await;
    fixture.client(first.id, Event::Cancel).await;
    let (one, two) = tokio::join!(
        fixture.event(first.id, Event::Resume, Guard::None),
        other.event(first.id, Event::Resume, Guard::None),
    );
    let mut promoted = Vec::new();
    for decided in [one, two] {
        match decided {
            Applied::Done(_, done) => promoted.push(done.promoted.map(|head| head.operation.id)),
            Applied::Refused(_) => {}
            other @ (Applied::NotHead | Applied::Held | Applied::Fenced | Applied::Missing) => {
                panic!("expected one of them to be too late: {other:?}")
            }
        }
    }
    assert_eq!(promoted, [Some(second.id)]);
}

/// A resume whose answer was lost reports the next head once more.
pub async fn a_repeated_resume_of_a_chain_is_answered_like_the_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(holding("a")).await;
    let second = fixture.create(holding("a")).await;
    let (header, _) = fixture.client(first.id, Event::Cancel).await;
    let resume = commit(&fixture, first.id, &header, Event::Resume, Guard::None);
    let once = commit_done(&fixture, resume.clone()).await.promoted;
    let again = commit_done(&fixture, resume).await.promoted;
    let once = once.expect("the next head");
    let again = again.expect("the next head, still");
    assert_eq!(once.operation.id, second.id);
    assert_eq!((again.operation.id, again.stamp), (second.id, once.stamp));
}

/// An operator sees the chains that stand still.
pub async fn stopped_chains_are_found(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut stopped = Vec::new();
    for token in ["a", "b", "c"] {
        let fresh = fixture.create(holding(token)).await;
        fixture.client(fresh.id, Event::Cancel).await;
        stopped.push(fresh.id);
    }
    let gone_on = stopped.remove(1);
    fixture.client(gone_on, Event::Resume).await;
    let other = fixture.create(independent()).await;
    fixture.client(other.id, Event::Cancel).await;
    let filter = Filter {
        holding: Some(true),
        ..Filter::default()
    };
    let mut found = all_pages(&fixture, &filter, 2).await;
    found.sort_unstable();
    stopped.sort_unstable();
    assert_eq!(found, stopped);
}

/// Operations are listed by the group of their last error: those that have failed with it,
/// and those that are to be tried again. Success forgets it.
pub async fn the_last_error_is_found_by_its_failure_group(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let failed = fixture.create(independent()).await;
    let fence = fixture.claim(failed.id).await;
    fixture.holder(failed.id, fence, Event::Fail(fault())).await;
    let retry = || Event::Retry {
        fault: fault(),
        after: None,
        jitter: Jitter(0),
    };
    let [waits, mended] = [
        fixture.create(independent()).await,
        fixture.create(independent()).await,
    ];
    for fresh in [&waits, &mended] {
        let fence = fixture.claim(fresh.id).await;
        fixture.holder(fresh.id, fence, retry()).await;
    }
    fixture.client(mended.id, Event::Resume).await;
    fixture.run(mended.id).await;
    let other = fixture.create(independent()).await;
    let fence = fixture.claim(other.id).await;
    let another = Fault::new(ErrorCode::NETWORK_ERROR, "the line is down", "ETIMEDOUT");
    fixture.holder(other.id, fence, Event::Fail(another)).await;
    fixture.create(independent()).await;

    let body = fixture.read(failed.id).await.body;
    let kind = FaultKind::of(&fault());
    let of_group = Filter {
        failure: Some(FailureKey::of(&body.message_name, kind)),
        organization: Some(body.organization),
        ..Filter::default()
    };
    for limit in [1, 500] {
        let mut found = all_pages(&fixture, &of_group, limit).await;
        found.sort_unstable();
        let mut expected = vec![failed.id, waits.id];
        expected.sort_unstable();
        assert_eq!(found, expected, "in pages of {limit}");
    }
    let failures = Filter {
        status: Some(Status::Failed),
        message_name: Some(body.message_name),
        ..of_group
    };
    assert_eq!(all_pages(&fixture, &failures, 500).await, [failed.id]);
}

/// The first has ended and holds; the second cannot start.
async fn stands_still(fixture: &Fixture, first: &Fresh, second: &Fresh, status: Status) {
    let header = fixture.read(first.id).await.header;
    assert_eq!((header.status, header.holding), (status, true));
    assert_eq!(fixture.entry(second.id).await, None);
    let answer = claim_fresh(fixture, second).await;
    assert!(
        matches!(answer, Committed::NotHead | Committed::Conflict(_)),
        "{answer:?}"
    );
    let refused = fixture.event(first.id, Event::Delete, Guard::None).await;
    assert!(matches!(refused, Applied::Refused(_)), "{refused:?}");
}

/// A resume of the first offers the second; the first may be deleted then.
async fn released_by_resume(fixture: &Fixture, first: &Fresh, second: &Fresh) {
    let ended = fixture.read(first.id).await.header;
    let (header, done) = fixture.client(first.id, Event::Resume).await;
    assert_eq!((header.status, header.holding), (ended.status, false));
    assert_eq!(header.completed_on, ended.completed_on);
    let next = done.promoted.expect("the chain goes on");
    assert_eq!(next.operation.id, second.id);
    assert_eq!(fixture.entry(second.id).await, Some(next.stamp));
    fixture.client(first.id, Event::Delete).await;
}
