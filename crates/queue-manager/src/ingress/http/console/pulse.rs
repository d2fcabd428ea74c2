//! Numbers of the last minutes and hours on the pages: of the service, of queues, and
//! of message names.

use std::collections::BTreeMap;

use drumline_backend::store::{Rollup, RollupKey};
use drumline_console::{Counted, LastHour, number, span};
use drumline_protocol::{QueueName, Timestamp};

use super::viewer::Seen;
use crate::error::Result;
use crate::service::{QueueManager, Stats};

/// Minutes of a bar.
const PART: u64 = 5;

/// The last hour, for callers that may see the fleet.
pub(super) async fn last_hour(manager: &QueueManager, seen: &Seen) -> Result<Option<LastHour>> {
    if !seen.rights.fleet {
        return Ok(None);
    }
    Ok(Some(hour_of(&manager.last_hour().await?)))
}

fn hour_of(stats: &Stats) -> LastHour {
    let mut parts: BTreeMap<Timestamp, Rollup> = BTreeMap::new();
    for (number, rollup) in (stats.first..).zip(&stats.slots) {
        let start = stats.resolution.start(number / PART * PART);
        parts.entry(start).or_default().add(rollup);
    }
    let parts = parts
        .iter()
        .map(|(start, rollup)| (*start, counted(rollup)));
    LastHour {
        total: counted(&stats.total()),
        parts: parts.collect(),
    }
}

fn counted(rollup: &Rollup) -> Counted {
    Counted {
        created: rollup.created,
        ended: rollup.ended(),
        failed: rollup.failed.saturating_add(rollup.expired),
        wait_half: rollup.wait.quantile(500),
        wait_most: rollup.wait.quantile(990),
    }
}

/// Counts what happened to the operations of each queue in the last minutes.
pub(super) fn by_queue(counts: &[(RollupKey, Rollup)]) -> BTreeMap<&QueueName, Rollup> {
    sums(counts, |queue, _message_name| queue)
}

/// Counts what happened to the operations with each message name in the last hours.
pub(super) fn by_message(counts: &[(RollupKey, Rollup)]) -> BTreeMap<&String, Rollup> {
    sums(counts, |_queue, message_name| message_name)
}

fn sums<'a, K: Ord>(
    counts: &'a [(RollupKey, Rollup)],
    by: impl Fn(&'a QueueName, &'a String) -> K,
) -> BTreeMap<K, Rollup> {
    let mut sums: BTreeMap<K, Rollup> = BTreeMap::new();
    for (key, rollup) in counts {
        match key {
            RollupKey::Of {
                queue,
                message_name,
            } => sums.entry(by(queue, message_name)).or_default().add(rollup),
            RollupKey::Total | RollupKey::Others => {}
        }
    }
    sums
}

/// A number a minute: with a decimal while it is small.
pub(super) fn a_minute(count: u64, minutes: u64) -> String {
    let tenths = count.saturating_mul(10) / minutes.max(1);
    if tenths < 100 {
        format!("{}.{}", tenths / 10, tenths % 10)
    } else {
        number(tenths / 10)
    }
}

/// The waits in words; nothing if nothing was started.
pub(super) fn waits(rollup: &Rollup) -> String {
    match (rollup.wait.quantile(500), rollup.wait.quantile(990)) {
        (Some(half), Some(most)) => format!("{}; 99 % {}", span(half), span(most)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use drumline_backend::store::Resolution;

    use super::*;

    #[test]
    fn an_hour_is_put_together_in_parts_of_five_minutes() {
        let one = Rollup {
            created: 1,
            failed: 1,
            expired: 1,
            ..Rollup::default()
        };
        let stats = Stats {
            resolution: Resolution::Minute,
            first: 100_003,
            slots: vec![one; 8],
            compared_since: Timestamp::from_millis(0),
            breakdown: Vec::new(),
        };
        let hour = hour_of(&stats);
        assert_eq!((hour.total.created, hour.total.failed), (8, 16));
        let created: Vec<u64> = hour.parts.iter().map(|(_, part)| part.created).collect();
        assert_eq!(created, [2, 5, 1]);
    }

    #[test]
    fn small_numbers_have_a_decimal() {
        assert_eq!(a_minute(3, 10), "0.3");
        assert_eq!(a_minute(99, 10), "9.9");
        assert_eq!(a_minute(12_345, 10), "1\u{a0}234");
    }
}
