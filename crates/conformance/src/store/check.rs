//! Check: a store that its own verbs have written has no fault, whatever has happened to
//! it, and however small the steps are.

use drumline_backend::Store;
use drumline_backend::store::{CheckStep, Guard, Usage};
use drumline_protocol::{Event, Organization, Partition, Pause, PauseKind, PauseScope};

use crate::fixtures::{Draft, Fixture, author_of, fault, holding, independent, of_token};
use crate::{StoreHarness, check_all};

/// Entries in a step that looks at all of a case at once. A server may have the keys of
/// other tests.
const LARGE: usize = 5_000;

/// Asserts that a check finds nothing, and has looked at everything.
pub(crate) async fn assert_sound(store: &dyn Store, what: &str) {
    for repair in [false, true] {
        let all = store.partitions().all().collect();
        let page = check_all(store, all, LARGE, repair).await;
        assert_eq!(page.faults, [], "{what}");
        assert_eq!(page.uncounted, [], "{what}");
    }
}

/// Operations in every state, in chains and not, paused, due, held and ended.
async fn fill(fixture: &Fixture) {
    for token in ["a", "b", "c"] {
        for _ in 0..4 {
            fixture.create(of_token(token)).await;
        }
    }
    let day = std::time::Duration::from_secs(86_400);
    for draft in [
        independent(),
        Draft {
            postponed_by: Some(day),
            ..of_token("d")
        },
        Draft {
            expires_in: Some(day),
            webhook: true,
            ..independent()
        },
        Draft {
            transient: true,
            data: Some("d".repeat(20_000)),
            ..independent()
        },
    ] {
        let id = fixture.create(draft.clone()).await.id;
        if draft.postponed_by.is_none() {
            fixture.run(id).await;
            fixture.create(draft).await;
        }
    }
    let running = fixture.create(independent()).await.id;
    fixture.claim(running).await;
    let stopped = fixture.create(holding("e")).await.id;
    fixture.create(of_token("e")).await;
    let fence = fixture.claim(stopped).await;
    fixture.holder(stopped, fence, Event::Fail(fault())).await;
    let paused = fixture.create(of_token("f")).await.id;
    fixture.create(of_token("f")).await;
    fixture.client(paused, Event::Pause).await;
    let gone = fixture.create(independent()).await.id;
    fixture.client(gone, Event::Cancel).await;
    fixture.client(gone, Event::Delete).await;
    let first = fixture.store.now();
    let series = fixture.prepare_series(independent(), Some(first));
    fixture.store_new(series).await;
    let pause = Pause {
        scope: PauseScope {
            kind: PauseKind::MessageName,
            organization: Organization::default(),
            value: "Held".to_owned(),
        },
        reason: "a test".to_owned(),
        until: None,
        author: author_of(Guard::None),
        since: first,
    };
    fixture.store.set_pause(&pause).await.expect("set_pause");
    let pauses = fixture.store.pauses().await.expect("pauses");
    let all: Vec<Partition> = fixture.store.partitions().all().collect();
    let copied = fixture.store.copy_pauses(&pauses, &all).await;
    copied.expect("copy_pauses");
    for token in [None, Some("g".to_owned())] {
        let draft = Draft {
            message_name: "Held".to_owned(),
            token,
            ..independent()
        };
        fixture.create(draft).await;
    }
    for partition in all {
        let entries = fixture.outbox_entries(partition).await;
        for (id, stamp) in entries.into_iter().step_by(2) {
            fixture.confirm(id, stamp).await;
        }
    }
}

/// Nothing is found in a store that only its own verbs have written.
pub async fn a_sound_store_has_no_faults(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    assert_sound(&*fixture.store, "an empty store").await;
    fill(&fixture).await;
    assert_sound(&*fixture.store, "a store with operations").await;
}

/// Steps of any size come to the end, and to the same.
pub async fn small_steps_come_to_the_end(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    fill(&fixture).await;
    for limit in [7, 64] {
        for repair in [false, true] {
            let partitions = vec![fixture.partition_of("a"), Partition::new(0)];
            let page = check_all(&*fixture.store, partitions, limit, repair).await;
            assert_eq!(page.faults, []);
            assert_eq!(page.uncounted, []);
            assert!(page.looked_at > 0);
        }
    }
}

/// A check that repairs counts what organizations take, while operations come, change
/// their state and go between its steps.
pub async fn operations_may_change_while_they_are_counted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut running = Vec::new();
    let mut waiting = Vec::new();
    for at in 0..8 {
        let independent = fixture.create(independent()).await.id;
        let chained = of_token(if at % 2 == 0 { "a" } else { "b" });
        waiting.push(fixture.create(chained).await.id);
        running.push((independent, fixture.claim(independent).await));
    }
    let mut step = CheckStep {
        partitions: fixture.store.partitions().all().collect(),
        place: None,
        limit: 2,
        repair: true,
    };
    let mut turn = 0_usize;
    loop {
        let page = fixture.store.check_step(&step).await.expect("check_step");
        assert_eq!(page.faults, [], "in step {turn}");
        let Some(next) = page.next else { break };
        step.place = Some(next);
        turn += 1;
        // Not in each: a server has many keys to go through.
        if turn.is_multiple_of(5) {
            match turn % 3 {
                0 => {
                    fixture.create(of_token("a")).await;
                }
                1 => {
                    if let Some((id, fence)) = running.pop() {
                        fixture.holder(id, fence, Event::Succeed).await;
                        fixture.client(id, Event::Delete).await;
                    }
                }
                _ => {
                    if !waiting.is_empty() {
                        fixture.run(waiting.remove(0)).await;
                    }
                }
            }
        }
    }
    assert_sound(&*fixture.store, "afterwards").await;
    let usage = fixture.store.usage(&Organization::default()).await;
    assert_ne!(usage.expect("usage"), Usage::default());
}
