//! Series: each time makes one occurrence, in the transaction that moves the
//! series on.

use std::time::Duration;

use drumline_backend::store::{Committed, Created, Guard, NewOperation, Transacted};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Event, Header, OperationId, Status, Timestamp};

use super::commit::commit;
use super::ends::ended;
use crate::StoreHarness;
use crate::scene::{Scene, independent, of_token};

/// A series comes due like every Suspended operation, and holds back no other.
pub async fn a_series_is_due_and_in_no_chain(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let later = scene.store.now().saturating_add(Duration::from_secs(3_600));
    let waits = scene.prepare_series(of_token("a"), Some(later));
    let due = scene.prepare_series(of_token("a"), Some(past()));
    let all = scene.store_all(vec![waits, due]).await;
    assert!(all.iter().all(|fresh| fresh.offer.is_none()));
    let partition = scene.partition_of("a");
    let found = scene.store.due(partition, 10).await.expect("due");
    assert_eq!(found, [all[1].id]);
    assert!(scene.create(of_token("a")).await.offer.is_some());
}

/// The occurrence is created and the series waits for its next time, at once.
pub async fn a_time_of_a_series_makes_an_occurrence(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let series = scene.prepare_series(of_token("a"), Some(past()));
    let series = scene.store_new(series).await;
    let first = scene.prepare(of_token("a"));
    let next = scene.store.now().saturating_add(Duration::from_secs(3_600));
    let answer = occur(&scene, series.id, &series.header, &first, Some(next)).await;
    let Transacted::Done { created, .. } = answer else {
        panic!("expected it to be made: {answer:?}");
    };
    assert!(
        matches!(created.as_slice(), [Created::New { offer: Some(_), .. }]),
        "{created:?}"
    );
    let header = scene.read(series.id).await.header;
    assert_eq!(header.postpone_until, Some(next));
    let recurrence = header.recurrence.expect("it recurs");
    assert_eq!(recurrence.last, Some(first.id));
    let due = scene.store.due(series.id.partition(), 10).await;
    assert!(due.expect("due").is_empty());
    scene.run(first.id).await;
}

/// Several managers see the same time: one occurrence is made.
pub async fn of_racing_managers_one_makes_the_occurrence(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let other = scene.another(harness).await;
    for _ in 0..10 {
        let series = scene.prepare_series(independent(), Some(past()));
        let series = scene.store_new(series).await;
        let next = scene.store.now().saturating_add(Duration::from_secs(3_600));
        let (mine, theirs) = (scene.prepare(independent()), other.prepare(independent()));
        let (one, two) = tokio::join!(
            occur(&scene, series.id, &series.header, &mine, Some(next)),
            occur(&other, series.id, &series.header, &theirs, Some(next)),
        );
        let mut made = Vec::new();
        for (answer, new) in [(one, &mine), (two, &theirs)] {
            match answer {
                Transacted::Done { .. } => made.push(new.id),
                Transacted::Refused { commit, answer } => {
                    assert_eq!(commit, 0);
                    assert!(matches!(answer, Committed::Conflict(_)), "{answer:?}");
                    let found = scene.store.get(&[new.id]).await.expect("get");
                    assert_eq!(found, [None], "the loser's occurrence is not there");
                }
            }
        }
        let header = scene.read(series.id).await.header;
        let last = header.recurrence.and_then(|recurrence| recurrence.last);
        assert_eq!(made, Vec::from_iter(last));
    }
}

/// A paused series is not due; a rescheduled one is again.
pub async fn a_series_is_paused_and_goes_on(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let series = scene.prepare_series(independent(), Some(past()));
    let series = scene.store_new(series).await;
    let (paused, _) = scene.client(series.id, Event::Pause).await;
    let due = async || {
        let found = scene.store.due(series.id.partition(), 10).await;
        found.expect("due")
    };
    assert!(due().await.is_empty());
    let recurrence = paused.recurrence.expect("it recurs");
    let go_on = Event::Reschedule {
        recurrence,
        next: Some(past()),
    };
    scene.client(series.id, go_on).await;
    assert_eq!(due().await, [series.id]);
}

/// After its last time a series is Succeeded, and its last occurrence runs.
pub async fn a_series_ends_with_its_last_time(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let series = scene.prepare_series(independent(), Some(past()));
    let series = scene.store_new(series).await;
    let last = scene.prepare(independent());
    let answer = occur(&scene, series.id, &series.header, &last, None).await;
    assert!(matches!(answer, Transacted::Done { .. }), "{answer:?}");
    let header = scene.read(series.id).await.header;
    assert_eq!(header.status, Status::Succeeded);
    let found = ended(&scene, series.id.partition(), EndClass::Succeeded).await;
    assert_eq!(found, [series.id]);
    scene.run(last.id).await;
}

/// A time that has come.
const fn past() -> Timestamp {
    Timestamp::from_millis(1)
}

/// Does a manager's work for a series that is due.
async fn occur(
    scene: &Scene,
    series: OperationId,
    seen: &Header,
    occurrence: &NewOperation,
    next: Option<Timestamp>,
) -> Transacted {
    let event = Event::Occur {
        last: Some(occurrence.id),
        next,
    };
    let moves_on = commit(scene, series, seen, event, Guard::None);
    let creates = vec![occurrence.clone()];
    let answer = scene.store.transact(creates, vec![moves_on]).await;
    answer.expect("transact")
}
