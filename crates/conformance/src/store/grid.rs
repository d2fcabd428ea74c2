//! The whole grid of statuses × events, performed against the store.
//!
//! The pure function gives the outcome of each event on each status. Here the
//! store performs the event, and afterwards everything that depends on the
//! status (index, lock, due set, outbox, chain) must fit the header that
//! it holds.

use std::time::Duration;

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Filter, Guard, NewOperation};
use drumline_protocol::transition::{At, ChainEffect, EndClass};
use drumline_protocol::{
    Event, Fence, Header, OperationId, Recurrence, State, Status, Timestamp, apply,
};

use super::ends::ended;
use super::locks::lock_of;
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, claim_event, fault, holding, independent, of_token};

/// Independent operations.
pub async fn every_event_on_every_status_without_a_token(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for status in Status::ALL {
        for event in events(&fixture) {
            let id = fixture.create(independent()).await.id;
            bring(&fixture, id, status).await;
            check(&fixture, id, status, event, None).await;
        }
    }
}

/// Heads of chains, each with a successor.
pub async fn every_event_on_every_status_of_a_head(harness: &dyn StoreHarness) {
    of_a_head(harness, of_token).await;
}

/// Heads of chains that stop when they fail or are cancelled.
pub async fn every_event_on_every_status_of_a_head_that_holds(harness: &dyn StoreHarness) {
    of_a_head(harness, holding).await;
}

/// Operations behind their head: no event can start them, or free others.
pub async fn every_event_on_every_status_behind_a_head(harness: &dyn StoreHarness) {
    behind_a_head(harness, of_token).await;
}

/// No event on them can stop the chain, either.
pub async fn every_event_on_every_status_behind_a_head_that_holds(harness: &dyn StoreHarness) {
    behind_a_head(harness, holding).await;
}

/// Operations whose time to start is over, which nothing can start any more.
pub async fn every_event_on_every_status_of_what_has_expired(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for status in [Status::WaitingForResources, Status::Waiting, Status::Failed] {
        for event in events(&fixture) {
            let token = fixture.ids.uuid().to_string();
            let id = fixture
                .store_new(expired(&fixture, holding(&token)))
                .await
                .id;
            let next = fixture.create(holding(&token)).await.id;
            match status {
                Status::Waiting => drop(fixture.client(id, Event::Pause).await),
                Status::Failed => drop(fixture.client(id, Event::Expire).await),
                Status::WaitingForResources
                | Status::InProgress
                | Status::Pausing
                | Status::Canceling
                | Status::Succeeded
                | Status::Canceled => {}
            }
            check(&fixture, id, status, event, Some(next)).await;
        }
    }
}

/// An operation that was late already when it was created.
fn expired(fixture: &Fixture, draft: Draft) -> NewOperation {
    let mut new = fixture.prepare(draft);
    new.header.rules.not_after = Some(Timestamp::from_millis(1));
    new
}

/// Series, which no worker ever sees.
pub async fn every_event_on_every_status_of_a_series(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for status in [Status::Waiting, Status::Succeeded, Status::Canceled] {
        for event in events(&fixture) {
            let due = Some(Timestamp::from_millis(1));
            let series = fixture.prepare_series(independent(), due);
            let id = fixture.store_new(series).await.id;
            if status == Status::Succeeded {
                let last = Event::Occur {
                    last: None,
                    next: None,
                };
                fixture.client(id, last).await;
            } else if status == Status::Canceled {
                fixture.client(id, Event::Cancel).await;
            }
            check(&fixture, id, status, event, None).await;
        }
    }
}

async fn of_a_head(harness: &dyn StoreHarness, draft: fn(&str) -> Draft) {
    let fixture = Fixture::new(harness).await;
    for status in Status::ALL {
        for event in events(&fixture) {
            let token = fixture.ids.uuid().to_string();
            let id = fixture.create(draft(&token)).await.id;
            let next = fixture.create(draft(&token)).await.id;
            bring(&fixture, id, status).await;
            check(&fixture, id, status, event, Some(next)).await;
        }
    }
}

async fn behind_a_head(harness: &dyn StoreHarness, draft: fn(&str) -> Draft) {
    let fixture = Fixture::new(harness).await;
    for status in [
        Status::WaitingForResources,
        Status::Waiting,
        Status::Canceled,
    ] {
        for event in events(&fixture) {
            let token = fixture.ids.uuid().to_string();
            let head = fixture.create(draft(&token)).await;
            let id = fixture.create(draft(&token)).await.id;
            let next = fixture.create(draft(&token)).await.id;
            if status == Status::Canceled {
                fixture.client(id, Event::Discard).await;
            } else {
                bring(&fixture, id, status).await;
            }
            let what = format!("{} × {status:?}", event.name());
            let before = fixture.read(id).await.header;
            let guard = guard_of(&fixture, id, &event).await;
            let expected = apply(&before, event.clone(), at(&fixture));
            let needs_head = expected.as_ref().is_ok_and(|transition| {
                let chain = transition.effects.chain;
                matches!(chain, ChainEffect::RequireHead | ChainEffect::Hold)
            });
            match fixture.event(id, event, guard).await {
                Applied::NotHead => {
                    assert!(needs_head, "{what}");
                    assert_eq!(fixture.read(id).await.header, before, "{what}");
                }
                Applied::Refused(refused) => assert_eq!(Some(refused), expected.err(), "{what}"),
                Applied::Done(_, done) => {
                    assert!(!needs_head, "{what}");
                    assert!(done.offer.is_none() && done.promoted.is_none(), "{what}");
                }
                other @ (Applied::Held | Applied::Fenced | Applied::Missing) => {
                    panic!("{what}: {other:?}")
                }
            }
            assert_eq!(fixture.entry(id).await, None, "{what}");
            assert_eq!(fixture.entry(next).await, None, "{what}");
            fixture
                .has_entry(head.id, head.offer.is_some(), &what)
                .await;
            assert_eq!(fixture.entry(head.id).await, head.offer, "{what}");
        }
    }
}

/// Every event, with times that are legal for all.
fn events(fixture: &Fixture) -> Vec<Event> {
    vec![
        claim_event(),
        Event::Succeed,
        Event::Fail(fault()),
        Event::Retry {
            fault: fault(),
            after: Some(Duration::from_secs(3_600)),
            jitter: fixture.ids.jitter(),
        },
        Event::Suspend(fault()),
        Event::Stopped,
        Event::Release,
        Event::ReleaseUnstarted,
        Event::LeaseExpired,
        Event::Pause,
        Event::Resume,
        Event::Postpone(hence(fixture)),
        Event::Cancel,
        Event::Discard,
        Event::Due,
        Event::Expire,
        Event::Occur {
            last: Some(fixture.prepare(independent()).id),
            next: Some(hence(fixture)),
        },
        Event::Occur {
            last: None,
            next: None,
        },
        Event::Reschedule {
            recurrence: Recurrence {
                pattern: "FREQ=WEEKLY".to_owned(),
                start: hence(fixture),
                last: None,
            },
            next: Some(hence(fixture)),
        },
        Event::Unhandled,
        Event::Throttle,
        Event::Delete,
    ]
}

/// One cell of the grid: the event on an operation that stands there.
async fn check(
    fixture: &Fixture,
    id: OperationId,
    status: Status,
    event: Event,
    next: Option<OperationId>,
) {
    let what = format!("{} × {status:?}", event.name());
    let before = fixture.read(id).await.header;
    assert_eq!(before.status, status, "{what}");
    fits(fixture, id, &before, next, &what).await;

    let guard = guard_of(fixture, id, &event).await;
    let removed = matches!(event, Event::Delete);
    let expected = apply(&before, event.clone(), at(fixture));
    match (fixture.event(id, event, guard).await, expected) {
        (Applied::Done(after, done), Ok(expected)) => {
            assert_eq!(after.status, expected.header.status, "{what}");
            assert_eq!(after.version, before.version + 1, "{what}");
            if removed {
                assert_eq!(
                    fixture.store.get(&[id]).await.expect("get"),
                    [None],
                    "{what}"
                );
                return;
            }
            assert_eq!(fixture.read(id).await.header, after, "{what}");
            fits(fixture, id, &after, next, &what).await;
            // It ends, or stops holding, and frees its successor.
            let frees = goes_on(&after) && !goes_on(&before);
            let promoted = done.promoted.map(|head| head.operation.id);
            assert_eq!(promoted, next.filter(|_| frees), "{what}");
        }
        (Applied::Refused(refused), Err(expected)) => {
            assert_eq!(refused, expected, "{what}");
            assert_eq!(fixture.read(id).await.header, before, "{what}");
            fits(fixture, id, &before, next, &what).await;
        }
        (decided, expected) => panic!("{what}: {decided:?}, expected {expected:?}"),
    }
}

/// Checks that everything that depends on a header is as the header requires.
async fn fits(
    fixture: &Fixture,
    id: OperationId,
    header: &Header,
    next: Option<OperationId>,
    what: &str,
) {
    let state = header.status.state();
    for listed in State::ALL {
        let found = newest_from(fixture, id, listed).await == Some(id);
        assert_eq!(found, listed == state, "{what}: listed as {listed:?}");
    }
    let locked = lock_of(fixture, id).await.is_some();
    assert_eq!(locked, state == State::Locked, "{what}: lock");
    let outbox = format!("{what}: outbox");
    let is_ready = state == State::Ready;
    fixture.has_entry(id, is_ready, &outbox).await;
    let due = fixture
        .store
        .due(id.partition(), 10_000)
        .await
        .expect("due");
    let past = header.due_on().is_some_and(|on| on <= fixture.store.now());
    assert_eq!(due.contains(&id), past, "{what}: due set");
    if let Some(next) = next {
        let successor = format!("{what}: successor");
        fixture.has_entry(next, goes_on(header), &successor).await;
    }
    let partition = id.partition();
    let mut classes = Vec::new();
    for class in EndClass::ALL {
        if ended(fixture, partition, class).await.contains(&id) {
            classes.push(class);
        }
    }
    let expected = match header.status {
        Status::Succeeded => vec![EndClass::Succeeded],
        Status::Failed | Status::Canceled => vec![EndClass::Unsuccessful],
        Status::WaitingForResources
        | Status::Waiting
        | Status::InProgress
        | Status::Pausing
        | Status::Canceling => Vec::new(),
    };
    assert_eq!(classes, expected, "{what}: ends");
}

/// Returns true if the operation behind it may start.
fn goes_on(header: &Header) -> bool {
    header.status.state() == State::Completed && !header.holding
}

/// Brings a Ready operation to a status, by legal moves.
async fn bring(fixture: &Fixture, id: OperationId, status: Status) {
    match status {
        Status::WaitingForResources => {}
        Status::Waiting => {
            // Already past, so that it is due as well.
            let past = Event::Postpone(Timestamp::from_millis(1));
            fixture.client(id, past).await;
        }
        Status::InProgress => drop(fixture.claim(id).await),
        Status::Pausing => {
            fixture.claim(id).await;
            fixture.client(id, Event::Pause).await;
        }
        Status::Canceling => {
            fixture.claim(id).await;
            fixture.client(id, Event::Cancel).await;
        }
        Status::Succeeded => drop(fixture.run(id).await),
        Status::Failed => {
            let fence = fixture.claim(id).await;
            fixture.holder(id, fence, Event::Fail(fault())).await;
        }
        Status::Canceled => drop(fixture.client(id, Event::Cancel).await),
    }
}

/// The guard that the caller of this event goes by.
async fn guard_of(fixture: &Fixture, id: OperationId, event: &Event) -> Guard {
    let lock = lock_of(fixture, id).await;
    match event {
        Event::Claim { .. } => fixture.taking(),
        Event::Succeed
        | Event::Fail(_)
        | Event::Retry { .. }
        | Event::Suspend(_)
        | Event::Stopped
        | Event::Release
        | Event::ReleaseUnstarted => {
            Guard::Holder(lock.map_or(fixture.holding(Fence(0)), |lock| lock.holding()))
        }
        Event::LeaseExpired => lock.map_or(Guard::None, |lock| super::locks::watched(&lock)),
        Event::Pause
        | Event::Resume
        | Event::Postpone(_)
        | Event::Cancel
        | Event::Discard
        | Event::Due
        | Event::Expire
        | Event::Occur { .. }
        | Event::Reschedule { .. }
        | Event::Unhandled
        | Event::Throttle
        | Event::Delete => Guard::None,
    }
}

fn at(fixture: &Fixture) -> At {
    At {
        now: fixture.store.now(),
        commit: fixture.ids.commit(),
    }
}

/// In an hour.
fn hence(fixture: &Fixture) -> Timestamp {
    fixture
        .store
        .now()
        .saturating_add(Duration::from_secs(3_600))
}

/// The newest operation in a state, from this id on (inclusive) backwards.
async fn newest_from(fixture: &Fixture, id: OperationId, state: State) -> Option<OperationId> {
    let filter = Filter {
        state: Some(state),
        ..Filter::default()
    };
    let above = u128::from_be_bytes(*id.as_bytes()) + 1;
    let mut before = OperationId::from_bytes(above.to_be_bytes());
    loop {
        let page = fixture.store.list(&filter, before, 1).await.expect("list");
        if let Some(found) = page.operations.first() {
            return Some(found.id);
        }
        before = Some(page.next?);
    }
}
