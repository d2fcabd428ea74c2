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

/// As create.lua puts it together.
fn stored(new: &NewOperation, sequence: u64, last_offer: u64) -> Vec<u8> {
    let mut h = start(&new.header);
    h.extend(sequence.to_be_bytes());
    h.extend(last_offer.to_be_bytes());
    h.extend(rest(new).unwrap());
    h
}

#[test]
fn a_record_is_read_as_it_was_packed() {
    for chain in [None, Some(ChainKey::from_bytes([9; 16]))] {
        let header = header(chain);
        let new = new(&header);
        let h = stored(&new, 5, u64::MAX);
        let front = Stored {
            sequence: 5,
            last_offer: Stamp(u64::MAX),
        };
        let mut keys = index_keys(new.id, &header, &new.body);
        keys.retain(|key| key.kind != IndexKind::Token);
        assert_eq!(read_keys(&h), keys);
        assert_eq!(read_h(&h).unwrap(), (header, front));
    }
}

#[test]
fn the_scripts_find_each_field_at_its_place() {
    let chain = ChainKey::from_bytes([9; 16]);
    let header = header(Some(chain));
    let new = new(&header);
    let h = stored(&new, 5, 6);
    // As Lua counts: from 1, both ends included.
    let field = |from: usize, to: usize| &h[from - 1..to];
    assert_eq!(field(1, 8), header.version.to_be_bytes());
    assert_eq!(field(9, 16), header.commit.0.to_be_bytes());
    assert_eq!(field(17, 24), header.commit.0.to_be_bytes());
    assert_eq!(field(25, 32), 5_u64.to_be_bytes());
    assert_eq!(field(33, 40), 6_u64.to_be_bytes());
    assert_eq!(field(41, 41), [index(State::Ready)]);
    assert_eq!(field(42, 57), chain.as_bytes());
    assert_eq!(field(58, 59), b"0-");
    let keys = index_keys(new.id, &header, &new.body);
    let stored = keys.len() - 1;
    assert_eq!(usize::from(h[59]), stored, "all but the token's");
    assert_eq!(field(61, 61), b"m");
    assert_eq!(field(62, 67), keys[0].hash);
    let behind = 61 + 7 * stored;
    assert_eq!(field(behind, h.len()), codec::encode(&header).unwrap());
    let prelude = include_str!("../scripts/prelude.lua");
    assert!(prelude.contains("58 keys of further indexes"));
    let lib = include_str!("../scripts/lib_indexes.lua");
    assert!(lib.contains("KEYS_AT, CHAIN_AT = 58, 42") && lib.contains("KEY, HASH = 7, 6"));
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
fn no_report_is_an_empty_report() {
    assert_eq!(read_report(b"").unwrap(), Report::default());
    assert!(read_report(b"?").is_err());
    assert!(read_h(b"short").is_err());
}
