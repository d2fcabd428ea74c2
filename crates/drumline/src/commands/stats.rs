//! `drumline stats` and `drumline failures`: what happened in the last hours, and what
//! fails.

use std::time::Duration;

use drumline_client::{FailureGroup, StatsCounts, StatsFilter};
use serde_json::json;

use super::Session;
use crate::cli::stats::{Failures, Mute, Stats, Unmute};
use crate::exit::{Exit, Failure, Result};
use crate::output;
use crate::output::clean::clean;
use crate::output::table::{Table, table};
use crate::output::time;

/// Shows counts and times, slot by slot, and of each queue and message name.
pub(crate) async fn run(session: &Session, args: &Stats) -> Result<Exit> {
    let filter = StatsFilter {
        back: Some(args.since),
        queue: args.queue.clone(),
        message_name: args.message.clone(),
    };
    let stats = session.client.stats(&filter).await?;
    if session.out.is_json() {
        session.out.json(&stats)?;
        return Ok(Exit::Ok);
    }
    if stats.total == StatsCounts::default() {
        output::hint("nothing was counted; the last minute is counted when it is over");
        return Ok(Exit::Ok);
    }
    let mut slots = counted("FROM");
    for slot in &stats.slots {
        if slot.counts != StatsCounts::default() {
            add(&mut slots, &start(&slot.start), &slot.counts);
        }
    }
    add(&mut slots, "all", &stats.total);
    session.out.line(&slots.text())?;
    if stats.breakdown.is_empty() {
        return Ok(Exit::Ok);
    }
    let since = session.out.now().tell(&stats.compared_since);
    session.out.line(&format!("\nsince {since}:"))?;
    let mut rows = counted("QUEUE AND MESSAGE");
    for one in &stats.breakdown {
        let name = match (&one.queue, &one.message_name) {
            (Some(queue), Some(name)) => format!("{queue} {name}"),
            _ => "(others)".to_owned(),
        };
        add(&mut rows, &name, &one.counts);
    }
    session.out.line(&rows.text())?;
    Ok(Exit::Ok)
}

/// Shows failures that are the same to a person.
pub(crate) async fn failures(session: &Session, args: &Failures) -> Result<Exit> {
    let groups = session.client.failures(usize::from(args.limit)).await?;
    if session.out.is_json() {
        for group in &groups {
            session.out.json(group)?;
        }
        return Ok(Exit::Ok);
    }
    if groups.is_empty() {
        output::hint("nothing has failed");
        return Ok(Exit::Ok);
    }
    let (muted, heard): (Vec<_>, Vec<_>) = groups.iter().partition(|one| one.muted.is_some());
    if !heard.is_empty() {
        session.out.line(&kinds(session, &heard).text())?;
    }
    if !muted.is_empty() {
        session.out.line("\nmuted:")?;
        let mut rows = table(&[
            "GROUP", "MESSAGE", "COUNT", "BY", "UNTIL", "REASON", "ERROR",
        ]);
        rows.align_right(2);
        for group in muted {
            let mute = group.muted.as_ref();
            let until = mute.map(|mute| session.out.now().tell(&mute.until));
            rows.add_row([
                group.id.as_str(),
                &group.message_name,
                &group.count.to_string(),
                mute.map_or("", |mute| &mute.muted_by),
                &until.unwrap_or_default(),
                mute.map_or("", |mute| &mute.reason),
                &group.pattern,
            ]);
        }
        session.out.line(&rows.text())?;
    }
    Ok(Exit::Ok)
}

/// Mutes a failure group.
pub(crate) async fn mute(session: &Session, args: &Mute) -> Result<Exit> {
    // The flags have one of the two.
    let until = session.end_of(args.until, args.for_);
    let until = until.ok_or_else(|| Failure::new(Exit::Usage, "--for or --until is required"))?;
    let client = session.reached().await?;
    let group = client.mute_failures(&args.id, &args.reason, until).await?;
    if session.out.is_json() {
        session.out.json(&group)?;
    } else {
        let FailureGroup {
            id,
            message_name,
            pattern,
            ..
        } = &group;
        let line = clean(&format!("{id}  muted: {message_name}, {pattern}"));
        session.out.line(&line)?;
    }
    Ok(Exit::Ok)
}

/// Ends the mute of a failure group.
pub(crate) async fn unmute(session: &Session, args: &Unmute) -> Result<Exit> {
    session.client.unmute_failures(&args.id).await?;
    if session.out.is_json() {
        session
            .out
            .json(&json!({ "id": args.id, "muted": false }))?;
    } else {
        session
            .out
            .line(&clean(&format!("{}  is heard again", args.id)))?;
    }
    Ok(Exit::Ok)
}

/// The failure groups as a table.
fn kinds(session: &Session, groups: &[&FailureGroup]) -> Table {
    let mut rows = table(&[
        "GROUP", "MESSAGE", "CODE", "COUNT", "LAST 24H", "LAST", "FIRST", "LATEST", "ERROR",
    ]);
    rows.align_right(3);
    let now = session.out.now();
    let ago = |text: &str| time::parse(text).map_or_else(String::new, |at| now.distance(at));
    for group in groups {
        rows.add_row([
            group.id.as_str(),
            &group.message_name,
            &group.error_code,
            &group.count.to_string(),
            &bars(&group.hourly),
            &ago(&group.last),
            &ago(&group.first),
            &group.sample,
            &group.pattern,
        ]);
    }
    rows
}

fn counted(first: &str) -> Table {
    let mut rows = table(&[
        first,
        "CREATED",
        "STARTED",
        "SUCCEEDED",
        "FAILED",
        "CANCELED",
        "EXPIRED",
        "WAIT P50",
        "WAIT P99",
        "RUN P50",
        "RUN P99",
    ]);
    for column in 1..=10 {
        rows.align_right(column);
    }
    rows
}

fn add(rows: &mut Table, first: &str, counts: &StatsCounts) {
    let StatsCounts {
        created,
        started,
        succeeded,
        failed,
        canceled,
        expired,
        wait_p50_ms,
        wait_p99_ms,
        run_p50_ms,
        run_p99_ms,
    } = counts;
    let numbers = [created, started, succeeded, failed, canceled, expired];
    let times = [wait_p50_ms, wait_p99_ms, run_p50_ms, run_p99_ms];
    let cells = std::iter::once(first.to_owned());
    let cells = cells.chain(numbers.map(ToString::to_string));
    rows.add_row(cells.chain(times.map(|ms| span(*ms))));
}

/// A time as it is known: within a factor of two.
fn span(ms: Option<u64>) -> String {
    let Some(ms) = ms else {
        return String::new();
    };
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        more => humantime::format_duration(Duration::from_secs(more / 1_000)).to_string(),
    }
}

/// A bar for each hour: the highest number has the highest bar, and an hour without
/// failures a dot.
fn bars(hours: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = hours.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| {
        let eighths = (u128::from(*count) * 8).div_ceil(u128::from(highest));
        let bar = usize::try_from(eighths.saturating_sub(1))
            .ok()
            .and_then(|place| BARS.get(place));
        bar.copied().filter(|_bar| *count > 0).unwrap_or('·')
    };
    hours.iter().map(bar).collect()
}

/// The start of a slot without its seconds.
fn start(text: &str) -> String {
    match time::parse(text) {
        Some(at) => at.format("%Y-%m-%d %H:%M").to_string(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_with_the_most_failures_has_the_highest_bar() {
        assert_eq!(bars(&[0, 1, 50, 100, 99]), "·▁▄██");
        assert_eq!(bars(&[0, 1]), "·█");
        assert_eq!(bars(&[0, 0]), "··");
        assert_eq!(bars(&[u64::MAX]), "█");
        assert_eq!(bars(&[]), "");
    }
}
