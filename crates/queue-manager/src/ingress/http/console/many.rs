//! `/many/cancel` and its like: the start of an action on everything that a filter
//! selects. A dry run comes first.
//!
//! The action is an object, which the service executes. Its page shows the progress, and
//! aborts it.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use drumline_api::actions::StartAction;
use drumline_api::preview;
use drumline_console::{BulkPage, Filter, Outcome, Section, Text};
use drumline_protocol::{Action, BulkAction, BulkKind};
use serde_json::{Map, Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::viewer::Seen;
use super::{actions, html, value};
use crate::audit::Subject;
use crate::error::Result;
use crate::ingress::http::body;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::service::QueueManager;

/// The time for which a small action may reach its end before its page is shown.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Between looks in that time.
const LOOK: Duration = Duration::from_millis(150);
/// The fields of the form that are no conditions.
const OWN: [&str; 4] = ["reason", "until", "typed", "expected"];
/// The time that a dry run postpones to, if none is given yet.
const SOON: Duration = Duration::from_secs(60);

/// The pages of all actions.
pub(super) fn routes() -> Router<QueueManager> {
    BulkKind::ALL
        .into_iter()
        .fold(Router::new(), |router, kind| {
            let ask = move |manager, seen, pairs| ask(manager, seen, pairs, kind);
            let act = move |manager, seen, headers, body| act(manager, seen, kind, headers, body);
            let address = format!("/many/{}", kind.name());
            router.route(&address, get(ask).post(act))
        })
}

/// The dry run.
async fn ask(
    State(manager): State<QueueManager>,
    seen: Seen,
    Parameters(pairs): Parameters,
    kind: BulkKind,
) -> Answer<Response> {
    let page = dry_run(&manager, &seen, &pairs, kind).await?;
    Ok(html(&page).into_response())
}

/// Starts the action, and leads to its page.
async fn act(
    State(manager): State<QueueManager>,
    seen: Seen,
    kind: BulkKind,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let fields = body::form(&headers, body).await?;
    let mistake = match kind {
        BulkKind::Act(Action::Postpone) => actions::time(value(&fields, "until"), seen.now)
            .err()
            .map(|why| format!("the time {why}")),
        BulkKind::Act(Action::Cancel | Action::Pause | Action::Resume | Action::Delete)
        | BulkKind::RunAgain => None,
    };
    let mistake = mistake.or_else(|| unconfirmed(&fields));
    let mistake = mistake.or_else(|| {
        let is_missing = value(&fields, "reason").trim().is_empty();
        is_missing.then(|| "a reason is missing; nothing was changed".to_owned())
    });
    if let Some(mistake) = mistake {
        let mut page = dry_run(&manager, &seen, &fields, kind).await?;
        page.until = value(&fields, "until").to_owned();
        page.reason = value(&fields, "reason").to_owned();
        page.mistake = Some(Text::sentence(&mistake));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response());
    }
    let request = read(&seen, &fields, kind, false)?;
    let started = manager.start_action(&seen.actor, &request).await?;
    let subject = Subject {
        filter: request.conditions.into_iter().collect(),
        reason: Some(request.reason),
        ..Subject::one(started.id)
    };
    let page = Redirect::to(&format!("/actions/{}", started.id));
    settle(&manager, &seen, started).await?;
    Ok((Extension(subject), page).into_response())
}

/// Waits a moment for the end of an action: one on a few operations is over when its
/// page is shown.
async fn settle(manager: &QueueManager, seen: &Seen, mut action: BulkAction) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while action.is_open() && Instant::now() < end && !manager.is_draining() {
        sleep(LOOK).await;
        action = manager.action(&seen.actor, action.id).await?;
    }
    Ok(())
}

/// The reason why the form does not confirm what it does; `None` if it does.
fn unconfirmed(fields: &[(String, String)]) -> Option<String> {
    let Ok(expected) = value(fields, "expected").parse::<u64>() else {
        return Some("this form does not say how many are meant; nothing was changed".to_owned());
    };
    let is_asked = fields.iter().any(|(name, _)| name == "typed");
    let is_typed = value(fields, "typed").trim().parse::<u64>() == Ok(expected);
    let needs_typing = is_asked || drumline_console::is_typed(&conditions(fields), expected);
    (needs_typing && !is_typed)
        .then(|| "the number that was typed is another one; nothing was changed".to_owned())
}

async fn dry_run(
    manager: &QueueManager,
    seen: &Seen,
    pairs: &[(String, String)],
    kind: BulkKind,
) -> Answer<BulkPage> {
    let request = read(seen, pairs, kind, true)?;
    let answer = manager.rehearse_action(&seen.actor, &request).await?;
    let refusals = answer.refused.iter().map(|refusal| {
        let code = Text::line(&refusal.code.to_string());
        (refusal.id.to_string(), code, Text::line(&refusal.message))
    });
    Ok(BulkPage {
        frame: seen.frame(drumline_console::bulk_title(kind), Section::Operations),
        kind,
        filter: conditions(pairs),
        outcome: Outcome {
            matched: answer.matched,
            done: answer.done,
            refused: answer.refused_count,
            refusals: refusals.collect(),
            has_more: answer.next.is_some(),
        },
        consequence: Text::line(&preview::of_many(kind).join(" ")),
        until: String::new(),
        reason: String::new(),
        mistake: None,
    })
}

/// The conditions among the fields of a form.
fn conditions(pairs: &[(String, String)]) -> Filter {
    let given = pairs
        .iter()
        .filter(|(name, value)| !value.is_empty() && (!OWN.contains(&name.as_str())));
    Filter {
        pairs: given.cloned().collect(),
    }
}

/// Reads the form as the API reads its request. A page without conditions says so, and
/// means everything.
fn read(
    seen: &Seen,
    pairs: &[(String, String)],
    kind: BulkKind,
    is_rehearsal: bool,
) -> Result<StartAction> {
    let mut filter = Map::new();
    for (name, value) in conditions(pairs).pairs {
        // The API's word for everything, in an address.
        if name != "all" {
            filter.insert(name, Value::from(value));
        }
    }
    let mut request = json!({
        "action": kind.name(),
        "all": filter.is_empty(),
        "filter": filter,
        "dryRun": is_rehearsal,
    });
    if !is_rehearsal {
        request["reason"] = Value::from(value(pairs, "reason"));
    }
    if kind == BulkKind::Act(Action::Postpone) {
        let until = actions::time(value(pairs, "until"), seen.now);
        let until = until.unwrap_or_else(|_none| seen.now.saturating_add(SOON));
        request["postponeUntil"] = Value::from(until.to_string());
    }
    Ok(StartAction::from_json(request.to_string().as_bytes())?)
}
