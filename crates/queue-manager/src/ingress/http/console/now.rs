//! `/`: the state of the service in one sentence, and what it is made of.

use axum::extract::State;
use axum::response::Html;
use drumline_backend::Broker as _;
use drumline_backend::membership::{Member, Role};
use drumline_backend::store::{Filter, Page, Summary};
use drumline_console::{self as console, Counts, Members, Moment, NowPage, Section, Signals, Text};
use drumline_protocol::{Pause, QueueName, Status, Timestamp};

use super::operations::rows;
use super::viewer::Seen;
use super::{html, pauses};
use crate::error::{Error, Result};
use crate::ingress::http::fleet;
use crate::ingress::http::problem::Answer;
use crate::service::{Health, Query, QueueManager};

/// Operations of a kind that are shown.
const SHOWN: usize = 5;
/// Members that are shown.
const MEMBERS: usize = 20;

/// The page.
pub(super) async fn now(State(manager): State<QueueManager>, seen: Seen) -> Answer<Html<String>> {
    let (page, _own) = look(&manager, &seen).await?;
    Ok(html(&page))
}

/// Looks at everything that the first page shows. The operations of the caller's
/// organization come along, for callers that may read them.
pub(in crate::ingress::http) async fn look(
    manager: &QueueManager,
    seen: &Seen,
) -> Result<(NowPage, Option<Own>)> {
    let health = manager.health().await;
    let mut found = None;
    let mut page = NowPage {
        frame: seen.frame("Now", Section::Now),
        findings: Vec::new(),
        counts: None,
        members: None,
        pauses: Vec::new(),
        holding: Vec::new(),
        holding_is_partial: false,
        failures: Vec::new(),
        failures_are_partial: false,
        failed_on: Vec::new(),
    };
    let mut signals = signals(manager, seen, &health);
    if health.store.is_none() {
        let (fleet, own) = tokio::join!(
            look_at_fleet(manager, seen, &mut signals),
            look_at_operations(manager, seen),
        );
        if let Some((counts, members)) = fleet? {
            page.counts = Some(counts);
            page.members = Some(members);
        }
        if let Some(own) = own? {
            page.pauses = own
                .pauses
                .iter()
                .map(|pause| pauses::line(pause, seen.now))
                .collect();
            page.holding = rows(&own.holding.operations, seen.now);
            page.holding_is_partial = own.holding.next.is_some();
            page.failures = rows(&own.failures.operations, seen.now);
            page.failures_are_partial = own.failures.next.is_some();
            let failed = own.failures.operations.iter();
            page.failed_on = failed.map(|one| one.header.completed_on).collect();
            found = Some(own);
        }
    }
    page.judge(&signals);
    Ok((page, found))
}

/// The facts that this process knows without a question.
fn signals(manager: &QueueManager, seen: &Seen, health: &Health) -> Signals {
    let Health {
        store,
        broker,
        keys,
        certificate,
        draining,
    } = health;
    // Errors name servers.
    let detail = |fault: &Option<String>| {
        let is_shown = seen.rights.fleet;
        fault.as_ref().map(|fault| {
            if is_shown {
                fault.clone()
            } else {
                "an operator sees why".to_owned()
            }
        })
    };
    let bypassed = manager.bypass().bypassed();
    Signals {
        store: detail(store),
        broker: detail(broker),
        keys: keys.clone().filter(|_| seen.rights.fleet),
        certificate: certificate.clone().filter(|_| seen.rights.fleet),
        draining: *draining,
        bypassed: bypassed.iter().map(ToString::to_string).collect(),
        throttled: Vec::new(),
    }
}

/// The counts and the members, for callers that may see them.
async fn look_at_fleet(
    manager: &QueueManager,
    seen: &Seen,
    signals: &mut Signals,
) -> Result<Option<(Counts, Members)>> {
    if !seen.rights.fleet {
        return Ok(None);
    }
    let (counts, members) = tokio::join!(manager.store().counts(), fleet::members(manager));
    let (counts, members) = (counts.map_err(Error::Store)?, members?);
    let throttled = members
        .iter()
        .flat_map(|member| member.profile.throttled.iter());
    let mut throttled: Vec<String> = throttled.cloned().collect();
    throttled.sort();
    throttled.dedup();
    signals.throttled = throttled;
    let counts = Counts {
        ready: counts.ready,
        suspended: counts.suspended,
        running: counts.locked,
        completed: counts.completed,
        undispatched: counts.undispatched,
    };
    Ok(Some((counts, summary(&members, seen.now))))
}

fn summary(members: &[Member], now: Timestamp) -> Members {
    let workers: Vec<_> = of_role(members, Role::Worker);
    let managers = of_role(members, Role::Manager);
    let sum = |number: fn(&Member) -> u32| workers.iter().map(|one| u64::from(number(one))).sum();
    let shown = workers.iter().chain(&managers).take(MEMBERS);
    Members {
        workers: workers.len(),
        managers: managers.len(),
        running: sum(|worker| worker.running),
        places: sum(|worker| worker.profile.concurrency),
        shown: shown.map(|member| member_line(member, now)).collect(),
    }
}

fn of_role(members: &[Member], role: Role) -> Vec<&Member> {
    members
        .iter()
        .filter(|member| member.profile.role == role)
        .collect()
}

fn member_line(member: &Member, now: Timestamp) -> console::Member {
    let queues: Vec<_> = member
        .profile
        .queues
        .iter()
        .map(QueueName::as_str)
        .collect();
    let is_worker = member.profile.role == Role::Worker;
    console::Member {
        host: Text::line(&member.host),
        role: if is_worker { "worker" } else { "queue manager" },
        places: is_worker.then_some((member.running, member.profile.concurrency)),
        queues: Text::line(&queues.join(", ")),
        release: Text::line(&member.profile.build.release),
        started: Moment {
            at: member.started_on(),
            now,
        },
        is_draining: member.profile.draining,
    }
}

/// The part of the page about the operations of the caller's organization.
pub(in crate::ingress::http) struct Own {
    pub(in crate::ingress::http) pauses: Vec<Pause>,
    pub(in crate::ingress::http) holding: Page<Summary>,
    pub(in crate::ingress::http) failures: Page<Summary>,
}

async fn look_at_operations(manager: &QueueManager, seen: &Seen) -> Result<Option<Own>> {
    if !seen.rights.read {
        return Ok(None);
    }
    let query = |filter| Query {
        filter,
        cursor: None,
        limit: SHOWN,
    };
    let holding = query(Filter {
        holding: Some(true),
        ..Filter::default()
    });
    let failures = query(Filter {
        status: Some(Status::Failed),
        ..Filter::default()
    });
    let (pauses, holding, failures) = tokio::join!(
        manager.pauses(&seen.actor),
        manager.glance(&seen.actor, &holding),
        manager.glance(&seen.actor, &failures),
    );
    Ok(Some(Own {
        pauses: pauses?,
        holding: holding?,
        failures: failures?,
    }))
}
