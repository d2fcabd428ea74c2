//! `/pauses`: the pauses in force, one more, one less.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use drumline_api::pause::SetPause;
use drumline_console::{
    LiftPage, Moment, PauseForm, PauseLine, PausesPage, Section, Text, address,
};
use drumline_protocol::{Pause, PauseKind, Timestamp};
use serde_json::{Map, Value};

use super::viewer::Seen;
use super::{actions, html, value};
use crate::error::{Error, Result};
use crate::ingress::http::body;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::service::QueueManager;

/// The pauses in force. The address may fill the form in.
pub(super) async fn pauses(
    State(manager): State<QueueManager>,
    seen: Seen,
    Parameters(pairs): Parameters,
) -> Answer<Html<String>> {
    Ok(html(&page(&manager, &seen, form(&pairs)).await?))
}

fn form(fields: &[(String, String)]) -> PauseForm {
    let given = |name| value(fields, name).to_owned();
    PauseForm {
        scope: given("scope"),
        name: given("name"),
        reason: given("reason"),
        until: given("until"),
        mistakes: Vec::new(),
    }
}

/// Sets a pause.
pub(super) async fn set(
    State(manager): State<QueueManager>,
    seen: Seen,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let fields = body::form(&headers, body).await?;
    let set = match read(&fields, seen.now) {
        Ok(request) => manager.set_pause(&seen.actor, request).await.map(drop),
        Err(error) => Err(error.into()),
    };
    match set {
        Ok(()) => Ok(Redirect::to("/pauses").into_response()),
        Err(Error::Invalid(invalid)) => {
            let wrong = invalid.attributes.iter();
            let form = PauseForm {
                mistakes: wrong
                    .map(|wrong| (Text::line(&wrong.name), Text::line(&wrong.why)))
                    .collect(),
                ..form(&fields)
            };
            let page = page(&manager, &seen, form).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads the form as the API reads its request.
fn read(fields: &[(String, String)], now: Timestamp) -> Result<SetPause, drumline_api::Error> {
    let mut request = Map::new();
    for name in ["scope", "name", "reason"] {
        let text = value(fields, name);
        if !text.is_empty() {
            request.insert(name.to_owned(), Value::from(text));
        }
    }
    let until = value(fields, "until").trim();
    if !until.is_empty() {
        let at = actions::time(until, now);
        let at = at.map_or_else(|_not_a_time| until.to_owned(), |at| at.to_string());
        request.insert("until".to_owned(), Value::from(at));
    }
    SetPause::from_json(Value::from(request).to_string().as_bytes())
}

/// The question before a pause is lifted.
pub(super) async fn ask(
    State(manager): State<QueueManager>,
    seen: Seen,
    Path(id): Path<String>,
) -> Answer<Html<String>> {
    let pauses = manager.pauses(&seen.actor).await?;
    // The page of a freeze is the command line.
    let found = pauses
        .iter()
        .find(|pause| !pause.scope.is_everything() && pause.scope.key().to_string() == id);
    let pause = found.ok_or_else(|| Error::NoPause { id })?;
    Ok(html(&LiftPage {
        frame: seen.frame("Lift a pause", Section::Pauses),
        pause: line(pause, seen.now),
    }))
}

/// Lifts a pause.
pub(super) async fn lift(
    State(manager): State<QueueManager>,
    seen: Seen,
    Path(id): Path<String>,
) -> Answer<Redirect> {
    let key = id.parse().map_err(|_invalid| Error::NoPause { id })?;
    manager.lift_pause(&seen.actor, key).await?;
    Ok(Redirect::to("/pauses"))
}

async fn page(manager: &QueueManager, seen: &Seen, form: PauseForm) -> Result<PausesPage> {
    let pauses = manager.pauses(&seen.actor).await?;
    Ok(PausesPage {
        frame: seen.frame("Pauses", Section::Pauses),
        pauses: pauses.iter().map(|pause| line(pause, seen.now)).collect(),
        form,
    })
}

/// The address of the form that sets a pause, filled in as far as it is known.
pub(super) fn set_address(kind: PauseKind, name: &str) -> String {
    address("/pauses", [("scope", kind.name()), ("name", name)])
}

/// The address of the question before a pause is lifted.
pub(super) fn lift_address(pause: &Pause) -> String {
    format!("/pauses/{}/lift", pause.scope.key())
}

/// A pause in a few words: until when, by whom, and why.
pub(super) fn in_words(pause: &Pause, now: Timestamp) -> String {
    let end = match pause.until {
        Some(at) => format!(", ends {}", Moment { at, now }.relative()),
        None => String::new(),
    };
    let (by, why) = (pause.author.name(), &pause.reason);
    format!("paused by {by}{end}: {why}")
}

/// A pause as a row.
pub(super) fn line(pause: &Pause, now: Timestamp) -> PauseLine {
    let moment = |at| Moment { at, now };
    let scope = &pause.scope;
    let is_freeze = scope.is_everything();
    let name = match scope.kind {
        PauseKind::Organization => None,
        PauseKind::Queue | PauseKind::MessageName | PauseKind::DependencyToken => {
            Some(scope.kind.name())
        }
    };
    PauseLine {
        id: scope.key().to_string(),
        kind: if is_freeze {
            "everything"
        } else {
            scope.kind.words()
        },
        value: Text::line(if is_freeze {
            "in all organizations"
        } else {
            &scope.value
        }),
        address: name.map(|name| address("/operations", [(name, scope.value.as_str())])),
        reason: Text::line(&pause.reason),
        author: Text::line(&pause.author.name()),
        since: moment(pause.since),
        until: pause.until.map(moment),
        is_everything: scope.kind == PauseKind::Organization && !is_freeze,
        is_freeze,
    }
}
