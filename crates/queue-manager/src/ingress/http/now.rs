//! `/v1/now`: the state of the service in one sentence, as the first page of the
//! console has it.

use axum::Json;
use axum::extract::State;
use drumline_backend::membership::{Member, Role};
use drumline_backend::store::Summary;
use serde::Serialize;
use utoipa::ToSchema;

use super::console::{Seen, address_of};
use super::failures::FailureGroupView;
use super::openapi;
use super::problem::Answer;
use crate::service::{Finding, NowState, QueueManager};

/// The state of the service.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Now {
    /// Whether nothing needs a person.
    normal: bool,
    /// The faults, the worst first.
    findings: Vec<FindingView>,
    /// The numbers of operations of all organizations, by state; absent for callers
    /// that may not see the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<NowCounts>,
    /// The live processes; absent for callers that may not see the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<NowFleet>,
    /// The number of pauses in force in the caller's organization.
    pauses: usize,
    /// The first operations of the organization that hold their token.
    holding: Vec<NowOperation>,
    /// The latest failures of the organization.
    failures: Vec<NowOperation>,
    /// The failure groups of the organization that failed last and are not muted.
    failing: Vec<FailureGroupView>,
}

/// Something that is not as it should be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingView {
    /// The fault in a sentence.
    #[schema(example = "No worker is alive, and 3 operations wait.")]
    sentence: String,
    /// The remedy in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// The page of the console that shows more.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
}

/// The numbers of operations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NowCounts {
    /// Ready.
    ready: u64,
    /// Suspended.
    suspended: u64,
    /// Locked: they run.
    running: u64,
    /// Completed and not yet removed.
    completed: u64,
    /// Ready, and not known to be with the broker yet.
    undispatched: u64,
}

/// The live processes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NowFleet {
    /// The number of workers.
    workers: usize,
    /// The number of queue managers.
    managers: usize,
    /// The operations that all workers run.
    running: u64,
    /// The operations that they can run at the same time.
    slots: u64,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        Self {
            sentence: finding.sentence,
            remedy: finding.remedy,
            page: finding.place.map(|(_, place)| address_of(&place)),
        }
    }
}

impl NowFleet {
    fn of(members: &[Member]) -> Self {
        let of_role = |role| members.iter().filter(move |one| one.profile.role == role);
        let sum = |number: fn(&Member) -> u32| {
            let numbers = of_role(Role::Worker).map(|worker| u64::from(number(worker)));
            numbers.sum()
        };
        Self {
            workers: of_role(Role::Worker).count(),
            managers: of_role(Role::Manager).count(),
            running: sum(|worker| worker.running),
            slots: sum(|worker| worker.profile.concurrency),
        }
    }
}

/// One operation, in short.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NowOperation {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// Its message name.
    message_name: String,
    /// Its name.
    name: String,
    /// Its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    dependency_token: Option<String>,
    /// Its status.
    #[schema(example = "Failed")]
    status: &'static str,
    /// The time at which it was Completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    completed_on: Option<String>,
}

impl From<&Summary> for NowOperation {
    fn from(operation: &Summary) -> Self {
        let Summary {
            id, header, body, ..
        } = operation;
        Self {
            id: id.to_string(),
            message_name: body.message_name.clone(),
            name: body.name.clone(),
            dependency_token: body
                .dependency_token
                .as_ref()
                .map(|token| token.as_str().to_owned()),
            status: header.status.name(),
            completed_on: header.completed_on.map(|at| at.to_string()),
        }
    }
}

/// Show the state of the service
///
/// Says in a sentence what needs a person, if anything does, and what helps. It costs
/// some round trips, however many operations there are.
#[utoipa::path(
    get, path = "/v1/now", tag = "fleet",
    responses(
        (status = 200, description = "The state of the service", body = Now),
        openapi::Busy,
    )
)]
pub(crate) async fn now(State(manager): State<QueueManager>, seen: Seen) -> Answer<Json<Now>> {
    let NowState {
        findings,
        counts,
        members,
        own,
    } = manager.now_state(&seen.actor, seen.sight()).await?;
    let shown = |operations: &[Summary]| operations.iter().map(NowOperation::from).collect();
    let own = own.as_ref();
    Ok(Json(Now {
        normal: findings.is_empty(),
        findings: findings.into_iter().map(FindingView::from).collect(),
        operations: counts.map(|counts| NowCounts {
            ready: counts.ready,
            suspended: counts.suspended,
            running: counts.locked,
            completed: counts.completed,
            undispatched: counts.undispatched,
        }),
        fleet: members.as_deref().map(NowFleet::of),
        pauses: own.map_or(0, |own| own.pauses.len()),
        holding: own.map_or_else(Vec::new, |own| shown(&own.holding.operations)),
        failures: own.map_or_else(Vec::new, |own| shown(&own.failures.operations)),
        failing: own.map_or_else(Vec::new, |own| {
            let groups = own.heard.groups.iter();
            groups.map(FailureGroupView::from).collect()
        }),
    }))
}
