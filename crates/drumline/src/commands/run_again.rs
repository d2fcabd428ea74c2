//! `drumline run-again`: the work of Completed operations, once more.

use drumline_client::{Error, NewAction, OperationView, Paging, RunAgain, State};
use drumline_protocol::text::counted;
use serde_json::json;

use super::actions::{self, Words};
use super::control::{for_each, usage};
use super::submit::data;
use super::{Session, bulk};
use crate::cli::control::{RunAgain as Args, Selection};
use crate::cli::filter::Filter;
use crate::exit::{Exit, Result};
use crate::output::hint;
use crate::output::progress::Progress;

/// Operations asked for in one request.
const PAGE: usize = 500;
/// Refusals that are reported as JSON.
const REPORTED: usize = 20;
/// Refusals that are shown; they tend to be alike.
const TOLD: usize = 5;

/// An operation that is to run again.
struct Chosen {
    id: String,
    completed_on: String,
}

/// Runs each operation again: the given ones, or all Completed ones that match.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit> {
    let Selection {
        all,
        consent,
        lasting,
        filter,
    } = &args.selection;
    let selects = *all || *filter != Filter::default();
    if let Some(why) = &lasting.why {
        if !args.ids.is_empty() || !selects {
            return Err(usage("--why goes with conditions, or --all"));
        }
        let has_changes = args.data.is_some()
            || args.new_token.is_some()
            || args.leave_token
            || args.new_queue.is_some();
        if has_changes {
            return Err(usage(
                "the service runs operations again as they are: leave out --why, or --data and the like",
            ));
        }
        let new = NewAction::run_again(&filter.conditions(session.out.now()), why);
        let words = Words::RUN_AGAIN;
        return actions::start(session, new, words, *all, *consent, lasting.detach).await;
    }
    let changes = RunAgain {
        data: args.data.as_deref().map(data::read).transpose()?,
        dependency_token: args.new_token.clone(),
        leave_token: args.leave_token,
        queue: args.new_queue.clone(),
    };
    match (args.ids.is_empty(), selects) {
        (false, true) => Err(usage("name operations by id, or by conditions, not both")),
        (true, false) => Err(usage(
            "name operations by id, or by conditions such as --status Failed; --all selects all Completed operations",
        )),
        (false, false) if consent.dry_run => Err(usage("--dry-run goes with conditions, or --all")),
        (false, false) => {
            for_each(session, &args.ids, "run again", async |id| {
                let created = session.client.run_again(id, &changes, None).await;
                let created =
                    created.map_err(|error| super::control::explain(error, "run again"))?;
                session.out.again(id, &created.operation)?;
                Ok(())
            })
            .await
        }
        (true, true) => {
            let chosen = matching(session, filter).await?;
            let count = u64::try_from(chosen.len()).unwrap_or(u64::MAX);
            if consent.dry_run {
                if session.out.is_json() {
                    session
                        .out
                        .json(&json!({ "dryRun": true, "matched": count }))?;
                } else {
                    session.out.line(&format!(
                        "{} would run again",
                        counted(count, "operation", "operations")
                    ))?;
                }
                return Ok(Exit::Ok);
            }
            if count > 0 && !consent.yes && !bulk::agrees(count, "run again")? {
                hint("nothing was done");
                return Ok(Exit::Interrupted);
            }
            all_of(session, &chosen, &changes).await
        }
    }
}

/// The Completed operations that match, oldest first: in the order in which those of
/// a token have run.
async fn matching(session: &Session, filter: &Filter) -> Result<Vec<Chosen>> {
    let names_status = filter.status.is_some();
    let mut filter = filter.conditions(session.out.now());
    if !names_status {
        filter = filter.state(State::Completed);
    }
    let client = session.reached().await?;
    let mut progress = Progress::open("looking");
    let mut chosen = Vec::new();
    let mut cursor = None;
    loop {
        let paging = Paging {
            limit: Some(PAGE),
            cursor,
        };
        let page = client.list_summaries(&filter, &paging).await?;
        progress.advance(u64::try_from(page.operations.len()).unwrap_or(u64::MAX));
        chosen.extend(page.operations.into_iter().filter_map(Chosen::of));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    progress.finish();
    chosen.reverse();
    Ok(chosen)
}

impl Chosen {
    /// The operation, if it is Completed.
    fn of(operation: OperationView) -> Option<Self> {
        Some(Self {
            completed_on: operation.completed_on?,
            id: operation.id,
        })
    }

    /// The idempotency key: one for each end of an operation.
    fn key(&self) -> String {
        format!("run-again {} {}", self.id, self.completed_on)
    }
}

/// Runs them again, one after the other: those of a token in their order. One that
/// cannot run again, a series say, does not keep those behind it.
async fn all_of(session: &Session, chosen: &[Chosen], changes: &RunAgain) -> Result<Exit> {
    let total = u64::try_from(chosen.len()).unwrap_or(u64::MAX);
    let mut progress = Progress::new("run again", total);
    let (mut done, mut existed, mut refused) = (0_u64, 0_u64, 0_u64);
    let mut first = Vec::new();
    for one in chosen {
        let key = one.key();
        let created = session.client.run_again(&one.id, changes, Some(&key));
        match created.await {
            Ok(created) if created.existed => existed += 1,
            Ok(_created) => done += 1,
            Err(Error::Refused(problem)) if is_about_the_operation(problem.status) => {
                refused += 1;
                if first.len() < REPORTED {
                    first.push(
                        json!({ "id": one.id, "code": problem.code, "message": problem.detail }),
                    );
                }
            }
            Err(error) => return Err(error.into()),
        }
        progress.advance(1);
    }
    progress.finish();
    if session.out.is_json() {
        session.out.json(&json!({
            "dryRun": false,
            "matched": total,
            "done": done,
            "existed": existed,
            "refusedCount": refused,
            "refused": first,
        }))?;
    } else {
        session.out.line(&counted(
            done,
            "operation runs again",
            "operations run again",
        ))?;
        if existed > 0 {
            hint(&format!("{existed} did so before, and were left alone"));
        }
        if refused > 0 {
            hint(&format!("{refused} were refused"));
        }
        for refusal in first.iter().take(TOLD) {
            let text = |name: &str| refusal[name].as_str().unwrap_or_default().to_owned();
            let (id, message, code) = (text("id"), text("message"), text("code"));
            hint(&format!("{id}: {message} ({code})"));
        }
    }
    Ok(if done == 0 && refused > 0 {
        Exit::Refused
    } else {
        Exit::Ok
    })
}

/// Returns true for the status of a refusal that is about one operation: the next one
/// may run again. Others are about the caller or the service.
const fn is_about_the_operation(status: u16) -> bool {
    matches!(status, 404 | 409 | 422)
}
