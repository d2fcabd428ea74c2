//! `/operations/{id}/cancel` and its like: what an action does, and then the action.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use drumline_api::{Control, RunAgain};
use drumline_console::{Badge, ConfirmPage, RunAgainPage, Section, Text};
use drumline_protocol::transition::{legal_actions, refuse_run_again};
use drumline_protocol::{Action, Operation, Timestamp};

use super::viewer::Seen;
use super::{html, operation, value};
use crate::error::Result;
use crate::ingress::http::body;
use crate::ingress::http::extractors::Id;
use crate::ingress::http::problem::Answer;
use crate::service::QueueManager;

/// The rule for a time in a form.
const TIME: &str = "must be a time such as 2026-11-30T06:00:00Z, or a span from now such as 2h";

/// The pages of all actions.
pub(super) fn routes() -> Router<QueueManager> {
    let again = get(ask_again).post(run_again);
    let router = Router::new().route("/operations/{id}/run-again", again);
    Action::ALL.into_iter().fold(router, |router, action| {
        let ask = move |manager, seen, id| ask(manager, seen, id, action);
        let act =
            move |manager, seen, id, headers, body| act(manager, seen, id, action, headers, body);
        let address = format!("/operations/{{id}}/{}", action.name());
        router.route(&address, get(ask).post(act))
    })
}

/// The consequence of an action.
async fn ask(
    State(manager): State<QueueManager>,
    seen: Seen,
    Id(id): Id,
    action: Action,
) -> Answer<Response> {
    let operation = manager.get(&seen.actor, id).await?;
    let page = page_of(&manager, &seen, &operation, action).await?;
    Ok(html(&page).into_response())
}

/// The action itself.
async fn act(
    State(manager): State<QueueManager>,
    seen: Seen,
    Id(id): Id,
    action: Action,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let fields = body::form(&headers, body).await?;
    let control = match action {
        Action::Cancel => Control::Cancel,
        Action::Pause => Control::Pause,
        Action::Resume => Control::Resume,
        Action::Postpone => match time(value(&fields, "until"), seen.now) {
            Ok(until) => Control::Postpone(until),
            Err(why) => {
                let operation = manager.get(&seen.actor, id).await?;
                let mut page = page_of(&manager, &seen, &operation, action).await?;
                page.until = value(&fields, "until").to_owned();
                page.mistake = Some(Text::sentence(&format!("This {why}")));
                return Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response());
            }
        },
        Action::Delete => {
            manager.delete(&seen.actor, id).await?;
            return Ok(Redirect::to("/operations?done=delete").into_response());
        }
    };
    manager.act(&seen.actor, id, control).await?;
    let address = format!("/operations/{id}?done={}", action.name());
    Ok(Redirect::to(&address).into_response())
}

/// The consequence of running again.
async fn ask_again(
    State(manager): State<QueueManager>,
    seen: Seen,
    Id(id): Id,
) -> Answer<Html<String>> {
    let operation = manager.get(&seen.actor, id).await?;
    let Operation { header, body, .. } = &operation;
    let token = body.dependency_token.as_ref();
    Ok(html(&RunAgainPage {
        frame: seen.frame("Run an operation again", Section::Operations),
        id: id.to_string(),
        subject: Text::line(operation::title(body)),
        status: Badge(header.status),
        token: token.map(|token| Text::line(token.as_str())),
        is_holding: header.holding,
        is_impossible: refuse_run_again(header).is_some(),
        asked: seen.now.as_millis().to_string(),
    }))
}

/// Does the work of an operation again, by a new one, whose page comes next.
async fn run_again(
    State(manager): State<QueueManager>,
    seen: Seen,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Answer<Redirect> {
    let fields = body::form(&headers, body).await?;
    let leave_token = value(&fields, "leaveToken") == "true";
    let changes = RunAgain {
        leave_token,
        ..RunAgain::default()
    };
    // A form that is sent twice creates one operation.
    let asked: Option<u64> = value(&fields, "asked").parse().ok();
    let key = asked.map(|asked| format!("console {id} {asked} {leave_token}"));
    let new = manager
        .run_again(&seen.actor, id, changes, key.as_deref())
        .await?;
    let page = format!("/operations/{}", new.operation.id);
    Ok(Redirect::to(&page))
}

/// A time as a person writes it: RFC 3339, or a span from now.
///
/// # Errors
/// The rule that it breaks, as a clause about it.
pub(super) fn time(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    let text = text.trim();
    if let Ok(at) = Timestamp::parse_rfc3339(text) {
        return Ok(at);
    }
    let span: Option<Duration> = humantime::parse_duration(text).ok();
    span.map(|span| now.saturating_add(span)).ok_or(TIME)
}

async fn page_of(
    manager: &QueueManager,
    seen: &Seen,
    operation: &Operation,
    action: Action,
) -> Result<ConfirmPage> {
    let Operation {
        id, header, body, ..
    } = operation;
    let effects = manager.consequence(operation, action).await?;
    let effects = effects.iter().map(|effect| Text::sentence(effect));
    let title = format!("{} an operation", drumline_console::action(action));
    Ok(ConfirmPage {
        frame: seen.frame(title, Section::Operations),
        id: id.to_string(),
        subject: Text::line(operation::title(body)),
        status: Badge(header.status),
        action,
        effects: effects.collect(),
        is_impossible: !legal_actions(header).contains(&action),
        until: String::new(),
        mistake: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_or_a_span() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let later = now.saturating_add(Duration::from_secs(7_200));
        assert_eq!(time(" 2h ", now), Ok(later));
        assert_eq!(time(&later.to_string(), now), Ok(later));
        for bad in ["", "soon", "2026-11-30"] {
            assert_eq!(time(bad, now), Err(TIME), "{bad}");
        }
    }
}
