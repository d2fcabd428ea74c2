//! `/failures`: failures that are the same to a person, put together; and the mutes of
//! those that are known.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use drumline_api::mute::SetMute;
use drumline_backend::store::{FailureGroup, Filter, Rollup};
use drumline_console::{
    Cell, Chart, FailureLine, Moment, MuteForm, MuteLine, MutePage, Section, Sheet, SheetPage,
    Text, address, number,
};
use drumline_protocol::{Mute, Status, Timestamp};
use serde_json::{Map, Value};

use super::viewer::Seen;
use super::{actions, html, pulse, value};
use crate::error::{Error, Result};
use crate::ingress::http::body;
use crate::ingress::http::failures::{key_of, subject};
use crate::ingress::http::problem::Answer;
use crate::service::{Failing, Query, QueueManager};

/// Groups that are shown.
const SHOWN: usize = 100;

/// The span of a mute that the form proposes.
const USUAL_MUTE: &str = "8h";

/// The page.
pub(super) async fn failures(
    State(manager): State<QueueManager>,
    seen: Seen,
) -> Answer<Html<String>> {
    let (groups, runs) = tokio::join!(
        // One more shows whether there are more.
        manager.failing(&seen.actor, SHOWN + 1),
        runs(&manager, &seen),
    );
    let (groups, runs) = (groups?, runs?);
    let mut columns = vec![
        "Message",
        "Failures",
        "Last 24 hours",
        "Latest",
        "First",
        "Error",
    ];
    if runs.is_some() {
        columns.push("Failed in 3 hours");
    }
    if seen.rights.operate {
        columns.push("Actions");
    }
    let row = |failing: &Failing| {
        let mut row = row(failing, seen.now);
        row.extend(runs.as_ref().map(|runs| share(runs, &failing.group)));
        if seen.rights.operate {
            row.push(Cell::actions(actions_on(failing)));
        }
        row
    };
    let shown = groups.iter().take(SHOWN);
    let (muted, heard): (Vec<_>, Vec<_>) = shown.partition(|failing| failing.mute.is_some());
    let mut intro = Vec::new();
    if groups.len() > SHOWN {
        let more = format!("these are the {SHOWN} kinds that failed last, and there are more");
        intro.push(Text::sentence(&more));
    } else if groups.is_empty() && has_failed(&manager, &seen).await? {
        intro.push(Text::sentence(
            "operations have failed, but none is counted: a failure is counted some seconds later, and forgotten 30 days after the last one",
        ));
    }
    let empty = match (intro.is_empty(), muted.is_empty()) {
        (true, true) => "Nothing has failed.",
        (true, false) => "Nothing has failed that is not muted.",
        (false, _) => "No failure is counted.",
    };
    let all = address("/operations", [("status", "Failed")]);
    let sheet = Sheet {
        columns,
        rows: heard.into_iter().map(row).collect(),
        intro,
        empty,
        links: vec![(Text::line("All operations that failed"), all)],
        class: "failures",
        ..Sheet::default()
    };
    let lead = "Failures are put together if their message name and code are the same, and their errors differ in numbers, ids and quoted texts only";
    Ok(html(&SheetPage {
        frame: seen.frame("Failures", Section::Failures),
        lead: vec![Text::sentence(lead)],
        search: None,
        sheets: std::iter::once(sheet)
            .chain(muted_sheet(&muted, &seen))
            .collect(),
    }))
}

/// The things that can be done about a group: run its failed operations again, cancel
/// those that are to be tried again, and mute it.
fn actions_on(failing: &Failing) -> Vec<(&'static str, String)> {
    let key = failing.group.key.to_string();
    let of_group = || {
        [
            ("failure", key.as_str()),
            ("messageName", failing.group.message_name.as_str()),
        ]
    };
    let failed = of_group().into_iter().chain([("status", "Failed")]);
    let mute = if failing.mute.is_some() {
        "Change the mute"
    } else {
        "Mute"
    };
    vec![
        ("Run again", address("/many/run-again", failed)),
        ("Cancel what waits", address("/many/cancel", of_group())),
        (mute, mute_address(failing)),
    ]
}

/// The address of the operations that have failed in the way of a group.
fn failed_address(failing: &Failing) -> String {
    let key = failing.group.key.to_string();
    let pairs = [
        ("failure", key.as_str()),
        ("messageName", failing.group.message_name.as_str()),
        ("status", "Failed"),
    ];
    address("/operations", pairs)
}

/// The address of the page that mutes a group.
fn mute_address(failing: &Failing) -> String {
    format!("/failures/{}/mute", failing.group.key)
}

/// The muted groups, folded.
fn muted_sheet(muted: &[&Failing], seen: &Seen) -> Option<Sheet> {
    if muted.is_empty() {
        return None;
    }
    let now = seen.now;
    let row = |failing: &&Failing| {
        let group = &failing.group;
        let mute = failing.mute.as_ref();
        let by = mute.map(|mute| mute.author.name()).unwrap_or_default();
        let reason = mute.map(|mute| mute.reason.as_str()).unwrap_or_default();
        let until = mute.map(|mute| {
            Cell::moment(Moment {
                at: mute.until,
                now,
            })
        });
        let mut row = vec![
            Cell::link(group.message_name.as_str(), failed_address(failing)),
            Cell::text(number(group.count)),
            Cell::chart(last_day(failing)),
            Cell::moment(Moment {
                at: group.last,
                now,
            }),
            Cell::link(words(failing), format!("/operations/{}", group.sample)),
            Cell::text(by).with_note(reason),
            until.unwrap_or_default(),
        ];
        if seen.rights.operate {
            row.push(Cell::actions(actions_on(failing)));
        }
        row
    };
    let mut columns = vec![
        "Message",
        "Failures",
        "Last 24 hours",
        "Latest",
        "Error",
        "Muted by",
        "Until",
    ];
    if seen.rights.operate {
        columns.push("Actions");
    }
    Some(Sheet {
        title: "Muted failures",
        columns,
        rows: muted.iter().map(row).collect(),
        is_folded: true,
        ..Sheet::default()
    })
}

/// The error of a group in words.
fn words(failing: &Failing) -> &str {
    match failing.group.pattern.trim() {
        "" => "no words",
        words => words,
    }
}

/// A group on the first page, and on the page that mutes it.
pub(super) fn in_short(failing: &Failing, now: Timestamp) -> FailureLine {
    let group = &failing.group;
    let code = group.code.name().map(str::to_owned);
    FailureLine {
        id: group.key.to_string(),
        message_name: Text::line(&group.message_name),
        code: Text::line(&code.unwrap_or_else(|| group.code.to_string())),
        pattern: Text::line(words(failing)),
        count: Text::line(&number(group.count)),
        chart: last_day(failing),
        last: Moment {
            at: group.last,
            now,
        },
        sample: format!("/operations/{}", group.sample),
    }
}

/// The question before a group is muted, and the mute that it has.
pub(super) async fn ask(
    State(manager): State<QueueManager>,
    seen: Seen,
    Path(id): Path<String>,
) -> Answer<Html<String>> {
    let failing = manager.failing_as(&seen.actor, key_of(id)?).await?;
    let form = MuteForm {
        until: USUAL_MUTE.to_owned(),
        ..MuteForm::default()
    };
    Ok(html(&mute_page(&seen, &failing, form)))
}

/// Mutes a group.
pub(super) async fn mute(
    State(manager): State<QueueManager>,
    seen: Seen,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let key = key_of(id)?;
    let fields = body::form(&headers, body).await?;
    let set = match read(&fields, seen.now) {
        Ok(request) => {
            let subject = subject(key, &request);
            let muted = manager.mute(&seen.actor, key, request).await;
            muted.map(|_failing| subject)
        }
        Err(error) => Err(error.into()),
    };
    match set {
        Ok(subject) => Ok((Extension(subject), Redirect::to("/failures")).into_response()),
        Err(Error::Invalid(invalid)) => {
            let failing = manager.failing_as(&seen.actor, key).await?;
            let wrong = invalid.attributes.iter();
            let form = MuteForm {
                reason: value(&fields, "reason").to_owned(),
                until: value(&fields, "until").to_owned(),
                mistakes: wrong
                    .map(|wrong| (Text::line(&wrong.name), Text::line(&wrong.why)))
                    .collect(),
            };
            let page = html(&mute_page(&seen, &failing, form));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends the mute of a group.
pub(super) async fn unmute(
    State(manager): State<QueueManager>,
    seen: Seen,
    Path(id): Path<String>,
) -> Answer<Redirect> {
    manager.unmute(&seen.actor, key_of(id)?).await?;
    Ok(Redirect::to("/failures"))
}

/// Reads the form as the API reads its request.
fn read(fields: &[(String, String)], now: Timestamp) -> Result<SetMute, drumline_api::Error> {
    let mut request = Map::new();
    for name in ["reason", "until"] {
        let text = value(fields, name).trim();
        if !text.is_empty() {
            request.insert(name.to_owned(), Value::from(text));
        }
    }
    let until = value(fields, "until").trim();
    if let Ok(at) = actions::time(until, now) {
        request.insert("until".to_owned(), Value::from(at.to_string()));
    }
    SetMute::from_json(Value::from(request).to_string().as_bytes())
}

fn mute_page(seen: &Seen, failing: &Failing, form: MuteForm) -> MutePage {
    let moment = |at| Moment { at, now: seen.now };
    let line = |mute: &Mute| MuteLine {
        author: Text::line(&mute.author.name()),
        reason: Text::line(&mute.reason),
        since: moment(mute.since),
        until: moment(mute.until),
    };
    MutePage {
        frame: seen.frame("Mute failures", Section::Failures),
        group: in_short(failing, seen.now),
        mute: failing.mute.as_ref().map(line),
        form,
    }
}

fn row(failing: &Failing, now: Timestamp) -> Vec<Cell> {
    let group = &failing.group;
    let FailureGroup {
        key: _,
        message_name,
        code,
        pattern: _,
        count,
        first,
        last,
        sample,
    } = group;
    let code = match code.name() {
        Some(name) => format!("{name} {code}"),
        None => code.to_string(),
    };
    vec![
        Cell::link(message_name.as_str(), failed_address(failing)),
        Cell::text(number(*count)),
        Cell::chart(last_day(failing)),
        Cell::moment(Moment { at: *last, now }),
        Cell::moment(Moment { at: *first, now }),
        Cell::link(words(failing), format!("/operations/{sample}")).with_note(code),
    ]
}

/// The failures of each of the last hours, as bars.
fn last_day(failing: &Failing) -> Chart {
    let hours = &failing.hours;
    let all = number(hours.iter().sum());
    let now = number(hours.last().copied().unwrap_or(0));
    Chart {
        title: "Failures in each of the last 24 hours",
        summary: Text::line(&format!("{all}, in this hour {now}")),
        class: if failing.mute.is_some() {
            "idle"
        } else {
            "bad"
        },
        values: hours.to_vec(),
    }
}

/// Counts the runs of each message name lately, for callers that may see the fleet: the numbers are of all organizations.
async fn runs(manager: &QueueManager, seen: &Seen) -> Result<Option<Vec<(String, Rollup)>>> {
    if !seen.rights.fleet {
        return Ok(None);
    }
    let counts = manager.last_hours().await?;
    let by_message = pulse::by_message(&counts).into_iter();
    Ok(Some(
        by_message
            .map(|(name, rollup)| (name.clone(), rollup))
            .collect(),
    ))
}

fn share(runs: &[(String, Rollup)], group: &FailureGroup) -> Cell {
    let own = runs.iter().find(|(name, _)| *name == group.message_name);
    own.map_or_else(Cell::default, |(_, rollup)| {
        let failed = rollup.failed.saturating_add(rollup.expired);
        let (failed, ended) = (number(failed), number(rollup.ended()));
        Cell::text(format!("{failed} of {ended}"))
    })
}

/// Returns true if an operation that failed is found at a glance.
async fn has_failed(manager: &QueueManager, seen: &Seen) -> Result<bool> {
    let query = Query {
        filter: Filter {
            status: Some(Status::Failed),
            ..Filter::default()
        },
        cursor: None,
        limit: 1,
    };
    let found = manager.glance(&seen.actor, &query).await?;
    Ok(!found.operations.is_empty())
}
