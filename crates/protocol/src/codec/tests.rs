//! Round trips, hostile bytes, and fixtures of every format ever written.

use std::path::PathBuf;

use uuid::Uuid;

use super::*;
use crate::bulk_action::{ActionId, BulkChange, BulkCounts, BulkRefusal, Executor, Stage};
use crate::error_code::ErrorCode;
use crate::extensions::{Extensions, Field};
use crate::history::Author;
use crate::id::{CommitId, Fence, OperationId, Partition};
use crate::kind::OperationType;
use crate::message::Offer;
use crate::operation::{
    Creator, Fault, Progress, Recurrence, Rules, TokenPolicy, TraceContext, first_header,
};
use crate::pause::{Pause, PauseKind, PauseScope};
use crate::retry::RetryPolicy;
use crate::status::Status;
use crate::time::Timestamp;
use crate::token::{ChainKey, Organization, QueueName};
use crate::transition::{At, Event, EventKind, apply};
use crate::version::FormatVersion;

fn header() -> Header {
    let rules = Rules {
        operation_type: OperationType(203),
        chain: Some(ChainKey::from_bytes([9; 16])),
        token_policy: TokenPolicy::Hold,
        transient: true,
        webhook: true,
        at_most_once: true,
        retry: RetryPolicy::default(),
        not_after: Some(Timestamp::from_millis(1_795_000_060_000)),
    };
    let mut header = first_header(
        rules,
        None,
        CommitId(u64::MAX),
        Timestamp::from_millis(1_795_000_000_123),
    );
    header.host_id = Some("worker-1".to_owned());
    header.holding = true;
    header.extensions = later(3);
    header.recurrence = Some(Recurrence {
        pattern: "FREQ=DAILY".to_owned(),
        start: Timestamp::from_millis(1_795_000_000_000),
        last: Some(OperationId::new(
            Timestamp::from_millis(2),
            Partition::new(3),
            [4; 16],
        )),
    });
    header
}

fn body() -> Body {
    Body {
        name: "Ünicode".to_owned(),
        message_name: "ImportSolution".to_owned(),
        queue: QueueName::default(),
        dependency_token: Some("solution:contoso".to_owned().try_into().unwrap()),
        data: Some(r#"{"a":[1,2,{"b":null}]}"#.to_owned()),
        correlation_id: Uuid::from_u128(1),
        request_id: None,
        parent_id: Some(Uuid::from_u128(2)),
        depth: 3,
        primary_entity_type: None,
        regarding_object_id: None,
        organization: Organization::default(),
        owner: "anonymous".to_owned(),
        creator: Creator::Handler,
        created_on: Timestamp::from_millis(1_795_000_000_000),
        retain_job_history: true,
        webhook_url: Some("https://example.com/ended".to_owned()),
        trace: TraceContext {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            tracestate: String::new(),
        },
        extensions: later(1),
    }
}

/// The fields of a minor version that does not exist.
fn later(tag: u32) -> Extensions {
    let since = FormatVersion::new(4, 1);
    let mut extensions = Extensions::default();
    let field = Field::new(tag, since);
    assert!(extensions.set(&field, &"later".to_owned(), since).unwrap());
    extensions
}

/// The value as the version before wrote it: without extensions.
trait Before {
    fn before(self) -> Self;
}

impl Before for Header {
    fn before(mut self) -> Self {
        self.extensions = Extensions::default();
        self
    }
}

impl Before for Body {
    fn before(mut self) -> Self {
        self.extensions = Extensions::default();
        self
    }
}

impl Before for Report {
    fn before(mut self) -> Self {
        self.extensions = Extensions::default();
        self
    }
}

impl Before for Message {
    fn before(mut self) -> Self {
        if let Self::Offers(offers) = &mut self {
            for offer in offers {
                offer.header = offer.header.clone().before();
                offer.extensions = Extensions::default();
            }
        }
        self
    }
}

fn report() -> Report {
    Report {
        progress: Some(Progress {
            percent: 40,
            text: "4 of 10".to_owned(),
        }),
        checkpoint: Some("{\"at\":4}".to_owned()),
        result: None,
        fault: Some(Fault::new(
            ErrorCode::NETWORK_ERROR,
            "try again",
            "ECONNREFUSED",
        )),
        extensions: later(2),
    }
}

fn message() -> Message {
    let id = OperationId::new(Timestamp::from_millis(1), Partition::new(2), [3; 16]);
    let Body {
        message_name,
        queue,
        organization,
        trace,
        ..
    } = body();
    Message::Offers(vec![Offer {
        id,
        header: header(),
        message_name,
        queue,
        organization,
        trace,
        extensions: later(4),
    }])
}

fn entry() -> Entry {
    Entry {
        version: 4,
        at: Timestamp::from_millis(1_795_000_000_456),
        event: EventKind::Retry,
        from: Status::InProgress,
        status: Status::Waiting,
        attempt: 1,
        author: Author::worker("worker-1"),
        until: Some(Timestamp::from_millis(1_795_000_005_456)),
        code: Some(ErrorCode::NETWORK_ERROR),
        reason: Some("ECONNREFUSED".to_owned()),
    }
}

fn output() -> Output {
    Output {
        attempt: 3,
        cut: 70_000,
        text: "€uro: \u{1b}[1mbold\n".to_owned(),
    }
}

/// The committed bytes of a version.
fn fixture<T: Format>(version: u8) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(format!("{}-v{}.bin", T::WHAT, version & 0x0f));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pause() -> Pause {
    Pause {
        scope: PauseScope {
            kind: PauseKind::MessageName,
            organization: Organization("contoso".to_owned()),
            value: "SendMail".to_owned(),
        },
        reason: "the mail server is down".to_owned(),
        until: Some(Timestamp::from_millis(1_795_000_005_456)),
        author: Author::Caller("ann".to_owned()),
        since: Timestamp::from_millis(1_795_000_000_456),
    }
}

fn action() -> BulkAction {
    let at = Timestamp::from_millis(1_795_000_000_456);
    let id = |byte| OperationId::counted(at, 5, Partition::new(3), [byte; 16]);
    BulkAction {
        id: ActionId::new(id(1)),
        organization: Organization("contoso".to_owned()),
        change: BulkChange::Postpone(Timestamp::from_millis(1_795_000_005_456)),
        conditions: vec![("messageName".to_owned(), "SendMail".to_owned())],
        reason: "the mail server is down".to_owned(),
        author: Author::Caller("ann".to_owned()),
        started_on: at,
        expected: Some(300),
        stage: Stage::Failed("the filter has a condition of a later release".to_owned()),
        ended_on: Some(at),
        aborted_by: Some(Author::Caller("bob".to_owned())),
        below: id(2),
        counts: BulkCounts {
            counted: 251,
            done: 250,
            refused: 1,
            refusals: vec![BulkRefusal {
                id: id(3),
                code: ErrorCode::CANNOT_PAUSE,
                message: "it is Completed".to_owned(),
            }],
        },
        executor: Some(Executor {
            member: Uuid::from_u128(7),
            fence: Fence(4),
        }),
        last_fence: Fence(4),
        revision: 300,
        extensions: later(2),
    }
}

/// Compares with the committed bytes. A change of any format shows here: give
/// it a new version byte and keep reading the old one.
fn frozen<T: Format + PartialEq + std::fmt::Debug>(value: &T) {
    let bytes = encode(value).unwrap();
    assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    let fixture = fixture::<T>(T::VERSION);
    assert_eq!(&decode::<T>(&fixture).unwrap(), value, "{}", T::WHAT);
    assert_eq!(bytes, fixture, "{} is written differently now", T::WHAT);
}

/// Compares with the committed bytes of the version before.
fn still_read<T: Format + Before + PartialEq + std::fmt::Debug>(value: T) {
    let fixture = fixture::<T>(T::VERSION - 1);
    assert_eq!(
        decode::<T>(&fixture).unwrap(),
        value.before(),
        "{}",
        T::WHAT
    );
}

#[test]
fn formats_are_frozen() {
    frozen(&header());
    frozen(&body());
    frozen(&report());
    frozen(&message());
    frozen(&entry());
    frozen(&pause());
    frozen(&output());
    frozen(&action());
}

#[test]
fn the_version_before_is_read() {
    still_read(header());
    still_read(body());
    still_read(report());
    still_read(message());
}

#[test]
fn an_earlier_version_is_read_to_its_end_and_no_further() {
    let bytes = fixture::<Header>(Header::VERSION - 1);
    let cut = bytes.split_last().unwrap().1;
    assert!(matches!(decode::<Header>(cut), Err(Error::Decode { .. })));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(
        decode::<Header>(&longer),
        Err(Error::Trailing { count: 1, .. })
    ));
    let older = [&[Header::VERSION - 2], &bytes[1..]].concat();
    assert!(matches!(
        decode::<Header>(&older),
        Err(Error::Version { .. })
    ));
}

#[test]
fn unknown_fields_outlive_every_change() {
    let field: Field<String> = Field::new(3, FormatVersion::new(4, 1));
    let rules = Rules::default();
    let mut header = first_header(rules, None, CommitId(1), Timestamp::from_millis(1));
    header.extensions = later(3);
    let host = "host:1".to_owned();
    let events = [
        Event::Claim { host: host.clone() },
        Event::Pause,
        Event::Stopped,
        Event::Resume,
        Event::Claim { host },
        Event::Succeed,
    ];
    for (event, number) in events.into_iter().zip(2..) {
        let at = At {
            now: Timestamp::from_millis(number),
            commit: CommitId(number.unsigned_abs()),
        };
        // As a member does: what it read from the store is changed and written.
        let read = decode::<Header>(&encode(&header).unwrap()).unwrap();
        header = apply(&read, event, at).unwrap().header;
        let kept = header.extensions.get(&field).unwrap();
        assert_eq!(kept.as_deref(), Some("later"), "{:?}", header.status);
    }
    assert_eq!(header.status, Status::Succeeded);
}

#[test]
fn no_added_fields_cost_a_byte() {
    let size = |header: &Header| encode(header).unwrap().len();
    let header = header();
    let of_fields = encode_field(&header.extensions).unwrap().len();
    assert_eq!(size(&header) - of_fields + 1, size(&header.before()));
}

#[test]
#[ignore = "writes the fixtures of a new format version; run by hand, then commit them"]
fn write_fixtures() {
    fn write<T: Format>(value: &T) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{}-v{}.bin", T::WHAT, T::VERSION & 0x0f));
        // A version that was committed is frozen.
        if !path.exists() {
            std::fs::write(path, encode(value).unwrap()).unwrap();
        }
    }
    write(&header());
    write(&body());
    write(&report());
    write(&message());
    write(&entry());
    write(&pause());
    write(&output());
    write(&action());
}

#[test]
fn a_cut_or_lengthened_record_is_refused() {
    let bytes = encode(&body()).unwrap();
    for end in 0..bytes.len() {
        assert!(decode::<Body>(&bytes[..end]).is_err(), "{end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(
        decode::<Body>(&longer),
        Err(Error::Trailing { count: 1, .. })
    ));
}

#[test]
fn a_small_message_cannot_demand_all_memory() {
    // A vector of 2^63 offers, announced in nine bytes.
    let mut bytes = vec![Message::VERSION, 0, 253];
    bytes.extend((1_u64 << 63).to_le_bytes());
    assert!(matches!(
        decode::<Message>(&bytes),
        Err(Error::Decode { .. })
    ));
}

#[test]
fn kinds_and_versions_are_not_mixed_up() {
    let bytes = encode(&report()).unwrap();
    assert!(matches!(
        decode::<Header>(&bytes),
        Err(Error::Version { .. })
    ));
    assert!(matches!(decode::<Header>(&[]), Err(Error::Empty { .. })));
}

#[test]
fn flipped_bytes_never_panic() {
    let bytes = encode(&message()).unwrap();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = bytes.clone();
            bad[at] ^= flip;
            // Any answer must come in a Result.
            drop(decode::<Message>(&bad));
        }
    }
}

#[test]
fn an_unknown_status_is_refused_not_defaulted() {
    let mut bytes = encode(&header()).unwrap();
    let status = bytes.iter().position(|&byte| byte == 0).unwrap();
    bytes[status] = 77;
    assert!(decode::<Header>(&bytes).is_err());
}
