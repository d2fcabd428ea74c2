//! `/many/cancel` and its like: an action on everything that a filter selects. A
//! dry run comes first.
//!
//! A call acts for some seconds, and its page offers to go on. So what was done is
//! known, and a person can stop in between.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use drumline_api::Control;
use drumline_console::{BulkPage, Filter, Outcome, Section, Text};
use drumline_protocol::Action;
use tokio::time::{Duration, Instant};

use super::viewer::Seen;
use super::{actions, html, value};
use crate::audit::Subject;
use crate::error::Result;
use crate::ingress::http::body;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::ingress::http::query::{self, BulkQuery};
use crate::service::{Bulk, BulkAct, BulkAnswer, QueueManager};

/// The time for which a dry run counts.
const COUNTING: Duration = Duration::from_secs(2);
/// The time for which one request acts.
const ACTING: Duration = Duration::from_secs(5);
/// Refusals that are shown.
const REFUSALS: usize = 20;
/// The fields of the form that are no conditions.
const OWN: [&str; 6] = ["cursor", "done", "until", "typed", "expected", "limit"];
/// The time that a dry run postpones to, if none is given yet.
const SOON: Duration = Duration::from_secs(60);

/// The pages of all actions.
pub(super) fn routes() -> Router<QueueManager> {
    Action::ALL
        .into_iter()
        .fold(Router::new(), |router, action| {
            let ask = move |manager, seen, pairs| ask(manager, seen, pairs, action);
            let act = move |manager, seen, headers, body| act(manager, seen, action, headers, body);
            let address = format!("/many/{}", action.name());
            router.route(&address, get(ask).post(act))
        })
}

/// The dry run.
async fn ask(
    State(manager): State<QueueManager>,
    seen: Seen,
    Parameters(pairs): Parameters,
    action: Action,
) -> Answer<Response> {
    let page = dry_run(&manager, &seen, &pairs, action).await?;
    Ok(html(&page).into_response())
}

/// The action itself.
async fn act(
    State(manager): State<QueueManager>,
    seen: Seen,
    action: Action,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let fields = body::form(&headers, body).await?;
    let mistake = match action {
        Action::Postpone => actions::time(value(&fields, "until"), seen.now)
            .err()
            .map(|why| format!("the time {why}")),
        Action::Cancel | Action::Pause | Action::Resume | Action::Delete => None,
    };
    let mistake = mistake.or_else(|| unconfirmed(&fields));
    if let Some(mistake) = mistake {
        let mut page = dry_run(&manager, &seen, &fields, action).await?;
        page.until = value(&fields, "until").to_owned();
        page.mistake = Some(Text::sentence(&mistake));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response());
    }
    let (filter, query) = read(&seen, &fields)?;
    let bulk = bulk(&seen, query, action, value(&fields, "until"), false);
    let page = BulkPage {
        frame: seen.frame(title(action), Section::Operations),
        action,
        filter,
        is_dry_run: false,
        outcome: run(&manager, bulk, ACTING).await?,
        done_before: value(&fields, "done").parse().unwrap_or(0),
        until: value(&fields, "until").to_owned(),
        mistake: None,
    };
    let subject = Subject {
        count: Some(page.outcome.done),
        filter: page.filter.pairs.iter().cloned().collect(),
        ..Subject::default()
    };
    Ok((Extension(subject), html(&page)).into_response())
}

/// The reason why the form does not confirm what it does; `None` if it does.
fn unconfirmed(fields: &[(String, String)]) -> Option<String> {
    if !value(fields, "cursor").is_empty() {
        // The first page of this action was confirmed.
        return None;
    }
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
    action: Action,
) -> Answer<BulkPage> {
    let (filter, query) = read(seen, pairs)?;
    let bulk = bulk(seen, query, action, value(pairs, "until"), true);
    Ok(BulkPage {
        frame: seen.frame(title(action), Section::Operations),
        action,
        filter,
        is_dry_run: true,
        outcome: run(manager, bulk, COUNTING).await?,
        done_before: 0,
        until: String::new(),
        mistake: None,
    })
}

fn title(action: Action) -> String {
    format!("{} many operations", drumline_console::action(action))
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

/// Reads the conditions, as the API does. A page without conditions says so, and
/// means everything.
fn read(seen: &Seen, pairs: &[(String, String)]) -> Answer<(Filter, BulkQuery)> {
    let filter = conditions(pairs);
    let mut asked = filter.pairs.clone();
    if asked.is_empty() {
        asked.push(("all".to_owned(), "true".to_owned()));
    }
    let cursor = pairs
        .iter()
        .filter(|(name, value)| name == "cursor" && !value.is_empty());
    asked.extend(cursor.cloned());
    let query = query::bulk(asked, &seen.actor)?;
    Ok((filter, query))
}

fn bulk(seen: &Seen, query: BulkQuery, action: Action, until: &str, is_rehearsal: bool) -> Bulk {
    let until = actions::time(until, seen.now);
    let until = until.unwrap_or_else(|_none| seen.now.saturating_add(SOON));
    Bulk {
        act: match action {
            Action::Cancel => BulkAct::Act(Control::Cancel),
            Action::Pause => BulkAct::Act(Control::Pause),
            Action::Resume => BulkAct::Act(Control::Resume),
            Action::Postpone => BulkAct::Act(Control::Postpone(until)),
            Action::Delete => BulkAct::Delete,
        },
        filter: query.query.filter,
        cursor: query.query.cursor,
        limit: query.query.limit,
        is_rehearsal,
        author: seen.actor.author(),
    }
}

/// Repeats the call until nothing is left, or the time is over.
async fn run(manager: &QueueManager, mut bulk: Bulk, time: Duration) -> Result<Outcome> {
    let end = Instant::now() + time;
    let mut outcome = Outcome::default();
    loop {
        let BulkAnswer {
            matched,
            done,
            refused_count,
            refused,
            next,
        } = manager.bulk(&bulk).await?;
        outcome.matched += matched;
        outcome.done += done;
        outcome.refused += refused_count;
        let room = REFUSALS.saturating_sub(outcome.refusals.len());
        let refused = refused.into_iter().take(room);
        outcome.refusals.extend(refused.map(|refusal| {
            let code = Text::line(&refusal.code.to_string());
            (refusal.id.to_string(), code, Text::line(&refusal.message))
        }));
        outcome.next = next.map(|next| next.to_string());
        bulk.cursor = next;
        if next.is_none() || Instant::now() >= end {
            return Ok(outcome);
        }
    }
}
