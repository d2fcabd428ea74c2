//! `/v1/failures`: failures that are the same to a person, and the mutes of those that
//! are known.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::{Extension, Json};
use drumline_api::mute::SetMute;
use drumline_api::{FieldError, Invalid};
use drumline_backend::store::FailureGroup;
use drumline_protocol::{FailureKey, Mute};
use serde::Serialize;
use utoipa::ToSchema;

use super::extractors::{By, Parameters};
use super::problem::Answer;
use super::{body, openapi};
use crate::audit::Subject;
use crate::error::Error;
use crate::service::{Failing, QueueManager};

/// The failure groups of an answer, if the request names no number.
const USUAL_GROUPS: usize = 50;
/// The most failure groups of an answer: as many as are kept.
const MOST_GROUPS: usize = drumline_backend::store::FAILURE_GROUPS;

/// The failure groups of the organization.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Failures {
    /// The groups, the last failure first.
    groups: Vec<FailureGroupView>,
}

/// Failures that are the same to a person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureGroupView {
    /// The id of the group.
    #[schema(example = "00c0ffee00c0ffee")]
    id: String,
    /// The message name.
    message_name: String,
    /// The error code.
    #[schema(example = "0x80040216")]
    error_code: String,
    /// The messages of the errors. `#` stands for a number or an id, `'…'` for a quoted
    /// text.
    #[schema(example = "row # of '…' is broken")]
    pattern: String,
    /// The number of failures.
    count: u64,
    /// The time of the first failure.
    #[schema(format = "date-time")]
    first: String,
    /// The time of the last failure.
    #[schema(format = "date-time")]
    last: String,
    /// The operation that failed last. It may be removed.
    #[schema(format = "uuid")]
    sample: String,
    /// The failures in each of the last 24 hours (UTC), the oldest first. The last hour
    /// is not over yet.
    hourly: Vec<u64>,
    /// The mute in force; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    muted: Option<MuteView>,
}

/// A mute: the group raises no alarm for a while.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MuteView {
    /// The reason, for people.
    reason: String,
    /// The time at which the mute ends.
    #[schema(format = "date-time")]
    until: String,
    /// The caller that has set it.
    muted_by: String,
    /// The time at which it was set.
    #[schema(format = "date-time")]
    muted_on: String,
}

/// A mute that is to be set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewMute {
    /// The reason, for people.
    #[schema(max_length = 1000, example = "the vendor repairs it on Monday")]
    reason: String,
    /// The time at which the mute ends, 30 days from now at the latest.
    #[schema(format = "date-time")]
    until: String,
}

impl From<&Mute> for MuteView {
    fn from(mute: &Mute) -> Self {
        let Mute {
            reason,
            author,
            since,
            until,
        } = mute;
        Self {
            reason: reason.clone(),
            until: until.to_string(),
            muted_by: author.name(),
            muted_on: since.to_string(),
        }
    }
}

impl From<&Failing> for FailureGroupView {
    fn from(failing: &Failing) -> Self {
        let Failing { group, hours, mute } = failing;
        let FailureGroup {
            key,
            message_name,
            code,
            pattern,
            count,
            first,
            last,
            sample,
        } = group;
        Self {
            id: key.to_string(),
            message_name: message_name.clone(),
            error_code: code.to_string(),
            pattern: pattern.clone(),
            count: *count,
            first: first.to_string(),
            last: last.to_string(),
            sample: sample.to_string(),
            hourly: hours.to_vec(),
            muted: mute.as_ref().map(MuteView::from),
        }
    }
}

/// Show what fails
///
/// Failures are counted together if message name and error code are the same, and the
/// messages differ in numbers, ids and quoted texts only. At most 1,000 groups are
/// kept, for 30 days after the last failure of any. Muted groups are among them.
#[utoipa::path(
    get, path = "/v1/failures", tag = "operations",
    params(("limit" = Option<u32>, Query, description = "The maximum number of groups, 1 to 1000. Default: 50")),
    responses(
        (status = 200, description = "The groups, the last failure first", body = Failures),
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn failures(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
) -> Answer<Json<Failures>> {
    let limit = groups_limit(pairs)?;
    let groups = manager.failing(&actor, limit).await?;
    Ok(Json(Failures {
        groups: groups.iter().map(FailureGroupView::from).collect(),
    }))
}

/// Mute a failure group
///
/// Its failures raise no alarm until that time: they do not count in the verdict of
/// `/v1/now` and of the first page. They are counted and listed as before. The mute of
/// before is replaced, so the request is safe to repeat.
#[utoipa::path(
    put, path = "/v1/failures/{id}/mute", tag = "operations",
    params(("id" = String, Path)),
    request_body = NewMute,
    responses(
        (status = 200, description = "The group, muted", body = FailureGroupView),
        openapi::NoFailures,
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn mute(
    State(manager): State<QueueManager>,
    By(actor): By,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<(Extension<Subject>, Json<FailureGroupView>)> {
    let body = body::json(&manager, &headers, body).await?;
    let request = SetMute::from_json(&body)?;
    let key = key_of(id)?;
    let subject = subject(key, &request);
    let failing = manager.mute(&actor, key, request).await?;
    Ok((Extension(subject), Json((&failing).into())))
}

/// The group in an address.
pub(super) fn key_of(id: String) -> Result<FailureKey, Error> {
    id.parse().map_err(|_invalid| Error::NoFailures { id })
}

/// A mute in the audit.
pub(super) fn subject(key: FailureKey, request: &SetMute) -> Subject {
    Subject {
        reason: Some(request.reason.clone()),
        ..Subject::one(key)
    }
}

/// End the mute of a failure group
#[utoipa::path(
    delete, path = "/v1/failures/{id}/mute", tag = "operations",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "The group is heard again"),
        openapi::NoFailures,
        openapi::Busy,
    )
)]
pub(crate) async fn unmute(
    State(manager): State<QueueManager>,
    By(actor): By,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    manager.unmute(&actor, key_of(id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn groups_limit(pairs: Vec<(String, String)>) -> Result<usize, Invalid> {
    let mut limit = USUAL_GROUPS;
    let mut errors = Vec::new();
    for (name, value) in pairs {
        match name.as_str() {
            _ if value.is_empty() => {}
            "limit" => match value.parse() {
                Ok(number) if (1..=MOST_GROUPS).contains(&number) => limit = number,
                _ => {
                    let why = format!("must be a number from 1 to {MOST_GROUPS}");
                    errors.push(FieldError::new(name, why));
                }
            },
            _ => errors.push(FieldError::new(name, "is an unknown parameter")),
        }
    }
    if errors.is_empty() {
        Ok(limit)
    } else {
        Err(Invalid::arguments(errors))
    }
}
