//! Large operations: an answer holds a bounded number of bytes, and what it leaves
//! out can be read.

use std::time::Duration;

use drumline_backend::Ids;
use drumline_backend::store::{
    ALONG_BYTES, ANSWER_BYTES, Commit, Committed, Created, Filter, OutboxLook, Page, ReportParts,
    Summary,
};
use drumline_protocol::{Event, Operation, OperationId, Partition, Report};

use super::commit::{commit, commit_done};
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, Fresh, claim_event, independent, of_token};

/// The sizes of data: none, within a record, and over all limits of answers.
const SIZES: [usize; 5] = [0, 100, 4 << 10, 100_000, ANSWER_BYTES + 1];

/// A summary has everything but data and report, whatever their sizes.
pub async fn a_summary_leaves_out_data_and_report(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut ids = Vec::new();
    for size in SIZES {
        let fresh = fixture.create(with_data(independent(), size)).await;
        write_report(&fixture, fresh.id, size).await;
        ids.push(fresh.id);
    }
    let unknown = unknown(&fixture.ids);
    ids.insert(2, unknown);
    let summaries = fixture.store.summaries(&ids).await.expect("summaries");
    assert_eq!(summaries.len(), ids.len(), "an answer for each");
    for (id, summary) in ids.into_iter().zip(summaries) {
        if id == unknown {
            assert_eq!(summary, None);
            continue;
        }
        let summary = summary.expect("it is there");
        let whole = fixture.read(id).await;
        assert_eq!(summary.body.data, None);
        assert_eq!(summary, Summary::of(&whole));
        let offer = drumline_protocol::message::Offer::of(&whole);
        assert_eq!(summary.offer(), offer, "all that an offer needs");
    }
}

/// Operations that take several answers come back as they were given, in the
/// order in which they were asked for.
pub async fn large_operations_are_read_whole(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut expected = Vec::new();
    for number in 0..24_u16 {
        let size = SIZES[usize::from(number) % SIZES.len()];
        let mut draft = with_data(independent(), size);
        draft.partition = Partition::new(number % 4);
        let new = fixture.prepare(draft);
        let fresh = fixture.store_new(new.clone()).await;
        expected.push(Some((new, fresh.sequence)));
    }
    expected.insert(7, None);
    let ids: Vec<OperationId> = expected
        .iter()
        .map(|one| match one {
            Some((new, _)) => new.id,
            None => unknown(&fixture.ids),
        })
        .collect();
    let found = fixture.store.get(&ids).await.expect("get");
    assert_eq!(found.len(), expected.len(), "an answer for each");
    for (found, expected) in found.into_iter().zip(expected) {
        let expected = expected.map(|(new, sequence)| Operation {
            id: new.id,
            header: new.header,
            body: new.body,
            report: Report::default(),
            sequence,
        });
        assert!(found == expected, "{found:?}");
    }
}

/// Claims of one call bring records along as long as there is room for them. All
/// of them are made, and what is left out can be read.
pub async fn claims_bring_what_their_answer_has_room_for(harness: &dyn StoreHarness) {
    // All together have more than an answer has room for.
    const SMALL: usize = 7_000;
    let fixture = Fixture::new(harness).await;
    let mut fresh = Vec::new();
    let sizes = [SMALL; ALONG_BYTES / SMALL + 5];
    for size in sizes.into_iter().chain([ANSWER_BYTES, 100]) {
        fresh.push(fixture.create(with_data(independent(), size)).await);
    }
    let claims = fresh.iter().map(|fresh| claim(&fixture, fresh)).collect();
    let answers = fixture.store.commit(claims).await.expect("commit");
    let mut along = 0;
    for (fresh, answer) in fresh.iter().zip(answers) {
        let Committed::Done(done) = answer else {
            panic!("expected a claim: {answer:?}");
        };
        assert!(done.fence.is_some());
        let whole = fixture.read(fresh.id).await;
        if let Some(record) = done.record {
            along += record.body.data_bytes();
            assert!(record.body == whole.body && record.report == whole.report);
            assert_eq!(record.sequence, whole.sequence);
        }
    }
    assert!(along <= ALONG_BYTES, "{along}");
    assert!(along > ALONG_BYTES / 2, "small ones come along: {along}");
}

/// A checkpoint that is too large for the answer of a claim is read by itself, and a
/// small one may be.
pub async fn a_large_report_is_read_behind_its_claim(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for (size, has_room) in [(0, true), (1_000, true), (ALONG_BYTES + 1, false)] {
        let fresh = fixture.create(independent()).await;
        let report = write_report(&fixture, fresh.id, size).await;
        let header = fixture.read(fresh.id).await.header;
        let mut claim = commit(&fixture, fresh.id, &header, claim_event(), fixture.taking());
        claim.want_record = true;
        for _ in ["once", "again"] {
            let done = commit_done(&fixture, claim.clone()).await;
            assert!(done.fence.is_some());
            assert!(has_room || done.record.is_none(), "{size}");
            assert!(size > 0 || done.record.is_some(), "no checkpoint");
            if let Some(record) = done.record {
                assert_eq!(record.report, report);
            }
        }
        assert!(fixture.read(fresh.id).await.report == report);
    }
}

/// The next head of a chain comes with its record, if that is small.
pub async fn a_promoted_head_comes_along_if_it_is_small(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let small = fixture.create(with_data(of_token("a"), 100)).await;
    let large = with_data(of_token("a"), ALONG_BYTES + 1);
    let large = fixture.create(large).await;
    for (id, next, comes_along) in [(first.id, &small, true), (small.id, &large, false)] {
        let promoted = fixture.run(id).await.promoted.expect("the next head");
        let whole = fixture.read(next.id).await;
        assert_eq!(promoted.operation, Summary::of(&whole));
        assert_eq!(promoted.record.is_some(), comes_along);
        if let Some(record) = promoted.record {
            assert_eq!(record.body, whole.body);
            assert_eq!(record.report, whole.report);
            assert_eq!(record.sequence, next.sequence);
        }
    }
}

/// A relay gets all entries at once, however large their operations are.
pub async fn entries_of_the_outbox_are_summaries(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut expected = Vec::new();
    for _ in 0..4 {
        let large = with_data(independent(), ANSWER_BYTES);
        expected.push(fixture.create(large).await.id);
    }
    let partition = Partition::new(0);
    let look = OutboxLook::oldest(Duration::ZERO, 100);
    let page = fixture.store.outbox_entries(partition, &look).await;
    let entries = page.expect("the outbox").into_entries();
    let found: Vec<OperationId> = entries.iter().map(|entry| entry.operation.id).collect();
    assert_eq!(found, expected);
    for entry in entries {
        assert!(entry.record.is_none());
        assert_eq!(entry.operation.body.data, None);
        assert_eq!(entry.operation.body.message_name, "DoIt");
    }
}

/// The answer to a create whose id is taken has the first operation, whatever its
/// size.
pub async fn another_create_of_a_large_operation_gets_it_whole(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut again = Vec::new();
    for size in SIZES {
        let mut new = fixture.prepare(with_data(independent(), size));
        fixture.store_new(new.clone()).await;
        new.header.commit = fixture.ids.commit();
        new.body.data = None;
        again.push(new);
    }
    let ids: Vec<OperationId> = again.iter().map(|new| new.id).collect();
    let answers = fixture.store.create(again).await.expect("create");
    for (id, answer) in ids.into_iter().zip(answers) {
        let Created::Exists(found) = answer else {
            panic!("expected the first one: {answer:?}");
        };
        assert!(*found == fixture.read(id).await, "{id}");
    }
}

/// A page of large operations is short. All pages together show each once.
pub async fn a_page_ends_when_its_operations_are_large(harness: &dyn StoreHarness) {
    let (fixture, expected) = many_large(harness).await;
    let (mut found, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let page: Page = fixture
            .store
            .list(&Filter::default(), cursor, 100)
            .await
            .expect("list");
        let bytes: usize = page
            .operations
            .iter()
            .map(|one| one.body.data_bytes())
            .sum();
        assert!(bytes <= 4 * ANSWER_BYTES, "{bytes}");
        found.extend(page.operations.into_iter().map(|operation| operation.id));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(pages > 1);
    assert_eq!(found, expected);
}

/// Summaries do not shorten a page.
pub async fn a_page_of_summaries_is_full_however_large_its_operations_are(
    harness: &dyn StoreHarness,
) {
    let (fixture, expected) = many_large(harness).await;
    let page = fixture
        .store
        .list_summaries(&Filter::default(), None, 100)
        .await
        .expect("list");
    assert_eq!(page.next, None);
    let ids: Vec<OperationId> = page.operations.iter().map(|one| one.id).collect();
    assert_eq!(ids, expected);
    for summary in page.operations {
        let whole = fixture.read(summary.id).await;
        assert_eq!(summary, Summary::of(&whole));
    }
    let first = fixture
        .store
        .list_summaries(&Filter::default(), None, 2)
        .await
        .expect("list");
    assert_eq!(first.operations.len(), 2);
    assert_eq!(first.next, expected.get(1).copied());
}

/// Large operations, newest first.
async fn many_large(harness: &dyn StoreHarness) -> (Fixture, Vec<OperationId>) {
    let fixture = Fixture::new(harness).await;
    let mut ids = Vec::new();
    for number in 0..8 {
        let mut draft = with_data(independent(), ANSWER_BYTES / 2 + 1);
        draft.partition = Partition::new(number % 4);
        ids.push(fixture.create(draft).await.id);
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    (fixture, ids)
}

fn with_data(draft: Draft, bytes: usize) -> Draft {
    Draft {
        data: (bytes > 0).then(|| text(bytes)),
        ..draft
    }
}

fn text(bytes: usize) -> String {
    // A string of JSON, which is what data are.
    format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)))
}

/// Leaves an operation Ready that has this checkpoint.
async fn write_report(fixture: &Fixture, id: OperationId, bytes: usize) -> Report {
    let report = Report {
        checkpoint: (bytes > 0).then(|| text(bytes)),
        ..Report::default()
    };
    let fence = fixture.claim(id).await;
    let written = fixture
        .store
        .report(id, fixture.holding(fence), &report, ReportParts::All)
        .await;
    assert!(written.expect("report"));
    let header = fixture.read(id).await.header;
    let guard = drumline_backend::store::Guard::Holder(fixture.holding(fence));
    let mut release = commit(fixture, id, &header, Event::Release, guard);
    release.report = None;
    commit_done(fixture, release).await;
    report
}

fn claim(fixture: &Fixture, fresh: &Fresh) -> Commit {
    let (event, guard) = (claim_event(), fixture.taking());
    let mut claim = commit(fixture, fresh.id, &fresh.header, event, guard);
    claim.want_record = true;
    claim
}

fn unknown(ids: &Ids) -> OperationId {
    ids.operation(
        drumline_protocol::Timestamp::from_millis(1),
        Partition::new(0),
    )
}
