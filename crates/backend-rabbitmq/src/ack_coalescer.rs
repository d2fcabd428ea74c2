//! Acknowledged deliveries, in the fewest frames that say so.
//!
//! Pure. A channel numbers its deliveries 1, 2, 3, …; they are acknowledged in
//! any order. Everything up to the first gap is acknowledged by one frame, the
//! rest singly, so that a message that is slow to be decided holds no other up.

use std::collections::BTreeSet;

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
    said: BTreeSet<u64>,
    /// Not said yet.
    unsaid: BTreeSet<u64>,
}

impl AckCoalescer {
    /// A delivery may be acknowledged. Saying it twice does nothing.
    pub(crate) fn note(&mut self, tag: u64) {
        if tag > self.settled && !self.said.contains(&tag) {
            self.unsaid.insert(tag);
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
            } else if !self.said.remove(&next) {
                break;
            }
            self.settled = next;
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
    fn saying_it_twice_says_it_once() {
        let expected: [&[&str]; 3] = [&["1"], &["3"], &[]];
        assert_eq!(said(&[&[1], &[1, 3, 3], &[3]]), expected);
    }
}
