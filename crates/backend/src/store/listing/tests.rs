//! Filters: what they select, and what they tell stores that look for it.

use drumline_protocol::failure::FaultKind;
use drumline_protocol::operation::first_header;
use drumline_protocol::{
    At, CommitId, ErrorCode, Event, Fault, Partition, Report, Rules, TokenPolicy, apply,
};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const BEFORE: Timestamp = Timestamp::from_millis(NOW.as_millis() - 1);
const AFTER: Timestamp = Timestamp::from_millis(NOW.as_millis() + 1);
const CHAIN: ChainKey = ChainKey::from_bytes([7; 16]);
const OTHER_CHAIN: ChainKey = ChainKey::from_bytes([8; 16]);

fn uuid(number: u128) -> Option<Uuid> {
    Some(Uuid::from_u128(number))
}

fn organization(name: &str) -> Organization {
    Organization(name.to_owned())
}

fn rules() -> Rules {
    Rules {
        chain: Some(CHAIN),
        token_policy: TokenPolicy::Hold,
        ..Rules::default()
    }
}

fn ready() -> Operation {
    Operation {
        id: OperationId::new(NOW, Partition::new(1), [2; 16]),
        header: first_header(rules(), None, CommitId(1), NOW),
        body: Body {
            name: "report".to_owned(),
            correlation_id: Uuid::from_u128(1),
            parent_id: uuid(2),
            primary_entity_type: Some("invoice".to_owned()),
            regarding_object_id: uuid(3),
            owner: "ann".to_owned(),
            organization: organization("ours"),
            ..Body::new("DoIt", NOW)
        },
        report: Report::default(),
        sequence: 1,
    }
}

/// The operation has Failed, and holds its chain.
fn failed() -> Operation {
    let mut operation = ready();
    let fault = Fault::new(ErrorCode(7), "", "no room");
    let host = "one".to_owned();
    for event in [Event::Claim { host }, Event::Fail(fault)] {
        let at = At {
            now: NOW,
            commit: CommitId(2),
        };
        operation.header = apply(&operation.header, event, at).unwrap().header;
    }
    operation
}

/// The operation is Suspended until this time.
fn suspended(until: Option<Timestamp>) -> Operation {
    let mut operation = ready();
    operation.header.status = Status::Waiting;
    operation.header.postpone_until = until;
    operation
}

fn failure(pattern: &str) -> Option<FailureKey> {
    let kind = FaultKind::new(ErrorCode(7), pattern);
    Some(FailureKey::of("DoIt", kind))
}

/// Filters with one condition: one that the failed operation meets, and one that it does
/// not.
fn conditions() -> Vec<(Filter, Filter)> {
    macro_rules! condition {
        ($field:ident, $met:expr, $unmet:expr) => {{
            let (mut met, mut unmet) = (Filter::default(), Filter::default());
            (met.$field, unmet.$field) = ($met, $unmet);
            (met, unmet)
        }};
    }
    let text = |text: &str| Some(text.to_owned());
    let queue = |name: &str| Some(name.parse::<QueueName>().unwrap());
    vec![
        condition!(name, text("report"), text("repor")),
        condition!(state, Some(State::Completed), Some(State::Ready)),
        condition!(status, Some(Status::Failed), Some(Status::Canceled)),
        condition!(message_name, text("DoIt"), text("DoThat")),
        condition!(
            operation_type,
            Some(OperationType::DEFAULT),
            Some(OperationType(10))
        ),
        condition!(chain, Some(CHAIN), Some(OTHER_CHAIN)),
        condition!(created_after, Some(BEFORE), Some(NOW)),
        condition!(created_after, Some(BEFORE), Some(AFTER)),
        condition!(created_before, Some(AFTER), Some(NOW)),
        condition!(created_before, Some(AFTER), Some(BEFORE)),
        condition!(completed_before, Some(AFTER), Some(NOW)),
        condition!(completed_before, Some(AFTER), Some(BEFORE)),
        condition!(correlation_id, uuid(1), uuid(2)),
        condition!(parent_id, uuid(2), uuid(1)),
        condition!(primary_entity_type, text("invoice"), text("order")),
        condition!(regarding_object_id, uuid(3), uuid(1)),
        condition!(owner, text("ann"), text("bob")),
        condition!(queue, Some(QueueName::default()), queue("other")),
        condition!(holding, Some(true), Some(false)),
        condition!(waits_without_time, Some(false), Some(true)),
        condition!(failure, failure("no room"), failure("no light")),
        condition!(
            organization,
            Some(organization("ours")),
            Some(organization("theirs"))
        ),
    ]
}

#[test]
fn a_filter_selects_by_each_of_its_conditions() {
    let operation = failed();
    let summary = Summary::of(&operation);
    assert!(Filter::default().selects(&operation));
    for (met, unmet) in conditions() {
        assert!(met.selects(&operation), "{met:?}");
        assert!(met.selects_summary(&summary), "{met:?}");
        assert!(met.selects_header(&operation.header), "{met:?}");
        assert!(!unmet.selects(&operation), "{unmet:?}");
        assert!(!unmet.selects_summary(&summary), "{unmet:?}");
    }
}

#[test]
fn a_header_alone_shows_what_it_can() {
    let header = failed().header;
    let is_shown = |filter: &Filter| {
        filter.state.is_some()
            || filter.status.is_some()
            || filter.operation_type.is_some()
            || filter.chain.is_some()
            || filter.completed_before.is_some()
            || filter.holding.is_some()
            || filter.waits_without_time.is_some()
    };
    for (_, unmet) in conditions() {
        assert_eq!(
            unmet.selects_header(&header),
            !is_shown(&unmet),
            "{unmet:?}"
        );
    }
    let wanted = Filter {
        failure: failure("no room"),
        ..Filter::default()
    };
    assert!(!wanted.selects_header(&ready().header), "it has no error");
    assert!(!wanted.selects(&ready()));
}

#[test]
fn an_operation_without_a_value_is_selected_by_no_value() {
    let mut operation = ready();
    operation.body = Body::new("DoIt", NOW);
    operation.header.rules.chain = None;
    let absent = [
        Filter {
            parent_id: uuid(2),
            ..Filter::default()
        },
        Filter {
            primary_entity_type: Some("invoice".to_owned()),
            ..Filter::default()
        },
        Filter {
            regarding_object_id: uuid(3),
            ..Filter::default()
        },
        Filter {
            chain: Some(CHAIN),
            ..Filter::default()
        },
        Filter {
            completed_before: Some(AFTER),
            ..Filter::default()
        },
    ];
    for filter in absent {
        assert!(!filter.selects(&operation), "{filter:?}");
    }
}

#[test]
fn a_person_is_waited_for_where_no_time_is_set() {
    let waits = |wanted| Filter {
        waits_without_time: Some(wanted),
        ..Filter::default()
    };
    for (until, wanted) in [(None, true), (Some(AFTER), false)] {
        let operation = suspended(until);
        assert!(waits(wanted).selects(&operation), "{until:?}");
        assert!(!waits(!wanted).selects(&operation), "{until:?}");
    }
}

#[test]
fn a_filter_tells_the_statuses_that_it_selects() {
    use Status::{Canceled, Canceling, Failed, InProgress, Pausing, Succeeded};

    assert_eq!(Filter::default().statuses(), Status::ALL);
    assert_eq!(Filter::default().states(), State::ALL);
    let cases: [(Filter, &[Status]); 7] = [
        (
            Filter {
                state: Some(State::Locked),
                ..Filter::default()
            },
            &[InProgress, Pausing, Canceling],
        ),
        (
            Filter {
                status: Some(Pausing),
                ..Filter::default()
            },
            &[Pausing],
        ),
        (
            Filter {
                state: Some(State::Ready),
                status: Some(Pausing),
                ..Filter::default()
            },
            &[],
        ),
        (
            Filter {
                holding: Some(true),
                ..Filter::default()
            },
            &[Failed, Canceled],
        ),
        (
            Filter {
                holding: Some(false),
                ..Filter::default()
            },
            &Status::ALL,
        ),
        (
            Filter {
                completed_before: Some(NOW),
                ..Filter::default()
            },
            &[Succeeded, Failed, Canceled],
        ),
        (
            Filter {
                failure: failure("no room"),
                completed_before: Some(NOW),
                ..Filter::default()
            },
            &[Failed, Canceled],
        ),
    ];
    for (filter, statuses) in cases {
        assert_eq!(filter.statuses(), statuses, "{filter:?}");
    }
    let locked = Filter {
        state: Some(State::Locked),
        ..Filter::default()
    };
    assert_eq!(locked.states(), [State::Locked], "each once");
}

#[test]
fn a_filter_is_looked_for_in_the_indexes_of_its_values() {
    let ours = organization("ours");
    let without = Filter {
        chain: Some(CHAIN),
        owner: Some("ann".to_owned()),
        ..Filter::default()
    };
    let token = IndexKey::token(CHAIN);
    assert_eq!(without.index_keys(), [token], "an index is of a tenant");
    let [own, parent, record] = [1, 2, 3].map(Uuid::from_u128);
    let all = Filter {
        correlation_id: Some(own),
        parent_id: Some(parent),
        regarding_object_id: Some(record),
        name: Some("report".to_owned()),
        message_name: Some("DoIt".to_owned()),
        status: Some(Status::Failed),
        organization: Some(ours.clone()),
        ..without
    };
    let keys = [
        token,
        IndexKey::correlation(&ours, own),
        IndexKey::parent(&ours, parent),
        IndexKey::record(&ours, record),
        IndexKey::name(&ours, "report"),
        IndexKey::message_name(&ours, "DoIt"),
        IndexKey::owner(&ours, "ann"),
        IndexKey::outcome(&ours),
    ];
    assert_eq!(all.index_keys(), keys);
    let nameless = Filter {
        name: Some(String::new()),
        organization: Some(ours),
        ..Filter::default()
    };
    assert_eq!(nameless.index_keys(), [], "no index has all of them");
}

#[test]
fn only_the_shelves_that_a_filter_can_select_are_looked_at() {
    let shelves = |state, kind| {
        let state = Some(state);
        let filter = Filter {
            state,
            ..Filter::default()
        };
        filter.shelves(kind)
    };
    let kind = IndexKind::MessageName;
    assert_eq!(shelves(State::Ready, kind), [Shelf::Ready]);
    assert_eq!(shelves(State::Locked, kind), [], "the locks show them");
    assert_eq!(
        shelves(State::Completed, kind),
        [Shelf::Succeeded, Shelf::Failed, Shelf::Canceled]
    );
    assert_eq!(
        shelves(State::Completed, IndexKind::Outcome),
        [Shelf::Failed, Shelf::Canceled]
    );
    assert_eq!(Filter::default().shelves(IndexKind::Name), [Shelf::All]);
}

#[test]
fn the_locks_are_asked_where_the_index_leaves_locked_operations_out() {
    let all = Filter::default();
    let ready = Filter {
        state: Some(State::Ready),
        ..Filter::default()
    };
    assert!(all.needs_locks(IndexKind::MessageName));
    assert!(!all.needs_locks(IndexKind::Name));
    assert!(!ready.needs_locks(IndexKind::MessageName));
    assert!(!ready.needs_locks(IndexKind::Name));
}

#[test]
fn an_operation_is_found_by_its_own_id_as_correlation_id() {
    let id = ready().id;
    let of = |correlation_id| Filter {
        correlation_id,
        ..Filter::default()
    };
    let own = of(Some(Uuid::from_bytes(*id.as_bytes())));
    assert_eq!(own.own_of(IndexKind::Correlation), Some(id));
    assert_eq!(own.own_of(IndexKind::Parent), None);
    assert_eq!(of(uuid(1)).own_of(IndexKind::Correlation), None);
    assert_eq!(of(None).own_of(IndexKind::Correlation), None);
}

#[test]
fn what_has_ended_before_a_time_was_created_before_it() {
    let latest = |created_before, completed_before| {
        let filter = Filter {
            created_before,
            completed_before,
            ..Filter::default()
        };
        filter.latest()
    };
    assert_eq!(latest(None, None), None);
    assert_eq!(latest(Some(NOW), None), Some(NOW));
    assert_eq!(latest(None, Some(NOW)), Some(NOW));
    assert_eq!(latest(Some(NOW), Some(BEFORE)), Some(BEFORE));
    assert_eq!(latest(Some(BEFORE), Some(NOW)), Some(BEFORE));
}
