//! `/queues`, `/workers` and `/settings`: the service itself.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::Extensions;
use axum::response::{Html, Redirect};
use drumline_backend::Role;
use drumline_backend::membership::Member;
use drumline_backend::store::Rollup;
use drumline_console::{
    Cell, DrainPage, Moment, Section, Sheet, SheetPage, Text, address, bytes, number,
};
use drumline_protocol::{Pause, PauseKind, QueueName, Timestamp, version};
use humantime::format_duration;

use super::viewer::Seen;
use super::{html, pauses, pulse, value};
use crate::error::{Error, Result};
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::fleet::{self, BypassedView, QueueView};
use crate::ingress::http::guard;
use crate::ingress::http::problem::Answer;
use crate::options::{Admission, Http, Limits, Options, Protection};
use crate::quotas::Quota;
use crate::service::{QueueManager, QuotaUse};

/// Members of a role that are shown.
const MEMBERS: usize = 200;

/// The queues.
pub(super) async fn queues(
    State(manager): State<QueueManager>,
    seen: Seen,
) -> Answer<Html<String>> {
    let (views, minutes, in_force) = tokio::join!(
        fleet::queue_views(&manager),
        manager.last_minutes(),
        pauses_of(&manager, &seen),
    );
    let (views, (minutes, counts), in_force) = (views?, minutes?, in_force?);
    let done = pulse::by_queue(&counts);
    let mut columns = vec![
        "Queue",
        "Workers",
        "Places used",
        "Waiting messages",
        "In a minute",
        "Out a minute",
        "Half waited at most",
        "State",
    ];
    if seen.rights.operate {
        columns.push("Actions");
    }
    let row = |view: &QueueView| {
        let pause = in_force.iter().find(|pause| pause.scope.value == view.name);
        let mut row = queue(view, &done, minutes);
        row.push(state_of(view, pause, seen.now));
        if seen.rights.operate {
            row.push(Cell::actions(vec![match pause {
                Some(pause) => ("Resume", pauses::lift_address(pause)),
                None => ("Pause", pauses::set_address(PauseKind::Queue, &view.name)),
            }]));
        }
        row
    };
    let sheet = Sheet {
        columns,
        rows: views.iter().map(row).collect(),
        ..Sheet::default()
    };
    let lead = [
        "Waiting messages are those of the work queue. Operations with a token wait in lanes, and are not among them",
        "In, out and waits are of the last ten minutes that are counted",
        "A pause is of one organization: it keeps what the organization has in the queue from starting",
    ];
    Ok(html(&SheetPage {
        frame: seen.frame("Queues", Section::Queues),
        lead: lead.map(Text::sentence).to_vec(),
        search: None,
        sheets: vec![sheet],
    }))
}

/// The pauses of queues in the viewer's organization; none for a viewer that may not see
/// operations.
async fn pauses_of(manager: &QueueManager, seen: &Seen) -> Result<Vec<Pause>> {
    if !seen.rights.read {
        return Ok(Vec::new());
    }
    let mut in_force = manager.pauses(&seen.actor).await?;
    in_force.retain(|pause| pause.scope.kind == PauseKind::Queue);
    Ok(in_force)
}

fn queue(view: &QueueView, done: &BTreeMap<&QueueName, Rollup>, minutes: u64) -> Vec<Cell> {
    let QueueView {
        name,
        workers,
        concurrency,
        running,
        waiting_messages,
        bypassed: _,
    } = view;
    let own = name
        .parse()
        .ok()
        .and_then(|name: QueueName| done.get(&name));
    let own = own.copied().unwrap_or_default();
    let waiting = waiting_messages.map_or_else(|| "the broker does not answer".to_owned(), number);
    vec![
        Cell::link(
            name.as_str(),
            address("/operations", [("queue", name.as_str())]),
        ),
        Cell::text(workers.to_string()),
        Cell::text(format!("{running} of {concurrency}")),
        Cell::text(waiting),
        Cell::text(pulse::a_minute(own.created, minutes)),
        Cell::text(pulse::a_minute(own.ended(), minutes)),
        Cell::text(pulse::waits(&own)),
    ]
}

/// The state of a queue: its worst trouble first.
fn state_of(view: &QueueView, pause: Option<&Pause>, now: Timestamp) -> Cell {
    match (view.bypassed.as_slice(), pause) {
        ([BypassedView { detail, .. }, rest @ ..], _) => {
            let cell = Cell::text(format!("{} of its queues are by-passed", rest.len() + 1));
            cell.with_note(detail.as_str())
        }
        ([], Some(pause)) => Cell::text("paused").with_note(pauses::in_words(pause, now)),
        ([], None) if view.workers == 0 => Cell::text("no worker serves it"),
        ([], None) => Cell::text("works"),
    }
}

/// The workers and the queue managers.
pub(super) async fn workers(
    State(manager): State<QueueManager>,
    seen: Seen,
    Parameters(pairs): Parameters,
) -> Answer<Html<String>> {
    let members = fleet::members(&manager).await?;
    let asked = value(&pairs, "asked");
    let asked = members.iter().find(|member| member.id.to_string() == asked);
    let lead = asked.map(|member| {
        let host = &member.host;
        Text::sentence(&if member.profile.draining {
            format!("the worker {host} drains")
        } else {
            format!(
                "the worker {host} was asked to drain, and says here within three seconds that it does"
            )
        })
    });
    let of = |role| {
        members
            .iter()
            .filter(move |member| member.profile.role == role)
    };
    let more = |role| {
        let more = of(role).count().saturating_sub(MEMBERS);
        (more > 0).then(|| Text::sentence(&format!("{more} more are not shown")))
    };
    let mut columns = vec![
        "Host",
        "Places used",
        "Queues",
        "Message names",
        "Release",
        "Started",
        "State",
    ];
    if seen.rights.drain {
        columns.push("Actions");
    }
    let workers = Sheet {
        title: "Workers",
        intro: more(Role::Worker).into_iter().collect(),
        columns,
        rows: of(Role::Worker)
            .take(MEMBERS)
            .map(|member| {
                let mut row = worker(member, seen.now);
                if seen.rights.drain {
                    let drain = ("Drain", format!("/workers/{}/drain", member.id));
                    let is_possible = !member.profile.draining;
                    row.push(Cell::actions(
                        is_possible.then_some(drain).into_iter().collect(),
                    ));
                }
                row
            })
            .collect(),
        empty: "No worker is alive: nothing can start. `drumline worker` starts one.",
        ..Sheet::default()
    };
    let managers = Sheet {
        title: "Queue managers",
        intro: more(Role::Manager).into_iter().collect(),
        columns: vec!["Host", "Release", "Started", "State"],
        rows: of(Role::Manager)
            .take(MEMBERS)
            .map(|member| {
                vec![
                    Cell::text(member.host.as_str()),
                    Cell::text(member.profile.build.release.as_str()),
                    started(member, seen.now),
                    state(member),
                ]
            })
            .collect(),
        empty: "No queue manager is known to be alive, but this one answers.",
        ..Sheet::default()
    };
    Ok(html(&SheetPage {
        frame: seen.frame("Workers", Section::Workers),
        lead: lead.into_iter().collect(),
        search: None,
        sheets: vec![workers, managers],
    }))
}

/// The question before a worker is drained.
pub(super) async fn ask_to_drain(
    State(manager): State<QueueManager>,
    seen: Seen,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Answer<Html<String>> {
    guard::check_all_organizations(&manager, &extensions)?;
    let id = fleet::read(id)?;
    let members = fleet::members(&manager).await?;
    let is_it = |member: &&Member| member.id == id && member.profile.role == Role::Worker;
    let worker = members.iter().find(is_it);
    let worker = worker.ok_or_else(|| Error::NoWorker { id: id.to_string() })?;
    let sentences = consequence(worker, &members);
    Ok(html(&DrainPage {
        frame: seen.frame("Drain a worker", Section::Workers),
        id: id.to_string(),
        host: Text::line(&worker.host),
        effects: sentences.iter().map(|text| Text::sentence(text)).collect(),
        is_draining: worker.profile.draining,
    }))
}

/// Asks a worker to drain.
pub(super) async fn drain(
    State(manager): State<QueueManager>,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Answer<Redirect> {
    guard::check_all_organizations(&manager, &extensions)?;
    let worker = manager.drain_worker(fleet::read(id)?).await?;
    Ok(Redirect::to(&format!("/workers?asked={}", worker.id)))
}

/// The consequence of a drain, in sentences.
fn consequence(worker: &Member, members: &[Member]) -> Vec<String> {
    let others = |queue: &QueueName| {
        let others = members.iter().filter(|other| other.id != worker.id);
        others
            .filter(|other| other.profile.serves_queue(queue))
            .count()
    };
    let mut said = vec![
        "It takes nothing new within three seconds, and other workers take over its lanes"
            .to_owned(),
        match worker.running {
            0 => "It runs nothing now".to_owned(),
            1 => "The operation that it runs goes on to its end".to_owned(),
            count => format!("The {count} operations that it runs go on to their end"),
        },
    ];
    let queues = worker.profile.queues.iter();
    let alone: Vec<_> = queues
        .filter(|queue| others(queue) == 0)
        .map(QueueName::as_str)
        .collect();
    if !alone.is_empty() {
        let queues = alone.join(", ");
        said.push(format!(
            "No other worker serves the queues {queues}: nothing of these starts any more"
        ));
    }
    said.push(
        "Its process goes on until it is stopped; one that is started again takes work".to_owned(),
    );
    said
}

fn worker(member: &Member, now: Timestamp) -> Vec<Cell> {
    let queues: Vec<_> = member
        .profile
        .queues
        .iter()
        .map(QueueName::as_str)
        .collect();
    let names = if member.profile.messages.iter().any(|name| name == "*") {
        "all".to_owned()
    } else {
        member.profile.messages.join(", ")
    };
    vec![
        Cell::text(member.host.as_str()),
        Cell::text(format!(
            "{} of {}",
            member.running, member.profile.concurrency
        )),
        Cell::text(queues.join(", ")),
        Cell::text(names),
        Cell::text(member.profile.build.release.as_str()),
        started(member, now),
        state(member),
    ]
}

fn started(member: &Member, now: Timestamp) -> Cell {
    Cell::moment(Moment {
        at: member.started_on(),
        now,
    })
}

fn state(member: &Member) -> Cell {
    let cell = Cell::text(if member.profile.draining {
        "drains: takes nothing new"
    } else {
        "takes work"
    });
    if member.profile.throttled.is_empty() {
        return cell;
    }
    let names = member.profile.throttled.join(", ");
    cell.with_note(format!(
        "does not take for a while, after failures: {names}"
    ))
}

/// The settings of this process.
pub(super) async fn settings(
    State(manager): State<QueueManager>,
    seen: Seen,
) -> Answer<Html<String>> {
    let sheet = |title, rows: Vec<(&'static str, String)>| Sheet {
        title,
        columns: vec!["Setting", "Value"],
        rows: rows
            .into_iter()
            .map(|(name, value)| vec![Cell::text(name), Cell::text(value)])
            .collect(),
        ..Sheet::default()
    };
    let options = manager.options();
    let access = match options.access.keys() {
        Some(_) => "callers need a key",
        None => "every caller that reaches this address may do everything",
    };
    let about = vec![
        ("Release", env!("CARGO_PKG_VERSION").to_owned()),
        ("Host", options.host.clone()),
        ("Started", drumline_console::exact(manager.started_on())),
        (
            "Partitions of the store",
            manager.store().partitions().get().to_string(),
        ),
        ("Format of the store", version::CURRENT.store.to_string()),
        ("Format of messages", version::CURRENT.wire.to_string()),
        ("Access", access.to_owned()),
    ];
    let lead =
        "The settings in force in this process. `drumline config` shows where each comes from";
    let mut sheets = vec![sheet("This queue manager", about)];
    if seen.rights.read {
        sheets.push(quotas(&manager, &seen).await);
    }
    sheets.extend([
        sheet("Limits of a request", limits(options)),
        sheet("Limits of a caller", protection(options)),
        sheet("Connections", connections(options)),
    ]);
    Ok(html(&SheetPage {
        frame: seen.frame("Settings", Section::Settings),
        lead: vec![Text::sentence(lead)],
        search: None,
        sheets,
    }))
}

/// The quotas of the viewer's organization. The page is there without them, too: it is
/// looked at when the store is unavailable.
async fn quotas(manager: &QueueManager, seen: &Seen) -> Sheet {
    let organization = &seen.actor.organization;
    let uses = match manager.quotas(organization).await {
        Ok(uses) => uses,
        Err(error) => {
            tracing::debug!(%error, "a page without quotas");
            Vec::new()
        }
    };
    let amount = |quota, amount: u64| match quota {
        Quota::Bytes => bytes(usize::try_from(amount).unwrap_or(usize::MAX)),
        Quota::Open | Quota::Series | Quota::Tokens | Quota::CreatesPerMinute => number(amount),
    };
    let row = |QuotaUse { quota, used, limit }: QuotaUse| {
        let limit = limit.map_or_else(|| "none".to_owned(), |limit| amount(quota, limit));
        vec![
            Cell::text(quota.meaning()),
            Cell::text(amount(quota, used)),
            Cell::text(limit),
        ]
    };
    let intro = format!(
        "What the organization {} has in the store, and what it may have (`--quota-file`)",
        organization.0
    );
    Sheet {
        title: "Quotas",
        intro: vec![Text::sentence(&intro)],
        columns: vec!["Quota", "Used", "Limit"],
        rows: uses.into_iter().map(row).collect(),
        empty: "The store does not answer: the quotas are not known now.",
        ..Sheet::default()
    }
}

fn span(span: Duration) -> String {
    format_duration(span).to_string()
}

fn limits(options: &Options) -> Vec<(&'static str, String)> {
    let Limits {
        body_bytes,
        batch_bytes,
        depth,
        page,
        page_bytes,
    } = options.limits;
    vec![
        ("Body", bytes(body_bytes)),
        ("Body with several requests", bytes(batch_bytes)),
        ("Requests in one", options.max_batch_size.to_string()),
        (
            "Depth of operations that create operations",
            depth.to_string(),
        ),
        ("Operations on a page of a list", page.to_string()),
        ("Bytes on a page of a list", bytes(page_bytes)),
        ("Longest wait", span(options.longest_wait)),
        (
            "Idempotency keys are remembered for",
            span(options.remember_keys),
        ),
        (
            "Names that ExecuteAsync takes",
            options.async_requests.join(", "),
        ),
        (
            "When the head of a token fails",
            match options.token_policy.name() {
                "hold" => "the token is held".to_owned(),
                _ => "the token goes on".to_owned(),
            },
        ),
    ]
}

fn protection(options: &Options) -> Vec<(&'static str, String)> {
    let Admission {
        batches,
        protection,
        lease: _,
    } = options.admission;
    let Protection {
        requests,
        execution,
        concurrent,
        window,
        anonymous,
    } = protection;
    let limit = |limit: u64| match limit {
        0 => "no limit".to_owned(),
        some => number(some),
    };
    let within = |what: String| format!("{what} within {}", span(window));
    vec![
        ("Requests", within(limit(requests))),
        (
            "Execution time",
            within(match execution {
                Duration::ZERO => "no limit".to_owned(),
                some => span(some),
            }),
        ),
        ("Requests at the same time", limit(u64::from(concurrent))),
        (
            "Batches of an organization at the same time",
            limit(u64::from(batches)),
        ),
        (
            "Anonymous callers",
            if anonymous {
                "count as one caller"
            } else {
                "have no limits"
            }
            .to_owned(),
        ),
    ]
}

fn connections(options: &Options) -> Vec<(&'static str, String)> {
    let Http {
        header_timeout,
        body_timeout,
        handshake_timeout,
        connections,
        body_memory,
    } = options.http;
    vec![
        ("Open connections", connections.to_string()),
        ("Streams of events", options.event_streams.to_string()),
        ("Time for headers, idle time included", span(header_timeout)),
        ("Time for a body", span(body_timeout)),
        ("Time for a TLS handshake", span(handshake_timeout)),
        ("Memory for bodies", bytes(body_memory)),
    ]
}
