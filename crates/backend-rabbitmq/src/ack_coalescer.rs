//! Acknowledged deliveries, in the fewest frames that say so.
//!
//! Pure. A channel numbers its deliveries 1, 2, 3, …; they are acknowledged in
//! any order. Everything up to the first gap is acknowledged by one frame, the
//! rest singly, so that a message that is slow to be decided holds no other up.

use std::collections::{BTreeMap, BTreeSet};

/// One `basic.ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    /// The delivery, or the last of them.
    pub(crate) tag: u64,
    /// It stands for all deliveries before it, too.
    pub(crate) multiple: bool,
}

/// The acknowledgements of one channel.
#[derive(Debug, Default)]
pub(crate) struct AckCoalescer {
    /// Everything up to here has been said.
    settled: u64,
    /// Said, beyond a gap.
    said: Runs,
    /// Not said yet.
    unsaid: BTreeSet<u64>,
}

impl AckCoalescer {
    /// A delivery may be acknowledged. Saying it twice does nothing.
    pub(crate) fn note(&mut self, tag: u64) {
        if tag > self.settled && !self.said.contains(tag) {
            self.unsaid.insert(tag);
        }
    }

    /// A delivery was settled in another way: no acknowledgement is to name it.
    pub(crate) fn say(&mut self, tag: u64) {
        self.unsaid.remove(&tag);
        if tag > self.settled {
            self.said.insert(tag);
        }
    }

    /// Notes all of these, and leaves none.
    pub(crate) fn note_all(&mut self, tags: &mut Vec<u64>) {
        for tag in tags.drain(..) {
            self.note(tag);
        }
    }

    /// The number of acknowledgements that are to be sent.
    pub(crate) fn unsaid(&self) -> usize {
        self.unsaid.len()
    }

    /// Takes the acknowledgements to send now; afterwards they count as sent.
    pub(crate) fn take(&mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        // The last one in the unbroken run that was not said yet. One that was
        // said must not end the frame: the broker knows it no longer.
        let mut last = None;
        let mut count = 0_usize;
        loop {
            let next = self.settled.saturating_add(1);
            if self.unsaid.remove(&next) {
                last = Some(next);
                count = count.saturating_add(1);
                self.settled = next;
            } else if let Some(end) = self.said.take(next) {
                self.settled = end;
            } else {
                break;
            }
        }
        if let Some(tag) = last {
            acks.push(Ack {
                tag,
                multiple: count > 1,
            });
        }
        for tag in std::mem::take(&mut self.unsaid) {
            self.said.insert(tag);
            acks.push(Ack {
                tag,
                multiple: false,
            });
        }
        acks
    }
}

/// Numbers, as unbroken runs: a channel that waits for one delivery for hours must not
/// keep millions.
#[derive(Debug, Default)]
struct Runs {
    /// The last of each run, by its first. No two are adjacent.
    ends: BTreeMap<u64, u64>,
}

impl Runs {
    fn contains(&self, number: u64) -> bool {
        let before = self.ends.range(..=number).next_back();
        before.is_some_and(|(_, end)| *end >= number)
    }

    fn insert(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let before = self.ends.range(..number).next_back();
        let start = match before {
            Some((start, end)) if end.saturating_add(1) == number => *start,
            Some(_) | None => number,
        };
        let end = self.ends.remove(&number.saturating_add(1));
        self.ends.insert(start, end.unwrap_or(number));
    }

    /// Takes the run that starts with a number, and returns its last.
    fn take(&mut self, start: u64) -> Option<u64> {
        self.ends.remove(&start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes and takes in steps; what was said, as `tag` or `..=tag`.
    fn said(steps: &[&[u64]]) -> Vec<Vec<String>> {
        let mut coalescer = AckCoalescer::default();
        let mut all = Vec::new();
        for step in steps {
            for tag in *step {
                coalescer.note(*tag);
            }
            let acks = coalescer.take().into_iter().map(|ack| match ack.multiple {
                true => format!("..={}", ack.tag),
                false => ack.tag.to_string(),
            });
            all.push(acks.collect());
        }
        all
    }

    #[test]
    fn a_run_is_one_frame() {
        assert_eq!(said(&[&[1, 2, 3], &[4]]), [["..=3"], ["4"]]);
    }

    #[test]
    fn a_gap_holds_nothing_up_and_is_closed_later() {
        let expected: [&[&str]; 3] = [&["1", "3", "4"], &["2"], &["..=6"]];
        assert_eq!(said(&[&[1, 3, 4], &[2], &[6, 5]]), expected);
    }

    #[test]
    fn a_frame_never_ends_with_what_was_said_before() {
        // 3 was said alone; when 1 and 2 follow, the frame must end with 2.
        let expected: [&[&str]; 2] = [&["3"], &["..=2"]];
        assert_eq!(said(&[&[3], &[1, 2]]), expected);
    }

    #[test]
    fn what_was_given_back_is_not_named() {
        let mut coalescer = AckCoalescer::default();
        for tag in [1, 3, 4] {
            coalescer.note(tag);
        }
        coalescer.say(4);
        coalescer.say(2);
        let acks = coalescer.take();
        assert_eq!(
            acks,
            [Ack {
                tag: 3,
                multiple: true
            }]
        );
        coalescer.note(5);
        assert_eq!(coalescer.take().first().map(|ack| ack.tag), Some(5));
    }

    #[test]
    fn a_gap_keeps_one_run_and_not_each_number() {
        let mut coalescer = AckCoalescer::default();
        for tag in (3..10_000).chain([2]) {
            coalescer.note(tag);
            coalescer.take();
        }
        assert_eq!(coalescer.said.ends.len(), 1);
        assert!(coalescer.said.contains(9_999) && !coalescer.said.contains(1));
        coalescer.note(1);
        assert_eq!(coalescer.take().len(), 1);
        assert_eq!(coalescer.settled, 9_999);
    }

    #[test]
    fn saying_it_twice_says_it_once() {
        let expected: [&[&str]; 3] = [&["1"], &["3"], &[]];
        assert_eq!(said(&[&[1], &[1, 3, 3], &[3]]), expected);
    }
}
