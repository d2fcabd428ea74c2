//! `drumline submit --file`: many operations, several on their way at a time,
//! the lines of a token one after the other.
//!
//! Each line has an idempotency key, so that every request may be repeated, by
//! this run after a broken connection or by the next run after an interruption.

use std::fs;
use std::io;
use std::path::Path;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use super::lines::{self, BadLine, Line, Schedule};
use crate::cli::client::Submit;
use crate::client::retry::patiently;
use crate::client::{self, Created};
use crate::commands::{Session, wait};
use crate::exit::{Exit, Failure, Result};
use crate::output::hint;
use crate::output::progress::Progress;

/// Bad lines that are told; more would hide the first.
const TOLD: usize = 20;

/// What was done.
#[derive(Debug, Default)]
struct Tally {
    ids: Vec<String>,
    created: usize,
    existed: usize,
    failed: Option<Failure>,
}

/// Submits the requests of a file.
pub(super) async fn run(session: &Session, submit: &Submit, path: &Path) -> Result<Exit> {
    let text = read(path)?;
    let lines = lines::parse(&text).map_err(|bad| refuse(path, &bad))?;
    let key = submit
        .continue_as
        .clone()
        .unwrap_or_else(|| lines::fingerprint(&text));
    let total = lines.len();
    let tally = send(session, lines, &key, submit.in_flight.get()).await?;
    let done = tally.created + tally.existed;
    if let Some(mut failure) = tally.failed {
        failure.error = failure.error.context(format!(
            "{done} of {total} lines are created. Run the same command again to go on: nothing is created twice. \
             If you correct the file first, add --continue-as {key} and keep the numbers of the lines"
        ));
        return Err(failure);
    }
    summary(session, &tally)?;
    if submit.wait {
        return wait::until_completed(session, &tally.ids, submit.timeout).await;
    }
    Ok(Exit::Ok)
}

/// Sends every line; stops sending at the first that fails, and waits for those
/// that are on their way.
async fn send(session: &Session, lines: Vec<Line>, key: &str, in_flight: usize) -> Result<Tally> {
    let mut progress = Progress::new("submitted", lines.len() as u64);
    let mut schedule = Schedule::new(lines);
    let mut on_their_way = FuturesUnordered::new();
    let mut tally = Tally::default();
    loop {
        while on_their_way.len() < in_flight && tally.failed.is_none() {
            match schedule.next() {
                Some(line) => on_their_way.push(create(session, line, key)),
                None => break,
            }
        }
        let Some((line, answer)) = on_their_way.next().await else {
            break;
        };
        match answer {
            Ok(created) => {
                if session.out.is_json() {
                    session.out.json(&json!({
                        "line": line.number,
                        "existed": created.existed,
                        "operation": created.operation,
                    }))?;
                }
                if created.existed {
                    tally.existed += 1;
                } else {
                    tally.created += 1;
                }
                tally.ids.push(created.operation.id);
                schedule.answered(&line);
                progress.step();
            }
            Err(error) => {
                progress.note(&format!("line {}: {error}", line.number));
                let failure = Failure::from(error);
                tally.failed.get_or_insert(failure);
            }
        }
    }
    progress.finish();
    Ok(tally)
}

async fn create(session: &Session, line: Line, key: &str) -> (Line, client::Result<Created>) {
    let key = format!("{key}-{}", line.number);
    let created = patiently(async || session.client.create(&line.text, Some(&key)).await).await;
    (line, created)
}

fn read(path: &Path) -> Result<String> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("{} cannot be read", path.display()));
        Failure::caused(Exit::Data, error)
    })
}

fn refuse(path: &Path, bad: &[BadLine]) -> Failure {
    for BadLine { number, what } in bad.iter().take(TOLD) {
        hint(&format!("{}:{number}: {what}", path.display()));
    }
    if bad.len() > TOLD {
        hint(&format!("… and {} more", bad.len() - TOLD));
    }
    Failure::new(
        Exit::Data,
        format!("{} bad lines; nothing was submitted", bad.len()),
    )
}

fn summary(session: &Session, tally: &Tally) -> Result<()> {
    if session.out.is_json() {
        return Ok(());
    }
    let mut text = format!("{} operations created", tally.created);
    if tally.existed > 0 {
        text.push_str(&format!(
            ", {} were there from an earlier run",
            tally.existed
        ));
    }
    session.out.line(&text)?;
    Ok(())
}
