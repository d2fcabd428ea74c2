//! Usage: the counts of an organization, as operations come, change and go.

use drumline_backend::store::{Guard, Holding, OPERATION_BYTES, ReportParts, Transacted, Usage};
use drumline_protocol::{Event, OperationId, Organization, Partition, Report};

use super::commit::commit;
use crate::StoreHarness;
use crate::fixtures::{
    Draft, Fixture, chain_key, claim_event, fault, holding, independent, of_token,
};

/// The bytes of a payload that every store keeps apart from the record.
const LARGE: usize = 20_000;
/// The bytes of a body beside its data, and of a report beside its texts, at most.
const REST: u64 = 512;

impl Fixture {
    async fn usage(&self) -> Usage {
        self.usage_of(&Organization::default()).await
    }

    async fn usage_of(&self, organization: &Organization) -> Usage {
        self.store.usage(organization).await.expect("usage")
    }

    /// The bytes of all Completed operations.
    async fn completed(&self) -> u64 {
        let all: Vec<Partition> = self.store.partitions().all().collect();
        let bytes = self.store.completed_bytes(&all).await;
        bytes.expect("completed_bytes").into_iter().sum()
    }

    async fn write(&self, id: OperationId, holding: Holding, text: usize) {
        let report = Report {
            checkpoint: Some("c".repeat(text)),
            result: Some("r".repeat(text)),
            ..Report::default()
        };
        let written = self.store.report(id, holding, &report, ReportParts::All);
        assert!(written.await.expect("report"));
    }
}

fn with_data(bytes: usize) -> Draft {
    Draft {
        data: Some("d".repeat(bytes)),
        ..independent()
    }
}

/// Asserts that a count of bytes is this number, and a little more for each of so many
/// operations.
fn assert_about(found: u64, least: usize, operations: u64) {
    let least = u64::try_from(least).expect("small") + operations * OPERATION_BYTES;
    assert!(
        (least..=least + operations * REST).contains(&found),
        "{found} bytes, and at least {least} were expected"
    );
}

/// Operations of all partitions are counted for their organization, with their bytes.
pub async fn what_an_organization_takes_is_counted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    assert_eq!(fixture.usage().await, Usage::default());
    let mut ids = Vec::new();
    for (at, bytes) in [0, 700, LARGE].into_iter().enumerate() {
        let draft = Draft {
            partition: Partition::new(u16::try_from(at).expect("small")),
            ..with_data(bytes)
        };
        ids.push(fixture.create(draft).await.id);
    }
    let usage = fixture.usage().await;
    assert_eq!((usage.open, usage.series, usage.tokens), (3, 0, 0));
    assert!((2..=3).contains(&usage.created), "{usage:?}");
    assert_about(usage.bytes, 700 + LARGE, 3);
    let other = Organization("other".to_owned());
    assert_eq!(fixture.usage_of(&other).await, Usage::default());
    assert_eq!(fixture.completed().await, 0);

    for id in &ids {
        fixture.run(*id).await;
    }
    let ended = fixture.usage().await;
    assert_eq!((ended.open, ended.bytes), (0, usage.bytes));
    assert_eq!(fixture.completed().await, usage.bytes);
    for id in ids {
        fixture.client(id, Event::Delete).await;
    }
    assert_eq!(fixture.usage().await.bytes, 0);
    assert_eq!(fixture.completed().await, 0);
}

/// A repetition after an unclear answer counts nothing, a create of one id by two
/// callers neither.
pub async fn a_repeated_create_is_counted_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let new = fixture.prepare(of_token("a"));
    let mut other = new.clone();
    other.header.commit = fixture.ids.commit();
    for batch in [vec![new.clone(), new.clone()], vec![new], vec![other]] {
        fixture.store.create(batch).await.expect("create");
    }
    let usage = fixture.usage().await;
    assert_eq!((usage.open, usage.tokens), (1, 1));
    assert_about(usage.bytes, 0, 1);
}

/// Reports of the holder and of commits count, in the record and beside it.
pub async fn reports_are_counted_as_they_grow_and_shrink(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(with_data(100)).await.id;
    let fence = fixture.claim(id).await;
    for bytes in [10, 60, LARGE, 3_000, 60, 0] {
        fixture.write(id, fixture.holding(fence), bytes).await;
        assert_about(fixture.usage().await.bytes, 100 + 2 * bytes, 1);
    }
    fixture.write(id, fixture.holding(fence), 5_000).await;
    let header = fixture.read(id).await.header;
    let guard = Guard::Holder(fixture.holding(fence));
    let mut end = commit(&fixture, id, &header, Event::Succeed, guard);
    end.report = Some(Report {
        result: Some("r".repeat(LARGE)),
        ..Report::default()
    });
    fixture.store.commit(vec![end]).await.expect("commit");
    let usage = fixture.usage().await;
    assert_about(usage.bytes, 100 + LARGE, 1);
    assert_eq!(fixture.completed().await, usage.bytes);
}

/// A chain is one token, however many operations are in it, and a chain that is
/// stopped still is one.
pub async fn a_token_counts_while_its_chain_has_operations(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await.id;
    let second = fixture.create(of_token("a")).await.id;
    let held = fixture.create(holding("b")).await.id;
    assert_eq!(fixture.usage().await.tokens, 2);
    let chains = ["a", "b", "c"].map(|token| chain_key(&Organization::default(), token));
    let lengths = fixture.store.chain_lengths(&chains).await;
    assert_eq!(lengths.expect("chain_lengths"), [2, 1, 0]);

    fixture.client(second, Event::Cancel).await;
    assert_eq!(fixture.usage().await.tokens, 2);
    fixture.run(first).await;
    assert_eq!(fixture.usage().await.tokens, 1);
    let fence = fixture.claim(held).await;
    fixture.holder(held, fence, Event::Fail(fault())).await;
    assert_eq!(
        fixture.usage().await.tokens,
        1,
        "the chain waits for a person"
    );
    fixture.create(of_token("a")).await;
    assert_eq!(fixture.usage().await.tokens, 2);
}

/// A series is open, and one that was cancelled is not.
pub async fn a_series_counts_until_it_ends(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.store.now();
    let series = fixture.prepare_series(independent(), Some(first));
    let id = fixture.store_new(series).await.id;
    let usage = fixture.usage().await;
    assert_eq!((usage.open, usage.series), (1, 1));
    fixture.client(id, Event::Cancel).await;
    let usage = fixture.usage().await;
    assert_eq!((usage.open, usage.series), (0, 0));
}

/// A refused transaction counts nothing.
pub async fn a_transaction_counts_if_it_is_made(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let running = fixture.create(independent()).await;
    let claim = commit(
        &fixture,
        running.id,
        &running.header,
        claim_event(),
        fixture.taking(),
    );
    let fresh = fixture.prepare(fixture.together(of_token("a")));
    let mut missing = claim.clone();
    missing.id = fixture.prepare(independent()).id;
    let refused = fixture.store.transact(vec![fresh.clone()], vec![missing]);
    let refused = refused.await.expect("transact");
    assert!(matches!(refused, Transacted::Refused { .. }), "{refused:?}");
    assert_eq!(fixture.usage().await.open, 1);
    for _ in 0..2 {
        let made = fixture
            .store
            .transact(vec![fresh.clone()], vec![claim.clone()]);
        let made = made.await.expect("transact");
        assert!(matches!(made, Transacted::Done { .. }), "{made:?}");
        let usage = fixture.usage().await;
        assert_eq!((usage.open, usage.tokens), (2, 1));
    }
}

/// Whatever has happened to operations, nothing of them is counted once they are gone.
pub async fn of_operations_that_are_gone_nothing_is_counted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut ids = Vec::new();
    for (at, bytes) in [0, 60, 3_000, LARGE].into_iter().enumerate() {
        let token = Draft {
            data: Some("d".repeat(bytes)),
            ..of_token(&format!("{at}"))
        };
        for draft in [token, with_data(bytes)] {
            let id = fixture.create(draft).await.id;
            let fence = fixture.claim(id).await;
            fixture.write(id, fixture.holding(fence), bytes).await;
            let fails = Event::Fail(fault());
            let end = if at % 2 == 0 { Event::Succeed } else { fails };
            fixture.holder(id, fence, end).await;
            ids.push(id);
        }
        let cancelled = fixture.create(with_data(bytes)).await.id;
        fixture.client(cancelled, Event::Cancel).await;
        ids.push(cancelled);
    }
    let usage = fixture.usage().await;
    assert_eq!((usage.open, usage.tokens), (0, 0));
    assert_eq!(fixture.completed().await, usage.bytes);
    for id in ids {
        fixture.client(id, Event::Delete).await;
    }
    assert_eq!(fixture.usage().await.bytes, 0);
    assert_eq!(fixture.completed().await, 0);
}
