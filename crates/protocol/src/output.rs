//! The output of an attempt: the end of what its handler has printed.
//!
//! The last [`KEPT`] attempts keep [`OTHER_BYTES`] each. The last one that has failed
//! keeps [`LAST_FAILED_BYTES`], because a person will read it, and keeps them however many
//! attempts come behind it. A worker may be told to keep less. A store
//! keeps an output in two parts, so that a later attempt shortens an earlier
//! output without a read of it:
//!
//! ```text
//! printed ── cut ──│── front: of the last failed attempt alone ──│── end: one per attempt ──│
//! ```
//!
//! The ends have places in turn. A later attempt that has not failed moves the end of the
//! last failed one aside when it takes its place.
//!
//! Nothing is stored of an attempt that has printed nothing.

use serde::{Deserialize, Serialize};

/// The most bytes that are kept of the last attempt that has failed.
pub const LAST_FAILED_BYTES: usize = 64 << 10;
/// The most bytes that are kept of any other attempt.
pub const OTHER_BYTES: usize = 4 << 10;
/// The number of attempts whose output is kept.
pub const KEPT: usize = 4;

/// The output of an attempt, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The number of bytes that were printed before the text.
    pub cut: u64,
    /// The text, as it was printed. It may have control characters.
    pub text: String,
}

/// The parts of an output, as the commit that ends the attempt writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputParts {
    /// The last [`OTHER_BYTES`] of it.
    pub end: Output,
    /// The text before, for an attempt that has failed: it replaces the front of
    /// the one before. `None` for any other attempt: the stored front stays.
    pub front: Option<Output>,
}

impl OutputParts {
    /// The parts of what an attempt has printed: these bytes at its end, and so many
    /// before them. At most `keep` bytes are kept, and no more than of any such attempt.
    /// `None` if it has printed nothing, or if nothing is to be kept.
    #[must_use]
    pub fn new(
        attempt: u32,
        printed: &[u8],
        before: u64,
        has_failed: bool,
        keep: usize,
    ) -> Option<Self> {
        let most = keep.min(if has_failed {
            LAST_FAILED_BYTES
        } else {
            OTHER_BYTES
        });
        let printed_bytes = length(printed.len()).saturating_add(before);
        let start = printed.len().saturating_sub(most);
        let kept = printed.get(start..).unwrap_or(printed);
        // A character that has lost its start is left out.
        let lost = match start > 0 || before > 0 {
            true => kept
                .iter()
                .take(3)
                .take_while(|byte| is_inner(**byte))
                .count(),
            false => 0,
        };
        let text = String::from_utf8_lossy(kept.get(lost..).unwrap_or_default());
        // Bytes that are no text become longer.
        let text = end_of(&text, most);
        if text.is_empty() {
            return None;
        }
        let end = end_of(text, OTHER_BYTES);
        let front = text.get(..text.len() - end.len()).unwrap_or_default();
        let part = |text: &str, behind: usize| Output {
            attempt,
            cut: printed_bytes.saturating_sub(length(behind)),
            text: text.to_owned(),
        };
        Some(Self {
            end: part(end, end.len()),
            front: has_failed.then(|| part(front, text.len())),
        })
    }

    /// The place of the end among those that are kept, from 0.
    #[must_use]
    pub fn place(&self) -> usize {
        place(self.end.attempt)
    }

    /// The bytes of the texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.end.text.len() + self.front.as_ref().map_or(0, |front| front.text.len())
    }
}

fn place(attempt: u32) -> usize {
    usize::try_from(attempt.saturating_sub(1)).unwrap_or(0) % KEPT
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Returns true for a byte of a character that is not its first.
const fn is_inner(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// The end of a text, of so many bytes at most.
fn end_of(text: &str, most: usize) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(most));
    text.get(start..).unwrap_or_default()
}

/// The stored outputs of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The front of the last attempt that has failed.
    front: Option<Output>,
    /// The ends, each at the place of its attempt.
    ends: [Option<Output>; KEPT],
    /// The end of the last attempt that has failed, once a later attempt has its place.
    aside: Option<Output>,
}

impl Outputs {
    /// The outputs of these stored parts. The ends come in any order; `aside` is the end
    /// of the last attempt that has failed, if a later attempt has taken its place.
    #[must_use]
    pub fn new(
        front: Option<Output>,
        ends: impl IntoIterator<Item = Output>,
        aside: Option<Output>,
    ) -> Self {
        let mut outputs = Self {
            front,
            aside,
            ..Self::default()
        };
        for end in ends {
            outputs.put(end);
        }
        outputs
    }

    /// The stored parts, as [`Self::new`] takes them: the front, the ends, and the end
    /// aside.
    pub fn parts(
        &self,
    ) -> (
        Option<&Output>,
        impl Iterator<Item = &Output>,
        Option<&Output>,
    ) {
        let ends = self.ends.iter().flatten();
        (self.front.as_ref(), ends, self.aside.as_ref())
    }

    /// Returns true if nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Stores the parts of one more attempt.
    pub fn store(&mut self, parts: OutputParts) {
        let OutputParts { end, front } = parts;
        let failed = self.front.as_ref().map(|front| front.attempt);
        let present = self.ends.get(place(end.attempt)).and_then(Option::as_ref);
        if front.is_some() {
            self.front = front;
            self.aside = None;
        } else if let Some(present) = present.filter(|it| failed == Some(it.attempt)) {
            self.aside = Some(present.clone());
        }
        self.put(end);
    }

    fn put(&mut self, end: Output) {
        if let Some(place) = self.ends.get_mut(place(end.attempt)) {
            *place = Some(end);
        }
    }

    /// The outputs, that of the earliest attempt first.
    #[must_use]
    pub fn read(self) -> Vec<Output> {
        let Self { front, ends, aside } = self;
        let mut outputs: Vec<Output> = ends.into_iter().chain([aside]).flatten().collect();
        outputs.sort_by_key(|output| output.attempt);
        if let Some(front) = front {
            let mut own = outputs.iter_mut();
            if let Some(output) = own.find(|output| output.attempt == front.attempt) {
                output.cut = front.cut;
                output.text.insert_str(0, &front.text);
            }
        }
        outputs
    }
}

/// An output as text for people: without the sequences by which programs colour a
/// terminal, and with a line break where a program has gone back to the start of
/// its line.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    plain.push('\n');
                }
            }
            '\u{1b}' => match characters.peek() {
                // A control sequence ends with a letter or a sign.
                Some('[') => {
                    characters.next();
                    let _rest = characters.by_ref().find(|next| ('@'..='~').contains(next));
                }
                // A command to the terminal ends with a bell, or ESC \.
                Some(']') => {
                    let mut before = ' ';
                    for next in characters.by_ref() {
                        if next == '\u{7}' || (before == '\u{1b}' && next == '\\') {
                            break;
                        }
                        before = next;
                    }
                }
                Some(_) | None => plain.push(character),
            },
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(attempt: u32, text: &str) -> OutputParts {
        OutputParts::new(attempt, text.as_bytes(), 0, true, usize::MAX).unwrap()
    }

    fn succeeded(attempt: u32, text: &str) -> OutputParts {
        OutputParts::new(attempt, text.as_bytes(), 0, false, usize::MAX).unwrap()
    }

    fn lengths(outputs: &Outputs) -> Vec<(u32, usize, u64)> {
        let read = outputs.clone().read().into_iter();
        read.map(|output| (output.attempt, output.text.len(), output.cut))
            .collect()
    }

    #[test]
    fn the_last_failed_attempt_keeps_more_than_the_others() {
        let long = "x".repeat(LAST_FAILED_BYTES + 100);
        let cut = |kept: usize| (long.len() - kept) as u64;
        let (most, few) = (LAST_FAILED_BYTES, OTHER_BYTES);
        let mut outputs = Outputs::default();
        outputs.store(failed(1, &long));
        assert_eq!(lengths(&outputs), [(1, most, 100)]);
        // A short output takes the place of the long one, too.
        outputs.store(failed(2, "short"));
        assert_eq!(lengths(&outputs), [(1, few, cut(few)), (2, 5, 0)]);
        outputs.store(failed(3, &long));
        outputs.store(succeeded(4, &long));
        let expected = [
            (1, few, cut(few)),
            (2, 5, 0),
            (3, most, 100),
            (4, few, cut(few)),
        ];
        assert_eq!(lengths(&outputs), expected);
    }

    #[test]
    fn four_attempts_are_kept_also_where_some_have_printed_nothing() {
        let mut outputs = Outputs::default();
        for attempt in [3, 4, 5, 8, 9] {
            outputs.store(failed(attempt, &attempt.to_string()));
        }
        let kept = outputs.clone().read().into_iter();
        let kept: Vec<u32> = kept.map(|output| output.attempt).collect();
        assert_eq!(kept, [3, 8, 9]);
        let parts = outputs.clone();
        let ends = parts.ends.into_iter().flatten();
        assert_eq!(Outputs::new(parts.front, ends, parts.aside), outputs);
    }

    #[test]
    fn the_last_failed_attempt_outlasts_those_that_do_not_fail() {
        let long = "x".repeat(LAST_FAILED_BYTES);
        let mut outputs = Outputs::default();
        outputs.store(failed(3, &long));
        for attempt in 4..=12 {
            outputs.store(succeeded(attempt, "given back"));
            let kept = lengths(&outputs);
            assert!(kept.contains(&(3, LAST_FAILED_BYTES, 0)), "{kept:?}");
            assert!(kept.len() <= KEPT + 1);
        }
        let parts = outputs.clone();
        let ends = parts.ends.into_iter().flatten();
        assert_eq!(Outputs::new(parts.front, ends, parts.aside), outputs);
        // The next failure takes all of its room.
        outputs.store(failed(13, "short"));
        let kept: Vec<u32> = lengths(&outputs).iter().map(|kept| kept.0).collect();
        assert_eq!(kept, [10, 11, 12, 13]);
    }

    #[test]
    fn a_worker_may_keep_less() {
        let keep = |has_failed, keep| {
            let parts = OutputParts::new(1, b"0123456789", 5, has_failed, keep);
            parts.map(|parts| (parts.end.text.clone(), parts.end.cut, parts.bytes()))
        };
        assert_eq!(keep(true, 4), Some(("6789".to_owned(), 11, 4)));
        assert_eq!(keep(false, 4), Some(("6789".to_owned(), 11, 4)));
        assert_eq!((keep(true, 0), keep(false, 0)), (None, None));
    }

    #[test]
    fn a_cut_divides_no_character() {
        // Characters of three bytes: neither limit is a multiple of three.
        let long = "€".repeat(LAST_FAILED_BYTES);
        let parts = failed(1, &long);
        assert!(parts.bytes() <= LAST_FAILED_BYTES && parts.bytes() > LAST_FAILED_BYTES - 3);
        let mut outputs = Outputs::default();
        outputs.store(parts);
        let output = outputs.read().pop().unwrap();
        assert!(long.ends_with(&output.text));
        assert_eq!(output.text.len() as u64 + output.cut, long.len() as u64);
        // The bytes before these ones are in no hand any more.
        let parts = OutputParts::new(1, &"€uro".as_bytes()[1..], 1, true, 64).unwrap();
        assert_eq!((parts.end.text.as_str(), parts.end.cut), ("uro", 3));
    }

    #[test]
    fn bytes_that_are_no_text_take_no_more_room() {
        let parts =
            OutputParts::new(1, &vec![0xff; LAST_FAILED_BYTES], 7, true, usize::MAX).unwrap();
        assert!(parts.bytes() <= LAST_FAILED_BYTES, "{}", parts.bytes());
        assert!(parts.end.text.chars().all(|shown| shown == '\u{fffd}'));
        assert_eq!(OutputParts::new(1, b"", 0, true, 64), None);
        assert_eq!(OutputParts::new(1, &[0x80], 9, true, 64), None);
    }

    #[test]
    fn a_plain_output_has_no_sequences_for_terminals() {
        for (text, shown) in [
            ("\u{1b}[1;31merror\u{1b}[0m: x", "error: x"),
            ("10 %\r20 %\r\ndone\n", "10 %\n20 %\ndone\n"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b", "ab"),
            ("\u{1b}]0;C:\\temp\u{7}a", "a"),
            ("cut \u{1b}[3", "cut "),
            ("\u{1b}x", "\u{1b}x"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn a_store_reads_the_parts_that_it_keeps() {
        let mut outputs = Outputs::default();
        assert!(outputs.is_empty());
        let long = "x".repeat(OTHER_BYTES + 1);
        let parts = failed(3, &long);
        assert_eq!(parts.place(), 2);
        assert_eq!(parts.bytes(), long.len());
        outputs.store(parts.clone());
        assert!(!outputs.is_empty());
        for attempt in 4..=7 {
            outputs.store(succeeded(attempt, "done"));
        }
        let (front, ends, aside) = outputs.parts();
        let ends: Vec<u32> = ends.map(|end| end.attempt).collect();
        assert_eq!((front, aside), (parts.front.as_ref(), Some(&parts.end)));
        assert_eq!(ends, [5, 6, 7, 4], "each at its place");
    }
}
