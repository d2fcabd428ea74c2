//! One action for all operations that match: first their number, then a
//! question, then the action, with progress.

use std::io::{self, IsTerminal as _, Write as _};

use drumline_client::{Bulk, BulkAction, BulkTotal};
use drumline_protocol::text::counted;
use futures_util::TryStreamExt as _;
use serde_json::json;

use super::Session;
use super::control::name;
use crate::cli::control::Consent;
use crate::exit::{Exit, Failure, Result};
use crate::output::hint;
use crate::output::progress::Progress;

/// Refusals that are shown; they tend to be alike.
pub(super) const TOLD: usize = 5;

/// Executes the action, or reports what would be done.
pub(super) async fn run(
    session: &Session,
    bulk: Bulk,
    action: BulkAction,
    consent: Consent,
) -> Result<Exit> {
    let what = name(action);
    if consent.dry_run {
        let would = through(bulk.dry_run(), "looking", None).await?;
        tell(session, &would, action, true)?;
        return Ok(Exit::Ok);
    }
    let mut expected = None;
    if !consent.yes {
        let would = through(bulk.clone().dry_run(), "looking", None).await?;
        if would.done == 0 {
            tell(session, &would, action, false)?;
            return Ok(end_of(&would));
        }
        if !agrees(would.done, what)? {
            hint("nothing was done");
            return Ok(Exit::Interrupted);
        }
        expected = Some(would.matched);
    }
    let total = through(bulk, what, expected).await?;
    tell(session, &total, action, false)?;
    Ok(end_of(&total))
}

/// The exit code of the total. Partial refusal is normal: a condition may match
/// operations that wait already and cannot be paused. Total refusal is a
/// mistake.
const fn end_of(total: &BulkTotal) -> Exit {
    if total.done == 0 && total.refused_count > 0 {
        Exit::Refused
    } else {
        Exit::Ok
    }
}

/// Runs all steps of the action.
async fn through(bulk: Bulk, what: &'static str, expected: Option<u64>) -> Result<BulkTotal> {
    let mut progress = match expected {
        Some(expected) => Progress::new(what, expected),
        None => Progress::open(what),
    };
    let mut total = BulkTotal::default();
    let mut steps = bulk.steps();
    while let Some(step) = steps.try_next().await? {
        progress.advance(step.matched);
        total.add(step);
    }
    progress.finish();
    Ok(total)
}

/// Returns true if the action may run: a person agrees, or there is no terminal
/// to ask at.
pub(super) fn agrees(many: u64, what: &str) -> Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let text = format!(
            "{}; add --yes to {what} them, or --dry-run to look first",
            counted(many, "operation matches", "operations match")
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let mut err = io::stderr().lock();
    write!(
        err,
        "{what} {}? [y/N] ",
        counted(many, "operation", "operations")
    )?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

fn tell(session: &Session, total: &BulkTotal, action: BulkAction, dry_run: bool) -> Result<()> {
    let BulkTotal {
        matched,
        done,
        refused_count,
        refused,
        consequence,
    } = total;
    if session.out.is_json() {
        let mut shown = json!({
            "dryRun": dry_run,
            "matched": matched,
            "done": done,
            "refusedCount": refused_count,
            "refused": refused,
        });
        if dry_run {
            shown["consequence"] = json!(consequence);
        }
        session.out.json(&shown)?;
        return Ok(());
    }
    let (did, refuse) = if dry_run {
        (format!("would be {}", past(action)), "would be refused")
    } else {
        (past(action).to_owned(), "refused")
    };
    session.out.line(&format!(
        "{matched} match: {done} {did}, {refused_count} {refuse}"
    ))?;
    if dry_run && !consequence.is_empty() {
        hint(&consequence.join(" "));
    }
    for refusal in refused.iter().take(TOLD) {
        hint(&format!(
            "{}: {} ({})",
            refusal.id, refusal.message, refusal.code
        ));
    }
    Ok(())
}

/// The past participle of an action.
const fn past(action: BulkAction) -> &'static str {
    match action {
        BulkAction::Cancel => "cancelled",
        BulkAction::Pause => "paused",
        BulkAction::Resume => "resumed",
        BulkAction::Postpone(_) => "postponed",
        BulkAction::Delete => "deleted",
    }
}
