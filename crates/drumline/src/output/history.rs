//! Histories for people.

use drumline_client::{HistoryEntry, HistoryView};

use super::table::table;
use super::time::{parse, short};

/// A line for each entry, and one for each gap between them.
pub(crate) fn text(history: &HistoryView) -> String {
    let mut rows = table(&["TIME", "EVENT", "STATUS", "ATTEMPT", "BY", "NOTE"]);
    let mut next = 1;
    for entry in &history.entries {
        let missing = entry.number.saturating_sub(next);
        if missing > 0 {
            rows.add_row([format!("… {missing} more …")]);
        }
        next = entry.number.saturating_add(1);
        rows.add_row(row(entry));
    }
    rows.text()
}

fn row(entry: &HistoryEntry) -> [String; 6] {
    let time = |text: &str| parse(text).map_or_else(|| text.to_owned(), short);
    let mut notes: Vec<String> = Vec::new();
    if let Some(until) = &entry.until {
        notes.push(format!("until {}", time(until)));
    }
    notes.extend(entry.error_code.clone());
    notes.extend(entry.reason.clone());
    [
        time(&entry.at),
        entry.event.clone(),
        entry.status.clone(),
        match entry.attempt {
            0 => String::new(),
            attempt => attempt.to_string(),
        },
        format!("{} {}", entry.actor.kind, entry.actor.name),
        notes.join(" "),
    ]
}

#[cfg(test)]
mod tests {
    use drumline_client::HistoryActor;

    use super::*;

    fn entry(number: u64, event: &str) -> HistoryEntry {
        HistoryEntry {
            number,
            at: "2026-11-18T11:06:40.123Z".to_owned(),
            event: event.to_owned(),
            state: "Suspended".to_owned(),
            status: "Waiting".to_owned(),
            attempt: 0,
            actor: HistoryActor {
                kind: "caller".to_owned(),
                name: "ann".to_owned(),
            },
            until: None,
            error_code: None,
            reason: None,
        }
    }

    #[test]
    fn entries_that_were_dropped_are_counted_where_they_are_missing() {
        let mut last = entry(17, "retry");
        last.until = Some("2026-11-18T11:06:50Z".to_owned());
        last.error_code = Some("0x80040324".to_owned());
        let history = HistoryView {
            entries: vec![entry(1, "create"), entry(2, "pause"), last],
            omitted: 14,
        };
        let text = text(&history);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[3].starts_with("… 14 more …"), "{text}");
        assert!(
            lines[4].contains("until 2026-11-18 11:06:50 0x80040324"),
            "{text}"
        );
        assert!(lines[1].contains("caller ann"), "{text}");
    }
}
