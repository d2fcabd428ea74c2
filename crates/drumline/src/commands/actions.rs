//! Actions on many operations that the service executes by itself: `--why` of the
//! commands that change operations starts one, and `drumline actions` lists, shows and
//! aborts them.

use std::time::Duration;

use drumline_client::{ActionPreview, ActionView, BulkAction, NewAction, Paging};
use tokio::signal::ctrl_c;
use tokio::time::sleep;

use super::bulk::{TOLD, agrees};
use super::control::{for_each, name, usage};
use super::{Session, paging};
use crate::cli::actions::{Actions, Verb};
use crate::cli::control::Consent;
use crate::exit::{Exit, Result};
use crate::output::clean::clean;
use crate::output::hint;
use crate::output::progress::Progress;
use crate::output::table::table;

/// Actions asked for in one request.
const PAGE: usize = 100;
/// Between looks at an action.
const EVERY: Duration = Duration::from_millis(500);

/// Lists, shows or aborts actions.
pub(crate) async fn run(session: &Session, args: &Actions) -> Result<Exit> {
    let Actions {
        verb,
        ids,
        limit,
        remote: _,
    } = args;
    match (verb, ids.is_empty()) {
        (Verb::List, true) => list(session, *limit).await,
        (Verb::List, false) => Err(usage("a list takes no ids; `actions show` does")),
        (Verb::Show | Verb::Abort, true) => Err(usage("name actions by id")),
        (Verb::Show, false) => {
            for_each(session, ids, "show", async |id| {
                tell(session, &session.client.action(id).await?)
            })
            .await
        }
        (Verb::Abort, false) => {
            for_each(session, ids, "abort", async |id| {
                tell(session, &session.client.abort_action(id).await?)
            })
            .await
        }
    }
}

async fn list(session: &Session, limit: u32) -> Result<Exit> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut actions = Vec::new();
    let listed = paging::list(
        limit,
        PAGE,
        async |paging: Paging| {
            let page = session.client.actions(&paging).await?;
            Ok((page.actions, page.next_cursor))
        },
        |action: &ActionView| {
            actions.push(action.clone());
            Ok(())
        },
    );
    listed.await?;
    if session.out.is_json() {
        for action in &actions {
            session.out.json(action)?;
        }
        return Ok(Exit::Ok);
    }
    if actions.is_empty() {
        session.out.line("there are no actions")?;
        return Ok(Exit::Ok);
    }
    let mut rows = table(&[
        "ID", "ACTION", "STATE", "DONE", "REFUSED", "STARTED", "BY", "REASON",
    ]);
    for action in &actions {
        rows.add_row([
            action.id.clone(),
            action.action.clone(),
            action.state.clone(),
            action.done.to_string(),
            action.refused_count.to_string(),
            session.out.now().tell(&action.started_on),
            action.started_by.clone(),
            action.reason.clone(),
        ]);
    }
    session.out.line(&rows.text())?;
    Ok(Exit::Ok)
}

/// The words for an action: those that ask, and those of a dry run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// The verb.
    pub(super) verb: &'static str,
    /// The passive of a dry run.
    pub(super) would: &'static str,
}

impl Words {
    /// The words for running again.
    pub(super) const RUN_AGAIN: Self = Self {
        verb: "run again",
        would: "would run again",
    };

    /// The words for an action that changes operations.
    pub(super) const fn of(action: BulkAction) -> Self {
        Self {
            verb: name(action),
            would: match action {
                BulkAction::Cancel => "would be cancelled",
                BulkAction::Pause => "would be paused",
                BulkAction::Resume => "would be resumed",
                BulkAction::Postpone(_) => "would be postponed",
                BulkAction::Delete => "would be deleted",
            },
        }
    }
}

/// Starts an action on everything that matches, after a person has agreed, and follows
/// it to its end.
pub(super) async fn start(
    session: &Session,
    mut new: NewAction,
    words: Words,
    is_all: bool,
    consent: Consent,
    is_detached: bool,
) -> Result<Exit> {
    if is_all {
        new = new.all();
    }
    let client = session.reached().await?;
    if consent.dry_run || !consent.yes {
        let would = client.preview_action(&new).await?;
        if consent.dry_run {
            tell_preview(session, &would, words)?;
            return Ok(Exit::Ok);
        }
        if would.done == 0 && would.complete {
            tell_preview(session, &would, words)?;
            return Ok(if would.refused_count > 0 {
                Exit::Refused
            } else {
                Exit::Ok
            });
        }
        if !would.complete {
            hint("there are more than were counted");
        }
        if !agrees(would.done, words.verb)? {
            hint("nothing was done");
            return Ok(Exit::Interrupted);
        }
    }
    let started = client.start_action(&new).await?;
    if is_detached {
        if session.out.is_json() {
            session.out.json(&started)?;
        } else {
            session.out.line(&started.id)?;
            hint(&further(&started.id));
        }
        return Ok(Exit::Ok);
    }
    follow(session, started, words.verb).await
}

/// Shows the progress of an action to its end. An interrupt leaves it running.
async fn follow(session: &Session, mut action: ActionView, what: &'static str) -> Result<Exit> {
    let mut progress = Progress::open(what);
    let mut counted = 0;
    while action.is_open() {
        tokio::select! {
            interrupt = ctrl_c() => {
                interrupt?;
                progress.finish();
                hint(&format!("the action goes on; {}", further(&action.id)));
                return Ok(Exit::Interrupted);
            }
            () = sleep(EVERY) => {}
        }
        action = session.client.action(&action.id).await?;
        progress.advance(action.counted.saturating_sub(counted));
        counted = action.counted.max(counted);
    }
    progress.finish();
    tell(session, &action)?;
    Ok(match action.state.as_str() {
        "done" if action.done == 0 && action.refused_count > 0 => Exit::Refused,
        "done" => Exit::Ok,
        _ => Exit::Refused,
    })
}

/// The commands for an action that goes on.
fn further(id: &str) -> String {
    format!("`drumline actions show {id}` shows it, and `drumline actions abort {id}` ends it")
}

/// Shows one action.
fn tell(session: &Session, action: &ActionView) -> Result<()> {
    if session.out.is_json() {
        session.out.json(action)?;
        return Ok(());
    }
    let ActionView {
        id,
        action: verb,
        state,
        counted,
        done,
        refused_count,
        refused,
        failure,
        obstacle,
        ..
    } = action;
    let text = format!(
        "{id}  {verb} is {state}: {counted} selected, {done} done, {refused_count} refused"
    );
    session.out.line(&clean(&text))?;
    for why in [failure, obstacle].into_iter().flatten() {
        hint(why);
    }
    for refusal in refused.iter().take(TOLD) {
        hint(&format!(
            "{}: {} ({})",
            refusal.id, refusal.message, refusal.code
        ));
    }
    Ok(())
}

/// Shows what an action would do.
fn tell_preview(session: &Session, would: &ActionPreview, words: Words) -> Result<()> {
    if session.out.is_json() {
        session.out.json(would)?;
        return Ok(());
    }
    let at_least = if would.complete { "" } else { "at least " };
    session.out.line(&format!(
        "{at_least}{} match: {} {}, {} would be refused",
        would.matched, would.done, words.would, would.refused_count
    ))?;
    if !would.consequence.is_empty() {
        hint(&would.consequence.join(" "));
    }
    for refusal in would.refused.iter().take(TOLD) {
        hint(&format!(
            "{}: {} ({})",
            refusal.id, refusal.message, refusal.code
        ));
    }
    Ok(())
}
