//! `/v1/operations/create`: many creates in one request, each independent of the others.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Extensions;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drumline_api::view::OperationView;
use drumline_api::{FieldError, Invalid, creates_from_json};
use drumline_auth::Principal;
use drumline_protocol::Operation;
use serde::Serialize;
use utoipa::ToSchema;

use super::extractors::{By, idempotency_key};
use super::problem::Answer;
use super::{body, guard, openapi};
use crate::audit::Subject;
use crate::error::Result;
use crate::ingress::headers::IDEMPOTENCY_KEY;
use crate::ingress::problem::Problem;
use crate::ingress::refusal::check_create;
use crate::service::{Creation, QueueManager};

/// The answers to many creates.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreateAnswers {
    /// The answers, in the order of the creates.
    answers: Vec<CreateAnswer>,
}

/// The answer to one create of many: what `POST /v1/operations` would have answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreateAnswer {
    /// The HTTP status: 201 created, 200 the key was used before, otherwise a problem.
    #[schema(example = 201)]
    status: u16,
    /// The operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Operation>)]
    operation: Option<OperationView>,
    /// The reason that it was not created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Problem>)]
    problem: Option<Box<Problem>>,
    /// The seconds after which the create may be repeated, if it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u16>,
}

impl CreateAnswer {
    fn refused(problem: Box<Problem>) -> Self {
        Self {
            status: problem.status,
            operation: None,
            retry_after: problem.retry_after,
            problem: Some(problem),
        }
    }
}

/// The bytes of operations that one request is answered with. Only operations that existed
/// can be over it: a new one has no more than its create.
const ANSWER_BYTES: usize = 32 << 20;

/// The answers so far.
struct Answers<'a> {
    manager: &'a QueueManager,
    bytes: usize,
    subject: Subject,
    created: u64,
}

impl Answers<'_> {
    fn of(&mut self, created: Result<Creation>) -> CreateAnswer {
        let fitted = created.map_err(Box::from);
        match fitted.and_then(|creation| self.fit(creation)) {
            Ok(creation) => {
                if creation.is_new {
                    self.created += 1;
                    self.subject.add(creation.operation.id.to_string());
                }
                CreateAnswer {
                    status: creation.status().as_u16(),
                    operation: Some(self.manager.view(&creation.operation)),
                    problem: None,
                    retry_after: None,
                }
            }
            Err(problem) => CreateAnswer::refused(problem),
        }
    }

    /// Returns an operation if there is room for it in the answer.
    fn fit(&mut self, creation: Creation) -> Answer<Creation> {
        let Operation { body, report, .. } = &creation.operation;
        let data = body.data.as_ref().map_or(0, String::len);
        self.bytes = self.bytes.saturating_add(data + report.bytes());
        if self.bytes > ANSWER_BYTES && !creation.is_new {
            let detail =
                "the operation exists, and this answer has no room for it: create it alone";
            return Err(Problem::busy(detail.to_owned()).into());
        }
        Ok(creation)
    }
}

/// The problem that all have met, if it is one of the service: alerts and spans look at the
/// status of the request alone.
fn outage(answers: &[CreateAnswer]) -> Option<Problem> {
    let problem = answers.first()?.problem.as_deref()?;
    let is_same = |answer: &CreateAnswer| {
        let other = answer.problem.as_deref();
        other.is_some_and(|other| {
            other.code == problem.code && other.retry_after == problem.retry_after
        })
    };
    let is_of_all = problem.status >= 500 && answers.iter().all(is_same);
    is_of_all.then(|| problem.clone())
}

/// Create many operations
///
/// Each create is answered as by `POST /v1/operations`: a refused create keeps no other
/// from being created. One that is answered 503 and sent again runs behind the later ones
/// of its dependency token. If all meet the same 5xx, the request is answered so. For
/// producers that create much at the same time: one request of a hundred creates costs a
/// fraction of a hundred requests. A list in which the order matters is an
/// `ExecuteMultiple` (`POST /v1/execute`).
#[utoipa::path(
    post, path = "/v1/operations/create", tag = "operations", operation_id = "createMany",
    request_body = openapi::NewOperations,
    responses(
        (status = 200, description = "The answer to each create", body = CreateAnswers),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn create_many(
    State(manager): State<QueueManager>,
    By(actor): By,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    if idempotency_key(&headers)?.is_some() {
        let why = "goes with one create; each of many has an idempotencyKey of its own";
        let wrong = FieldError::new(IDEMPOTENCY_KEY, why);
        return Err(Invalid::arguments(vec![wrong]).into());
    }
    let limit = manager.options().limits.batch_bytes;
    let body = body::json_up_to(limit, &headers, body).await?;
    let creates = creates_from_json(&body, &manager.options().deployment())?;
    drop(body);
    let principal = extensions.get::<Arc<Principal>>();
    let mut list = Vec::with_capacity(creates.len());
    // Those that are refused keep their place.
    let refused: Vec<Option<Box<Problem>>> = creates
        .into_iter()
        .map(|create| {
            let mut create = create?;
            check_create(principal.map(|principal| &**principal), &mut create.request)
                .map_err(|refusal| Box::new(guard::denied(&manager, &extensions, refusal)))?;
            list.push(create);
            Ok(())
        })
        .map(Result::err)
        .collect();
    let mut created = manager.create_each(&actor, list).await.into_iter();
    let mut so_far = Answers {
        manager: &manager,
        bytes: 0,
        subject: Subject::default(),
        created: 0,
    };
    let answers: Vec<CreateAnswer> = refused
        .into_iter()
        .filter_map(|refused| match refused {
            Some(problem) => Some(CreateAnswer::refused(problem)),
            None => Some(so_far.of(created.next()?)),
        })
        .collect();
    let Answers {
        mut subject,
        created,
        ..
    } = so_far;
    subject.count = Some(created);
    if answers.iter().all(|answer| answer.status >= 400) {
        let mut denied = answers.iter().filter(|answer| answer.status == 403);
        let first = denied.next().or(answers.first());
        subject.refused = first.map(|answer| answer.status);
    }
    if let Some(problem) = outage(&answers) {
        return Err(problem.into());
    }
    Ok((Extension(subject), Json(CreateAnswers { answers })).into_response())
}
