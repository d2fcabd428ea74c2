//! Idempotency keys: of all requests with one key, one decides the id.

use std::time::Duration;

use drumline_backend::store::Reservation;
use tokio::task::JoinSet;

use crate::StoreHarness;
use crate::fixtures::{Fixture, independent};
use crate::wait::eventually;

/// A span that is later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// Requests race for a key through several managers: all get the same answer.
pub async fn racing_reservations_agree(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut tasks = JoinSet::new();
    for number in 0..10 {
        let manager = fixture.another(harness).await;
        tasks.spawn(async move {
            let mine = reservation(&manager, number);
            let held = manager.store.reserve([7; 16], mine, HOUR).await;
            (mine, held.expect("reserve"))
        });
    }
    let answers = tasks.join_all().await;
    let (_, held) = answers[0];
    assert!(answers.iter().all(|(_, answer)| *answer == held));
    let winners = answers.iter().filter(|(mine, held)| mine == held);
    assert_eq!(winners.count(), 1);
}

/// A repetition gets the first reservation, another key its own.
pub async fn a_key_stays_reserved(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (first, second) = (reservation(&fixture, 1), reservation(&fixture, 2));
    let reserve = async |key, mine| {
        let held = fixture.store.reserve(key, mine, HOUR).await;
        held.expect("reserve")
    };
    assert_eq!(reserve([0; 16], first).await, first);
    assert_eq!(reserve([0; 16], second).await, first);
    assert_eq!(reserve([1; 16], second).await, second);
    let (id, content) = (first.id, second.content);
    let mixed = Reservation { id, content };
    assert_eq!(reserve([0; 16], mixed).await, first, "as it was reserved");
}

/// A reservation is kept for the time that was asked for, not for ever.
pub async fn a_reservation_ends(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (first, second) = (reservation(&fixture, 1), reservation(&fixture, 2));
    let keep = Duration::from_millis(100);
    let held = fixture.store.reserve([0; 16], first, keep).await;
    assert_eq!(held.expect("reserve"), first);
    eventually("it ends", async || {
        let held = fixture.store.reserve([0; 16], second, keep).await;
        (held.expect("reserve") == second).then_some(())
    })
    .await;
}

fn reservation(fixture: &Fixture, content: u8) -> Reservation {
    Reservation {
        id: fixture.prepare(independent()).id,
        content: [content; 16],
    }
}
