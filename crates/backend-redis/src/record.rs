//! A record and a lock as bytes: the fields that scripts compare, at fixed
//! places.
//!
//! A record is a hash of `h` (the [`Stored`] fields, the keys of its further
//! indexes, then the header), `b` (the
//! body) and `r` (the report; absent while it is empty). The places are also
//! written down in `scripts/prelude.lua`; a test compares the two.

use std::time::Duration;

use drumline_backend::MemberId;
use drumline_backend::store::{Lock, NewOperation, Reserved, Result, Stamp};
use drumline_protocol::index::{HASH_BYTES, index_keys};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    Body, ChainKey, CommitId, Fence, Header, IndexKey, IndexKind, Operation, OperationId, Report,
    Shelf, State, Status, codec,
};
use redis::Value;
use uuid::Uuid;

use crate::reply::{self, Packed};

/// The fields in front of a header that scripts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) last_offer: Stamp,
}

/// The place where the keys start in `h`: after version, last commit, first
/// commit, sequence, last offer (8 bytes each), index (1) and chain (16).
const KEYS_AT: usize = 57;
/// The bytes in front of the first key: the shelves, and the number of keys.
const BEFORE_KEYS: usize = 3;
/// The bytes of a key: the letter of its kind, and the hash.
const KEY_BYTES: usize = 1 + HASH_BYTES;
/// The letter of no index, and of no shelf.
const NOWHERE: u8 = b'-';

/// The first 24 bytes of a new record's `h`.
pub(crate) fn start(header: &Header) -> Vec<u8> {
    let commit = header.commit.0.to_be_bytes();
    [header.version.to_be_bytes(), commit, commit].concat()
}

/// `h` from the index on.
pub(crate) fn rest(new: &NewOperation) -> Result<Vec<u8>> {
    let header = &new.header;
    let mut bytes = vec![index(header.status.state())];
    bytes.extend(chain_bytes(header.rules.chain));
    bytes.extend(shelves(header.status));
    bytes.extend(keys(new.id, header, &new.body));
    bytes.extend(codec::encode(header)?);
    Ok(bytes)
}

/// The number of keys in `h`, and the keys.
pub(crate) fn keys(id: OperationId, header: &Header, body: &Body) -> Vec<u8> {
    let keys = index_keys(id, header, body);
    // The chain is the token's key.
    let keys: Vec<_> = keys
        .iter()
        .filter(|key| key.kind != IndexKind::Token)
        .collect();
    let mut bytes: Vec<u8> = u8::try_from(keys.len()).into_iter().collect();
    for key in keys {
        bytes.push(key.kind.letter());
        bytes.extend(key.hash);
    }
    bytes
}

/// The shelves of an operation with this status, in the indexes that are kept
/// by status: their places are in `lib_indexes.lua`.
pub(crate) fn shelves(status: Status) -> [u8; 2] {
    let letter = |kind: IndexKind| kind.shelf(status).and_then(Shelf::letter);
    [IndexKind::MessageName, IndexKind::Outcome].map(|kind| letter(kind).unwrap_or(NOWHERE))
}

/// The name of a shelf of an index, behind the prefix of the indexes.
pub(crate) fn index_name(kind: IndexKind, shelf: Shelf) -> Vec<u8> {
    let mut name = vec![kind.letter()];
    name.extend(shelf.letter());
    name
}

/// A version and the commit that wrote it.
pub(crate) fn name(version: u64, commit: CommitId) -> Vec<u8> {
    [version.to_be_bytes(), commit.0.to_be_bytes()].concat()
}

/// The index of the operations in a state. Locked operations need none: they
/// are found among the locks, and each run costs two writes less.
pub(crate) const fn index(state: State) -> u8 {
    match state {
        State::Ready => b'0',
        State::Suspended => b'1',
        State::Locked => NOWHERE,
        State::Completed => b'3',
    }
}

/// The letter of the ends of a class.
pub(crate) const fn end(class: EndClass) -> u8 {
    match class {
        EndClass::Succeeded => b's',
        EndClass::Unsuccessful => b'u',
        EndClass::Transient => b't',
    }
}

/// Zeros stand for "no chain": no hash is all zeros.
fn chain_bytes(chain: Option<ChainKey>) -> [u8; 16] {
    chain.map_or([0; 16], |key| *key.as_bytes())
}

/// Reads the header in `h`, and the fields in front of it.
pub(crate) fn read_h(h: &[u8]) -> Result<(Header, Stored)> {
    let too_short = codec::Error::Empty { what: "record" };
    let Some((front, rest)) = h.split_at_checked(KEYS_AT) else {
        return Err(too_short.into());
    };
    let (Some(sequence), Some(last_offer), Some((_, header))) =
        (number_at(front, 24), number_at(front, 32), split_keys(rest))
    else {
        return Err(too_short.into());
    };
    let stored = Stored {
        sequence,
        last_offer: Stamp(last_offer),
    };
    Ok((codec::decode(header)?, stored))
}

/// Reads a set of letters of indexes.
pub(crate) fn read_kinds(answer: Value) -> Result<Vec<IndexKind>> {
    let mut kinds = Vec::new();
    for letter in reply::array(answer)? {
        let letter = reply::bytes(letter)?;
        kinds.extend(
            letter
                .first()
                .and_then(|letter| IndexKind::from_letter(*letter)),
        );
    }
    Ok(kinds)
}

/// Reads the keys of the further indexes in `h`. Keys of a kind that this
/// release does not know are left out.
pub(crate) fn read_keys(h: &[u8]) -> Vec<IndexKey> {
    let (keys, _) = h.get(KEYS_AT..).and_then(split_keys).unwrap_or_default();
    let (keys, _) = keys.as_chunks::<KEY_BYTES>();
    keys.iter()
        .filter_map(|[letter, hash @ ..]| {
            Some(IndexKey {
                kind: IndexKind::from_letter(*letter)?,
                hash: *hash,
            })
        })
        .collect()
}

/// The keys, and what stands behind them.
fn split_keys(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = bytes.split_at_checked(BEFORE_KEYS)?;
    let count = usize::from(*before.last()?);
    rest.split_at_checked(count * KEY_BYTES)
}

/// Reads the report in `r`; no bytes are the empty report.
pub(crate) fn read_report(r: &[u8]) -> Result<Report> {
    if r.is_empty() {
        return Ok(Report::default());
    }
    Ok(codec::decode(r)?)
}

/// Reads the operation of a record.
pub(crate) fn operation(id: OperationId, h: &[u8], b: &[u8], r: &[u8]) -> Result<Operation> {
    let (header, stored) = read_h(h)?;
    let body: Body = codec::decode(b)?;
    Ok(Operation {
        id,
        header,
        body,
        report: read_report(r)?,
        sequence: stored.sequence,
    })
}

/// Reads the operation of a record as scripts answer it: `h`, body and report.
pub(crate) fn packed(id: OperationId, answer: &mut Packed<'_>) -> Result<Operation> {
    let (h, b, r) = (answer.sized()?, answer.sized()?, answer.sized()?);
    operation(id, h, b, r)
}

/// The part of a new lock that its taker decides; fence and beat come between
/// owner and lease.
pub(crate) fn taker(owner: MemberId, lease: Duration) -> Vec<u8> {
    let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    [owner.0.as_bytes().as_slice(), &lease_ms.to_be_bytes()].concat()
}

/// Reads the lock in these bytes.
pub(crate) fn read_lock(id: OperationId, bytes: &[u8]) -> Result<Lock> {
    let parts = (
        bytes.first_chunk::<16>(),
        number_at(bytes, 16),
        number_at(bytes, 24),
        number_at(bytes, 32),
    );
    let (Some(owner), Some(fence), Some(beat), Some(lease_ms)) = parts else {
        return Err(codec::Error::Empty { what: "lock" }.into());
    };
    Ok(Lock {
        id,
        owner: MemberId(Uuid::from_bytes(*owner)),
        fence: Fence(fence),
        beat,
        lease: Duration::from_millis(lease_ms),
    })
}

/// A reservation of an idempotency key.
pub(crate) fn reserved(reserved: &Reserved) -> Vec<u8> {
    [*reserved.id.as_bytes(), reserved.content].concat()
}

/// Reads a reservation of an idempotency key.
pub(crate) fn read_reserved(bytes: &[u8; 32]) -> Option<Reserved> {
    Some(Reserved {
        id: OperationId::from_bytes(*bytes.first_chunk()?)?,
        content: *bytes.last_chunk()?,
    })
}

/// Reads a row of ids.
pub(crate) fn read_ids(bytes: &[u8]) -> Vec<OperationId> {
    let (ids, _) = bytes.as_chunks::<16>();
    ids.iter()
        .filter_map(|id| OperationId::from_bytes(*id))
        .collect()
}

/// Reads a row of stamps and ids, 24 bytes each.
pub(crate) fn read_stamped_ids(bytes: &[u8]) -> Vec<(Stamp, OperationId)> {
    let (entries, _) = bytes.as_chunks::<24>();
    entries
        .iter()
        .filter_map(|entry| {
            let id = OperationId::from_bytes(*entry.last_chunk::<16>()?)?;
            Some((Stamp(number_at(entry, 0)?), id))
        })
        .collect()
}

/// An entry of the outbox.
pub(crate) fn entry(stamp: Stamp, id: OperationId) -> Vec<u8> {
    [stamp.0.to_be_bytes().as_slice(), id.as_bytes()].concat()
}

/// The start of the first entry with a stamp above this one.
pub(crate) fn first_after(stamp: Stamp) -> Vec<u8> {
    stamp.0.saturating_add(1).to_be_bytes().to_vec()
}

fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    let number = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests;
