use std::io::Cursor;

use drumline_backend::Backend;
use drumline_backend::store::{Neighbourhood, Store};
use drumline_backend_embedded::backend;
use drumline_protocol::history::{Author, Entry};
use drumline_protocol::transition::EventKind;
use drumline_protocol::{
    Body, ChainKey, CommitId, DependencyToken, Header, OperationId, Organization, Partition,
    PartitionCount, Pause, PauseScope, Report, Status, Timestamp,
};

use super::export::Wanted;
use super::import::Imported;
use super::line::{Carried, FORMAT, Head, Line, Lines, Totals};
use super::{export, import};

const COUNT: u16 = 4;

fn empty() -> Backend {
    backend(PartitionCount::new(COUNT).unwrap())
}

/// An operation of the first partition, in the chain of the test.
fn operation(number: u8, status: Status, change: impl FnOnce(&mut Carried)) -> Carried {
    let at = Timestamp::from_millis(1_000 + i64::from(number));
    let id = OperationId::new(at, Partition::new(1), [number; 16]);
    let mut body = Body::new("a", at);
    body.name = format!("n{number}");
    body.data = Some(format!("{{\"n\": {number}}}"));
    let mut carried = Carried {
        id,
        header: Header {
            version: 5,
            commit: CommitId(u64::from(number)),
            status,
            rules: drumline_protocol::Rules::default(),
            recurrence: None,
            holding: false,
            postpone_until: None,
            stop: None,
            starts: 1,
            released: 0,
            lost: 0,
            retry_count: 0,
            host_id: None,
            started_on: None,
            completed_on: None,
            execution_ms: 0,
            modified_on: at,
            extensions: drumline_protocol::Extensions::default(),
        },
        body,
        report: Report::default(),
        history: Vec::new(),
    };
    change(&mut carried);
    carried
}

fn in_chain(carried: &mut Carried) {
    let token = DependencyToken::try_from("t".to_owned()).expect("a token");
    carried.header.rules.chain = Some(ChainKey::new(&carried.body.organization, &token));
    carried.body.dependency_token = Some(token);
}

fn text(operations: &[Carried], pauses: &[Pause]) -> String {
    let mut lines = vec![Line::Export(Head {
        format: FORMAT,
        partitions: COUNT,
        id: None,
    })];
    lines.extend(pauses.iter().cloned().map(|one| Line::Pause(Box::new(one))));
    let carried = operations.iter().cloned();
    lines.extend(carried.map(|one| Line::Operation(Box::new(one))));
    lines.push(Line::End(Totals {
        operations: u64::try_from(operations.len()).unwrap(),
        pauses: u64::try_from(pauses.len()).unwrap(),
        left_out: 0,
    }));
    let lines = lines
        .iter()
        .map(|line| serde_json::to_string(line).unwrap());
    lines.map(|line| line + "\n").collect()
}

async fn imported(store: &dyn Store, text: &str) -> Result<Imported, String> {
    let mut lines = Lines::new(Cursor::new(text.as_bytes()));
    let head = lines.head().map_err(|failure| failure.error.to_string())?;
    let checked = import::check_partitions(store, &head);
    checked.map_err(|failure| failure.error.to_string())?;
    let imported = import::run(store, lines, &mut |_count| {}).await;
    imported.map_err(|failure| failure.error.to_string())
}

async fn exported(store: &dyn Store, wanted: &Wanted) -> String {
    let mut text = String::new();
    let mut emit = |line: &Line| {
        text.push_str(&serde_json::to_string(line).unwrap());
        text.push('\n');
        Ok(())
    };
    export::run(store, wanted, &mut emit, &mut |_count| {}, async || Ok(()))
        .await
        .unwrap();
    text
}

fn whole() -> Wanted {
    Wanted {
        organization: None,
        history: true,
        id: None,
    }
}

fn entry(version: u64) -> Entry {
    Entry {
        version,
        at: Timestamp::from_millis(1_000),
        event: EventKind::Pause,
        from: Status::WaitingForResources,
        status: Status::Waiting,
        attempt: 0,
        author: Author::Caller("jo".to_owned()),
        until: None,
        code: None,
        reason: None,
    }
}

/// A chain with a suspended head, Ready ones and a running one behind it, and others.
fn sample() -> Vec<Carried> {
    let later = Timestamp::from_millis(4_000_000_000_000);
    vec![
        operation(9, Status::Succeeded, |done| {
            in_chain(done);
            done.header.completed_on = Some(later);
            done.report.result = Some("{\"ok\": true}".to_owned());
        }),
        operation(8, Status::Failed, |failed| {
            failed.header.completed_on = Some(later);
        }),
        operation(7, Status::Waiting, |due| {
            due.header.postpone_until = Some(later);
            due.report.checkpoint = Some("{\"at\": 3}".to_owned());
            due.history = (2..=5).map(entry).collect();
        }),
        operation(6, Status::WaitingForResources, |free| {
            free.body.organization = Organization("contoso".to_owned());
        }),
        // The places in the chain are not in the order of the ids.
        operation(5, Status::Waiting, in_chain),
        operation(2, Status::WaitingForResources, in_chain),
        operation(3, Status::WaitingForResources, in_chain),
    ]
}

async fn place(store: &dyn Store, id: OperationId) -> u64 {
    let place = store.chain_place(id, Neighbourhood::NONE).await.unwrap();
    place.expect("it is in the chain").before
}

#[tokio::test]
async fn what_was_exported_is_imported_as_it_was() {
    let (first, second) = (empty(), empty());
    let pause = Pause {
        scope: PauseScope::organization(Organization("contoso".to_owned())),
        reason: "moving".to_owned(),
        until: None,
        author: Author::Caller("jo".to_owned()),
        since: Timestamp::from_millis(1_000),
    };
    let given = text(&sample(), &[pause]);
    let new = imported(&*first.store, &given).await.unwrap();
    assert_eq!((new.new, new.known, new.refused, new.pauses), (7, 0, 0, 1));
    let taken = exported(&*first.store, &whole()).await;
    imported(&*second.store, &taken).await.unwrap();
    assert_eq!(exported(&*second.store, &whole()).await, taken);
    let operations = sample();
    for store in [&*first.store, &*second.store] {
        let ids: Vec<_> = operations.iter().map(|one| one.id).collect();
        let stored = store.get(&ids).await.unwrap();
        for (stored, given) in stored.into_iter().zip(&operations) {
            let stored = stored.expect("it is there");
            assert_eq!(stored.header, given.header);
            assert_eq!(stored.body, given.body);
            assert_eq!(stored.report, given.report);
        }
        for (at, one) in [4, 5, 6].into_iter().zip(0..) {
            assert_eq!(place(store, ids[at]).await, one, "{at}");
        }
        let history = store.history(ids[2]).await.unwrap().unwrap();
        assert_eq!(history.entries, operations[2].history);
        // Only what waits for nothing is offered: the suspended head holds its chain up.
        for (at, id) in ids.iter().enumerate() {
            let offer = store.last_offer(*id).await.unwrap();
            let is_offered = offer.is_some_and(|offer| offer.is_in_outbox);
            assert_eq!(is_offered, at == 3, "{at}");
        }
        assert_eq!(store.counts().await.unwrap().completed, 2);
    }
}

#[tokio::test]
async fn ends_and_creations_keep_their_order() {
    let ended = |number, end| {
        operation(number, Status::Succeeded, |done| {
            done.header.completed_on = Some(Timestamp::from_millis(end));
        })
    };
    let ready = |number| operation(number, Status::WaitingForResources, |_| {});
    // Created in this order, which is not that of the ids, nor that of the ends.
    let given = [
        ready(3),
        ended(1, 5_000),
        ready(7),
        ended(9, 4_000),
        ready(2),
    ];
    let [third, late, seventh, early, second] = given.each_ref().map(|one| one.id);
    let (from, to) = (empty(), empty());
    imported(&*from.store, &text(&given, &[])).await.unwrap();
    let taken = exported(&*from.store, &whole()).await;
    let read = |line: &str| match serde_json::from_str(line).unwrap() {
        Line::Operation(carried) => Some(carried.id),
        Line::Export(_) | Line::Pause(_) | Line::End(_) => None,
    };
    let ids: Vec<_> = taken.lines().filter_map(read).collect();
    assert_eq!(ids, [early, late, third, seventh, second]);
    imported(&*to.store, &taken).await.unwrap();
    let created = to.store.get(&[third, seventh, second]).await.unwrap();
    let sequences = created.into_iter().flatten().map(|one| one.sequence);
    assert!(sequences.is_sorted());
}

#[tokio::test]
async fn a_repetition_changes_nothing_and_others_with_the_ids_are_named() {
    let backend = empty();
    let given = text(&sample(), &[]);
    let cut: String = given
        .lines()
        .take(4)
        .map(|line| format!("{line}\n"))
        .collect();
    let error = imported(&*backend.store, &cut).await.unwrap_err();
    assert!(error.contains("ends before the export does"), "{error}");
    for _ in 0..2 {
        let again = imported(&*backend.store, &given).await.unwrap();
        assert_eq!((again.new, again.refused), (7, 0));
    }
    assert_eq!(backend.store.counts().await.unwrap().completed, 2);
    let others: Vec<_> = sample()
        .into_iter()
        .map(|mut other| {
            other.header.commit = CommitId(other.header.commit.0 + 1_000);
            other
        })
        .collect();
    let refused = imported(&*backend.store, &text(&others, &[]))
        .await
        .unwrap();
    assert_eq!((refused.new, refused.refused), (0, 7));
    assert_eq!(refused.foreign.len(), 7);
}

#[tokio::test]
async fn a_running_operation_is_ready_again_and_its_start_counts() {
    let backend = empty();
    let running = |number, change: fn(&mut Carried)| {
        operation(number, Status::InProgress, |running| {
            running.header.starts = 3;
            change(running);
        })
    };
    let operations = [
        running(1, in_chain),
        running(2, |once| once.header.rules.at_most_once = true),
        operation(3, Status::WaitingForResources, in_chain),
    ];
    let new = imported(&*backend.store, &text(&operations, &[]))
        .await
        .unwrap();
    assert_eq!((new.new, new.were_running), (3, 2));
    let ids = operations.each_ref().map(|one| one.id);
    let stored = backend.store.get(&ids).await.unwrap();
    let header = |at: usize| stored[at].as_ref().unwrap().header.clone();
    assert_eq!(header(0).status, Status::WaitingForResources);
    assert_eq!((header(0).starts, header(0).lost), (3, 1));
    assert_eq!(
        header(1).status,
        Status::Failed,
        "it may have done its work"
    );
    assert_eq!(place(&*backend.store, ids[2]).await, 1);
    let again = imported(&*backend.store, &text(&operations, &[]))
        .await
        .unwrap();
    assert_eq!(again.new, 3, "its name follows from the operation");
}

#[tokio::test]
async fn an_export_is_of_one_organization_if_that_is_asked_for() {
    let backend = empty();
    imported(&*backend.store, &text(&sample(), &[]))
        .await
        .unwrap();
    let wanted = Wanted {
        organization: Some("contoso".to_owned()),
        history: false,
        id: None,
    };
    let taken = exported(&*backend.store, &wanted).await;
    assert_eq!(taken.lines().count(), 3, "{taken}");
    assert!(taken.contains("\"n6\""), "{taken}");
}

#[tokio::test]
async fn a_file_that_is_no_export_is_refused_with_its_line() {
    let backend = empty();
    let good = text(&sample(), &[]);
    let other = good.replace("\"partitions\":4", "\"partitions\":8");
    let newer = good.replace("\"format\":1", "\"format\":2");
    let missing: String = good
        .lines()
        .filter(|line| !line.contains("\"n8\""))
        .map(|line| format!("{line}\n"))
        .collect();
    for (text, words) in [
        ("", "not the beginning"),
        ("{}\n", "no line of an export"),
        (
            "{\"end\":{\"operations\":0,\"pauses\":0}}\n",
            "not the beginning",
        ),
        (other.as_str(), "with 8 partitions, and this one has 4"),
        (newer.as_str(), "format 2"),
        (missing.as_str(), "are missing"),
        (good.trim_end(), "line 9 of standard input: the line is cut"),
    ] {
        let error = imported(&*backend.store, text).await.unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn an_export_of_a_store_that_has_changed_has_no_last_line() {
    let backend = empty();
    imported(&*backend.store, &text(&sample(), &[]))
        .await
        .unwrap();
    let mut written = String::new();
    let mut emit = |line: &Line| {
        written.push_str(&serde_json::to_string(line).unwrap());
        written.push('\n');
        Ok(())
    };
    let alone = async || Err(export::changed("a worker came"));
    let wanted = whole();
    let mut progress = |_count| {};
    let ended = export::run(&*backend.store, &wanted, &mut emit, &mut progress, alone);
    let error = ended.await.unwrap_err().error.to_string();
    assert!(error.contains("a worker came"), "{error}");
    let refused = imported(&*empty().store, &written).await.unwrap_err();
    assert!(refused.contains("the file ends before"), "{refused}");
}
