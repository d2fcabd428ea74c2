//! The payload of an operation: what its handler has to do, and filling.

use serde::{Deserialize, Serialize};

use crate::line::now;

/// The message name of all operations.
pub(crate) const MESSAGE: &str = "Note";

/// A payload, as JSON of a given size.
#[derive(Debug, Serialize)]
pub(crate) struct Payload<'a> {
    key: usize,
    seq: usize,
    at: u64,
    note: bool,
    sleep: u64,
    pad: &'a str,
}

/// The part of a payload that a handler reads.
#[derive(Debug, Deserialize)]
pub(crate) struct Task {
    /// The number of its token; 0 without tokens.
    pub(crate) key: u64,
    /// Its place among the operations of the token.
    pub(crate) seq: u64,
    /// The time of its submit, in microseconds since 1970.
    pub(crate) at: u64,
    /// True if the driver wants to hear of this run alone.
    pub(crate) note: bool,
    /// Milliseconds that the handler sleeps.
    pub(crate) sleep: u64,
}

/// The properties that the payloads of one order have in common.
#[derive(Debug)]
pub(crate) struct Form {
    note: bool,
    sleep: u64,
    /// The filling of the shortest head.
    pad: String,
}

impl Form {
    /// Payloads of `size` bytes of JSON, or of as few as there can be.
    pub(crate) fn new(size: usize, note: bool, sleep: u64) -> anyhow::Result<Self> {
        let mut form = Self {
            note,
            sleep,
            pad: String::new(),
        };
        let head = serde_json::to_string(&form.payload(0, 0))?.len();
        form.pad = "x".repeat(size.saturating_sub(head));
        Ok(form)
    }

    /// The payload of an operation that is submitted now.
    pub(crate) fn payload(&self, key: usize, seq: usize) -> Payload<'_> {
        // Longer numbers take the place of filling.
        let longer = digits(key) + digits(seq) - 2;
        let pad = self.pad.get(longer..).unwrap_or_default();
        Payload {
            key,
            seq,
            at: now(),
            note: self.note,
            sleep: self.sleep,
            pad,
        }
    }
}

/// The length of a number in decimal.
fn digits(number: usize) -> usize {
    number
        .checked_ilog10()
        .map_or(1, |log| usize::try_from(log).unwrap_or(0) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_size_that_was_ordered() {
        for (size, key, seq) in [(512, 0, 0), (512, 99, 12_345), (65_536, 9, 10)] {
            let form = Form::new(size, true, 200).unwrap();
            let text = serde_json::to_string(&form.payload(key, seq)).unwrap();
            assert_eq!(text.len(), size);
            let task: Task = serde_json::from_str(&text).unwrap();
            assert_eq!((task.note, task.sleep), (true, 200));
        }
    }

    #[test]
    fn a_size_that_is_too_small_gives_the_smallest() {
        let form = Form::new(1, false, 0).unwrap();
        assert_eq!(form.payload(1, 22).pad, "");
    }
}
