//! Operations that expire: those that no worker has started by their `notAfter`.

use std::time::Duration;

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Commit, Committed, Done, Guard};
use drumline_protocol::{
    At, ErrorCode, Event, Fence, Header, OperationId, Partition, Status, Timestamp, apply,
};

use super::commit::{commit, commit_done, commit_one};
use crate::StoreHarness;
use crate::fixtures::{
    Draft, Fixture, Fresh, author_of, claim_event, done, holding, independent, of_token,
};
use crate::wait::eventually;

/// A span that is far enough to be seen before, and near enough to be waited
/// for.
const SHORT: Duration = Duration::from_millis(300);
/// A span that is later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// An operation waits in vain: it is due when its time to start is over, not
/// earlier, and ends as Failed.
pub async fn what_has_not_started_in_time_expires(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    fixture.create(expiring(independent(), HOUR)).await;
    let fresh = fixture.create(expiring(independent(), SHORT)).await;
    assert!(fresh.offer.is_some(), "it may start until then");
    let on = fresh.header.rules.not_after.expect("it expires");
    let partition = Partition::new(0);
    let id = eventually("it is due", async || {
        let due = due(&fixture, partition).await.pop();
        // The store's clock is the judge; ours is an estimate of it.
        let slack = Duration::from_millis(100);
        let now = fixture.store.now().saturating_add(slack);
        assert!(due.is_none() || now >= on, "{now} is too early for {on}");
        due
    })
    .await;
    assert_eq!(id, fresh.id);
    let (header, made) = expire(&fixture, id).await;
    assert!(made.offer.is_none() && made.promoted.is_none());
    assert_eq!((header.status, header.starts), (Status::Failed, 0));
    let found = fixture.read(id).await;
    assert_eq!(found.header, header);
    let code = found.report.fault.map(|fault| fault.code);
    assert_eq!(code, Some(ErrorCode::EXPIRED));
    assert!(due(&fixture, partition).await.is_empty());
    assert_eq!(fixture.entry(id).await, None);
    let late = fixture.try_claim(id).await;
    assert!(matches!(late, Applied::Refused(_)), "{late:?}");
}

/// A worker has started it in time: it is not due any more, however long it
/// takes, and whatever becomes of the attempt.
pub async fn a_start_in_time_ends_the_wait(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(expiring(independent(), SHORT)).await;
    let fence = claim_in_time(&fixture, &fresh).await;
    wait_past(&fixture, fresh.header.rules.not_after).await;
    assert!(
        !due(&fixture, fresh.id.partition())
            .await
            .contains(&fresh.id)
    );
    let late = fixture.event(fresh.id, Event::Expire, Guard::None).await;
    assert!(matches!(late, Applied::Refused(_)), "{late:?}");
    fixture.holder(fresh.id, fence, Event::Succeed).await;
}

/// An attempt was begun in time and given back: the next one may come late.
pub async fn an_attempt_that_was_given_back_was_a_start(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(expiring(independent(), SHORT)).await;
    let fence = claim_in_time(&fixture, &fresh).await;
    fixture.holder(fresh.id, fence, Event::Release).await;
    wait_past(&fixture, fresh.header.rules.not_after).await;
    assert!(
        !due(&fixture, fresh.id.partition())
            .await
            .contains(&fresh.id)
    );
    fixture.run(fresh.id).await;
}

/// A postponed operation wakes at the one time, and expires at the other.
pub async fn the_earlier_of_two_times_comes_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let draft = Draft {
        postponed_by: Some(SHORT / 4),
        ..expiring(independent(), SHORT)
    };
    let fresh = fixture.create(draft).await;
    let woken = eventually("it wakes", async || {
        match fixture.event(fresh.id, Event::Due, Guard::None).await {
            Applied::Done(header, _) => Some(header),
            Applied::Refused(_) => None,
            other @ (Applied::NotHead | Applied::Held | Applied::Fenced | Applied::Missing) => {
                panic!("expected it to wake: {other:?}")
            }
        }
    })
    .await;
    assert_eq!(woken.status, Status::WaitingForResources);
    let (header, _) = expire(&fixture, fresh.id).await;
    assert_eq!(header.status, Status::Failed);
    // A throttled handler may stay throttled for longer than it may wait.
    let fresh = fixture.create(expiring(independent(), SHORT)).await;
    fixture.client(fresh.id, Event::Throttle).await;
    expire(&fixture, fresh.id).await;
}

/// A person has paused it and forgotten it.
pub async fn a_paused_operation_expires(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(expiring(of_token("a"), SHORT)).await;
    let next = fixture.create(of_token("a")).await;
    fixture.client(fresh.id, Event::Pause).await;
    let (_, made) = expire(&fixture, fresh.id).await;
    let promoted = made.promoted.map(|head| head.operation.id);
    assert_eq!(promoted, Some(next.id));
}

/// An operation expires behind its head: nothing is offered early, and the head
/// hands the chain on to the one behind.
pub async fn what_expires_in_the_middle_leaves_its_chain(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(holding("a")).await;
    let second = fixture.create(expiring(holding("a"), SHORT)).await;
    let third = fixture.create(holding("a")).await;
    let fence = fixture.claim(first.id).await;
    let (header, made) = expire(&fixture, second.id).await;
    assert!(!header.holding, "nothing of it was started");
    assert!(made.promoted.is_none());
    assert_eq!(fixture.entry(third.id).await, None);
    let made = fixture.holder(first.id, fence, Event::Succeed).await;
    let promoted = made.promoted.map(|head| head.operation.id);
    assert_eq!(promoted, Some(third.id));
    fixture.run(third.id).await;
}

/// A head expires: the next one is offered, also where a failure would stop the
/// chain.
pub async fn an_expired_head_hands_its_chain_on(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for draft in [of_token("a"), holding("b")] {
        let head = fixture.create(expiring(draft.clone(), SHORT)).await;
        let next = fixture.create(draft).await;
        let (_, made) = expire(&fixture, head.id).await;
        let promoted = made.promoted.expect("the next head");
        assert_eq!(promoted.operation.id, next.id);
        assert_eq!(fixture.entry(next.id).await, Some(promoted.stamp));
        fixture.run(next.id).await;
    }
}

/// A claim is decided a moment before the time, and committed while a manager
/// expires the operation: the store makes one of the two.
pub async fn of_a_claim_and_an_expiry_one_is_made(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let manager = fixture.another(harness).await;
    for _ in 0..10 {
        let draft = expiring(of_token("a"), Duration::from_millis(1));
        let fresh = fixture.create(draft).await;
        let id = fresh.id;
        let claim = claim_of_the_moment_of_creation(&fixture, &fresh);
        wait_past(&manager, fresh.header.rules.not_after).await;
        let (claimed, expired) = tokio::join!(
            commit_one(&fixture, claim),
            manager.event(id, Event::Expire, Guard::None),
        );
        let found = fixture.read(id).await.header;
        match (claimed, expired) {
            (Committed::Done(made), Applied::Refused(_)) => {
                assert_eq!((found.status, found.starts), (Status::InProgress, 1));
                let fence = made.fence.expect("a claim takes a lock");
                fixture.holder(id, fence, Event::Succeed).await;
            }
            (Committed::Conflict(_), Applied::Done(..)) => {
                assert_eq!((found.status, found.starts), (Status::Failed, 0));
            }
            other => panic!("expected one of them to be too late: {other:?}"),
        }
        assert!(due(&fixture, id.partition()).await.is_empty());
    }
}

/// Two managers find it at the same time: it ends once.
pub async fn of_racing_managers_one_expires_it(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let fresh = fixture.create(expiring(of_token("a"), SHORT)).await;
    fixture.create(of_token("a")).await;
    wait_past(&fixture, fresh.header.rules.not_after).await;
    wait_past(&other, fresh.header.rules.not_after).await;
    let (one, two) = tokio::join!(
        fixture.event(fresh.id, Event::Expire, Guard::None),
        other.event(fresh.id, Event::Expire, Guard::None),
    );
    let made = [one, two];
    let made = made.iter().filter(|one| matches!(one, Applied::Done(..)));
    assert_eq!(made.count(), 1);
    assert_eq!(fixture.read(fresh.id).await.header.version, 2);
}

/// An expiry whose answer was lost reports the next head once more.
pub async fn a_repeated_expiry_is_answered_like_the_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(expiring(of_token("a"), SHORT)).await;
    let next = fixture.create(of_token("a")).await;
    wait_past(&fixture, fresh.header.rules.not_after).await;
    let expiry = commit(
        &fixture,
        fresh.id,
        &fresh.header,
        Event::Expire,
        Guard::None,
    );
    let once = commit_done(&fixture, expiry.clone()).await.promoted;
    let again = commit_done(&fixture, expiry).await.promoted;
    let once = once.expect("the next head");
    let again = again.expect("the next head, still");
    assert_eq!(once.operation.id, next.id);
    assert_eq!((again.operation.id, again.stamp), (next.id, once.stamp));
}

fn expiring(draft: Draft, span: Duration) -> Draft {
    Draft {
        expires_in: Some(span),
        ..draft
    }
}

/// Claims an operation. The claim is decided in time, however long this process
/// has been kept from it.
async fn claim_in_time(fixture: &Fixture, fresh: &Fresh) -> Fence {
    let claim = claim_of_the_moment_of_creation(fixture, fresh);
    let done = commit_done(fixture, claim).await;
    done.fence.expect("a claim takes a lock")
}

fn claim_of_the_moment_of_creation(fixture: &Fixture, fresh: &Fresh) -> Commit {
    let header = &fresh.header;
    let at = At {
        now: header.modified_on,
        commit: fixture.ids.commit(),
    };
    let claim = apply(header, claim_event(), at).expect("its time is not over");
    let guard = fixture.taking();
    Commit::new(fresh.id, header, &claim, guard, &author_of(guard))
}

async fn due(fixture: &Fixture, partition: Partition) -> Vec<OperationId> {
    fixture.store.due(partition, 100).await.expect("due")
}

/// Expires an operation as the scheduler does: as soon as the store lists it.
/// Our estimate of the store's time may be a moment behind the store, and then
/// the transition refuses: a moment later it does not.
async fn expire(fixture: &Fixture, id: OperationId) -> (Header, Done) {
    eventually("it expires", async || {
        let listed = due(fixture, id.partition()).await.contains(&id);
        if !listed {
            return None;
        }
        match fixture.event(id, Event::Expire, Guard::None).await {
            Applied::Refused(_) => None,
            other => Some(done(other)),
        }
    })
    .await
}

/// Waits until a process believes that a time is over.
async fn wait_past(fixture: &Fixture, time: Option<Timestamp>) {
    let time = time.expect("it expires");
    eventually("the time is over", async || {
        (fixture.store.now() >= time).then_some(())
    })
    .await;
}
