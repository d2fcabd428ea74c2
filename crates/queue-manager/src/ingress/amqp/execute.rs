//! One try of a request: the caller is admitted, the service is asked, and the
//! answer is written as HTTP would write it.

use drumline_api::{Invalid, OrganizationRequest};
use drumline_auth::Principal;
use drumline_protocol::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::identity;
use super::translate::{Call, Create, Execute, Json, TranslatedRequest};
use crate::audit::{Entry, Outcome, Subject};
use crate::error::Error;
use crate::ingress::headers::Named;
use crate::ingress::media_type;
use crate::ingress::problem::Problem;
use crate::ingress::refusal::{Refusal, check_request, subject_of};
use crate::service::{Actor, Creation, QueueManager, RequestKind};

/// The answer to a request: what HTTP would answer.
pub(super) type Answer = Result<Success, Box<Problem>>;

/// The answer to a request that was done.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: u16,
    /// JSON.
    pub(super) body: Vec<u8>,
    /// For the audit log.
    pub(super) subject: Subject,
}

/// Executes a request; `payload` is its message's. A problem names the address that the request would have
/// had over HTTP, and the request is counted under it.
pub(super) async fn execute(
    manager: &QueueManager,
    request: &TranslatedRequest,
    payload: &[u8],
) -> Answer {
    let begun = Instant::now();
    let path = request.call.path();
    let answer = admitted(manager, request, payload)
        .await
        .map_err(|problem| Box::new(problem.at(path)));
    let seconds = begun.elapsed().as_secs_f64();
    let status = match &answer {
        Ok(success) => success.status,
        Err(problem) => problem.status,
    };
    manager.metrics().answered("POST", path, status, seconds);
    answer
}

/// Writes the line of the audit log about a request that was answered, if it was to
/// change something or was denied.
pub(super) fn record(
    manager: &QueueManager,
    path: &'static str,
    principal: Option<&Principal>,
    named: Option<Named>,
    answer: &Answer,
) {
    let (status, subject, problem) = match answer {
        Ok(success) => (success.status, success.subject.clone(), None),
        Err(problem) => (problem.status, Subject::default(), Some(problem)),
    };
    if subject.is_read && Outcome::of(status) != Outcome::Denied {
        return;
    }
    let (audit, metrics) = (manager.audit(), manager.metrics());
    let action = format!("POST {path}");
    let Some(targets) = audit.admit(&action, Outcome::of(status), metrics) else {
        return;
    };
    let actor = named.and_then(|named| identity::actor(principal, named).ok());
    let time = manager.store().now().to_string();
    let mut entry = Entry::new(time, "amqp", action, status);
    entry.code = problem.map(|problem| problem.code.to_string());
    entry.reason = problem.map(|problem| problem.name.to_owned());
    let entry = entry.by(principal, actor.as_ref()).about(subject);
    audit.record(&entry, targets, metrics);
}

/// Counts and logs a refusal because of the sender.
pub(super) fn denied(manager: &QueueManager, refusal: Refusal) -> Box<Problem> {
    let reason = refusal.reason();
    manager.metrics().intake_denied(reason);
    manager.log_denial(reason, "amqp", None);
    Box::new(refusal.into())
}

async fn admitted(manager: &QueueManager, request: &TranslatedRequest, payload: &[u8]) -> Answer {
    let named = request.named.as_ref().map_err(Invalid::clone)?;
    let principal = request.principal.as_deref();
    let actor = identity::actor(principal, named.clone());
    let actor = &actor.map_err(|refusal| denied(manager, refusal))?;
    let _permit = manager.admit(actor, RequestKind::Working).await?;
    match &request.call {
        Call::Create(Ok(create)) => self::create(manager, actor, create).await,
        Call::Create(Err(problem)) => Err(problem.clone()),
        Call::Execute(execute) => {
            let json = match &execute.json {
                Json::Payload => payload,
                Json::Decoded(json) => json,
            };
            organization_request(manager, actor, principal, execute, json).await
        }
    }
}

async fn create(manager: &QueueManager, actor: &Actor, create: &Create) -> Answer {
    let Create { request, key } = create;
    // The next try may need the request again.
    let created = manager.create(actor, request.clone(), key.as_deref());
    let Creation { operation, is_new } = created.await?;
    let view = manager.view(&operation);
    success(
        if is_new { 201 } else { 200 },
        &view,
        Subject::one(&view.id),
    )
}

async fn organization_request(
    manager: &QueueManager,
    actor: &Actor,
    principal: Option<&Principal>,
    execute: &Execute,
    json: &[u8],
) -> Answer {
    let now = || manager.store().now();
    let mut request = read(manager, execute, json, now)?;
    check_request(principal, &mut request)
        .map_err(|refusal| Box::new(denied(manager, refusal).into_fault(now())))?;
    let mut subject = subject_of(&request);
    let executed = manager.execute(actor, request).await;
    let answer = executed.map_err(|error| Problem::of_execute(error, now()))?;
    answer.add_created(&mut |id| subject.add(id.to_owned()));
    success(200, &answer, subject)
}

/// Reads an organization request. It is read when it is its turn, and again for
/// each try: it may hold a thousand requests, and those behind it are in memory
/// meanwhile.
fn read(
    manager: &QueueManager,
    execute: &Execute,
    json: &[u8],
    now: impl Fn() -> Timestamp,
) -> Result<OrganizationRequest, Box<Problem>> {
    let key = check(manager, execute, json.len())
        .map_err(|problem| Box::new(problem.into_fault(now())))?;
    let read = || {
        let mut request = OrganizationRequest::from_json(json, &manager.options().deployment())?;
        if let Some(key) = key {
            request = request.with_key(key)?;
        }
        if let Some(key) = &execute.repeatable {
            request = request.repeatable(key);
        }
        Ok(request)
    };
    read().map_err(|error| Problem::of_execute(error, now()))
}

/// Checks what comes before the request itself, and returns its key.
fn check<'a>(
    manager: &QueueManager,
    execute: &'a Execute,
    bytes: usize,
) -> Result<Option<&'a str>, Box<Problem>> {
    let key = execute.key.as_ref().map_err(Invalid::clone)?;
    media_type::expect_json(&execute.media_type)?;
    let limit = manager.options().limits.batch_bytes;
    if bytes > limit {
        return Err(Problem::too_large(limit));
    }
    Ok(key.as_deref())
}

fn success(status: u16, answer: &impl Serialize, subject: Subject) -> Answer {
    match serde_json::to_vec(answer) {
        Ok(body) => Ok(Success {
            status,
            body,
            subject,
        }),
        // Answers consist of serializable values only.
        Err(error) => Err(Error::Internal(error.to_string()).into()),
    }
}
