//! A record and a lock as bytes: the fields that scripts compare, at fixed
//! places.
//!
//! A record is one string:
//!
//! ```text
//! fields and lengths │ keys │ header │ spare room │ report │ body
//! ```
//!
//! A change writes what is in front of the body. Parts that are large are in keys
//! of their own: of the body its data alone, so that a record has all that a summary
//! needs, and is short. The places are also written down in `scripts/prelude.lua`; a test
//! compares the two.

use std::time::Duration;

use drumline_backend::MemberId;
use drumline_backend::store::{
    Error, Holding, Lock, NewOperation, Record, Reserved, Result, Stamp, Summary,
};
use drumline_protocol::index::{HASH_BYTES, index_keys};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    Body, ChainKey, CommitId, Fence, FlowKey, Header, IndexKey, IndexKind, Operation, OperationId,
    Report, ScopeKey, Shelf, State, Status, UsageKey, codec,
};
use redis::Value;
use uuid::Uuid;

use crate::reply;

/// The fields in front of a header that scripts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) last_offer: Stamp,
}

/// The place where the lengths start: after version, last commit, first commit,
/// sequence, last offer (8 bytes each), index (1) and chain (16).
const LENGTHS_AT: usize = 57;
/// The place where the keys start: after format (1), parts (1), and the lengths of
/// all in front of the body (2) and of the report (2).
const KEYS_AT: usize = LENGTHS_AT + 6;
/// The format of a record.
const FORMAT: u8 = b'A';
/// The parts of a record that may be in keys of their own.
const DATA_PART: u8 = 1;
const REPORT_PART: u8 = 2;
const CHECKPOINT_PART: u8 = 4;
/// The largest body that is in the record with its data, in bytes. Data in a key of
/// their own cost some 150 bytes of memory and a round trip when they are read; in
/// the record they pass through the scripts, at more than a nanosecond a byte, and
/// summaries bring them along.
const MOST_OF_BODY: usize = 8 << 10;
/// The spare room of a new record, at least and at most: a header grows by the
/// host and two times, and gets a short result behind it. A record that is too
/// small is rewritten.
const SPARE: usize = 48;
const MOST_SPARE: usize = 96;
/// The bytes in front of the first key: the shelves, and the number of keys.
const BEFORE_KEYS: usize = 3;
/// The bytes of a key: the letter of its kind, and the hash.
const KEY_BYTES: usize = 1 + HASH_BYTES;
/// The letter of the key that is the flow. No index has it.
const FLOW: u8 = b'q';
/// The letters of the key under which the organization is counted: of a series, the
/// latter. No index has them.
const OF_ANY: u8 = b'g';
const OF_SERIES: u8 = b'G';
/// The letter of no index, and of no shelf.
const NOWHERE: u8 = b'-';

/// A new record, with zeros for sequence and last offer; and its data if they are
/// to be in a key of their own, else nothing.
pub(crate) fn new(new: &NewOperation) -> Result<(Vec<u8>, &[u8])> {
    let header = &new.header;
    let commit = header.commit.0.to_be_bytes();
    let (body, data) = split_body(&new.body)?;
    let keys = keys(new.id, header, &new.body);
    let encoded = encode_header(header)?;
    let least = KEYS_AT + 2 + keys.len() + encoded.len() + SPARE;
    let place = least + free_beside(least + body.len()).min(MOST_SPARE - SPARE);

    let mut record = Vec::with_capacity(place + body.len());
    record.extend(header.version.to_be_bytes());
    record.extend([commit, commit, [0; 8], [0; 8]].as_flattened());
    record.push(index(header.status.state()));
    record.extend(chain_bytes(header.rules.chain));
    record.extend([FORMAT, if data.is_empty() { 0 } else { DATA_PART }]);
    record.extend(length(place)?);
    record.extend([0, 0]);
    record.extend(shelves(header.status));
    record.extend(keys);
    record.extend(encoded);
    record.resize(place, 0);
    record.extend(body);
    Ok((record, data))
}

/// A body as its record has it, and the data that are not in it, or nothing.
fn split_body(body: &Body) -> Result<(Vec<u8>, &[u8])> {
    // The data first: a copy of a megabyte is not worth the answer.
    if let Some(data) = body.data.as_deref().filter(|data| !data.is_empty()) {
        let rest = codec::encode(&body.without_data())?;
        if rest.len() + data.len() > MOST_OF_BODY {
            return Ok((rest, data.as_bytes()));
        }
    }
    Ok((codec::encode(body)?, &[]))
}

/// The bytes that a string of so many may have more and take no more memory: the
/// sizes that Redis' allocator has are a quarter of a power of two apart.
fn free_beside(bytes: usize) -> usize {
    // The string's own length, and the byte behind it.
    let taken = bytes + 6;
    let step = (taken.next_power_of_two() / 8).max(16);
    taken.next_multiple_of(step) - taken
}

/// A header as a record has it: with its length, and without what is in the
/// fields.
pub(crate) fn encode_header(header: &Header) -> Result<Vec<u8>> {
    let mut rest = header.clone();
    rest.version = 0;
    rest.commit = CommitId(0);
    rest.rules.chain = None;
    let bytes = codec::encode(&rest)?;
    Ok([length(bytes.len())?.as_slice(), &bytes].concat())
}

fn length(bytes: usize) -> Result<[u8; 2]> {
    let length = u16::try_from(bytes);
    let length = length.map_err(|_error: std::num::TryFromIntError| {
        Error::Unfit(format!("a header of {bytes} bytes cannot be stored"))
    })?;
    Ok(length.to_be_bytes())
}

/// A report as it is stored: without its checkpoint, and the checkpoint. Empty
/// parts are no bytes.
pub(crate) fn encode_report(report: &Report) -> Result<(Vec<u8>, String)> {
    let mut rest = report.clone();
    let checkpoint = rest.checkpoint.take().unwrap_or_default();
    let bytes = if rest == Report::default() {
        Vec::new()
    } else {
        codec::encode(&rest)?
    };
    Ok((bytes, checkpoint))
}

/// The number of keys in `h`, and the keys: the flow and the organization first,
/// where scripts look for them, then those of the further indexes.
pub(crate) fn keys(id: OperationId, header: &Header, body: &Body) -> Vec<u8> {
    let keys = index_keys(id, header, body);
    // The chain is the token's key.
    let keys: Vec<_> = keys
        .iter()
        .filter(|key| key.kind != IndexKind::Token)
        .collect();
    let mut bytes: Vec<u8> = u8::try_from(2 + keys.len()).into_iter().collect();
    bytes.push(FLOW);
    bytes.extend(FlowKey::of(body).as_bytes());
    bytes.push(match header.recurrence {
        Some(_) => OF_SERIES,
        None => OF_ANY,
    });
    bytes.extend(UsageKey::of(&body.organization).as_bytes());
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

/// A record, taken apart; or its start up to the header.
#[derive(Debug)]
struct Parts<'a> {
    front: &'a [u8; KEYS_AT],
    header: &'a [u8],
    /// The place of the body.
    place: usize,
    /// The length of the report in the record.
    report: usize,
    /// The parts that are in keys of their own.
    elsewhere: u8,
}

impl<'a> Parts<'a> {
    fn of(record: &'a [u8]) -> Option<Self> {
        let (front, rest) = record.split_first_chunk::<KEYS_AT>()?;
        let [.., FORMAT, elsewhere, a, b, c, d] = front else {
            return None;
        };
        let (_, rest) = split_keys(rest)?;
        let (length, rest) = rest.split_first_chunk()?;
        Some(Self {
            front,
            header: rest.get(..usize::from(u16::from_be_bytes(*length)))?,
            place: usize::from(u16::from_be_bytes([*a, *b])),
            report: usize::from(u16::from_be_bytes([*c, *d])),
            elsewhere: *elsewhere,
        })
    }

    fn header(&self) -> Result<(Header, Stored)> {
        let number = |at| number_at(self.front, at).unwrap_or_default();
        let mut header: Header = codec::decode(self.header)?;
        header.version = number(0);
        header.commit = CommitId(number(8));
        let chain = self.front.get(41..57).and_then(<[u8]>::first_chunk::<16>);
        header.rules.chain = chain
            .filter(|chain| **chain != [0; 16])
            .map(|chain| ChainKey::from_bytes(*chain));
        let stored = Stored {
            sequence: number(24),
            last_offer: Stamp(number(32)),
        };
        Ok((header, stored))
    }
}

/// Reads the header in a record or in its start, and the fields in front of it.
pub(crate) fn read_h(h: &[u8]) -> Result<(Header, Stored)> {
    Parts::of(h).ok_or_else(no_record)?.header()
}

fn no_record() -> Error {
    codec::Error::Empty { what: "record" }.into()
}

/// The length of a record without its body, and true if a part of it is in a key
/// of its own.
pub(crate) fn front(h: &[u8]) -> Option<(usize, bool)> {
    let [.., FORMAT, elsewhere, a, b, _, _] = h.first_chunk::<KEYS_AT>()? else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*a, *b]));
    Some((length, *elsewhere != 0))
}

/// The parts of an operation that are in keys of their own.
#[derive(Debug, Default)]
pub(crate) struct LargeParts {
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) report: Option<Vec<u8>>,
    pub(crate) checkpoint: Option<Vec<u8>>,
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

/// Reads the operation of a record, with its parts that are in keys of their own.
pub(crate) fn operation(id: OperationId, record: &[u8], large: LargeParts) -> Result<Operation> {
    let parts = Parts::of(record).ok_or_else(no_record)?;
    let (header, stored) = parts.header()?;
    let inside = record.split_at_checked(parts.place).ok_or_else(no_record)?;
    let mut body: Body = codec::decode(inside.1)?;
    if parts.elsewhere & DATA_PART != 0 {
        body.data = Some(text(large.data.ok_or_else(no_record)?)?);
    }
    let report_at = parts.place.saturating_sub(parts.report);
    let mut report = match large.report {
        Some(report) if parts.elsewhere & REPORT_PART != 0 => codec::decode(&report)?,
        Some(_) | None => match inside.0.get(report_at..).unwrap_or_default() {
            [] => Report::default(),
            bytes => codec::decode(bytes)?,
        },
    };
    if parts.elsewhere & CHECKPOINT_PART != 0
        && let Some(checkpoint) = large.checkpoint
    {
        report.checkpoint = Some(text(checkpoint)?);
    }
    Ok(Operation {
        id,
        header,
        body,
        report,
        sequence: stored.sequence,
    })
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_error: std::string::FromUtf8Error| no_record())
}

/// Reads the summary of a record.
pub(crate) fn summary(id: OperationId, record: &[u8]) -> Result<Summary> {
    let parts = Parts::of(record).ok_or_else(no_record)?;
    let (header, stored) = parts.header()?;
    let body: Body = codec::decode(record.get(parts.place..).ok_or_else(no_record)?)?;
    Ok(Summary {
        id,
        header,
        body: Body { data: None, ..body },
        sequence: stored.sequence,
    })
}

/// Reads what a claim brings along; `None` if parts of it are in keys of their own,
/// or the answer had no room for the record.
pub(crate) fn along(id: OperationId, record: &[u8]) -> Result<Option<Record>> {
    if is_incomplete(record) {
        return Ok(None);
    }
    let operation = operation(id, record, LargeParts::default())?;
    Ok(Some(Record {
        body: operation.body,
        report: operation.report,
        sequence: operation.sequence,
    }))
}

/// Returns true if an answer had no room for a record, or parts of it are in keys of
/// their own.
pub(crate) fn is_incomplete(record: &[u8]) -> bool {
    record.is_empty() || front(record).is_some_and(|(_, has_parts)| has_parts)
}

/// The start of a lock: its owner and its fence.
pub(crate) fn holding(holding: Holding) -> [u8; 24] {
    let mut bytes = [0; 24];
    let (owner, fence) = bytes.split_at_mut(16);
    owner.copy_from_slice(holding.owner.0.as_bytes());
    fence.copy_from_slice(&holding.fence.0.to_be_bytes());
    bytes
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

/// A row of scopes, 8 bytes each.
pub(crate) fn scopes(scopes: &[ScopeKey]) -> Vec<u8> {
    let bytes = scopes.iter().flat_map(|scope| *scope.as_bytes());
    bytes.collect()
}

/// An entry of the outbox, behind its flow.
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
