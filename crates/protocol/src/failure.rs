//! Failure groups: failures that are the same to a person.
//!
//! Two failures are in one group if message name, error code and message are the
//! same, and numbers, ids and quoted texts in the message do not count. So "row 7 of
//! 'a.csv' is broken" and "row 12 of 'b.csv' is broken" are one group.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::digest;
use crate::error_code::ErrorCode;
use crate::extensions::Field;
use crate::limits;
use crate::operation::{Fault, Header};
use crate::status::Status;
use crate::version::FormatVersion;

/// Characters of a message that are looked at. A longer message is cut: its
/// beginning says what it is about, and every failure costs this work.
const READ_CHARS: usize = 1_000;
/// Characters of a pattern. A store keeps a thousand patterns of an organization.
const PATTERN_CHARS: usize = 160;
/// The least length of a word of letters and digits that is taken for an id.
const ID_CHARS: usize = 8;
/// The place of a number or an id.
const NUMBER: char = '#';
/// The place of a quoted text, between its quotes.
const QUOTED: char = '…';

/// The name of a failure group: 64 bits of SHA-256. Two groups with one name would be
/// counted together, which 64 bits make improbable enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FailureKey(pub u64);

/// The part of a [`FailureKey`] that an operation's header knows: error code and
/// pattern, without the message name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultKind(u64);

/// The kind of the last fault of an operation that a handler was started for, or that
/// has Failed. No release has written a store without the field.
const LAST_FAULT: Field<FaultKind> = Field::new(2, FormatVersion::new(4, 0));

impl FaultKind {
    /// The kind of faults with this pattern.
    #[must_use]
    pub fn new(code: ErrorCode, pattern: &str) -> Self {
        Self(digest(&[&code.to_string(), pattern]))
    }

    /// The kind of a fault.
    #[must_use]
    pub fn of(fault: &Fault) -> Self {
        Self::new(fault.code, &pattern(text_of(fault)))
    }
}

impl FailureKey {
    /// The group of a failure with this pattern.
    #[must_use]
    pub fn new(message_name: &str, code: ErrorCode, pattern: &str) -> Self {
        Self::of(message_name, FaultKind::new(code, pattern))
    }

    /// The group of a failure of this kind.
    #[must_use]
    pub fn of(message_name: &str, kind: FaultKind) -> Self {
        Self(digest(&[message_name, &kind.0.to_string()]))
    }
}

impl Header {
    /// The kind of the last fault; `None` if there is none, or if the operation has
    /// Succeeded since.
    #[must_use]
    pub fn last_fault(&self) -> Option<FaultKind> {
        self.extensions.get(&LAST_FAULT).ok().flatten()
    }

    /// Notes the fault that a transition to this header brings, if it brings one.
    /// Waiting for a worker with a handler is no failure, so an operation that was
    /// never started notes nothing before its end.
    pub(crate) fn note_fault(&mut self, fault: Option<&Fault>) {
        if self.status == Status::Succeeded {
            self.extensions.remove(&LAST_FAULT);
        }
        let is_failure = self.starts > 0 || self.status == Status::Failed;
        if let Some(fault) = fault.filter(|_| is_failure) {
            let kind = FaultKind::of(fault);
            if self
                .extensions
                .set(&LAST_FAULT, &kind, LAST_FAULT.since())
                .is_err()
            {
                // Only a value over every limit cannot be written.
                self.extensions.remove(&LAST_FAULT);
            }
        }
    }
}

/// The text of a fault that tells its kind: the technical message, if there is one.
#[must_use]
pub fn text_of(fault: &Fault) -> &str {
    match fault.message.as_str() {
        "" => &fault.friendly_message,
        message => message,
    }
}

/// As 16 hexadecimal digits.
impl fmt::Display for FailureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for FailureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FailureKey {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// The message without what differs from failure to failure: `#` stands for a number
/// or an id, `'…'` for a quoted text, and one space for white space of any kind.
#[must_use]
pub fn pattern(message: &str) -> String {
    let mut pattern = String::new();
    let mut rest = limits::cut(message, READ_CHARS);
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let (shown, length) = if first.is_whitespace() {
            let length = rest.len() - rest.trim_start().len();
            (" ".to_owned(), length)
        } else if let Some(length) = quoted(rest, before) {
            (format!("{first}{QUOTED}{first}"), length)
        } else if is_of_word(first) {
            let length = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
            number(rest).unwrap_or_else(|| {
                let word = rest.get(..length).unwrap_or(rest);
                (without_digits(word), length)
            })
        } else {
            (first.to_string(), first.len_utf8())
        };
        pattern.push_str(&shown);
        before = rest
            .get(..length)
            .and_then(|read| read.chars().next_back())
            .unwrap_or(' ');
        rest = rest.get(length..).unwrap_or_default();
    }
    limits::cut(pattern.trim(), PATTERN_CHARS).to_owned()
}

/// The length of the quoted text that begins here. A quote within a word is an
/// apostrophe.
fn quoted(text: &str, before: char) -> Option<usize> {
    let quote = text.chars().next()?;
    if !matches!(quote, '\'' | '"' | '`') || before.is_alphanumeric() {
        return None;
    }
    let within = text.get(1..)?;
    let ends = within.match_indices(quote).map(|(at, _)| at);
    let mut ends = ends.filter(|at| {
        let behind = within.get(at + 1..).and_then(|rest| rest.chars().next());
        !behind.is_some_and(char::is_alphanumeric)
    });
    ends.next().map(|at| at + 2)
}

/// The number that begins here, decimal places and the like included, as it is shown,
/// and its length: of a number that is a word by itself.
fn number(text: &str) -> Option<(String, usize)> {
    let mut length = 0;
    loop {
        let rest = text.get(length..)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let digits = digits.unwrap_or(rest.len());
        if digits == 0 {
            return None;
        }
        length += digits;
        let mut behind = text.get(length..)?.chars();
        match (behind.next(), behind.next()) {
            (Some('.' | ','), Some(digit)) if digit.is_ascii_digit() => length += 1,
            (Some(next), _) if is_of_word(next) => return None,
            _ => return Some((NUMBER.to_string(), length)),
        }
    }
}

const fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// A word without the digits in it, or the mark of an id.
fn without_digits(word: &str) -> String {
    if is_id(word) {
        return NUMBER.to_string();
    }
    let mut shown = String::new();
    for c in word.chars() {
        if !c.is_ascii_digit() {
            shown.push(c);
        } else if !shown.ends_with(NUMBER) {
            shown.push(NUMBER);
        }
    }
    shown
}

fn is_id(word: &str) -> bool {
    let has_digit = word.contains(|c: char| c.is_ascii_digit());
    let hex = word.strip_prefix("0x").unwrap_or(word);
    let is_hex = hex.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let runs = word
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .count();
    has_digit && word.len() >= ID_CHARS && (is_hex || runs > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_failures_is_left_out() {
        for (message, expected) in [
            ("row 7 of 'a.csv' is broken", "row # of '…' is broken"),
            ("row 12 of 'b c.csv' is broken", "row # of '…' is broken"),
            ("took 3.25 s, limit 2", "took # s, limit #"),
            ("10.0.0.17:5432 refused", "#:# refused"),
            (
                "account 5f0c3a52-6b1e-4d0a-9b0e-1c2d3e4f5a6b is locked",
                "account # is locked",
            ),
            ("error 0x80040216", "error #"),
            ("request op_a8Kd92jQ was lost", "request # was lost"),
            ("http2 is off", "http# is off"),
            ("version12 and utf8string", "version# and utf#string"),
            ("commit abcdef01 is bad", "commit # is bad"),
            ("took 3.25, not 2.", "took #, not #."),
            (
                "said 'it can't be done' to '' twice",
                "said '…' to '…' twice",
            ),
            ("it can't be done, isn't it", "it can't be done, isn't it"),
            ("unclosed 'quote", "unclosed 'quote"),
            ("one\n\ttwo  ", "one two"),
            ("", ""),
            ("naïve “12” — 3 Äpfel", "naïve “#” — # Äpfel"),
        ] {
            assert_eq!(pattern(message), expected, "{message}");
        }
    }

    #[test]
    fn a_pattern_is_short_and_stays_as_it_is() {
        let long = "word ".repeat(10_000);
        assert!(pattern(&long).chars().count() <= PATTERN_CHARS);
        for message in ["row 7 of 'a.csv'", "x `y` 12,5 z9", "\u{0}1'"] {
            let once = pattern(message);
            assert_eq!(pattern(&once), once, "{message}");
        }
    }

    #[test]
    fn a_group_is_of_one_message_name_and_one_code() {
        let key = FailureKey::new("Import", ErrorCode::NETWORK_ERROR, "row #");
        for other in [
            FailureKey::new("Export", ErrorCode::NETWORK_ERROR, "row #"),
            FailureKey::new("Import", ErrorCode::EXPIRED, "row #"),
            FailureKey::new("Import", ErrorCode::NETWORK_ERROR, "line #"),
        ] {
            assert_ne!(key, other);
        }
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(format!("{key:?}"), key.to_string());
        let fault = Fault::new(ErrorCode::NETWORK_ERROR, "Broken.", "row 7");
        assert_eq!(FailureKey::of("Import", FaultKind::of(&fault)), key);
        let silent = Fault::new(ErrorCode::NETWORK_ERROR, "row 7", "");
        assert_eq!(FaultKind::of(&silent), FaultKind::of(&fault));
    }
}
