//! The output of a command, line by line.
//!
//! | line of standard output | is |
//! |---|---|
//! | JSON object with `progress` (0 to 100, and `text`) | a report |
//! | JSON object with `checkpoint` | a checkpoint |
//! | the last other line that is JSON | the result |
//! | all else, also a line longer than [`LINE_BYTES`] | chatter, ignored |
//!
//! A command that prints without end costs the worker no memory. The end of
//! standard error is kept.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

use crate::context::report::REPORT_BYTES;

/// The longest line that is read: as long as the longest result.
pub const LINE_BYTES: usize = REPORT_BYTES;
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
    /// Text that is not for the worker.
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
            let progress = object.progress.and_then(|progress| percent(progress.get()));
            if progress.is_some() || object.checkpoint.is_some() {
                let text = object.text.and_then(|text| text_of(text.get()));
                return Self::Report {
                    progress: progress.map(|percent| (percent, text.unwrap_or_default())),
                    checkpoint: object.checkpoint.map(|json| json.get().to_owned()),
                };
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

/// Reads lines to the end and hands each to `take`; lines over the limit are
/// left out.
///
/// # Errors
/// When the pipe breaks.
pub async fn read_lines(
    mut from: impl AsyncBufRead + Unpin,
    mut take: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let buffer = from.fill_buf().await?;
        if buffer.is_empty() {
            if !line.is_empty() && !too_long {
                take(&line);
            }
            return Ok(());
        }
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer
            .get(..newline.unwrap_or(buffer.len()))
            .unwrap_or(buffer);
        too_long |= line.len() + part.len() > LINE_BYTES;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(newline.is_some());
        from.consume(used);
        if newline.is_some() {
            if !too_long {
                take(&line);
            }
            line.clear();
            too_long = false;
        }
    }
}

/// Reads to the end and keeps the end in `tail`, whole lines where possible.
///
/// # Errors
/// When the pipe breaks.
pub async fn read_tail(
    mut from: impl AsyncRead + Unpin,
    tail: &mut Vec<u8>,
) -> std::io::Result<()> {
    loop {
        if from.read_buf(tail).await? == 0 {
            return Ok(());
        }
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
            (r#"{"progress": 101}"#, result(r#"{"progress": 101}"#)),
            (r#"{"progress": "x"}"#, result(r#"{"progress": "x"}"#)),
            (r#"{"rows": 3}"#, result(r#"{"rows": 3}"#)),
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
    async fn a_line_without_end_costs_no_memory_and_hides_no_other() {
        let mut text = b"first\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * LINE_BYTES));
        text.extend_from_slice(b"\nlast");
        let mut lines = Vec::new();
        let take = |line: &[u8]| lines.push(line.to_vec());
        read_lines(&text[..], take).await.unwrap();
        assert_eq!(lines, [b"first".to_vec(), b"last".to_vec()]);
    }

    #[tokio::test]
    async fn the_end_of_standard_error_is_kept() {
        let mut text = String::new();
        for number in 0..100_000 {
            text.push_str(&format!("line {number}\n"));
        }
        let mut tail = Vec::new();
        read_tail(text.as_bytes(), &mut tail).await.unwrap();
        assert!(tail.len() <= 4 * ERRORS_BYTES, "{}", tail.len());
        let kept = tail_text(&tail);
        assert!(kept.starts_with("line "), "{}", &kept[..20]);
        assert!(kept.ends_with("line 99999"));
    }
}
