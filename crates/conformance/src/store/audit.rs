//! The audit stream: order, places, and its end.

use drumline_backend::store::{
    AUDIT_ENTRIES, AUDIT_ENTRY_BYTES, AUDIT_PAGE, AuditEntry, Error, Store,
};
use drumline_protocol::CommitId;

use crate::StoreHarness;
use crate::fixtures::Fixture;

fn texts(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}

async fn append(store: &dyn Store, batch: u64, entries: &[&str]) {
    let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
    let appended = store.append_audit(CommitId(batch), &entries).await;
    appended.expect("append_audit");
}

/// Every process reads the entries of all, newest first, and goes on from any place.
pub async fn audit_entries_are_read_newest_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let none = other.store.audit_before(None, 10).await;
    assert_eq!(none.expect("audit_before"), []);
    append(&*fixture.store, 1, &["1", "2"]).await;
    append(&*other.store, 2, &["3", "{\"reason\":\"\u{fc}ber\"}"]).await;
    append(&*fixture.store, 3, &[]).await;
    let all = other.store.audit_before(None, 10).await;
    let all = all.expect("audit_before");
    assert_eq!(texts(&all), ["{\"reason\":\"\u{fc}ber\"}", "3", "2", "1"]);
    assert!(all.is_sorted_by(|one, next| one.place > next.place));
    let mut place = None;
    for expected in &all {
        let one = fixture.store.audit_before(place, 1).await;
        let one = one.expect("audit_before");
        assert_eq!(one.as_slice(), std::slice::from_ref(expected));
        place = Some(expected.place);
    }
    let end = fixture.store.audit_before(place, 10).await;
    assert_eq!(end.expect("audit_before"), []);
    let zero = fixture.store.audit_before(None, 0).await;
    assert_eq!(zero.expect("audit_before"), []);
}

/// A batch that is repeated after an unclear answer is in the stream once.
pub async fn a_repeated_batch_of_audit_entries_is_added_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for _ in 0..2 {
        append(&*fixture.store, 1, &["1"]).await;
    }
    append(&*fixture.store, 2, &["1"]).await;
    let all = fixture.store.audit_before(None, 10).await;
    assert_eq!(texts(&all.expect("audit_before")), ["1", "1"]);
}

/// The stream has an end in entries and in bytes.
pub async fn the_oldest_audit_entries_leave(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let long = vec!["x".repeat(AUDIT_ENTRY_BYTES + 1)];
    let refused = fixture.store.append_audit(CommitId(0), &long).await;
    assert!(matches!(refused, Err(Error::Unfit(_))), "{refused:?}");
    let numbers: Vec<String> = (1..=AUDIT_ENTRIES + 7).map(|at| at.to_string()).collect();
    for (at, some) in numbers.chunks(500).enumerate() {
        let at = u64::try_from(at).expect("small");
        let appended = fixture.store.append_audit(CommitId(1 + at), some).await;
        appended.expect("append_audit");
    }
    let mut place = None;
    let mut found = Vec::new();
    loop {
        let some = fixture.store.audit_before(place, usize::MAX).await;
        let some = some.expect("audit_before");
        assert!(some.len() <= AUDIT_PAGE, "{}", some.len());
        let Some(last) = some.last() else { break };
        place = Some(last.place);
        found.extend(some.into_iter().map(|entry| entry.text));
    }
    assert_eq!(found.len(), AUDIT_ENTRIES);
    assert_eq!(found.last().map(String::as_str), Some("8"));
}
