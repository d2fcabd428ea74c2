//! Reports of holders, and records of any size.

use std::time::Duration;

use drumline_backend::store::{Created, Filter, Guard, NewOperation, OutboxLook, ReportParts};
use drumline_protocol::{Event, Fault, Fence, OperationId, Progress, Report, Status, limits};

use super::commit::{commit, commit_done};
use crate::StoreHarness;
use crate::fixtures::{Fixture, claim_event, fault, independent, of_token};

/// Bytes of payloads and reports, from nothing to as much as is accepted.
const SIZES: [usize; 8] = [0, 200, 700, 5_000, 8_100, 8_300, 70_000, 1 << 20];

/// The payload up to which an operation without a report comes along.
const SMALL: usize = 5_000;

/// Progress is written often and leaves a checkpoint alone.
pub async fn progress_leaves_the_checkpoint_alone(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let fence = fixture.claim(id).await;
    for size in SIZES {
        let mut report = Report {
            progress: progress(1, "so far"),
            checkpoint: Some(text(size)),
            ..Report::default()
        };
        write(&fixture, id, fence, &report, ReportParts::All).await;
        assert_eq!(fixture.read(id).await.report, report, "{size}");
        let stored = report.checkpoint.take();
        for percent in [2, 3] {
            report.progress = progress(percent, "further");
            write(&fixture, id, fence, &report, ReportParts::AllButCheckpoint).await;
            let read = fixture.read(id).await.report;
            assert_eq!(read.checkpoint, stored, "{size}");
            assert_eq!(read.progress, report.progress, "{size}");
        }
        write(&fixture, id, fence, &report, ReportParts::All).await;
        assert_eq!(fixture.read(id).await.report, report, "{size}: removed");
    }
}

/// A report grows and shrinks, and whatever has changed the header meanwhile, the
/// last one is read.
pub async fn a_report_of_any_size_is_read_as_it_was_written(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    for size in SIZES.into_iter().chain(SIZES.into_iter().rev()) {
        let fence = fixture.claim(id).await;
        let mut report = Report {
            progress: progress(50, &"p".repeat(size.min(limits::MESSAGE_CHARS))),
            ..Report::default()
        };
        write(&fixture, id, fence, &report, ReportParts::All).await;
        assert_eq!(fixture.read(id).await.report, report, "{size}");
        report.result = Some(text(size));
        report.fault = Some(Fault {
            message: "f".repeat(size % 900),
            ..fault()
        });
        let before = fixture.read(id).await.header;
        let mut release = commit(
            &fixture,
            id,
            &before,
            Event::Release,
            Guard::Holder(fixture.holding(fence)),
        );
        release.report = Some(report.clone());
        commit_done(&fixture, release).await;
        assert_eq!(fixture.read(id).await.report, report, "{size}");
        fixture.client(id, Event::Pause).await;
        fixture.client(id, Event::Resume).await;
        let read = fixture.read(id).await;
        assert_eq!(read.report, report, "{size}");
        assert_eq!(read.header.status, Status::WaitingForResources);
    }
    fixture.client(id, Event::Cancel).await;
    fixture.client(id, Event::Delete).await;
    assert_eq!(fixture.store.get(&[id]).await.expect("get"), [None]);
}

/// A host of any length fits, and whatever is behind the header stays.
pub async fn a_header_of_any_length_is_read_as_it_was_written(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for size in [0, 700, 9_000] {
        let mut new = fixture.prepare(independent());
        new.body.data = Some(text(size));
        let id = fixture.store_new(new.clone()).await.id;
        for length in [1, 60, 256, 2] {
            let header = fixture.read(id).await.header;
            let event = Event::Claim {
                host: "h".repeat(length),
            };
            let mut claim = commit(&fixture, id, &header, event, fixture.taking());
            claim.want_record = true;
            let expected = claim.header.clone();
            let done = commit_done(&fixture, claim).await;
            // The report may be in a place of its own, and then nothing comes along.
            if let Some(record) = done.record {
                assert_eq!(record.body, new.body, "{size} {length}");
            }
            let fence = done.fence.expect("a fence");
            let read = fixture.read(id).await;
            assert_eq!((&read.header, &read.body), (&expected, &new.body));
            let recorded = fixture.store.history(id).await.expect("history");
            assert_eq!(recorded.expect("it is there").header, expected);
            let report = Report {
                result: Some(text(length)),
                ..Report::default()
            };
            let mut release = commit(
                &fixture,
                id,
                &expected,
                Event::Release,
                Guard::Holder(fixture.holding(fence)),
            );
            release.report = Some(report.clone());
            commit_done(&fixture, release).await;
            let read = fixture.read(id).await;
            assert_eq!((read.report, read.body), (report, new.body.clone()));
        }
    }
}

/// An operation with a payload of any size is given out as it was stored: whole, or
/// its summary where that is enough. A small one comes along with its claim.
pub async fn a_payload_of_any_size_comes_along(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for size in SIZES {
        let first = stored(&fixture, size).await;
        let second = stored(&fixture, size).await;
        let partition = first.id.partition();
        let look = OutboxLook::oldest(Duration::ZERO, 100);
        let page = fixture.store.outbox_entries(partition, &look).await;
        let entries = page.expect("entries").into_entries();
        let mut entries = entries.iter().map(|entry| &entry.operation);
        let entry = entries.find(|operation| operation.id == first.id);
        let summary = first.body.without_data();
        assert_eq!(entry.expect("an entry").body, summary, "{size}");

        let mut again = first.clone();
        again.header.commit = fixture.ids.commit();
        let answers = fixture.store.create(vec![again]).await.expect("create");
        let [Created::Exists(found)] = answers.as_slice() else {
            panic!("expected the one that exists: {answers:?}");
        };
        assert_eq!(found.body, first.body, "{size}");

        let mut claim = commit(
            &fixture,
            first.id,
            &first.header,
            claim_event(),
            fixture.taking(),
        );
        claim.want_record = true;
        let done = commit_done(&fixture, claim).await;
        assert!(done.record.is_some() || size > SMALL, "{size}");
        if let Some(record) = done.record {
            assert_eq!(record.body, first.body, "{size}");
        }
        let read = fixture.read(first.id).await;
        assert_eq!(read.body, first.body, "{size}");

        let fence = done.fence.expect("a fence");
        let done = fixture.holder(first.id, fence, Event::Succeed).await;
        let promoted = done.promoted.expect("the second");
        let summary = second.body.without_data();
        assert_eq!(promoted.operation.body, summary, "{size}");
        assert!(promoted.record.is_some() || size > SMALL, "{size}");
        if let Some(record) = promoted.record {
            assert_eq!(record.body, second.body, "{size}");
        }
        assert_eq!(promoted.operation.header, second.header, "{size}");

        let filter = Filter {
            message_name: Some(first.body.message_name.clone()),
            ..Filter::default()
        };
        let page = fixture.store.list(&filter, None, 2).await.expect("list");
        let bodies: Vec<_> = page.operations.iter().map(|one| &one.body).collect();
        assert_eq!(bodies, [&second.body, &first.body], "{size}");
        fixture.client(second.id, Event::Cancel).await;
    }
}

async fn stored(fixture: &Fixture, size: usize) -> NewOperation {
    let mut new = fixture.prepare(of_token("a"));
    new.body.data = Some(text(size));
    fixture.store_new(new.clone()).await;
    new
}

async fn write(
    fixture: &Fixture,
    id: OperationId,
    fence: Fence,
    report: &Report,
    parts: ReportParts,
) {
    let written = fixture
        .store
        .report(id, fixture.holding(fence), report, parts)
        .await;
    assert!(written.expect("report"), "the holder writes it");
}

fn progress(percent: u8, text: &str) -> Option<Progress> {
    Some(Progress {
        percent,
        text: text.to_owned(),
    })
}

/// JSON text of about this size.
fn text(size: usize) -> String {
    format!("\"{}\"", "x".repeat(size))
}
