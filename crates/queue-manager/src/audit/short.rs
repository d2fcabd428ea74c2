//! Entries short enough for the stream: what is least needed is cut first.

use drumline_backend::store::AUDIT_ENTRY_BYTES;
use drumline_protocol::limits::cut;

use super::entry::Entry;

/// The steps that make an entry shorter, in their order. After the last one it has
/// texts of the service alone.
const STEPS: [fn(&mut Entry); 4] = [
    |entry| {
        for value in entry.filter.values_mut() {
            shorten(value, 40);
        }
        shorten_some(&mut entry.reason, 200);
        shorten_some(&mut entry.forwarded_for, 40);
        shorten_some(&mut entry.certificate, 80);
    },
    |entry| {
        entry.ids.truncate(3);
        entry.filter.clear();
        entry.forwarded_for = None;
        shorten_some(&mut entry.reason, 40);
    },
    |entry| {
        entry.ids.clear();
        entry.reason = None;
        entry.certificate = None;
        entry.caller = None;
        shorten_some(&mut entry.principal, 40);
    },
    |entry| {
        entry.principal = None;
        entry.organization = None;
    },
];

/// The line of an entry, of at most [`AUDIT_ENTRY_BYTES`].
pub(super) fn line(entry: &Entry) -> String {
    let whole = entry.line();
    if whole.len() <= AUDIT_ENTRY_BYTES {
        return whole;
    }
    let mut short = Entry {
        is_cut: true,
        ..entry.clone()
    };
    for step in STEPS {
        step(&mut short);
        let line = short.line();
        if line.len() <= AUDIT_ENTRY_BYTES {
            return line;
        }
    }
    short.line()
}

fn shorten(text: &mut String, chars: usize) {
    let end = cut(text, chars).len();
    text.truncate(end);
}

fn shorten_some(text: &mut Option<String>, chars: usize) {
    if let Some(text) = text {
        shorten(text, chars);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn entry() -> Entry {
        let mut entry = Entry::new(
            "2026-11-29T08:00:00.000Z".to_owned(),
            "http",
            "POST /v1/operations/cancel".to_owned(),
            200,
        );
        entry.organization = Some("contoso".to_owned());
        entry.caller = Some("jo".to_owned());
        entry
    }

    #[test]
    fn a_short_entry_stays_as_it_is() {
        let entry = entry();
        assert_eq!(line(&entry), entry.line());
    }

    #[test]
    fn a_long_entry_keeps_who_and_what_and_says_that_it_is_cut() {
        let mut long = entry();
        long.filter.insert("name".to_owned(), "x".repeat(5_000));
        let short = line(&long);
        assert!(short.len() <= AUDIT_ENTRY_BYTES, "{short}");
        let read: Value = serde_json::from_str(&short).unwrap();
        assert_eq!(read["cut"], true, "{read}");
        assert_eq!(read["filter"]["name"], "x".repeat(40));
        assert_eq!(read["caller"], "jo");
    }

    #[test]
    fn an_entry_of_the_longest_texts_fits() {
        let mut long = entry();
        let text = || Some("\u{1}".repeat(9_000));
        long.organization = text();
        long.caller = text();
        long.principal = text();
        long.reason = text();
        long.certificate = text();
        long.forwarded_for = text();
        long.ids = vec!["\u{1}".repeat(900); 20];
        let short = line(&long);
        assert!(short.len() <= AUDIT_ENTRY_BYTES, "{}", short.len());
        let read: Value = serde_json::from_str(&short).unwrap();
        assert_eq!(read["action"], "POST /v1/operations/cancel", "{read}");
    }
}
