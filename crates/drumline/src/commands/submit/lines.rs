//! The lines of a file of requests: read, checked, and named.
//!
//! Nothing here sends anything.

use drumline_api::CreateOperation;
use drumline_queue_manager::GRAMMAR;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// One request of the file.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub(super) number: usize,
    /// Its JSON text, unchanged.
    pub(super) text: Box<RawValue>,
}

/// A line that is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Its number in the file, from 1.
    pub(super) number: usize,
    /// The fault of the line.
    pub(super) what: String,
}

/// The requests of a file; empty lines are skipped.
///
/// # Errors
/// Every bad line.
pub(super) fn parse(text: &str) -> Result<Vec<Line>, Vec<BadLine>> {
    let mut lines = Vec::new();
    let mut bad = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let number = index + 1;
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        match check(text) {
            Ok(text) => lines.push(Line { number, text }),
            Err(what) => bad.push(BadLine { number, what }),
        }
    }
    if bad.is_empty() { Ok(lines) } else { Err(bad) }
}

/// Reads a line as JSON. The check is the service's own: the author of the file
/// gets all faults before anything is created.
fn check(text: &str) -> Result<Box<RawValue>, String> {
    CreateOperation::from_json(text.as_bytes(), &GRAMMAR).map_err(|error| error.to_string())?;
    RawValue::from_string(text.to_owned()).map_err(|error| error.to_string())
}

/// A name for the content of a file: equal content, equal name.
pub(super) fn fingerprint(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_line_is_told_with_its_number() {
        let text = "{\"messageName\":\"A\"}\n\n{\"messageName\":\n{\"name\":\"x\"}\n[]\n{\"messageName\":\"\"}\n";
        let bad = parse(text).unwrap_err();
        let numbers: Vec<_> = bad.iter().map(|bad| bad.number).collect();
        assert_eq!(numbers, [3, 4, 5, 6]);
        assert!(bad[1].what.contains("messageName"), "{bad:?}");
    }

    #[test]
    fn a_good_file_keeps_its_numbers_and_texts() {
        let text = "\n {\"messageName\":\"A\",\"dependencyToken\":\"t\"} \n";
        let lines = parse(text).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].number, 2);
        assert_eq!(
            lines[0].text.get(),
            "{\"messageName\":\"A\",\"dependencyToken\":\"t\"}"
        );
    }

    #[test]
    fn equal_content_has_an_equal_fingerprint() {
        assert_eq!(fingerprint("a"), fingerprint("a"));
        assert_ne!(fingerprint("a"), fingerprint("b"));
        assert_eq!(fingerprint("a").len(), 24);
    }
}
