//! `/v1/operations/cancel` and its like: one action on everything that a
//! filter selects.
#![expect(
    unused_qualifications,
    reason = "utoipa's macro qualifies the type of the parameters"
)]

use axum::body::Body;
use axum::extract::State;
use axum::http::header::HeaderMap;
use axum::{Extension, Json};
use drumline_api::Control;
use drumline_api::preview::of_many;
use drumline_protocol::BulkKind;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::extractors::{By, Parameters};
use super::problem::Answer;
use super::query::{self, BulkQuery};
use super::{body, openapi};
use crate::audit::Subject;
use crate::service::{Actor, Bulk, BulkAct, BulkAnswer, BulkRefusal, QueueManager};

/// The result of one call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BulkView {
    /// Whether this was a dry run, which changes nothing.
    dry_run: bool,
    /// The number of operations that this call selected.
    matched: u64,
    /// The number of selected operations for which the action was done; in a dry
    /// run, would be done.
    done: u64,
    /// The number of selected operations for which the action was refused.
    refused_count: u64,
    /// The first 20 refusals.
    refused: Vec<RefusalView>,
    /// The cursor of the next call; `null` after the last.
    next_cursor: Option<String>,
    /// In a dry run, the consequence for each operation, in sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    consequence: Option<Vec<String>>,
}

/// The answer, and its subject for the audit log.
type Acted = (Extension<Subject>, Json<BulkView>);

/// One operation for which the action was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalView {
    /// The id of the operation.
    #[schema(format = "uuid")]
    id: String,
    /// The error code, for programs.
    #[schema(example = "0x80044F00")]
    code: String,
    /// The reason, for people.
    message: String,
}

impl BulkView {
    fn of(act: BulkAct, answer: BulkAnswer, dry_run: bool) -> Self {
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
            consequence: dry_run.then(|| {
                let sentences = of_many(BulkKind::Act(act.action())).iter();
                sentences.map(ToString::to_string).collect()
            }),
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

/// The query beside the conditions of a listing. At least one condition is
/// required, or `all=true`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes; query::bulk reads")]
pub(crate) struct BulkParameters {
    /// `true` selects all operations, in place of a filter.
    all: Option<bool>,
    /// `true` changes nothing, and reports what would be done.
    dry_run: Option<bool>,
    /// The maximum number of operations of this call, 1 to 500. Default: 500.
    limit: Option<u32>,
    /// The `nextCursor` of the previous call.
    cursor: Option<String>,
}

/// Cancel many operations
///
/// Cancels each operation that the filters select. A call selects a bounded
/// share, newest first. Repeat the call with `cursor` set to `nextCursor`, until
/// `nextCursor` is `null`. Completed operations are selected only if the filters
/// say so (`state`, `status`, `completedBefore`).
#[utoipa::path(
    post, path = "/v1/operations/cancel", tag = "bulk", operation_id = "cancelMany",
    params(openapi::ListConditions, BulkParameters),
    responses(
        (status = 200, description = "The result, and the cursor of the next call", body = BulkView),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn cancel(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Acted> {
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
/// Works like `cancelMany`.
#[utoipa::path(
    post, path = "/v1/operations/pause", tag = "bulk", operation_id = "pauseMany",
    params(openapi::ListConditions, BulkParameters),
    responses(
        (status = 200, description = "The result, and the cursor of the next call", body = BulkView),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn pause(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Acted> {
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
/// Works like `cancelMany`. Completed operations that hold their token are
/// selected, too.
#[utoipa::path(
    post, path = "/v1/operations/resume", tag = "bulk", operation_id = "resumeMany",
    params(openapi::ListConditions, BulkParameters),
    responses(
        (status = 200, description = "The result, and the cursor of the next call", body = BulkView),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn resume(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Acted> {
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
/// Works like `cancelMany`.
#[utoipa::path(
    post, path = "/v1/operations/postpone", tag = "bulk", operation_id = "postponeMany",
    params(openapi::ListConditions, BulkParameters),
    request_body = openapi::Postponement,
    responses(
        (status = 200, description = "The result, and the cursor of the next call", body = BulkView),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn postpone(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Acted> {
    let body = body::json_unless_empty(&manager, &headers, body).await?;
    let act = Control::postpone_from_json(&body)?;
    run(&manager, &actor, pairs, BulkAct::Act(act)).await
}

/// Delete many operations
///
/// Works like `cancelMany`, and selects Completed operations without a filter
/// that says so, because only they can be deleted. With `state=Completed` or
/// `completedBefore`, no other operation is selected and then refused.
#[utoipa::path(
    post, path = "/v1/operations/delete", tag = "bulk", operation_id = "deleteMany",
    params(openapi::ListConditions, BulkParameters),
    responses(
        (status = 200, description = "The result, and the cursor of the next call", body = BulkView),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn delete(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Answer<Acted> {
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
) -> Answer<Acted> {
    let body = body::json_or_nothing(manager, headers, body).await?;
    Control::nothing_from_json(&body)?;
    run(manager, actor, pairs, act).await
}

async fn run(
    manager: &QueueManager,
    actor: &Actor,
    pairs: Vec<(String, String)>,
    act: BulkAct,
) -> Answer<Acted> {
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
        author: actor.author(),
    };
    let answer = manager.bulk(&bulk).await?;
    let subject = Subject {
        count: Some(answer.done),
        is_read: is_rehearsal,
        ..Subject::default()
    };
    let view = BulkView::of(act, answer, is_rehearsal);
    Ok((Extension(subject), Json(view)))
}
