//! `drumline pauses`, `pause --reason`, `resume --pause`: persistent pauses of a
//! queue, a message name, a token or an organization.

use drumline_client::{BulkAction, NewPause, PauseKind, PauseView};
use serde_json::json;

use super::{Session, control};
use crate::cli::control::{Pause, Resume, Selection};
use crate::cli::filter::Filter;
use crate::exit::{Exit, Failure, Result};
use crate::output::clean::clean;
use crate::output::table::table;

/// Lists the pauses.
pub(crate) async fn list(session: &Session) -> Result<Exit> {
    let pauses = session.client.pauses().await?;
    if session.out.is_json() {
        for pause in &pauses {
            session.out.json(pause)?;
        }
        return Ok(Exit::Ok);
    }
    if pauses.is_empty() {
        session.out.line("nothing is paused")?;
        return Ok(Exit::Ok);
    }
    let mut rows = table(&["SCOPE", "NAME", "SET", "BY", "UNTIL", "REASON"]);
    for pause in &pauses {
        let until = pause.until.as_deref();
        let until = until.map_or_else(
            || "lifted".to_owned(),
            |until| session.out.now().tell(until),
        );
        rows.add_row([
            pause.scope.clone(),
            pause.name.clone(),
            session.out.now().tell(&pause.set_on),
            pause.set_by.clone(),
            until,
            pause.reason.clone(),
        ]);
    }
    session.out.line(&rows.text())?;
    Ok(Exit::Ok)
}

/// Pauses operations, or, with a reason, a scope for present and future ones.
pub(crate) async fn pause(session: &Session, args: &Pause) -> Result<Exit> {
    let Some(reason) = &args.reason else {
        return control::run(session, &args.ids, &args.selection, BulkAction::Pause).await;
    };
    let mut pause = match scope(&args.ids, &args.selection)? {
        Some((kind, name)) => NewPause::of(kind, name, reason),
        None => NewPause::of_organization(reason),
    };
    if let Some(until) = session.end_of(args.until, args.for_) {
        pause = pause.until(until);
    }
    let set = session.reached().await?.set_pause(&pause).await?;
    if session.out.is_json() {
        session.out.json(&set)?;
    } else {
        session.out.line(&format!("{}  paused", words(&set)))?;
    }
    Ok(Exit::Ok)
}

/// Resumes operations, or, with `--pause`, lifts the pause of a scope.
pub(crate) async fn resume(session: &Session, args: &Resume) -> Result<Exit> {
    if !args.pause {
        return control::run(session, &args.ids, &args.selection, BulkAction::Resume).await;
    }
    let wanted = scope(&args.ids, &args.selection)?;
    let is_wanted = |pause: &PauseView| match &wanted {
        Some((kind, name)) => pause.scope == kind.name() && pause.name == *name,
        None => pause.scope == PauseKind::Organization.name(),
    };
    let pauses = session.client.pauses().await?;
    let Some(found) = pauses.into_iter().find(is_wanted) else {
        let what = match wanted {
            Some((kind, name)) => format!("the {} {name}", kind.words()),
            None => "the organization".to_owned(),
        };
        return Err(Failure::new(
            Exit::NotFound,
            format!("{what} is not paused; `drumline pauses` lists the pauses"),
        ));
    };
    session.client.lift_pause(&found.id).await?;
    if session.out.is_json() {
        session
            .out
            .json(&json!({ "id": found.id, "lifted": true }))?;
    } else {
        session.out.line(&format!("{}  goes on", words(&found)))?;
    }
    Ok(Exit::Ok)
}

fn words(pause: &PauseView) -> String {
    let kind = PauseKind::from_name(&pause.scope);
    let kind = kind.map_or_else(|| pause.scope.clone(), |kind| kind.words().to_owned());
    clean(&format!("{kind} {}", pause.name))
}

/// The scope that the flags name; `None` for the organization.
fn scope(ids: &[String], selection: &Selection) -> Result<Option<(PauseKind, String)>> {
    let Selection {
        all,
        consent: _,
        lasting,
        filter,
    } = selection;
    let Filter {
        message,
        token,
        queue,
        ..
    } = filter;
    let named: Vec<(PauseKind, String)> = [
        (PauseKind::MessageName, message),
        (PauseKind::DependencyToken, token),
        (PauseKind::Queue, queue),
    ]
    .into_iter()
    .filter_map(|(kind, value)| Some((kind, value.clone()?)))
    .collect();
    let alone = Filter {
        message: message.clone(),
        token: token.clone(),
        queue: queue.clone(),
        ..Filter::default()
    };
    let is_alone = ids.is_empty() && alone == *filter && lasting.why.is_none();
    match (named.as_slice(), all) {
        ([one], false) if is_alone => Ok(Some(one.clone())),
        ([], true) if is_alone => Ok(None),
        _ => Err(Failure::new(
            Exit::Usage,
            "a pause is of one scope: --queue, --message, --token, or --all for the organization",
        )),
    }
}
