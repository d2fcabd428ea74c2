//! `drumline top`: the state of the service, as the first page of the console shows
//! it.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use drumline_client::{Now, NowOperation};
use drumline_protocol::text::counted;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Session;
use crate::cli::client::Top;
use crate::exit::{Exit, Result};
use crate::output::clean::clean;
use crate::output::table::table;
use crate::output::time::{self, Now as Time};

/// Moves the cursor to the first place of the screen, and clears the rest.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows the state once, or until it is interrupted.
pub(crate) async fn run(session: &Session, top: &Top) -> Result<Exit> {
    if top.once || session.out.is_json() || !io::stdout().is_terminal() {
        let now = session.client.now().await?;
        if session.out.is_json() {
            session.out.json(&now)?;
        } else {
            session.out.line(&screen(&now, None, session.out.now()))?;
        }
        return Ok(if now.normal { Exit::Ok } else { Exit::Failed });
    }
    let mut looks = interval(top.every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<(Instant, Now)> = None;
    let started = Instant::now();
    loop {
        looks.tick().await;
        let time = Time(session.out.now().later(started.elapsed()));
        let text = match session.client.now().await {
            Ok(now) => {
                let rate = before
                    .as_ref()
                    .and_then(|(at, before)| rate(before, &now, at.elapsed()));
                let text = screen(&now, rate, time);
                before = Some((Instant::now(), now));
                text
            }
            // The service may come back: the last state stays, and its age is shown.
            Err(error) => {
                let text = format!("! {}", clean(&error.to_string()));
                match &before {
                    None => return Err(error.into()),
                    Some((at, now)) => {
                        let age = at.elapsed().as_secs();
                        format!(
                            "{text}\n  as of {age} s ago:\n\n{}",
                            screen(now, None, time)
                        )
                    }
                }
            }
        };
        let at = time::short(time.0);
        session
            .out
            .line(&format!("{CLEAR}Drumline, {at}\n\n{text}"))?;
    }
}

/// Operations Completed a second, as far as none were removed meanwhile.
fn rate(before: &Now, now: &Now, span: Duration) -> Option<u64> {
    let (before, now) = (before.operations?.completed, now.operations?.completed);
    let millis = u64::try_from(span.as_millis()).ok().filter(|&ms| ms > 0)?;
    Some(now.saturating_sub(before) * 1000 / millis)
}

/// The state as text.
fn screen(now: &Now, rate: Option<u64>, time: Time) -> String {
    let mut lines = Vec::new();
    match now.findings.split_first() {
        None => lines.push("Normal. Nothing needs a person.".to_owned()),
        Some((worst, others)) => {
            lines.push(format!("! {}", clean(&worst.sentence)));
            lines.extend(
                worst
                    .remedy
                    .iter()
                    .map(|remedy| format!("  {}", clean(remedy))),
            );
            lines.extend(
                others
                    .iter()
                    .map(|one| format!("- {}", clean(&one.sentence))),
            );
        }
    }
    lines.push(String::new());
    if let Some(counts) = now.operations {
        let rate = rate.map(|rate| format!(" ({rate} a second)"));
        lines.push(format!(
            "operations  {} ready, {} suspended, {} running, {} completed{}",
            counts.ready,
            counts.suspended,
            counts.running,
            counts.completed,
            rate.unwrap_or_default()
        ));
        if counts.undispatched > 0 {
            lines.push(format!(
                "            {} not with the broker yet",
                counts.undispatched
            ));
        }
    }
    if let Some(fleet) = now.fleet {
        lines.push(format!(
            "processes   {} with {} of {} used, {}",
            counted(fleet.workers, "worker", "workers"),
            fleet.running,
            counted(fleet.slots, "place", "places"),
            counted(fleet.managers, "queue manager", "queue managers")
        ));
    }
    lines.push(format!("pauses      {} in force", now.pauses));
    for (what, operations) in [
        ("HOLD THEIR TOKEN", &now.holding),
        ("LATEST FAILURES", &now.failures),
    ] {
        if !operations.is_empty() {
            lines.push(String::new());
            lines.push(what.to_owned());
            lines.push(rows(operations, time));
        }
    }
    lines.join("\n")
}

fn rows(operations: &[NowOperation], now: Time) -> String {
    let mut rows = table(&["ID", "MESSAGE", "NAME", "TOKEN", "STATUS", "COMPLETED"]);
    for operation in operations {
        let completed = operation.completed_on.as_deref().and_then(time::parse);
        let completed = completed.map(|at| now.distance(at)).unwrap_or_default();
        rows.add_row([
            operation.id.as_str(),
            &operation.message_name,
            &operation.name,
            operation.dependency_token.as_deref().unwrap_or_default(),
            &operation.status,
            &completed,
        ]);
    }
    rows.text()
}
