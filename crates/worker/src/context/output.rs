//! The output of one run: what its handler prints, as it comes.
//!
//! The end is kept. A handler that prints without end costs the worker some
//! [`HELD_BYTES`] of memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use drumline_protocol::OutputParts;
use drumline_protocol::output::LAST_FAILED_BYTES;

/// The bytes from which on the start is dropped. It is moved once in 16 KiB, not with
/// each line.
const HELD_BYTES: usize = LAST_FAILED_BYTES + (16 << 10);

/// The output of one run.
#[derive(Debug, Default)]
pub(crate) struct Printed(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// The number of bytes that were dropped before these.
    before: u64,
}

impl Printed {
    fn held(&self) -> MutexGuard<'_, Held> {
        // The panic of a handler that prints must not end other tasks.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes as they have come. They may end within a line.
    pub(crate) fn add(&self, bytes: &[u8]) {
        self.held().add(bytes);
    }

    /// Adds a whole line, behind a line break if another line is not at its end.
    pub(crate) fn add_line(&self, line: &[u8]) {
        let mut held = self.held();
        if held.bytes.last().is_some_and(|last| *last != b'\n') {
            held.add(b"\n");
        }
        held.add(line);
        held.add(b"\n");
    }

    /// Takes back a line that turns out to be no output, if it is still the last one.
    pub(crate) fn take_back(&self, line: &[u8]) {
        let mut held = self.held();
        let own = held.bytes.strip_suffix(b"\n");
        let left = own.and_then(|own| own.strip_suffix(line)).map(<[u8]>::len);
        if let Some(left) = left {
            held.bytes.truncate(left);
        }
    }

    /// The output as it is stored with the attempt of this number; `None` if there
    /// is none.
    pub(crate) fn parts(&self, attempt: u32, has_failed: bool) -> Option<OutputParts> {
        let held = self.held();
        OutputParts::new(attempt, &held.bytes, held.before, has_failed)
    }
}

impl Held {
    fn add(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(LAST_FAILED_BYTES);
        if skipped > 0 {
            self.before += length(self.bytes.len() + skipped);
            self.bytes.clear();
        }
        self.bytes
            .extend_from_slice(bytes.get(skipped..).unwrap_or(bytes));
        if self.bytes.len() > HELD_BYTES {
            let dropped = self.bytes.len() - LAST_FAILED_BYTES;
            self.bytes.drain(..dropped);
            self.before += length(dropped);
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(printed: &Printed) -> String {
        let parts = printed.parts(1, false);
        parts.map(|parts| parts.end.text).unwrap_or_default()
    }

    #[test]
    fn lines_and_pieces_of_lines_stand_as_they_came() {
        let printed = Printed::default();
        assert_eq!(printed.parts(1, true), None);
        printed.add_line(b"first");
        printed.add(b"50 %");
        printed.add(b" done");
        printed.add_line(b"second");
        assert_eq!(text(&printed), "first\n50 % done\nsecond\n");
        printed.take_back(b"first");
        assert_eq!(text(&printed), "first\n50 % done\nsecond\n");
        printed.take_back(b"second");
        assert_eq!(text(&printed), "first\n50 % done\n");
    }

    #[test]
    fn the_end_is_kept_and_the_rest_is_counted() {
        let printed = Printed::default();
        let mut bytes = 0;
        for number in 0..100_000 {
            let line = format!("line {number}");
            printed.add_line(line.as_bytes());
            bytes += line.len() as u64 + 1;
            assert!(printed.held().bytes.len() <= HELD_BYTES);
        }
        let parts = printed.parts(1, true).unwrap();
        let front = parts.front.clone().unwrap();
        assert!(parts.end.text.ends_with("line 99999\n"));
        assert_eq!(parts.bytes(), LAST_FAILED_BYTES);
        assert_eq!(front.cut + parts.bytes() as u64, bytes);
        printed.add(&vec![b'x'; 1 << 20]);
        let parts = printed.parts(1, true).unwrap();
        assert_eq!(
            parts.front.unwrap().cut,
            bytes + (1 << 20) - LAST_FAILED_BYTES as u64
        );
    }
}
