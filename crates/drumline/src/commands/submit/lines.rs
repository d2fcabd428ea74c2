//! The lines of a file of requests: read, checked, named, and put in order.
//!
//! Nothing here sends anything.

use std::collections::{HashMap, HashSet, VecDeque};

use drumline_queue_manager::request::CreateRequest;
use sha2::{Digest, Sha256};

/// One request of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub(super) number: usize,
    /// Its JSON text, as it is.
    pub(super) text: String,
    /// Its dependency token.
    pub(super) token: Option<String>,
}

/// A line that is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Its number in the file, from 1.
    pub(super) number: usize,
    /// What is wrong with it.
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
            Ok(token) => lines.push(Line {
                number,
                text: text.to_owned(),
                token,
            }),
            Err(what) => bad.push(BadLine { number, what }),
        }
    }
    if bad.is_empty() { Ok(lines) } else { Err(bad) }
}

/// Its token. The check is the service's own: whoever made the file hears of
/// everything that is wrong with it before anything is created.
fn check(text: &str) -> Result<Option<String>, String> {
    CreateRequest::from_json(text.as_bytes())
        .map(|request| request.dependency_token.map(String::from))
        .map_err(|error| error.to_string())
}

/// A name for the content of a file: equal content, equal name.
pub(super) fn fingerprint(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The lines in the order in which they may be sent: as in the file, but none
/// while an earlier one of its token is on its way.
#[derive(Debug)]
pub(super) struct Schedule {
    fresh: VecDeque<Line>,
    /// Lines that were overtaken because their token was busy, by token.
    held: HashMap<String, VecDeque<Line>>,
    /// Lines whose token has just become free: they come first.
    freed: VecDeque<Line>,
    busy: HashSet<String>,
}

impl Schedule {
    pub(super) fn new(lines: Vec<Line>) -> Self {
        Self {
            fresh: lines.into(),
            held: HashMap::new(),
            freed: VecDeque::new(),
            busy: HashSet::new(),
        }
    }

    /// The next line that may be sent now. `None`: all are sent, or wait for
    /// one that is on its way.
    pub(super) fn next(&mut self) -> Option<Line> {
        if let Some(line) = self.freed.pop_front() {
            return Some(line);
        }
        loop {
            let line = self.fresh.pop_front()?;
            let Some(token) = line.token.clone() else {
                return Some(line);
            };
            if self.busy.insert(token.clone()) {
                return Some(line);
            }
            self.held.entry(token).or_default().push_back(line);
        }
    }

    /// Says that a line was answered.
    pub(super) fn answered(&mut self, line: &Line) {
        let Some(token) = &line.token else {
            return;
        };
        let next = self.held.get_mut(token).and_then(VecDeque::pop_front);
        match next {
            Some(next) => self.freed.push_back(next),
            None => {
                self.held.remove(token);
                self.busy.remove(token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, token: Option<&str>) -> Line {
        Line {
            number,
            text: String::new(),
            token: token.map(str::to_owned),
        }
    }

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
        assert_eq!(lines[0].token.as_deref(), Some("t"));
        assert_eq!(
            lines[0].text,
            "{\"messageName\":\"A\",\"dependencyToken\":\"t\"}"
        );
    }

    #[test]
    fn one_line_of_a_token_is_on_its_way_at_a_time() {
        let mut schedule = Schedule::new(vec![
            line(1, Some("a")),
            line(2, Some("a")),
            line(3, None),
            line(4, Some("a")),
            line(5, Some("b")),
        ]);
        let next = |schedule: &mut Schedule| schedule.next().map(|line| line.number);
        assert_eq!(next(&mut schedule), Some(1));
        assert_eq!(next(&mut schedule), Some(3));
        assert_eq!(next(&mut schedule), Some(5));
        assert_eq!(next(&mut schedule), None);
        schedule.answered(&line(1, Some("a")));
        assert_eq!(next(&mut schedule), Some(2));
        assert_eq!(next(&mut schedule), None);
        schedule.answered(&line(2, Some("a")));
        assert_eq!(next(&mut schedule), Some(4));
        schedule.answered(&line(4, Some("a")));
        schedule.answered(&line(5, Some("b")));
        assert_eq!(next(&mut schedule), None);
    }

    #[test]
    fn equal_content_has_an_equal_fingerprint() {
        assert_eq!(fingerprint("a"), fingerprint("a"));
        assert_ne!(fingerprint("a"), fingerprint("b"));
        assert_eq!(fingerprint("a").len(), 24);
    }
}
