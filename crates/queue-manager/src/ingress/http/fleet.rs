//! `/v1/workers` and `/v1/queues`: the live processes, and the waiting
//! messages.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Extensions, StatusCode};
use drumline_backend::broker::Bypassed;
use drumline_backend::membership::{Member, MemberPage, Profile, Role, all_members};
use drumline_backend::store::Counts;
use drumline_backend::{Broker as _, MemberId};
use drumline_protocol::QueueName;
use drumline_protocol::message::{Route, Source};
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::extractors::Parameters;
use super::problem::Answer;
use super::{guard, openapi, query};
use crate::error::Error;
use crate::service::QueueManager;

/// The queues that organizations use that are shown: an answer asks the broker about each.
const SHOWN_QUEUES: usize = 500;
/// Queues that the broker is asked about at the same time.
const ASKED_AT_ONCE: usize = 16;

/// A page of the live processes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fleet {
    /// The workers, which run handlers.
    workers: Vec<MemberView>,
    /// The queue managers, which take requests.
    managers: Vec<MemberView>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// One live process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MemberView {
    /// The id of this run of the process.
    id: String,
    /// The name of the process, for people.
    host: String,
    /// The queues that it serves.
    queues: Vec<String>,
    /// The message names that it has handlers for; `*` for all.
    message_names: Vec<String>,
    /// The message names whose handler has failed too often: it does not take them now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    throttled: Vec<String>,
    /// The maximum number of operations that it runs at the same time.
    concurrency: u32,
    /// The number of operations that it runs now.
    running: u32,
    /// Whether it drains: it takes nothing new.
    draining: bool,
    /// The time at which it started.
    started_on: String,
    /// Its release; absent for a release that does not announce it.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    /// The newest format of the store that it reads: major and minor version.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_format: Option<String>,
    /// The newest format of messages that it reads: major and minor version.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire_format: Option<String>,
}

/// The queues.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queues {
    /// The queues, in order of their names.
    queues: Vec<QueueView>,
    /// The numbers of operations of all queues, by state.
    operations: CountsView,
}

/// One queue.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueueView {
    /// The name of the queue.
    pub(super) name: String,
    /// The number of workers that serve it.
    pub(super) workers: u32,
    /// The maximum number of operations that these workers run at the same time.
    pub(super) concurrency: u32,
    /// The number of operations that they run now, of any of their queues.
    pub(super) running: u32,
    /// The number of messages in its work queue that were not delivered yet;
    /// `null` if the broker does not answer. Operations with a token wait in lanes.
    pub(super) waiting_messages: Option<u64>,
    /// Its queues in the broker that do not work. Offers go round them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) bypassed: Vec<BypassedView>,
}

/// A queue of the broker that does not work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BypassedView {
    /// `work`, `lane` or `spare`.
    kind: &'static str,
    /// The partition of a lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u16>,
    /// `silent`, `unconsumable`, `consumer-refused` or `refused`.
    reason: &'static str,
    /// The reason for people, with the text of the broker.
    pub(super) detail: String,
}

/// The numbers of operations, by state.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CountsView {
    ready: u64,
    suspended: u64,
    locked: u64,
    completed: u64,
    /// Ready operations that are not known to be in the broker yet.
    undispatched: u64,
}

/// List live processes
///
/// The processes of a page are in the order of their ids. A process that is alive
/// all the time is on one of the pages. One that begins to drain meanwhile may be on
/// two.
#[utoipa::path(
    get, path = "/v1/workers", tag = "fleet",
    params(
        ("limit" = Option<u32>, Query, description = "The maximum number of processes, 1 to 500. Default: 500"),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of the live processes", body = Fleet),
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn workers(
    State(manager): State<QueueManager>,
    Parameters(pairs): Parameters,
) -> Answer<Json<Fleet>> {
    let query = query::members(pairs, manager.options().limits.page)?;
    let membership = &manager.backend().membership;
    let page = membership.members(query.cursor, query.limit).await;
    let MemberPage { mut members, next } = page.map_err(Error::Store)?;
    members.sort_unstable_by_key(|member| member.id);
    let shown = |role| {
        let with_role = members.iter().filter(|member| member.profile.role == role);
        with_role.map(MemberView::from).collect()
    };
    Ok(Json(Fleet {
        workers: shown(Role::Worker),
        managers: shown(Role::Manager),
        next_cursor: next.map(|place| place.0.to_string()),
    }))
}

/// Drain a worker
///
/// The worker takes nothing new from its next heartbeat on, which is due within three
/// seconds, and runs what it has to its end. `draining` of `GET /v1/workers` says then
/// that it does, and other workers take over its lanes. Its process goes on until it is
/// stopped; one that is started again takes work. Workers are of all organizations, so the
/// key needs the role operator in all of them. Safe to repeat.
#[utoipa::path(
    post, path = "/v1/workers/{id}/drain", tag = "fleet", operation_id = "drainWorker",
    params(("id" = String, Path, description = "The id of the worker")),
    responses(
        (status = 202, description = "The worker is asked; it is shown as it was then", body = MemberView),
        openapi::NoWorker,
        openapi::Busy,
    )
)]
pub(crate) async fn drain(
    State(manager): State<QueueManager>,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Answer<(StatusCode, Json<MemberView>)> {
    guard::check_all_organizations(&manager, &extensions)?;
    let worker = manager.drain_worker(read(id)?).await?;
    Ok((StatusCode::ACCEPTED, Json(MemberView::from(&worker))))
}

/// The id in an address.
pub(super) fn read(id: String) -> Result<MemberId, Error> {
    let known = id.parse().map(MemberId);
    known.map_err(|_invalid: uuid::Error| Error::NoWorker { id })
}

/// List queues
#[utoipa::path(
    get, path = "/v1/queues", tag = "fleet",
    responses(
        (status = 200, description = "The queues", body = Queues),
        openapi::Busy,
    )
)]
pub(crate) async fn queues(State(manager): State<QueueManager>) -> Answer<Json<Queues>> {
    let queues = queue_views(&manager).await?;
    let counts = manager.store().counts().await.map_err(Error::Store)?;
    Ok(Json(Queues {
        queues,
        operations: CountsView::from(counts),
    }))
}

/// The queues that workers serve, that organizations use, or that are by-passed, in order
/// of their names. Of those that are only used, the first [`SHOWN_QUEUES`].
pub(super) async fn queue_views(manager: &QueueManager) -> Result<Vec<QueueView>, Error> {
    let members = members(manager).await?;
    let mut by_name = BTreeMap::from([(QueueName::default(), QueueView::default())]);
    let is_worker = |member: &&Member| member.profile.role == Role::Worker;
    for member in members.iter().filter(is_worker) {
        let Profile {
            queues,
            concurrency,
            ..
        } = &member.profile;
        for queue in queues {
            let view = by_name.entry(queue.clone()).or_default();
            view.workers += 1;
            view.concurrency = view.concurrency.saturating_add(*concurrency);
            view.running = view.running.saturating_add(member.running);
        }
    }
    let used = manager.store().queues(None, SHOWN_QUEUES).await;
    for queue in used.map_err(Error::Store)? {
        by_name.entry(queue).or_default();
    }
    let bypassed = manager.bypass().bypassed();
    for Bypassed { route, .. } in &bypassed {
        by_name.entry(route.queue.clone()).or_default();
    }
    let bypassed = &bypassed;
    let views = stream::iter(by_name).map(|(queue, mut view)| async move {
        view.name = queue.to_string();
        let route = Route {
            queue,
            source: Source::Work,
        };
        let backlog = manager.backend().broker.backlog(&route).await;
        view.waiting_messages = backlog.ok().map(|found| found.unwrap_or_default().messages);
        view.bypassed = bypassed
            .iter()
            .filter(|one| one.route.queue == route.queue)
            .map(BypassedView::from)
            .collect();
        view
    });
    Ok(views.buffered(ASKED_AT_ONCE).collect().await)
}

/// All live members: thousands of them are some round trips.
pub(super) async fn members(manager: &QueueManager) -> Result<Vec<Member>, Error> {
    let members = all_members(&*manager.backend().membership).await;
    members.map_err(Error::Store)
}

impl From<&Bypassed> for BypassedView {
    fn from(bypassed: &Bypassed) -> Self {
        let Bypassed { route, trouble } = bypassed;
        Self {
            kind: route.source.kind(),
            partition: match route.source {
                Source::Lane(partition) => Some(partition.get()),
                Source::Work | Source::Spare => None,
            },
            reason: trouble.kind(),
            detail: bypassed.to_string(),
        }
    }
}

impl From<&Member> for MemberView {
    fn from(member: &Member) -> Self {
        let profile = &member.profile;
        let formats = profile.build.formats;
        Self {
            id: member.id.to_string(),
            host: member.host.clone(),
            queues: profile.queues.iter().map(QueueName::to_string).collect(),
            message_names: profile.messages.clone(),
            throttled: profile.throttled.clone(),
            concurrency: profile.concurrency,
            running: member.running,
            draining: profile.draining,
            started_on: member.started_on().to_string(),
            release: Some(profile.build.release.clone()).filter(|release| !release.is_empty()),
            store_format: formats.map(|formats| formats.store.to_string()),
            wire_format: formats.map(|formats| formats.wire.to_string()),
        }
    }
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        let Counts {
            ready,
            suspended,
            locked,
            completed,
            undispatched,
        } = counts;
        Self {
            ready,
            suspended,
            locked,
            completed,
            undispatched,
        }
    }
}
