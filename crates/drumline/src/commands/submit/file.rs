//! `drumline submit --file`: many operations in batches, in the order of the
//! file.
//!
//! Each line has an idempotency key, so that every request may be repeated, by
//! this run after a broken connection or by the next run after an interruption.

use std::fs;
use std::io;
use std::path::Path;

use drumline_client::{Fault, OrganizationRequest, OrganizationResponse, Outcome};
use drumline_protocol::text::counted;
use futures_util::TryStreamExt as _;
use serde_json::json;

use super::lines::{self, BadLine, Line};
use crate::cli::submit::Submit;
use crate::commands::{Session, wait};
use crate::exit::{Exit, Failure, Result};
use crate::output::hint;
use crate::output::progress::Progress;

/// Bad lines that are shown; more would hide the first.
const TOLD: usize = 20;

/// The number of operations, by result.
#[derive(Debug, Default)]
struct Tally {
    ids: Vec<String>,
    existed: usize,
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
    let mut tally = Tally::default();
    if let Err(mut failure) = send(session, lines, &key, &mut tally).await {
        let done = tally.ids.len();
        failure.error = failure.error.context(format!(
            "{done} of {} created. Run the same command again to continue: nothing is created twice. \
             If you correct the file first, add --continue-as {key} and keep the numbers of the lines",
            counted(total as u64, "line is", "lines are")
        ));
        return Err(failure);
    }
    summary(session, &tally)?;
    if submit.wait {
        return wait::until_completed(session, &tally.ids, submit.timeout).await;
    }
    Ok(Exit::Ok)
}

/// Sends every line, up to the first that is refused: nothing behind it is
/// executed, because a batch ends there.
async fn send(session: &Session, lines: Vec<Line>, key: &str, tally: &mut Tally) -> Result<()> {
    let mut progress = Progress::new("submitted", lines.len() as u64);
    let sent = send_with(session, lines, key, tally, &mut progress).await;
    progress.finish();
    sent
}

async fn send_with(
    session: &Session,
    lines: Vec<Line>,
    key: &str,
    tally: &mut Tally,
    progress: &mut Progress,
) -> Result<()> {
    let numbers: Vec<usize> = lines.iter().map(|line| line.number).collect();
    let requests = lines
        .into_iter()
        .map(|line| OrganizationRequest::CreateJson {
            idempotency_key: Some(format!("{key}-{}", line.number)),
            target: line.text,
        });
    let mut numbers = numbers.into_iter();
    let mut batches = session.patient().execute_all(requests);
    while let Some(outcomes) = batches.try_next().await? {
        progress.advance(outcomes.len() as u64);
        for (outcome, number) in outcomes.into_iter().zip(&mut numbers) {
            note(session, tally, number, outcome)?;
        }
    }
    Ok(())
}

/// Notes the result of one line.
fn note(session: &Session, tally: &mut Tally, number: usize, outcome: Outcome) -> Result<()> {
    let (id, existed) = match outcome {
        Ok(Some(OrganizationResponse::Create { id, existed })) => (id, existed),
        Ok(_) => {
            let text = format!("line {number}: the service did not answer with an id");
            return Err(Failure::new(Exit::Unavailable, text));
        }
        Err(fault) => return Err(refused(number, &fault)),
    };
    if session.out.is_json() {
        let line = json!({ "line": number, "existed": existed, "id": id });
        session.out.json(&line)?;
    }
    tally.existed += usize::from(existed);
    tally.ids.push(id);
    Ok(())
}

/// The failure for a refused line. Lines were checked by the rules that every
/// service has, so a refused line breaks a limit of this one.
fn refused(number: usize, fault: &Fault) -> Failure {
    let Fault {
        error_code, name, ..
    } = fault;
    let text = format!("line {number}: {fault}\n  code: {error_code} {name}");
    Failure::new(Exit::Usage, text)
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
        format!("{}; nothing was submitted", count(bad.len(), "bad line")),
    )
}

fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

fn summary(session: &Session, tally: &Tally) -> Result<()> {
    if session.out.is_json() {
        return Ok(());
    }
    let created = tally.ids.len() - tally.existed;
    let mut text = format!("{} created", count(created, "operation"));
    if tally.existed > 0 {
        text.push_str(&format!(
            ", {} {} there from an earlier run",
            tally.existed,
            if tally.existed == 1 { "was" } else { "were" },
        ));
    }
    session.out.line(&text)?;
    Ok(())
}
