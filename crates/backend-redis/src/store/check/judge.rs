//! Compares a record with the places where it is found, and an entry with its record.

use drumline_backend::store::{FaultKind, Result, Stamp, belongs_to_chain};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Header, IndexKind, OperationId, State};

use crate::record::{self, Stored};
use crate::reply::{self, Parts};

/// The answer of a script in the place of a record that has not the layout.
const NO_RECORD: &[u8] = b"?";

/// A fault, and the way to repair it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: FaultKind,
    pub(super) id: Option<OperationId>,
    pub(super) detail: String,
    pub(super) repair: Option<Repair>,
    pub(super) is_repaired: bool,
}

/// A repair, as `repair.lua` takes it.
#[derive(Debug)]
pub(super) struct Repair {
    pub(super) letter: u8,
    pub(super) id: Vec<u8>,
    /// The record up to its body as it was seen.
    pub(super) seen: Vec<u8>,
    pub(super) argument: Vec<u8>,
}

/// The places of one operation.
#[derive(Debug)]
pub(super) struct Places {
    h: Vec<u8>,
    letters: Vec<u8>,
    chain: String,
    due: String,
    ends: Vec<u8>,
    missing: String,
}

impl Places {
    pub(super) fn read(answer: &mut Parts) -> Result<Self> {
        Ok(Self {
            h: answer.bytes()?,
            letters: answer.bytes()?,
            chain: reply::text(answer.value()?)?,
            due: reply::text(answer.value()?)?,
            ends: answer.bytes()?,
            missing: reply::text(answer.value()?)?,
        })
    }
}

/// Judges an entry of a set that a script could not find right, or not judge.
pub(super) fn entry(set: &[u8], entry: &[u8], verdict: &[u8], h: Vec<u8>) -> Option<Found> {
    let (&code, name) = set.split_first()?;
    let id = entry
        .last_chunk()
        .copied()
        .and_then(OperationId::from_bytes);
    let mut found = Found {
        kind: kind_of(code),
        id,
        detail: format!("{}: {}", words(code, name), reason(&h)),
        repair: None,
        is_repaired: verdict == b"r",
    };
    if verdict != b"j" {
        return Some(found);
    }
    // The release that can decode it judges it.
    let (header, stored) = record::read_h(&h).ok()?;
    let (letter, argument) = match code {
        b'd' if header.due_on().is_none() => (b'd', Vec::new()),
        b'e' if !is_end(name, entry, id?, &header, &stored) => (b'w', [name, entry].concat()),
        _ => return None,
    };
    found.repair = Some(Repair {
        letter,
        id: entry.last_chunk::<16>()?.to_vec(),
        seen: h,
        argument,
    });
    Some(found)
}

fn is_end(name: &[u8], entry: &[u8], id: OperationId, header: &Header, stored: &Stored) -> bool {
    let class = EndClass::of(header).map(record::end);
    class == name.first().copied() && record::entry(stored.last_offer, id) == entry
}

const fn kind_of(code: u8) -> FaultKind {
    match code {
        b's' => FaultKind::StateEntry,
        b'x' => FaultKind::IndexEntry,
        b'e' => FaultKind::EndEntry,
        b'o' => FaultKind::OutboxEntry,
        b'f' => FaultKind::OfferedEntry,
        b'h' => FaultKind::HeldEntry,
        b'd' => FaultKind::DueEntry,
        b'n' => FaultKind::NoticeEntry,
        _ => FaultKind::LockEntry,
    }
}

fn words(code: u8, name: &[u8]) -> String {
    let letter = name.first().copied().unwrap_or_default();
    match code {
        b's' => {
            let state = State::ALL
                .into_iter()
                .find(|it| record::index(*it) == letter);
            format!("set of the state {}", state.map_or("?", State::name))
        }
        b'x' => index_words(name),
        b'e' => {
            let class = EndClass::ALL
                .into_iter()
                .find(|it| record::end(*it) == letter);
            format!("ends {}", class.map_or("?", EndClass::name))
        }
        b'o' => "outbox".to_owned(),
        b'f' => "offered set".to_owned(),
        b'h' => "held set".to_owned(),
        b'd' => "due set".to_owned(),
        b'n' => "notices".to_owned(),
        _ => "locks".to_owned(),
    }
}

fn index_words(name: &[u8]) -> String {
    let kind = name
        .first()
        .and_then(|letter| IndexKind::from_letter(*letter));
    format!("index {}", kind.map_or("?", IndexKind::name))
}

fn reason(h: &[u8]) -> String {
    match record::read_h(h) {
        _ if h.is_empty() => "there is no record".to_owned(),
        Ok((header, _)) => format!("the operation is {}", header.status.name()),
        Err(_unreadable) => "the record says another place".to_owned(),
    }
}

/// Judges a member of a chain.
pub(super) fn member(chain: &[u8; 16], id: &[u8], h: Vec<u8>) -> Option<Found> {
    let detail = if h.is_empty() {
        "chain: there is no record".to_owned()
    } else if h == NO_RECORD {
        return None;
    } else {
        // The release that can decode it judges it.
        let (header, _) = record::read_h(&h).ok()?;
        let own = header.rules.chain.as_ref();
        if own.is_none_or(|own| own.as_bytes() != chain) {
            "chain: the operation is of another one".to_owned()
        } else if belongs_to_chain(&header) {
            return None;
        } else {
            format!("chain: the operation is {}", header.status.name())
        }
    };
    Some(Found {
        kind: FaultKind::ChainEntry,
        id: id.try_into().ok().and_then(OperationId::from_bytes),
        detail,
        repair: Some(Repair {
            letter: b'm',
            id: id.to_vec(),
            seen: h,
            argument: chain.to_vec(),
        }),
        is_repaired: false,
    })
}

/// Judges an operation: returns what is missing.
pub(super) fn operation(id: OperationId, seen: &Places, unread: &[IndexKind]) -> Vec<Found> {
    let found = |kind, detail: String, repair: Option<(u8, Vec<u8>)>| Found {
        kind,
        id: Some(id),
        detail,
        repair: repair.map(|(letter, argument)| Repair {
            letter,
            id: id.as_bytes().to_vec(),
            seen: seen.h.clone(),
            argument,
        }),
        is_repaired: false,
    };
    if seen.h.is_empty() {
        // It was removed since its key was seen.
        return Vec::new();
    }
    let (header, stored) = match record::read_h(&seen.h) {
        Ok(read) if seen.h != NO_RECORD => read,
        Ok(_) => return Vec::new(),
        Err(error) => return vec![found(FaultKind::Unreadable, error.to_string(), None)],
    };
    let state = header.status.state();
    if seen.h.get(40) != Some(&record::index(state)) {
        let detail = "its fields and its header have different states".to_owned();
        return vec![found(FaultKind::Unreadable, detail, None)];
    }
    let mut all = Vec::new();
    let (is_there, place) = match *seen.letters.as_slice() {
        [is_there, place] => (is_there == b'1', place),
        _ => (true, b'.'),
    };
    match (is_there, state) {
        (true, _) => {}
        (false, State::Locked) => {
            let detail = "it is Locked, and has no lock".to_owned();
            all.push(found(
                FaultKind::LockMissing,
                detail,
                Some((b'l', Vec::new())),
            ));
        }
        (false, State::Ready | State::Suspended | State::Completed) => {
            let detail = format!("it is {}, and not in the set of the state", state.name());
            all.push(found(
                FaultKind::StateMissing,
                detail,
                Some((b's', Vec::new())),
            ));
        }
    }
    if let Some(due) = header.due_on()
        && !is_number(&seen.due, due.as_millis())
    {
        let time = due.as_millis().to_string().into_bytes();
        let detail = format!("due {due}, in the due set: {}", or_nothing(&seen.due));
        all.push(found(FaultKind::DueMissing, detail, Some((b'd', time))));
    }
    if let Some(class) = EndClass::of(&header)
        && !seen.ends.contains(&record::end(class))
    {
        let detail = format!("it ended {}, and is not among these ends", class.name());
        let class = vec![record::end(class)];
        all.push(found(FaultKind::EndMissing, detail, Some((b'e', class))));
    }
    for name in seen.missing.split_whitespace() {
        let kind = name.bytes().next().and_then(IndexKind::from_letter);
        // Lists do not read an index that is being built.
        if kind.is_none_or(|kind| !unread.contains(&kind)) {
            let detail = format!("it is not in the {}", index_words(name.as_bytes()));
            let name = name.as_bytes().to_vec();
            all.push(found(FaultKind::IndexMissing, detail, Some((b'x', name))));
        }
    }
    if belongs_to_chain(&header) && !is_stamp(&seen.chain, Stamp(stored.sequence)) {
        let place = stored.sequence.to_string().into_bytes();
        let detail = format!(
            "its place in its chain is {}, and its sequence {}",
            or_nothing(&seen.chain),
            stored.sequence
        );
        all.push(found(FaultKind::ChainOrder, detail, Some((b'c', place))));
    }
    if place == b'-' {
        let detail = "it is Ready, and neither in the outbox nor offered nor held".to_owned();
        all.push(found(
            FaultKind::NotOffered,
            detail,
            Some((b'o', Vec::new())),
        ));
    }
    all
}

impl Found {
    /// The chain of the operation, as its record names it.
    pub(super) fn chain(&self) -> Option<[u8; 16]> {
        chain_of(&self.repair.as_ref()?.seen)
    }
}

/// The chain that a record names.
fn chain_of(h: &[u8]) -> Option<[u8; 16]> {
    let chain: [u8; 16] = h.get(41..57)?.try_into().ok()?;
    (chain != [0; 16]).then_some(chain)
}

/// Returns true if a score is this number.
fn is_number(score: &str, number: i64) -> bool {
    score.parse::<i64>() == Ok(number)
}

fn is_stamp(score: &str, stamp: Stamp) -> bool {
    score.parse::<u64>() == Ok(stamp.0)
}

fn or_nothing(score: &str) -> &str {
    if score.is_empty() { "none" } else { score }
}
