//! Packed records are read again, and their fields are at the places that the
//! scripts use.

use drumline_protocol::operation::first_header;
use drumline_protocol::{OperationType, Partition, Rules, Timestamp};

use super::*;

fn header(chain: Option<ChainKey>) -> Header {
    let rules = Rules {
        operation_type: OperationType::default(),
        chain,
        ..Rules::default()
    };
    first_header(
        rules,
        None,
        CommitId(0x0102_0304_0506_0708),
        Timestamp::from_millis(7),
    )
}

fn new(header: &Header) -> NewOperation {
    let now = Timestamp::from_millis(7);
    let mut body = Body::new("DoIt", now);
    body.name = "a name".to_owned();
    NewOperation {
        id: OperationId::new(now, Partition::new(2), [4; 16]),
        header: header.clone(),
        body,
        key: None,
    }
}

/// As create.lua stores it.
fn stored(new: &NewOperation, sequence: u64, last_offer: u64) -> Vec<u8> {
    let (mut record, data) = super::new(new).unwrap();
    assert!(data.is_empty(), "they are small");
    record.splice(
        24..40,
        [sequence.to_be_bytes(), last_offer.to_be_bytes()].concat(),
    );
    record
}

#[test]
fn a_record_is_read_as_it_was_packed() {
    for chain in [None, Some(ChainKey::from_bytes([9; 16]))] {
        let header = header(chain);
        let new = new(&header);
        let record = stored(&new, 5, u64::MAX);
        let fields = Stored {
            sequence: 5,
            last_offer: Stamp(u64::MAX),
        };
        let mut keys = index_keys(new.id, &header, &new.body);
        keys.retain(|key| key.kind != IndexKind::Token);
        assert_eq!(read_keys(&record), keys);
        assert_eq!(read_h(&record).unwrap(), (header.clone(), fields));
        // Scripts answer with the start, and some bytes behind it.
        let (length, has_parts) = front(&record).unwrap();
        assert!(!has_parts);
        assert_eq!(read_h(&record[..length]).unwrap(), (header.clone(), fields));
        let operation = Operation {
            id: new.id,
            header,
            body: new.body.clone(),
            report: Report::default(),
            sequence: 5,
        };
        let read = operation_of(&new, &record);
        assert_eq!(read, operation);
    }
}

fn operation_of(new: &NewOperation, record: &[u8]) -> Operation {
    operation(new.id, record, LargeParts::default()).unwrap()
}

#[test]
fn what_is_large_is_not_in_the_record() {
    let mut new = new(&header(None));
    new.body.data = Some("x".repeat(MOST_OF_BODY));
    let (record, data) = super::new(&new).unwrap();
    assert!(is_incomplete(&record) && record.len() < 1_000);
    assert!(along(new.id, &record).unwrap().is_none());
    assert!(operation(new.id, &record, LargeParts::default()).is_err());
    let large = LargeParts {
        data: Some(data.to_vec()),
        ..LargeParts::default()
    };
    let summary = summary(new.id, &record).unwrap();
    assert_eq!(summary.body, new.body.without_data());
    let read = operation(new.id, &record, large).unwrap();
    assert_eq!(read.body, new.body);
}

#[test]
fn spare_room_takes_no_more_memory() {
    // The sizes that the allocator of Redis has.
    for (bytes, free) in [(762, 0), (763, 127), (700, 62), (506, 0), (507, 127)] {
        assert_eq!(free_beside(bytes), free, "{bytes}");
    }
}

#[test]
fn the_scripts_find_each_field_at_its_place() {
    let chain = ChainKey::from_bytes([9; 16]);
    let header = header(Some(chain));
    let new = new(&header);
    let record = stored(&new, 5, 6);
    // As Lua counts: from 1, both ends included.
    let field = |from: usize, to: usize| &record[from - 1..to];
    assert_eq!(field(1, 8), header.version.to_be_bytes());
    assert_eq!(field(9, 16), header.commit.0.to_be_bytes());
    assert_eq!(field(17, 24), header.commit.0.to_be_bytes());
    assert_eq!(field(25, 32), 5_u64.to_be_bytes());
    assert_eq!(field(33, 40), 6_u64.to_be_bytes());
    assert_eq!(field(41, 41), [index(State::Ready)]);
    assert_eq!(field(42, 57), chain.as_bytes());
    assert_eq!(field(58, 59), [FORMAT, 0]);
    let body = codec::encode(&new.body).unwrap();
    let place = u16::try_from(record.len() - body.len()).unwrap();
    assert_eq!(field(60, 61), place.to_be_bytes());
    assert_eq!(field(62, 63), [0, 0]);
    assert_eq!(field(64, 65), b"0-");
    let keys = index_keys(new.id, &header, &new.body);
    let stored = keys.len() - 1;
    assert_eq!(
        usize::from(record[65]),
        2 + stored,
        "the flow, the organization, and all but the token's"
    );
    assert_eq!(field(67, 67), b"q");
    assert_eq!(field(68, 73), FlowKey::of(&new.body).as_bytes());
    assert_eq!(field(74, 74), b"g");
    let usage = UsageKey::of(&new.body.organization);
    assert_eq!(field(75, 80), usage.as_bytes());
    assert_eq!(field(81, 81), b"m");
    assert_eq!(field(82, 87), keys[0].hash);
    let behind = 81 + 7 * stored;
    let encoded = encode_header(&header).unwrap();
    assert_eq!(field(behind, behind + encoded.len() - 1), encoded);
    let prelude = include_str!("../scripts/prelude.lua");
    assert!(prelude.contains("64 keys of further indexes"));
    // All keys that an operation can have are in what the scripts read first.
    let most = KEYS_AT + BEFORE_KEYS + (1 + IndexKind::ALL.len()) * KEY_BYTES;
    assert!(
        most <= 136 && prelude.contains("FRONT_END = '135'"),
        "{most}"
    );
    let lib = include_str!("../scripts/lib_indexes.lua");
    assert!(lib.contains("KEYS_AT, CHAIN_AT = 64, 42") && lib.contains("KEY, HASH = 7, 6"));
}

#[test]
fn a_lock_is_read_as_a_script_writes_it() {
    let owner = MemberId(Uuid::from_bytes([3; 16]));
    let lease = Duration::from_secs(10);
    let taker = taker(owner, lease);
    let (owner_bytes, lease_bytes) = taker.split_at(16);
    let bytes = [
        owner_bytes,
        &7_u64.to_be_bytes(),
        &8_u64.to_be_bytes(),
        lease_bytes,
        b"0",
    ]
    .concat();
    let id = OperationId::new(Timestamp::from_millis(1), Partition::new(2), [4; 16]);
    let lock = read_lock(id, &bytes).unwrap();
    assert_eq!(
        lock,
        Lock {
            id,
            owner,
            fence: Fence(7),
            beat: 8,
            lease
        }
    );
    assert!(read_lock(id, b"short").is_err());
}

#[test]
fn an_empty_report_is_no_bytes() {
    let nothing = (Vec::new(), String::new());
    assert_eq!(encode_report(&Report::default()).unwrap(), nothing);
    let report = Report {
        checkpoint: Some("7".to_owned()),
        ..Report::default()
    };
    assert_eq!(
        encode_report(&report).unwrap(),
        (Vec::new(), "7".to_owned())
    );
    assert!(read_h(b"short").is_err());
}
