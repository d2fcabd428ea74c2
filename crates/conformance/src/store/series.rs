//! Series: each time makes one occurrence, in the transaction that moves the
//! series on.

use std::time::Duration;

use drumline_backend::store::{Committed, Created, Guard, NewOperation, Transacted};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Event, Header, OperationId, Status, Timestamp};

use super::commit::commit;
use super::ends::ended;
use crate::StoreHarness;
use crate::fixtures::{Fixture, independent, of_token};

/// A series comes due like every Suspended operation, and holds back no other.
pub async fn a_series_is_due_and_in_no_chain(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let later = fixture
        .store
        .now()
        .saturating_add(Duration::from_secs(3_600));
    let waits = fixture.prepare_series(of_token("a"), Some(later));
    let due = fixture.prepare_series(of_token("a"), Some(past()));
    let all = fixture.store_all(vec![waits, due]).await;
    assert!(all.iter().all(|fresh| fresh.offer.is_none()));
    let partition = fixture.partition_of("a");
    let found = fixture.store.due(partition, 10).await.expect("due");
    assert_eq!(found, [all[1].id]);
    assert!(fixture.create(of_token("a")).await.offer.is_some());
}

/// The occurrence is created and the series waits for its next time, at once.
pub async fn a_time_of_a_series_makes_an_occurrence(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let series = fixture.prepare_series(of_token("a"), Some(past()));
    let series = fixture.store_new(series).await;
    let first = fixture.prepare(of_token("a"));
    let next = fixture
        .store
        .now()
        .saturating_add(Duration::from_secs(3_600));
    let answer = occur(&fixture, series.id, &series.header, &first, Some(next)).await;
    let Transacted::Done { created, .. } = answer else {
        panic!("expected it to be made: {answer:?}");
    };
    assert!(
        matches!(created.as_slice(), [Created::New { offer: Some(_), .. }]),
        "{created:?}"
    );
    let header = fixture.read(series.id).await.header;
    assert_eq!(header.postpone_until, Some(next));
    let recurrence = header.recurrence.expect("it recurs");
    assert_eq!(recurrence.last, Some(first.id));
    let due = fixture.store.due(series.id.partition(), 10).await;
    assert!(due.expect("due").is_empty());
    fixture.run(first.id).await;
}

/// Several managers see the same time: one occurrence is made.
pub async fn of_racing_managers_one_makes_the_occurrence(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    for _ in 0..10 {
        let series = fixture.prepare_series(independent(), Some(past()));
        let series = fixture.store_new(series).await;
        let next = fixture
            .store
            .now()
            .saturating_add(Duration::from_secs(3_600));
        let (mine, theirs) = (fixture.prepare(independent()), other.prepare(independent()));
        let (one, two) = tokio::join!(
            occur(&fixture, series.id, &series.header, &mine, Some(next)),
            occur(&other, series.id, &series.header, &theirs, Some(next)),
        );
        let mut made = Vec::new();
        for (answer, new) in [(one, &mine), (two, &theirs)] {
            match answer {
                Transacted::Done { .. } => made.push(new.id),
                Transacted::Refused { commit, answer } => {
                    assert_eq!(commit, 0);
                    assert!(matches!(answer, Committed::Conflict(_)), "{answer:?}");
                    let found = fixture.store.get(&[new.id]).await.expect("get");
                    assert_eq!(found, [None], "the loser's occurrence is not there");
                }
                Transacted::Spread => panic!("both are in one partition"),
            }
        }
        let header = fixture.read(series.id).await.header;
        let last = header.recurrence.and_then(|recurrence| recurrence.last);
        assert_eq!(made, Vec::from_iter(last));
    }
}

/// A paused series is not due; a rescheduled one is again.
pub async fn a_series_is_paused_and_goes_on(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let series = fixture.prepare_series(independent(), Some(past()));
    let series = fixture.store_new(series).await;
    let (paused, _) = fixture.client(series.id, Event::Pause).await;
    let due = async || {
        let found = fixture.store.due(series.id.partition(), 10).await;
        found.expect("due")
    };
    assert!(due().await.is_empty());
    let recurrence = paused.recurrence.expect("it recurs");
    let go_on = Event::Reschedule {
        recurrence,
        next: Some(past()),
    };
    fixture.client(series.id, go_on).await;
    assert_eq!(due().await, [series.id]);
}

/// After its last time a series is Succeeded, and its last occurrence runs.
pub async fn a_series_ends_with_its_last_time(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let series = fixture.prepare_series(independent(), Some(past()));
    let series = fixture.store_new(series).await;
    let last = fixture.prepare(independent());
    let answer = occur(&fixture, series.id, &series.header, &last, None).await;
    assert!(matches!(answer, Transacted::Done { .. }), "{answer:?}");
    let header = fixture.read(series.id).await.header;
    assert_eq!(header.status, Status::Succeeded);
    let found = ended(&fixture, series.id.partition(), EndClass::Succeeded).await;
    assert_eq!(found, [series.id]);
    fixture.run(last.id).await;
}

/// A time that has come.
const fn past() -> Timestamp {
    Timestamp::from_millis(1)
}

/// Does a manager's work for a series that is due.
pub(super) async fn occur(
    fixture: &Fixture,
    series: OperationId,
    seen: &Header,
    occurrence: &NewOperation,
    next: Option<Timestamp>,
) -> Transacted {
    let event = Event::Occur {
        last: Some(occurrence.id),
        next,
    };
    let moves_on = commit(fixture, series, seen, event, Guard::None);
    let creates = vec![occurrence.clone()];
    let answer = fixture.store.transact(creates, vec![moves_on]).await;
    answer.expect("transact")
}
