//! `/v1/operations/cancel` and its like: one action on everything that a
//! filter selects.
#![expect(
    unused_qualifications,
    reason = "utoipa's macro qualifies the type of the parameters"
)]

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::HeaderMap;
use drumline_api::Control;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::actor::By;
use super::extractors::Parameters;
use super::problem::Answer;
use super::query::{self, BulkQuery};
use super::{body, openapi};
use crate::service::{Actor, Bulk, BulkAct, BulkAnswer, BulkRefusal, QueueManager};

/// What one call has come to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BulkView {
    /// Whether nothing was done, and only looked at what would be.
    dry_run: bool,
    /// Operations that this call selected.
    matched: u64,
    /// Of these, done; in a dry run, those with which it would be.
    done: u64,
    /// Of these, refused.
    refused_count: u64,
    /// The first 20 refusals.
    refused: Vec<RefusalView>,
    /// Where the next call starts; `null`: that was all.
    next_cursor: Option<String>,
}

/// One operation with which it could not be done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalView {
    /// The operation.
    #[schema(format = "uuid")]
    id: String,
    /// Why, for programs.
    #[schema(example = "0x80044F00")]
    code: String,
    /// Why, for people.
    message: String,
}

impl BulkView {
    fn of(answer: BulkAnswer, dry_run: bool) -> Self {
        let BulkAnswer {
            matched,
            done,
            refused_count,
            refused,
            next,
        } = answer;
        Self {
            dry_run,
            matched,
            done,
            refused_count,
            refused: refused.into_iter().map(RefusalView::from).collect(),
            next_cursor: next.map(|place| place.to_string()),
        }
    }
}

impl From<BulkRefusal> for RefusalView {
    fn from(BulkRefusal { id, code, message }: BulkRefusal) -> Self {
        Self {
            id: id.to_string(),
            code: code.to_string(),
            message,
        }
    }
}

/// What follows the `?`: the filters of a list, and how to go about it. At
/// least one filter is required, or `all=true`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes; query::bulk reads")]
pub(crate) struct BulkParameters {
    /// Exactly this name.
    name: Option<String>,
    /// A state code or its name.
    #[param(example = "Ready")]
    state: Option<String>,
    /// A status code or its name.
    #[param(example = "Waiting")]
    status: Option<String>,
    /// Exactly this message name.
    message_name: Option<String>,
    /// The number of the type.
    operation_type: Option<u32>,
    /// Exactly this token.
    dependency_token: Option<String>,
    /// RFC 3339.
    created_after: Option<String>,
    /// RFC 3339.
    created_before: Option<String>,
    /// RFC 3339; selects Completed ones only.
    completed_before: Option<String>,
    /// A UUID.
    correlation_id: Option<String>,
    /// `true`: without a filter, everything.
    all: Option<bool>,
    /// `true`: only say what would be done.
    dry_run: Option<bool>,
    /// Operations that this call selects, 1 to 500; 500 when missing.
    limit: Option<u32>,
    /// The nextCursor of the call before.
    cursor: Option<String>,
}

/// Cancel many operations
///
/// Does to each operation that the filters select what `cancel` does to one.
/// A call selects a bounded share, newest first; call again with `cursor` set
/// to `nextCursor` until that is `null`. Completed operations are selected only
/// where the filters say so (`state`, `status`, `completedBefore`).
#[utoipa::path(
    post, path = "/v1/operations/cancel", tag = "bulk", operation_id = "cancelMany",
    params(BulkParameters),
    responses(
        (status = 200, description = "What was done, and where to go on", body = BulkView),
        openapi::NotJson,
        openapi::TooLarge,
        openapi::UnsupportedMediaType,
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn cancel(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<BulkView>> {
    simple(
        &manager,
        &actor,
        pairs,
        &headers,
        body,
        BulkAct::Act(Control::Cancel),
    )
    .await
}

/// Pause many operations
///
/// As `cancelMany`.
#[utoipa::path(
    post, path = "/v1/operations/pause", tag = "bulk", operation_id = "pauseMany",
    params(BulkParameters),
    responses(
        (status = 200, description = "What was done, and where to go on", body = BulkView),
        openapi::NotJson,
        openapi::TooLarge,
        openapi::UnsupportedMediaType,
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn pause(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<BulkView>> {
    simple(
        &manager,
        &actor,
        pairs,
        &headers,
        body,
        BulkAct::Act(Control::Pause),
    )
    .await
}

/// Resume many operations
///
/// As `cancelMany`; Completed operations that hold their token are selected,
/// too.
#[utoipa::path(
    post, path = "/v1/operations/resume", tag = "bulk", operation_id = "resumeMany",
    params(BulkParameters),
    responses(
        (status = 200, description = "What was done, and where to go on", body = BulkView),
        openapi::NotJson,
        openapi::TooLarge,
        openapi::UnsupportedMediaType,
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn resume(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<BulkView>> {
    simple(
        &manager,
        &actor,
        pairs,
        &headers,
        body,
        BulkAct::Act(Control::Resume),
    )
    .await
}

/// Postpone many operations
///
/// As `cancelMany`.
#[utoipa::path(
    post, path = "/v1/operations/postpone", tag = "bulk", operation_id = "postponeMany",
    params(BulkParameters),
    request_body = openapi::Postponement,
    responses(
        (status = 200, description = "What was done, and where to go on", body = BulkView),
        openapi::NotJson,
        openapi::TooLarge,
        openapi::UnsupportedMediaType,
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn postpone(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<BulkView>> {
    let body = body::json_unless_empty(&manager, &headers, body).await?;
    let act = Control::postpone_from_json(&body)?;
    run(&manager, &actor, pairs, BulkAct::Act(act)).await
}

/// Delete many operations
///
/// As `cancelMany`, but Completed operations need not be named: only they can
/// be deleted. With `state=Completed` or `completedBefore` nothing else is
/// selected, and nothing refused.
#[utoipa::path(
    post, path = "/v1/operations/delete", tag = "bulk", operation_id = "deleteMany",
    params(BulkParameters),
    responses(
        (status = 200, description = "What was done, and where to go on", body = BulkView),
        openapi::NotJson,
        openapi::TooLarge,
        openapi::UnsupportedMediaType,
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn delete(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<BulkView>> {
    simple(&manager, &actor, pairs, &headers, body, BulkAct::Delete).await
}

/// An action without arguments.
async fn simple(
    manager: &QueueManager,
    actor: &Actor,
    pairs: Vec<(String, String)>,
    headers: &HeaderMap,
    body: Body,
    act: BulkAct,
) -> Answer<Json<BulkView>> {
    let body = body::json_or_nothing(manager, headers, body).await?;
    Control::nothing_from_json(&body)?;
    run(manager, actor, pairs, act).await
}

async fn run(
    manager: &QueueManager,
    actor: &Actor,
    pairs: Vec<(String, String)>,
    act: BulkAct,
) -> Answer<Json<BulkView>> {
    let BulkQuery {
        query,
        is_rehearsal,
    } = query::bulk(pairs, actor)?;
    let bulk = Bulk {
        act,
        filter: query.filter,
        cursor: query.cursor,
        limit: query.limit,
        is_rehearsal,
    };
    let answer = manager.bulk(&bulk).await?;
    Ok(Json(BulkView::of(answer, is_rehearsal)))
}
