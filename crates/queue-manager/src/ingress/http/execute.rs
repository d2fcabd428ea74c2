//! `/v1/execute`: organization requests.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Extensions;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drumline_api::OrganizationRequest;
use drumline_auth::Principal;

use super::problem::Answer;
use super::{body, extractors, guard, openapi};
use crate::ingress::problem::Problem;
use crate::ingress::refusal::{check_request, subject_of};
use crate::service::{self, QueueManager};

/// Execute an organization request
///
/// `ExecuteMultiple` and `ExecuteTransaction` contain requests themselves. A fault
/// in an `ExecuteMultiple` is part of the answer. A fault in an
/// `ExecuteTransaction` is a problem. With an `Idempotency-Key`, a `Create` or an
/// `ExecuteAsync` is safe to repeat.
#[utoipa::path(
    post, path = "/v1/execute", tag = "requests",
    params(("Idempotency-Key" = Option<String>, Header, description = "For Create and ExecuteAsync: any text of up to 255 bytes, kept for two days")),
    request_body = openapi::execute::Request,
    responses(
        (status = 200, description = "The answer", body = openapi::execute::Response),
        openapi::refusals::OfChange,
    )
)]
pub(crate) async fn execute(
    State(manager): State<QueueManager>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let now = || manager.store().now();
    let limit = manager.options().limits.batch_bytes;
    let read = async {
        let actor = extractors::actor(&extensions, &headers)?;
        let key = extractors::idempotency_key(&headers)?;
        let body = body::json_up_to(limit, &headers, body).await?;
        Ok((actor, key, body))
    };
    let (actor, key, body) = read
        .await
        .map_err(|problem: Box<Problem>| Box::new(problem.into_fault(now())))?;
    let mut read = OrganizationRequest::from_json(&body, &manager.options().deployment());
    drop(body);
    if let Ok(request) = &mut read {
        let principal = extensions.get::<Arc<Principal>>();
        check_request(principal.map(|principal| &**principal), request).map_err(|refusal| {
            let problem = guard::denied(&manager, &extensions, refusal);
            Box::new(problem.into_fault(now()))
        })?;
    }
    let subject = read.as_ref().ok().map(subject_of);
    let executed = async {
        let mut request = read?;
        if let Some(key) = key {
            request = request.with_key(key)?;
        }
        manager.execute(&actor, request).await
    };
    let answer: service::Answer = executed
        .await
        .map_err(|error| Problem::of_execute(error, now()))?;
    let mut subject = subject.unwrap_or_default();
    answer.add_created(&mut |id| subject.add(id.to_owned()));
    Ok((Extension(subject), Json(answer)).into_response())
}
