//! The pages, the ends and the repetitions of an action on many.

use super::*;
use crate::history::Entry;
use crate::id::Partition;
use crate::status::Status;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fn id(number: i64) -> OperationId {
    let at = Timestamp::from_millis(NOW.as_millis() + number);
    OperationId::counted(at, 0, Partition::new(0), [7; 16])
}

fn started() -> BulkAction {
    BulkAction {
        id: ActionId::new(id(9)),
        organization: Organization::default(),
        change: BulkChange::Cancel,
        conditions: Vec::new(),
        reason: "a test".to_owned(),
        author: Author::Caller("ann".to_owned()),
        started_on: NOW,
        expected: None,
        stage: Stage::Running,
        ended_on: None,
        aborted_by: None,
        below: id(9),
        counts: BulkCounts::default(),
        executor: None,
        last_fence: Fence(0),
        revision: 1,
        extensions: Extensions::default(),
    }
}

fn page(done: u64, refused: u64) -> BulkCounts {
    let refusal = BulkRefusal {
        id: id(1),
        code: ErrorCode::CANNOT_CANCEL,
        message: "é".repeat(limits::BULK_REFUSAL_CHARS + 1),
    };
    BulkCounts {
        counted: done + refused,
        done,
        refused,
        refusals: vec![refusal; usize::try_from(refused).unwrap()],
    }
}

#[test]
fn pages_add_up_to_the_end() {
    let (ann, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let taken = started().taken_by(ann);
    let first = taken.advanced(&page(5, 19), Some(id(5)), NOW);
    assert_eq!((first.below, first.stage_name()), (id(5), "running"));
    let other = first.taken_by(bob);
    assert_eq!(other.executor.unwrap().fence, Fence(2));
    let last = other.advanced(&page(1, 4), None, NOW);
    assert_eq!(last.stage, Stage::Done);
    assert!(first.is_open() && !last.is_open());
    assert!(!first.is_asked_to_stop());
    assert_eq!((last.executor, last.ended_on), (None, Some(NOW)));
    let BulkCounts {
        counted,
        done,
        refused,
        refusals,
    } = last.counts;
    assert_eq!((counted, done, refused, refusals.len()), (29, 6, 23, 20));
    let chars = refusals
        .iter()
        .map(|refusal| refusal.message.chars().count());
    assert!(
        chars
            .into_iter()
            .all(|chars| chars == limits::BULK_REFUSAL_CHARS)
    );
    assert_eq!(last.revision, 5);
}

#[test]
fn a_page_is_announced_until_its_end_is_written() {
    let taken = started().taken_by(Uuid::nil());
    assert_eq!(taken.page(), None);
    let announced = BulkPage {
        ids: vec![id(7), id(5)],
        below: Some(id(5)),
    };
    let before = taken.announced(&announced);
    assert_eq!(before.page().as_ref(), Some(&announced));
    let other = before.taken_by(Uuid::from_u128(2));
    assert_eq!(
        other.page().as_ref(),
        Some(&announced),
        "the next executor sees it"
    );
    assert_eq!(other.released().page(), Some(announced));
    assert_eq!(other.advanced(&page(7, 0), Some(id(5)), NOW).page(), None);
    // An executor that does not know it leaves it in the record.
    let mut behind = other;
    behind.below = id(5);
    assert_eq!(behind.page(), None);
}

#[test]
fn an_obstacle_stands_until_the_action_is_taken() {
    let unfit = started().taken_by(Uuid::nil()).obstructed("too new");
    assert_eq!(unfit.obstacle().as_deref(), Some("too new"));
    assert_eq!((unfit.executor, unfit.stage_name()), (None, "running"));
    assert_eq!(unfit.taken_by(Uuid::nil()).obstacle(), None);
}

#[test]
fn a_change_of_the_same_action_is_found_in_the_history() {
    let entry = |event, by: &str, at: i64, until: Option<i64>| Entry {
        version: 2,
        at: Timestamp::from_millis(NOW.as_millis() + at),
        event,
        from: Status::WaitingForResources,
        status: Status::Waiting,
        attempt: 0,
        author: Author::Caller(by.to_owned()),
        until: until.map(Timestamp::from_millis),
        code: None,
        reason: None,
    };
    let shows = |change, entry| {
        let history = History {
            entries: vec![entry],
            omitted: 0,
        };
        let action = BulkAction {
            change,
            ..started()
        };
        action.repeats(&history)
    };
    let until = Timestamp::from_millis(9);
    let (pause, postpone) = (BulkChange::Pause, BulkChange::Postpone(until));
    assert!(shows(pause, entry(EventKind::Pause, "ann", 5, None)));
    assert!(!shows(pause, entry(EventKind::Pause, "bob", 5, None)));
    assert!(!shows(pause, entry(EventKind::Resume, "ann", 5, None)));
    assert!(!shows(pause, entry(EventKind::Pause, "ann", -5_000, None)));
    assert!(shows(
        postpone,
        entry(EventKind::Postpone, "ann", 5, Some(9))
    ));
    assert!(!shows(
        postpone,
        entry(EventKind::Postpone, "ann", 5, Some(8))
    ));
    let resumed = entry(EventKind::Reschedule, "ann", 5, None);
    assert!(shows(BulkChange::Resume, resumed));
    let deleted = entry(EventKind::Delete, "ann", 5, None);
    assert!(shows(BulkChange::Delete, deleted.clone()));
    assert!(!shows(BulkChange::Pause, deleted));
    assert!(!shows(
        BulkChange::Delete,
        entry(EventKind::Pause, "ann", 5, None)
    ));
    let discarded = entry(EventKind::Discard, "ann", 5, None);
    assert!(shows(BulkChange::Cancel, discarded));
}

#[test]
fn an_abort_ends_at_once_what_nobody_executes() {
    let by = || Author::Caller("bob".to_owned());
    let ended = started().aborted(by(), NOW);
    assert_eq!((ended.stage_name(), ended.ended_on), ("aborted", Some(NOW)));
    let asked = started().taken_by(Uuid::nil()).aborted(by(), NOW);
    assert_eq!((asked.stage_name(), asked.ended_on), ("aborting", None));
    assert!(asked.is_open() && asked.is_asked_to_stop());
    let first = Author::Caller("carl".to_owned());
    let again = asked.aborted(first, NOW);
    assert_eq!(again.aborted_by, Some(by()), "the first one counts");
}

#[test]
fn pages_that_run_again_are_found_from_the_newest_and_done_from_the_oldest() {
    let taken = BulkAction {
        change: BulkChange::RunAgain,
        ..started()
    }
    .taken_by(Uuid::nil());
    let first = taken.found(3, Some(id(6)), NOW);
    let empty = first.found(0, Some(id(4)), NOW);
    let whole = empty.found(2, None, NOW);
    let ahead = whole.ahead();
    assert_eq!(ahead.above, [id(9), id(4)], "one for each page");
    assert!(ahead.is_whole && !empty.ahead().is_whole);
    assert_eq!((whole.counts.counted, whole.counts.done), (5, 0));
    let half = whole.run_again(&page(1, 1), NOW);
    assert_eq!(half.ahead().above, [id(9)]);
    assert_eq!(half.ahead().done_to, Some(id(4)));
    // Another executor sees where it is.
    assert_eq!(half.taken_by(Uuid::from_u128(2)).ahead(), half.ahead());
    let end = half.run_again(&page(3, 0), NOW);
    assert_eq!((end.stage_name(), end.ended_on), ("done", Some(NOW)));
    let BulkCounts {
        counted,
        done,
        refused,
        ..
    } = end.counts;
    assert_eq!((counted, done, refused), (5, 4, 1), "none is counted twice");
    assert_eq!(end.ahead(), Ahead::default(), "it is not kept");
}

#[test]
fn an_action_that_finds_nothing_is_done() {
    let taken = started().taken_by(Uuid::nil());
    assert_eq!(taken.found(0, None, NOW).stage, Stage::Done);
}

#[test]
fn each_kind_has_a_word() {
    for kind in BulkKind::ALL {
        assert_eq!(BulkKind::named(kind.name()), Some(kind));
    }
    assert_eq!(BulkKind::named("create"), None);
}

#[test]
fn an_id_is_written_as_the_uuid_that_it_is_and_read_again() {
    let action = started().id;
    assert_eq!(ActionId::from_bytes(*action.as_bytes()), Some(action));
    assert_eq!(ActionId::from_bytes([0; 16]), None);
    let text = action.to_string();
    assert_eq!(text, id(9).to_string());
    assert_eq!(format!("{action:?}"), text);
    assert_eq!(text.parse(), Ok(action));
}

#[test]
fn only_a_postponement_has_a_time() {
    let until = Timestamp::from_millis(9);
    assert_eq!(BulkChange::Postpone(until).until(), Some(until));
    assert_eq!(BulkChange::Pause.until(), None);
}
