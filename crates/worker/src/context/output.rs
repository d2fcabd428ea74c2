//! The output of one run: what its handler prints, as it comes.
//!
//! The end is kept. A handler that prints without end costs the worker no more memory
//! than is kept, and [`SPARE_BYTES`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use drumline_protocol::OutputParts;

use crate::options::KeptOutput;

/// The bytes beyond those that are kept from which on the start is dropped. So the end is
/// moved once in 16 KiB, not with each line.
const SPARE_BYTES: usize = 16 << 10;

/// The output of one run.
#[derive(Debug)]
pub(crate) struct Printed {
    held: Mutex<Held>,
    keep: KeptOutput,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// The number of bytes that were dropped before these.
    before: u64,
    /// The most bytes that are kept of any attempt.
    most: usize,
}

impl Printed {
    /// An output of which so much is kept.
    pub(crate) fn new(keep: KeptOutput) -> Self {
        let held = Held {
            bytes: Vec::new(),
            before: 0,
            most: keep.any,
        };
        Self {
            held: Mutex::new(held),
            keep,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // The panic of a handler that prints must not end other tasks.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// is none, or if none is kept.
    pub(crate) fn parts(
        &self,
        attempt: u32,
        has_failed: bool,
        has_succeeded: bool,
    ) -> Option<OutputParts> {
        let held = self.held();
        let keep = match has_succeeded {
            true => self.keep.succeeded,
            false => self.keep.any,
        };
        OutputParts::new(attempt, &held.bytes, held.before, has_failed, keep)
    }
}

impl Held {
    fn add(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(self.most);
        if skipped > 0 {
            self.before += length(self.bytes.len() + skipped);
            self.bytes.clear();
        }
        self.bytes
            .extend_from_slice(bytes.get(skipped..).unwrap_or(bytes));
        if self.bytes.len() > self.most.saturating_add(SPARE_BYTES) {
            let dropped = self.bytes.len() - self.most;
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
    use drumline_protocol::output::LAST_FAILED_BYTES;

    use super::*;

    fn printed(any: usize, succeeded: usize) -> Printed {
        Printed::new(KeptOutput { any, succeeded })
    }

    fn text(printed: &Printed) -> String {
        let parts = printed.parts(1, false, false);
        parts.map(|parts| parts.end.text).unwrap_or_default()
    }

    #[test]
    fn lines_and_pieces_of_lines_stand_as_they_came() {
        let printed = printed(LAST_FAILED_BYTES, 0);
        assert_eq!(printed.parts(1, true, false), None);
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
        let printed = printed(LAST_FAILED_BYTES, 0);
        let mut bytes = 0;
        for number in 0..100_000 {
            let line = format!("line {number}");
            printed.add_line(line.as_bytes());
            bytes += line.len() as u64 + 1;
            assert!(printed.held().bytes.len() <= LAST_FAILED_BYTES + SPARE_BYTES);
        }
        let parts = printed.parts(1, true, false).unwrap();
        let front = parts.front.clone().unwrap();
        assert!(parts.end.text.ends_with("line 99999\n"));
        assert_eq!(parts.bytes(), LAST_FAILED_BYTES);
        assert_eq!(front.cut + parts.bytes() as u64, bytes);
        printed.add(&vec![b'x'; 1 << 20]);
        let parts = printed.parts(1, true, false).unwrap();
        assert_eq!(
            parts.front.unwrap().cut,
            bytes + (1 << 20) - LAST_FAILED_BYTES as u64
        );
    }
    #[test]
    fn less_is_kept_and_held_where_the_worker_is_told_so() {
        let small = printed(10, 4);
        for _ in 0..100_000 {
            small.add_line(b"a line");
            assert!(small.held().bytes.len() <= 10 + SPARE_BYTES);
        }
        let kept = |parts: Option<OutputParts>| parts.map(|parts| parts.bytes());
        assert_eq!(kept(small.parts(1, true, false)), Some(10));
        assert_eq!(kept(small.parts(1, false, false)), Some(10));
        assert_eq!(kept(small.parts(1, false, true)), Some(4));
        let none = printed(0, 0);
        none.add_line(b"a line");
        assert_eq!(none.held().bytes.len(), 0);
        assert_eq!(none.parts(1, true, false), None);
    }
}
