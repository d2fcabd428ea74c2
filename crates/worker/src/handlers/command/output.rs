//! The output of a command, line by line.
//!
//! | line of standard output | is |
//! |---|---|
//! | JSON object with `progress` (0 to 100, and `text`) | a report |
//! | JSON object with `checkpoint` | a checkpoint |
//! | `{"result": …}`, `{"done": true}`, or both in one object | explicit success, if it is the last line that is JSON and no report |
//! | the last other line that is JSON | the result, unless the command was asked to stop |
//! | all else | output |
//!
//! A command that prints without end costs the worker no memory: of a line longer
//! than [`LINE_BYTES`] the start is kept. The end of standard error is kept.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

use crate::context::report::REPORT_BYTES;

/// The longest line that is read: the longest result or checkpoint, and what is around
/// it.
pub const LINE_BYTES: usize = REPORT_BYTES + (4 << 10);
/// The number of bytes of the end of standard error that are kept.
pub const ERRORS_BYTES: usize = 16 << 10;

/// The meaning of one line.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// A report, a checkpoint, or both.
    Report {
        /// Percent and text.
        progress: Option<(u8, String)>,
        /// JSON text.
        checkpoint: Option<String>,
    },
    /// Other JSON: the result, unless another result follows.
    Result(String),
    /// Explicit success, with a result or without.
    Done(Option<String>),
    /// A report with a number that is no percentage.
    BadProgress,
    /// Text that is not for the worker: output.
    Chatter,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(default, borrow)]
    progress: Option<&'a RawValue>,
    #[serde(default, borrow)]
    text: Option<&'a RawValue>,
    #[serde(default, borrow)]
    checkpoint: Option<&'a RawValue>,
}

/// An object of these members alone is the explicit form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explicit<'a> {
    #[serde(default)]
    done: Option<bool>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
}

impl Line {
    /// The meaning of a line.
    #[must_use]
    pub fn parse(line: &[u8]) -> Self {
        let Ok(line) = std::str::from_utf8(line) else {
            return Self::Chatter;
        };
        let line = line.trim();
        if line.is_empty() {
            return Self::Chatter;
        }
        if line.starts_with('{') {
            let Ok(object) = serde_json::from_str::<Object<'_>>(line) else {
                return Self::Chatter;
            };
            let explicit = serde_json::from_str::<Explicit<'_>>(line).ok();
            if let Some(Explicit { done, result }) = explicit
                && done.unwrap_or(result.is_some())
            {
                return Self::Done(result.map(|json| json.get().to_owned()));
            }
            let progress = object.progress.and_then(|progress| percent(progress.get()));
            if progress.is_some() || object.checkpoint.is_some() {
                let text = object.text.and_then(|text| text_of(text.get()));
                return Self::Report {
                    progress: progress.map(|percent| (percent, text.unwrap_or_default())),
                    checkpoint: object.checkpoint.map(|json| json.get().to_owned()),
                };
            }
            let number = |json: &RawValue| serde_json::from_str::<f64>(json.get()).is_ok();
            if object.progress.is_some_and(number) {
                return Self::BadProgress;
            }
            return Self::Result(line.to_owned());
        }
        match serde_json::from_str::<IgnoredAny>(line) {
            Ok(IgnoredAny) => Self::Result(line.to_owned()),
            Err(_not_json) => Self::Chatter,
        }
    }
}

/// Parses a percentage: 0 to 100, whole or not. Any other value is no progress.
fn percent(json: &str) -> Option<u8> {
    let percent: f64 = serde_json::from_str(json).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100"
    )]
    (0.0..=100.0).contains(&percent).then_some(percent as u8)
}

fn text_of(json: &str) -> Option<String> {
    let text: Cow<'_, str> = serde_json::from_str(json).ok()?;
    Some(text.into_owned())
}

/// A line as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// The whole line.
    Line(&'a [u8]),
    /// A line over the limit.
    TooLong {
        /// Its first [`LINE_BYTES`] bytes.
        start: &'a [u8],
        /// The length of the line.
        bytes: usize,
        /// Its last byte.
        last: u8,
    },
}

/// Reads lines to the end and hands each to `take`.
///
/// # Errors
/// When the pipe breaks.
pub async fn read_lines(
    mut from: impl AsyncBufRead + Unpin,
    mut take: impl FnMut(Read<'_>),
) -> std::io::Result<()> {
    let mut line = Vec::new();
    let (mut bytes, mut last) = (0, b'\n');
    let mut whole = |line: &mut Vec<u8>, bytes: usize, last: u8| {
        if bytes > LINE_BYTES {
            take(Read::TooLong {
                start: line,
                bytes,
                last,
            });
        } else {
            take(Read::Line(line));
        }
        line.clear();
    };
    loop {
        let buffer = from.fill_buf().await?;
        if buffer.is_empty() {
            if bytes > 0 {
                whole(&mut line, bytes, last);
            }
            return Ok(());
        }
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer
            .get(..newline.unwrap_or(buffer.len()))
            .unwrap_or(buffer);
        let room = LINE_BYTES - line.len();
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        bytes += part.len();
        last = part.last().copied().unwrap_or(last);
        let used = part.len() + usize::from(newline.is_some());
        from.consume(used);
        if newline.is_some() {
            whole(&mut line, bytes, last);
            bytes = 0;
        }
    }
}

/// Reads to the end, hands all bytes to `take` as they come, and keeps the end in
/// `tail`.
///
/// # Errors
/// When the pipe breaks.
pub async fn read_tail(
    mut from: impl AsyncRead + Unpin,
    tail: &mut Vec<u8>,
    mut take: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    loop {
        let before = tail.len();
        if from.read_buf(tail).await? == 0 {
            return Ok(());
        }
        take(tail.get(before..).unwrap_or_default());
        // The tail is cut at twice its size, so each byte moves once at most.
        if tail.len() > 2 * ERRORS_BYTES {
            // One byte more than is kept shows that there was more.
            tail.drain(..tail.len() - ERRORS_BYTES - 1);
        }
    }
}

/// The end that is kept, as text.
#[must_use]
pub fn tail_text(tail: &[u8]) -> String {
    let start = tail.len().saturating_sub(ERRORS_BYTES);
    let kept = tail.get(start..).unwrap_or(tail);
    let text = String::from_utf8_lossy(kept);
    let text = text.trim();
    match text.split_once('\n') {
        // The first line has lost its beginning, and is left out.
        Some((_part, whole)) if start > 0 => whole.to_owned(),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let report = |progress: Option<(u8, &str)>, checkpoint: Option<&str>| Line::Report {
            progress: progress.map(|(percent, text)| (percent, text.to_owned())),
            checkpoint: checkpoint.map(str::to_owned),
        };
        let result = |json: &str| Line::Result(json.to_owned());
        for (line, expected) in [
            (r#"{"progress": 40}"#, report(Some((40, "")), None)),
            (
                r#" {"progress": 99.9, "text": "caf\u00e9"} "#,
                report(Some((99, "café")), None),
            ),
            (
                r#"{"progress": 1, "text": 7, "checkpoint": {"page": 3}}"#,
                report(Some((1, "")), Some(r#"{"page": 3}"#)),
            ),
            (r#"{"checkpoint": "a"}"#, report(None, Some("\"a\""))),
            (r#"{"progress": 101}"#, Line::BadProgress),
            (r#"{"progress": -1, "text": "a"}"#, Line::BadProgress),
            (r#"{"progress": "x"}"#, result(r#"{"progress": "x"}"#)),
            (r#"{"rows": 3}"#, result(r#"{"rows": 3}"#)),
            (r#"{"done": true}"#, Line::Done(None)),
            (
                r#"{"result": {"rows": 3}}"#,
                Line::Done(Some(r#"{"rows": 3}"#.to_owned())),
            ),
            (
                r#"{"done": true, "result": 3}"#,
                Line::Done(Some("3".to_owned())),
            ),
            (r#"{"done": false}"#, result(r#"{"done": false}"#)),
            (
                r#"{"done": true, "rows": 3}"#,
                result(r#"{"done": true, "rows": 3}"#),
            ),
            ("42", result("42")),
            ("[1, 2]", result("[1, 2]")),
            ("\"done\"", result("\"done\"")),
            ("null", result("null")),
            ("", Line::Chatter),
            ("importing…", Line::Chatter),
            ("{broken", Line::Chatter),
            ("1 2", Line::Chatter),
        ] {
            assert_eq!(Line::parse(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(Line::parse(b"\"\xff\""), Line::Chatter);
    }

    #[tokio::test]
    async fn of_a_line_without_end_the_start_is_kept_and_it_hides_no_other() {
        let mut text = b"first\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * LINE_BYTES));
        text.extend_from_slice(b"}\n\nlast");
        let mut lines = Vec::new();
        let take = |read: Read<'_>| {
            lines.push(match read {
                Read::Line(line) => (line.to_vec(), line.len(), 0),
                Read::TooLong { start, bytes, last } => (start.to_vec(), bytes, last),
            });
        };
        read_lines(&text[..], take).await.unwrap();
        let start = vec![b'x'; LINE_BYTES];
        assert_eq!(
            lines,
            [
                (b"first".to_vec(), 5, 0),
                (start, 3 * LINE_BYTES + 1, b'}'),
                (Vec::new(), 0, 0),
                (b"last".to_vec(), 4, 0),
            ]
        );
    }

    #[tokio::test]
    async fn the_end_of_standard_error_is_kept() {
        let mut text = String::new();
        for number in 0..100_000 {
            text.push_str(&format!("line {number}\n"));
        }
        let mut tail = Vec::new();
        let mut taken = 0;
        let count = |read: &[u8]| taken += read.len();
        read_tail(text.as_bytes(), &mut tail, count).await.unwrap();
        assert_eq!(taken, text.len());
        assert!(tail.len() <= 4 * ERRORS_BYTES, "{}", tail.len());
        let kept = tail_text(&tail);
        assert!(kept.starts_with("line "), "{}", &kept[..20]);
        assert!(kept.ends_with("line 99999"));
    }
}
