//! `drumline cancel`, `pause`, `resume`, `postpone`, `delete`: each given id,
//! or all operations that match.

use drumline_client::{BulkAction, Client, Error, NewAction, OperationView};
use serde_json::json;

use super::settle::{Settling, is_stopping};
use super::{Session, actions, bulk};
use crate::cli::control::Selection;
use crate::cli::filter::Filter;
use crate::exit::{Exit, Failure, Result};

/// Acts on the ids, or on the selected operations.
pub(crate) async fn run(
    session: &Session,
    ids: &[String],
    selection: &Selection,
    action: BulkAction,
) -> Result<Exit> {
    let Selection {
        all,
        consent,
        lasting,
        filter,
    } = selection;
    let selects = *all || *filter != Filter::default();
    match (ids.is_empty(), selects) {
        (false, false) if consent.dry_run => preview(session, ids, action).await,
        (false, false) if lasting.why.is_some() => {
            Err(usage("--why goes with conditions, or --all"))
        }
        (false, false) => each(session, ids, action).await,
        (true, true) => {
            let filter = filter.conditions(session.out.now());
            if let Some(why) = &lasting.why {
                let new = NewAction::new(action, &filter, why);
                let words = actions::Words::of(action);
                return actions::start(session, new, words, *all, *consent, lasting.detach).await;
            }
            let mut bulk = session.reached().await?.bulk(action, filter);
            if *all {
                bulk = bulk.all();
            }
            bulk::run(session, bulk, action, *consent).await
        }
        (false, true) => Err(usage("name operations by id, or by conditions, not both")),
        (true, false) => Err(usage(
            "name operations by id, or by conditions such as --message; --all selects all operations",
        )),
    }
}

pub(super) fn usage(text: &'static str) -> Failure {
    Failure::new(Exit::Usage, text)
}

/// The verb of an action.
pub(super) const fn name(action: BulkAction) -> &'static str {
    match action {
        BulkAction::Cancel => "cancel",
        BulkAction::Pause => "pause",
        BulkAction::Resume => "resume",
        BulkAction::Postpone(_) => "postpone",
        BulkAction::Delete => "delete",
    }
}

/// Says what the action would do to each operation, and does nothing.
async fn preview(session: &Session, ids: &[String], action: BulkAction) -> Result<Exit> {
    for_each(session, ids, name(action), async |id| {
        let would = session.client.preview(id, action.action()).await?;
        if session.out.is_json() {
            session
                .out
                .json(&json!({ "id": id, "dryRun": true, "preview": would }))?;
        } else if let Some(refusal) = &would.refusal {
            session.out.line(&format!("{id}  {refusal}"))?;
        } else {
            session
                .out
                .line(&format!("{id}  {}", would.consequence.join(" ")))?;
        }
        Ok(())
    })
    .await
}

/// Acts on every operation, also when some refuse; then ends with the first
/// refusal's code.
async fn each(session: &Session, ids: &[String], action: BulkAction) -> Result<Exit> {
    let what = name(action);
    // All of them are asked first: they stop at the same time.
    let mut stopping = Vec::new();
    let told = for_each(session, ids, what, async |id| {
        match act(&session.client, id, action).await {
            Ok(Some(operation)) if is_stopping(&operation) => stopping.push(operation),
            Ok(Some(operation)) => session.out.outcome(&operation)?,
            Ok(None) if session.out.is_json() => {
                session.out.json(&json!({ "id": id, "deleted": true }))?;
            }
            Ok(None) => session.out.line(&format!("{id}  deleted"))?,
            Err(error) => return Err(explain(error, what)),
        }
        Ok(())
    })
    .await;
    let settling = Settling::new(session);
    for operation in stopping {
        session.out.outcome(&settling.settle(operation).await)?;
    }
    told
}

/// Calls a function for every operation, also when some refuse; then ends with
/// the first refusal's code.
pub(super) async fn for_each(
    session: &Session,
    ids: &[String],
    what: &str,
    mut act: impl AsyncFnMut(&str) -> Result<()>,
) -> Result<Exit> {
    let mut first = None;
    for id in ids {
        match act(id).await {
            Ok(()) => {}
            // The service is the same for the other ids.
            Err(failure) if failure.exit == Exit::Unavailable => return Err(failure),
            Err(mut failure) => {
                if ids.len() > 1 {
                    let named = failure.error.context(id.to_owned());
                    failure = Failure {
                        error: named,
                        ..failure
                    };
                    session.out.error(&failure);
                }
                first.get_or_insert(failure);
            }
        }
    }
    match first {
        None => Ok(Exit::Ok),
        Some(failure) if ids.len() == 1 => Err(failure),
        Some(failure) => Err(Failure::new(
            failure.exit,
            format!("not every operation accepted the request to {what}"),
        )),
    }
}

async fn act(
    client: &Client,
    id: &str,
    action: BulkAction,
) -> drumline_client::Result<Option<OperationView>> {
    let operation = match action {
        BulkAction::Cancel => client.cancel(id).await?,
        BulkAction::Pause => client.pause(id).await?,
        BulkAction::Resume => client.resume(id).await?,
        BulkAction::Postpone(until) => client.postpone(id, until).await?,
        BulkAction::Delete => {
            client.delete(id).await?;
            return Ok(None);
        }
    };
    Ok(Some(operation))
}

/// Explains an error: after a connection that broke behind the request, the
/// action may or may not have been done.
pub(super) fn explain(error: Error, what: &str) -> Failure {
    let open = matches!(&error, Error::Unreachable(unreachable) if !unreachable.was_not_sent());
    let mut failure = Failure::from(error);
    if open {
        failure.error = failure.error.context(format!(
            "the request to {what} may or may not have been executed; `drumline get` shows the operation"
        ));
    }
    failure
}
