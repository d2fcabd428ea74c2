//! A commit's guard and effects as the thirteen letters that
//! `lib_commit.lua` reads.

use drumline_backend::store::{Commit, Guard};
use drumline_protocol::transition::{ChainEffect, DueEffect, LockEffect, OfferEffect};

use crate::record;

/// The checks and effects of the script.
pub(super) fn letters(commit: &Commit) -> [u8; 13] {
    let effects = &commit.effects;
    let guard = match commit.guard {
        Guard::None => b'-',
        Guard::Acquire { .. } => b't',
        Guard::Holder(_) => b'h',
        Guard::Unchanged { .. } => b'w',
    };
    let lock = match effects.lock {
        LockEffect::Keep => b'-',
        LockEffect::Take => b't',
        LockEffect::Release => b'r',
        LockEffect::AskToStop => b'a',
    };
    let chain = match effects.chain {
        ChainEffect::Keep => b'-',
        ChainEffect::RequireHead => b'h',
        ChainEffect::Leave => b'l',
        ChainEffect::Hold => b'k',
    };
    let due = match effects.due {
        DueEffect::Keep => b'-',
        DueEffect::Set(_) => b's',
        DueEffect::Clear => b'c',
    };
    let offer = match effects.offer {
        OfferEffect::Keep => b'-',
        OfferEffect::Add => b'a',
        OfferEffect::Withdraw => b'w',
    };
    let end = match effects.end {
        None => b'-',
        Some(class) => record::end(class),
    };
    let [message_name, outcome] = record::shelves(commit.header.status);
    let flag = |set: bool, letter: u8| if set { letter } else { b'-' };
    [
        guard,
        lock,
        chain,
        due,
        offer,
        end,
        flag(effects.tell, b'n'),
        flag(effects.remove, b'r'),
        flag(commit.want_record, b'w'),
        match &commit.report {
            None => b'-',
            Some(report) if report.checkpoint.as_deref().unwrap_or("").is_empty() => b'w',
            Some(_) => b'c',
        },
        record::index(commit.header.status.state()),
        message_name,
        outcome,
    ]
}

/// The bytes that the guard compares with, or that a new lock is made of.
pub(super) fn guard(guard: Guard) -> Vec<u8> {
    match guard {
        Guard::None => Vec::new(),
        Guard::Acquire { owner, lease } => record::taker(owner, lease),
        Guard::Holder(holding) => record::holding(holding).to_vec(),
        Guard::Unchanged { holding, beat } => {
            [record::holding(holding).as_slice(), &beat.to_be_bytes()].concat()
        }
    }
}
