//! The last hour on the first page: what ended, how long operations waited, what
//! failed.

use std::time::Duration;

use drumline_protocol::Timestamp;

use crate::chart::Chart;
use crate::text::{Text, number};
use crate::time::span;

/// The columns of the table, behind the time.
const COLUMNS: [&str; 5] = [
    "Created",
    "Ended",
    "Failed",
    "Half waited at most",
    "99 % waited at most",
];

/// The counts of some minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Operations that were created.
    pub created: u64,
    /// Operations that ended, in any way.
    pub ended: u64,
    /// Operations among these that Failed.
    pub failed: u64,
    /// The time that half of the started operations had waited at most; `None` if
    /// nothing was started.
    pub wait_half: Option<Duration>,
    /// The time that 99 of 100 had waited at most.
    pub wait_most: Option<Duration>,
}

/// The last hour.
#[derive(Clone, Debug, Default)]
pub struct LastHour {
    /// All of it.
    pub total: Counted,
    /// Parts of it, with the time at which each begins, oldest first.
    pub parts: Vec<(Timestamp, Counted)>,
}

impl LastHour {
    /// The charts.
    #[must_use]
    pub fn charts(&self) -> Vec<Chart> {
        let values = |of: fn(&Counted) -> u64| self.parts.iter().map(|(_, one)| of(one)).collect();
        let Counted {
            ended,
            failed,
            wait_half,
            wait_most,
            ..
        } = self.total;
        let waited = match (wait_half, wait_most) {
            (Some(half), Some(most)) => {
                format!("half within {}, 99 % within {}", span(half), span(most))
            }
            _ => "nothing was started".to_owned(),
        };
        vec![
            Chart {
                title: "Ended",
                summary: Text::line(&format!(
                    "{}, {} a minute",
                    number(ended),
                    number(ended / 60)
                )),
                class: "good",
                values: values(|one| one.ended),
            },
            Chart {
                title: "Wait before the start",
                summary: Text::line(&waited),
                class: "run",
                values: values(|one| ms(one.wait_most)),
            },
            Chart {
                title: "Failed",
                summary: Text::line(&number(failed)),
                class: "bad",
                values: values(|one| one.failed),
            },
        ]
    }

    /// The rows of the table: when, and numbers with the headings of their columns.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, Vec<(&'static str, String)>)> {
        let time = |time: Option<Duration>| time.map_or_else(|| "–".to_owned(), span);
        let row = |(start, one): &(Timestamp, Counted)| {
            let cells = [
                number(one.created),
                number(one.ended),
                number(one.failed),
                time(one.wait_half),
                time(one.wait_most),
            ];
            (clock(*start), COLUMNS.into_iter().zip(cells).collect())
        };
        self.parts.iter().map(row).collect()
    }
}

fn ms(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The time of day: `07:54 UTC`.
fn clock(at: Timestamp) -> String {
    let written = at.to_string();
    let time = written.split('T').nth(1).and_then(|time| time.get(..5));
    format!("{} UTC", time.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_is_told_in_words_and_numbers() {
        let part = Counted {
            created: 2_000,
            ended: 1_500,
            failed: 3,
            wait_half: Some(Duration::from_millis(400)),
            wait_most: Some(Duration::from_secs(150)),
        };
        let start = Timestamp::from_millis(1_795_000_000_123);
        let hour = LastHour {
            total: part,
            parts: vec![(start, part), (start, Counted::default())],
        };
        let charts = hour.charts();
        let said: Vec<&str> = charts.iter().map(|chart| chart.summary.as_str()).collect();
        assert_eq!(
            said,
            [
                "1\u{a0}500, 25 a minute",
                "half within 0.4 s, 99 % within 2 min",
                "3"
            ]
        );
        let waits = charts.iter().find(|chart| chart.class == "run").unwrap();
        assert_eq!(waits.values, [150_000, 0]);
        let (when, cells) = hour.rows().remove(1);
        assert_eq!(when, "11:06 UTC");
        let cells: Vec<&str> = cells.iter().map(|(_, cell)| cell.as_str()).collect();
        assert_eq!(cells, ["0", "0", "0", "–", "–"]);
        let said = LastHour::default().charts();
        assert_eq!(said[1].summary.as_str(), "nothing was started");
    }
}
